"""Options of ``tacit gan`` that say how to train, and the settings they give."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, final

from cyclopts import Parameter

from tacit.cli.inputs import Integer
from tacit.errors import InputError
from tacit.minimax.gan.config import Method, Order, TrainingConfig
from tacit.minimax.gan.losses import Loss
from tacit.minimax.gan.networks import Architecture


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingOptions:
    """Settings of a GAN as given on the command line; None where nothing was given.

    Parameters
    ----------
    generator_width
        Another width for the generator alone.
    discriminator_width
        Another width for the discriminator alone.
    architecture
        By default dcgan for images, mlp for vectors.
    loss
        What the players minimise; by default non-saturating.
    order
        alternating (the default) moves the discriminator first, simultaneous both from
        one point.
    batch_size
        Samples of each kind a step; by default 64.
    learning_rate
        Of both players; by default 2e-4.
    discriminator_steps
        Steps of the discriminator for each of the generator; by default 1.
    spectral_norm
        Divide the discriminator's weights by their spectral norms; by default yes,
        except for wasserstein-gp.
    image_size
        Side that images are resized to; for DCGAN and ResNet 8, 12, 16, 20, 24, 28, 32,
        40, 48, 56, 64, 80, ...
    features
        A network (.onnx, or Inception weights .pth) whose features images are scored
        on; by default those of a small classifier for digits, none for other images.
    evaluate_every
        Steps between scores; by default 200.
    device
        auto (a GPU if there is one), cpu, cuda.
    tensorboard
        Write a TensorBoard log into the --out folder.
    """

    generator_width: Integer | None = None
    discriminator_width: Integer | None = None
    architecture: Architecture | None = None
    loss: Loss | None = None
    order: Order | None = None
    batch_size: Integer | None = None
    learning_rate: float | None = None
    discriminator_steps: Integer | None = None
    spectral_norm: bool | None = None
    image_size: Integer | None = None
    features: Path | None = None
    evaluate_every: Integer | None = None
    device: str | None = None
    tensorboard: Annotated[bool, Parameter(negative=())] = False


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GameOptions:
    """Settings of mean-matching as given; None where nothing was given.

    Parameters
    ----------
    target_size
        mean-matching: dimension of the data whose mean is matched; by default 20.
    num_latents
        mean-matching: number of latents; by default 50.
    """

    target_size: Integer | None = None
    num_latents: Integer | None = None


def given(options: TrainingOptions | GameOptions) -> list[str]:
    """Return the names of the options that were given, as on the command line."""
    usual = asdict(type(options)())
    return [
        _option(name) for name, value in asdict(options).items() if value != usual[name]
    ]


def check_counts(counts: Mapping[str, int | None], *, least: int = 1) -> None:
    """Refuse a count that is too small.

    Raises
    ------
    InputError
        The sentence names the option.
    """
    for name, value in counts.items():
        if value is not None and value < least:
            raise InputError(f"{_option(name)} must be at least {least}; got {value}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def check_options(options: TrainingOptions) -> None:
    """Refuse what is out of range.

    Raises
    ------
    InputError
        The sentence names the option.
    """
    check_counts(
        {
            "generator_width": options.generator_width,
            "discriminator_width": options.discriminator_width,
            "discriminator_steps": options.discriminator_steps,
            "evaluate_every": options.evaluate_every,
        }
    )
    check_counts({"batch_size": options.batch_size}, least=2)
    rate = options.learning_rate
    if rate is not None and not 0.0 < rate < float("inf"):
        raise InputError(f"--learning-rate must be positive; got {rate}; try 2e-4")


def make_config(
    options: TrainingOptions,
    *,
    data_shape: tuple[int, ...],
    width: int | None,
    method: Method | None,
    num_steps: int | None,
    latent_dim: int | None,
    seed: int,
) -> TrainingConfig:
    """Return the settings of a run; what was not given is chosen."""
    plain = TrainingConfig()
    is_image = len(data_shape) == 3
    return TrainingConfig(
        architecture=options.architecture or ("dcgan" if is_image else "mlp"),
        width=width or plain.width,
        generator_width=options.generator_width,
        discriminator_width=options.discriminator_width,
        latent_dim=latent_dim or plain.latent_dim,
        spectral_norm=options.spectral_norm,
        loss=options.loss or plain.loss,
        method=method or plain.method,
        order=options.order or plain.order,
        discriminator_steps=options.discriminator_steps or plain.discriminator_steps,
        learning_rate=options.learning_rate or plain.learning_rate,
        num_steps=num_steps or plain.num_steps,
        batch_size=options.batch_size or plain.batch_size,
        evaluate_every=options.evaluate_every or plain.evaluate_every,
        seed=seed,
    )
