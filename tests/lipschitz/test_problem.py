"""What can be asked."""

from typing import cast

import pytest
import torch

from cases import NETWORKS, normal, random_chain
from tacit.errors import InputError
from tacit.lipschitz.network import run
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm, margin
from tacit.rng import make_generator

CASES = {name: build(make_generator(0, name)) for name, build in NETWORKS.items()}


def test_the_norm_is_l2_unless_told_otherwise(generator: torch.Generator) -> None:
    network = random_chain(generator, (2, 2))
    assert LipschitzProblem(network=network).norm == "l2"
    assert NORMS == ("l2", "linf", "l1")
    for norm in NORMS:
        assert LipschitzProblem(network=network, norm=norm).norm == norm


@pytest.mark.parametrize("norm", ["", "L2", "l3", 2])
def test_an_unknown_norm_is_refused(norm: object, generator: torch.Generator) -> None:
    network = random_chain(generator, (2, 2))
    with pytest.raises(InputError, match=r"one of l2, linf, l1; got "):
        LipschitzProblem(network=network, norm=cast(Norm, norm))


WITH_OUTPUTS = [name for name, network in CASES.items() if network.num_outputs > 1]


@pytest.mark.parametrize("name", WITH_OUTPUTS)
def test_margin_is_a_difference_of_outputs(
    name: str, generator: torch.Generator
) -> None:
    network = CASES[name]
    x = normal(generator, 4, *network.in_shape)
    outputs = run(network, x).reshape(4, -1)
    last = network.num_outputs - 1
    for first, second in ((0, last), (last, 0)):
        scalar = margin(network, first, second)
        assert scalar.out_shape == (1,)
        assert scalar.links >= {
            link for link in network.links if link[0] < len(network.site_shapes) - 1
        }
        expected = (outputs[:, first] - outputs[:, second])[:, None]
        torch.testing.assert_close(run(scalar, x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", [(0, 0), (1, 3), (3, 1), (-1, 0), (0, -1)])
def test_margin_of_outputs_that_are_not_there_is_refused(
    outputs: tuple[int, int], generator: torch.Generator
) -> None:
    network = random_chain(generator, (2, 3))
    pattern = rf"two different outputs in 0\.\.2; got {outputs[0]},{outputs[1]}$"
    with pytest.raises(InputError, match=pattern):
        margin(network, *outputs)


def test_one_output_has_no_margin(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=r"in 0\.\.0; got 0,0"):
        margin(random_chain(generator, (2, 1)), 0, 0)
