"""Modes counted one by one, and the share that the truth itself has."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.data import coverage as module
from tacit.minimax.gan.data.coverage import mode_coverage
from tacit.minimax.gan.data.gaussians import (
    GaussianMixture,
    draw_samples,
    grid_mixture,
    ring_mixture,
)


def by_hand(
    mixture: GaussianMixture, samples: torch.Tensor, radius: float
) -> list[int]:
    """Count in a loop."""
    counts = [0] * mixture.num_modes
    for sample in samples.double().numpy():
        distances = np.linalg.norm(mixture.means.numpy() - sample, axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] <= radius * mixture.standard_deviation:
            counts[nearest] += 1
    return counts


@pytest.mark.parametrize("radius", [0.5, 3.0, 40.0])
def test_counts_are_those_of_a_loop(
    radius: float, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = grid_mixture()
    samples, _ = draw_samples(mixture, 300, generator=generator)
    noise = torch.randn(300, 2, generator=generator)
    samples[::3] += 0.5 * noise[::3]
    expected = by_hand(mixture, samples, radius)
    monkeypatch.setattr(module, "_CHUNK", 25 * 7)  # seven samples at a time
    found = mode_coverage(mixture, samples, radius=radius)
    assert list(found.counts) == expected
    assert found.high_quality == pytest.approx(sum(expected) / 300)
    assert found.num_found == sum(count > 0 for count in expected)
    assert (found.num_modes, found.num_samples) == (25, 300)


def test_the_truth_finds_all_modes_at_its_own_share(generator: torch.Generator) -> None:
    mixture, count = ring_mixture(), 50_000
    samples, _ = draw_samples(mixture, count, generator=generator)
    found = mode_coverage(mixture, samples)
    share = found.high_quality_of_truth
    assert share == pytest.approx(stats.chi2.cdf(9.0, 2), rel=1e-12)
    spread = math.sqrt(share * (1.0 - share) / count)
    assert abs(found.high_quality - share) < 5.0 * spread
    assert found.num_found == 8


@pytest.mark.parametrize("dimension", [1, 3, 10])
def test_the_share_of_the_truth_is_that_of_chi_squared(dimension: int) -> None:
    mixture = GaussianMixture(
        means=torch.zeros(1, dimension, dtype=torch.float64), standard_deviation=2.0
    )
    found = mode_coverage(mixture, torch.zeros(1, dimension), radius=2.5)
    expected = stats.chi2.cdf(2.5**2, dimension)
    assert found.high_quality_of_truth == pytest.approx(expected, rel=1e-10)


def test_a_collapsed_generator_finds_one_mode() -> None:
    mixture = ring_mixture()
    found = mode_coverage(mixture, mixture.means[2].expand(100, 2))
    assert found.counts == (0, 0, 100, 0, 0, 0, 0, 0)
    assert (found.num_found, found.high_quality) == (1, 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_diverged_generator_finds_nothing(value: float) -> None:
    samples = torch.tensor([[value, 0.0], [2.0, value]])
    found = mode_coverage(ring_mixture(), samples)
    assert (found.num_found, found.high_quality) == (0, 0.0)


def test_what_cannot_be_counted_is_refused() -> None:
    ring = ring_mixture()
    with pytest.raises(ShapeError, match="be at least 1"):
        mode_coverage(ring, torch.zeros(0, 2))
    with pytest.raises(ShapeError, match="be at least 1"):
        mode_coverage(ring, torch.zeros(2))
    with pytest.raises(ShapeError, match="2 coordinates"):
        mode_coverage(ring, torch.zeros(4, 3))
    for radius in (0.0, math.nan, math.inf):
        with pytest.raises(InputError, match="radius"):
            mode_coverage(ring, torch.zeros(4, 2), radius=radius)
