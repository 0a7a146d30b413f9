import itertools
import math

import pytest
import torch
from torch import Tensor

from tacit.lipschitz.layers import PIECEWISE_LINEAR_KINDS, Activation
from tacit.lipschitz.network import Network, chain, run
from tacit.lipschitz.pair import derivative, measure
from tacit.lipschitz.problem import NORMS, Norm
from tacit.lipschitz.reached.jacobian import (
    dual,
    power_step,
    quotients,
    radii,
    smooth_slope,
    tangent,
    true_slopes,
    unit,
)
from tacit.rng import make_generator


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)


def _network(num_outputs: int) -> Network:
    return chain(
        [
            (_randn(7, 4), _randn(7), Activation(kind="relu")),
            (_randn(6, 7, seed=1), _randn(6, seed=2), Activation(kind="gelu")),
            (_randn(num_outputs, 6, seed=3), None, None),
        ]
    )


def _jacobians(network: Network, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    rows = [
        torch.autograd.grad(column.sum(), x, retain_graph=True)[0]
        for column in run(network, x).unbind(1)
    ]
    return torch.stack(rows, 1)


@pytest.mark.parametrize("norm", NORMS)
def test_dual_vector_is_unit_and_attains_the_dual_norm(norm: Norm) -> None:
    g = _randn(20, 2, 3)
    v = dual(norm, g, g)
    assert torch.allclose(measure(v, norm), torch.ones(20).double(), atol=1e-14)
    order = {"l2": 2.0, "linf": 1.0, "l1": math.inf}[norm]
    expected = torch.linalg.vector_norm(g.flatten(1), ord=order, dim=1)
    assert torch.allclose((g * v).flatten(1).sum(1), expected, rtol=1e-13)
    zero = torch.zeros(1, 2, 3, dtype=torch.float64)
    assert torch.equal(dual(norm, zero, v[:1]), v[:1])


def test_unit_survives_the_ends_of_the_range() -> None:
    x = torch.tensor(
        [[3e-200, 4e-200], [3e200, 4e200], [0.0, 0.0], [math.inf, 1.0]],
        dtype=torch.float64,
    )
    found = unit(x)
    for row in found[:2]:
        assert row.tolist() == pytest.approx([0.6, 0.8])
    assert found[2].tolist() == [0.0, 0.0]
    assert bool(torch.isfinite(found).all())
    assert radii(torch.ones(2, 3, 3)).flatten().tolist() == [3.0, 3.0]


def test_tangent_is_the_jacobian_times_the_vector() -> None:
    network = _network(3)
    x, v = _randn(5, 4, seed=8), _randn(5, 4, seed=9)
    slope = true_slopes(network, x)
    found = tangent(network, x, v, lambda site, _: slope[site])
    expected = torch.einsum("bij,bj->bi", _jacobians(network, x), v)
    assert torch.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("num_outputs", [1, 3])
def test_values_are_reached_and_never_above_the_norm(
    num_outputs: int, norm: Norm
) -> None:
    network = _network(num_outputs)
    x = _randn(30, 4, seed=8)
    value, v = quotients(network, norm, x, dual(norm, x, x))
    jacobians = _jacobians(network, x)
    reached = torch.linalg.vector_norm(torch.einsum("bij,bj->bi", jacobians, v), dim=1)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4).double()
    corners = {"l2": signs, "linf": signs, "l1": torch.eye(4).double()}[norm]
    largest = torch.linalg.vector_norm(jacobians @ corners.T, dim=1).amax(1)
    if norm == "l2":
        largest = torch.linalg.matrix_norm(jacobians, ord=2)
    assert bool((value <= reached * (1 + 1e-12)).all())
    assert bool((reached <= largest * (1 + 1e-12)).all())
    if num_outputs == 1:
        assert torch.allclose(value, largest, rtol=1e-12)


def test_power_steps_rise_to_the_spectral_norm() -> None:
    network = _network(3)
    x = _randn(1, 4, seed=8)
    slopes = true_slopes(network, x)
    v, values = _randn(1, 4), list[float]()
    for _ in range(200):
        value, v = power_step(network, "l2", slopes, v)
        values.append(float(value))
    assert all(b >= a * (1 - 1e-13) for a, b in itertools.pairwise(values))
    top = float(torch.linalg.matrix_norm(_jacobians(network, x)[0], ord=2))
    assert values[-1] == pytest.approx(top, rel=1e-9)


@pytest.mark.parametrize("kind", [*sorted(PIECEWISE_LINEAR_KINDS), "elu", "tanh"])
def test_sharp_smoothing_is_the_slope_away_from_kinks(kind: str) -> None:
    activation = Activation(kind=kind, parameter=0.3)
    y = torch.linspace(-9.05, 9.05, 182, dtype=torch.float64)
    sharp = torch.full_like(y, 2000.0)
    found = smooth_slope(activation, y.requires_grad_(), sharp)
    assert torch.allclose(found, derivative(activation, y), atol=1e-12)
    low, high = activation.slopes
    blunt = smooth_slope(activation, y, torch.ones_like(y))
    assert bool((blunt >= low).all())
    assert bool((blunt <= high).all())
