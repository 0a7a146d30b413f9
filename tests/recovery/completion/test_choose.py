"""The choice between methods."""

import math
from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor

from recovery_cases import draw
from tacit.errors import InputError, Status
from tacit.recovery.completion import choose
from tacit.recovery.completion.candidates import (
    CONTINUATION,
    IRLS,
    Candidate,
    Outcome,
    Rounds,
)
from tacit.recovery.completion.choose import complete
from tacit.recovery.completion.penalised import (
    RATINGS,
    SOFT_IMPUTE,
)
from tacit.recovery.completion.penalty_path import penalty_path
from tacit.recovery.completion.problem import completion_problem
from tacit.recovery.completion.soft_impute import SoftImputeState
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.rank_search import Fit, Search
from tacit.recovery.sensing import Answer


def run(
    problem: RecoveryProblem, generator: torch.Generator, rank: int | None = None
) -> Answer:
    return complete(Search(problem=problem, generator=generator), rank=rank)


def error(problem: RecoveryProblem, fit: Fit) -> float:
    """Relative error of the whole matrix."""
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    norm = torch.linalg.matrix_norm
    return float(norm(fit.left @ fit.right.mH - truth) / norm(truth))


def seen(matrix: Tensor, part: float, generator: torch.Generator) -> RecoveryProblem:
    kept = torch.rand(matrix.shape, generator=generator) < part
    rows, columns = torch.nonzero(kept, as_tuple=True)
    return completion_problem(
        rows, columns, matrix[rows, columns], (matrix.shape[0], matrix.shape[1])
    )


def require_consistent(problem: RecoveryProblem, fit: Fit) -> None:
    """The errors of a fit are those of its factors on all entries."""
    residual = problem.linear_map.apply_factors(fit.left, fit.right)
    residual = residual - problem.measurements
    torch.testing.assert_close(fit.residual, residual, rtol=1e-6, atol=1e-9)
    fitted = problem.weights > 0.0
    norm = torch.linalg.vector_norm
    train = float(norm(residual[fitted]) / norm(problem.measurements[fitted]))
    assert fit.train_error == pytest.approx(train, rel=1e-3, abs=1e-12)


def test_an_easy_case_pays_for_one_method(generator: torch.Generator) -> None:
    problem = planted_completion((100, 80), 3, oversampling=5.0, generator=generator)
    problem = hold_out(problem, 0.05, generator=generator)
    answer = run(problem, generator)
    assert answer.method == CONTINUATION
    assert list(answer.choices) == [f"validation error, {CONTINUATION}"]
    assert IRLS not in answer.reason
    assert "validation entries, the first to explain them" in answer.reason
    assert answer.fit.status is Status.CONVERGED
    assert error(problem, answer.fit) < 1e-7
    require_consistent(problem, answer.fit)


def test_few_entries_go_to_reweighted_least_squares(generator: torch.Generator) -> None:
    problem = planted_completion((150, 120), 8, oversampling=1.8, generator=generator)
    answer = run(problem, generator)
    assert answer.method == IRLS
    assert CONTINUATION in answer.reason
    assert answer.fit.rank == 8
    assert error(problem, answer.fit) < 1e-6
    require_consistent(problem, answer.fit)


def test_noise_is_met_by_all_and_the_best_is_taken(generator: torch.Generator) -> None:
    problem = planted_completion(
        (80, 60), 2, oversampling=5.0, noise=0.1, generator=generator
    )
    answer = run(problem, generator)
    errors = {
        method: answer.choices[f"validation error, {method}"]
        for method in (CONTINUATION, SOFT_IMPUTE)
    }
    assert answer.method == min(errors, key=lambda method: errors[method])
    assert answer.method == CONTINUATION
    assert answer.fit.rank == 2
    assert all(f"{value:.2e}" in answer.reason for value in errors.values())
    require_consistent(problem, answer.fit)


