"""Dense layers, convolutions, pooling and batch norm of a graph being imported."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError, UnsupportedLayerError
from tacit.lipschitz.layers import (
    AveragePool,
    Conv,
    ConvTranspose,
    Dense,
    Mean,
    Pad,
    Shape,
)
from tacit.lipschitz.readers.build import (
    Builder,
    Operand,
    Value,
    arrange,
    axis_of,
    cut,
    emit,
    permute,
    scale,
    shift,
)


def linear(
    builder: Builder, value: Value, weight: Tensor, bias: Tensor | None
) -> Value:
    """Append ``x @ weight.T + bias`` on the last axis."""
    if not value.shape or weight.dim() != 2:
        raise ShapeError(
            f"a dense layer takes a vector and a matrix; got shapes {value.shape} and "
            f"{tuple(weight.shape)}"
        )
    sample = value.sample if len(value.shape) > 1 else value.shape
    if builder.shapes[value.index] not in (value.shape, sample):
        value = arrange(builder, value, sample)
    shape = (*value.shape[:-1], weight.shape[0])
    value = emit(builder, Dense(weight=weight.to(torch.float64)), value, shape=shape)
    return value if bias is None else shift(builder, value, bias)


def matmul(builder: Builder, first: Operand, second: Operand) -> Value:
    """Append a matrix product of which one side is a constant matrix or vector."""
    if isinstance(first, Value) and isinstance(second, Tensor):
        return _times(builder, first, second)
    if isinstance(first, Tensor) and isinstance(second, Value):
        if len(second.shape) < 2:
            return _times(builder, second, first.mT if first.dim() > 1 else first)
        if first.dim() < 2:
            return _from_left(builder, second, first[None], drop=True)
        return _from_left(builder, second, first, drop=False)
    raise UnsupportedLayerError(
        "a matrix product needs a constant matrix on one side and a value that depends "
        "on the input on the other"
    )


def _from_left(builder: Builder, value: Value, matrix: Tensor, *, drop: bool) -> Value:
    # W x = (x^T W^T)^T on the last two axes.
    result = _times(builder, swap(builder, value), matrix.mT)
    if drop:
        return result.reshaped(result.shape[:-1])
    return swap(builder, result)


def swap(builder: Builder, value: Value) -> Value:
    """Exchange the last two axes."""
    rank = len(value.shape)
    return permute(builder, value, (*range(rank - 2), rank - 1, rank - 2))


def _times(builder: Builder, value: Value, matrix: Tensor) -> Value:
    if matrix.dim() == 1:
        result = linear(builder, value, matrix[None], None)
        return result.reshaped(result.shape[:-1])
    lead = tuple(matrix.shape[:-2])
    if math.prod(lead) != 1:
        raise UnsupportedLayerError(
            "a matrix product takes one constant matrix; got a stack of shape "
            f"{tuple(matrix.shape)}"
        )
    result = linear(builder, value, matrix.reshape(matrix.shape[-2:]).T, None)
    missing = (
        max(len(lead) + 2 - len(result.shape), 0)
        if len(result.shape) > 1
        else len(lead)
    )
    return result.reshaped((1,) * missing + result.shape)


def mean(builder: Builder, value: Value, axes: Sequence[int], *, keep: bool) -> Value:
    """Append the mean over ``axes``."""
    chosen = sorted({axis_of(value, axis) for axis in axes})
    kept = tuple(1 if i in chosen else size for i, size in enumerate(value.shape))
    final_shape = (
        kept
        if keep
        else tuple(size for i, size in enumerate(value.shape) if i not in chosen)
    )
    wide = tuple(axis for axis in chosen if value.shape[axis] > 1)
    if wide:
        lead = int(value.shape[:1] == (1,))
        value = arrange(builder, value, value.shape[lead:])
        layer = Mean(axes=tuple(axis - lead for axis in wide), keep_axes=True)
        value = emit(builder, layer, value, shape=kept)
    return value.reshaped(final_shape)


def total(builder: Builder, value: Value, axes: Sequence[int], *, keep: bool) -> Value:
    """Append the sum over ``axes``."""
    count = math.prod(value.shape[axis_of(value, axis)] for axis in set(axes))
    value = mean(builder, value, axes, keep=keep)
    return (
        value
        if count == 1
        else scale(builder, value, torch.tensor(float(count), dtype=torch.float64))
    )


def pad(builder: Builder, value: Value, widths: Sequence[int]) -> Value:
    """Append zero padding; ``widths`` as in torch, negative ones crop."""
    rank = len(value.shape)
    if len(widths) % 2 or len(widths) > 2 * rank:
        raise ShapeError(f"padding {tuple(widths)} does not fit shape {value.shape}")
    grow: list[int] = []
    for i in range(0, len(widths), 2):
        before, after = widths[i], widths[i + 1]
        axis = rank - 1 - i // 2
        if before < 0 or after < 0:
            size = value.shape[axis]
            value = cut(builder, value, axis, max(-before, 0), size + min(after, 0))
        grow += [max(before, 0), max(after, 0)]
    while grow and grow[-2:] == [0, 0]:
        grow = grow[:-2]
    if not grow:
        return value
    shape = list(value.shape)
    for i in range(0, len(grow), 2):
        shape[rank - 1 - i // 2] += grow[i] + grow[i + 1]
    lead = int(value.shape[0] == 1 and len(grow) < 2 * rank)
    value = arrange(builder, value, value.shape[lead:])
    return emit(builder, Pad(widths=tuple(grow)), value, shape=tuple(shape))


def _windowed(
    builder: Builder, value: Value, num_axes: int, what: str
) -> tuple[Value, bool]:
    """Return the value held as (channels, *axes), and whether a 1 is left out."""
    rank = len(value.shape)
    if rank == num_axes + 2 and value.shape[0] == 1:
        return arrange(builder, value, value.shape[1:]), True
    if rank == num_axes + 1:
        return arrange(builder, value, value.shape), False
    raise UnsupportedLayerError(
        f"{what} over {num_axes} axes takes one sample of shape (1, channels, ...) or "
        f"(channels, ...); got shape {value.shape}"
    )


def _sizes(sizes: Sequence[int] | int, num_axes: int, least: int, what: str) -> Shape:
    given = (sizes,) if isinstance(sizes, int) else tuple(int(size) for size in sizes)
    given = given * num_axes if len(given) == 1 else given
    if len(given) != num_axes or any(size < least for size in given):
        raise ShapeError(f"{what} must be {num_axes} numbers >= {least}; got {given}")
    return given


def convolve(
    builder: Builder,
    value: Value,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Sequence[int] | int = 1,
    padding: Sequence[int] | int = 0,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    output_padding: Sequence[int] | int | None = None,
) -> Value:
    """Append a convolution, or a transposed one if ``output_padding`` is given."""
    num_axes = weight.dim() - 2
    if num_axes not in (1, 2, 3):
        raise UnsupportedLayerError(
            "convolutions are read over 1, 2 or 3 axes; got a kernel of shape "
            f"{tuple(weight.shape)}"
        )
    held, batched = _windowed(builder, value, num_axes, "a convolution")
    strides = _sizes(stride, num_axes, 1, "stride")
    paddings = _sizes(padding, num_axes, 0, "padding")
    dilations = _sizes(dilation, num_axes, 1, "dilation")
    kernel = weight.detach().to(torch.float64)
    if output_padding is None:
        layer = Conv(
            weight=kernel,
            stride=strides,
            padding=paddings,
            dilation=dilations,
            groups=groups,
        )
    else:
        layer = ConvTranspose(
            weight=kernel,
            stride=strides,
            padding=paddings,
            output_padding=_sizes(output_padding, num_axes, 0, "output_padding"),
            dilation=dilations,
            groups=groups,
        )
    result = emit(builder, layer, held)
    result = result if batched else result.reshaped(result.shape[1:])
    if bias is None:
        return result
    return shift(builder, result, bias.reshape(-1, *[1] * num_axes))


def average_pool(
    builder: Builder,
    value: Value,
    kernel: Sequence[int] | int,
    *,
    num_axes: int,
    stride: Sequence[int] | int = (),
    padding: Sequence[int] | int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Value:
    """Append average pooling as in torch; no stride means the kernel."""
    held, batched = _windowed(builder, value, num_axes, "average pooling")
    kernels = _sizes(kernel, num_axes, 1, "kernel_size")
    layer = AveragePool(
        kernel=kernels,
        stride=kernels
        if stride == () or stride == []
        else _sizes(stride, num_axes, 1, "stride"),
        padding=_sizes(padding, num_axes, 0, "padding"),
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    result = emit(builder, layer, held)
    return result if batched else result.reshaped(result.shape[1:])


def adaptive_average_pool(
    builder: Builder,
    value: Value,
    output_size: Sequence[int | None] | int,
    *,
    num_axes: int,
) -> Value:
    """Append adaptive average pooling where its windows are equal and disjoint."""
    sizes = value.shape[-num_axes:]
    given = (
        [output_size] * num_axes if isinstance(output_size, int) else list(output_size)
    )
    if len(given) == 1:
        given = given * num_axes
    if len(given) != num_axes or len(sizes) != num_axes:
        raise ShapeError(
            f"output_size {given} does not fit a value of shape {value.shape}"
        )
    wanted = [
        have if want is None else want for have, want in zip(sizes, given, strict=True)
    ]
    if any(want < 1 or have % want for have, want in zip(sizes, wanted, strict=True)):
        raise UnsupportedLayerError(
            "adaptive average pooling is read where its output size divides the input "
            f"size; got {sizes} to {tuple(wanted)}; choose sizes that divide or use "
            "plain average pooling"
        )
    if all(want == 1 for want in wanted):
        return mean(builder, value, range(-num_axes, 0), keep=True)
    kernel = tuple(have // want for have, want in zip(sizes, wanted, strict=True))
    return average_pool(builder, value, kernel, num_axes=num_axes)


def batch_norm(
    builder: Builder,
    value: Value,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    *,
    eps: float,
) -> Value:
    r"""Append batch norm in evaluation mode, one scale and one shift per channel.

    .. math:: y = w (x - m) / \sqrt{v + \epsilon} + b
    """
    if running_mean is None or running_var is None:
        raise UnsupportedLayerError(
            "batch norm without stored statistics depends on the whole batch; use "
            "track_running_stats=True and export in eval mode"
        )
    variance = running_var.to(torch.float64) + eps
    if not bool((variance > 0.0).all()):
        raise InputError(
            "batch norm needs running_var + eps > 0; got a smaller variance"
        )
    factor = 1.0 / variance.sqrt()
    if weight is not None:
        factor = factor * weight.to(torch.float64)
    offset = -running_mean.to(torch.float64) * factor
    if bias is not None:
        offset = offset + bias.to(torch.float64)
    if len(value.shape) < 2:
        raise ShapeError(
            f"batch norm takes (batch, channels, ...); got shape {value.shape}"
        )
    if factor.dim() != 1 or factor.shape[0] != value.shape[1]:
        raise ShapeError(
            f"batch norm over {value.shape[1]} channels takes as many statistics; got "
            f"shape {tuple(factor.shape)}"
        )
    spread = (-1, *[1] * (len(value.shape) - 2))
    value = scale(builder, value, factor.reshape(spread))
    return shift(builder, value, offset.reshape(spread))
