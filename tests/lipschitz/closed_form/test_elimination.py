"""Closed-form elimination: against its own matrix inequality, patterns and the SDP."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cases import NETWORKS, RELU, normal, random_chain, sequence
from oracles import lipsdp_value_graph, pattern_lipschitz
from tacit.lipschitz.closed_form import elimination, norms
from tacit.lipschitz.closed_form.elimination import eclipse_bound, elimination_bound
from tacit.lipschitz.closed_form.products import product_bound
from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, chain
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.rng import make_generator


def values_of(network: Network, norm: Norm = "l2") -> tuple[float, float]:
    problem = LipschitzProblem(network=network, norm=norm)
    one, many = eclipse_bound(problem), elimination_bound(problem)
    assert one is not None
    assert many is not None
    assert (one.side, one.method) == ("upper", "ECLipsE-Fast")
    assert (many.side, many.method) == ("upper", "closed-form elimination")
    return one.value, many.value


@pytest.mark.parametrize("sizes", [(4, 6, 2), (5, 7, 6, 3), (3, 5, 5, 5, 5, 1)])
def test_eclipse_is_the_published_recursion(
    sizes: tuple[int, ...], generator: torch.Generator
) -> None:
    """Written for LipSDP's own Schur complements, in numpy, with multipliers 2 / s."""
    weights = [
        normal(generator, rows, cols).numpy()
        for cols, rows in itertools.pairwise(sizes)
    ]
    inverse = np.eye(sizes[0])
    for weight in weights[:-1]:
        image = weight @ inverse @ weight.T
        multiplier = 2.0 / np.linalg.norm(image, 2)
        schur = multiplier * np.eye(len(image)) - multiplier**2 / 4.0 * image
        inverse = np.linalg.inv(schur)
    last = weights[-1]
    expected = math.sqrt(np.linalg.norm(last @ inverse @ last.T, 2))
    network = chain(
        [
            (torch.tensor(w), None, RELU if i < len(weights) - 1 else None)
            for i, w in enumerate(weights)
        ]
    )
    assert values_of(network)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(25))
def test_the_bounds_of_random_chains_are_above_all_patterns(
    seed: int, norm: Norm
) -> None:
    generator = make_generator(seed, "elimination")
    kind = ("relu", "leaky_relu", "abs", "gelu", "elu")[seed % 5]
    activation = Activation(kind=kind, parameter=float(normal(generator, 1)))
    sizes = (1 + seed % 4, 2 + seed % 3, 3, 3, 1 + seed % 2)
    network = random_chain(generator, sizes, activation=activation)
    least = pattern_lipschitz(network, norm) * (1 - 1e-12)
    assert min(values_of(network, norm)) >= least


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "name", ["residual", "concat", "batch-norm", "rearranged", "dead"]
)
def test_graphs_are_bounded_jointly(name: str, norm: Norm) -> None:
    network = NETWORKS[name](make_generator(0, name))
    least = pattern_lipschitz(network, norm) * (1 - 1e-12)
    assert min(values_of(network, norm)) >= least


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["relu-3-5-4-2", "residual", "concat", "batch-norm"])
def test_the_bounds_are_feasible_for_the_semidefinite_program(name: str) -> None:
    network = NETWORKS[name](make_generator(0, name))
    optimum = lipsdp_value_graph(network)[0]
    one, many = values_of(network)
    # Multipliers that are feasible cannot beat the optimum; nor should they be far.
    assert optimum * (1 - 1e-6) <= min(one, many)
    assert min(one, many) <= optimum * 2.0


@pytest.mark.parametrize("slope", [0.0, 0.4, -0.6, -1.0, 2.5])
def test_greedy_multipliers_are_never_above_the_product(
    slope: float, generator: torch.Generator
) -> None:
    activation = Activation(kind="leaky_relu", parameter=slope)
    network = random_chain(generator, (5, 6, 6, 2), activation=activation)
    product = product_bound(LipschitzProblem(network=network)).value
    # At slope -1 the center is 0 and D - P is kept away from singular.
    assert values_of(network)[0] <= product * (1 + 2e-4)


