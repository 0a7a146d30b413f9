"""The layers a bound is proved for: linear maps of a batch and elementwise functions.

Biases are layers of their own (:class:`Shift`), so every other layer except
:class:`Activation` is exactly linear. All tensors are batch first: a layer maps
``(batch, *in_shape)`` to ``(batch, *out_shape)``.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from tacit.errors import InputError

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class AbstractLinear(ABC):
    """A linear map of one or several tensors, without bias."""

    @abstractmethod
    def apply(self, *inputs: Tensor) -> Tensor:
        """Map tensors of shape (batch, *in_shape) to one of (batch, *out_shape)."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Dense(AbstractLinear):
    """``x @ weight.T`` on the last axis; ``weight`` has shape (out, in)."""

    weight: Tensor

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.linear(x, self.weight)


_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_AVG_POOL = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Conv(AbstractLinear):
    """Cross-correlation with zero padding, as in ``torch.nn.Conv1d/2d/3d``.

    ``weight`` has shape (out_channels, in_channels / groups, *kernel).
    """

    weight: Tensor
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        convolve = _CONV[len(self.stride)]
        return convolve(
            x, self.weight, None, self.stride, self.padding, self.dilation, self.groups
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConvTranspose(AbstractLinear):
    """The adjoint of :class:`Conv`, as in ``torch.nn.ConvTranspose1d/2d/3d``.

    ``weight`` has shape (in_channels, out_channels / groups, *kernel).
    """

    weight: Tensor
    stride: Shape
    padding: Shape
    output_padding: Shape
    dilation: Shape
    groups: int

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        convolve = _CONV_TRANSPOSE[len(self.stride)]
        return convolve(
            x,
            self.weight,
            None,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AveragePool(AbstractLinear):
    """Average over windows, as in ``torch.nn.AvgPool1d/2d/3d``."""

    kernel: Shape
    stride: Shape
    padding: Shape
    ceil_mode: bool = False
    count_include_pad: bool = True

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        pool = _AVG_POOL[len(self.kernel)]
        return pool(
            x,
            self.kernel,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Mean(AbstractLinear):
    """Mean over axes, counted without the batch axis (0 is the first sample axis)."""

    axes: Shape
    keep_axes: bool

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return x.mean(dim=[axis + 1 for axis in self.axes], keepdim=self.keep_axes)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Scale(AbstractLinear):
    """Elementwise product with a constant that broadcasts to the sample shape."""

    factor: Tensor

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return x * self.factor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Reshape(AbstractLinear):
    """The same entries in another sample shape (flatten, view, squeeze)."""

    shape: Shape

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return x.reshape(x.shape[0], *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Permute(AbstractLinear):
    """Axes reordered; ``axes`` counts sample axes from 0."""

    axes: Shape

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return x.permute(0, *(axis + 1 for axis in self.axes))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pad(AbstractLinear):
    """Zero padding; ``widths`` as in ``torch.nn.functional.pad`` (last axis first)."""

    widths: Shape

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.pad(x, self.widths)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Slice(AbstractLinear):
    """Entries ``start:stop:step`` of one sample axis."""

    axis: int
    start: int
    stop: int
    step: int = 1

    def apply(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        index = [slice(None)] * x.dim()
        index[self.axis + 1] = slice(self.start, self.stop, self.step)
        return x[tuple(index)]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Add(AbstractLinear):
    """Sum of two or more tensors of one shape (residual connections)."""

    def apply(self, *inputs: Tensor) -> Tensor:
        total = inputs[0]
        for x in inputs[1:]:
            total = total + x
        return total


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(AbstractLinear):
    """Tensors joined along a sample axis."""

    axis: int

    def apply(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, dim=self.axis + 1)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Shift:
    """A constant added (bias); it drops out of every difference of outputs."""

    offset: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Return ``x + offset``."""
        return x + self.offset


# Extreme slopes of the smooth activations, rounded outward in the last digit given.
# SiLU: at the roots of 2 + x(1 - 2 s(x)) = 0 (s the logistic function), x = +-2.399357.
# GELU: at x = +-sqrt(2), 1/2 +- (erf(1)/2 + exp(-1)/sqrt(pi)).
# GELU with tanh: at the extrema of its derivative, x = +-1.418504.
# tests/lipschitz/test_layers.py recomputes all of them in 50-digit arithmetic.
_SILU = (-0.0998393202, 1.0998393202)
_GELU = (-0.1289041452, 1.1289041452)
_GELU_TANH = (-0.1289930687, 1.1289930687)


def _elu_slopes(alpha: float) -> tuple[float, float]:
    return min(0.0, alpha), max(1.0, alpha)


@final
@dataclass(frozen=True, eq=False)
class _Kind:
    function: Callable[[Tensor, float], Tensor]
    slopes: Callable[[float], tuple[float, float]]


_KINDS: dict[str, _Kind] = {
    "relu": _Kind(lambda x, _: functional.relu(x), lambda _: (0.0, 1.0)),
    "relu6": _Kind(lambda x, _: functional.relu6(x), lambda _: (0.0, 1.0)),
    "leaky_relu": _Kind(functional.leaky_relu, lambda a: (min(1.0, a), max(1.0, a))),
    "abs": _Kind(lambda x, _: x.abs(), lambda _: (-1.0, 1.0)),
    "hardtanh": _Kind(lambda x, _: functional.hardtanh(x), lambda _: (0.0, 1.0)),
    "tanh": _Kind(lambda x, _: torch.tanh(x), lambda _: (0.0, 1.0)),
    "sigmoid": _Kind(lambda x, _: torch.sigmoid(x), lambda _: (0.0, 0.25)),
    # Not functional.softplus: its switch to the identity at large x is a jump.
    "softplus": _Kind(
        lambda x, beta: torch.logaddexp(beta * x, torch.zeros_like(x)) / beta,
        lambda _: (0.0, 1.0),
    ),
    "elu": _Kind(functional.elu, _elu_slopes),
    "silu": _Kind(lambda x, _: functional.silu(x), lambda _: _SILU),
    "gelu": _Kind(lambda x, _: functional.gelu(x), lambda _: _GELU),
    "gelu_tanh": _Kind(
        lambda x, _: functional.gelu(x, approximate="tanh"), lambda _: _GELU_TANH
    ),
}

ACTIVATION_KINDS: tuple[str, ...] = tuple(_KINDS)
PIECEWISE_LINEAR_KINDS = frozenset({"relu", "relu6", "leaky_relu", "abs", "hardtanh"})


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Activation:
    """An elementwise function whose difference quotients lie in ``[low, high]``.

    Parameters
    ----------
    kind : str
        One of ``ACTIVATION_KINDS``.
    parameter : float
        Negative slope of ``leaky_relu``, alpha of ``elu``, beta of ``softplus``;
        unused by the others.

    Examples
    --------
    >>> from tacit.lipschitz.layers import Activation
    >>> Activation(kind="leaky_relu", parameter=0.1).slopes
    (0.1, 1.0)
    """

    kind: str
    parameter: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise InputError(
                f"activation kind must be one of {', '.join(ACTIVATION_KINDS)}; "
                f"got {self.kind!r}"
            )
        if not math.isfinite(self.parameter) or (
            self.kind == "softplus" and self.parameter <= 0.0
        ):
            raise InputError(
                f"parameter of {self.kind} must be finite"
                f"{' and positive' if self.kind == 'softplus' else ''}; "
                f"got {self.parameter}"
            )

    @property
    def slopes(self) -> tuple[float, float]:
        """Smallest and largest slope of the function, rounded outward."""
        return _KINDS[self.kind].slopes(self.parameter)

    @property
    def center(self) -> float:
        """Midpoint of the slopes."""
        low, high = self.slopes
        return (low + high) / 2.0

    @property
    def radius(self) -> float:
        """Half the width of the slopes."""
        low, high = self.slopes
        return (high - low) / 2.0

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether the slope is constant between finitely many kinks."""
        return self.kind in PIECEWISE_LINEAR_KINDS

    def apply(self, x: Tensor) -> Tensor:
        """Return the function of every entry."""
        return _KINDS[self.kind].function(x, self.parameter)


Layer = AbstractLinear | Shift | Activation


def tensors_of(layer: Layer) -> list[Tensor]:
    """Return the weights of a layer."""
    values = (getattr(layer, field.name) for field in fields(layer))
    return [value for value in values if isinstance(value, Tensor)]


def converted(layer: Layer, *, dtype: torch.dtype, device: torch.device | str) -> Layer:
    """Return the layer with its weights in another dtype or on another device."""
    changes = {
        field.name: value.detach().to(device=device, dtype=dtype)
        for field in fields(layer)
        if isinstance(value := getattr(layer, field.name), Tensor)
    }
    return replace(layer, **changes)
