"""Certificates at the truth, recomputed from their definitions."""

import pytest
import torch
from torch import Tensor

from nuclear_cases import optimum
from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.theory.truth_certificate import (
    TruthCertificate,
    truth_certificate,
)
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import Planted, RecoveryProblem


def planted(
    generator: torch.Generator, *sizes: int, dtype: torch.dtype = torch.float64
) -> tuple[RecoveryProblem, Planted]:
    problem = planted_deconvolution(*sizes, dtype=dtype, generator=generator)
    assert problem.planted is not None
    return problem, problem.planted


def split(truth: Planted, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tangent part, the rest, and the sign matrix, by projections."""
    u, _, vh = torch.linalg.svd(truth.left @ truth.right.mH, full_matrices=False)
    rank = truth.left.shape[1]
    u, vh = u[:, :rank], vh[:rank]
    p, q = u @ u.mH, vh.mH @ vh
    tangent = p @ matrix + matrix @ q - p @ matrix @ q
    return tangent, matrix - tangent, u @ vh


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_its_numbers_are_what_they_are_called(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    problem, truth = planted(generator, 5, 4, 30, dtype=dtype)
    found = truth_certificate(problem.linear_map, truth.left, truth.right)
    tangent, rest, sign = split(truth, problem.linear_map.adjoint_apply(found.dual))
    scale = 1e-12
    assert torch.linalg.matrix_norm(tangent - sign) < scale
    assert found.tangent_defect < scale
    assert found.off_tangent_norm == pytest.approx(
        float(torch.linalg.matrix_norm(rest, 2))
    )
    assert found.dual_size == pytest.approx(float(torch.linalg.norm(found.dual)))
    assert found.size == pytest.approx(1.0)
    # Gain and leakage from the two projections as matrices on vec(X).
    units = torch.eye(20, dtype=dtype).reshape(20, 5, 4)
    parts = [split(truth, unit)[:2] for unit in units]
    on_tangent, off_tangent = (
        problem.linear_map.apply(torch.stack([part[i] for part in parts])).mT
        for i in (0, 1)
    )
    gains = torch.linalg.svdvals(on_tangent)[:8]  # T has 5 + 4 - 1 dimensions
    assert found.tangent_gain == pytest.approx(float(gains[-1]))
    inverse = torch.linalg.pinv(on_tangent, rtol=1e-9)
    leak = float(torch.linalg.matrix_norm(inverse @ off_tangent, 2))
    assert found.leakage == pytest.approx(leak)


def test_steps_make_it_better_where_the_shortest_vector_certifies_nothing(
    generator: torch.Generator,
) -> None:
    problem, truth = planted(generator, 12, 12, 62)
    first, better = (
        truth_certificate(
            problem.linear_map, truth.left, truth.right, num_steps=num_steps
        )
        for num_steps in (0, 100)
    )
    assert first.off_tangent_norm > 1.0
    assert better.off_tangent_norm < 1.0
    assert better.tangent_defect < 1e-12
    # The shortest vector is the shortest.
    assert first.dual_size < better.dual_size


def quality(found: TruthCertificate) -> float:
    return found.dual_size / (1.0 - found.off_tangent_norm)


def test_more_steps_are_never_worse(generator: torch.Generator) -> None:
    problem, truth = planted(generator, 6, 6, 60)
    qualities = [
        quality(
            truth_certificate(
                problem.linear_map, truth.left, truth.right, num_steps=num_steps
            )
        )
        for num_steps in (0, 5, 40, 160)
    ]
    assert qualities == sorted(qualities, reverse=True)
    assert qualities[-1] < 0.8 * qualities[0]


def test_the_dual_vector_of_an_exact_solve_is_judged_as_it_is(
    generator: torch.Generator,
) -> None:
    problem, truth = planted(generator, 4, 4, 40)
    solved = optimum(NuclearProgram(problem=problem, noise_bound=0.0))
    assert solved is not None
    found = truth_certificate(
        problem.linear_map, truth.left, truth.right, dual=solved.dual
    )
    assert torch.equal(found.dual, solved.dual)
    assert found.tangent_defect < 1e-5  # the accuracy of the solver
    assert found.off_tangent_norm < 1.0


def test_gaussian_maps_and_higher_ranks_are_taken(generator: torch.Generator) -> None:
    linear_map = gaussian_map((6, 5), 200, generator=generator)
    left = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    right = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    found = truth_certificate(linear_map, left, right)
    assert found.rank == 2
    assert found.off_tangent_norm < 1.0
    assert found.size == pytest.approx(float(torch.linalg.norm(left @ right.mH)))
    # A full rank leaves nothing off the tangent space.
    full = torch.eye(5, dtype=torch.float64)
    square = gaussian_map((5, 5), 80, generator=generator)
    everything = truth_certificate(square, full, full)
    assert (everything.off_tangent_norm, everything.leakage) == (0.0, 0.0)


def test_what_is_no_truth_of_the_map_is_refused(generator: torch.Generator) -> None:
    problem, truth = planted(generator, 4, 3, 24)
    linear_map = problem.linear_map
    with pytest.raises(ShapeError, match="left and right must have shapes"):
        truth_certificate(linear_map, truth.right, truth.left)
    doubled = torch.cat([truth.left, truth.left], dim=1)
    with pytest.raises(InputError, match="must have the rank of its factors, 2"):
        truth_certificate(linear_map, doubled, torch.cat([truth.right] * 2, dim=1))
    with pytest.raises(ShapeError, match="dual must have shape"):
        truth_certificate(linear_map, truth.left, truth.right, dual=truth.left[:, 0])
    few, its_truth = planted(generator, 4, 3, 5)
    with pytest.raises(InputError, match="injective on the tangent space of 6"):
        truth_certificate(few.linear_map, its_truth.left, its_truth.right)