def test_linear_activations_leave_the_norm_of_the_product(
    generator: torch.Generator,
) -> None:
    first, second = normal(generator, 5, 4), normal(generator, 3, 5)
    identity = Activation(kind="leaky_relu", parameter=1.0)
    network = chain([(first, None, identity), (second, None, None)])
    truth = float(torch.linalg.svdvals(second @ first)[0])
    assert values_of(network) == pytest.approx((truth, truth), rel=1e-9)


@pytest.mark.parametrize("exponent", [-250, 250])
def test_scales_cancel(exponent: int, generator: torch.Generator) -> None:
    weights = [normal(generator, 3, 3) for _ in range(20)]
    plain = values_of(chain([(w, None, RELU) for w in weights]))
    scales = [10.0**exponent] * 10 + [10.0**-exponent] * 10
    scaled = chain([(w * s, None, RELU) for w, s in zip(weights, scales, strict=True)])
    assert values_of(scaled) == pytest.approx(plain, rel=1e-8)


def test_overflow_is_infinite_and_zero_is_zero() -> None:
    huge = torch.full((2, 2), 1e200, dtype=torch.float64)
    assert values_of(chain([(huge, None, RELU)] * 3)) == (math.inf, math.inf)
    zero = NETWORKS["zero"](make_generator(0, "zero"))
    for norm in NORMS:
        assert values_of(zero, norm) == (0.0, 0.0)


def test_a_dead_end_does_not_hide_the_rest(generator: torch.Generator) -> None:
    first = normal(generator, 4, 3)
    first[1:] = 0.0
    network = chain([(first, None, RELU), (normal(generator, 2, 4), None, None)])
    least = pattern_lipschitz(network)
    assert min(values_of(network)) >= least * (1 - 1e-12)
    assert max(values_of(network)) <= least * 1.5


def test_large_blocks_and_large_graphs_are_declined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = LipschitzProblem(network=NETWORKS["conv1d"](make_generator(0, "c")))
    monkeypatch.setattr(elimination, "_WORK", 10.0)
    assert eclipse_bound(problem) is None
    assert elimination_bound(problem) is None
    monkeypatch.undo()
    monkeypatch.setattr(norms, "_DENSE_ENTRIES", 0)
    assert eclipse_bound(problem) is None
    assert elimination_bound(problem) is None


def _published(generator: torch.Generator, depth: int, width: int) -> Network:
    """He networks of Geuchen et al.: hidden N(0, 2/N), output N(0, 1), 50 inputs."""
    weights: list[Tensor] = []
    columns = 50
    for _ in range(depth):
        weights.append(normal(generator, width, columns) * math.sqrt(2.0 / width))
        columns = width
    weights.append(normal(generator, 1, columns))
    return chain([(w, None, RELU if w.shape[0] > 1 else None) for w in weights])


@pytest.mark.parametrize(
    ("depth", "width", "product", "eclipse", "optimum"),
    [
        (1, 100, 23.652, 17.354, 11.480),
        (2, 200, 80.441, 46.165, 28.708),
        (8, 100, 27067.0, 3547.0, 935.8),
    ],
)
def test_random_networks_have_the_ratios_of_others(
    depth: int, width: int, product: float, eclipse: float, optimum: float
) -> None:
    """Values of other implementations on other draws; ratios vary less than values."""
    network = _published(make_generator(1, "he"), depth, width)
    own = product_bound(LipschitzProblem(network=network)).value
    one, many = values_of(network)
    assert one / own == pytest.approx(eclipse / product, rel=0.15)
    assert own / one * 0.9 < own / many
    assert many / own > optimum / product * 0.8
    assert many < one


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_that_is_one_activation(norm: Norm) -> None:
    truth = math.sqrt(3.0) if norm == "linf" else 1.0
    network = sequence((3,), RELU)
    assert min(values_of(network, norm)) == pytest.approx(truth, rel=1e-9)