def test_a_photograph_goes_to_a_penalty(generator: torch.Generator) -> None:
    photograph = torch.from_numpy(load_sample_image("china.jpg").astype("float64"))
    problem = seen(photograph.mean(-1)[::4, ::4], 0.5, generator)
    problem = hold_out(problem, 0.05, generator=generator)
    answer = run(problem, generator)
    assert answer.method in (SOFT_IMPUTE, RATINGS)
    # As good as soft-impute at the penalty that is best for the held-out entries.
    path = penalty_path(problem, generator=generator)
    assert answer.fit.held_out_error < 1.02 * path.best.held_out_error
    require_consistent(problem, answer.fit)


def test_ratings_get_biases(generator: torch.Generator) -> None:
    matrix = (
        3.5
        + draw(generator, 80, 1)
        + 0.7 * draw(generator, 1, 50)
        + 0.3 * draw(generator, 80, 50)
    )
    problem = hold_out(seen(matrix, 0.3, generator), 0.1, generator=generator)
    answer = run(problem, generator)
    assert answer.method == RATINGS
    assert answer.choices["shrinkage"] > 0.0
    # Nothing but the noise, 0.3, can be left.
    assert problem.held_out is not None
    misses = answer.fit.residual[problem.held_out]
    assert 0.27 < float(misses.square().mean().sqrt()) < 0.34
    require_consistent(problem, answer.fit)


def test_held_out_entries_take_no_part(generator: torch.Generator) -> None:
    problem = planted_completion(
        (60, 50), 2, oversampling=4.0, noise=0.1, generator=generator
    )
    problem = hold_out(problem, 0.1, generator=generator)
    assert problem.held_out is not None
    spoilt = RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=torch.where(problem.held_out, 7.0, problem.measurements),
        held_out=problem.held_out,
        noise_level=problem.noise_level,
    )
    state = generator.get_state()
    first = run(problem, generator)
    generator.set_state(state)
    second = run(spoilt, generator)
    assert first.reason == second.reason
    assert torch.equal(first.fit.left, second.fit.left)
    assert first.fit.held_out_error < second.fit.held_out_error


@pytest.mark.parametrize("oversampling", [2.6, 5.0])
def test_symmetric_matrices_are_answered_by_one_factor(
    generator: torch.Generator, oversampling: float
) -> None:
    problem = planted_completion(
        (100, 100),
        2,
        oversampling=oversampling,
        is_symmetric=True,
        generator=generator,
    )
    answer = run(problem, generator, rank=2)
    assert answer.fit.left is answer.fit.right
    assert error(problem, answer.fit) < 1e-6


@pytest.mark.parametrize("rank", [1, 3])
def test_the_rank_is_kept(generator: torch.Generator, rank: int) -> None:
    problem = planted_completion(
        (50, 40), 4, oversampling=3.0, noise=0.2, generator=generator
    )
    shifted = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements + 0.2
    )
    assert run(shifted, generator, rank=rank).fit.rank <= rank


def test_a_tiny_problem_has_no_validation_entries(generator: torch.Generator) -> None:
    problem = completion_problem([0, 0, 1], [0, 1, 0], [1.0, 2.0, 3.0])
    answer = run(problem, generator)
    assert "too few entries" in answer.reason
    assert all(math.isnan(value) for value in answer.choices.values())
    filled = (answer.fit.left @ answer.fit.right.mH)[1, 1]
    assert float(filled) == pytest.approx(6.0, rel=1e-6)


def made_up(method: str, misses: Tensor, overfit: float = 1.0) -> Candidate:
    factor = torch.ones(3, 1, dtype=torch.float64)
    return Candidate(
        method=method,
        misses=misses,
        error=float(misses.square().mean().sqrt()),
        left=factor,
        right=factor,
        status=Status.CONVERGED,
        num_steps=1,
        num_passes=1,
        overfit=overfit,
    )


