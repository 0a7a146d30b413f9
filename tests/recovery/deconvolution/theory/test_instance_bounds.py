"""Proved bounds against optima of CVXPY, and against each other."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from torch import Tensor

from nuclear_cases import optimum
from tacit.errors import InputError
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.theory.instance_bounds import (
    competitor_distance,
    guaranteed_error,
    least_squares_error,
)
from tacit.recovery.deconvolution.theory.truth_certificate import (
    TruthCertificate,
    truth_certificate,
    truth_coordinates,
)
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import Planted, RecoveryProblem


def planted(
    generator: torch.Generator, *sizes: int, dtype: torch.dtype = torch.float64
) -> tuple[RecoveryProblem, Planted, Tensor]:
    problem = planted_deconvolution(*sizes, dtype=dtype, generator=generator)
    truth = problem.planted
    assert truth is not None
    return problem, truth, truth.left @ truth.right.mH


def with_noise(problem: RecoveryProblem, noise: Tensor) -> RecoveryProblem:
    return replace(problem, measurements=problem.measurements + noise)


def error_of(problem: RecoveryProblem, noise: Tensor, size: float) -> float:
    """The error of CVXPY's optimum under a noise scaled to a size."""
    scaled = noise * (size / torch.linalg.norm(noise))
    solved = optimum(
        NuclearProgram(problem=with_noise(problem, scaled), noise_bound=size)
    )
    assert solved is not None
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    return float(torch.linalg.norm(solved.matrix - truth))


def bad_direction(problem: RecoveryProblem, truth: Planted) -> Tensor:
    """A direction that the map hardly sees: off T, and on T what cancels it."""
    parts = truth_coordinates(problem.linear_map, truth.left, truth.right)
    inverse = torch.linalg.pinv(parts.tangent)
    u, _, vh = torch.linalg.svd(truth.left @ truth.right.mH)
    _, _, rows = torch.linalg.svd(inverse @ parts.rest)
    off = rows[0].conj().reshape(parts.block)
    v, s, wh = torch.linalg.svd(off)
    off = s[0] * v[:, :1] @ wh[:1]
    on = -inverse @ (parts.rest @ off.reshape(-1))
    matrix = torch.zeros_like(u @ truth.left @ truth.right.mH @ vh)
    mask = torch.ones_like(matrix, dtype=torch.bool)
    mask[1:, 1:] = False
    matrix[mask] = on
    matrix[1:, 1:] = off
    return u @ matrix @ vh


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("size", [1e-3, 0.03, 0.3])
def test_no_error_of_an_optimum_is_above_the_bounds(
    generator: torch.Generator, size: float, dtype: torch.dtype
) -> None:
    problem, truth, _ = planted(generator, 5, 5, 45, dtype=dtype)
    found = truth_certificate(problem.linear_map, truth.left, truth.right)
    direction = problem.linear_map.apply(bad_direction(problem, truth))
    noises = [
        torch.randn(45, generator=generator, dtype=dtype),
        -found.dual,
        found.dual,
        direction,
        -direction,
    ]
    worst = max(error_of(problem, noise, size) for noise in noises)
    for bound in guaranteed_error(found, size):
        assert bound.certainty == "derived"
        assert worst <= bound.value
    # The bound is of use: within what the three laws leave to constants.
    assert min(b.value for b in guaranteed_error(found, size)) < 25.0 * worst


def test_noise_that_can_be_hidden_is_within_the_bounds(
    generator: torch.Generator,
) -> None:
    problem, truth, matrix = planted(generator, 8, 8, 60)
    found = truth_certificate(problem.linear_map, truth.left, truth.right)
    bad = bad_direction(problem, truth)
    reached: list[float] = []
    for size in (1e-4, 1e-2, 1.0):
        bound = min(b.value for b in guaranteed_error(found, size))
        directions = [
            *(bad * sign - matrix * pull for sign in (1, -1) for pull in (0.05, 0.5)),
            *(
                torch.randn(8, 8, generator=generator, dtype=torch.float64) - 8 * matrix
                for _ in range(5)
            ),
            -matrix,
        ]
        distances = [
            competitor_distance(
                problem.linear_map, truth.left, truth.right, d, noise_bound=size
            ).value
            for d in directions
        ]
        assert max(distances) <= bound * (1.0 + 1e-12)
        reached.append(max(distances))
    assert reached == sorted(reached)
    assert reached[0] > 0.0


def test_a_competitor_fits_and_is_smaller(generator: torch.Generator) -> None:
    problem, truth, matrix = planted(generator, 6, 4, 40)
    noise = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    direction = noise / 8 - matrix
    for size in (0.05, 50.0):
        distance = competitor_distance(
            problem.linear_map, truth.left, truth.right, direction, noise_bound=size
        ).value
        step = direction * (distance / torch.linalg.norm(direction))
        norms = [
            float(torch.linalg.svdvals(matrix + t * step).sum()) for t in (1.0, 1.001)
        ]
        images = [
            t * float(problem.linear_map.apply(step).norm()) for t in (1.0, 1.001)
        ]
        assert norms[0] <= 1.0 + 1e-12
        assert images[0] <= 2.0 * size * (1.0 + 1e-12)
        assert norms[1] > 1.0 or images[1] > 2.0 * size
    outwards = competitor_distance(
        problem.linear_map, truth.left, truth.right, matrix, noise_bound=1.0
    )
    assert outwards.value < 1e-15


