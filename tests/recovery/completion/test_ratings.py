"""Biases against dense least squares."""

import pytest
import torch
from torch import Tensor

from recovery_cases import draw
from tacit.errors import InputError
from tacit.recovery.completion.problem import completion_problem
from tacit.recovery.completion.ratings import (
    Biases,
    bias_entries,
    choose_biases,
    fit_biases,
    with_biases,
    without_biases,
)
from tacit.recovery.completion.sparse_low_rank import require_entries
from tacit.recovery.problem import RecoveryProblem, hold_out


def table(
    generator: torch.Generator, dtype: torch.dtype = torch.float64, noise: float = 0.5
) -> RecoveryProblem:
    """Biases and noise, seen here and there."""
    kept = torch.rand(12, 9, generator=generator) < 0.6
    rows, columns = torch.nonzero(kept, as_tuple=True)
    values = (
        3.0
        + draw(generator, 12, dtype=dtype)[rows]
        + draw(generator, 9, dtype=dtype)[columns]
        + noise * draw(generator, len(rows), dtype=dtype)
    )
    return completion_problem(rows, columns, values, (12, 9))


def by_least_squares(
    problem: RecoveryProblem, shrinkage: float
) -> tuple[Tensor, Tensor]:
    """Solve the normal equations, formed."""
    entries = require_entries(problem)
    kept = problem.weights > 0.0
    rows, columns = entries.rows[kept], entries.columns[kept]
    y = problem.measurements[kept]
    design = torch.zeros(len(y), 21, dtype=y.dtype)
    design[torch.arange(len(y)), rows] = 1.0
    design[torch.arange(len(y)), 12 + columns] = 1.0
    gram = design.mH @ design + shrinkage * torch.eye(21, dtype=y.dtype)
    solved = torch.linalg.solve(gram, design.mH @ (y - y.mean()))
    return solved[:12], solved[12:]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shrinkage", [0.1, 5.0])
def test_biases_solve_the_ridge_problem(
    generator: torch.Generator, dtype: torch.dtype, shrinkage: float
) -> None:
    problem = hold_out(table(generator, dtype), 0.2, generator=generator)
    biases = fit_biases(problem, shrinkage)
    rows, columns = by_least_squares(problem, shrinkage)
    torch.testing.assert_close(biases.rows, rows, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(biases.columns, columns, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_factors_with_biases_are_the_sum(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    biases = Biases(
        mean=draw(generator, 1, dtype=dtype)[0],
        rows=draw(generator, 5, dtype=dtype),
        columns=draw(generator, 4, dtype=dtype),
        shrinkage=1.0,
    )
    left, right = draw(generator, 5, 2, dtype=dtype), draw(generator, 4, 2, dtype=dtype)
    more_left, more_right = with_biases(biases, left, right)
    assert more_left.shape == (5, 4)
    expected = left @ right.mH + biases.mean + biases.rows[:, None] + biases.columns
    torch.testing.assert_close(more_left @ more_right.mH, expected)


def test_without_biases_nothing_but_noise_is_left(generator: torch.Generator) -> None:
    problem = table(generator, noise=0.0)
    biases = fit_biases(problem, 1e-9)
    left_over = without_biases(problem, biases).measurements
    assert float(left_over.abs().max()) < 1e-6
    entries = require_entries(problem)
    total = left_over + bias_entries(biases, entries)
    torch.testing.assert_close(total, problem.measurements)


def test_a_row_without_entries_has_no_bias() -> None:
    problem = completion_problem([0, 0, 2, 2], [0, 1, 0, 1], [1.0, 2.0, 4.0, 5.0])
    assert float(fit_biases(problem, 1.0).rows[1]) == 0.0


@pytest.mark.parametrize(("noise", "is_small"), [(0.01, True), (6.0, False)])
def test_the_shrinkage_is_that_of_the_lowest_error(
    generator: torch.Generator, noise: float, *, is_small: bool
) -> None:
    problem = hold_out(table(generator, noise=noise), 0.3, generator=generator)
    assert problem.held_out is not None
    grid = (0.1, 1.0, 10.0, 100.0)
    chosen = choose_biases(problem, grid)
    entries = require_entries(problem)
    errors: list[float] = []
    for shrinkage in grid:
        rows, columns = by_least_squares(problem, shrinkage)
        fitted = problem.measurements[~problem.held_out].mean()
        known = fitted + rows[entries.rows] + columns[entries.columns]
        gap = (known - problem.measurements)[problem.held_out]
        errors.append(float(gap.square().sum()))
    assert chosen.shrinkage == grid[errors.index(min(errors))]
    assert (chosen.shrinkage == grid[0]) == is_small


def test_bad_arguments_are_refused(generator: torch.Generator) -> None:
    problem = table(generator)
    with pytest.raises(InputError, match="shrinkage must be a positive number"):
        fit_biases(problem, 0.0)
    with pytest.raises(InputError, match="held out to choose by"):
        choose_biases(problem)
    held = hold_out(problem, 0.2, generator=generator)
    with pytest.raises(InputError, match="shrinkages is empty"):
        choose_biases(held, ())
