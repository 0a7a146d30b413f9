"""What a run measured on its way: losses and scores by step."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LossPoint:
    """Losses averaged over the steps since the last such point.

    Parameters
    ----------
    step : int
        The last step of the average.
    discriminator, generator : float
        Mean losses of the two players.
    """

    step: int
    discriminator: float
    generator: float


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ScorePoint:
    """Scores of the averaged generator after some step.

    Parameters
    ----------
    step : int
        Steps taken.
    values : mapping of str to float
        By name; the same names throughout a run.
    """

    step: int
    values: Mapping[str, float]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingHistory:
    """Everything measured so far, in order of steps.

    Parameters
    ----------
    losses : sequence of LossPoint
    scores : sequence of ScorePoint
    """

    losses: Sequence[LossPoint] = ()
    scores: Sequence[ScorePoint] = ()

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Return steps and values of one score.

        Parameters
        ----------
        name : str
            One of the names in ``scores``.
        """
        return (
            [point.step for point in self.scores],
            [point.values[name] for point in self.scores],
        )


def losses_csv(history: TrainingHistory) -> bytes:
    """Return the losses as a table with a header line.

    Parameters
    ----------
    history : TrainingHistory
    """
    rows = [(p.step, p.discriminator, p.generator) for p in history.losses]
    return _table(("step", "discriminator_loss", "generator_loss"), rows)


def scores_csv(history: TrainingHistory) -> bytes:
    """Return the scores as a table with a header line.

    Parameters
    ----------
    history : TrainingHistory
    """
    names = tuple(history.scores[0].values) if history.scores else ()
    rows = [(p.step, *(p.values[name] for name in names)) for p in history.scores]
    return _table(("step", *names), rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[float]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)  # floats by repr: read back exactly
    return text.getvalue().encode()
