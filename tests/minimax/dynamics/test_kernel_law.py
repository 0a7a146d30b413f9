"""The law of the starting spectrum against draws, with error bars."""

import math

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.dynamics.jacobian import active_means
from tacit.minimax.dynamics.kernel_law import kernel_law
from tacit.minimax.dynamics.spectrum import jacobian_spectrum
from tacit.minimax.mean_matching import draw_start, random_game

SIZES = [(10, 50), (3, 8), (1, 5), (20, 1), (2, 2), (40, 20)]  # d, n


def strengths(
    d: int, n: int, draws: int, width: int, generator: torch.Generator
) -> Tensor:
    """Squared lengths of M_j of many games, one row a game."""
    game = random_game(width, 1, d, n, batch=(draws,), generator=generator)
    weights, _ = draw_start(game, generator=generator)
    return active_means(game, weights).square().sum(-1)


@pytest.mark.parametrize(("d", "n"), SIZES)
def test_mean_and_both_variances(d: int, n: int, generator: torch.Generator) -> None:
    draws, width = 4000, 12
    D = strengths(d, n, draws, width, generator)
    law = kernel_law(width=width, num_features=1, latent_dim=d, num_latents=n)
    means = D.mean(1)
    error = float(means.std()) / math.sqrt(draws)
    assert abs(float(means.mean()) - law.mean) < 4 * error
    # Products of different neurons of one game: the part that they share.
    total = D.sum(1)
    crossed = (total**2 - (D**2).sum(1)) / (width * (width - 1))
    shared = (law.mean**2) * (1 + law.game_deviation**2)
    error = float(crossed.std()) / math.sqrt(draws)
    assert abs(float(crossed.mean()) - shared) < 4 * error
    squares = (D**2).mean(1)
    whole = shared + law.neuron_variance * law.mean**2
    error = float(squares.std()) / math.sqrt(draws)
    assert abs(float(squares.mean()) - whole) < 4 * error


def test_mean_of_the_kernel_with_all_scales(generator: torch.Generator) -> None:
    sizes = {"width": 60, "num_features": 5, "latent_dim": 4, "num_latents": 9}
    law = kernel_law(**sizes, output_scale=0.3, latent_scale=2.0)
    game = random_game(
        *sizes.values(),
        batch=(600,),
        output_scale=0.3,
        latent_scale=2.0,
        generator=generator,
    )
    weights, _ = draw_start(game, generator=generator, weight_scale=7.0)
    traces = jacobian_spectrum(game, weights).singular_values.square().mean(-1)
    error = float(traces.std()) / math.sqrt(600)
    assert abs(float(traces.mean()) - law.mean) < 4 * error
    # d = 4, n = 9: 60 * 0.09 * 4 * (4 + 8 / pi) / 18, written out.
    assert law.mean == pytest.approx(1.2 * (4 + 8 / math.pi), rel=1e-12)


@pytest.mark.parametrize(("m", "k"), [(20, 80), (20, 400), (20, 2000), (50, 400)])
def test_extremes_are_right_within_a_few_per_cent(
    m: int, k: int, generator: torch.Generator
) -> None:
    draws = 60
    game = random_game(k, m, 10, 50, batch=(draws,), generator=generator)
    weights, _ = draw_start(game, generator=generator)
    found = jacobian_spectrum(game, weights).singular_values.square()
    law = kernel_law(width=k, num_features=m, latent_dim=10, num_latents=50)
    for value, column in ((law.largest, found[:, 0]), (law.smallest, found[:, -1])):
        noise = 3 * float(column.std()) / math.sqrt(draws)
        assert abs(float(column.mean()) - value) < 0.08 * value + noise
    # The deviation between games is what makes a single spectrum larger or smaller.
    scale = found.mean(-1)
    relative = float(scale.std() / scale.mean())
    expected = math.sqrt(
        law.game_deviation**2 + (1 + law.neuron_variance) * 2 / (m * k)
    )
    assert relative == pytest.approx(expected, rel=0.4)


def test_too_narrow_games_have_no_smallest_eigenvalue() -> None:
    law = kernel_law(width=10, num_features=20, latent_dim=3, num_latents=9)
    assert law.smallest == 0.0
    assert law.largest > law.mean


def test_wide_games_have_one_eigenvalue() -> None:
    law = kernel_law(width=10**8, num_features=2, latent_dim=10, num_latents=50)
    assert law.smallest == pytest.approx(law.mean, rel=1e-3)
    assert law.largest == pytest.approx(law.mean, rel=1e-3)


def test_bad_sizes_and_scales_are_refused() -> None:
    sizes = {"width": 4, "num_features": 2, "latent_dim": 3, "num_latents": 5}
    for name in sizes:
        with pytest.raises(ShapeError, match="at least 1"):
            kernel_law(**{**sizes, name: 0})
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="output_scale"):
            kernel_law(**sizes, output_scale=scale)
        with pytest.raises(InputError, match="latent_scale"):
            kernel_law(**sizes, latent_scale=scale)
