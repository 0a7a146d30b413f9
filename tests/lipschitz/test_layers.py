import math
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from cases import PARAMETERS, normal
from tacit.errors import InputError
from tacit.lipschitz.layers import (
    ACTIVATION_KINDS,
    PIECEWISE_LINEAR_KINDS,
    AbstractLinear,
    Activation,
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
    Shift,
    Slice,
)

mp: Any = mpmath.mp
mpf: Any = mpmath.mpf

TORCH: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(0.2),
    "hardtanh": nn.Hardtanh(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(2.0, threshold=300.0),
    "elu": nn.ELU(1.5),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
}


def activation(kind: str) -> Activation:
    return Activation(kind=kind, parameter=PARAMETERS.get(kind, 0.0))


# Derivatives in many digits


def _silu_slope(x: Any) -> Any:
    s = 1 / (1 + mp.exp(-x))
    return s * (1 + x * (1 - s))


def _gelu_slope(x: Any) -> Any:
    density = mp.exp(-(x**2) / 2) / mp.sqrt(2 * mp.pi)
    return (1 + mp.erf(x / mp.sqrt(2))) / 2 + x * density


def _gelu_tanh_slope(x: Any) -> Any:
    root = mp.sqrt(2 / mp.pi)
    inner = root * (x + mpf("0.044715") * x**3)
    t = mp.tanh(inner)
    return (1 + t) / 2 + x / 2 * (1 - t**2) * root * (1 + 3 * mpf("0.044715") * x**2)


SMOOTH: dict[str, tuple[Callable[[Any], Any], float]] = {
    "silu": (_silu_slope, 2.4),
    "gelu": (_gelu_slope, 1.4),
    "gelu_tanh": (_gelu_tanh_slope, 1.4),
}


def _extremum(slope: Callable[[Any], Any], start: float) -> Any:
    """Return the root of the derivative of the slope nearest to ``start``."""

    def curvature(x: Any) -> Any:
        return mp.diff(slope, x)

    return mp.findroot(curvature, start)


@pytest.mark.parametrize("kind", SMOOTH)
def test_the_extreme_slopes_are_those_of_50_digit_arithmetic(kind: str) -> None:
    slope, near = SMOOTH[kind]
    low, high = activation(kind).slopes
    with mp.workdps(50):
        right, left = (slope(_extremum(slope, start)) for start in (near, -near))
        # No other point of a fine grid beats them, so they are the global extrema.
        grid = [slope(mpf(i) / 20) for i in range(-400, 401)]
        assert left <= min(grid)
        assert max(grid) <= right
        assert 0 <= left - mpf(low) < mpf("2e-10")
        assert 0 <= mpf(high) - right < mpf("2e-10")


def test_every_smooth_kind_has_its_slopes_tested() -> None:
    monotone = {"tanh", "sigmoid", "softplus", "elu"}
    assert set(ACTIVATION_KINDS) == PIECEWISE_LINEAR_KINDS | set(SMOOTH) | monotone


@pytest.mark.parametrize(
    ("kind", "slopes"),
    [
        ("relu", (0.0, 1.0)),
        ("relu6", (0.0, 1.0)),
        ("hardtanh", (0.0, 1.0)),
        ("abs", (-1.0, 1.0)),
        ("tanh", (0.0, 1.0)),
        ("sigmoid", (0.0, 0.25)),
        ("softplus", (0.0, 1.0)),
    ],
)
def test_the_slopes_known_in_closed_form(
    kind: str, slopes: tuple[float, float]
) -> None:
    assert activation(kind).slopes == slopes
    assert activation(kind).center == sum(slopes) / 2
    assert activation(kind).radius == (slopes[1] - slopes[0]) / 2


@pytest.mark.parametrize("alpha", [-2.0, -0.5, 0.0, 0.3, 1.0, 2.5])
def test_the_slopes_that_depend_on_a_parameter(alpha: float) -> None:
    leaky = Activation(kind="leaky_relu", parameter=alpha)
    assert leaky.slopes == (min(alpha, 1.0), max(alpha, 1.0))
    # alpha exp(x) sweeps the slopes between 0 and alpha.
    elu = Activation(kind="elu", parameter=alpha)
    assert elu.slopes == (min(alpha, 0.0), max(alpha, 1.0))


@pytest.mark.parametrize("kind", ACTIVATION_KINDS)
@given(x=st.floats(-40.0, 40.0), step=st.floats(1e-3, 40.0), alpha=st.floats(-3.0, 3.0))
def test_no_difference_quotient_leaves_the_slopes(
    kind: str, x: float, step: float, alpha: float
) -> None:
    parameter = abs(alpha) + 0.1 if kind == "softplus" else alpha
    layer = Activation(kind=kind, parameter=parameter)
    pair = layer.apply(torch.tensor([x, x + step], dtype=torch.float64))
    width = float(torch.tensor(x + step, dtype=torch.float64)) - x
    quotient = float(pair[1] - pair[0]) / width
    # Rounding of the two values, divided by the width.
    slack = 8 * 2.3e-16 * (1.0 + float(pair.abs().max())) / width
    low, high = layer.slopes
    assert low - slack <= quotient <= high + slack


