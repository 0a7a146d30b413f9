"""Errors on entries held out: drawn without replacement from those not fitted."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from cases import normal
from held_out_cases import (
    REPEATS,
    contains,
    judged,
    lowest_count,
    matrix_error,
    norm,
    perturbed,
    truth_of,
)
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem, hold_out


def test_residuals_of_zero_prove_nothing_about_other_entries() -> None:
    """Four entries alike, of a hundred: the others may be anything."""
    places = torch.arange(8)
    problem = RecoveryProblem(
        linear_map=EntriesMap(rows=places, columns=places, shape=(10, 10)),
        measurements=torch.ones(8, dtype=torch.float64),
        held_out=places < 4,
        noise_level=0.0,
    )
    ones = torch.ones(10, 1, dtype=torch.float64)
    error = judged(problem, ones, ones)
    assert (error.value, error.root_mean_square) == (0.0, 0.0)
    assert error.entry_interval == (0.0, math.inf)


def completions(
    noise: float, is_symmetric: bool, generator: torch.Generator
) -> Callable[[], RecoveryProblem]:
    """New entries of one matrix at every call, half of them held out."""
    shape = (60, 60) if is_symmetric else (60, 40)
    first = planted_completion(
        shape, 2, num_measurements=600, is_symmetric=is_symmetric, generator=generator
    )
    truth = truth_of(first)
    size = first.linear_map.num_measurements

    def draw() -> RecoveryProblem:
        places = torch.ones(shape).triu() if is_symmetric else torch.ones(shape)
        rows, columns = places.nonzero().unbind(1)
        kept = torch.randperm(len(rows), generator=generator)[:size].sort().values
        entries = EntriesMap(rows=rows[kept], columns=columns[kept], shape=shape)
        exact = entries.apply_factors(truth.left, truth.right)
        problem = RecoveryProblem(
            linear_map=entries,
            measurements=exact + noise * normal(generator, size),
            is_symmetric=is_symmetric,
            noise_level=noise,
            planted=truth,
        )
        return hold_out(problem, 0.5, generator=generator)

    return draw


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("is_symmetric", [False, True])
def test_entry_intervals_cover_the_entries_not_fitted(
    is_symmetric: bool, noise: float, generator: torch.Generator
) -> None:
    draw = completions(noise, is_symmetric, generator)
    left, right = perturbed(draw(), 0.1, generator)
    covered = {"entries": 0, "frobenius": 0, "upper": 0}
    for _ in range(REPEATS):
        problem = draw()
        error = judged(problem, left, right)
        unfitted = torch.ones(problem.linear_map.in_shape, dtype=torch.bool)
        if is_symmetric:
            unfitted = unfitted.triu()
        assert isinstance(problem.linear_map, EntriesMap)
        fitted = problem.weights > 0
        unfitted[
            problem.linear_map.rows[fitted], problem.linear_map.columns[fitted]
        ] = False
        difference = matrix_error(problem, left, right)
        target = math.sqrt(float(difference[unfitted].square().mean()))
        covered["entries"] += contains(error.entry_interval, target)
        covered["frobenius"] += contains(error.frobenius_interval, norm(difference))
        unknown = judged(replace(problem, noise_level=None), left, right)
        covered["upper"] += contains(unknown.entry_interval, target)
        assert unknown.frobenius_interval is None
        assert unknown.entry_interval is not None
        assert unknown.entry_interval[0] == 0.0
        assert "uniform" in error.assumptions
    for count in covered.values():
        assert lowest_count(0.92) < count, covered


def test_with_every_other_entry_held_out_nothing_is_uncertain(
    generator: torch.Generator,
) -> None:
    problem = planted_completion((8, 6), 2, num_measurements=48, generator=generator)
    problem = hold_out(problem, 0.25, generator=generator)
    left, right = perturbed(problem, 0.1, generator)
    error = judged(problem, left, right)
    difference = matrix_error(problem, left, right)
    assert error.entry_interval == pytest.approx(
        (error.root_mean_square,) * 2, rel=1e-12
    )
    assert error.frobenius_interval == pytest.approx((norm(difference),) * 2, rel=1e-9)


def test_fitted_entries_count_with_their_noise(generator: torch.Generator) -> None:
    """Errors that undo the noise exactly: the residual of the fitted part is zero."""
    problem = planted_completion(
        (6, 6), 1, num_measurements=30, noise=0.5, generator=generator
    )
    problem = replace(problem, held_out=torch.arange(30) < 2)
    assert isinstance(problem.linear_map, EntriesMap)
    data = torch.zeros(6, 6, dtype=torch.float64)
    data[problem.linear_map.rows, problem.linear_map.columns] = problem.measurements
    error = judged(problem, data, torch.eye(6, dtype=torch.float64))
    fitted = problem.weights > 0
    wrong = matrix_error(problem, data, torch.eye(6, dtype=torch.float64))
    distance = norm(wrong[problem.linear_map.rows, problem.linear_map.columns][fitted])
    assert error.frobenius_interval is not None
    assert error.frobenius_interval[1] >= distance > 0.0
