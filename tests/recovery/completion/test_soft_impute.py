"""Soft-impute against closed forms and CVXPY."""

from typing import Any

import cvxpy as cp
import pytest
import torch
from torch import Tensor

from recovery_cases import draw
from tacit.errors import InputError, Status
from tacit.recovery.completion.problem import completion_problem
from tacit.recovery.completion.soft_impute import SoftImpute, duality_gap, soft_impute
from tacit.recovery.completion.sparse_low_rank import require_entries
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem, hold_out


def solve_by_cvxpy(problem: RecoveryProblem, penalty: float) -> tuple[float, Tensor]:
    """Objective and matrix of the convex programme."""
    entries = require_entries(problem)
    matrix = cp.Variable(entries.shape)
    kept = problem.weights > 0.0
    rows, columns = entries.rows[kept].numpy(), entries.columns[kept].numpy()
    misfit = cp.sum_squares(matrix[rows, columns] - problem.measurements[kept].numpy())
    programme = cp.Problem(cp.Minimize(0.5 * misfit + penalty * cp.normNuc(matrix)))
    programme.solve(solver=cp.CLARABEL)
    answer: Any = programme.value, matrix.value
    return float(answer[0]), torch.from_numpy(answer[1])


@pytest.mark.oracle
@pytest.mark.parametrize("penalty", [0.3, 0.03, 0.005])
def test_the_answer_is_that_of_cvxpy(
    generator: torch.Generator, penalty: float
) -> None:
    problem = planted_completion(
        (12, 9), 2, oversampling=1.8, noise=0.1, generator=generator
    )
    problem = hold_out(problem, 0.1, generator=generator)
    value, matrix = solve_by_cvxpy(problem, penalty)
    solution = soft_impute(
        problem, penalty, generator=generator, gap_rtol=1e-9, max_steps=3000
    )
    state = solution.state
    assert solution.status is Status.CONVERGED
    assert state.value == pytest.approx(value, rel=1e-6)
    torch.testing.assert_close(state.left @ state.right.mH, matrix, rtol=0, atol=1e-3)


@pytest.mark.oracle
def test_the_gap_bounds_the_distance_to_the_optimum(generator: torch.Generator) -> None:
    problem = planted_completion(
        (10, 8), 2, oversampling=1.8, noise=0.1, generator=generator
    )
    optimum, _ = solve_by_cvxpy(problem, 0.1)
    for scale in (0.0, 0.1, 1.0):
        left = scale * draw(generator, 10, 3)
        right = draw(generator, 8, 3)
        value, gap = duality_gap(problem, left, right, 0.1, generator=generator)
        assert value >= optimum * (1.0 - 1e-6)
        assert value - gap <= optimum * (1.0 + 1e-6)
    state = soft_impute(problem, 0.1, generator=generator, gap_rtol=1e-8).state
    value, gap = duality_gap(problem, state.left, state.right, 0.1, generator=generator)
    assert value == pytest.approx(state.value)
    assert gap <= 2e-8 * value
    assert state.duality_gap == pytest.approx(gap, abs=1e-7 * value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_full_matrix_has_its_singular_values_lowered(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    matrix = draw(generator, 7, 5, dtype=dtype)
    rows, columns = torch.nonzero(torch.ones(7, 5), as_tuple=True)
    problem = completion_problem(rows, columns, matrix.flatten())
    u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
    penalty = float(values[2])
    state = soft_impute(problem, penalty, generator=generator, gap_rtol=1e-12).state
    expected = (u * (values - penalty).clamp(min=0.0)) @ vh
    torch.testing.assert_close(state.left @ state.right.mH, expected)
    nuclear_norm = float((values - penalty).clamp(min=0.0).sum())
    misfit = float(values.clamp(max=penalty).square().sum()) / 2.0
    assert state.value == pytest.approx(misfit + penalty * nuclear_norm)


def test_a_penalty_above_the_norm_gives_zero(generator: torch.Generator) -> None:
    problem = planted_completion((9, 8), 2, oversampling=1.5, generator=generator)
    back = problem.linear_map.adjoint_apply(problem.measurements)
    norm = float(torch.linalg.matrix_norm(back, 2))
    above = soft_impute(problem, 1.001 * norm, generator=generator)
    assert above.state.rank == 0
    assert above.status is Status.CONVERGED
    assert above.state.train_error == pytest.approx(1.0)
    assert soft_impute(problem, 0.99 * norm, generator=generator).state.rank == 1


def test_a_warm_start_is_used(generator: torch.Generator) -> None:
    problem = planted_completion(
        (30, 20), 2, oversampling=2.5, noise=0.1, generator=generator
    )
    cold = soft_impute(problem, 0.02, generator=generator)
    start = cold.state.left, cold.state.right
    warm = soft_impute(problem, 0.02, generator=generator, start=start)
    assert warm.num_steps < cold.num_steps / 3
    assert warm.state.value == pytest.approx(cold.state.value, rel=1e-5)


def test_the_rank_is_limited(generator: torch.Generator) -> None:
    problem = planted_completion(
        (30, 20), 4, oversampling=2.0, noise=0.1, generator=generator
    )
    free = soft_impute(problem, 0.01, generator=generator)
    limited = soft_impute(problem, 0.01, generator=generator, max_rank=2)
    assert free.state.rank > 2
    assert limited.state.rank == 2
    assert limited.state.value > free.state.value
    assert limited.status is Status.STALLED


def test_held_out_entries_are_not_looked_at(generator: torch.Generator) -> None:
    problem = planted_completion((20, 15), 2, oversampling=2.5, generator=generator)
    problem = hold_out(problem, 0.2, generator=generator)
    assert problem.held_out is not None
    spoilt = RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=torch.where(problem.held_out, 7.0, problem.measurements),
        held_out=problem.held_out,
    )
    seed = generator.get_state()
    first = soft_impute(problem, 0.05, generator=generator).state
    generator.set_state(seed)
    second = soft_impute(spoilt, 0.05, generator=generator).state
    assert torch.equal(first.left, second.left)
    assert first.held_out_error < second.held_out_error


@pytest.mark.parametrize(
    "wrong", [{"penalty": 0.0}, {"gap_rtol": -1.0}, {"max_rank": 0}]
)
def test_bad_arguments_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be"):
        SoftImpute(**({"penalty": 1} | wrong))