@pytest.mark.parametrize("kind", ACTIVATION_KINDS)
def test_both_ends_of_the_slopes_are_approached(kind: str) -> None:
    layer = activation(kind)
    x = torch.linspace(-30.0, 30.0, 60_001, dtype=torch.float64)
    y = layer.apply(x)
    quotients = (y[1:] - y[:-1]) / (x[1:] - x[:-1])
    assert float(quotients.min()) == pytest.approx(layer.slopes[0], abs=2e-3)
    assert float(quotients.max()) == pytest.approx(layer.slopes[1], abs=2e-3)


@pytest.mark.parametrize("kind", ACTIVATION_KINDS)
def test_an_activation_is_the_one_of_torch(
    kind: str, generator: torch.Generator
) -> None:
    x = 5.0 * normal(generator, 200)
    wanted = x.abs() if kind == "abs" else TORCH[kind](x)
    torch.testing.assert_close(
        activation(kind).apply(x), wanted, rtol=1e-14, atol=1e-14
    )


def test_softplus_has_no_jump_where_torch_switches_to_the_identity() -> None:
    layer = Activation(kind="softplus", parameter=1.0)
    x = torch.tensor([20.0 - 1e-9, 20.0 + 1e-9], dtype=torch.float64)
    ours, theirs = layer.apply(x), functional.softplus(x)
    assert float(ours[1] - ours[0]) / 2e-9 <= 1.0 + 1e-5
    # torch steps down by log1p(exp(-20)) there.
    assert float(theirs[1] - theirs[0]) < 1e-9


def test_softplus_does_not_overflow() -> None:
    x = torch.tensor([-1e4, 1e4], dtype=torch.float64)
    y = Activation(kind="softplus", parameter=3.0).apply(x)
    assert y.tolist() == [0.0, 1e4]


@pytest.mark.parametrize(
    ("kind", "parameter", "message"),
    [
        ("swish", 0.0, "must be one of relu"),
        ("elu", math.nan, "must be finite"),
        ("leaky_relu", math.inf, "must be finite"),
        ("softplus", 0.0, "finite and positive"),
        ("softplus", -1.0, "finite and positive"),
    ],
)
def test_an_impossible_activation_is_refused(
    kind: str, parameter: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Activation(kind=kind, parameter=parameter)


# Linear layers against definitions, written out entry by entry where that is short


def test_dense_is_a_matrix_product(generator: torch.Generator) -> None:
    weight, x = normal(generator, 4, 3), normal(generator, 2, 5, 3)
    y = Dense(weight=weight).apply(x)
    wanted = torch.einsum("oi,bsi->bso", weight, x)
    torch.testing.assert_close(y, wanted)


def test_conv_sums_over_its_window(generator: torch.Generator) -> None:
    weight, x = normal(generator, 4, 1, 2), normal(generator, 1, 2, 7)
    layer = Conv(weight=weight, stride=(2,), padding=(1,), dilation=(3,), groups=2)
    y = layer.apply(x)
    padded = functional.pad(x, (1, 1))
    assert y.shape == (1, 4, 3)
    for out in range(4):
        for place in range(3):
            taps = [
                weight[out, 0, k] * padded[0, out // 2, 2 * place + 3 * k]
                for k in (0, 1)
            ]
            assert float(y[0, out, place]) == pytest.approx(float(sum(taps)), rel=1e-12)


CONVOLUTIONS: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "1d": (nn.Conv1d, 1),
    "2d": (nn.Conv2d, 2),
    "3d": (nn.Conv3d, 3),
}
TRANSPOSED: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "1d": (nn.ConvTranspose1d, 1),
    "2d": (nn.ConvTranspose2d, 2),
    "3d": (nn.ConvTranspose3d, 3),
}


def _weighted(module: nn.Module, weight: Tensor) -> nn.Module:
    module.get_parameter("weight").data = weight
    return module


@pytest.mark.global_rng
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv_is_the_one_of_torch(name: str, generator: torch.Generator) -> None:
    make, axes = CONVOLUTIONS[name]
    weight = normal(generator, 4, 1, *(2, 3, 1)[:axes])
    x = normal(generator, 2, 2, *(6, 7, 4)[:axes])
    options = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False}
    module = _weighted(make(2, 4, (2, 3, 1)[:axes], **options), weight)
    two, one = (2,) * axes, (1,) * axes
    layer = Conv(weight=weight, stride=two, padding=one, dilation=two, groups=2)
    torch.testing.assert_close(layer.apply(x), module(x))


