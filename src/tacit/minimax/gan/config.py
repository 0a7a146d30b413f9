"""What one training run is: everything that its outcome depends on besides the data."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, final, get_args

from tacit.errors import InputError
from tacit.minimax.gan.losses import Loss
from tacit.minimax.gan.networks import Architecture

Method = Literal["adam", "extra-adam", "optimistic-adam"]
Order = Literal["alternating", "simultaneous"]


@final
@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    r"""Settings of :func:`train_gan`; two runs of equal settings are bit-equal.

    Parameters
    ----------
    architecture : {"one-hidden-layer", "mlp", "dcgan", "resnet"}
        As in :func:`build_gan`.
    width : int
        Channels (or neurons) that both players scale with, at least 1.
    generator_width, discriminator_width : int or None
        Another width for one player alone; None: ``width``.
    latent_dim : int
        Length of the generator's input.
    spectral_norm : bool or None
        Divide the discriminator's weights by their spectral norms. None: unless the
        loss has a penalty for the same purpose. A ``dcgan`` discriminator without
        either has batch normalisation.
    loss : {"minimax", "non-saturating", "hinge", "wasserstein-gp"}
        As in :func:`discriminator_loss`.
    penalty_weight : float
        Of the gradient penalty, where the loss has one.
    method : {"adam", "extra-adam", "optimistic-adam"}
        How gradients become steps. Extra-Adam takes two gradients of each player a
        step; it moves both players together whatever the order.
    order : {"alternating", "simultaneous"}
        ``alternating``: the discriminator moves first and the generator answers the
        discriminator it finds (the usual way). ``simultaneous``: both gradients are
        taken at the same point (the paper's way).
    discriminator_steps : int
        Steps of the discriminator for each of the generator.
    learning_rate : float
        Of both players.
    discriminator_learning_rate : float or None
        Another rate for the discriminator (two time scales); None: ``learning_rate``.
    betas : pair of float
        Adam's decay rates of the first and the second moment.
    num_steps : int
        Steps of the generator in all. The only setting that may differ on resuming.
    batch_size : int
        Samples of each kind a step, at most the number of training samples.
    ema_decay : float
        Decay of the moving average of the generator's parameters a step; 0 for none.
        Step t uses ``min(ema_decay, (1 + t) / (10 + t))``, so that a short run's
        average forgets its random start.
    seed : int
        Names every random stream of the run.
    log_every : int
        Losses are averaged over so many steps, and looked at for NaN.
    evaluate_every : int
        Steps between scores; a run's last step is always scored.
    checkpoint_every : int
        Steps between checkpoints; a run's last step always has one.
    num_score_samples : int
        Generated samples that are scored, and at most so many real ones.

    Raises
    ------
    InputError
        If a setting is out of its range.

    Examples
    --------
    >>> from tacit.minimax.gan.config import TrainingConfig
    >>> TrainingConfig(width=8, num_steps=100).discriminator_rate
    0.0002
    """

    architecture: Architecture = "dcgan"
    width: int = 16
    generator_width: int | None = None
    discriminator_width: int | None = None
    latent_dim: int = 64
    spectral_norm: bool | None = None
    loss: Loss = "non-saturating"
    penalty_weight: float = 10.0
    method: Method = "adam"
    order: Order = "alternating"
    discriminator_steps: int = 1
    learning_rate: float = 2e-4
    discriminator_learning_rate: float | None = None
    betas: tuple[float, float] = (0.5, 0.999)
    num_steps: int = 5000
    batch_size: int = 64
    ema_decay: float = 0.999
    seed: int = 0
    log_every: int = 50
    evaluate_every: int = 200
    checkpoint_every: int = 500
    num_score_samples: int = 1000

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_counts(self)
        _check_numbers(self)

    @property
    def discriminator_rate(self) -> float:
        """The discriminator's learning rate."""
        rate = self.discriminator_learning_rate
        return self.learning_rate if rate is None else rate

    @property
    def has_gradient_penalty(self) -> bool:
        """Whether the loss bounds the discriminator's gradients."""
        return self.loss == "wasserstein-gp"

    @property
    def has_spectral_norm(self) -> bool:
        """Whether the discriminator's weights are divided by their spectral norms."""
        chosen = self.spectral_norm
        return not self.has_gradient_penalty if chosen is None else chosen

    def as_header(self) -> dict[str, object]:
        """Return the settings as JSON holds them."""
        return {**asdict(self), "betas": list(self.betas)}


def config_from_header(header: Mapping[str, object]) -> TrainingConfig:
    """Return the settings that :meth:`TrainingConfig.as_header` wrote.

    Parameters
    ----------
    header : mapping
        All settings by name.

    Raises
    ------
    InputError
        If a setting is missing, unknown or out of range.
    """
    known = TrainingConfig().as_header()
    if header.keys() != known.keys():
        odd = sorted(header.keys() ^ known.keys())
        raise InputError(
            f"the settings must be those of this version; {', '.join(odd)} differ: "
            "train again, or with the version that wrote it"
        )
    values: dict[str, object] = dict(header)
    betas = values["betas"]
    values["betas"] = tuple(betas) if isinstance(betas, list) else betas
    try:
        return TrainingConfig(**values)  # pyright: ignore[reportArgumentType]
    except TypeError as error:
        raise InputError(f"the settings are of wrong types: {error}") from None


def differences(old: TrainingConfig, new: TrainingConfig) -> list[str]:
    """Say in words which settings differ, the number of steps left out.

    Parameters
    ----------
    old, new : TrainingConfig
        Of the checkpoint and of the caller.
    """
    before, now = old.as_header(), new.as_header()
    return [
        f"{name} was {before[name]!r} and is {now[name]!r}"
        for name in before
        if name != "num_steps" and before[name] != now[name]
    ]


def _check_choices(config: TrainingConfig) -> None:
    for name, value, choices in (
        ("architecture", config.architecture, get_args(Architecture)),
        ("loss", config.loss, get_args(Loss)),
        ("method", config.method, get_args(Method)),
        ("order", config.order, get_args(Order)),
    ):
        if value not in choices:
            raise InputError(
                f"{name} must be one of {', '.join(choices)}; got {value!r}"
            )


def _check_counts(config: TrainingConfig) -> None:
    for name, value, least in (
        ("width", config.width, 1),
        ("generator_width", config.generator_width, 1),
        ("discriminator_width", config.discriminator_width, 1),
        ("latent_dim", config.latent_dim, 1),
        ("discriminator_steps", config.discriminator_steps, 1),
        ("num_steps", config.num_steps, 0),
        ("batch_size", config.batch_size, 2),
        ("log_every", config.log_every, 1),
        ("evaluate_every", config.evaluate_every, 1),
        ("checkpoint_every", config.checkpoint_every, 1),
        ("num_score_samples", config.num_score_samples, 2),
    ):
        if value is None and name.endswith("or_width"):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(
                f"{name} must be a whole number of at least {least}; got {value!r}"
            )


def _check_numbers(config: TrainingConfig) -> None:
    for name, value in (
        ("learning_rate", config.learning_rate),
        ("discriminator_learning_rate", config.discriminator_rate),
    ):
        if not (math.isfinite(value) and value > 0.0):
            raise InputError(f"{name} must be positive; got {value!r}; try 2e-4")
    if not (math.isfinite(config.penalty_weight) and config.penalty_weight >= 0.0):
        raise InputError(
            f"penalty_weight must be 0 or positive; got {config.penalty_weight!r}"
        )
    if len(config.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in config.betas):
        raise InputError(
            f"betas must be two numbers in [0, 1); got {config.betas!r}; "
            "try (0.5, 0.999)"
        )
    if not 0.0 <= config.ema_decay < 1.0:
        raise InputError(
            f"ema_decay must be in [0, 1); got {config.ema_decay!r}; try 0.999"
        )
