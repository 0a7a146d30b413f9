import math

import pytest
import torch
from torch import Tensor

from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import chain, run
from tacit.lipschitz.pair import evaluate_pair
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.lipschitz.reached.segment import best_direction, lay_pair, polish
from tacit.rng import make_generator


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("num_outputs", [1, 3, 90])
def test_best_direction_of_a_linear_map(num_outputs: int, norm: Norm) -> None:
    weight = _randn(num_outputs, 6)
    problem = LipschitzProblem(network=chain([(weight, None, None)]), norm=norm)
    v = best_direction(problem, _randn(1, 6, seed=1), make_generator(0))
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 6).double()
    exact = {
        "l2": torch.linalg.matrix_norm(weight, ord=2),
        "linf": torch.linalg.vector_norm(signs @ weight.T, dim=1).max(),
        "l1": torch.linalg.vector_norm(weight, dim=0).max(),
    }[norm]
    order = {"l2": 2.0, "linf": math.inf, "l1": 1.0}[norm]
    assert float(torch.linalg.vector_norm(v, ord=order)) == pytest.approx(1.0)
    reached = torch.linalg.vector_norm(weight @ v[0])
    assert float(reached) == pytest.approx(float(exact), rel=1e-9)


def test_a_pair_stays_inside_one_region_and_is_long() -> None:
    inner, bias = _randn(8, 3), _randn(8, seed=1)
    network = chain(
        [(inner, bias, Activation(kind="relu")), (_randn(1, 8), None, None)]
    )
    problem = LipschitzProblem(network=network)
    x = _randn(1, 3, seed=2)
    v = best_direction(problem, x, make_generator(0))
    pair = lay_pair(problem, x, v)
    patterns = [(inner @ end + bias > 0).tolist() for end in (pair.x, pair.x_prime)]
    assert patterns[0] == patterns[1] == (inner @ x[0] + bias > 0).tolist()
    # The line meets kinks at known places; the pair spans 0.9 of the gap around x.
    times = -(inner @ x[0] + bias) / (inner @ v[0])
    reach = float(x.norm())
    ahead = min([float(t) for t in times if t > 0] + [reach])
    behind = max([float(t) for t in times if t < 0] + [-reach])
    length = float((pair.x_prime - pair.x).norm())
    assert length == pytest.approx(0.9 * (ahead - behind), rel=1e-12)
    moved = lay_pair(problem, x, v, make_generator(1))
    assert (inner @ moved.x + bias > 0).tolist() == patterns[0]
    assert moved.quotient == pytest.approx(pair.quotient, rel=1e-12)
    assert pair.quotient == evaluate_pair(problem, pair.x, pair.x_prime)


def test_polish_climbs_a_smooth_network_and_leaves_others_alone() -> None:
    weight = torch.tensor([[0.5, 1.0]])
    smooth = chain([(weight, torch.tensor([0.7]), Activation(kind="tanh"))])
    x = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    found = polish(LipschitzProblem(network=smooth), x)
    # The slope of tanh is largest where the pre-activation is 0.
    assert float(found[0] @ weight[0].double()) + 0.7 == pytest.approx(0.0, abs=1e-5)
    linear = chain([(weight, None, Activation(kind="relu"))])
    assert polish(LipschitzProblem(network=linear), x) is x
    assert run(smooth, found).shape == (1, 1)
