"""The product of layer norms and its parts."""

import math
from fractions import Fraction

import pytest
import torch

from cases import NETWORKS, RELU, normal, random_chain
from oracles import pattern_lipschitz
from tacit.lipschitz.blocks import dense_blocks
from tacit.lipschitz.closed_form.products import (
    layer_losses,
    product_bound,
    site_bounds,
)
from tacit.lipschitz.layers import Activation, Add, Dense
from tacit.lipschitz.network import Network, chain, make_network
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.rng import make_generator


def value_of(network: Network, norm: Norm = "l2") -> float:
    return product_bound(LipschitzProblem(network=network, norm=norm)).value


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(25))
def test_the_bound_of_random_chains_is_above_all_patterns(
    seed: int, norm: Norm
) -> None:
    generator = make_generator(seed, "product")
    kind = ("relu", "leaky_relu", "abs", "gelu", "elu")[seed % 5]
    activation = Activation(kind=kind, parameter=float(normal(generator, 1)))
    sizes = (1 + seed % 4, 2 + seed % 3, 3, 1 + seed % 2)
    network = random_chain(generator, sizes, activation=activation)
    bound = value_of(network, norm)
    assert bound >= pattern_lipschitz(network, norm) * (1 - 1e-13)


def test_a_chain_multiplies_the_norms(generator: torch.Generator) -> None:
    weights = [
        normal(generator, 5, 3),
        normal(generator, 4, 5),
        normal(generator, 2, 4),
    ]
    leaky = Activation(kind="leaky_relu", parameter=-2.0)
    network = chain([(w, None, leaky) for w in weights])
    norms = [float(torch.linalg.svdvals(w)[0]) for w in weights]
    expected = 8.0 * math.prod(norms)
    bound = product_bound(LipschitzProblem(network=network))
    assert (bound.side, bound.method) == ("upper", "product of layer norms")
    assert bound.value == pytest.approx(expected, rel=1e-12)
    columns = float(torch.linalg.vector_norm(weights[0], dim=0).max())
    assert value_of(network, "l1") == pytest.approx(expected / norms[0] * columns)


def test_a_graph_adds_over_its_paths(generator: torch.Generator) -> None:
    a, b = normal(generator, 3, 3), normal(generator, 3, 3)
    network = make_network(
        (3,),
        [
            (Dense(weight=a), (0,)),
            (RELU, (1,)),
            (Dense(weight=b), (2,)),
            (Add(), (3, 0)),
        ],
    )
    norms = [float(torch.linalg.svdvals(w)[0]) for w in (a, b)]
    assert value_of(network) == pytest.approx(1.0 + norms[0] * norms[1], rel=1e-12)


@pytest.mark.parametrize("exponent", [100, 250, -100, -250])
def test_depth_and_scale_do_not_overflow(exponent: int) -> None:
    # 100 layers; the scales of each pair cancel, a partial product never fits float64.
    layers = [
        (torch.tensor([[10.0**e]], dtype=torch.float64), None, RELU)
        for e in [exponent] * 50 + [-exponent] * 50
    ]
    value = value_of(chain(layers))
    assert value == pytest.approx(1.0, rel=1e-10)
    exact = math.prod(
        Fraction(10.0**exponent) * Fraction(10.0**-exponent) for _ in range(50)
    )
    assert Fraction(value) >= exact


def test_what_exceeds_float64_is_infinite_and_what_underflows_is_not_zero() -> None:
    large, small = (
        [(torch.tensor([[s]], dtype=torch.float64), None, RELU)] * 3
        for s in (1e200, 1e-200)
    )
    assert value_of(chain(large)) == math.inf
    assert value_of(chain(small)) == math.ulp(0.0)
    full = torch.full((9, 9), 1e308, dtype=torch.float64)
    problem = LipschitzProblem(network=chain([(full, None, None)]))
    assert product_bound(problem).value == math.inf
    assert site_bounds(problem) == (1.0, math.inf)
    assert layer_losses(problem) == ()


def test_zero_weights_give_zero() -> None:
    network = NETWORKS["zero"](make_generator(0, "zero"))
    for norm in NORMS:
        assert value_of(network, norm) == 0.0
    losses = layer_losses(LipschitzProblem(network=network))
    assert [loss.share for loss in losses] == [0.0, 0.0]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["residual", "concat", "batch-norm", "relu-3-5-4-2"])
def test_sites_and_losses_tell_the_same_story(name: str, norm: Norm) -> None:
    problem = LipschitzProblem(
        network=NETWORKS[name](make_generator(0, name)), norm=norm
    )
    values = site_bounds(problem)
    losses = layer_losses(problem)
    assert values[0] == 1.0
    assert values[-1] == product_bound(problem).value
    assert {(loss.target, loss.source) for loss in losses} == problem.network.links
    for target in range(1, len(values)):
        into = [loss for loss in losses if loss.target == target]
        terms = [loss.norm * loss.slope * loss.source_bound for loss in into]
        assert values[target] == pytest.approx(sum(terms), rel=1e-12)
        assert sum(loss.share for loss in into) == pytest.approx(1.0, rel=1e-12)
        for loss, term in zip(into, terms, strict=True):
            assert loss.share == pytest.approx(term / sum(terms), rel=1e-9)
            assert loss.source_bound == values[loss.source]
    block = dense_blocks(problem.network)[losses[0].target, losses[0].source]
    if norm == "l2":
        truth = float(torch.linalg.svdvals(block)[0])
        assert losses[0].norm == pytest.approx(truth, rel=1e-11)
