"""Networks put together compute the composition of what they are made of."""

import pytest
import torch

from cases import NETWORKS, normal, random_chain
from tacit.errors import ShapeError
from tacit.lipschitz.compose import append, prepend
from tacit.lipschitz.layers import Activation, Dense, Scale
from tacit.lipschitz.network import run
from tacit.rng import make_generator

TANH = Activation(kind="tanh")


def test_append_and_prepend_compose(generator: torch.Generator) -> None:
    network = random_chain(generator, (3, 4, 2))
    last = Dense(weight=normal(generator, 1, 2))
    first = Dense(weight=normal(generator, 3, 5))
    x, wide = normal(generator, 2, 3), normal(generator, 2, 5)
    longer = append(network, last, TANH)
    torch.testing.assert_close(run(longer, x), last.apply(run(network, x)).tanh())
    earlier = prepend(network, (5,), first)
    torch.testing.assert_close(run(earlier, wide), run(network, first.apply(wide)))
    assert earlier.in_shape == (5,)


def test_prepend_keeps_reading_the_input_where_the_network_did(
    generator: torch.Generator,
) -> None:
    network = NETWORKS["residual"](generator)
    double = Scale(factor=torch.tensor(2.0))
    x = normal(generator, 2, 3)
    twice = prepend(network, (3,), double)
    torch.testing.assert_close(run(twice, x), run(network, 2.0 * x))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_factor_before_and_after_acts_on_every_network(
    name: str, generator: torch.Generator
) -> None:
    network = NETWORKS[name](make_generator(0, name))
    x = normal(generator, 3, *network.in_shape)
    halves, minus = (Scale(factor=torch.tensor(f)) for f in (0.5, -1.0))
    before = prepend(network, network.in_shape, halves, halves)
    after = append(network, minus)
    torch.testing.assert_close(run(before, x), run(network, x / 4.0))
    torch.testing.assert_close(run(after, x), -run(network, x))
    for longer in (before, after):
        assert longer.site_shapes == network.site_shapes
        assert longer.links == network.links


def test_nothing_added_changes_nothing(generator: torch.Generator) -> None:
    network = NETWORKS["concat"](generator)
    assert append(network).digest == network.digest
    assert prepend(network, network.in_shape).digest == network.digest


def test_layers_that_do_not_fit_are_refused(generator: torch.Generator) -> None:
    network = random_chain(generator, (3, 4, 2))
    wrong = Dense(weight=normal(generator, 3, 3))
    with pytest.raises(ShapeError, match="does not accept an input of shape"):
        append(network, wrong)
    with pytest.raises(ShapeError, match="does not accept an input of shape"):
        prepend(network, (2,), wrong)
