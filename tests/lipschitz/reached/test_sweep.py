import itertools
import math

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.lipschitz.ensemble import random_network
from tacit.lipschitz.layers import Activation, Add, Conv, Dense, Layer, Reshape
from tacit.lipschitz.network import Network, chain, make_network, run
from tacit.lipschitz.pair import PairWitness, evaluate_pair
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.lipschitz.reached.sweep import sweep
from tacit.rng import make_generator


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)


def _densely_sampled(network: Network, norm: Norm, count: int = 40_000) -> float:
    """Largest Jacobian norm over equally spaced angles, by autograd."""
    angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count) + 1e-4
    x = torch.stack((angles.cos(), angles.sin()), 1).reshape(count, *network.in_shape)
    x.requires_grad_()
    output = run(network, x).flatten(1)
    rows = [
        torch.autograd.grad(column.sum(), x, retain_graph=True)[0].flatten(1)
        for column in output.unbind(1)
    ]
    jacobians = torch.stack(rows, 1)
    if norm == "l2":
        return float(torch.linalg.matrix_norm(jacobians, ord=2).max())
    vectors = {"linf": [[1.0, 1.0], [1.0, -1.0]], "l1": [[1.0, 0.0], [0.0, 1.0]]}[norm]
    moved = jacobians @ torch.tensor(vectors, dtype=torch.float64).T
    return float(torch.linalg.vector_norm(moved, dim=1).max())


def _chain(kind: str, sizes: list[int], seed: int) -> Network:
    last = len(sizes) - 2
    return chain(
        (
            _randn(after, before, seed=seed + 10 * index),
            None,
            None if index == last else Activation(kind=kind, parameter=-0.3),
        )
        for index, (before, after) in enumerate(itertools.pairwise(sizes))
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "abs"])
@pytest.mark.parametrize(
    "sizes", [[2, 8, 1], [2, 7, 3], [2, 14, 12, 1], [2, 16, 14, 14, 2]]
)
def test_agrees_with_dense_sampling_of_angles(
    sizes: list[int], kind: str, norm: Norm
) -> None:
    network = _chain(kind, sizes, seed=1)
    problem = LipschitzProblem(network=network, norm=norm)
    answer = sweep(problem)
    # Few cones, so 40,000 angles visit the best one; the norm on it is constant.
    assert answer.upper.value == pytest.approx(
        _densely_sampled(network, norm), rel=1e-12
    )
    assert answer.lower.value == pytest.approx(answer.upper.value, rel=1e-10)
    witness = answer.lower.witness
    assert isinstance(witness, PairWitness)
    assert evaluate_pair(problem, witness.x, witness.x_prime) == answer.lower.value


def test_graph_with_convolution_and_shortcut() -> None:
    layers: list[tuple[Layer, tuple[int, ...]]] = [
        (
            Conv(
                weight=_randn(3, 1, 2),
                stride=(1,),
                padding=(1,),
                dilation=(1,),
                groups=1,
            ),
            (0,),
        ),
        (Activation(kind="relu"), (1,)),
        (Reshape(shape=(9,)), (2,)),
        (Dense(weight=_randn(9, 9, seed=1)), (3,)),
        (Add(), (3, 4)),
        (Activation(kind="abs"), (5,)),
        (Dense(weight=_randn(2, 9, seed=2)), (6,)),
    ]
    network = make_network((1, 2), layers)
    answer = sweep(LipschitzProblem(network=network))
    assert answer.upper.value == pytest.approx(
        _densely_sampled(network, "l2"), rel=1e-12
    )


def test_shortcut_around_the_only_hidden_site() -> None:
    layers: list[tuple[Layer, tuple[int, ...]]] = [
        (Dense(weight=_randn(2, 2)), (0,)),
        (Activation(kind="relu"), (1,)),
        (Add(), (0, 2)),
    ]
    network = make_network((2,), layers)
    answer = sweep(LipschitzProblem(network=network))
    assert answer.upper.value == pytest.approx(
        _densely_sampled(network, "l2"), rel=1e-12
    )


