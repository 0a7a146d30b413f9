r"""Layers whose weights are drawn from a stream of one's own.

The layers of PyTorch draw their weights from the global stream when they are made. Here
they are made without weights, and drawn once, from the generator that is given.
"""

import math
from typing import Literal

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from tacit.errors import InputError

Gain = Literal["normalised", "relu", "linear"]
"""What becomes of a layer's output: see :func:`draw_weight`."""

# Radford et al. (2016), section 4.
_NORMALISED_STD = 0.02
# As PyTorch does when it makes a spectral norm.
_POWER_ITERATIONS = 15
# Where layers are made: their own draws, from the global stream, do not take place.
_NOWHERE = "meta"
_MOST_WEIGHTS = 2**31


def check_size(num_weights: int) -> None:
    """Refuse a layer of more weights than memory can hold.

    Parameters
    ----------
    num_weights : int

    Raises
    ------
    InputError
        If there are more than 2^31.
    """
    if num_weights > _MOST_WEIGHTS:
        raise InputError(
            f"a layer must have at most {_MOST_WEIGHTS} weights, to fit into memory; "
            f"got {num_weights}; lower the width"
        )


def make_linear(
    num_inputs: int,
    num_outputs: int,
    gain: Gain,
    *,
    bias: bool = True,
    generator: torch.Generator,
) -> nn.Linear:
    """Return a dense layer with drawn weights and biases zero.

    Parameters
    ----------
    num_inputs, num_outputs : int
    gain : {"normalised", "relu", "linear"}
        As in :func:`draw_weight`.
    bias : bool
        Whether it has biases.
    generator : torch.Generator
        Draws the weights.
    """
    check_size(num_inputs * num_outputs)
    layer = nn.Linear(num_inputs, num_outputs, bias=bias, device=_NOWHERE)
    layer = layer.to_empty(device="cpu")
    draw_weight(layer, num_inputs, gain, generator=generator)
    return layer


def make_convolution(
    in_channels: int,
    out_channels: int,
    gain: Gain,
    *,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
    generator: torch.Generator,
) -> nn.Conv2d:
    """Return a convolution of images with drawn weights and biases zero.

    Parameters
    ----------
    in_channels, out_channels : int
    gain : {"normalised", "relu", "linear"}
        As in :func:`draw_weight`.
    kernel, stride, padding : int
        The same in both directions.
    bias : bool
        Whether it has biases.
    generator : torch.Generator
        Draws the weights.
    """
    check_size(in_channels * out_channels * kernel * kernel)
    layer = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=padding,
        bias=bias,
        device=_NOWHERE,
    )
    layer = layer.to_empty(device="cpu")
    draw_weight(layer, in_channels * kernel * kernel, gain, generator=generator)
    return layer


def make_doubling(
    in_channels: int,
    out_channels: int,
    gain: Gain,
    *,
    bias: bool = True,
    generator: torch.Generator,
) -> nn.ConvTranspose2d:
    """Return a transposed convolution to images of twice the size.

    Kernels are of 4 x 4 with stride 2, so that every output sees 2 x 2 inputs.

    Parameters
    ----------
    in_channels, out_channels : int
    gain : {"normalised", "relu", "linear"}
        As in :func:`draw_weight`.
    bias : bool
        Whether it has biases.
    generator : torch.Generator
        Draws the weights.
    """
    check_size(in_channels * out_channels * 16)
    layer = nn.ConvTranspose2d(
        in_channels,
        out_channels,
        4,
        stride=2,
        padding=1,
        bias=bias,
        device=_NOWHERE,
    )
    layer = layer.to_empty(device="cpu")
    draw_weight(layer, in_channels * 4, gain, generator=generator)
    return layer


@torch.no_grad()
def draw_weight(
    layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d,
    fan_in: int,
    gain: Gain,
    *,
    generator: torch.Generator,
) -> None:
    r"""Draw a layer's weights from N(0, std^2), and set its biases to zero.

    Parameters
    ----------
    layer : Linear, Conv2d or ConvTranspose2d
        Changed in place.
    fan_in : int
        How many inputs an output sees.
    gain : {"normalised", "relu", "linear"}
        ``normalised``: a batch or spectral norm follows, which makes the scale
        irrelevant to the function; std = 0.02 ([Radford2016]_, section 4). ``relu``: a
        (leaky) ReLU follows; std = :math:`\sqrt{2 / \text{fan\_in}}` ([He2015]_,
        equation 10). ``linear``: :math:`\sqrt{1 / \text{fan\_in}}`. Where no norm
        follows, 0.02 would let the signal of narrow networks vanish, and so handicap
        them before training begins.
    generator : torch.Generator
        Draws the weights.

    References
    ----------
    .. [Radford2016] Radford, Metz, Chintala, Unsupervised representation learning with
       deep convolutional GANs, 2016, arXiv:1511.06434.
    .. [He2015] He, Zhang, Ren, Sun, Delving deep into rectifiers, 2015,
       arXiv:1502.01852.
    """
    stds = {
        "normalised": _NORMALISED_STD,
        "relu": math.sqrt(2.0 / fan_in),
        "linear": math.sqrt(1.0 / fan_in),
    }
    layer.weight.normal_(0.0, stds[gain], generator=generator)
    if layer.bias is not None:
        layer.bias.zero_()


def normalise_spectrally(
    layer: nn.Linear | nn.Conv2d, *, generator: torch.Generator
) -> None:
    r"""Divide a layer's weight by its largest singular value from now on.

    A convolution's weight counts as the matrix of shape (out_channels, in_channels *
    kernel area). The singular vectors are buffers, improved by one power step in every
    pass in training mode: whoever restores the state dictionary restores the function.

    Parameters
    ----------
    layer : Linear or Conv2d
        Changed in place.
    generator : torch.Generator
        Draws where the power iteration starts, on the layer's device.

    References
    ----------
    [Miyato2018]_, section 2.1 and appendix A.

    .. [Miyato2018] Miyato, Kataoka, Koyama, Yoshida, Spectral normalization for
       generative adversarial networks, 2018, arXiv:1802.05957.
    """
    # It draws starting vectors of its own from the global stream; they are replaced.
    with torch.random.fork_rng(devices=[]):
        spectral_norm(layer)
    with torch.no_grad():
        for name, vector in layer.named_buffers():
            if name.startswith("parametrizations.weight."):
                vector.normal_(generator=generator)
                vector.div_(torch.linalg.vector_norm(vector))
        for _ in range(_POWER_ITERATIONS):
            _ = layer.weight  # a power step each time it is asked for
