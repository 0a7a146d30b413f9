"""What ONNX's weighted layers, activations and arithmetic mean in layers."""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tacit.errors import ShapeError, UnsupportedLayerError
from tacit.lipschitz.layers import AveragePool, Scale
from tacit.lipschitz.readers import build, build_maps
from tacit.lipschitz.readers.build import Builder, Operand, Value
from tacit.lipschitz.readers.onnx_node import GeluPart, Handler, OnnxNode, Result

_SQRT_HALF = math.sqrt(0.5)


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _gemm(b: Builder, n: OnnxNode) -> Result:
    first, second = n.operand(0), n.operand(1)
    if n.integer("transA", 0):
        first = first.mT if isinstance(first, Tensor) else build_maps.swap(b, first)
    if n.integer("transB", 0):
        second = second.mT if isinstance(second, Tensor) else build_maps.swap(b, second)
    if len(first.shape) != 2 or len(second.shape) != 2:
        raise ShapeError(f"Gemm takes matrices; got {first.shape} and {second.shape}")
    result: Operand = build_maps.matmul(b, first, second)
    alpha = n.number("alpha", 1.0)
    if alpha != 1.0:
        result = build.multiply(b, result, _number(alpha))
    if n.has(2):
        result = build.add(b, result, n.operand(2), n.number("beta", 1.0))
    return result


def _matmul(b: Builder, n: OnnxNode) -> Result:
    return build_maps.matmul(b, n.operand(0), n.operand(1))


def _is(item: object, number: float) -> bool:
    """Whether an operand is one constant number, up to float32's rounding."""
    return (
        isinstance(item, Tensor)
        and item.numel() == 1
        and math.isclose(float(item), number, rel_tol=1e-6)
    )


def _half_of(b: Builder, item: object, source: Value) -> bool:
    if not isinstance(item, Value) or item.index == 0:
        return False
    layer, inputs = b.layers[item.index - 1]
    return (
        isinstance(layer, Scale)
        and inputs == (source.index,)
        and _is(layer.factor, 0.5)
    )


def _erf(b: Builder, n: OnnxNode) -> Result:
    inner = n.value()
    layer, inputs = b.layers[inner.index - 1] if inner.index else (None, (0,))
    if not isinstance(layer, Scale) or not _is(layer.factor, _SQRT_HALF):
        raise UnsupportedLayerError(
            "Erf is read only as part of 0.5 * x * (1 + Erf(x / sqrt(2)))"
        )
    return GeluPart(source=Value(index=inputs[0], shape=inner.shape), step="erf")


def _gelu_step(b: Builder, op: str, part: GeluPart, other: object) -> Result:
    source, step = part.source, part.step
    same = isinstance(other, Value) and other.index == source.index
    match op, step:
        case "Add", "erf" if _is(other, 1.0):
            return GeluPart(source=source, step="one_plus_erf")
        case "Mul", "one_plus_erf" if same:
            return GeluPart(source=source, step="x_times")
        case "Mul", "one_plus_erf" if _is(other, 0.5):
            return GeluPart(source=source, step="half")
        case "Mul", "one_plus_erf" if _half_of(b, other, source):
            return build.activation(b, source, "gelu")
        case "Mul", "x_times" if _is(other, 0.5):
            return build.activation(b, source, "gelu")
        case "Mul", "half" if same:
            return build.activation(b, source, "gelu")
        case _:
            raise UnsupportedLayerError(
                "Erf is read only as part of 0.5 * x * (1 + Erf(x / sqrt(2)))"
            )


def _add(b: Builder, n: OnnxNode) -> Result:
    for here, there in ((0, 1), (1, 0)):
        part = n.inputs[here]
        if isinstance(part, GeluPart):
            return _gelu_step(b, "Add", part, n.inputs[there])
    return build.add(b, n.operand(0), n.operand(1))


def _sub(b: Builder, n: OnnxNode) -> Result:
    return build.add(b, n.operand(0), n.operand(1), -1.0)


def _mul(b: Builder, n: OnnxNode) -> Result:
    for here, there in ((0, 1), (1, 0)):
        part = n.inputs[here]
        if isinstance(part, GeluPart):
            return _gelu_step(b, "Mul", part, n.inputs[there])
    return build.multiply(b, n.operand(0), n.operand(1))


def _div(b: Builder, n: OnnxNode) -> Result:
    return build.scale(b, n.value(), 1.0 / n.constant(1).double())


def _sum(b: Builder, n: OnnxNode) -> Result:
    terms = [n.operand(i) for i in range(len(n.inputs))]
    return functools.reduce(lambda one, two: build.add(b, one, two), terms)


