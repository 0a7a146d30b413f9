"""What a training run tells those who watch it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from tacit.errors import Status


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Started:
    """Before the first step of this call.

    Parameters
    ----------
    step : int
        Steps taken before, 0 unless resumed.
    num_steps : int
        Steps in all.
    num_parameters : int
        Of both players together.
    """

    step: int
    num_steps: int
    num_parameters: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Progressed:
    """Every ``log_every`` steps.

    Parameters
    ----------
    step : int
        Steps taken.
    num_steps : int
        Steps in all.
    discriminator_loss, generator_loss : float
        Means since the last such event.
    """

    step: int
    num_steps: int
    discriminator_loss: float
    generator_loss: float


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """The averaged generator was scored.

    Parameters
    ----------
    step : int
        Steps taken.
    scores : mapping of str to float
        By name.
    samples : Tensor, shape (n, *data shape)
        The first samples, at the same latents every time; on the CPU.
    """

    step: int
    scores: Mapping[str, float]
    samples: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Saved:
    """A checkpoint is whole on disk.

    Parameters
    ----------
    step : int
        Steps taken.
    path : Path
        The file.
    """

    step: int
    path: Path


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Noted:
    """Something that whoever reads the result must know.

    Parameters
    ----------
    step : int
        Steps taken.
    text : str
        One sentence.
    """

    step: int
    text: str


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Ended:
    """After the last step, checkpoint and score.

    Parameters
    ----------
    step : int
        Steps taken.
    status : Status
        How the run ended.
    """

    step: int
    status: Status


TrainingEvent = Started | Progressed | Evaluated | Saved | Noted | Ended
TrainingObserver = Callable[[TrainingEvent], None]
