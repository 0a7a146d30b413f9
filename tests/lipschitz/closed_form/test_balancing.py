"""Balancing: the same slope patterns, invariance, and tighter products."""

import pytest
import torch

from cases import NETWORKS, RELU, normal, random_chain
from oracles import pattern_lipschitz
from tacit.lipschitz.closed_form.balancing import balance
from tacit.lipschitz.closed_form.norms import small_blocks
from tacit.lipschitz.closed_form.products import product_bound
from tacit.lipschitz.network import Network, chain, run
from tacit.lipschitz.problem import LipschitzProblem
from tacit.rng import make_generator

PIECEWISE = ("relu-3-5-4-2", "residual", "concat", "batch-norm", "rearranged")


def product_of(network: Network) -> float:
    return product_bound(LipschitzProblem(network=network)).value


@pytest.mark.parametrize("name", NETWORKS)
def test_every_slope_pattern_has_the_same_jacobian(
    name: str, generator: torch.Generator
) -> None:
    network = NETWORKS[name](generator)
    even = balance(network, generator=generator)
    inputs = normal(generator, 3, *network.in_shape)
    slopes: dict[int, torch.Tensor] = {}

    def activate(site: int, y: torch.Tensor) -> torch.Tensor:
        slopes.setdefault(site, normal(generator, 1, *y.shape[1:]))
        return slopes[site] * y

    before = run(network, inputs, activate, shift=False)
    after = run(even, inputs, activate, shift=False)
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", PIECEWISE)
def test_the_product_of_the_balanced_network_is_a_bound(name: str) -> None:
    network = NETWORKS[name](make_generator(0, name))
    even = balance(network, generator=make_generator(1, name))
    assert product_of(even) >= pattern_lipschitz(network) * (1 - 1e-12)


def test_units_of_the_neurons_do_not_matter(generator: torch.Generator) -> None:
    weights = [normal(generator, 20, 10), normal(generator, 20, 20)]
    last = normal(generator, 2, 20)
    units = [torch.exp2(10.0 * normal(generator, 20)) for _ in range(2)]
    plain = chain([(w, None, RELU) for w in weights] + [(last, None, None)])
    scaled = chain(
        [
            (units[0][:, None] * weights[0], None, RELU),
            (units[1][:, None] * weights[1] / units[0], None, RELU),
            (last / units[1], None, None),
        ]
    )
    assert product_of(scaled) > 100.0 * product_of(plain)
    even = [balance(n, generator=make_generator(0, "even")) for n in (plain, scaled)]
    assert product_of(even[1]) == pytest.approx(product_of(even[0]), rel=0.1)
    assert product_of(even[1]) <= product_of(plain) * 1.1


def test_a_balanced_network_has_equal_norms_on_both_sides(
    generator: torch.Generator,
) -> None:
    network = random_chain(generator, (8, 12, 8), bias_scale=0.0)
    blocks = small_blocks(balance(network, generator=generator))
    assert blocks is not None
    incoming = torch.linalg.vector_norm(blocks[1, 0], dim=1)
    outgoing = torch.linalg.vector_norm(blocks[2, 1], dim=0)
    torch.testing.assert_close(incoming, outgoing, rtol=0.2, atol=0.0)


def test_a_linear_network_stays_as_it_is(generator: torch.Generator) -> None:
    network = NETWORKS["linear"](generator)
    assert balance(network, generator=generator) is network


def test_the_same_stream_gives_the_same_network(generator: torch.Generator) -> None:
    network = NETWORKS["residual"](generator)
    first, second = (balance(network, generator=make_generator(5)) for _ in range(2))
    assert first.digest == second.digest
