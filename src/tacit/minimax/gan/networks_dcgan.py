r"""DCGAN at a width: strided convolutions and batch norm, no pooling.

Radford, Metz, Chintala, Unsupervised representation learning with deep convolutional
GANs (2016, arXiv:1511.06434), with all channels in proportion to one number k as in
Balaji et al. (2021, arXiv:2104.05605), figure 8 (recalled; no code was published).
"""

from itertools import pairwise
from typing import NamedTuple, final

import torch
from torch import nn

from tacit.errors import ShapeError
from tacit.minimax.gan.networks_weights import (
    make_convolution,
    make_doubling,
    make_linear,
    normalise_spectrally,
)

_SLOPE = 0.2
_MIN_DOUBLINGS = 2
_LEAST, _MOST = 4, 7  # sizes at which doubling may begin
_MOST_CHANNELS = 8  # in multiples of the width
_LEAST_SIZE = 8


@final
class Doublings(NamedTuple):
    """How images of a size are reached: from a base, doubled several times."""

    base: tuple[int, int]
    times: int

    @property
    def area(self) -> int:
        """Pixels at the base."""
        return self.base[0] * self.base[1]


def find_doublings(data_shape: tuple[int, ...]) -> Doublings:
    """Return how a generator reaches images of this shape.

    A size is doubled from 4 to 7 pixels, as often as that takes but at least twice:
    8 = 2 * 4, 28 = 7 * 4, 32 = 4 * 8, 64 = 4 * 16. Of images that are not square both
    sides are doubled equally often, and the shorter one begins at 4 to 7.

    Parameters
    ----------
    data_shape : tuple of int
        (channels, height, width).

    Raises
    ------
    ShapeError
        If it is no shape of images, or a size that doubling cannot reach.
    """
    if len(data_shape) != 3:
        raise ShapeError(
            "dcgan and resnet make images, of shape (channels, height, width); got "
            f"samples of shape {data_shape}; take architecture mlp or one-hidden-layer"
        )
    _, *sides = data_shape
    shortest = min(sides)
    count = _MIN_DOUBLINGS
    while shortest >= _LEAST * 2 ** (count + 1):
        count += 1
    unit = 2**count
    is_reached = shortest >= _LEAST_SIZE and shortest // unit <= _MOST
    if not is_reached or any(side % unit for side in sides):
        good = ", ".join(map(str, _nearest_sizes(shortest)))
        raise ShapeError(
            f"dcgan and resnet reach image sizes that are doubled from 4 to 7 pixels; "
            f"got {sides[0]} x {sides[1]}; resize to a size such as {good}, or take "
            "architecture mlp"
        )
    return Doublings(base=(sides[0] // unit, sides[1] // unit), times=count)


def _nearest_sizes(size: int) -> list[int]:
    sizes = [2 * 4, 3 * 4]
    sizes += [base * 2**count for count in range(2, 8) for base in range(4, 8)]
    return sorted(sorted(sizes, key=lambda good: abs(good - size))[:2])


def dcgan_generator(
    data_shape: tuple[int, ...],
    width: int,
    latent_dim: int,
    *,
    generator: torch.Generator,
) -> nn.Module:
    """Return a dense layer to the base, then one transposed convolution a doubling.

    Of k = ``width``, channels are k at half of the final size, and twice as many at
    each half of that, 8 k at most: 4 k, 2 k, k for images of 32, 8 k, 4 k, 2 k, k for
    images of 64. Batch norm and ReLU after all layers but the last, which has tanh.

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
    """
    doublings = find_doublings(data_shape)
    channels = _channels(width, doublings.times)
    first = make_linear(
        latent_dim,
        channels[0] * doublings.area,
        "normalised",
        bias=False,
        generator=generator,
    )
    layers: list[nn.Module] = [
        first,
        nn.Unflatten(1, (channels[0], *doublings.base)),
        nn.BatchNorm2d(channels[0]),
        nn.ReLU(inplace=True),
    ]
    for before, after in pairwise(channels):
        layers += [
            make_doubling(before, after, "normalised", bias=False, generator=generator),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    last = make_doubling(channels[-1], data_shape[0], "linear", generator=generator)
    return nn.Sequential(*layers, last, nn.Tanh())


def dcgan_discriminator(
    data_shape: tuple[int, ...],
    width: int,
    *,
    spectral_norm: bool,
    batch_norm: bool,
    generator: torch.Generator,
) -> nn.Module:
    """Return the generator's mirror: one strided convolution a halving, then a score.

    Leaky ReLU of slope 0.2 after all of them; batch norm after all but the first, if
    there is no spectral norm.

    Parameters
    ----------
    data_shape : tuple of int
        (channels, height, width).
    width : int
        k, as in :func:`dcgan_generator`.
    spectral_norm : bool
        Whether all weights are divided by their spectral norms.
    batch_norm : bool
        Whether there is batch norm, if there is no spectral norm.
    generator : torch.Generator
        Draws the weights.

    Raises
    ------
    ShapeError
        If doubling does not reach the size.
    """
    doublings = find_doublings(data_shape)
    channels = (data_shape[0], *reversed(_channels(width, doublings.times)))
    has_batch_norm = batch_norm and not spectral_norm
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(channels)):
        is_batch_normed = has_batch_norm and i > 0
        layer = make_convolution(
            before,
            after,
            "normalised" if spectral_norm or is_batch_normed else "relu",
            kernel=4,
            stride=2,
            padding=1,
            bias=not is_batch_normed,
            generator=generator,
        )
        if spectral_norm:
            normalise_spectrally(layer, generator=generator)
        layers.append(layer)
        if is_batch_normed:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(_SLOPE, inplace=True))
    score = make_linear(
        channels[-1] * doublings.area,
        1,
        "normalised" if spectral_norm else "linear",
        generator=generator,
    )
    if spectral_norm:
        normalise_spectrally(score, generator=generator)
    return nn.Sequential(*layers, nn.Flatten(), score, nn.Flatten(0))


def _channels(width: int, count: int) -> list[int]:
    """Return the channels from the base up to half of the final size."""
    return [
        width * min(2**halvings, _MOST_CHANNELS) for halvings in reversed(range(count))
    ]
