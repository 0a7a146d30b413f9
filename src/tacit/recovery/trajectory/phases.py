r"""The three phases of descent from a small start, found in the recorded curves."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import ShapeError

# Part of the fall of the angle that alignment has to bring about.
ALIGNED_PART = 0.9
# Part of its final size that the r-th singular value of U U^H has to reach.
GROWN_PART = 0.1
# A plateau is where the error falls at most at this part of its fastest rate.
PLATEAU_RATE = 0.1
# Without a known truth: ratio of the singular values r + 1 and r of U when aligned.
SEPARATION = 0.5
# An angle that falls by less than this was aligned from the beginning.
_LEAST_FALL = 0.05
# Rates are taken over this part of the steps from the end of growth to the last one.
_RATE_WINDOW = 0.05


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Phase:
    """A stretch of steps.

    Parameters
    ----------
    start : int
        First step.
    stop : int or None
        The step at which it was over; None if it was not when the record ended.
    """

    start: int
    stop: int | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Phases:
    """The phases that a trajectory went through; None for one that did not occur.

    Parameters
    ----------
    alignment : Phase or None
        The column space turns towards the signal, everything is still small.
    growth : Phase or None
        The signal grows away from the saddle at zero until its weakest part counts.
    refinement : Phase or None
        The error falls until a plateau; ``stop`` is where that begins.
    """

    alignment: Phase | None
    growth: Phase | None
    refinement: Phase | None

    def named(self) -> tuple[tuple[str, Phase], ...]:
        """Return name and phase of those that occurred, in order."""
        every = (
            ("alignment", self.alignment),
            ("growth", self.growth),
            ("refinement", self.refinement),
        )
        return tuple((name, phase) for name, phase in every if phase is not None)


def find_phases(
    steps: Tensor, *, angle: Tensor, size: Tensor, scale: float, error: Tensor
) -> Phases:
    r"""Find the phases in recorded curves.

    1. *Growth* is over at the first step with :math:`s_t^2 \ge 0.1\, s^2`; s is the
       size that the weakest signal direction of the factor ends with. If the first
       recorded step has it, there was no growth.
    2. *Alignment* is over at the first step by which 90 per cent of the angle's fall up
       to the end of growth has happened. If the angle was below 1/2 and falls by
       less than 0.05, there was no alignment. If growth has not ended and the angle
       still falls as the record ends, alignment is not over.
    3. *Refinement* starts where growth ends, and is over at the plateau: the first step
       after the error's fastest fall from which it falls, per step and in the
       logarithm, at most a tenth as fast. An error that never falls by a factor of two
       after growth has no refinement.

    All three are about the weakest signal direction: with a condition number above one
    stronger ones are learned while it still aligns.

    These are our rules: the theory bounds the phases' lengths but does not say where a
    single run passes from one to the next.

    Parameters
    ----------
    steps : Tensor, shape (T,)
        Increasing step numbers.
    angle : Tensor, shape (T,)
        Distance from alignment, in [0, 1].
    size : Tensor, shape (T,)
        :math:`s_t`, the weakest signal direction of the factor.
    scale : float
        s, positive; infinity if it is not known to have grown.
    error : Tensor, shape (T,)
        Positive where known.

    Returns
    -------
    Phases

    Raises
    ------
    ShapeError
        If the curves differ in length or are empty.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.trajectory.phases import find_phases
    >>> steps = torch.arange(100)
    >>> t = steps.double()
    >>> phases = find_phases(steps, angle=0.5 ** t, size=(1e-4 * 1.5 ** t).clamp(max=1),
    ...     scale=1.0, error=(2.0 * 0.7 ** t).clamp(1e-6, 1.0))
    >>> phases.alignment.stop, phases.growth.stop, phases.refinement.stop
    (4, 20, 41)
    """
    count = steps.numel()
    if count < 1 or {angle.numel(), size.numel(), error.numel()} != {count}:
        raise ShapeError(
            "curves must have one number for every step, at least one; got "
            f"{count} steps, {angle.numel()}, {size.numel()} and {error.numel()}"
        )
    numbers = [int(step) for step in steps]
    grown = _first(size.square() >= GROWN_PART * scale * scale)
    last = count - 1 if grown is None else grown
    aligned, is_present = _alignment(angle[: last + 1], is_over=grown is not None)
    alignment = None
    if is_present:
        stop = None if aligned is None else numbers[aligned]
        alignment = Phase(start=numbers[0], stop=stop)
    growth = None
    if aligned is not None and grown != 0:
        stop = None if grown is None else numbers[grown]
        growth = Phase(start=numbers[aligned], stop=stop)
    refinement = None
    if grown is not None:
        plateau, is_refined = _plateau(steps[grown:], error[grown:])
        if is_refined:
            stop = None if plateau is None else numbers[grown + plateau]
            refinement = Phase(start=numbers[grown], stop=stop)
    return Phases(alignment=alignment, growth=growth, refinement=refinement)


def _first(condition: Tensor) -> int | None:
    where = condition.nonzero()
    return int(where[0]) if where.numel() else None


def _alignment(angle: Tensor, *, is_over: bool) -> tuple[int | None, bool]:
    """Return where alignment is over, and whether there was any."""
    start, fall = float(angle[0]), float(angle[0] - angle.min())
    if fall < _LEAST_FALL:
        # Either aligned from the beginning, or not at all so far.
        is_absent = start <= 0.5 or is_over
        return (0, False) if is_absent else (None, True)
    before = angle[-1 - max(1, math.ceil(_RATE_WINDOW * angle.numel()))]
    if not is_over and float(before - angle[-1]) > _LEAST_FALL * fall:
        return None, True
    return _first(angle <= start - ALIGNED_PART * fall), True


def _plateau(steps: Tensor, error: Tensor) -> tuple[int | None, bool]:
    """Return where the plateau begins, and whether the error fell before."""
    logs = error.clamp(min=torch.finfo(error.dtype).tiny).log()
    fall = float(logs[0] - logs.min())
    if not fall >= math.log(2.0):
        return None, False
    window = max(1, math.ceil(_RATE_WINDOW * logs.numel()))
    rates = (logs[:-window] - logs[window:]) / (steps[window:] - steps[:-window])
    fastest = int(rates.argmax())
    slow = _first(rates[fastest:] <= PLATEAU_RATE * rates[fastest])
    return (None if slow is None else fastest + slow), True
