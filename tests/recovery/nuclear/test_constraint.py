"""The splitting's linear system against dense linear algebra."""

import math

import pytest
import torch
from torch import Tensor

from recovery_cases import MAPS, dense_matrix, draw
from tacit.errors import InputError
from tacit.recovery.maps.rank_one import RankOneMap
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.nuclear.constraint import Constraint, constraint
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import RecoveryProblem, hold_out

NAMES = ["rank one", "rank one complex", "entries", "fourier complex", "convolution"]


def _constraint(
    name: str, generator: torch.Generator, *, bound: float, is_held_out: bool
) -> tuple[Constraint, Tensor]:
    """The constraint, and the dense matrix of the weighted map."""
    linear_map = MAPS[name](generator)
    truth = draw(generator, *linear_map.in_shape, dtype=linear_map.spec.dtype)
    problem = RecoveryProblem(
        linear_map=linear_map, measurements=linear_map.apply(truth)
    )
    if is_held_out:
        problem = hold_out(problem, 0.3, generator=generator)
    fit = constraint(NuclearProgram(problem=problem, noise_bound=bound))
    return fit, problem.weights[:, None] * dense_matrix(linear_map)


@pytest.mark.parametrize("is_held_out", [False, True])
@pytest.mark.parametrize("bound", [0.0, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_solves_are_those_of_the_damped_gram_matrix(
    name: str, bound: float, is_held_out: bool, generator: torch.Generator
) -> None:
    fit, matrix = _constraint(name, generator, bound=bound, is_held_out=is_held_out)
    assert (fit.scale == 0.0) == (bound == 0.0)
    weights = fit.program.problem.weights
    vector = matrix @ draw(generator, matrix.shape[1], dtype=matrix.dtype)
    s = fit.solve(vector)
    damped = matrix @ (matrix.mH @ s) + fit.scale**2 * s
    torch.testing.assert_close(damped, vector, rtol=1e-8, atol=1e-8)
    assert not bool(s[weights == 0.0].any())


def test_repeated_solves_undo_the_damping(generator: torch.Generator) -> None:
    # Rows of an orthogonal matrix, stored: G = I, but that is not promised.
    q = torch.linalg.qr(draw(generator, 6, 6)).Q
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=q[:4], shape=(2, 3)),
        measurements=draw(generator, 4),
    )
    fit = constraint(NuclearProgram(problem=problem, noise_bound=0.1))
    vector = draw(generator, 4)
    torch.testing.assert_close(fit.undamped(vector), vector, rtol=1e-4, atol=1e-4)


def test_an_ill_conditioned_exact_fit_is_solved(generator: torch.Generator) -> None:
    # G has entries 1 and 1e-10: the factor is kept, an inverse would lose digits.
    rows = torch.diag(torch.tensor([1.0, 1e-5, 1.0, 1.0], dtype=torch.float64))
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=rows, shape=(2, 2)),
        measurements=torch.ones(4).double(),
    )
    fit = constraint(NuclearProgram(problem=problem, noise_bound=0.0))
    vector = draw(generator, 4)
    torch.testing.assert_close(rows @ (rows @ fit.solve(vector)), vector)


def test_repeated_measurements_take_the_pseudo_inverse() -> None:
    row = torch.tensor([[1.0, 2.0, 0.0, 1.0]], dtype=torch.float64)
    twice = StoredMap(matrix=torch.cat((row, row)), shape=(2, 2))
    ones = torch.ones(2, dtype=torch.float64)
    problem = RecoveryProblem(linear_map=twice, measurements=ones)
    fit = constraint(NuclearProgram(problem=problem, noise_bound=0.0))
    torch.testing.assert_close(fit.adjoint(fit.solve(ones)).flatten(), row[0] / 6.0)
    apart = RecoveryProblem(
        linear_map=twice, measurements=torch.tensor([1.0, -1.0], dtype=torch.float64)
    )
    with pytest.raises(InputError, match="the noise bound must be at least"):
        constraint(NuclearProgram(problem=apart, noise_bound=0.0))


def test_a_map_that_sees_nothing_is_refused() -> None:
    zero = RankOneMap(left_vectors=torch.zeros(3, 2, dtype=torch.float64))
    problem = RecoveryProblem(
        linear_map=zero, measurements=torch.ones(3, dtype=torch.float64)
    )
    with pytest.raises(InputError, match="every measurement is zero"):
        constraint(NuclearProgram(problem=problem, noise_bound=0.1))


def test_residuals_are_shrunk_to_the_ball_or_by_the_loss(
    generator: torch.Generator,
) -> None:
    fit, _ = _constraint("rank one complex", generator, bound=0.5, is_held_out=False)
    small = draw(generator, fit.measurements.shape[0], dtype=torch.complex128)
    size = fit.scale * float(torch.linalg.vector_norm(fit.shrink_residual(small, 0.3)))
    assert size == pytest.approx(0.5, rel=1e-12)
    inside = small * (0.4 / fit.scale / torch.linalg.vector_norm(small))
    assert fit.shrink_residual(inside, 0.3) is inside
    problem = fit.program.problem
    loss = constraint(NuclearProgram(problem=problem, penalty=1.0))
    # argmin |r' - v|^2 / 2 + gamma c^2 |r'|^2 / 2
    shrunk = loss.shrink_residual(small, 0.3)
    gradient = shrunk - small + 0.3 * loss.scale**2 * shrunk
    assert float(gradient.abs().max()) <= 1e-14
    assert math.isclose(loss.scale, fit.scale)
