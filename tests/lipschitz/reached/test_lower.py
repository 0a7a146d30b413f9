import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.lipschitz.ensemble import BiasName, random_network
from tacit.lipschitz.layers import (
    Activation,
    Add,
    AveragePool,
    Conv,
    Dense,
    Layer,
    Reshape,
    Shift,
)
from tacit.lipschitz.network import Network, chain, make_network, run
from tacit.lipschitz.pair import PairWitness, evaluate_pair
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.lipschitz.reached.lower import search_lower
from tacit.lipschitz.reached.sweep import sweep
from tacit.rng import make_generator

ORDER = {"l2": 2.0, "linf": math.inf, "l1": 1.0}


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)


def _small_search(problem: LipschitzProblem, seed: int = 0) -> float:
    bound = search_lower(
        problem,
        generator=make_generator(seed, "lower"),
        num_starts=32,
        num_steps=60,
        num_rounds=3,
    )
    witness = bound.witness
    assert isinstance(witness, PairWitness)
    assert (bound.side, bound.arithmetic) == ("lower", "float")
    assert bound.value == witness.quotient
    assert bound.value == evaluate_pair(problem, witness.x, witness.x_prime)
    # What anyone gets from two plain forward runs.
    ends = run(problem.network, torch.stack((witness.x, witness.x_prime))).flatten(1)
    step = (witness.x_prime - witness.x).flatten()
    plain = float(torch.linalg.vector_norm(ends[1] - ends[0]))
    plain /= float(torch.linalg.vector_norm(step, ord=ORDER[problem.norm]))
    assert bound.value == pytest.approx(plain, rel=1e-7)
    return bound.value


def _sampled(problem: LipschitzProblem, count: int) -> float:
    """Largest dual norm of the gradient of a scalar network over Gaussian points."""
    x = _randn(count, *problem.network.in_shape, seed=77).requires_grad_()
    (gradient,) = torch.autograd.grad(run(problem.network, x).sum(), x)
    dual = {"l2": 2.0, "linf": 1.0, "l1": math.inf}[problem.norm]
    sizes = torch.linalg.vector_norm(gradient.flatten(1), ord=dual, dim=1)
    return float(sizes.max())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (5, 1)])
def test_linear_map_is_found_exactly(shape: tuple[int, int], norm: Norm) -> None:
    weight = _randn(*shape)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * shape[1])
    signs = signs.reshape(-1, shape[1]).double()
    exact = {
        "l2": torch.linalg.matrix_norm(weight, ord=2),
        "linf": torch.linalg.vector_norm(signs @ weight.T, dim=1).max(),
        "l1": torch.linalg.vector_norm(weight, dim=0).max(),
    }[norm]
    problem = LipschitzProblem(network=chain([(weight, None, None)]), norm=norm)
    value = _small_search(problem)
    assert value <= float(exact) * (1 + 1e-14)
    assert value == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("width", "num_layers"), [(60, 1), (40, 2), (30, 4)])
def test_reaches_the_exact_constant_of_two_inputs(
    width: int, num_layers: int, norm: Norm
) -> None:
    for seed in range(2):
        network = random_network(2, width, num_layers, generator=make_generator(seed))
        problem = LipschitzProblem(network=network, norm=norm)
        exact = sweep(problem).upper.value
        value = _small_search(problem)
        assert value <= exact * (1 + 1e-13)
        assert value >= exact * (1 - 1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_beats_20_000_gaussian_samples(norm: Norm) -> None:
    cases: list[tuple[int, int, BiasName]] = [(200, 1, "zero"), (100, 2, "gaussian")]
    for width, num_layers, bias in cases:
        network = random_network(
            50, width, num_layers, generator=make_generator(1), bias=bias
        )
        problem = LipschitzProblem(network=network, norm=norm)
        assert _small_search(problem) > 1.1 * _sampled(problem, 20_000)


def test_never_exceeds_the_exact_constant_of_enumerated_patterns() -> None:
    # With at least as many inputs as neurons and independent rows every pattern of a
    # hidden layer occurs: the constant is the maximum over all of them.
    inner, outer = _randn(8, 10), _randn(3, 8, seed=1)
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 8).double()
    jacobians = (outer * masks[:, None, :]) @ inner
    exact = float(torch.linalg.matrix_norm(jacobians, ord=2).max())
    for bias in (None, _randn(8, seed=2)):
        network = chain([(inner, bias, Activation(kind="relu")), (outer, None, None)])
        value = _small_search(LipschitzProblem(network=network))
        assert exact * (1 - 1e-9) <= value <= exact * (1 + 1e-13)


