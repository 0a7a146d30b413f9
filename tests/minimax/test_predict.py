"""Existence of saddles against exact binomials and draws, and sizes against games."""

import math
from fractions import Fraction

import mpmath
import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.minimax.cone import fit_cone
from tacit.minimax.dynamics.spectrum import jacobian_spectrum
from tacit.minimax.mean_matching import draw_start, random_game
from tacit.minimax.predict import (
    existence_curve,
    existence_probability,
    predict_game,
    width_for_existence,
)


def exact(m: int, k: int) -> Fraction:
    return Fraction(sum(math.comb(k, i) for i in range(m, k + 1)), 2**k)


@pytest.mark.parametrize("m", [1, 2, 20, 100])
def test_probability_is_the_binomial_tail(m: int) -> None:
    for k in (0, 1, m - 1, m, m + 1, 2 * m - 1, 2 * m, 3 * m, 10 * m):
        wanted = float(exact(m, k))
        assert existence_probability(m, k) == pytest.approx(wanted, rel=1e-11, abs=0.0)


def test_large_sizes_against_mpmath() -> None:
    with mpmath.workdps(60):
        for m, k in ((500, 900), (1000, 2000), (3000, 6300)):
            half = mpmath.mpf(1) / 2
            wanted = mpmath.betainc(m, k - m + 1, 0, half, regularized=True)
            found = existence_probability(m, k)
            assert found == pytest.approx(float(wanted), rel=1e-9)


def test_median_width_is_twice_the_features() -> None:
    for m in (1, 7, 50):
        assert existence_probability(m, 2 * m - 1) == pytest.approx(0.5, rel=1e-12)


def test_many_widths_at_once() -> None:
    widths = torch.tensor([3, 20, 45, 80])
    found = existence_curve(20, widths)
    wanted = [existence_probability(20, int(k)) for k in widths]
    assert found.tolist() == wanted
    assert found[0] == 0.0


@pytest.mark.parametrize("m", [1, 5, 40])
@pytest.mark.parametrize("p", [1e-6, 0.3, 0.5, 0.9, 1 - 1e-9])
def test_width_is_the_smallest_that_suffices(m: int, p: float) -> None:
    k = width_for_existence(m, p)
    # Half an ulp of the sum where p is met exactly (k = 2 m - 1, p = 1/2).
    assert float(exact(m, k)) >= p * (1 - 1e-14)
    assert float(exact(m, k - 1)) < p


def test_law_is_that_of_random_cones(generator: torch.Generator) -> None:
    draws = 300
    for m, k in ((6, 9), (6, 12), (6, 15)):
        V = torch.randn(draws, m, k, generator=generator, dtype=torch.float64)
        b = torch.randn(draws, m, generator=generator, dtype=torch.float64)
        count = sum(fit_cone(V[i], b[i]).is_member for i in range(draws))
        law = existence_probability(m, k)
        assert abs(count / draws - law) < 4 * math.sqrt(law * (1 - law) / draws)


def test_sizes_alone_predict_the_start(generator: torch.Generator) -> None:
    found = {
        p.name: p
        for p in predict_game(width=400, num_features=20, latent_dim=10, num_latents=50)
    }
    game = random_game(400, 20, 10, 50, batch=(40,), generator=generator)
    weights, _ = draw_start(game, generator=generator)
    values = jacobian_spectrum(game, weights).singular_values
    condition = float((values[:, 0] / values[:, -1]).square().median())
    predicted = found["condition number of J J^T"].value
    assert predicted == pytest.approx(condition, rel=0.05)
    root = math.sqrt(predicted)
    rate = found["rate with these steps"].value
    assert rate == pytest.approx((root - 1) / (root + 1), rel=1e-6)
    assert {p.certainty for p in found.values()} == {"derived", "recalled"}
    assert found["published width, over an unknown constant"].certainty == "recalled"


def test_narrow_games_have_no_rate() -> None:
    names = [
        p.name
        for p in predict_game(width=10, num_features=20, latent_dim=3, num_latents=9)
    ]
    assert "rate with these steps" not in names
    assert "mean eigenvalue of J J^T" in names


def test_bad_sizes_are_refused() -> None:
    for m, k in ((0, 3), (2, -1)):
        with pytest.raises(ShapeError, match="at least"):
            existence_probability(m, k)
    with pytest.raises(ShapeError, match="num_features"):
        width_for_existence(0, 0.5)
    for p in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="probability"):
            width_for_existence(3, p)
