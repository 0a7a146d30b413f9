import math
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.lipschitz.layers import (
    ACTIVATION_KINDS,
    PIECEWISE_LINEAR_KINDS,
    Activation,
    AveragePool,
    Conv,
    Dense,
    Layer,
    Reshape,
    Scale,
    Shift,
)
from tacit.lipschitz.network import chain, make_network, run
from tacit.lipschitz.pair import evaluate_pair
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.rng import make_generator


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)


def _exact_l2_squared(
    weights: list[Tensor], biases: list[Tensor], x: Tensor, x_prime: Tensor
) -> Fraction:
    """The squared quotient of a ReLU chain in rational arithmetic."""

    def outputs(point: Tensor) -> list[Fraction]:
        z = [Fraction(v) for v in point.tolist()]
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            z = [
                sum((Fraction(w) * v for w, v in zip(row, z, strict=True)), Fraction(b))
                for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
            ]
            if index < len(weights) - 1:
                z = [max(v, Fraction(0)) for v in z]
        return z

    rise = sum((b - a) ** 2 for a, b in zip(outputs(x), outputs(x_prime), strict=True))
    run_ = sum(
        (Fraction(b) - Fraction(a)) ** 2
        for a, b in zip(x.tolist(), x_prime.tolist(), strict=True)
    )
    return Fraction(rise) / Fraction(run_)


@pytest.mark.parametrize("step", [1.0, 1e-3, 1e-7, 1e-10])
@pytest.mark.parametrize("seed", range(6))
def test_value_is_below_the_exact_rational_quotient_and_close(
    seed: int, step: float
) -> None:
    weights = [_randn(12, 5, seed=seed), _randn(12, 12, seed=seed + 50), _randn(3, 12)]
    biases = [_randn(12, seed=seed + 9), _randn(12, seed=seed + 8), _randn(3)]
    relu = Activation(kind="relu")
    network = chain(zip(weights, biases, [relu, relu, None], strict=True))
    x = _randn(5, seed=seed + 100)
    x_prime = x + step * _randn(5, seed=seed + 200)
    value = evaluate_pair(LipschitzProblem(network=network), x, x_prime)
    exact = _exact_l2_squared(weights, biases, x, x_prime)
    assert Fraction(value) ** 2 <= exact
    # 12-term sums of moderate condition: the deduction stays near 1e3 eps.
    assert value >= math.sqrt(float(exact)) * (1 - 1e-11)


def test_cancellation_in_plain_differences_does_not_reach_the_value() -> None:
    weight, offset = torch.tensor([[3.0]]), torch.tensor([1e8])
    network = chain([(weight, offset, Activation(kind="relu")), (weight, None, None)])
    x = torch.tensor([1.0], dtype=torch.float64)
    problem = LipschitzProblem(network=network)
    assert evaluate_pair(problem, x, x + 2.0**-40) == pytest.approx(9.0, rel=1e-13)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ACTIVATION_KINDS)
def test_value_agrees_with_the_plain_quotient(kind: str, norm: Norm) -> None:
    activation = Activation(kind=kind, parameter=0.7)
    network = chain(
        [
            (_randn(9, 4), _randn(9), activation),
            (_randn(9, 9, seed=2), _randn(9, seed=3), activation),
            (_randn(2, 9, seed=4), None, None),
        ]
    )
    order = {"l2": 2.0, "linf": math.inf, "l1": 1.0}[norm]
    for step in (1.0, 3e-2, 3e-3, 1e-4):
        x = _randn(4, seed=5)
        x_prime = x + step * _randn(4, seed=6)
        low, high = run(network, torch.stack((x, x_prime)))
        plain = float(torch.linalg.vector_norm(high - low))
        plain /= float(torch.linalg.vector_norm(x_prime - x, ord=order))
        value = evaluate_pair(LipschitzProblem(network=network, norm=norm), x, x_prime)
        # Saturated neurons carry their rounding but not their share of the value.
        assert value == pytest.approx(plain, rel=1e-14 / step + 1e-10)
        assert value <= plain * (1 + 1e-14 / step)


