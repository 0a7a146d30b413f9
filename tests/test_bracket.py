import math
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.bracket import CROSSING_RTOL, Arithmetic, Bound, Bracket
from tacit.errors import BracketError, InputError


def _low(value: float) -> Bound:
    return Bound(value=value, side="lower", method="a pair of inputs")


def _high(value: float) -> Bound:
    return Bound(value=value, side="upper", method="a dual point")


@pytest.mark.parametrize(
    ("low", "high", "ratio"),
    [
        (2.0, 3.0, 1.5),
        (1.0, 1.0, 1.0),
        (0.0, 0.0, 1.0),
        (0.0, 1.0, math.inf),
        (0.0, math.inf, math.inf),
        (3.0, math.inf, math.inf),
        (-1.0, 2.0, math.inf),
        (-1.0, 0.0, math.inf),
        (math.inf, math.inf, 1.0),
    ],
)
def test_ratio_of_known_brackets(low: float, high: float, ratio: float) -> None:
    assert Bracket(lower=_low(low), upper=_high(high)).ratio == ratio


@given(
    st.floats(min_value=1e-300, max_value=1e150),
    st.floats(min_value=1.0, max_value=1e150),
)
def test_ratio_is_what_the_lower_bound_is_multiplied_by(
    low: float, factor: float
) -> None:
    ratio = Bracket(lower=_low(low), upper=_high(low * factor)).ratio
    # One product and one quotient, each rounded once; subnormals do not occur.
    assert math.isclose(ratio, factor, rel_tol=4 * 2.0**-53)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_two_sides_make_a_bracket_only_in_the_right_order(x: float, y: float) -> None:
    low, high = min(x, y), max(x, y)
    assert Bracket(lower=_low(low), upper=_high(high)).lower.value == low
    # What is far apart must not pass in the wrong order.
    if high - low > 1e-6 * max(abs(low), abs(high)):
        with pytest.raises(BracketError, match="this is a bug in tacit"):
            Bracket(lower=_low(high), upper=_high(low))


def test_sides_may_cross_by_rounding_only() -> None:
    Bracket(lower=_low(1.0 + 0.5 * CROSSING_RTOL), upper=_high(1.0))
    with pytest.raises(BracketError, match=r"1\.000000002 \(a pair of inputs\)"):
        Bracket(lower=_low(1.0 + 2.0 * CROSSING_RTOL), upper=_high(1.0))


def test_a_positive_lower_bound_refutes_an_upper_bound_of_zero() -> None:
    with pytest.raises(BracketError, match="exceeds upper bound 0"):
        Bracket(lower=_low(1e-300), upper=_high(0.0))


@pytest.mark.parametrize(("low", "high"), [(math.inf, 1.0), (1.0, -math.inf)])
def test_an_infinite_side_excuses_nothing(low: float, high: float) -> None:
    with pytest.raises(BracketError, match="exceeds upper bound"):
        Bracket(lower=_low(low), upper=_high(high))


def test_swapped_sides_are_refused() -> None:
    with pytest.raises(InputError, match="got 'upper' and 'lower'"):
        Bracket(lower=_high(1.0), upper=_low(2.0))
    with pytest.raises(InputError, match="got 'lower' and 'lower'"):
        Bracket(lower=_low(1.0), upper=_low(2.0))


def test_nan_is_no_bound() -> None:
    with pytest.raises(InputError, match=r"upper bound by 'a dual point'.*got nan"):
        _high(math.nan)


@pytest.mark.parametrize(
    ("arithmetic", "probability"),
    [
        ("probabilistic", 0.0),
        ("probabilistic", 1.0),
        ("probabilistic", -0.1),
        ("probabilistic", math.nan),
        ("float", 0.1),
        ("float", math.nan),
        ("verified", 1e-300),
    ],
)
def test_failure_probability_must_fit_the_arithmetic(
    arithmetic: Arithmetic, probability: float
) -> None:
    with pytest.raises(InputError, match="failure_probability must be in"):
        replace(_high(1.0), arithmetic=arithmetic, failure_probability=probability)


@pytest.mark.parametrize(
    ("arithmetic", "probability"),
    [("float", 0.0), ("verified", 0.0), ("probabilistic", 1e-12)],
)
def test_each_arithmetic_with_its_probability_is_accepted(
    arithmetic: Arithmetic, probability: float
) -> None:
    bound = replace(_high(1.0), arithmetic=arithmetic, failure_probability=probability)
    assert bound.arithmetic == arithmetic
    assert bound.failure_probability == probability


def test_an_answer_cannot_be_changed_afterwards() -> None:
    bracket = Bracket(lower=_low(1.0), upper=_high(2.0))
    with pytest.raises(FrozenInstanceError):
        bracket.upper.value = 0.5  # pyright: ignore[reportAttributeAccessIssue]
