"""What training a GAN answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from tacit.errors import InputError, Status
from tacit.minimax.gan.config import TrainingConfig
from tacit.minimax.gan.figures import training_figure
from tacit.minimax.gan.health import NO_VARIANCE
from tacit.minimax.gan.history import TrainingHistory
from tacit.minimax.gan.networks import Gan
from tacit.minimax.gan.plateau import Plateau

_CHUNK = 256  # samples made at once


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedGenerator:
    """A generator to sample from: the moving average, in evaluation mode.

    Parameters
    ----------
    module : Module
        Latents (n, latent_dim) to samples (n, *shape).
    latent_dim : int
    shape : tuple of int
        Of one sample.
    step : int
        Steps it was trained for.
    """

    module: nn.Module
    latent_dim: int
    shape: tuple[int, ...]
    step: int

    def sample(self, num_samples: int, *, generator: torch.Generator) -> Tensor:
        """Return new samples.

        Parameters
        ----------
        num_samples : int
            At least 0.
        generator : torch.Generator
            A CPU stream, whatever device the network is on.

        Returns
        -------
        Tensor, shape (num_samples, *shape)
            On the CPU; images in [-1, 1].

        Raises
        ------
        InputError
            If ``num_samples`` is negative.
        """
        if num_samples < 0:
            raise InputError(f"num_samples must be at least 0; got {num_samples}")
        latents = torch.randn(num_samples, self.latent_dim, generator=generator)
        return generate(self.module, latents, self.shape)


@torch.no_grad()
def generate(module: nn.Module, latents: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the samples of given latents, made in parts that fit into memory.

    Parameters
    ----------
    module : Module
        In evaluation mode.
    latents : Tensor, shape (n, latent_dim)
    shape : tuple of int
        Of one sample.

    Returns
    -------
    Tensor, shape (n, *shape)
        On the CPU.
    """
    device = next(module.parameters()).device
    samples = torch.empty(len(latents), *shape)
    for start in range(0, len(latents), _CHUNK):
        part = latents[start : start + _CHUNK].to(device)
        samples[start : start + _CHUNK] = module(part).cpu()
    return samples


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GanResult:
    """A trained GAN and what is known about it.

    Parameters
    ----------
    config : TrainingConfig
        What was asked.
    gan : Gan
        Both networks as they stood after the last step.
    generator : TrainedGenerator
        The moving average, which samples and scores are made of.
    status : Status
        CONVERGED: all steps were taken, the score has come to rest (``plateau``), and
        the samples are not all alike.
        MAX_STEPS: all steps were taken. INTERRUPTED: stopped by Ctrl-C.
        NON_FINITE: a loss or a parameter overflowed; ``notes`` has the player and the
        step, and ``generator`` is that of the last scored step.
    num_steps : int
        Steps taken, those before resuming included.
    history : TrainingHistory
        Losses and scores on the way.
    score_name : str
        The score that ``plateau`` is about.
    plateau : Plateau
        How much it changed over the last quarter of the run, by :func:`find_plateau`.
    num_parameters : int
        Of both players together.
    seconds : float
        Time of training and scoring, that before resuming included.
    notes : tuple of str
        What whoever reads the result must know; empty if nothing happened.
    folder : Path or None
        Where checkpoints, tables and pictures are.

    Examples
    --------
    >>> import tacit
    >>> config = tacit.TrainingConfig(architecture="mlp", width=4, num_steps=5)
    >>> result = tacit.train_gan(tacit.read_data("gaussians"), config)
    >>> result.num_steps, result.converged, sorted(result.scores)[0]
    (5, False, 'frechet_test')
    """

    config: TrainingConfig
    gan: Gan
    generator: TrainedGenerator
    status: Status
    num_steps: int
    history: TrainingHistory
    score_name: str
    plateau: Plateau
    num_parameters: int
    seconds: float
    notes: tuple[str, ...]
    folder: Path | None

    @property
    def converged(self) -> bool:
        """Whether the score came to rest and samples differ; not whether it is good."""
        return self.plateau.is_reached and not self.is_collapsed

    @property
    def is_collapsed(self) -> bool:
        """Whether samples vary at most 0.01 times as much as the data."""
        return self.scores.get("variance_ratio", 1.0) <= NO_VARIANCE

    @property
    def scores(self) -> dict[str, float]:
        """The last scores by name; empty if the run ended before the first."""
        return dict(self.history.scores[-1].values) if self.history.scores else {}

    def sample(self, num_samples: int, *, generator: torch.Generator) -> Tensor:
        """Return new samples of the averaged generator.

        Parameters
        ----------
        num_samples : int
            At least 0.
        generator : torch.Generator
            A CPU stream.

        Raises
        ------
        InputError
            If ``num_samples`` is negative.
        """
        return self.generator.sample(num_samples, generator=generator)

    def plot(self) -> Figure:
        """Draw losses and scores against the step; see :func:`training_figure`."""
        return training_figure(self.history)
