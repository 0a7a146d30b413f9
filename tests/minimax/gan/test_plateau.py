"""Whether a score has come to rest."""

import math
import statistics

import pytest
import torch

from tacit.minimax.gan.plateau import find_plateau


def noise(generator: torch.Generator, num: int, size: float) -> list[float]:
    return (size * torch.randn(num, generator=generator)).tolist()


def test_the_numbers_are_those_of_the_formula(generator: torch.Generator) -> None:
    scores = [10.0 + e for e in noise(generator, 47, 1.0)]
    found = find_plateau(scores)
    early, late = scores[36:41], scores[41:]
    assert found.num_points == 11
    change = statistics.mean(late) - statistics.mean(early)
    error = math.sqrt(
        statistics.variance(late) / len(late) + statistics.variance(early) / len(early)
    )
    level = 0.5 * (statistics.mean(late) + statistics.mean(early))
    assert found.change == pytest.approx(change, rel=1e-12)
    assert found.standard_error == pytest.approx(error, rel=1e-12)
    assert found.level == pytest.approx(level, rel=1e-12)
    assert found.is_reached == (abs(change) + 2 * error <= 0.1 * level)


def test_a_level_curve_with_little_noise_is_reached(generator: torch.Generator) -> None:
    falling = [100.0 / (1 + i) for i in range(60)]
    level = [10.0 + e for e in noise(generator, 40, 0.2)]
    assert find_plateau(falling + level).is_reached


@pytest.mark.parametrize("slope", [-0.3, 0.3])
def test_a_drift_is_seen_under_noise(generator: torch.Generator, slope: float) -> None:
    drift = [10.0 * math.exp(slope * i / 10) for i in range(80)]
    scores = [
        d * (1.0 + e) for d, e in zip(drift, noise(generator, 80, 0.1), strict=True)
    ]
    assert not find_plateau(scores).is_reached


def test_noise_that_could_hide_a_drift_is_no_plateau(
    generator: torch.Generator,
) -> None:
    assert not find_plateau([10.0 + e for e in noise(generator, 40, 5.0)]).is_reached


@pytest.mark.parametrize("num", [0, 1, 3, 4, 23])
def test_a_short_curve_is_no_plateau(num: int) -> None:
    found = find_plateau([1.0] * num)
    assert not found.is_reached
    assert math.isinf(found.standard_error)
    assert find_plateau([1.0] * 24).is_reached


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_no_plateau(bad: float) -> None:
    assert not find_plateau([1.0] * 39 + [bad]).is_reached
