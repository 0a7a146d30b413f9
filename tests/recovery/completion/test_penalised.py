"""Soft-impute, with and without biases, as candidates; and what is left out."""

from dataclasses import replace

import pytest
import torch

from candidate_rounds import Method, rounds
from tacit.recovery.completion import candidates as candidates_module
from tacit.recovery.completion import penalised as penalised_module
from tacit.recovery.completion.candidates import (
    IRLS,
    Candidate,
    LeftOut,
    continuation_candidate,
    irls_candidate,
)
from tacit.recovery.completion.penalised import (
    RATINGS,
    SOFT_IMPUTE,
    ratings_candidate,
    soft_impute_candidate,
)
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (irls_candidate, IRLS),
        (soft_impute_candidate, SOFT_IMPUTE),
        (ratings_candidate, RATINGS),
    ],
)
def test_what_costs_far_more_than_the_first_is_left_out(
    generator: torch.Generator,
    method: Method,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = planted_completion(
        (40, 30), 2, oversampling=4.0, noise=0.1, generator=generator
    )
    shifted = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements + 0.1
    )
    given = rounds(shifted, generator)
    first = continuation_candidate(given, [])
    assert isinstance(first, Candidate)
    monkeypatch.setattr(candidates_module, "_CHEAP", 0.0)
    monkeypatch.setattr(candidates_module, "_FAR_BEYOND", 0.01)
    monkeypatch.setattr(penalised_module, "_BIASES_FAR", 100.0)
    outcome = method(given, [first])
    assert isinstance(outcome, LeftOut)
    assert (outcome.method, outcome.why) == (name, "for its cost")
    # With more to spend, soft-impute gets as many columns as that pays for.
    paid = penalised_module._PATH_PASSES * 7.0 * len(shifted.measurements)
    monkeypatch.setattr(candidates_module, "_CHEAP", paid)
    limited = soft_impute_candidate(given, [first])
    assert isinstance(limited, Candidate)
    assert limited.choices["largest_rank"] == 7.0
    assert limited.rank <= 7


def test_a_method_that_costs_more_than_foreseen_is_given_up(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = planted_completion(
        (40, 30), 2, oversampling=4.0, noise=0.1, generator=generator
    )
    given = rounds(replace(problem, noise_level=None), generator)
    monkeypatch.setattr(penalised_module, "_PATH_PASSES", 1e-3)
    monkeypatch.setattr(candidates_module, "_CHEAP", 1e4)
    outcome = soft_impute_candidate(given, [])
    assert isinstance(outcome, LeftOut)
    assert (outcome.method, outcome.why) == (SOFT_IMPUTE, "for its cost")
    assert outcome.num_steps > 0


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