@pytest.mark.parametrize(("excess", "is_close"), [(0.9, True), (1.1, False)])
def test_the_simplest_within_one_standard_error_is_taken(
    generator: torch.Generator, excess: float, is_close: bool
) -> None:
    lowest = 1.0 + draw(generator, 100).abs()
    # Squares differ by 1 +- spread at random, so one standard error is spread / 10.
    wobble = draw(generator, 100)
    wobble = (wobble - wobble.mean()) / wobble.std()
    simple = (lowest.square() + 0.1 * wobble + excess * 0.01).sqrt()
    candidates = [made_up("simple", simple), made_up("lowest", lowest)]
    chosen, rule = choose._choose(candidates)
    assert chosen.method == ("simple" if is_close else "lowest")
    assert ("one standard error" in rule) == is_close
    # What is lowest only before convergence gives way to what is close, too.
    candidates = [made_up("lowest", lowest, overfit=1.2), made_up("other", simple)]
    assert choose._choose(candidates)[0].method == ("other" if is_close else "lowest")


def test_a_method_that_failed_is_named_and_not_taken(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Rounds, __: list[Candidate]) -> Outcome:
        nothing = torch.full((10,), math.nan, dtype=torch.float64)
        return replace(made_up("broken", nothing), status=Status.NON_FINITE)

    monkeypatch.setattr(choose, "irls_candidate", fail)
    problem = planted_completion(
        (50, 40), 2, oversampling=4.0, noise=0.1, generator=generator
    )
    answer = run(problem, generator)
    assert answer.method != "broken"
    assert "broken failed" in answer.reason or "broken" not in answer.reason
    require_consistent(problem, answer.fit)


@pytest.mark.parametrize(
    ("size", "noise", "count"), [(400, 0.0, 20), (400, 0.3, 60), (2000, 0.3, 200)]
)
def test_more_entries_are_asked_where_methods_are_compared(
    generator: torch.Generator, size: int, noise: float, count: int
) -> None:
    problem = planted_completion(
        (60, 50), 1, num_measurements=size, noise=noise, generator=generator
    )
    problem = replace(problem, noise_level=None)
    assert f"error on {count} validation entries" in run(problem, generator).reason


@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("scale", [1e-50, 1.0, 1e50])
def test_odd_problems_are_answered_with_numbers(
    generator: torch.Generator, scale: float, is_symmetric: bool
) -> None:
    for size in (2, 3):
        for part in (0.2, 0.6, 1.0):
            matrix = scale * draw(generator, size, 1) * draw(generator, 1, size)
            matrix = scale * matrix.sign() if is_symmetric else matrix
            kept = torch.rand(size, size, generator=generator) < part
            kept[0, 0] = True
            kept = kept.triu() if is_symmetric else kept
            rows, columns = torch.nonzero(kept, as_tuple=True)
            problem = completion_problem(
                rows,
                columns,
                matrix[rows, columns],
                (size, size),
                is_symmetric=is_symmetric,
            )
            fit = run(problem, generator).fit
            assert fit.status is not Status.NON_FINITE
            assert bool(torch.isfinite(fit.left).all())
            assert bool(torch.isfinite(fit.right).all())


def test_an_interruption_is_reported(generator: torch.Generator) -> None:
    def interrupt(_: int, state: object) -> None:
        if isinstance(state, SoftImputeState):
            raise KeyboardInterrupt

    problem = planted_completion(
        (50, 40), 2, oversampling=3.0, noise=0.2, generator=generator
    )
    search = Search(problem=problem, generator=generator, observers=[interrupt])
    answer = complete(search)
    assert answer.fit.status is Status.INTERRUPTED
    assert answer.method == CONTINUATION
    require_consistent(problem, answer.fit)


def test_other_maps_are_refused(generator: torch.Generator) -> None:
    gaussian = gaussian_map((4, 3), 10, generator=generator)
    problem = RecoveryProblem(
        linear_map=gaussian, measurements=torch.ones(10, dtype=torch.float64)
    )
    with pytest.raises(InputError, match="EntriesMap"):
        run(problem, generator)
