r"""The two players of a GAN, both of one width unless each is given its own."""

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import nn

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.networks_dcgan import dcgan_discriminator, dcgan_generator
from tacit.minimax.gan.networks_dense import (
    dense_discriminator,
    mlp_generator,
    one_hidden_layer_generator,
)
from tacit.minimax.gan.networks_resnet import resnet_discriminator, resnet_generator

Architecture = Literal["one-hidden-layer", "mlp", "dcgan", "resnet"]

_GENERATORS = {
    "one-hidden-layer": one_hidden_layer_generator,
    "mlp": mlp_generator,
    "dcgan": dcgan_generator,
    "resnet": resnet_generator,
}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Gan:
    """Two networks against each other, on the CPU and in training mode when made.

    Parameters
    ----------
    architecture : {"one-hidden-layer", "mlp", "dcgan", "resnet"}
    generator : Module
        Latents (batch, latent_dim) to samples (batch, *data_shape); images are from -1
        to 1.
    discriminator : Module
        Samples to scores (batch,), larger for what looks real: logits of a
        probability, or values of a critic.
    latent_dim : int
        Numbers in the generator's input.
    generator_width, discriminator_width : int
        What the channels or neurons of each are multiples of.

    Examples
    --------
    >>> import tacit, torch
    >>> gan = tacit.build_gan("dcgan", data_shape=(1, 8, 8), width=4,
    ...     generator=tacit.make_generator(0))
    >>> gan.discriminator(gan.generator(torch.zeros(5, 64))).shape
    torch.Size([5])
    """

    architecture: Architecture
    generator: nn.Module
    discriminator: nn.Module
    latent_dim: int
    generator_width: int
    discriminator_width: int

    @property
    def num_generator_parameters(self) -> int:
        """Trained numbers of the generator."""
        return num_parameters(self.generator)

    @property
    def num_discriminator_parameters(self) -> int:
        """Trained numbers of the discriminator."""
        return num_parameters(self.discriminator)

    @property
    def num_parameters(self) -> int:
        """Trained numbers of both."""
        return self.num_generator_parameters + self.num_discriminator_parameters


def num_parameters(module: nn.Module) -> int:
    """Return how many numbers of a module are trained.

    Parameters
    ----------
    module : Module
        Buffers, such as a layer that stays as it was drawn, do not count.
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def build_gan(
    architecture: Architecture,
    *,
    data_shape: tuple[int, ...],
    width: int | None = None,
    generator_width: int | None = None,
    discriminator_width: int | None = None,
    latent_dim: int = 64,
    spectral_norm: bool = False,
    batch_norm: bool = True,
    generator: torch.Generator,
) -> Gan:
    r"""Return both players of a GAN at their random start.

    ============== ============================================ =======================
    architecture   generator                                    discriminator
    ============== ============================================ =======================
    one-hidden-    V relu(W z), W trained, V as it was drawn    one hidden layer,
    layer          (Balaji et al. 2021)                         all trained
    mlp            two hidden layers of ``width`` neurons       the same
    dcgan          transposed convolutions, batch norm          strided convolutions
    resnet         residual blocks, batch norm                  residual blocks
    ============== ============================================ =======================

    Weights are drawn from N(0, 0.02^2) as in DCGAN where a norm follows, and elsewhere
    with variance 2 / fan_in before ReLU, 1 / fan_in before anything else; biases are 0.

    Parameters
    ----------
    architecture : {"one-hidden-layer", "mlp", "dcgan", "resnet"}
        The last two are for images of sizes that are doubled from 4 to 7 pixels: 8, 12,
        16, 20, 24, 28, 32, 40, 48, 56, 64, 80, ..., 128, ...
    data_shape : tuple of int
        Of a sample: (channels, height, width) of images, (dimension,) of vectors.
    width : int or None
        k, which channels (dcgan: 8 k, 4 k, 2 k, k) or neurons of both players are
        multiples of.
    generator_width, discriminator_width : int or None
        Another k for one player alone; with both, ``width`` may be left out.
    latent_dim : int
        Numbers in the generator's input.
    spectral_norm : bool
        Divide all weights of the discriminator by their spectral norms (Miyato et al.
        2018); it then has no batch norm.
    batch_norm : bool
        Whether the discriminator of dcgan has batch norm if it has no spectral norm.
        Losses with a gradient penalty need False: the penalty is one of single samples.
    generator : torch.Generator
        On the CPU; draws everything, so that its seed decides both players.

    Returns
    -------
    Gan

    Raises
    ------
    InputError
        If the architecture is unknown, a width is missing or no positive whole number,
        or a layer would have more than 2^31 weights.
    ShapeError
        If the architecture cannot make samples of this shape.

    References
    ----------
    Radford et al. 2016 (arXiv:1511.06434), Gulrajani et al. 2017 (arXiv:1704.00028),
    Miyato et al. 2018 (arXiv:1802.05957), Balaji et al. 2021 (arXiv:2104.05605).

    Examples
    --------
    >>> import tacit
    >>> gan = tacit.build_gan("mlp", data_shape=(2,), width=10, latent_dim=3,
    ...     generator=tacit.make_generator(0))
    >>> gan.num_generator_parameters
    172
    """
    if architecture not in get_args(Architecture):
        raise InputError(
            f"architecture must be one of {', '.join(get_args(Architecture))}; got "
            f"{architecture!r}"
        )
    widths = (
        _chosen("generator_width", generator_width, width),
        _chosen("discriminator_width", discriminator_width, width),
    )
    latent_dim = _whole("latent_dim", latent_dim)
    _check_shape(data_shape)
    maker = _GENERATORS[architecture](
        data_shape, widths[0], latent_dim, generator=generator
    )
    scorer = _discriminator(
        architecture,
        data_shape,
        widths[1],
        spectral_norm=spectral_norm,
        batch_norm=batch_norm,
        generator=generator,
    )
    return Gan(
        architecture=architecture,
        generator=maker,
        discriminator=scorer,
        latent_dim=latent_dim,
        generator_width=widths[0],
        discriminator_width=widths[1],
    )


def _discriminator(
    architecture: Architecture,
    data_shape: tuple[int, ...],
    width: int,
    *,
    spectral_norm: bool,
    batch_norm: bool,
    generator: torch.Generator,
) -> nn.Module:
    if architecture == "dcgan":
        return dcgan_discriminator(
            data_shape,
            width,
            spectral_norm=spectral_norm,
            batch_norm=batch_norm,
            generator=generator,
        )
    if architecture == "resnet":
        return resnet_discriminator(
            data_shape, width, spectral_norm=spectral_norm, generator=generator
        )
    return dense_discriminator(
        data_shape,
        width,
        num_hidden=1 if architecture == "one-hidden-layer" else 2,
        spectral_norm=spectral_norm,
        generator=generator,
    )


def _chosen(name: str, own: int | None, shared: int | None) -> int:
    if own is not None:
        return _whole(name, own)
    if shared is None:
        raise InputError(
            f"{name} must be known; got neither it nor width; give width for both "
            "players, or a width for each"
        )
    return _whole("width", shared)


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(
            f"{name} must be a whole number of at least 1; got {value!r}; try 16"
        )
    return value


def _check_shape(data_shape: tuple[int, ...]) -> None:
    if len(data_shape) not in (1, 3) or min(data_shape) < 1:
        raise ShapeError(
            "data_shape must be (dimension,) of vectors or (channels, height, width) "
            f"of images; got {data_shape}"
        )
