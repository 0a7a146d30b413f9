"""Losses at scores whose answer is known, and their gradients."""

import math
from functools import partial
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.losses import (
    Loss,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from tacit.minimax.gan.networks import build_gan
from tacit.rng import make_generator


class _Slope(nn.Module):
    """The scores <slope, x>."""

    def __init__(self, slope: Tensor) -> None:
        nn.Module.__init__(self)
        self.slope = nn.Parameter(slope)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.slope


def _identity() -> nn.Module:
    return _Slope(torch.ones(1, dtype=torch.float64))


def _scores(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


REAL, FAKE = (2.0, -1.0, 0.5), (0.0, -3.0, 1.5)


def _mean_log(values: tuple[float, ...], sign: float) -> float:
    """Return the mean of log(1 + exp(sign * value))."""
    return sum(math.log1p(math.exp(sign * value)) for value in values) / len(values)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("minimax", _mean_log(REAL, -1.0) + _mean_log(FAKE, 1.0)),
        ("non-saturating", _mean_log(REAL, -1.0) + _mean_log(FAKE, 1.0)),
        ("hinge", (0.0 + 2.0 + 0.5) / 3 + (1.0 + 0.0 + 2.5) / 3),
        # The critic is the identity: its gradient has length 1 and is not penalised.
        ("wasserstein-gp", (0.0 - 3.0 + 1.5) / 3 - (2.0 - 1.0 + 0.5) / 3),
    ],
)
def test_discriminator_losses(
    generator: torch.Generator, loss: Loss, expected: float
) -> None:
    real, fake = _scores(*REAL)[:, None], _scores(*FAKE)[:, None]
    value = discriminator_loss(loss, _identity(), real, fake, generator=generator)
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("minimax", -_mean_log(FAKE, 1.0)),
        ("non-saturating", _mean_log(FAKE, -1.0)),
        ("hinge", 0.5),
        ("wasserstein-gp", 0.5),
    ],
)
def test_generator_losses(loss: Loss, expected: float) -> None:
    value = generator_loss(loss, _scores(*FAKE))
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))


def test_minimax_is_a_zero_sum_game_up_to_what_the_generator_cannot_move() -> None:
    real, fake = _scores(*REAL)[:, None], _scores(*FAKE)[:, None].requires_grad_()
    for_min = generator_loss("minimax", fake[:, 0])
    for_max = discriminator_loss("minimax", _identity(), real, fake)
    gradients = [torch.autograd.grad(loss, fake)[0] for loss in (for_min, for_max)]
    torch.testing.assert_close(gradients[0], -gradients[1])


@pytest.mark.parametrize("loss", get_args(Loss))
def test_gradients_agree_with_differences(loss: Loss) -> None:
    # Scores away from the kinks of the hinge.
    scores = _scores(*FAKE).requires_grad_()
    assert torch.autograd.gradcheck(partial(generator_loss, loss), scores)

    def of_slope(slope: Tensor) -> Tensor:
        return torch.func.functional_call(
            _Wrapped(_Slope(slope.detach()), loss), {"inner.slope": slope}, ()
        )

    slope = _scores(0.3, -0.7).requires_grad_()
    assert torch.autograd.gradcheck(of_slope, slope)


class _Wrapped(nn.Module):
    """A discriminator's loss at fixed samples, the same interpolates every time."""

    loss: Loss

    def __init__(self, inner: nn.Module, loss: Loss) -> None:
        nn.Module.__init__(self)
        self.inner, self.loss = inner, loss

    def forward(self) -> Tensor:
        return discriminator_loss(
            self.loss,
            self.inner,
            torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64),
            torch.tensor([[-1.0, 0.3], [2.0, 2.0]], dtype=torch.float64),
            generator=make_generator(0),
        )


@pytest.mark.parametrize("loss", ["minimax", "non-saturating", "hinge"])
def test_extreme_scores_do_not_overflow(loss: Loss) -> None:
    real, fake = torch.tensor([[-1e30]]), torch.tensor([[1e30]])
    critic = _Slope(torch.ones(1))
    assert discriminator_loss(loss, critic, real, fake).isfinite()
    assert float(generator_loss("non-saturating", torch.tensor([1e30]))) == 0.0


def test_the_generator_of_minimax_saturates_where_the_other_does_not() -> None:
    scores = torch.tensor([-40.0], dtype=torch.float64).requires_grad_()
    (lost,) = torch.autograd.grad(generator_loss("minimax", scores), scores)
    (kept,) = torch.autograd.grad(generator_loss("non-saturating", scores), scores)
    assert abs(float(lost)) < 1e-16
    torch.testing.assert_close(kept, torch.full_like(kept, -1.0))


def test_the_penalty_of_a_linear_critic(generator: torch.Generator) -> None:
    slope = torch.tensor([3.0, 4.0])
    critic = _Slope(slope)
    x, y = torch.randn(2, 7, 2, generator=generator)
    penalty = gradient_penalty(critic, x, y, generator=generator)
    torch.testing.assert_close(penalty, torch.tensor(16.0))
    penalty.backward()
    # (|w| - 1)^2 has the gradient 2 (|w| - 1) w / |w|.
    torch.testing.assert_close(critic.slope.grad, 8.0 * slope / 5.0)
    loss = discriminator_loss(
        "wasserstein-gp", critic, x, y, penalty_weight=0.5, generator=generator
    )
    difference = (y - x).mean(0) @ slope
    torch.testing.assert_close(loss, difference + 0.5 * 16.0)


