"""Runs that broke down or went astray, told by name."""

import math
from typing import Literal

import pytest
import torch
from torch import nn

from tacit.minimax.gan.health import (
    bad_loss,
    bad_parameters,
    silent_discriminator,
    vanished_variance,
)
from tacit.minimax.gan.history import LossPoint

pytestmark = pytest.mark.global_rng  # modules draw their own weights


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.1e10, -1.1e10])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (3, 1), (4, 0)])
def test_the_first_bad_loss_is_named(bad: float, place: tuple[int, int]) -> None:
    losses = torch.ones(5, 2)
    losses[place] = bad
    losses[4, 1] = math.nan  # what follows a bad loss is bad too
    found = bad_loss(losses, 105)
    assert found is not None
    assert found.step == 101 + place[0]
    assert found.player == ("discriminator", "generator")[place[1]]
    assert f"{found.player}'s loss became" in str(found)
    assert f"step {found.step}" in str(found)


def test_large_but_finite_losses_are_no_breakdown() -> None:
    assert bad_loss(torch.tensor([[1e10, -1e10]]), 1) is None
    assert bad_loss(torch.empty(0, 2), 1) is None


@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["weight", "running_var"])
def test_a_bad_parameter_or_buffer_is_named(
    player: Literal["discriminator", "generator"], bad: float, where: str
) -> None:
    players = {
        name: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        for name in ("discriminator", "generator")
    }
    assert bad_parameters(**players, step=7) is None
    players[player][1].state_dict()[where][1] = bad
    found = bad_parameters(**players, step=7)
    assert found is not None
    assert (found.player, found.step) == (player, 7)
    assert "parameters were not finite" in str(found)


def points(*losses: float) -> list[LossPoint]:
    return [
        LossPoint(step=50 * i, discriminator=loss, generator=9.0)
        for i, loss in enumerate(losses, 1)
    ]


def test_a_discriminator_at_zero_for_long_is_told() -> None:
    text = silent_discriminator(points(0.5, *[1e-4] * 10))
    assert text is not None
    assert "since step 100" in text


@pytest.mark.parametrize("losses", [[1e-4] * 9, [*[1e-4] * 9, 0.5], [0.5] * 20])
def test_a_discriminator_at_zero_for_a_moment_is_not(losses: list[float]) -> None:
    assert silent_discriminator(points(*losses)) is None


def test_samples_that_look_alike_are_told() -> None:
    for ratios in ([0.5, 0.001], [0.5, 0.05, 0.01], [0.01] * 10):
        text = vanished_variance(ratios, 12)
        assert text is not None
        assert "step 12" in text


@pytest.mark.parametrize(
    "ratios", [[], [0.5], [0.001, 0.5], [0.01] * 9, [0.05, *[0.01] * 9], [0.001, 0.05]]
)
def test_samples_of_a_young_generator_may_look_alike(ratios: list[float]) -> None:
    assert vanished_variance(ratios, 12) is None