def test_opposite_and_repeated_neurons_do_not_fake_a_pattern() -> None:
    # relu(t) - relu(-t) = t: the slope is 1 everywhere, while a pattern with both
    # neurons on, met only if equal angles were split, would give 2.
    inner = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.3, 0.0], [0.0, 0.0]])
    outer = torch.tensor([[1.0, -1.0, 0.0, 5.0]])
    network = chain([(inner, None, Activation(kind="relu")), (outer, None, None)])
    assert sweep(LipschitzProblem(network=network)).upper.value == pytest.approx(1.0)
    deep = chain(
        [
            (inner, None, Activation(kind="relu")),
            (torch.eye(4), None, Activation(kind="relu")),
            (outer, None, None),
        ]
    )
    # In the second layer the angles are computed: equal or just close is not known,
    # and a cone between close ones would have slope 2.
    with pytest.raises(InputError, match="exactly equal"):
        sweep(LipschitzProblem(network=deep))


def test_lines_closer_than_rounding_are_declined_unless_equal() -> None:
    # relu(u) - relu(v) has slope 1 in the cone between the two lines, however narrow.
    close = torch.tensor([[1.0, 1.0], [1.0, 1.0 + 2**-50]], dtype=torch.float64)
    outer = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    relu = Activation(kind="relu")
    for rows, is_declined in ((close, True), (close[[0, 0]], False)):
        problem = LipschitzProblem(
            network=chain([(rows, None, relu), (outer, None, None)])
        )
        if is_declined:
            with pytest.raises(InputError, match="exactly equal"):
                sweep(problem)
        else:
            assert sweep(problem).upper.value == 0.0


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_answer_follows_the_scale_of_the_weights(scale: float) -> None:
    network = random_network(2, 30, 2, generator=make_generator(0))
    first, *rest = network.nodes
    assert isinstance(first.layer, Dense)
    layers = [(Dense(weight=first.layer.weight * scale), first.inputs)]
    scaled = make_network((2,), [*layers, *((n.layer, n.inputs) for n in rest)])
    plain = sweep(LipschitzProblem(network=network)).upper.value
    answer = sweep(LipschitzProblem(network=scaled))
    assert answer.upper.value == pytest.approx(plain * scale, rel=1e-12)
    assert answer.lower.value == pytest.approx(plain * scale, rel=1e-9)


def test_linear_and_dead_networks() -> None:
    linear = chain([(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), None, None)])
    assert sweep(LipschitzProblem(network=linear)).upper.value == pytest.approx(4.0)
    relu = Activation(kind="relu")
    dead = chain([(torch.zeros(3, 2), None, relu), (torch.ones(1, 3), None, None)])
    answer = sweep(LipschitzProblem(network=dead))
    assert (answer.lower.value, answer.upper.value) == (0.0, 0.0)


def test_mean_over_random_shallow_networks() -> None:
    # Independent estimate of the mean: dense sampling on the same draws, which for
    # 10 neurons misses no cone that matters.
    total = sampled = 0.0
    for seed in range(40):
        network = random_network(2, 10, 1, generator=make_generator(seed))
        total += sweep(LipschitzProblem(network=network)).upper.value
        sampled += _densely_sampled(network, "l2", 4000)
    assert total >= sampled * (1 - 1e-12)
    assert total == pytest.approx(sampled, rel=1e-3)
    # E ||grad||^2 = 2 at a fixed point; the maximum is larger but of the same order.
    assert 1.0 < total / 40 / math.sqrt(2) < 2.5


def test_wide_network_is_tight() -> None:
    network = random_network(2, 100_000, 1, generator=make_generator(1))
    answer = sweep(LipschitzProblem(network=network))
    assert 1.0 <= answer.ratio < 1 + 1e-7


def test_other_networks_are_refused() -> None:
    relu = Activation(kind="relu")
    cases = [
        (chain([(torch.eye(3), None, relu)]), "2 inputs"),
        (chain([(torch.eye(2), torch.ones(2), relu)]), "biases must be 0"),
        (chain([(torch.eye(2), None, Activation(kind="tanh"))]), "activations"),
    ]
    for network, message in cases:
        with pytest.raises(InputError, match=message):
            sweep(LipschitzProblem(network=network))
    zero_bias = chain([(torch.eye(2), torch.zeros(2), relu)])
    assert sweep(LipschitzProblem(network=zero_bias)).upper.value == pytest.approx(1.0)