def certificate(**changes: float) -> TruthCertificate:
    plain = TruthCertificate(
        dual=torch.zeros(1),
        dual_size=2.0,
        tangent_defect=0.0,
        off_tangent_norm=0.5,
        tangent_gain=0.8,
        leakage=3.0,
        size=4.0,
        rank=1,
    )
    return replace(plain, **changes)


def test_bounds_are_the_formulas_by_hand() -> None:
    linear, root, trivial = guaranteed_error(certificate(), 0.1)
    rest = 2 * 0.1 * 2.0 / 0.5
    assert linear.value == pytest.approx(math.hypot(0.2 / 0.8 + 3.0 * rest, rest))
    assert root.value == pytest.approx(2.0 * math.sqrt(2.0 * 4.0 * 0.1 / 0.5))
    assert trivial.value == 8.0
    # With a defect: eta = 0.2 (2 + 0.1 / 0.8) / (0.5 - 0.3), shift = 0.1 * 4 / 0.5.
    linear, root, _ = guaranteed_error(certificate(tangent_defect=0.1), 0.1)
    rest = 0.2 * 2.125 / 0.2
    assert linear.value == pytest.approx(math.hypot(0.25 + 3.0 * rest, rest))
    assert root.value == pytest.approx(0.8 + math.sqrt(0.64 + 6.4))


def test_what_certifies_nothing_bounds_nothing() -> None:
    linear, root, trivial = guaranteed_error(certificate(off_tangent_norm=1.0), 0.1)
    assert (linear.value, root.value, trivial.value) == (math.inf, math.inf, 8.0)
    linear, root, _ = guaranteed_error(certificate(tangent_defect=0.2), 0.1)
    assert linear.value == math.inf
    assert root.value < math.inf
    _, root, trivial = guaranteed_error(certificate(rank=4), 0.1)
    assert (root.value, trivial.value) == (math.inf, 12.0)
    with pytest.raises(InputError, match="noise_bound must be at least 0"):
        guaranteed_error(certificate(), math.nan)


def test_rank_two_is_bounded_too(generator: torch.Generator) -> None:
    linear_map = gaussian_map((5, 5), 120, generator=generator)
    left, right = (
        torch.randn(5, 2, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    found = truth_certificate(linear_map, left, right)
    problem = RecoveryProblem(
        linear_map=linear_map,
        measurements=linear_map.apply(left @ right.mH),
        planted=Planted(left=left, right=right),
    )
    noise = torch.randn(120, generator=generator, dtype=torch.float64)
    linear, _, trivial = guaranteed_error(found, 0.05)
    worst = max(error_of(problem, e, 0.05) for e in (noise, -found.dual))
    assert worst <= min(linear.value, trivial.value)


def test_the_best_fit_moves_as_predicted(generator: torch.Generator) -> None:
    # The mean over noise of the squared first order change is its sum over unit
    # vectors of noise: L fits by an independent least squares solver.
    problem, truth, matrix = planted(generator, 3, 4, 20)
    rows = problem.linear_map.adjoint_apply(torch.eye(20, dtype=torch.float64)).numpy()
    start = torch.cat([truth.left[:, 0], truth.right[:, 0]]).numpy()
    tiny, total = 1e-5, 0.0
    for unit in np.eye(20):
        data = problem.measurements.numpy() + tiny * unit

        def misfit(z: np.ndarray, data: np.ndarray = data) -> np.ndarray:
            return np.einsum("lij,i,j->l", rows, z[:3], z[3:]) - data

        fit = least_squares(misfit, start, xtol=1e-15, ftol=1e-15, gtol=1e-15).x
        change = np.outer(fit[:3], fit[3:]) - matrix.numpy()
        total += float((change**2).sum()) / tiny**2
    predicted = least_squares_error(
        problem.linear_map, truth.left, truth.right, noise_level=2.0
    )
    assert predicted.value == pytest.approx(2.0 * math.sqrt(total), rel=1e-3)


def test_a_truth_that_is_not_seen_has_no_best_fit(generator: torch.Generator) -> None:
    problem, truth, _ = planted(generator, 4, 4, 6)
    fit = least_squares_error(
        problem.linear_map, truth.left, truth.right, noise_level=0.1
    )
    assert fit.value == math.inf
    with pytest.raises(InputError, match="noise_level must be at least 0"):
        least_squares_error(
            problem.linear_map, truth.left, truth.right, noise_level=-1.0
        )


def test_a_direction_must_be_one(generator: torch.Generator) -> None:
    problem, truth, matrix = planted(generator, 4, 4, 30)
    with pytest.raises(InputError, match="direction must be finite and not zero"):
        competitor_distance(
            problem.linear_map, truth.left, truth.right, 0 * matrix, noise_bound=0.1
        )
