"""The exact line search, against the quartic itself and exact rationals."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cases import normal
from tacit.recovery.descent.line_search import (
    best_step,
    cubic_roots,
    quartic_coefficients,
)


def _value(coefficients: tuple[float, ...], s: float) -> float:
    return float(np.polynomial.polynomial.polyval(s, np.array(coefficients)))


def test_coefficients_are_those_of_the_weighted_squares(
    generator: torch.Generator,
) -> None:
    for dtype in (torch.float64, torch.complex128):
        r, a, b = torch.randn(3, 11, generator=generator, dtype=dtype)
        weights = torch.rand(11, generator=generator, dtype=torch.float64)
        coefficients = quartic_coefficients(r, a, b, weights)
        for s in (-0.7, 0.0, 0.3, 2.0):
            expected = float((weights * (r + s * a + s * s * b).abs() ** 2).sum())
            assert _value(coefficients, s) == pytest.approx(expected, rel=1e-12)


@given(
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
)
def test_no_other_step_is_better(r: list[int], a: list[int], b: list[int]) -> None:
    if sum(x * y for x, y in zip(r, a, strict=True)) > 0:
        a = [-x for x in a]
    vectors = torch.tensor([r, a, b], dtype=torch.float64)
    weights = torch.ones(3, dtype=torch.float64)
    coefficients = quartic_coefficients(vectors[0], vectors[1], vectors[2], weights)
    step = best_step(coefficients)
    exact = [Fraction(c) for c in coefficients]

    def value(s: Fraction) -> Fraction:
        return sum((c * s**i for i, c in enumerate(exact)), Fraction(0))

    reached = value(Fraction(step))
    scale = sum(abs(c) for c in exact) + 1
    for other in [Fraction(i, 64) for i in range(640)]:
        assert reached <= value(other) + scale * Fraction(1, 10**9)


@pytest.mark.parametrize("size", [1e-70, 1e-30, 1.0, 1e30, 1e70])
def test_the_scale_of_the_direction_does_not_matter(size: float) -> None:
    # (1 - s)^2 (1 + s^2 / 4) with s measured in units of `size`: its minimum is s = 1.
    plain = np.polynomial.polynomial.polymul([1.0, -2.0, 1.0], [1.0, 0.0, 0.25])
    scaled = tuple(float(c / size**i) for i, c in enumerate(plain))
    assert best_step(scaled) == pytest.approx(size, rel=1e-6)


def test_nothing_to_gain_gives_no_step() -> None:
    assert best_step((1.0, 0.0, 1.0, 0.0, 1.0)) == 0.0
    assert best_step((1.0, 0.0, 0.0, 0.0, 0.0)) == 0.0
    assert best_step((1.0, -1.0, 0.0, 0.0, 0.0)) == 0.0  # no finite minimum
    assert best_step((1.0, -1.0, float("inf"), 0.0, 1.0)) == 0.0


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4, 1e-9, 1e-16, 0.0])
def test_cubic_roots_are_those_of_the_companion_matrix(
    scale: float, generator: torch.Generator
) -> None:
    """Also where the leading coefficient is small, or vanishes."""
    for coefficients in normal(generator, 200, 4).tolist():
        largest = max(abs(c) for c in coefficients)
        a, b, c, d = (value / largest for value in coefficients)
        a *= scale
        found = sorted(cubic_roots(a, b, c, d))
        exact = np.roots([a, b, c, d] if abs(a) >= 1e-15 else [b, c, d])
        real = sorted(exact.real[np.abs(exact.imag) < 1e-7])
        # A root that hardly any coefficient holds is of no use to a line search.
        wanted = [root for root in real if abs(root) < 1e6]
        near = [root for root in found if abs(root) < 1e6]
        np.testing.assert_allclose(near, wanted, rtol=1e-9, atol=1e-12)


def test_cubic_roots_of_special_shapes() -> None:
    assert cubic_roots(0.0, 0.0, 0.0, 1.0) == []
    assert cubic_roots(0.0, 0.0, 0.5, -1.0) == [2.0]
    assert cubic_roots(0.0, 1.0, 0.0, 1.0) == []
    assert set(cubic_roots(0.0, 1.0, 0.0, 0.0)) == {0.0}
    assert cubic_roots(1.0, 0.0, 0.0, 0.0)[0] == 0.0
    assert np.allclose(cubic_roots(1.0, -3.0, 3.0, -1.0), 1.0, atol=1e-5)
    assert np.allclose(sorted(cubic_roots(1.0, 0.0, -1.0, 0.0)), [-1.0, 0.0, 1.0])