class _Square(nn.Module):
    """The scores |x|^2 / 2, whose gradient is x."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().flatten(1).sum(1) / 2.0


def test_the_penalty_is_taken_between_the_samples(generator: torch.Generator) -> None:
    # Between 2 e and 4 e the gradient of |x|^2 / 2 has a length that is uniform there.
    n = 20_000
    direction = torch.zeros(1, 2, 3)
    direction[0, 1, 2] = 1.0
    real, fake = 4.0 * direction.expand(n, 2, 3), 2.0 * direction.expand(n, 2, 3)
    penalty = gradient_penalty(_Square(), real, fake, generator=generator)
    # The mean of (s - 1)^2 over s in (2, 4), and five standard errors.
    assert abs(float(penalty.detach()) - 26.0 / 6.0) < 5.0 * 2.4 / math.sqrt(n)


def test_the_penalty_is_drawn_from_the_given_stream() -> None:
    x, y = torch.full((4, 2), 3.0), torch.ones(4, 2)
    values = [
        gradient_penalty(_Square(), x, y, generator=make_generator(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_the_penalty_of_a_flat_critic_has_a_gradient() -> None:
    critic = _Slope(torch.zeros(2))
    x = torch.ones(3, 2)
    penalty = gradient_penalty(critic, x, -x, generator=make_generator(0))
    penalty.backward()
    assert float(penalty.detach()) == 1.0
    assert critic.slope.grad is not None
    assert critic.slope.grad.isfinite().all()


@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("size", [8, 32])
def test_both_batches_count_alike_however_they_are_passed(
    generator: torch.Generator, loss: Loss, size: int
) -> None:
    # Small batches are passed together; the loss is that of each passed alone.
    critic = _Slope(torch.randn(size * size, generator=generator) / size)
    real = torch.randn(64, 1, size, size, generator=generator)
    fake = torch.randn(64, 1, size, size, generator=generator)
    value = discriminator_loss(
        loss, critic, real, fake, penalty_weight=0.0, generator=generator
    )
    on_real, on_fake = critic(real), critic(fake)
    expected = {
        "hinge": (1 - on_real).clamp(min=0).mean() + (1 + on_fake).clamp(min=0).mean(),
        "wasserstein-gp": on_fake.mean() - on_real.mean(),
    }.get(
        loss, (torch.exp(-on_real) + 1).log().mean() + (on_fake.exp() + 1).log().mean()
    )
    torch.testing.assert_close(value, expected)


def test_batch_norm_sees_real_and_fake_samples_apart(
    generator: torch.Generator,
) -> None:
    gan = build_gan("dcgan", data_shape=(1, 8, 8), width=2, generator=generator)
    real = torch.randn(8, 1, 8, 8, generator=generator)
    fake = 0.1 * torch.randn(8, 1, 8, 8, generator=generator) - 0.5
    value = discriminator_loss("hinge", gan.discriminator, real, fake)
    on_real, on_fake = gan.discriminator(real), gan.discriminator(fake)
    expected = (1 - on_real).clamp(min=0).mean() + (1 + on_fake).clamp(min=0).mean()
    torch.testing.assert_close(value, expected)


def test_a_penalty_with_batch_norm_is_refused(generator: torch.Generator) -> None:
    gan = build_gan("dcgan", data_shape=(1, 8, 8), width=2, generator=generator)
    x = torch.zeros(4, 1, 8, 8)
    with pytest.raises(InputError, match=r"got batch norm.*batch_norm=False"):
        discriminator_loss(
            "wasserstein-gp", gan.discriminator, x, x, generator=generator
        )


def test_what_cannot_be_used_is_refused(generator: torch.Generator) -> None:
    critic, x = _Slope(torch.ones(2)), torch.zeros(3, 2)
    with pytest.raises(InputError, match="got no generator"):
        discriminator_loss("wasserstein-gp", critic, x, x)
    with pytest.raises(InputError, match=r"loss must be one of minimax, .*'lsgan'"):
        discriminator_loss("lsgan", critic, x, x)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="loss must be one of"):
        generator_loss("lsgan", x[:, 0])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match=r"one shape; got \(2,\) and \(3,\)"):
        discriminator_loss("hinge", critic, x, torch.zeros(3, 3))
    with pytest.raises(ShapeError, match="as many real as fake"):
        gradient_penalty(critic, x, x[:2], generator=generator)
    flat = nn.Flatten()
    with pytest.raises(ShapeError, match=r"one score per sample, shape \(6,\)"):
        discriminator_loss("hinge", flat, x, x)


def test_a_batch_of_another_number_counts_alike() -> None:
    real, fake = _scores(*REAL)[:, None], _scores(*FAKE, *FAKE)[:, None]
    once = discriminator_loss("hinge", _identity(), real, fake[:3])
    twice = discriminator_loss("hinge", _identity(), real, fake)
    torch.testing.assert_close(once, twice)
