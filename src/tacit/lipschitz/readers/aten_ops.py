"""What ATen's weighted layers, activations and arithmetic mean in layers."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from tacit.errors import UnsupportedLayerError
from tacit.lipschitz.readers import build, build_maps
from tacit.lipschitz.readers.aten_arguments import Arguments, Handler, Result
from tacit.lipschitz.readers.build import Builder, Value


def _identity(_: Builder, a: Arguments) -> Result:
    return a.first


def _dropout(_: Builder, a: Arguments) -> Result:
    if a.flag("train"):
        raise UnsupportedLayerError(
            "dropout in training mode is random; export in eval mode"
        )
    return a.first


def _cast(_: Builder, a: Arguments) -> Result:
    dtype = a.items.get("dtype")
    if dtype not in (None, torch.float32, torch.float64):
        raise UnsupportedLayerError(
            f"a cast to {dtype} changes the function; only float32 and float64 are read"
        )
    return a.first


def _simple(kind: str) -> Handler:
    return lambda b, a: build.activation(b, a.first, kind)


def _bounded(b: Builder, x: Value, low: float | None, high: float | None) -> Value:
    kind = build.CLIPPINGS.get((low, high))
    if kind is None:
        raise UnsupportedLayerError(
            f"clipping is read between 0 and infinity, 0 and 6, or -1 and 1; got {low} "
            f"and {high}"
        )
    return build.activation(b, x, kind)


def _hardtanh(b: Builder, a: Arguments) -> Result:
    return _bounded(b, a.first, a.number("min_val"), a.number("max_val"))


def _clamp(b: Builder, a: Arguments) -> Result:
    return _bounded(b, a.first, a.optional_number("min"), a.optional_number("max"))


def _leaky_relu(b: Builder, a: Arguments) -> Result:
    return build.activation(b, a.first, "leaky_relu", a.number("negative_slope"))


def _elu(b: Builder, a: Arguments) -> Result:
    if a.number("input_scale") != 1.0:
        raise UnsupportedLayerError(
            "elu with an input scale is not read; use alpha alone"
        )
    x = build.activation(b, a.first, "elu", a.number("alpha"))
    factor = a.number("scale")
    return (
        x
        if factor == 1.0
        else build.scale(b, x, torch.tensor(factor, dtype=torch.float64))
    )


# The constants of Klambauer et al., Self-Normalizing Neural Networks (2017).
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934


def _selu(b: Builder, a: Arguments) -> Result:
    x = build.activation(b, a.first, "elu", _SELU_ALPHA)
    return build.scale(b, x, torch.tensor(_SELU_SCALE, dtype=torch.float64))


def _softplus(b: Builder, a: Arguments) -> Result:
    if a.number("threshold") < 20.0:
        raise UnsupportedLayerError(
            f"softplus with threshold {a.number('threshold')} jumps there, so it has "
            "no Lipschitz constant; use 20 or more"
        )
    return build.activation(b, a.first, "softplus", a.number("beta"))


def _gelu(b: Builder, a: Arguments) -> Result:
    kind = "gelu" if a.text("approximate") == "none" else "gelu_tanh"
    return build.activation(b, a.first, kind)


def _prelu(b: Builder, a: Arguments) -> Result:
    slope = a.constant("weight")
    if slope.numel() != 1:
        raise UnsupportedLayerError(
            "prelu is read with one slope for all channels only"
        )
    return build.activation(b, a.first, "leaky_relu", float(slope))


def _add(b: Builder, a: Arguments) -> Result:
    return build.add(b, a.operand("self"), a.operand("other"), a.number("alpha"))


def _sub(b: Builder, a: Arguments) -> Result:
    return build.add(b, a.operand("self"), a.operand("other"), -a.number("alpha"))


def _rsub(b: Builder, a: Arguments) -> Result:
    return build.add(b, a.operand("other"), a.operand("self"), -a.number("alpha"))


def _mul(b: Builder, a: Arguments) -> Result:
    return build.multiply(b, a.operand("self"), a.operand("other"))


def _div(b: Builder, a: Arguments) -> Result:
    divisor = build.constant(a.operand("other"), "a divisor").double()
    return build.scale(b, a.value("self"), 1.0 / divisor)


def _neg(b: Builder, a: Arguments) -> Result:
    return build.scale(b, a.first, torch.tensor(-1.0, dtype=torch.float64))


def _linear(b: Builder, a: Arguments) -> Result:
    return build_maps.linear(b, a.first, a.constant("weight"), a.optional("bias"))


def _addmm(b: Builder, a: Arguments) -> Result:
    product = build_maps.matmul(b, a.operand("mat1"), a.operand("mat2"))
    alpha, beta = a.number("alpha"), a.number("beta")
    if alpha != 1.0:
        product = build.scale(b, product, torch.tensor(alpha, dtype=torch.float64))
    return build.add(b, product, a.operand("self"), beta)


def _matmul(b: Builder, a: Arguments) -> Result:
    other = "mat2" if "mat2" in a.items else "other"
    return build_maps.matmul(b, a.operand("self"), a.operand(other))


def _same(weight: Tensor, dilation: Sequence[int]) -> list[int]:
    """Return torch's padding="same", the larger half behind, last axis first."""
    widths: list[int] = []
    sizes = tuple(weight.shape[2:])
    steps = list(dilation) * len(sizes) if len(dilation) == 1 else list(dilation)
    for size, step in zip(reversed(sizes), reversed(steps), strict=True):
        spare = step * (size - 1)
        widths += [spare // 2, spare - spare // 2]
    return widths


def _conv(b: Builder, a: Arguments) -> Result:
    x, weight = a.first, a.constant("weight")
    padding: object = a.items.get("padding")
    if isinstance(padding, str):
        if padding == "same":
            x = build_maps.pad(b, x, _same(weight, a.integers("dilation")))
        padding = 0
    else:
        padding = a.integers("padding")
    transposed = a.flag("transposed")
    return build_maps.convolve(
        b,
        x,
        weight,
        a.optional("bias"),
        stride=a.integers("stride"),
        padding=padding,
        dilation=a.integers("dilation"),
        groups=a.integer("groups"),
        output_padding=a.integers("output_padding") if transposed else None,
    )


def _conv_transpose(b: Builder, a: Arguments) -> Result:
    return _conv(b, Arguments({**a.items, "transposed": True}))


def _batch_norm(b: Builder, a: Arguments) -> Result:
    if a.flag("training"):
        raise UnsupportedLayerError(
            "batch norm in training mode depends on the whole batch; export in eval "
            "mode"
        )
    return build_maps.batch_norm(
        b,
        a.first,
        a.optional("weight"),
        a.optional("bias"),
        a.optional("running_mean"),
        a.optional("running_var"),
        eps=a.number("eps"),
    )


def _batch_norm_parts(b: Builder, a: Arguments) -> Result:
    nothing = torch.empty(0)
    return [cast("Value", _batch_norm(b, a)), nothing, nothing]


def _avg_pool(num_axes: int) -> Handler:
    def handler(b: Builder, a: Arguments) -> Result:
        if a.items.get("divisor_override") is not None:
            raise UnsupportedLayerError(
                "average pooling with divisor_override is not read"
            )
        return build_maps.average_pool(
            b,
            a.first,
            a.integers("kernel_size"),
            num_axes=num_axes,
            stride=a.integers("stride"),
            padding=a.integers("padding"),
            ceil_mode=a.flag("ceil_mode"),
            count_include_pad=a.flag("count_include_pad"),
        )

    return handler


def _adaptive(num_axes: int) -> Handler:
    return lambda b, a: build_maps.adaptive_average_pool(
        b, a.first, a.integers("output_size"), num_axes=num_axes
    )


def _axes(a: Arguments, x: Value) -> list[int]:
    chosen = [] if a.items.get("dim") is None else a.integers("dim")
    return chosen or list(range(len(x.shape)))


def _mean(b: Builder, a: Arguments) -> Result:
    x = a.first
    return build_maps.mean(b, x, _axes(a, x), keep=a.flag("keepdim"))


def _sum(b: Builder, a: Arguments) -> Result:
    x = a.first
    return build_maps.total(b, x, _axes(a, x), keep=a.flag("keepdim"))


OPERATIONS: dict[str, Handler] = {
    "aten.linear.default": _linear,
    "aten.addmm.default": _addmm,
    "aten.mm.default": _matmul,
    "aten.matmul.default": _matmul,
    "aten.conv1d.default": _conv,
    "aten.conv2d.default": _conv,
    "aten.conv3d.default": _conv,
    "aten.conv1d.padding": _conv,
    "aten.conv2d.padding": _conv,
    "aten.conv3d.padding": _conv,
    "aten.convolution.default": _conv,
    "aten.conv_transpose1d.default": _conv_transpose,
    "aten.conv_transpose2d.input": _conv_transpose,
    "aten.conv_transpose3d.input": _conv_transpose,
    "aten.batch_norm.default": _batch_norm,
    "aten._native_batch_norm_legit_no_training.default": _batch_norm_parts,
    "aten.avg_pool1d.default": _avg_pool(1),
    "aten.avg_pool2d.default": _avg_pool(2),
    "aten.avg_pool3d.default": _avg_pool(3),
    "aten.adaptive_avg_pool1d.default": _adaptive(1),
    "aten.adaptive_avg_pool2d.default": _adaptive(2),
    "aten.adaptive_avg_pool3d.default": _adaptive(3),
    "aten._adaptive_avg_pool2d.default": _adaptive(2),
    "aten._adaptive_avg_pool3d.default": _adaptive(3),
    "aten.mean.dim": _mean,
    "aten.mean.default": _mean,
    "aten.sum.dim_IntList": _sum,
    "aten.sum.default": _sum,
    "aten.add.Tensor": _add,
    "aten.add.Scalar": _add,
    "aten.sub.Tensor": _sub,
    "aten.sub.Scalar": _sub,
    "aten.rsub.Tensor": _rsub,
    "aten.rsub.Scalar": _rsub,
    "aten.mul.Tensor": _mul,
    "aten.mul.Scalar": _mul,
    "aten.div.Tensor": _div,
    "aten.div.Scalar": _div,
    "aten.neg.default": _neg,
    "aten.relu.default": _simple("relu"),
    "aten.relu6.default": _simple("relu6"),
    "aten.hardtanh.default": _hardtanh,
    "aten.clamp.default": _clamp,
    "aten.clamp_min.default": _clamp,
    "aten.leaky_relu.default": _leaky_relu,
    "aten.prelu.default": _prelu,
    "aten.tanh.default": _simple("tanh"),
    "aten.sigmoid.default": _simple("sigmoid"),
    "aten.silu.default": _simple("silu"),
    "aten.abs.default": _simple("abs"),
    "aten.elu.default": _elu,
    "aten.selu.default": _selu,
    "aten.softplus.default": _softplus,
    "aten.gelu.default": _gelu,
    "aten.dropout.default": _dropout,
    "aten.feature_dropout.default": _dropout,
    "aten.alpha_dropout.default": _dropout,
    "aten.to.dtype": _cast,
    "aten._to_copy.default": _cast,
    "aten.detach.default": _identity,
    "aten.clone.default": _identity,
    "aten.contiguous.default": _identity,
    "aten.alias.default": _identity,
    "aten.lift_fresh_copy.default": _identity,
}
