r"""ResNet GAN at a width: residual blocks that double or halve the size.

Gulrajani et al., Improved training of Wasserstein GANs (2017, arXiv:1704.00028),
appendix F, and Miyato et al., Spectral normalization for GANs (2018,
arXiv:1802.05957), appendix B, with all channels in proportion to one number k.
"""

from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacit.minimax.gan.networks_dcgan import find_doublings
from tacit.minimax.gan.networks_weights import (
    make_convolution,
    make_linear,
    normalise_spectrally,
)

_SMALL = 3  # doublings up to which all layers have the same channels
_MOST_CHANNELS = 8  # in multiples of the width
_LEAST_POOLED = 8  # pixels that a small discriminator is left with, or just below
_NUM_PLAIN = 2  # blocks of a small discriminator that keep the size


@final
class _GrowingBlock(nn.Module):
    """Batch norm, ReLU, doubling and convolution, twice, beside a doubled shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, *, generator: torch.Generator
    ) -> None:
        nn.Module.__init__(self)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = make_convolution(
            in_channels,
            out_channels,
            "normalised",
            kernel=3,
            padding=1,
            bias=False,
            generator=generator,
        )
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = make_convolution(
            out_channels, out_channels, "relu", kernel=3, padding=1, generator=generator
        )
        self.shortcut = make_convolution(
            in_channels, out_channels, "linear", kernel=1, generator=generator
        )

    def forward(self, images: Tensor) -> Tensor:
        y = functional.relu_(self.norm1(images))
        y = self.conv1(_doubled(y))
        y = self.conv2(functional.relu_(self.norm2(y)))
        # A convolution of single pixels may as well come before they are repeated.
        return y + _doubled(self.shortcut(images))


@final
class _ScoringBlock(nn.Module):
    """ReLU and convolution, twice, beside a shortcut; both may be halved at the end.

    The first block sees the images themselves, without ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        is_first: bool,
        is_halving: bool,
        spectral_norm: bool,
        generator: torch.Generator,
    ) -> None:
        nn.Module.__init__(self)
        self.is_first, self.is_halving = is_first, is_halving
        # Gulrajani et al. give the inner layer the channels of the input.
        inner = out_channels if is_first else in_channels
        self.conv1 = make_convolution(
            in_channels,
            inner,
            "normalised" if spectral_norm else "relu",
            kernel=3,
            padding=1,
            generator=generator,
        )
        self.conv2 = make_convolution(
            inner,
            out_channels,
            "normalised" if spectral_norm else "relu",
            kernel=3,
            padding=1,
            generator=generator,
        )
        self.shortcut: nn.Conv2d | None = None
        if in_channels != out_channels or is_halving:
            self.shortcut = make_convolution(
                in_channels,
                out_channels,
                "normalised" if spectral_norm else "linear",
                kernel=1,
                generator=generator,
            )
        if spectral_norm:
            for layer in (self.conv1, self.conv2, self.shortcut):
                if layer is not None:
                    normalise_spectrally(layer, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        y = images if self.is_first else functional.relu(images)
        y = self.conv2(functional.relu_(self.conv1(y)))
        # The mean commutes with a convolution of single pixels.
        skipped = _halved(images) if self.is_halving else images
        if self.shortcut is not None:
            skipped = self.shortcut(skipped)
        return (_halved(y) if self.is_halving else y) + skipped


@final
class _Pool(nn.Module):
    """The mean over all pixels, or their sum."""

    def __init__(self, *, is_mean: bool) -> None:
        nn.Module.__init__(self)
        self.is_mean = is_mean

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) if self.is_mean else images.sum((2, 3))


def resnet_generator(
    data_shape: tuple[int, ...],
    width: int,
    latent_dim: int,
    *,
    generator: torch.Generator,
) -> nn.Module:
    """Return a dense layer to the base, then one residual block a doubling.

    Of k = ``width``, images smaller than 64 have k channels at every size ([G]_, on
    CIFAR-10), larger ones k at the final size and twice as many at each half of it,
    8 k at most ([G]_, on images of 64). Nearest neighbours double; batch norm, ReLU, a
    convolution and tanh end it.

    Parameters
    ----------
    data_shape : tuple of int
        (channels, height, width).
    width : int
        k.
    latent_dim : int
        Numbers in the input.
    generator : torch.Generator
        Draws the weights.

    Raises
    ------
    ShapeError
        If doubling does not reach the size.

    References
    ----------
    .. [G] Gulrajani et al. (2017), appendix F.
    """
    doublings = find_doublings(data_shape)
    channels = _channels(width, doublings.times)
    blocks = [
        _GrowingBlock(before, after, generator=generator)
        for before, after in pairwise(channels)
    ]
    return nn.Sequential(
        make_linear(
            latent_dim, channels[0] * doublings.area, "linear", generator=generator
        ),
        nn.Unflatten(1, (channels[0], *doublings.base)),
        *blocks,
        nn.BatchNorm2d(channels[-1]),
        nn.ReLU(inplace=True),
        make_convolution(
            channels[-1],
            data_shape[0],
            "linear",
            kernel=3,
            padding=1,
            generator=generator,
        ),
        nn.Tanh(),
    )


def resnet_discriminator(
    data_shape: tuple[int, ...],
    width: int,
    *,
    spectral_norm: bool,
    generator: torch.Generator,
) -> nn.Module:
    """Return residual blocks that halve the size, ReLU, a pool and a score.

    Of images smaller than 64 all blocks have k channels, and two that keep the size
    follow those that halve it down to 8 or just below; of larger ones the channels are
    the generator's. There is no batch norm. The pool is the sum with spectral norm
    ([M]_), else the mean.

    Parameters
    ----------
    data_shape : tuple of int
        (channels, height, width).
    width : int
        k.
    spectral_norm : bool
        Whether all weights are divided by their spectral norms.
    generator : torch.Generator
        Draws the weights.

    Raises
    ------
    ShapeError
        If doubling does not reach the size.

    References
    ----------
    .. [M] Miyato et al. (2018), appendix B.
    """
    doublings = find_doublings(data_shape)
    num_halvings = doublings.times
    if num_halvings <= _SMALL:
        # Down to 8 x 8 for images of 32, as published.
        num_halvings -= min(doublings.base) <= _LEAST_POOLED // 2
        channels = [width] * (num_halvings + _NUM_PLAIN)
    else:
        channels = list(reversed(_channels(width, num_halvings)[:-1]))
    blocks = [
        _ScoringBlock(
            before,
            after,
            is_first=i == 0,
            is_halving=i < num_halvings,
            spectral_norm=spectral_norm,
            generator=generator,
        )
        for i, (before, after) in enumerate(pairwise([data_shape[0], *channels]))
    ]
    score = make_linear(
        channels[-1],
        1,
        "normalised" if spectral_norm else "linear",
        generator=generator,
    )
    if spectral_norm:
        normalise_spectrally(score, generator=generator)
    return nn.Sequential(
        *blocks,
        nn.ReLU(inplace=True),
        _Pool(is_mean=not spectral_norm),
        score,
        nn.Flatten(0),
    )


def _channels(width: int, count: int) -> list[int]:
    """Return the channels from the base up to the final size."""
    if count <= _SMALL:
        return [width] * (count + 1)
    return [
        width * min(2**halvings, _MOST_CHANNELS)
        for halvings in reversed(range(count + 1))
    ]


def _doubled(images: Tensor) -> Tensor:
    return functional.interpolate(images, scale_factor=2, mode="nearest")


def _halved(images: Tensor) -> Tensor:
    return functional.avg_pool2d(images, 2)
