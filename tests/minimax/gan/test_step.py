r"""One step of both players against the formulas of its first step.

From zero moments Adam's first step is :math:`-\eta\, g / (|g| + \epsilon)` whatever
its decay rates, so that a step is checked from gradients of losses written out here.
"""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_runs import SMALL, vectors
from tacit.minimax.gan.config import TrainingConfig
from tacit.minimax.gan.players import Players, make_players
from tacit.minimax.gan.step import take_step

CPU = torch.device("cpu")
CONFIG = replace(
    SMALL,
    spectral_norm=False,
    learning_rate=1e-2,
    discriminator_learning_rate=3e-2,
)


def make(config: TrainingConfig) -> tuple[Players, Players]:
    """Return two of the same: one to step, one to compute with."""
    data = vectors().train
    return make_players(config, data, CPU), make_players(config, data, CPU)


def move(module: nn.Module, loss: Tensor, rate: float) -> nn.Module:
    """Return a copy after Adam's first step."""
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    moved = copy.deepcopy(module)
    with torch.no_grad():
        for p, g in zip(moved.parameters(), gradients, strict=True):
            p -= rate * g / (g.abs() + 1e-8)
    return moved


def loss_d(d: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-d(real)).mean() + softplus(d(fake)).mean()


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def assert_differ(one: nn.Module, other: nn.Module) -> None:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert any(not torch.allclose(p, q, rtol=1e-3, atol=1e-5) for p, q in pairs)


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_the_generator_answers_the_discriminator_of_its_order(order: str) -> None:
    stepped, other = make(replace(CONFIG, order=order))
    g, d = other.gan.generator, other.gan.discriminator
    fake, real = g(other.draw_latents()), other.draw_real()
    first = loss_d(d, real, fake.detach())
    moved_d = move(d, first, 3e-2)
    answered = moved_d if order == "alternating" else d
    second = softplus(-answered(fake)).mean()
    moved_g = move(g, second, 1e-2)
    losses = take_step(stepped)
    assert_same(stepped.gan.discriminator, moved_d)
    assert_same(stepped.gan.generator, moved_g)
    assert float(losses[0]) == pytest.approx(first.item(), rel=1e-5)
    assert float(losses[1]) == pytest.approx(second.item(), rel=1e-5)
    assert not any(loss.requires_grad for loss in losses)


def test_further_discriminator_steps_see_fresh_samples() -> None:
    stepped, other = make(replace(CONFIG, discriminator_steps=3))
    g, d = other.gan.generator, other.gan.discriminator
    optimiser = torch.optim.Adam(d.parameters(), lr=3e-2, betas=(0.5, 0.999))
    fake = torch.empty(0)
    for _ in range(3):
        fake, real = g(other.draw_latents()), other.draw_real()
        optimiser.zero_grad()
        loss_d(d, real, fake.detach()).backward()
        optimiser.step()
    moved = move(g, softplus(-d(fake)).mean(), 1e-2)
    take_step(stepped)
    assert_same(stepped.gan.discriminator, d)
    assert_same(stepped.gan.generator, moved)


def test_an_extra_gradient_step_uses_gradients_from_the_look_ahead_point() -> None:
    """The second update starts from where both players were before."""
    stepped, other = make(replace(CONFIG, method="extra-adam", betas=(0.0, 0.0)))
    g, d = other.gan.generator, other.gan.discriminator
    fake, real = g(other.draw_latents()), other.draw_real()
    ahead_d = move(d, loss_d(d, real, fake.detach()), 3e-2)
    ahead_g = move(g, softplus(-d(fake)).mean(), 1e-2)
    fake, real = ahead_g(other.draw_latents()), other.draw_real()
    loss_ahead_d = loss_d(ahead_d, real, fake.detach())
    loss_ahead_g = softplus(-ahead_d(fake)).mean()
    losses = take_step(stepped)
    assert float(losses[0]) == pytest.approx(loss_ahead_d.item(), rel=1e-4)
    assert float(losses[1]) == pytest.approx(loss_ahead_g.item(), rel=1e-4)
    # With both decay rates 0 every update is one of sign: -rate * g / (|g| + eps).
    for moved, ahead, loss, rate in (
        (stepped.gan.discriminator, ahead_d, loss_ahead_d, 3e-2),
        (stepped.gan.generator, ahead_g, loss_ahead_g, 1e-2),
    ):
        gradients = torch.autograd.grad(
            loss, list(ahead.parameters()), retain_graph=True
        )
        start = (d if moved is stepped.gan.discriminator else g).parameters()
        for p, g0, p0 in zip(moved.parameters(), gradients, start, strict=True):
            expected = p0 - rate * g0 / (g0.abs() + 1e-8)
            torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["adam", "extra-adam", "optimistic-adam"])
@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
@pytest.mark.parametrize(
    "loss", ["minimax", "non-saturating", "hinge", "wasserstein-gp"]
)
def test_every_combination_moves_both_players(
    method: str, order: str, loss: str
) -> None:
    config = replace(
        CONFIG, method=method, order=order, loss=loss, discriminator_steps=2
    )
    stepped, other = make(config)
    losses = [loss for _ in range(3) for loss in take_step(stepped)]
    assert all(bool(value.isfinite()) for value in losses)
    assert_differ(stepped.gan.generator, other.gan.generator)
    assert_differ(stepped.gan.discriminator, other.gan.discriminator)
