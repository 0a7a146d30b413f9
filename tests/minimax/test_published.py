"""Statements of the literature carry their certainty."""

import math

import pytest

from tacit.errors import ShapeError
from tacit.minimax.published import published_width


def test_growth_and_certainty() -> None:
    found = published_width(20, 10)
    assert found.value == pytest.approx(20 * 1e4 * math.log(10) ** 3)
    assert found.certainty == "recalled"
    assert published_width(40, 10).value == pytest.approx(2 * found.value)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least 1"):
        published_width(0, 3)
    with pytest.raises(ShapeError, match="at least 1"):
        published_width(3, 0)
