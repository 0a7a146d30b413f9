"""Every method of completion alone, as it is run before the choice."""

from collections.abc import Callable

import pytest
import torch

from tacit.errors import Status
from tacit.recovery.completion.candidates import (
    EXPLAINED,
    IRLS,
    Candidate,
    Rounds,
    continuation_candidate,
    irls_candidate,
    ratings_candidate,
    soft_impute_candidate,
)
from tacit.recovery.completion.ratings import with_biases
from tacit.recovery.completion.sparse_low_rank import mirrored
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.rank_search import Search


def rounds(
    problem: RecoveryProblem, generator: torch.Generator, rank: int | None = None
) -> Rounds:
    trial = hold_out(problem, 0.1, generator=generator)
    search = Search(problem=problem, generator=generator)
    return Rounds(search=search, trial=trial, both=mirrored(trial), rank=rank)


def measured_error(given: Rounds, candidate: Candidate) -> float:
    """The validation error, from the factors alone."""
    left, right = candidate.left, candidate.right
    if candidate.biases is not None:
        left, right = with_biases(candidate.biases, left, right)
    held_out = given.both.held_out
    assert held_out is not None
    residual = (
        given.both.linear_map.apply_factors(left, right) - given.both.measurements
    )
    size = torch.linalg.vector_norm(given.both.measurements[held_out])
    return float(torch.linalg.vector_norm(residual[held_out]) / size)


@pytest.mark.parametrize(
    "method", [continuation_candidate, soft_impute_candidate, ratings_candidate]
)
def test_errors_are_those_of_the_validation_entries(
    generator: torch.Generator,
    method: Callable[[Rounds, list[Candidate]], Candidate | None],
) -> None:
    problem = planted_completion(
        (40, 30), 2, oversampling=4.0, noise=0.1, generator=generator
    )
    shifted = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements + 0.1
    )
    given = rounds(shifted, generator)
    candidate = method(given, [])
    assert candidate is not None
    assert candidate.error == pytest.approx(measured_error(given, candidate))
    assert candidate.num_passes > candidate.num_steps > 0


def test_irls_finds_the_rank(generator: torch.Generator) -> None:
    problem = planted_completion((120, 90), 2, oversampling=4.0, generator=generator)
    candidate = irls_candidate(rounds(problem, generator), [])
    assert candidate is not None
    assert candidate.method == IRLS
    assert candidate.error < EXPLAINED
    assert candidate.rank == 2
    assert candidate.status is Status.CONVERGED


def test_irls_is_left_out_where_noise_is_known(generator: torch.Generator) -> None:
    problem = planted_completion(
        (40, 30), 2, oversampling=3.0, noise=0.1, generator=generator
    )
    assert irls_candidate(rounds(problem, generator), []) is None


def test_biases_are_left_out_where_they_explain_nothing(
    generator: torch.Generator,
) -> None:
    problem = planted_completion((40, 30), 2, oversampling=3.0, generator=generator)
    assert ratings_candidate(rounds(problem, generator), []) is None


def test_biases_need_two_columns_besides_one(generator: torch.Generator) -> None:
    problem = planted_completion((40, 30), 2, oversampling=3.0, generator=generator)
    assert ratings_candidate(rounds(problem, generator, rank=2), []) is None


def test_symmetric_matrices_have_no_biases(generator: torch.Generator) -> None:
    problem = planted_completion(
        (30, 30), 1, oversampling=3.0, is_symmetric=True, generator=generator
    )
    assert ratings_candidate(rounds(problem, generator), []) is None