def _in_50_digits(kind: str, parameter: float, y: Any) -> Any:
    """The activation in mpmath, from its definition."""
    root = mpmath.sqrt(2 / mpmath.pi)
    logistic = 1 / (1 + mpmath.exp(-y))
    values: dict[str, Any] = {
        "tanh": mpmath.tanh(y),
        "sigmoid": logistic,
        "softplus": mpmath.log(1 + mpmath.exp(parameter * y)) / parameter,
        "elu": y if y > 0 else parameter * mpmath.expm1(y),
        "silu": y * logistic,
        "gelu": y * (1 + mpmath.erf(y / mpmath.sqrt(2))) / 2,
        "gelu_tanh": y
        * (1 + mpmath.tanh(root * (y + mpmath.mpf("0.044715") * y**3)))
        / 2,
    }
    return values[kind]


SMOOTH_KINDS = sorted(set(ACTIVATION_KINDS) - PIECEWISE_LINEAR_KINDS)


@pytest.mark.parametrize("step", [1.0, 2e-2, 1e-3, 1e-6])
@pytest.mark.parametrize("kind", SMOOTH_KINDS)
def test_smooth_value_is_below_the_quotient_in_50_digits(
    kind: str, step: float
) -> None:
    inner, bias, outer = _randn(6, 3), _randn(6, seed=1), _randn(1, 6, seed=2)
    activation = Activation(kind=kind, parameter=1.5)
    network = chain([(inner, bias, activation), (outer, None, None)])
    x = _randn(3, seed=3)
    x_prime = x + step * _randn(3, seed=4)
    value = evaluate_pair(LipschitzProblem(network=network), x, x_prime)
    with mpmath.workdps(50):
        ends: list[Any] = []
        for point in (x, x_prime):
            y = mpmath.matrix(inner.tolist()) * mpmath.matrix(point.tolist())
            y = [y[i] + mpmath.mpf(float(bias[i])) for i in range(6)]
            z = [_in_50_digits(kind, 1.5, value) for value in y]
            ends.append(mpmath.fdot(z, [mpmath.mpf(w) for w in outer[0].tolist()]))
        gaps = [
            mpmath.mpf(b) - mpmath.mpf(a)
            for a, b in zip(x.tolist(), x_prime.tolist(), strict=True)
        ]
        exact = abs(ends[1] - ends[0]) / mpmath.norm(gaps)
        assert mpmath.mpf(value) <= exact
        assert value >= exact * (1 - mpmath.mpf("1e-11"))


def test_convolutional_residual_graph_agrees_with_the_plain_quotient() -> None:
    conv = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    relu = Activation(kind="relu")
    layers: list[tuple[Layer, tuple[int, ...]]] = [
        (Conv(weight=_randn(4, 2, 3, 3), **conv), (0,)),  # pyright: ignore[reportArgumentType]
        (Shift(offset=_randn(4, 1, 1)), (1,)),
        (relu, (2,)),
        (Scale(factor=-_randn(4, 1, 1)), (3,)),
        (AveragePool(kernel=(2, 2), stride=(2, 2), padding=(0, 0)), (4,)),
        (relu, (5,)),
        (Reshape(shape=(4 * 3 * 3,)), (6,)),
        (Dense(weight=_randn(3, 36)), (7,)),
    ]
    network = make_network((2, 6, 6), layers)
    x, x_prime = _randn(2, 6, 6, seed=1), _randn(2, 6, 6, seed=2)
    low, high = run(network, torch.stack((x, x_prime)))
    plain = float((high - low).norm() / (x_prime - x).norm())
    value = evaluate_pair(LipschitzProblem(network=network), x, x_prime)
    assert plain * (1 - 1e-11) < value <= plain * (1 + 1e-14)


def test_a_pair_across_a_kink_never_beats_the_slope() -> None:
    relu = Activation(kind="relu")
    network = chain([(torch.eye(1), None, relu), (torch.eye(1), None, None)])
    problem = LipschitzProblem(network=network)
    for low in (-1.0, -1e-8, -1e-300):
        x = torch.tensor([low], dtype=torch.float64)
        value = evaluate_pair(problem, x, torch.ones(1, dtype=torch.float64))
        assert value <= 1.0 / (1.0 - low)
    assert evaluate_pair(problem, -torch.ones(1), -2.0 * torch.ones(1)) == 0.0


def test_bad_pairs_are_refused() -> None:
    problem = LipschitzProblem(network=chain([(torch.eye(2), None, None)]))
    x = torch.zeros(2)
    with pytest.raises(ShapeError, match="input shape"):
        evaluate_pair(problem, x, torch.zeros(3))
    with pytest.raises(InputError, match="finite"):
        evaluate_pair(problem, x, torch.tensor([0.0, math.nan]))
    with pytest.raises(InputError, match="two different"):
        evaluate_pair(problem, x, x.clone())