def _slope_sup(function: Callable[[Tensor], Tensor]) -> float:
    y = torch.linspace(-12.0, 12.0, 240_001, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(function(y).sum(), y)
    return float(slope.abs().max())


@pytest.mark.parametrize(
    "kind", ["tanh", "sigmoid", "softplus", "elu", "silu", "gelu", "gelu_tanh"]
)
def test_smooth_activation_of_one_neuron_reaches_its_largest_slope(kind: str) -> None:
    activation = Activation(kind=kind, parameter=1.3)
    weight = torch.tensor([[3.0, 4.0]])
    network = chain([(weight, torch.tensor([2.0]), activation)])
    value = _small_search(LipschitzProblem(network=network))
    expected = 5.0 * _slope_sup(activation.apply)
    # The grid of the oracle is off by its spacing squared; the largest slope of elu is
    # a limit at its kink, which the search only nears.
    assert value == pytest.approx(expected, rel=1e-2 if kind == "elu" else 1e-5)
    low, high = activation.slopes
    assert value <= 5.0 * max(abs(low), abs(high)) * (1 + 1e-13)


@pytest.mark.parametrize("kind", ["leaky_relu", "abs", "relu6", "hardtanh"])
def test_piecewise_linear_activations_reach_every_pattern(kind: str) -> None:
    activation = Activation(kind=kind, parameter=0.2)
    low, high = activation.slopes
    inner, outer = _randn(5, 6), _randn(2, 5, seed=1)
    slopes = torch.cartesian_prod(*[torch.tensor([low, high])] * 5).double()
    jacobians = (outer * slopes[:, None, :]) @ inner
    exact = float(torch.linalg.matrix_norm(jacobians, ord=2).max())
    network = chain([(inner, _randn(5, seed=2), activation), (outer, None, None)])
    value = _small_search(LipschitzProblem(network=network))
    assert exact * (1 - 1e-9) <= value <= exact * (1 + 1e-13)


def _residual_convolution() -> Network:
    def conv(outputs: int, inputs: int, seed: int) -> Conv:
        return Conv(
            weight=_randn(outputs, inputs, 3, 3, seed=seed),
            stride=(1, 1),
            padding=(1, 1),
            dilation=(1, 1),
            groups=1,
        )

    relu = Activation(kind="relu")
    layers: list[tuple[Layer, tuple[int, ...]]] = [
        (conv(4, 1, 0), (0,)),
        (Shift(offset=_randn(4, 1, 1, seed=1)), (1,)),
        (relu, (2,)),
        (conv(4, 4, 2), (3,)),
        (Add(), (3, 4)),
        (Activation(kind="tanh"), (5,)),
        (AveragePool(kernel=(2, 2), stride=(2, 2), padding=(0, 0)), (6,)),
        (Reshape(shape=(36,)), (7,)),
        (Dense(weight=_randn(1, 36, seed=3)), (8,)),
    ]
    return make_network((1, 6, 6), layers)


@pytest.mark.parametrize("norm", NORMS)
def test_convolution_and_shortcut(norm: Norm) -> None:
    problem = LipschitzProblem(network=_residual_convolution(), norm=norm)
    assert _small_search(problem) > _sampled(problem, 5000)


@pytest.mark.parametrize("scale", [1e-17, 1e8, 1e-120])
def test_badly_scaled_network(scale: float) -> None:
    relu = Activation(kind="relu")
    inner, outer = _randn(6, 7), _randn(2, 6, seed=1)
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6).double()
    jacobians = (outer * masks[:, None, :]) @ inner
    exact = float(torch.linalg.matrix_norm(jacobians, ord=2).max()) * scale
    bias = _randn(6, seed=2)
    for factors in ((scale, scale, 1.0), (1.0, 1.0, scale)):
        network = chain(
            [
                (inner * factors[0], bias * factors[1], relu),
                (outer * factors[2], None, None),
            ]
        )
        value = _small_search(LipschitzProblem(network=network))
        assert exact * (1 - 1e-9) <= value <= exact * (1 + 1e-13)


def test_constant_network_gives_zero() -> None:
    relu = Activation(kind="relu")
    network = chain(
        [(torch.zeros(3, 2), -torch.ones(3), relu), (_randn(1, 3), None, None)]
    )
    bound = search_lower(
        LipschitzProblem(network=network), generator=make_generator(0), num_rounds=1
    )
    assert bound.value == 0.0


def test_same_generator_state_same_pair() -> None:
    problem = LipschitzProblem(
        network=random_network(5, 20, 2, generator=make_generator(0))
    )
    pairs = [
        search_lower(
            problem,
            generator=make_generator(5),
            num_starts=8,
            num_steps=20,
            num_rounds=1,
        ).witness
        for _ in range(2)
    ]
    first, second = pairs
    assert isinstance(first, PairWitness)
    assert isinstance(second, PairWitness)
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.x_prime, second.x_prime)


def test_counts_are_checked() -> None:
    problem = LipschitzProblem(network=chain([(torch.eye(2), None, None)]))
    for name in ("num_starts", "num_steps"):
        with pytest.raises(InputError, match=name):
            search_lower(problem, generator=make_generator(0), **{name: 0})
    with pytest.raises(InputError, match="num_rounds"):
        search_lower(problem, generator=make_generator(0), num_rounds=-1)
