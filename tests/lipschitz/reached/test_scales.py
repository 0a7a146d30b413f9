import pytest
import torch
from torch import Tensor

from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, chain
from tacit.lipschitz.reached.scales import natural_radius, typical_sizes
from tacit.rng import make_generator


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)


def _network(kind: str, weight: float, bias: float) -> Network:
    return chain(
        [
            (weight * _randn(40, 5), bias * _randn(40, seed=1), Activation(kind=kind)),
            (_randn(1, 40), None, None),
        ]
    )


@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "abs"])
def test_radius_is_zero_exactly_for_homogeneous_networks(kind: str) -> None:
    assert natural_radius(_network(kind, 1.0, 0.0), make_generator(0)) == 0.0
    assert natural_radius(_network(kind, 1.0, 1e-30), make_generator(0)) > 0.0
    assert natural_radius(_network("tanh", 1.0, 0.0), make_generator(0)) > 0.0


@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e9])
def test_radius_follows_the_scales_of_weights_and_biases(weight: float) -> None:
    plain = natural_radius(_network("relu", 1.0, 1.0), make_generator(0))
    # Rows of norm about sqrt(5), biases of size 1: both meet at |x| about 1.
    assert 0.3 < plain < 3.0
    for bias in (1e-6, 1e6):
        radius = natural_radius(_network("relu", weight, bias), make_generator(0))
        assert radius == pytest.approx(plain * bias / weight, rel=1e-9)
    saturating = natural_radius(_network("tanh", weight, 0.0), make_generator(0))
    assert 0.3 / weight < saturating < 3.0 / weight


def test_typical_sizes_show_every_stage() -> None:
    network = chain(
        [
            (torch.full((1, 1), 1e-9), None, Activation(kind="relu")),
            (torch.full((1, 1), 1e30), None, None),
        ]
    )
    x = torch.full((1, 1), 2.0, dtype=torch.float64)
    sizes = [float(size) for size in typical_sizes(network, x)]
    assert sizes == pytest.approx([2.0, 2e-9, 1e-9, 1e21])
