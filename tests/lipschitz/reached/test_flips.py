import torch
from torch import Tensor

from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import chain
from tacit.lipschitz.reached.flips import climb_by_flips
from tacit.lipschitz.reached.jacobian import quotients
from tacit.rng import make_generator


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)


def test_ends_where_no_single_flip_helps() -> None:
    # Six independent rows: every pattern can be had, and all neighbours are checked.
    inner, outer = _randn(6, 9), _randn(1, 6, seed=1)
    network = chain([(inner, _randn(6), Activation(kind="relu")), (outer, None, None)])

    def norm_of(mask: Tensor) -> float:
        return float(torch.linalg.vector_norm((outer[0] * mask) @ inner))

    improved = 0
    for seed in range(10):
        x = _randn(1, 9, seed=20 + seed)
        before, _ = quotients(network, "l2", x, x)
        moved, _, value = climb_by_flips(network, "l2", x, x, max_flips=50)
        mask = (moved[0] @ inner.T + _randn(6) > 0).double()
        assert abs(value - norm_of(mask)) <= 1e-12 * value
        assert value >= float(before) * (1 - 1e-12)
        improved += value > float(before) * (1 + 1e-9)
        for neuron in range(6):
            neighbour = mask.clone()
            neighbour[neuron] = 1 - neighbour[neuron]
            assert norm_of(neighbour) <= value * (1 + 1e-9)
    assert improved >= 5


def test_nothing_to_flip_leaves_the_point_alone() -> None:
    smooth = chain([(_randn(3, 3), None, Activation(kind="tanh"))])
    linear = chain([(_randn(3, 3), None, None)])
    x = _randn(1, 3)
    for network in (smooth, linear):
        moved, _, _ = climb_by_flips(network, "l2", x, x, max_flips=5)
        assert torch.equal(moved, x)
    relu = chain([(_randn(3, 3), None, Activation(kind="relu"))])
    assert torch.equal(climb_by_flips(relu, "l2", x, x, max_flips=0)[0], x)
