"""Reading, raising and lowering the rank."""

import math
from types import SimpleNamespace

import pytest
import torch

from tacit.errors import Status
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out, num_unknowns
from tacit.recovery.rank_search import (
    Fit,
    Search,
    climb,
    climb_once,
    counted,
    descend,
    fit_factors,
    grow,
    is_explained,
    judged,
    score,
    stop_when_validation_rises,
    validation_error,
)
from tacit.recovery.start import spectral_start


def _search(problem: RecoveryProblem, generator: torch.Generator) -> Search:
    return Search(problem=problem, generator=generator, max_steps=200)


def _many(generator: torch.Generator, noise: float = 0.0) -> RecoveryProblem:
    """A problem with enough measurements to set a validation part aside."""
    return planted_problem(
        (20, 15), 3, oversampling=12.0, noise=noise, generator=generator
    )


def _validated(problem: RecoveryProblem, generator: torch.Generator) -> Search:
    """A search that compares ranks by a fifth of the measurements, 200 at least."""
    problem = hold_out(problem, 0.2, generator=generator)
    return Search(
        problem=problem, generator=generator, max_steps=200, validation=problem.held_out
    )


def _fit_at(search: Search, rank: int) -> Fit:
    start = spectral_start(search.problem, rank, generator=search.generator)
    return fit_factors(search, *start, is_rough=True)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_growing_lowers_the_loss_along_the_leading_directions(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    problem = planted_problem(
        (10, 10), 3, oversampling=4.0, is_symmetric=is_symmetric, generator=generator
    )
    search = _search(problem, generator)
    fit = _fit_at(search, 1)
    left, right = grow(search, fit, 2)
    force = problem.linear_map.adjoint_apply(-fit.residual)
    added = left[:, 1:] @ right[:, 1:].mH
    values, vectors = torch.linalg.eigh(force)
    u, _, vh = torch.linalg.svd(force)
    # The columns added span the leading directions of the force,
    basis = vectors[:, -2:] if is_symmetric else u[:, :2]
    assert torch.allclose(basis @ (basis.T @ added), added, atol=1e-9)
    if not is_symmetric:
        assert torch.allclose(added @ vh[:2].T @ vh[:2], added, atol=1e-9)
    else:
        assert float(values[-1]) > 0.0
    # and their length is the best one.
    change = problem.linear_map.apply(added)
    assert abs(float(change @ (fit.residual + change))) < 1e-9


def test_climbing_finds_the_planted_rank_and_descending_too(
    generator: torch.Generator,
) -> None:
    problem = planted_problem((16, 14), 3, oversampling=3.5, generator=generator)
    search = _search(problem, generator)
    assert climb(search, _fit_at(search, 1), 8).rank == 3
    noisy = planted_problem(
        (16, 14), 3, oversampling=6.0, noise=0.05, generator=generator
    )
    search = _search(noisy, generator)
    assert climb(search, _fit_at(search, 1), 8).rank == 3
    assert descend(search, _fit_at(search, 5)).rank == 3
    judged_by = _validated(_many(generator, noise=0.05), generator)
    assert climb(judged_by, _fit_at(judged_by, 1), 8).rank == 3


def test_climbing_stops_at_the_largest_rank(generator: torch.Generator) -> None:
    problem = planted_problem((16, 14), 4, oversampling=4.0, generator=generator)
    search = _search(problem, generator)
    assert climb(search, _fit_at(search, 1), 2).rank == 2


def test_a_known_noise_level_says_when_to_stop(generator: torch.Generator) -> None:
    problem = planted_problem(
        (16, 14), 2, oversampling=5.0, noise=0.1, generator=generator
    )
    search = _search(problem, generator)
    assert problem.noise_level is not None
    assert not is_explained(search, _fit_at(search, 1))
    full = fit_factors(search, *spectral_start(problem, 2, generator=generator))
    squares = float(full.residual.square().sum())
    left_over = problem.linear_map.num_measurements - num_unknowns(problem, 2)
    expected = squares <= problem.noise_level**2 * left_over
    assert is_explained(search, full) == expected
    unknown = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements
    )
    assert not is_explained(_search(unknown, generator), full)


