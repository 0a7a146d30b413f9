"""Networks put together compute the composition of what they are made of."""

import torch

from cases import NETWORKS, normal, random_chain
from tacit.lipschitz.compose import append, prepend
from tacit.lipschitz.layers import Activation, Dense, Scale
from tacit.lipschitz.network import run

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
