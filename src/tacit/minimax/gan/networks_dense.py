r"""Players made of dense layers, for vectors and for small images.

A sample is flattened; a generator of images ends in tanh.
"""

import math
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacit.minimax.gan.networks_weights import (
    check_size,
    make_linear,
    normalise_spectrally,
)

_IMAGE_DIMENSIONS = 3
_SLOPE = 0.2
_NUM_HIDDEN = 2


@final
class _FixedLinear(nn.Module):
    """A linear map that is drawn once and never trained: its matrix is a buffer."""

    weight: Tensor

    def __init__(
        self, num_inputs: int, num_outputs: int, *, generator: torch.Generator
    ) -> None:
        nn.Module.__init__(self)
        check_size(num_inputs * num_outputs)
        weight = torch.randn(num_outputs, num_inputs, generator=generator)
        # Half of the inputs' second moment is left after ReLU.
        self.register_buffer("weight", weight * math.sqrt(2.0 / num_inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight)


def one_hidden_layer_generator(
    data_shape: tuple[int, ...],
    width: int,
    latent_dim: int,
    *,
    generator: torch.Generator,
) -> nn.Module:
    r"""Return the paper's generator.

    .. math:: G(z) = V\,\mathrm{relu}(W z), \quad W \in \mathbb{R}^{k \times d},\;
              V \in \mathbb{R}^{m \times k}

    W is trained, from N(0, 1/d); V stays as it was drawn, from N(0, 2/k), so that the
    entries of G(z) have variance 1 at the start whatever the width k. There are no
    biases. Of images, tanh of this.

    Parameters
    ----------
    data_shape : tuple of int
        Of a sample, m numbers in all.
    width : int
        k.
    latent_dim : int
        d.
    generator : torch.Generator
        Draws W, then V.

    References
    ----------
    [Balaji2021]_, section 2.1; the variances here are ours.

    .. [Balaji2021] Balaji, Sajedi, Kalibhat, Ding, Stoeger, Soltanolkotabi, Feizi,
       Understanding over-parameterization in generative adversarial networks, 2021,
       arXiv:2104.05605.
    """
    layers: list[nn.Module] = [
        make_linear(latent_dim, width, "linear", bias=False, generator=generator),
        nn.ReLU(inplace=True),
        _FixedLinear(width, math.prod(data_shape), generator=generator),
    ]
    return nn.Sequential(*layers, *_sample_end(data_shape))


def mlp_generator(
    data_shape: tuple[int, ...],
    width: int,
    latent_dim: int,
    *,
    generator: torch.Generator,
) -> nn.Module:
    """Return two hidden ReLU layers of the same width and an output layer.

    Parameters
    ----------
    data_shape : tuple of int
        Of a sample.
    width : int
        Neurons of a hidden layer.
    latent_dim : int
        Numbers in the input.
    generator : torch.Generator
        Draws the weights.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([latent_dim] + [width] * _NUM_HIDDEN):
        layers += [
            make_linear(fan_in, fan_out, "relu", generator=generator),
            nn.ReLU(inplace=True),
        ]
    last = make_linear(width, math.prod(data_shape), "linear", generator=generator)
    return nn.Sequential(*layers, last, *_sample_end(data_shape))


def dense_discriminator(
    data_shape: tuple[int, ...],
    width: int,
    *,
    num_hidden: int = _NUM_HIDDEN,
    spectral_norm: bool,
    generator: torch.Generator,
) -> nn.Module:
    """Return hidden layers of one width with leaky ReLU, and a linear score.

    Parameters
    ----------
    data_shape : tuple of int
        Of a sample, which is flattened.
    width : int
        Neurons of a hidden layer.
    num_hidden : int
        Hidden layers; all are trained, and the score too.
    spectral_norm : bool
        Whether all weights are divided by their spectral norms.
    generator : torch.Generator
        Draws the weights.
    """
    linears = [
        make_linear(
            fan_in,
            width,
            "normalised" if spectral_norm else "relu",
            generator=generator,
        )
        for fan_in in [math.prod(data_shape)] + [width] * (num_hidden - 1)
    ]
    score = make_linear(
        width, 1, "normalised" if spectral_norm else "linear", generator=generator
    )
    if spectral_norm:
        for layer in (*linears, score):
            normalise_spectrally(layer, generator=generator)
    layers: list[nn.Module] = [nn.Flatten()] if len(data_shape) > 1 else []
    for layer in linears:
        layers += [layer, nn.LeakyReLU(_SLOPE, inplace=True)]
    return nn.Sequential(*layers, score, nn.Flatten(0))


def _sample_end(data_shape: tuple[int, ...]) -> list[nn.Module]:
    """Return what makes a sample of a vector of its numbers."""
    if len(data_shape) == _IMAGE_DIMENSIONS:
        return [nn.Tanh(), nn.Unflatten(1, data_shape)]
    return []