def test_the_score_is_the_validation_error_or_a_criterion(
    generator: torch.Generator,
) -> None:
    problem = planted_problem((16, 14), 2, oversampling=5.0, generator=generator)
    search = _search(problem, generator)
    fit = _fit_at(search, 1)
    m, d = problem.linear_map.num_measurements, 16 + 14 - 1
    # For few unknowns that of Akaike with every unknown counted twice: 4 d / m.
    criterion = 2.0 * math.log(fit.train_error) + 3.0 * d / m - math.log(1.0 - d / m)
    assert 2.0 * math.log(score(search, fit)) == pytest.approx(criterion)
    exact = fit_factors(search, *spectral_start(problem, 2, generator=generator))
    assert score(search, exact) == 0.0
    search = _validated(_many(generator), generator)
    fit = _fit_at(search, 1)
    assert score(search, fit) == pytest.approx(fit.held_out_error, rel=1e-12)
    # Nearly as many unknowns as measurements fit noise, and say nothing.
    few = planted_problem((16, 14), 2, oversampling=3.0, noise=0.5, generator=generator)
    search = _search(few, generator)
    assert score(search, _fit_at(search, 8)) == math.inf


def test_the_other_held_out_measurements_take_no_part(
    generator: torch.Generator,
) -> None:
    problem = _many(generator)
    search = _validated(problem, generator)
    assert search.validation is not None
    held_out = search.validation.clone()
    held_out[:40] = True
    changed = problem.measurements.clone()
    changed[held_out & ~search.validation] = 1e6
    others = Search(
        problem=RecoveryProblem(
            linear_map=problem.linear_map, measurements=changed, held_out=held_out
        ),
        generator=generator,
        validation=search.validation,
    )
    fit = _fit_at(others, 1)
    residual = problem.linear_map.apply(fit.left @ fit.right.T) - problem.measurements
    kept = search.validation
    norm = torch.linalg.vector_norm
    expected = float(norm(residual[kept]) / norm(problem.measurements[kept]))
    assert score(others, fit) == pytest.approx(expected, rel=1e-9)


def test_a_tiny_validation_part_is_not_asked(generator: torch.Generator) -> None:
    problem = planted_problem((8, 6), 1, oversampling=5.0, generator=generator)
    problem = hold_out(problem, 0.1, generator=generator)
    search = Search(problem=problem, generator=generator, validation=problem.held_out)
    assert math.isnan(validation_error(search, problem.measurements))


def test_errors_are_judged_by_another_problem(generator: torch.Generator) -> None:
    problem = planted_problem((16, 14), 2, oversampling=5.0, generator=generator)
    search = _validated(problem, generator)
    fit = judged(problem, _fit_at(search, 1))
    norm = torch.linalg.vector_norm
    error = float(norm(fit.residual) / norm(problem.measurements))
    assert fit.train_error == pytest.approx(error, rel=1e-12)
    assert math.isnan(fit.held_out_error)


def test_early_stopping_waits_and_then_stops(generator: torch.Generator) -> None:
    problem = _many(generator)
    search = _validated(problem, generator)
    observe = stop_when_validation_rises(search, patience=2)
    errors = [0.5, 0.4, 0.45, 0.39, 0.41, 0.40, 0.2]
    verdicts = [
        observe(i, SimpleNamespace(residual=error * problem.measurements))
        for i, error in enumerate(errors)
    ]
    assert verdicts == [None, None, None, None, None, Status.STALLED, None]


def test_counts_add_up(generator: torch.Generator) -> None:
    problem = planted_problem((10, 9), 2, oversampling=4.0, generator=generator)
    seen: list[int] = []
    phases: list[str] = []
    search = Search(
        problem=problem,
        generator=generator,
        observers=[lambda step, state: seen.append(step)],
        on_phase=phases.append,
    )
    first = _fit_at(search, 1)
    second = climb_once(search, first)
    assert second.rank == 2
    assert phases == ["rank 2"]
    assert len(seen) == second.num_steps > first.num_steps
    assert second.num_passes > first.num_passes
    assert counted(first, second).num_steps == second.num_steps
    assert counted(first, second).left is first.left


def test_completion_grows_without_forming_the_matrix(
    generator: torch.Generator,
) -> None:
    problem = planted_completion((40, 30), 2, oversampling=4.0, generator=generator)
    search = _search(problem, generator)
    assert climb(search, _fit_at(search, 1), 6).rank == 2
