"""Mixtures against scipy's distributions, and the discriminator against a search."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import minimize_scalar

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.data.gaussians import (
    GaussianMixture,
    check_points,
    draw_samples,
    grid_mixture,
    log_density,
    optimal_scores,
    ring_mixture,
)

UNEQUAL = GaussianMixture(
    means=torch.tensor([[0.0, 1.0, 0.5], [2.0, -1.0, 0.0]], dtype=torch.float64),
    standard_deviation=0.7,
    weights=torch.tensor([0.25, 0.75], dtype=torch.float64),
)
MIXTURES = {"ring": ring_mixture(), "grid": grid_mixture(), "unequal": UNEQUAL}


def density(mixture: GaussianMixture, points: np.ndarray) -> np.ndarray:
    """Return the density as scipy has it, mode by mode."""
    weights = mixture.weights
    if weights is None:
        weights = torch.ones(mixture.num_modes).double() / mixture.num_modes
    total = np.zeros(len(points))
    for weight, mean in zip(weights.tolist(), mixture.means.numpy(), strict=True):
        one_by_one = stats.norm.pdf(points, mean, mixture.standard_deviation)
        total += weight * one_by_one.prod(axis=1)
    return total


@pytest.mark.parametrize("name", MIXTURES)
def test_densities_are_those_of_scipy(name: str, generator: torch.Generator) -> None:
    mixture = MIXTURES[name]
    points, _ = draw_samples(mixture, 200, generator=generator)
    found = log_density(mixture, points)
    expected = np.log(density(mixture, points.to(torch.float64).numpy()))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_densities_far_away_do_not_vanish() -> None:
    mixture = ring_mixture(1, standard_deviation=0.02)
    found = float(log_density(mixture, torch.tensor([1e6, 0.0])))
    expected = -((1e6 - 2.0) ** 2) / (2 * 0.02**2) - math.log(2 * math.pi * 0.02**2)
    assert found == pytest.approx(expected, rel=1e-12)


def test_points_keep_their_batch_shape() -> None:
    assert log_density(ring_mixture(), torch.zeros(3, 4, 2)).shape == (3, 4)
    assert log_density(ring_mixture(), torch.zeros(2)).shape == ()


def test_modes_are_where_the_papers_have_them() -> None:
    ring, grid = ring_mixture(), grid_mixture()
    assert torch.linalg.vector_norm(ring.means, dim=1).allclose(
        torch.tensor(2.0, dtype=torch.float64)
    )
    gaps = torch.cdist(ring.means, ring.means)[0].sort().values
    assert float(gaps[1]) == pytest.approx(4.0 * math.sin(math.pi / 8.0))
    expected = {(float(x), float(y)) for x in range(-4, 5, 2) for y in range(-4, 5, 2)}
    assert {(mean[0], mean[1]) for mean in grid.means.tolist()} == expected
    assert (ring.standard_deviation, grid.standard_deviation) == (0.02, 0.05)


@pytest.mark.parametrize("name", MIXTURES)
def test_samples_have_the_mixtures_moments(
    name: str, generator: torch.Generator
) -> None:
    mixture, count = MIXTURES[name], 40_000
    samples, modes = draw_samples(mixture, count, generator=generator)
    assert samples.dtype == torch.float32
    offsets = (samples - mixture.means[modes]) / mixture.standard_deviation
    # One in a million per number of a normal law; float32 adds 1e-5 standard units.
    assert float(offsets.mean(dim=0).abs().max()) < 5.0 / math.sqrt(count)
    assert float((offsets.square().mean(dim=0) - 1.0).abs().max()) < 5.0 * math.sqrt(
        2.0 / count
    )
    expected = mixture.weights
    if expected is None:
        expected = torch.full((mixture.num_modes,), 1.0 / mixture.num_modes)
    counts = modes.bincount(minlength=mixture.num_modes).numpy()
    assert stats.chisquare(counts, (expected * count).numpy()).pvalue > 1e-6


def test_the_stream_alone_decides_what_is_drawn() -> None:
    first, second, other = (torch.Generator().manual_seed(seed) for seed in (1, 1, 2))
    one, two, three = (
        draw_samples(grid_mixture(), 9, generator=stream)[0]
        for stream in (first, second, other)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_the_best_discriminator_is_found_by_no_search(
    generator: torch.Generator,
) -> None:
    real = ring_mixture(3, standard_deviation=0.8)
    fake = ring_mixture(5, radius=1.0, standard_deviation=1.2)
    points, _ = draw_samples(fake, 5, generator=generator)
    scores = optimal_scores(real, fake, points)
    exact = points.to(torch.float64).numpy()
    pairs = zip(density(real, exact), density(fake, exact), scores, strict=True)
    for p, q, score in pairs:

        def loss(s: float, p: float = p, q: float = q) -> float:
            return p * np.logaddexp(0.0, -s) + q * np.logaddexp(0.0, s)

        found: Any = minimize_scalar(loss)
        assert float(score) == pytest.approx(found.x, abs=1e-6)


@pytest.mark.parametrize(
    ("means", "deviation", "weights", "error", "message"),
    [
        (torch.zeros(3), 1.0, None, ShapeError, "num_modes, dimension"),
        (torch.zeros(0, 2), 1.0, None, ShapeError, "num_modes, dimension"),
        (torch.zeros(3, 2), 1.0, None, InputError, "finite float64"),
        (torch.full((3, 2), math.nan).double(), 1.0, None, InputError, "finite"),
        (torch.zeros(3, 2).double(), 0.0, None, InputError, "positive"),
        (torch.zeros(3, 2).double(), math.nan, None, InputError, "positive"),
        (torch.zeros(3, 2).double(), math.inf, None, InputError, "positive"),
        (torch.zeros(3, 2).double(), 1.0, torch.ones(2) / 2, ShapeError, "one weight"),
        (torch.zeros(2, 2).double(), 1.0, torch.ones(2), InputError, "got sum 2"),
        (
            torch.zeros(2, 2).double(),
            1.0,
            torch.tensor([1.5, -0.5]),
            InputError,
            "positive and of sum 1",
        ),
        (
            torch.zeros(2, 2).double(),
            1.0,
            torch.tensor([math.nan, 1.0]),
            InputError,
            "positive and of sum 1",
        ),
    ],
)
def test_what_is_no_distribution_is_refused(
    means: torch.Tensor,
    deviation: float,
    weights: torch.Tensor | None,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        GaussianMixture(means=means, standard_deviation=deviation, weights=weights)


def test_impossible_sizes_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="at least 1 mode"):
        ring_mixture(0)
    with pytest.raises(InputError, match="positive radius"):
        ring_mixture(radius=-1.0)
    with pytest.raises(InputError, match="at least 1 mode"):
        grid_mixture(0)
    with pytest.raises(InputError, match="positive spacing"):
        grid_mixture(spacing=math.nan)
    for count in (0, 10**9):
        with pytest.raises(InputError, match="num_samples must be"):
            draw_samples(ring_mixture(), count, generator=generator)


def test_points_of_another_dimension_are_refused() -> None:
    for points in (torch.zeros(4, 3), torch.tensor(0.0)):
        with pytest.raises(ShapeError, match="2 coordinates"):
            check_points(ring_mixture(), points)
        with pytest.raises(ShapeError, match="2 coordinates"):
            log_density(ring_mixture(), points)
