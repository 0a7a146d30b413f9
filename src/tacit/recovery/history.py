"""What every step of every phase looked like, however the phases differ."""

import math
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Errors after every step, over all phases.

    Parameters
    ----------
    phases : tuple of (int, str)
        The step before which each phase began, and its name.
    ranks : tuple of int
        Number of columns.
    train_errors : tuple of float
        Relative; NaN where a method does not compute it.
    held_out_errors : tuple of float
        The same over the measurements held out; NaN if there are none, or a method does
        not compute it.
    """

    phases: tuple[tuple[int, str], ...]
    ranks: tuple[int, ...]
    train_errors: tuple[float, ...]
    held_out_errors: tuple[float, ...]


@final
class HistoryRecorder:
    """An observer of any solver of this domain, across phases."""

    def __init__(self) -> None:
        self._phases: list[tuple[int, str]] = []
        self._ranks: list[int] = []
        self._train: list[float] = []
        self._held_out: list[float] = []

    def begin(self, phase: str) -> None:
        """Say what the next steps belong to."""
        self._phases.append((len(self._ranks), phase))

    def __call__(self, step: int, state: Any) -> None:
        """Record ``state.left`` and the errors the state has."""
        self._ranks.append(state.left.shape[-1])
        self._train.append(float(getattr(state, "train_error", math.nan)))
        self._held_out.append(float(getattr(state, "held_out_error", math.nan)))

    def history(self) -> History:
        """Return what was recorded so far."""
        return History(
            phases=tuple(self._phases),
            ranks=tuple(self._ranks),
            train_errors=tuple(self._train),
            held_out_errors=tuple(self._held_out),
        )
