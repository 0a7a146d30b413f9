"""Thousands of small networks whose constant is known, and what must hold for them.

Every network here is small enough for the exact constant, by one of the enumerations of
``regions.py``. That alone would be a blunt instrument: a certified bound may sit far
above the constant and still hide a fault. So every method that reasons about slopes one
neuron at a time is also held above the largest pattern in {low, high}^neurons, which
the semidefinite relaxation often meets to twelve digits.

``CAMPAIGN_SCALE=10`` draws other networks, ten times as many.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from cases import normal, random_chain, trained_chain
from oracles import (
    Array,
    form_of,
    gradients,
    operator_norms,
    pattern_lipschitz,
    slopes_of,
)
from regions import arrangement_slopes, exact_lipschitz, line_lipschitz
from tacit.bracket import Bound
from tacit.lipschitz.closed_form.elimination import eclipse_bound, elimination_bound
from tacit.lipschitz.closed_form.loop_transform import lip_lt_bound
from tacit.lipschitz.closed_form.products import product_bound
from tacit.lipschitz.layers import Activation, Add, Concat, Dense, Layer
from tacit.lipschitz.lifted_bound import lifted_bound
from tacit.lipschitz.network import Network, chain, make_network
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.rng import make_generator

SCALE = int(os.environ.get("CAMPAIGN_SCALE", "1"))
# Both sides are computed in float64 by backward stable steps on fewer than 20 numbers.
RTOL = 1e-11
HOMOGENEOUS = ("relu", "leaky_relu", "abs")
KINDS = ("relu", "relu", "leaky_relu", "abs", "relu6", "hardtanh")


@dataclass(frozen=True)
class Instance:
    """A network, an input norm, the exact constant and the largest pattern."""

    network: Network
    norm: Norm
    exact: float
    patterns: float


Family = Callable[[torch.Generator, int], Iterator[Instance]]


def pick(generator: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def pick_activation(generator: torch.Generator, kinds: tuple[str, ...]) -> Activation:
    kind = kinds[pick(generator, 0, len(kinds) - 1)]
    slope = float(normal(generator, 1)) if kind == "leaky_relu" else 0.0
    return Activation(kind=kind, parameter=slope)


def pick_sizes(generator: torch.Generator, num_inputs: int) -> tuple[int, ...]:
    """Two to four hidden layers of at most nine neurons together."""
    depth = pick(generator, 2, 4)
    hidden = [pick(generator, 1, 9 // depth) for _ in range(depth)]
    return (num_inputs, *hidden, pick(generator, 1, 3))


def swept(network: Network, index: int) -> Instance:
    norm = NORMS[index % 3]
    return Instance(
        network=network,
        norm=norm,
        exact=line_lipschitz(network, norm),
        patterns=pattern_lipschitz(network, norm),
    )


def one_layer(generator: torch.Generator, count: int) -> Iterator[Instance]:
    """One hidden layer of 1-8 neurons on 1-5 inputs, exact by its arrangement."""
    for index in range(count):
        d, n, m = pick(generator, 1, 5), pick(generator, 1, 8), pick(generator, 1, 3)
        activation = pick_activation(generator, HOMOGENEOUS)
        scale = 10.0 ** pick(generator, -3, 3)
        first, second = normal(generator, n, d) * scale, normal(generator, m, n)
        offset = normal(generator, n) if index % 4 < 3 else None
        network = chain([(first, offset, activation), (second, None, None)])
        form = form_of(network)
        low, high = slopes_of(activation)
        # Which piece has which slope does not matter: both kinks are at zero.
        weight, bias = form.rows[0][None, :, :d], form.shifts[0][None]
        cells = arrangement_slopes(weight, bias, low, high)
        norm = NORMS[index % 3]
        jacobians = form.output @ gradients(form, oriented(cells[0], activation))
        yield Instance(
            network=network,
            norm=norm,
            exact=float(operator_norms(jacobians, norm).max()),
            patterns=pattern_lipschitz(network, norm),
        )


def oriented(cells: Array, activation: Activation) -> Array:
    """Slopes of the cells, given with ``high`` on the positive side."""
    low, high = slopes_of(activation)
    right = float(activation.apply(torch.ones((), dtype=torch.float64)))
    return cells if right == high else low + high - cells


def cones(generator: torch.Generator, count: int) -> Iterator[Instance]:
    """Two inputs, two to four hidden layers, no biases, exact by a sweep."""
    for index in range(count):
        activation = pick_activation(generator, HOMOGENEOUS)
        sizes = pick_sizes(generator, 2)
        network = random_chain(generator, sizes, activation=activation, bias_scale=0.0)
        yield swept(network, index)


def intervals(generator: torch.Generator, count: int) -> Iterator[Instance]:
    """One input, two to four hidden layers with biases, exact by a sweep."""
    for index in range(count):
        activation = pick_activation(generator, KINDS)
        sizes = pick_sizes(generator, 1)
        yield swept(random_chain(generator, sizes, activation=activation), index)


def trained(generator: torch.Generator, count: int) -> Iterator[Instance]:
    """Chains after some gradient descent."""
    for index in range(count):
        num_inputs = 1 + index % 2
        network = trained_chain(
            generator,
            (num_inputs, 4, 4, 1) if index % 3 else (num_inputs, 8, 1),
            bias_scale=1.0 if num_inputs == 1 else 0.0,
            num_steps=25,
        )
        yield swept(network, index)


def graphs(generator: torch.Generator, count: int) -> Iterator[Instance]:
    """Residual and concatenated layers on two inputs, no biases."""
    for index in range(count):
        n = pick(generator, 1, 4)
        acts = [pick_activation(generator, HOMOGENEOUS) for _ in range(2)]
        layers: list[tuple[Layer, tuple[int, ...]]] = [
            (Dense(weight=normal(generator, n, 2)), (0,)),
            (acts[0], (1,)),
            (Dense(weight=normal(generator, n, n)), (2,)),
        ]
        if index % 2:
            layers += [(Add(), (3, 2, 1)), (acts[1], (4,)), (Add(), (5, 2))]
        else:
            layers += [(Concat(axis=0), (3, 0)), (acts[1], (4,))]
            layers.append((Concat(axis=0), (5, 2, 0)))
        width = n if index % 2 else 2 * n + 4
        layers.append((Dense(weight=normal(generator, 2, width)), (6,)))
        yield swept(make_network((2,), layers), index)


def regions(generator: torch.Generator, count: int) -> Iterator[Instance]:
    """Deep chains with biases on two or three inputs, exact by linear programmes."""
    for index in range(count):
        activation = pick_activation(generator, KINDS)
        sizes = (2 + index % 2, 3, 3, 1 + index % 3)
        network = random_chain(generator, sizes, activation=activation)
        norm = NORMS[index % 3]
        yield Instance(
            network=network,
            norm=norm,
            exact=exact_lipschitz(network, norm),
            patterns=pattern_lipschitz(network, norm),
        )


FAMILIES: dict[str, tuple[Family, int]] = {
    "one-layer": (one_layer, 700),
    "cones": (cones, 450),
    "intervals": (intervals, 400),
    "graphs": (graphs, 250),
    "trained": (trained, 150),
    "regions": (regions, 50),
}


def upper_bounds(instance: Instance, generator: torch.Generator) -> list[Bound]:
    """Every upper bound that does not know which patterns occur."""
    problem = LipschitzProblem(network=instance.network, norm=instance.norm)
    found = [product_bound(problem), lip_lt_bound(problem)]
    found += [eclipse_bound(problem), elimination_bound(problem)]
    found.append(lifted_bound(problem, generator=generator, max_steps=300).bound)
    return [bound for bound in found if bound is not None]


def assert_above(instance: Instance, bounds: list[Bound]) -> None:
    """The heart of the campaign for upper bounds."""
    assert instance.exact <= instance.patterns * (1.0 + RTOL)
    for bound in bounds:
        assert bound.side == "upper"
        assert instance.patterns <= bound.value * (1.0 + RTOL), bound.method


def lifted_only(instance: Instance, generator: torch.Generator) -> list[Bound]:
    """The certified bound alone, for the planted faults."""
    problem = LipschitzProblem(network=instance.network, norm=instance.norm)
    bound = lifted_bound(problem, generator=generator, max_steps=300).bound
    return [] if bound is None else [bound]


def campaign(
    family: str,
    count: int,
    bounds_of: Callable[[Instance, torch.Generator], list[Bound]] = upper_bounds,
) -> int:
    """Hold every upper bound of every instance above the truth; return how many."""
    generator = make_generator(SCALE, family)
    build, _ = FAMILIES[family]
    checked = 0
    for instance in build(generator, count):
        bounds = bounds_of(instance, generator)
        assert_above(instance, bounds)
        checked += len(bounds)
    return checked
