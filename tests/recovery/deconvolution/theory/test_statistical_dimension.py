"""Distances to the subdifferential against integrals, moments and draws."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.special import gammaincc

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.theory.statistical_dimension import (
    statistical_dimension,
    subdifferential_distance,
)


@pytest.mark.parametrize("shape", [(2, 5), (7, 2), (2, 40)])
def test_one_singular_value_is_a_gamma_integral(shape: tuple[int, int]) -> None:
    # (K - 1) x (N - 1) is one row: its squared length x has a gamma distribution.
    distance, order = subdifferential_distance(shape), max(shape) - 1
    for place in range(0, len(distance.scales), 251):
        scale = float(distance.scales[place])

        def integrand(x: float, scale: float = scale) -> float:
            density = math.exp((order - 1) * math.log(x) - x - math.lgamma(order))
            return (math.sqrt(x) - scale) ** 2 * density

        soft, _ = quad(
            integrand, scale**2, scale**2 + 400.0, points=[scale**2 + max(shape)]
        )
        expected = sum(shape) - 1 + scale**2 + soft
        assert float(distance.values[place]) == pytest.approx(expected, rel=1e-5)
        tail = float(gammaincc(order, scale**2))
        assert float(distance.counts[place]) == pytest.approx(tail, abs=2e-3)


@pytest.mark.parametrize(
    ("shape", "rank"),
    [((6, 6), 1), ((5, 30), 3), ((200, 200), 1), ((300, 900), 2), ((1000, 1000), 1)],
)
def test_at_scale_zero_it_is_the_number_of_entries(
    shape: tuple[int, int], rank: int
) -> None:
    # The mean of |G|^2, and as many singular values as the smaller side has rows.
    # Far sizes are where functions of the recurrence underflow and must be rescaled.
    distance = subdifferential_distance(shape, rank)
    slope = 2.0 * float(distance.scales[0]) * math.sqrt(shape[0] * shape[1])
    assert float(distance.values[0]) == pytest.approx(
        shape[0] * shape[1], abs=slope * min(shape)
    )
    assert float(distance.counts[0]) == pytest.approx(min(shape) - rank, rel=1e-3)


@pytest.mark.parametrize("is_complex", [True, False])
def test_draws_have_that_mean(generator: torch.Generator, *, is_complex: bool) -> None:
    dtype = torch.complex128 if is_complex else torch.float64
    drawn = torch.randn(4000, 7, 11, generator=generator, dtype=dtype)
    singular = torch.linalg.svdvals(drawn)
    distance = subdifferential_distance((8, 12))
    for place in range(40, len(distance.scales), 300):
        scale = float(distance.scales[place])
        parts = (singular - scale).clamp(min=0.0).square().sum(-1)
        expected = 19.0 + scale**2 + float(parts.mean())
        error = 5.0 * float(parts.std()) / math.sqrt(4000.0)
        # Real matrices have a wider edge; the docstring states the size of that.
        bias = 0.0 if is_complex else 0.03 * expected
        assert abs(float(distance.values[place]) - expected) < error + bias + 1e-3


def test_the_dimension_grows_from_the_count_to_three_times_it() -> None:
    ratios = [statistical_dimension((n, n)) / (2 * n) for n in (5, 20, 80, 320, 800)]
    assert ratios == sorted(ratios)
    assert ratios[0] > 1.0
    assert 2.7 < ratios[-1] < 3.0
    # A rank-one matrix of one row is a vector: nothing is smaller in its space.
    assert statistical_dimension((1, 9)) == pytest.approx(9.0, abs=1e-4)


def test_twice_the_rank_takes_less_than_twice_as_much() -> None:
    one, two = statistical_dimension((20, 20), 1), statistical_dimension((20, 20), 2)
    assert one < two < 2.0 * one


def test_what_is_no_rank_or_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match="shape must be positive; got"):
        subdifferential_distance((0, 3))
    with pytest.raises(InputError, match="rank must be in"):
        subdifferential_distance((4, 3), 4)
