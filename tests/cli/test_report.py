"""A result in words, as a table and as JSON."""

import json
import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from tacit.bracket import Bound, Bracket
from tacit.cli.report import describe, make_table, notes, to_json
from tacit.errors import Status
from tacit.lipschitz.lifted_bound import LiftedResult
from tacit.lipschitz.network import chain
from tacit.lipschitz.pair import PairWitness
from tacit.lipschitz.predict import Prediction
from tacit.lipschitz.problem import LipschitzProblem
from tacit.lipschitz.solve import LipschitzResult

NETWORK = chain([(torch.eye(2), None, None)])
ZERO = torch.zeros(2)


def lower(value: float) -> Bound:
    """Return a bound below."""
    pair = PairWitness(x=ZERO, x_prime=ZERO + 1.0, quotient=value)
    return Bound(
        value=value, side="lower", method="search", witness=pair, seconds=0.125
    )


def upper(value: float, *, probability: float = 0.0) -> Bound:
    """Return a bound above."""
    return Bound(
        value=value,
        side="upper",
        method="a method of twenty-nine letters",
        arithmetic="probabilistic" if probability else "float",
        failure_probability=probability,
    )


def result_of(
    low: Bound, high: Bound, lifted: LiftedResult | None = None
) -> LipschitzResult:
    """Return a result of these two bounds."""
    return LipschitzResult(
        problem=LipschitzProblem(network=NETWORK),
        digest=NETWORK.digest,
        outputs=None,
        bracket=Bracket(lower=low, upper=high),
        bounds=(high, low),
        lifted=lifted,
        seconds=1.0,
    )


def lifted_of(bound: Bound | None, value: float, status: Status) -> LiftedResult:
    """Return the outcome of a search."""
    return LiftedResult(
        bound=bound, lifted_value=value, status=status, num_steps=1, search_rank=1
    )


PREDICTION = Prediction(
    name="a prediction whose name is longer than a line of the table has room for",
    value=3.0,
    certainty="recalled",
    source="somebody",
    failure_probability=1e-3,
)


def _shown(result: LipschitzResult, *predictions: Prediction) -> str:
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(make_table(result, predictions))
    return capture.get()


def test_the_table_goes_from_the_smallest_bound_up_and_then_predicts() -> None:
    text = _shown(result_of(lower(1.0), upper(2.0)), PREDICTION)
    rows = text.splitlines()[2:]
    assert rows[0].split() == ["search", "lower", "1", "reached,", "float", "0.12"]
    assert rows[1].split()[:5] == ["a", "method", "of", "twenty-nine", "upper"]
    assert "proved, float" in rows[1]
    assert rows[2].strip() == "letters"
    assert "predicted" in rows[3]
    words = " ".join(text.split())
    assert "recalled, risk" in words
    assert all(word in words for word in PREDICTION.name.split())
    assert max(map(len, text.splitlines())) <= 80


def test_no_column_is_lost_to_a_long_one() -> None:
    long = replace(upper(-1.234567e-100), method="x" * 100, seconds=123456.0)
    result = replace(result_of(lower(1.0), upper(2.0)), bounds=(long,))
    lines = _shown(result, PREDICTION, PREDICTION).splitlines()
    assert max(map(len, lines)) == 80
    text = "".join("".join(lines).split())
    assert text.count("x") == 100
    for word in ("-1.234567e-100", "123456.00", "predicted", "1e-03"):
        assert word in text


def test_a_bound_that_may_fail_says_how_often() -> None:
    text = _shown(result_of(lower(1.0), upper(2.0, probability=1e-9)))
    assert "probabilistic," in text
    assert "1e-09" in text


def test_a_margin_is_named_as_the_difference_it_is() -> None:
    result = result_of(lower(1.0), upper(2.0))
    assert describe(result) == "f"
    assert describe(replace(result, outputs=(3, 5))) == "f[3] - f[5]"


@pytest.mark.parametrize(
    ("lifted", "words"),
    [
        (None, ["no multipliers were accepted"]),
        (lifted_of(None, 1.0, Status.STALLED), ["no multipliers were accepted"]),
        (lifted_of(upper(2.0), 2.0, Status.CONVERGED), []),
        (lifted_of(upper(2.0 + 1e-12), 2.0, Status.CONVERGED), []),
        (
            lifted_of(upper(2.5), 2.5, Status.CONVERGED),
            ["a certificate file proves 2.5; for the smaller bound"],
        ),
        (lifted_of(upper(2.0), 1.0, Status.MAX_STEPS), ["gap is 1.0e+00: the step"]),
        (
            lifted_of(upper(2.0), 0.0, Status.STALLED),
            ["gap is not known: no further"],
        ),
    ],
)
def test_what_else_a_reader_should_know(
    lifted: LiftedResult | None, words: list[str]
) -> None:
    found = notes(result_of(lower(1.0), upper(2.0), lifted))
    assert len(found) == len(words)
    for note, word in zip(found, words, strict=True):
        assert word in note


def test_numbers_that_json_lacks_become_none() -> None:
    endless = replace(PREDICTION, value=math.inf)
    result = result_of(lower(0.0), upper(math.inf))
    content = to_json(NETWORK, "title", result, (endless,), None)
    json.dumps(content, allow_nan=False)
    assert (content["lower"], content["upper"], content["ratio"]) == (0.0, None, None)
    assert content["witness"] is content["witness_upper"] is None
