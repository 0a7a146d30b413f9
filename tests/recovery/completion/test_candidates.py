"""Every method of completion alone, as it is run before the choice."""

import pytest
import torch
from torch import Tensor

from candidate_rounds import Method, rounds
from tacit.errors import Status
from tacit.recovery.completion.candidates import (
    EXPLAINED,
    IRLS,
    Candidate,
    LeftOut,
    Rounds,
    continuation_candidate,
    irls_candidate,
    judge,
)
from tacit.recovery.completion.penalised import (
    ratings_candidate,
    soft_impute_candidate,
)
from tacit.recovery.completion.ratings import with_biases
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem


def draw(generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


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
    method: Method,
) -> None:
    problem = planted_completion(
        (40, 30), 2, oversampling=4.0, noise=0.1, generator=generator
    )
    shifted = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements + 0.1
    )
    given = rounds(shifted, generator)
    candidate = method(given, [])
    assert isinstance(candidate, Candidate)
    assert candidate.misses is not None
    assert candidate.error == pytest.approx(measured_error(given, candidate))
    assert candidate.num_passes > candidate.num_steps > 0


def test_irls_finds_the_rank(generator: torch.Generator) -> None:
    problem = planted_completion((120, 90), 2, oversampling=4.0, generator=generator)
    candidate = irls_candidate(rounds(problem, generator), [])
    assert isinstance(candidate, Candidate)
    assert candidate.method == IRLS
    assert candidate.error < EXPLAINED
    assert candidate.rank == 2
    assert candidate.status is Status.CONVERGED


def test_irls_is_left_out_where_noise_is_known(generator: torch.Generator) -> None:
    problem = planted_completion(
        (40, 30), 2, oversampling=3.0, noise=0.1, generator=generator
    )
    assert irls_candidate(rounds(problem, generator), []) is None


def test_irls_interpolates_noise_and_does_not_count(generator: torch.Generator) -> None:
    problem = planted_completion((60, 50), 2, oversampling=3.0, generator=generator)
    noise = 0.3 * problem.measurements.std() * draw(generator, problem.measurements)
    noisy = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements + noise
    )
    outcome = irls_candidate(rounds(noisy, generator), [])
    assert isinstance(outcome, LeftOut)
    assert outcome.method == IRLS
    assert "noise" in outcome.why
    assert outcome.num_passes > outcome.num_steps > 0


def test_zeros_are_missed_relative_to_the_fitted_entries() -> None:
    rows, columns = torch.nonzero(torch.ones(3, 2), as_tuple=True)
    values = torch.tensor([3.0, 0.0, 0.0, 0.0, 4.0, 0.0], dtype=torch.float64)
    problem = RecoveryProblem(
        linear_map=EntriesMap(rows=rows, columns=columns, shape=(3, 2)),
        measurements=values,
        held_out=values == 0.0,
    )
    left, right = torch.ones(3, 1).double(), torch.ones(2, 1).double()
    misses, error = judge(problem, left, right)
    assert misses is not None
    assert misses.tolist() == [1.0, 1.0, 1.0, 1.0]
    # Four misses of 1 to four entries of the mean square 25 / 6.
    assert error == pytest.approx(2.0 / (4.0 * 25.0 / 6.0) ** 0.5)
