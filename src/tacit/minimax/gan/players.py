"""The two players in training, with everything that changes from step to step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from tacit.errors import InputError
from tacit.minimax.gan.averaging import MovingAverage
from tacit.minimax.gan.batches import BatchSampler, resident
from tacit.minimax.gan.checkpoint import Arrays
from tacit.minimax.gan.config import TrainingConfig
from tacit.minimax.gan.data.dataset import AbstractDataset
from tacit.minimax.gan.encode import (
    decode_tensor,
    encode_optimiser,
    encode_tensor,
    encode_tensors,
    module_tensors,
    restore_generator,
    restore_optimiser,
    restore_tensors,
)
from tacit.minimax.gan.networks import Gan, build_gan
from tacit.minimax.optimisers import ExtraAdam, OptimisticAdam
from tacit.rng import make_generator


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Players:
    """Two networks, what moves them, and what they are shown.

    Parameters
    ----------
    config : TrainingConfig
    gan : Gan
        The networks, on ``device`` and in training mode.
    discriminator_optimiser, generator_optimiser : Optimizer
    average : MovingAverage
        Of the generator.
    samples : callable
        Indices of training samples to the samples, on ``device``.
    sampler : BatchSampler
        Chooses among them.
    latents : torch.Generator
        A CPU stream: the generator's inputs do not depend on the device.
    penalty : torch.Generator
        A CPU stream: what the loss draws.
    device : torch.device
        Where both networks are.
    """

    config: TrainingConfig
    gan: Gan
    discriminator_optimiser: Optimizer
    generator_optimiser: Optimizer
    average: MovingAverage
    samples: Callable[[Tensor], Tensor]
    sampler: BatchSampler
    latents: torch.Generator
    penalty: torch.Generator
    device: torch.device

    def draw_real(self) -> Tensor:
        """Return the next batch of training samples."""
        return self.samples(self.sampler.next())

    def draw_latents(self) -> Tensor:
        """Return the generator's next input."""
        shape = (self.config.batch_size, self.gan.latent_dim)
        return torch.randn(shape, generator=self.latents).to(self.device)


def make_players(
    config: TrainingConfig, data: AbstractDataset, device: torch.device
) -> Players:
    """Return both players before the first step.

    Parameters
    ----------
    config : TrainingConfig
    data : AbstractDataset
        Training samples.
    device : torch.device

    Raises
    ------
    InputError
        If there are fewer samples than a batch has.
    ShapeError
        If the architecture cannot make samples of this shape.
    """
    sampler = BatchSampler(
        data.num_samples,
        config.batch_size,
        generator=make_generator(config.seed, "batches"),
    )
    gan = make_gan(config, data.shape, device)
    discriminator, generator = gan.discriminator.train(), gan.generator.train()
    return Players(
        config=config,
        gan=gan,
        discriminator_optimiser=_optimiser(
            config, list(discriminator.parameters()), config.discriminator_rate
        ),
        generator_optimiser=_optimiser(
            config, list(generator.parameters()), config.learning_rate
        ),
        average=MovingAverage(generator, config.ema_decay),
        samples=resident(data, device),
        sampler=sampler,
        latents=make_generator(config.seed, "latents"),
        penalty=make_generator(config.seed, "penalty"),
        device=device,
    )


def make_gan(
    config: TrainingConfig, data_shape: tuple[int, ...], device: torch.device
) -> Gan:
    """Return the networks at their random start, drawn on the CPU.

    Parameters
    ----------
    config : TrainingConfig
    data_shape : tuple of int
        Of one sample.
    device : torch.device

    Raises
    ------
    InputError, ShapeError
        As :func:`build_gan`.
    """
    gan = build_gan(
        config.architecture,
        data_shape=data_shape,
        width=config.width,
        generator_width=config.generator_width,
        discriminator_width=config.discriminator_width,
        latent_dim=config.latent_dim,
        spectral_norm=config.has_spectral_norm,
        batch_norm=not config.has_gradient_penalty,
        generator=make_generator(config.seed, "weights"),
    )
    gan.generator.to(device)  # modules move in place
    gan.discriminator.to(device)
    return gan


def _optimiser(
    config: TrainingConfig, parameters: list[torch.nn.Parameter], rate: float
) -> Optimizer:
    parameters = [p for p in parameters if p.requires_grad]
    if not parameters:
        raise InputError("a player without parameters cannot be trained")
    if config.method == "extra-adam":
        return ExtraAdam(parameters, lr=rate, betas=config.betas)
    if config.method == "optimistic-adam":
        return OptimisticAdam(parameters, lr=rate, betas=config.betas)
    return Adam(parameters, lr=rate, betas=config.betas)


def encode_players(players: Players) -> Arrays:
    """Return all that the next step depends on, besides the settings and the data.

    Parameters
    ----------
    players : Players
    """
    before, position = players.sampler.state()
    return {
        **{
            name: array
            for prefix, tensors in _tensors(players)
            for name, array in encode_tensors(prefix, tensors).items()
        },
        **encode_optimiser("discriminator-state", players.discriminator_optimiser),
        **encode_optimiser("generator-state", players.generator_optimiser),
        "stream/batches": encode_tensor(before),
        "stream/position": encode_tensor(torch.tensor(position)),
        "stream/latents": encode_tensor(players.latents.get_state()),
        "stream/penalty": encode_tensor(players.penalty.get_state()),
    }


def _tensors(players: Players) -> list[tuple[str, dict[str, Tensor]]]:
    return [
        ("discriminator", module_tensors(players.gan.discriminator)),
        ("generator", module_tensors(players.gan.generator)),
        # Without buffers: they are made anew whenever the average is used.
        ("average", dict(players.average.module.named_parameters())),
    ]


def restore_players(players: Players, arrays: Arrays) -> None:
    """Put both players where others of the same settings and data stood.

    Parameters
    ----------
    players : Players
        Fresh.
    arrays : mapping of str to array
        As :func:`encode_players` returned.

    Raises
    ------
    InputError
        If something is missing or does not fit.
    """
    for prefix, tensors in _tensors(players):
        restore_tensors(prefix, tensors, arrays)
    restore_optimiser("discriminator-state", players.discriminator_optimiser, arrays)
    restore_optimiser("generator-state", players.generator_optimiser, arrays)
    restore_generator("stream/latents", players.latents, arrays)
    restore_generator("stream/penalty", players.penalty, arrays)
    try:
        position = int(decode_tensor(arrays, "stream/position"))
        players.sampler.restore(decode_tensor(arrays, "stream/batches"), position)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"the checkpoint's stream/batches is no state of a random stream: {error}"
        ) from None
