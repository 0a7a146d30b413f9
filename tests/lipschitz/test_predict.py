import itertools
import math

import pytest
import torch

from tacit.errors import InputError
from tacit.lipschitz.ensemble import BiasName, random_network
from tacit.lipschitz.layers import Activation, Dense
from tacit.lipschitz.network import Network, chain, run
from tacit.lipschitz.predict import (
    ensemble_bound,
    expected_squared_gradient,
    high_probability_bound,
    log_num_patterns,
    log_variance_of_squared_gradient,
    recalled_rates,
    typical_scale,
)
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.lipschitz.reached.lower import search_lower
from tacit.lipschitz.reached.sweep import sweep
from tacit.rng import make_generator


def _squared_gradient(network: Network) -> float:
    x = torch.ones(1, network.num_inputs, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(run(network, x).sum(), x)
    return float(gradient.square().sum())


@pytest.mark.parametrize(
    ("num_inputs", "width", "num_layers", "bias"),
    [(5, 30, 1, "zero"), (8, 60, 2, "student_t"), (20, 100, 3, "rademacher")],
)
def test_mean_and_log_variance_at_a_fixed_input(
    num_inputs: int, width: int, num_layers: int, bias: BiasName
) -> None:
    draws = torch.tensor(
        [
            _squared_gradient(
                random_network(
                    num_inputs,
                    width,
                    num_layers,
                    generator=make_generator(seed, "draw"),
                    bias=bias,
                )
            )
            for seed in range(400)
        ],
        dtype=torch.float64,
    )
    mean = expected_squared_gradient(num_inputs)
    error = float(draws.std()) / math.sqrt(draws.numel())
    assert mean.certainty == "derived"
    assert abs(float(draws.mean()) - mean.value) < 4.5 * error
    spread = log_variance_of_squared_gradient(num_inputs, width, num_layers).value
    # First order only: within a third, and 400 draws give it to about 10 per cent.
    assert float(draws.log().var()) == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_bounds_exceed_the_exact_constant_of_two_inputs(
    num_layers: int, norm: Norm
) -> None:
    before = ensemble_bound(2, 25, num_layers, norm=norm, failure_probability=0.01)
    for seed in range(30):
        network = random_network(2, 25, num_layers, generator=make_generator(seed))
        exact = sweep(LipschitzProblem(network=network, norm=norm)).upper.value
        drawn = high_probability_bound(network, norm=norm, failure_probability=0.01)
        assert exact < drawn.value < before.value
        assert drawn.failure_probability == before.failure_probability == 0.01


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", ["zero", "gaussian"])
def test_bounds_exceed_what_a_search_reaches(bias: BiasName, norm: Norm) -> None:
    network = random_network(12, 40, 2, generator=make_generator(0), bias=bias)
    reached = search_lower(
        LipschitzProblem(network=network, norm=norm),
        generator=make_generator(1),
        num_starts=16,
        num_steps=40,
        num_rounds=1,
    )
    assert reached.value < high_probability_bound(network, norm=norm).value


def test_bound_of_the_output_layer_holds_as_often_as_it_says() -> None:
    # One neuron, one input: Lip = |w| ||W0||, P(sqrt(1) + t) with two patterns.
    inner = torch.tensor([[2.0]])
    bound = high_probability_bound(
        chain([(inner, None, Activation(kind="relu")), (torch.ones(1, 1), None, None)]),
        failure_probability=0.3,
    ).value
    outputs = torch.randn(4000, generator=make_generator(0), dtype=torch.float64)
    failures = float((2.0 * outputs.abs() > bound).double().mean())
    assert failures <= 0.3
    assert bound == pytest.approx(2.0 * (1 + math.sqrt(2 * math.log(2 / 0.3))))


def test_the_drawn_bound_does_not_look_at_the_output_weights() -> None:
    network = random_network(4, 10, 2, generator=make_generator(0))
    layers = [node.layer for node in network.nodes]
    weights = [layer.weight for layer in layers if isinstance(layer, Dense)]
    relu = Activation(kind="relu")
    other = chain(
        [
            (weights[0], None, relu),
            (weights[1], None, relu),
            (5 * weights[2], None, None),
        ]
    )
    assert high_probability_bound(network).value == high_probability_bound(other).value


@pytest.mark.parametrize("has_bias", [False, True])
def test_number_of_patterns_in_the_plane_is_counted_right(has_bias: bool) -> None:
    for width in (1, 2, 3, 6):
        inner = torch.randn(width, 2, generator=make_generator(0), dtype=torch.float64)
        offset = torch.randn(width, generator=make_generator(1), dtype=torch.float64)
        points = torch.randn(
            200_000, 2, generator=make_generator(2), dtype=torch.float64
        )
        points = points * torch.logspace(-1, 2, 200_000, dtype=torch.float64)[:, None]
        values = points @ inner.T + (offset if has_bias else 0.0)
        codes = ((values > 0).long() * 2 ** torch.arange(width)).sum(1)
        seen = int(codes.unique().numel())
        most = math.exp(log_num_patterns(2, width, has_bias=has_bias))
        # Generic lines cut the plane into exactly the formula's number of cells.
        assert seen == pytest.approx(most)


def test_number_of_patterns_is_below_the_simple_bound() -> None:
    for inputs, width in itertools.product((1, 3, 10), (10, 50, 1000)):
        count = log_num_patterns(inputs, width, has_bias=True)
        assert count <= inputs * math.log(math.e * width / inputs) + 1e-9
        assert log_num_patterns(inputs, width, has_bias=False) <= count
    assert log_num_patterns(10, 4, has_bias=True) == pytest.approx(4 * math.log(2))
    assert log_num_patterns(10, 4, has_bias=False) == pytest.approx(4 * math.log(2))


def test_scale_follows_the_two_regimes_of_p() -> None:
    for inputs in (4, 100):
        values = {p: typical_scale(inputs, p).value for p in (1.0, 1.5, 2.0, 4.0)}
        assert values[1.0] == values[1.5] == values[2.0] == math.sqrt(inputs)
        assert values[4.0] == pytest.approx(inputs**0.75)
        assert typical_scale(inputs, math.inf).value == inputs
    assert typical_scale(4, 2.0).certainty == "published"


def test_recalled_numbers_are_tagged_as_such() -> None:
    rates = recalled_rates(20, 400, 3)
    assert {rate.certainty for rate in rates} == {"recalled"}
    assert all("second-hand" in r.note or "unknown" in r.name for r in rates)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="p must be"):
        typical_scale(3, 0.5)
    with pytest.raises(InputError, match="num_inputs"):
        expected_squared_gradient(0)
    with pytest.raises(InputError, match="failure_probability"):
        ensemble_bound(2, 3, 1, failure_probability=1.0)
    with pytest.raises(InputError, match="norm"):
        ensemble_bound(2, 3, 1, norm="l3")  # pyright: ignore[reportArgumentType]
    two_outputs = chain([(torch.eye(2), None, Activation(kind="relu"))])
    with pytest.raises(InputError, match="one output"):
        high_probability_bound(two_outputs)