def _neg(b: Builder, n: OnnxNode) -> Result:
    return build.scale(b, n.value(), _number(-1.0))


def _windows(
    n: OnnxNode, sizes: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return strides, dilations, and the padding before and after of each axis."""
    count = len(kernel)
    strides = n.integers("strides") or [1] * count
    dilations = n.integers("dilations") or [1] * count
    pads = n.integers("pads") or [0] * (2 * count)
    if not len(strides) == len(dilations) == count or len(pads) != 2 * count:
        raise ShapeError(f"strides, dilations and pads must be given for {count} axes")
    if min([*strides, *dilations, *kernel]) < 1:
        raise ShapeError(
            f"strides, dilations and kernel sizes must be positive in {n.op}"
        )
    mode = n.text("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = [0] * (2 * count)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        spare = [
            max((math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size, 0)
            for size, s, d, k in zip(sizes, strides, dilations, kernel, strict=True)
        ]
        small, large = [p // 2 for p in spare], [p - p // 2 for p in spare]
        pads = small + large if mode == "SAME_UPPER" else large + small
    elif mode != "NOTSET":
        raise UnsupportedLayerError(f"auto_pad {mode!r} is not read")
    return strides, dilations, pads[:count], pads[count:]


def _widths(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Return torch's order of padding, last axis first."""
    pairs = reversed(list(zip(before, after, strict=True)))
    return [width for pair in pairs for width in pair]


def _conv(b: Builder, n: OnnxNode) -> Result:
    x, weight = n.value(), n.constant(1)
    kernel = tuple(weight.shape[2:])
    strides, dilations, before, after = _windows(n, x.shape[2:], kernel)
    if before != after or min([0, *before]) < 0:
        x = build_maps.pad(b, x, _widths(before, after))
        before = [0] * len(kernel)
    return build_maps.convolve(
        b,
        x,
        weight,
        n.optional(2),
        stride=strides,
        padding=before,
        dilation=dilations,
        groups=n.integer("group", 1),
    )


def _conv_transpose(b: Builder, n: OnnxNode) -> Result:
    x, weight = n.value(), n.constant(1)
    kernel = tuple(weight.shape[2:])
    count, mode = len(kernel), n.text("auto_pad", "NOTSET")
    strides = n.integers("strides") or [1] * count
    dilations = n.integers("dilations") or [1] * count
    pads = n.integers("pads") or [0] * (2 * count)
    extra = n.integers("output_padding") or [0] * count
    wanted = n.integers("output_shape")
    if (
        not len(strides) == len(dilations) == len(extra) == count
        or len(pads) != 2 * count
    ):
        raise ShapeError(f"strides, dilations and pads must be given for {count} axes")
    if mode.startswith("SAME") and wanted is None:
        wanted = [size * s for size, s in zip(x.shape[2:], strides, strict=True)]
    before, after = pads[:count], pads[count:]
    if mode == "VALID":
        before, after = [0] * count, [0] * count
    if wanted is not None:
        full = [
            s * (size - 1) + o + (k - 1) * d + 1
            for size, s, d, k, o in zip(
                x.shape[2:], strides, dilations, kernel, extra, strict=True
            )
        ]
        spare = [have - want for have, want in zip(full, wanted[-count:], strict=True)]
        small, large = [p // 2 for p in spare], [p - p // 2 for p in spare]
        before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
    if min([0, *before, *after]) < 0:
        raise UnsupportedLayerError("ConvTranspose with negative padding is not read")
    # The adjoint of padding is cropping: exact for equal and unequal paddings.
    result = build_maps.convolve(
        b,
        x,
        weight,
        None,
        stride=strides,
        dilation=dilations,
        groups=n.integer("group", 1),
        output_padding=extra,
    )
    result = build_maps.pad(b, result, [-width for width in _widths(before, after)])
    bias = n.optional(2)
    return (
        result
        if bias is None
        else build.shift(b, result, bias.reshape(-1, *[1] * count))
    )


def _batch_norm(b: Builder, n: OnnxNode) -> Result:
    is_training = n.integer("training_mode", 0) or (n.opset < 14 and n.num_outputs > 1)
    if is_training or not n.integer("spatial", 1):
        raise UnsupportedLayerError(
            "BatchNormalization is read in evaluation mode with one scale per channel "
            "only"
        )
    return build_maps.batch_norm(
        b,
        n.value(),
        n.constant(1),
        n.constant(2),
        n.constant(3),
        n.constant(4),
        eps=n.number("epsilon", 1e-5),
    )


def _average_pool(b: Builder, n: OnnxNode) -> Result:
    x, kernel = n.value(), n.integers("kernel_shape") or []
    strides, dilations, before, after = _windows(n, x.shape[2:], kernel)
    if set(dilations) - {1}:
        raise UnsupportedLayerError("average pooling with dilation is not read")
    counted = bool(n.integer("count_include_pad", 0))
    rounded_up = bool(n.integer("ceil_mode", 0))
    plain = before == after and all(
        2 * p <= k for p, k in zip(before, kernel, strict=True)
    )
    widths = _widths(before, after)
    result = build_maps.average_pool(
        b,
        x if plain else build_maps.pad(b, x, widths),
        kernel,
        num_axes=len(kernel),
        stride=strides,
        padding=before if plain else 0,
        ceil_mode=rounded_up,
        count_include_pad=counted or not plain,
    )
    if plain or counted:
        return result
    # Padding was counted: divide by the share of each window that is not padding.
    pool = AveragePool(
        kernel=tuple(kernel),
        stride=tuple(strides),
        padding=(0,) * len(kernel),
        ceil_mode=rounded_up,
    )
    ones = torch.ones(1, 1, *x.shape[2:], dtype=torch.float64)
    share = pool.apply(torch.nn.functional.pad(ones, widths))
    return build.scale(b, result, 1.0 / share)


def _global_pool(b: Builder, n: OnnxNode) -> Result:
    x = n.value()
    return build_maps.mean(b, x, range(2, len(x.shape)), keep=True)


def _reduce(b: Builder, n: OnnxNode) -> Result:
    x, axes = n.value(), n.listed("axes", 1)
    if not axes:
        if n.integer("noop_with_empty_axes", 0):
            return x
        axes = list(range(len(x.shape)))
    combine = build_maps.mean if n.op == "ReduceMean" else build_maps.total
    return combine(b, x, axes, keep=bool(n.integer("keepdims", 1)))


def _simple(kind: str) -> Handler:
    return lambda b, n: build.activation(b, n.value(), kind)


def _with(kind: str, name: str, default: float) -> Handler:
    return lambda b, n: build.activation(b, n.value(), kind, n.number(name, default))


def _prelu(b: Builder, n: OnnxNode) -> Result:
    slope = n.constant(1)
    if slope.numel() != 1:
        raise UnsupportedLayerError(
            "PRelu is read with one slope for all channels only"
        )
    return build.activation(b, n.value(), "leaky_relu", float(slope))


def _selu(b: Builder, n: OnnxNode) -> Result:
    x = build.activation(b, n.value(), "elu", n.number("alpha", 1.6732632423543772))
    return build.scale(b, x, _number(n.number("gamma", 1.0507009873554805)))


def _softplus(b: Builder, n: OnnxNode) -> Result:
    return build.activation(b, n.value(), "softplus", 1.0)


def _gelu(b: Builder, n: OnnxNode) -> Result:
    kind = "gelu" if n.text("approximate", "none") == "none" else "gelu_tanh"
    return build.activation(b, n.value(), kind)


def _clip(b: Builder, n: OnnxNode) -> Result:
    low: float | None = None
    high: float | None = None
    if n.opset < 11:
        low = n.number("min", -math.inf) if "min" in n.attributes else None
        high = n.number("max", math.inf) if "max" in n.attributes else None
    else:
        low = float(n.constant(1)) if n.has(1) else None
        high = float(n.constant(2)) if n.has(2) else None
    # A bound beyond float32's range never acts.
    low = None if low is not None and low < -1e38 else low
    high = None if high is not None and high > 1e38 else high
    if (low, high) == (None, None):
        return n.value()
    kind = build.CLIPPINGS.get((low, high))
    if kind is None:
        raise UnsupportedLayerError(
            f"Clip is read between 0 and infinity, 0 and 6, or -1 and 1; got {low}, "
            f"{high}"
        )
    return build.activation(b, n.value(), kind)


OPERATIONS: dict[str, Handler] = {
    "Abs": _simple("abs"),
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _div,
    "Elu": _with("elu", "alpha", 1.0),
    "Erf": _erf,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "LeakyRelu": _with("leaky_relu", "alpha", 0.01),
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": _neg,
    "PRelu": _prelu,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Relu": _simple("relu"),
    "Selu": _selu,
    "Sigmoid": _simple("sigmoid"),
    "Softplus": _softplus,
    "Sub": _sub,
    "Sum": _sum,
    "Tanh": _simple("tanh"),
}
