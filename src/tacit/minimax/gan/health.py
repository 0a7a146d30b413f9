"""Runs that cannot go on, and signs that a run has gone astray."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from tacit.minimax.gan.history import LossPoint

# No float32 network comes back from here; ours.
LOSS_LIMIT = 1e10
# A discriminator's mean loss below it, over so many points, teaches nothing; ours.
_ZERO_LOSS, _ZERO_POINTS = 1e-3, 10
# Spread of the samples relative to that of the data; ours.
NO_VARIANCE, _SOME_VARIANCE = 0.01, 0.1


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Breakdown:
    """Why a run had to stop.

    Parameters
    ----------
    step : int
        Counted from 1: the first step with a bad loss. For parameters, the step after
        which they were found bad.
    player : {"discriminator", "generator"}
        Whose loss or parameters went bad first.
    what : str
        What was bad.
    """

    step: int
    player: Literal["discriminator", "generator"]
    what: str

    def __str__(self) -> str:
        return (
            f"the {self.player}'s {self.what} at step {self.step}; lower the learning "
            "rate, or take another loss or a narrower network"
        )


def bad_loss(losses: Tensor, last_step: int) -> Breakdown | None:
    """Return the first loss that is not finite or beyond 1e10.

    Parameters
    ----------
    losses : Tensor, shape (n, 2)
        Discriminator and generator losses of the last n steps, on the CPU.
    last_step : int
        The step of the last row.
    """
    is_bad = ~(losses.abs() <= LOSS_LIMIT)  # NaN is not <= anything
    places = is_bad.nonzero()
    if not places.numel():
        return None
    row, column = (int(index) for index in places[0])
    value = float(losses[row, column])
    return Breakdown(
        step=last_step - losses.shape[0] + 1 + row,
        player="generator" if column else "discriminator",
        what=f"loss became {value:.3g}",
    )


def bad_parameters(
    discriminator: nn.Module, generator: nn.Module, step: int
) -> Breakdown | None:
    """Return the player with a parameter or buffer that is not finite.

    Parameters
    ----------
    discriminator, generator : Module
    step : int
        Steps taken.
    """
    players: tuple[tuple[Literal["discriminator", "generator"], nn.Module], ...] = (
        ("discriminator", discriminator),
        ("generator", generator),
    )
    for player, module in players:
        tensors = [*module.parameters(), *module.buffers()]
        if not _all_finite(tensors):
            return Breakdown(
                step=step, player=player, what="parameters were not finite"
            )
    return None


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    with torch.no_grad():
        floats = [t for t in tensors if t.is_floating_point() and t.numel()]
        if not floats:
            return True
        # One number on the device for all of them, and one synchronisation.
        largest = torch.stack(torch._foreach_norm(floats, float("inf")))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage] - its only name
        return bool(largest.isfinite().all())


def silent_discriminator(losses: Sequence[LossPoint]) -> str | None:
    """Say that the discriminator's loss has been zero for long, if it has.

    Parameters
    ----------
    losses : sequence of LossPoint
        Of a loss whose least value is 0.
    """
    last = losses[-_ZERO_POINTS:]
    if len(last) < _ZERO_POINTS or any(p.discriminator > _ZERO_LOSS for p in last):
        return None
    return (
        f"the discriminator's loss has been below {_ZERO_LOSS:g} since step "
        f"{last[0].step}: it tells all samples apart, and the generator learns little; "
        "narrow the discriminator or lower its learning rate"
    )


def vanished_variance(ratios: Sequence[float], step: int) -> str | None:
    """Say that all samples look alike, if they do and did not always.

    Parameters
    ----------
    ratios : sequence of float
        Total variance of the samples divided by that of the data, score by score. A
        young generator's are small too: told is a fall from 0.1 to 0.01, or ten scores
        at most 0.01.
    step : int
        Steps taken.
    """
    last = ratios[-_ZERO_POINTS:]
    if not last or last[-1] > NO_VARIANCE:
        return None
    has_fallen = max(ratios) >= _SOME_VARIANCE
    if not has_fallen and (len(last) < _ZERO_POINTS or max(last) > NO_VARIANCE):
        return None
    return (
        f"at step {step} the samples vary {last[-1]:.2g} times as much as the data: "
        "the generator makes nearly one sample; lower the learning rate or take "
        "another loss"
    )