@pytest.mark.global_rng
@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose_is_the_one_of_torch(
    name: str, generator: torch.Generator
) -> None:
    make, axes = TRANSPOSED[name]
    weight = normal(generator, 4, 3, *(2, 3, 2)[:axes])
    x = normal(generator, 2, 4, *(5, 3, 2)[:axes])
    options = {
        "stride": 2,
        "padding": 1,
        "output_padding": 1,
        "groups": 2,
        "bias": False,
    }
    module = _weighted(make(4, 6, (2, 3, 2)[:axes], **options), weight)
    two, one = (2,) * axes, (1,) * axes
    layer = ConvTranspose(
        weight=weight,
        stride=two,
        padding=one,
        output_padding=one,
        dilation=one,
        groups=2,
    )
    torch.testing.assert_close(layer.apply(x), module(x))


def test_conv_transpose_is_the_adjoint_of_conv(generator: torch.Generator) -> None:
    weight = normal(generator, 3, 2, 3)
    forward = Conv(weight=weight, stride=(2,), padding=(1,), dilation=(1,), groups=1)
    back = ConvTranspose(
        weight=weight,
        stride=(2,),
        padding=(1,),
        output_padding=(0,),
        dilation=(1,),
        groups=1,
    )
    x, y = normal(generator, 1, 2, 7), normal(generator, 1, 3, 4)
    one = (forward.apply(x) * y).sum()
    two = (x * back.apply(y)).sum()
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_average_pool_is_the_one_of_torch(
    ceil_mode: bool, count_include_pad: bool, axes: int, generator: torch.Generator
) -> None:
    make = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[axes - 1]
    x = normal(generator, 2, 3, *(6, 5, 4)[:axes])
    options = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    module = make(3, 2, 1, **options)
    layer = AveragePool(
        kernel=(3,) * axes,
        stride=(2,) * axes,
        padding=(1,) * axes,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    torch.testing.assert_close(layer.apply(x), module(x))


def test_mean_runs_over_sample_axes(generator: torch.Generator) -> None:
    x = normal(generator, 2, 3, 4, 5)
    wanted = torch.stack([x[:, :, i].sum(1) for i in range(4)]).sum(0)  # (2, 5)
    got = Mean(axes=(0, 1), keep_axes=False).apply(x)
    torch.testing.assert_close(got, wanted / 12.0)
    assert Mean(axes=(1,), keep_axes=True).apply(x).shape == (2, 3, 1, 5)


def test_scale_and_shift_broadcast_to_the_sample(generator: torch.Generator) -> None:
    x, c = normal(generator, 2, 3, 4), normal(generator, 3, 1)
    for b in range(2):
        for i in range(3):
            scaled = Scale(factor=c).apply(x)[b, i]
            torch.testing.assert_close(scaled, x[b, i] * c[i, 0])
            shifted = Shift(offset=c).apply(x)[b, i]
            torch.testing.assert_close(shifted, x[b, i] + c[i, 0])


def test_rearrangements_keep_the_batch_axis(generator: torch.Generator) -> None:
    x = normal(generator, 2, 3, 4, 5)
    assert Reshape(shape=(12, 5)).apply(x).shape == (2, 12, 5)
    assert Reshape(shape=()).apply(x[:, :1, :1, :1]).shape == (2,)
    moved = Permute(axes=(2, 0, 1)).apply(x)
    assert moved.shape == (2, 5, 3, 4)
    assert float(moved[1, 4, 2, 3]) == float(x[1, 2, 3, 4])
    cut = Slice(axis=1, start=1, stop=4, step=2).apply(x)
    assert torch.equal(cut, torch.stack([x[:, :, 1], x[:, :, 3]], dim=2))
    padded = Pad(widths=(1, 2, 0, 1)).apply(x)
    assert padded.shape == (2, 3, 5, 8)
    assert torch.equal(padded[:, :, :4, 1:6], x)
    assert float(padded.abs().sum()) == pytest.approx(float(x.abs().sum()))


def test_add_and_concat_take_several_tensors(generator: torch.Generator) -> None:
    x, y, z = (normal(generator, 2, 3, 4) for _ in range(3))
    torch.testing.assert_close(Add().apply(x, y, z), x + y + z)
    joined = Concat(axis=1).apply(x, y)
    assert torch.equal(joined[:, :, :4], x)
    assert torch.equal(joined[:, :, 4:], y)


LINEAR: dict[str, tuple[AbstractLinear, tuple[int, ...]]] = {
    "Reshape": (Reshape(shape=(6,)), (2, 3)),
    "Permute": (Permute(axes=(1, 0)), (2, 3)),
    "Pad": (Pad(widths=(1, 1)), (2, 3)),
    "Slice": (Slice(axis=1, start=0, stop=3, step=2), (2, 3)),
    "Mean": (Mean(axes=(1,), keep_axes=False), (2, 3)),
    "AveragePool": (AveragePool(kernel=(2,), stride=(1,), padding=(1,)), (2, 3)),
    "Scale": (Scale(factor=torch.tensor([1.0, -2.0, 3.0]).double()), (2, 3)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_layer_is_linear(name: str, generator: torch.Generator) -> None:
    layer, shape = LINEAR[name]
    x, y = normal(generator, 2, *shape), normal(generator, 2, *shape)
    torch.testing.assert_close(
        layer.apply(2.0 * x - y), 2.0 * layer.apply(x) - layer.apply(y)
    )
