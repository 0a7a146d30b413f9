"""The record of a run: losses, scores and notes, kept with the checkpoint."""

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.gan.checkpoint import Arrays, Checkpoint
from tacit.minimax.gan.encode import decode_tensor
from tacit.minimax.gan.events import Noted, TrainingEvent, TrainingObserver
from tacit.minimax.gan.history import LossPoint, ScorePoint, TrainingHistory


@final
class Journal:
    """What a run has measured and noticed so far.

    Losses stay on the device until somebody asks for them: a step never waits.

    Parameters
    ----------
    observers : sequence of callables
        Each is told of every event, in order.
    """

    def __init__(self, observers: Sequence[TrainingObserver]) -> None:
        self._observers = tuple(observers)
        self._losses: list[LossPoint] = []
        self._scores: list[ScorePoint] = []
        self._notes: list[str] = []
        # Losses since the last point: those read back, and those still on the device.
        self._read = torch.empty(0, 2)
        self._waiting: list[Tensor] = []

    @property
    def history(self) -> TrainingHistory:
        """Losses and scores so far."""
        return TrainingHistory(losses=tuple(self._losses), scores=tuple(self._scores))

    @property
    def last_loss_step(self) -> int | None:
        """Step of the last point of losses; None before the first."""
        return self._losses[-1].step if self._losses else None

    @property
    def last_score_step(self) -> int | None:
        """Step of the last scores; None before the first."""
        return self._scores[-1].step if self._scores else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed so far."""
        return tuple(self._notes)

    def tell(self, event: TrainingEvent) -> None:
        """Tell every observer.

        Parameters
        ----------
        event : TrainingEvent
        """
        for observer in self._observers:
            observer(event)

    def note(self, step: int, text: str | None, *, once: str | None = None) -> None:
        """Keep a note and tell of it.

        Parameters
        ----------
        step : int
            Steps taken.
        text : str or None
            None is passed over.
        once : str or None
            A phrase: if an older note has it, this one adds nothing.
        """
        if text is None or (once and any(once in old for old in self._notes)):
            return
        self._notes.append(text)
        self.tell(Noted(step=step, text=text))

    def add_losses(self, discriminator: Tensor, generator: Tensor) -> None:
        """Take the losses of one step.

        Parameters
        ----------
        discriminator, generator : Tensor, shape ()
            On any device, without a graph.
        """
        self._waiting += (discriminator, generator)

    def pending(self) -> Tensor:
        """Return the losses since the last point, shape (n, 2), on the CPU."""
        if self._waiting:
            new = torch.stack(self._waiting).view(-1, 2).float().cpu()
            self._read = torch.cat((self._read, new))
            self._waiting = []
        return self._read

    def mean_loss(self, step: int) -> LossPoint | None:
        """Return the mean of the pending losses; None if there are none.

        Parameters
        ----------
        step : int
            Steps taken.
        """
        pending = self.pending()
        if not len(pending):
            return None
        discriminator, generator = pending.double().mean(0).tolist()
        return LossPoint(step=step, discriminator=discriminator, generator=generator)

    def close_losses(self, point: LossPoint) -> None:
        """Put a point into the history and begin the next one.

        Parameters
        ----------
        point : LossPoint
            As :meth:`mean_loss` returned.
        """
        self._losses.append(point)
        self._read = torch.empty(0, 2)

    def add_scores(self, point: ScorePoint) -> None:
        """Put a score into the history.

        Parameters
        ----------
        point : ScorePoint
        """
        self._scores.append(point)

    def header(self) -> dict[str, object]:
        """Return what goes into a checkpoint's header."""
        names = list(self._scores[0].values) if self._scores else []
        return {"score_names": names, "notes": self._notes}

    def arrays(self) -> Arrays:
        """Return what goes into a checkpoint's arrays."""
        losses = [(p.step, p.discriminator, p.generator) for p in self._losses]
        scores = [(p.step, *p.values.values()) for p in self._scores]
        width = 1 + len(self._scores[0].values) if self._scores else 1
        return {
            "history/losses": np.array(losses, dtype=np.float64).reshape(-1, 3),
            "history/scores": np.array(scores, dtype=np.float64).reshape(-1, width),
            "history/pending": self.pending().numpy().copy(),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue the record of a checkpoint.

        Parameters
        ----------
        checkpoint : Checkpoint

        Raises
        ------
        InputError
            If it has no such record.
        """
        arrays = checkpoint.arrays
        names, notes = (
            _strings(checkpoint, "score_names"),
            _strings(checkpoint, "notes"),
        )
        losses = decode_tensor(arrays, "history/losses")
        scores = decode_tensor(arrays, "history/scores")
        pending = decode_tensor(arrays, "history/pending")
        widths = [table.shape[1:] for table in (losses, scores, pending)]
        if widths != [(3,), (1 + len(names),), (2,)]:
            raise InputError(
                f"the checkpoint's history has tables of widths {widths}; it was not "
                "written by tacit"
            )
        self._losses = [
            LossPoint(step=int(step), discriminator=first, generator=second)
            for step, first, second in losses.tolist()
        ]
        self._scores = [
            ScorePoint(step=int(step), values=dict(zip(names, values, strict=True)))
            for step, *values in scores.tolist()
        ]
        self._notes = notes
        self._read, self._waiting = pending, []


def _strings(checkpoint: Checkpoint, name: str) -> list[str]:
    values = checkpoint.header.get(name)
    if not isinstance(values, list):
        raise InputError(f"the checkpoint's header has no list {name!r}")
    return [str(value) for value in values]
