"""Consensus optimisation against double backward passes."""

import pytest
import torch
from torch import Tensor

from saddle_cases import draw
from tacit.errors import InputError, Status
from tacit.iterate import iterate
from tacit.minimax.consensus import ConsensusOptimisation
from tacit.minimax.descent_ascent import SimultaneousGDA
from tacit.minimax.mean_matching import draw_start, random_game
from tacit.minimax.problem import FunctionProblem
from tacit.minimax.quadratic import bilinear_game


def _value(x: Tensor, y: Tensor) -> Tensor:
    return (x.sin() * y).sum() + (x**2).sum() / 3 - (y**4).sum() / 4


def test_it_descends_on_half_the_squared_gradients(generator: torch.Generator) -> None:
    game = FunctionProblem(function=_value, min_shape=(3,), max_shape=(3,))
    x, y = draw(generator, 3), draw(generator, 3)
    solver = ConsensusOptimisation(min_step=0.1, max_step=0.2, consensus=0.7)
    state = solver.step(game, solver.init(game, (x, y)))
    u, v = x.clone().requires_grad_(), y.clone().requires_grad_()
    down, up = torch.autograd.grad(_value(u, v), (u, v), create_graph=True)
    half = (down.square().sum() + up.square().sum()) / 2
    of_x, of_y = torch.autograd.grad(half, (u, v))
    assert torch.allclose(state.min_player, (x - 0.1 * (down + 0.7 * of_x)).detach())
    assert torch.allclose(state.max_player, (y + 0.2 * (up - 0.7 * of_y)).detach())


def test_without_consensus_it_is_simultaneous(generator: torch.Generator) -> None:
    game = random_game(20, 4, 3, 8, generator=generator)
    start = draw_start(game, generator=generator)
    agreed = ConsensusOptimisation(min_step=0.2, max_step=0.5, consensus=0.0)
    plain = SimultaneousGDA(min_step=0.2, max_step=0.5)
    one = iterate(game, agreed, start, max_steps=10).state
    two = iterate(game, plain, start, max_steps=10).state
    assert torch.allclose(one.min_player, two.min_player, atol=1e-12)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(InputError, match="consensus must be at least 0; got -1"):
        ConsensusOptimisation(min_step=0.1, max_step=0.1, consensus=-1.0)


@pytest.mark.parametrize(("factor", "is_stable"), [(0.98, True), (1.02, False)])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_on_a_bilinear_game_runs_diverge_from_the_stated_limit_on(
    gamma: float, factor: float, is_stable: bool
) -> None:
    s = 1.3
    game = bilinear_game(torch.tensor([[s]], dtype=torch.float64))
    eta = factor * 2 * gamma / (gamma**2 * s**2 + 1)
    solver = ConsensusOptimisation(min_step=eta, max_step=eta, consensus=gamma)
    start = (torch.ones(1).double(), torch.zeros(1).double())
    run = iterate(game, solver, start, max_steps=1500)
    if is_stable:
        assert run.state.value < 1e-12
    else:
        assert run.status is Status.DIVERGED
