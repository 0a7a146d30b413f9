"""Upper bounds on the spectral norms of single linear layers."""

import math
import sys
from collections.abc import Sequence

import torch
from torch.nn import functional

from tacit.errors import UnsupportedLayerError
from tacit.lipschitz.closed_form.conv_norms import conv_norm_bound
from tacit.lipschitz.closed_form.matrix_norms import spectral_norm_bound
from tacit.lipschitz.layers import (
    AbstractLinear,
    Add,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Mean,
    Pad,
    Permute,
    Reshape,
    Scale,
    Shape,
    Slice,
)
from tacit.spectral import EPS


def times_up(*factors: float) -> float:
    """Return the product of numbers >= 0, rounded upward; zero only if a factor is."""
    if 0.0 in factors:
        return 0.0
    product = 1.0
    for factor in factors:
        product = max(product * factor, sys.float_info.min)
    return product * (1.0 + 2.0 * len(factors) * EPS)


def layer_norm_bound(
    layer: AbstractLinear, in_shapes: Sequence[Shape], out_shape: Shape
) -> float:
    r"""Return an upper bound on the spectral norm of one linear layer.

    Closed forms: Reshape, Permute, Pad, Slice 1 (they move or drop entries); Scale the
    largest modulus; Mean over n entries :math:`n^{-1/2}`; Add of k tensors
    :math:`\sqrt{k}` and Concat 1, as maps of the stacked inputs; AveragePool the
    product over dimensions of the norm of its one-dimensional average, because its
    matrix is a Kronecker product (so are the window sizes it divides by). Dense layers
    act on the last axis alone: the norm of the weight. Convolutions:
    :func:`conv_norm_bound`.

    Parameters
    ----------
    layer : AbstractLinear
        In double precision.
    in_shapes : sequence of tuple of int
        Sample shape of every input.
    out_shape : tuple of int
        Sample shape of the value.

    Returns
    -------
    float

    Raises
    ------
    UnsupportedLayerError
        If the layer is none of the linear layers of this library.

    Examples
    --------
    >>> from tacit.lipschitz.layers import Mean
    >>> from tacit.lipschitz.closed_form.layer_norms import layer_norm_bound
    >>> bound = layer_norm_bound(Mean(axes=(0,), keep_axes=False), [(4,)], ())
    >>> 0.5 <= bound < 0.5 * (1 + 1e-12)
    True
    """
    if isinstance(layer, Reshape | Permute | Pad | Slice | Concat):
        return 1.0
    if isinstance(layer, Add):
        return math.sqrt(len(in_shapes)) * (1.0 + EPS)
    if isinstance(layer, Dense):
        return spectral_norm_bound(layer.weight)
    if isinstance(layer, Scale):
        copies = math.prod(out_shape) // math.prod(in_shapes[0])
        return times_up(float(layer.factor.abs().max()), math.sqrt(copies))
    if isinstance(layer, Mean):
        count = math.prod(in_shapes[0]) / math.prod(out_shape)
        return times_up(1.0 / math.sqrt(count))
    if isinstance(layer, AveragePool):
        return _pool_norm_bound(layer, in_shapes[0])
    if isinstance(layer, Conv):
        size = out_shape[1:]
    elif isinstance(layer, ConvTranspose):
        size = in_shapes[0][1:]
    else:
        raise UnsupportedLayerError(
            "layer must be a linear layer of tacit.lipschitz.layers; got "
            f"{type(layer).__name__}; add its norm to layer_norm_bound"
        )
    return conv_norm_bound(
        layer.weight,
        stride=layer.stride,
        dilation=layer.dilation,
        groups=layer.groups,
        out_size=size,
    )


def _pool_norm_bound(layer: AveragePool, in_shape: Shape) -> float:
    norms: list[float] = []
    settings = zip(
        in_shape[-len(layer.kernel) :],
        layer.kernel,
        layer.stride,
        layer.padding,
        strict=True,
    )
    for size, kernel, stride, padding in settings:
        columns = functional.avg_pool1d(
            torch.eye(size, dtype=torch.float64)[:, None],
            kernel,
            stride,
            padding,
            layer.ceil_mode,
            layer.count_include_pad,
        )
        norms.append(spectral_norm_bound(columns[:, 0]))
    return times_up(*norms)
