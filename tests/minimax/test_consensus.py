"""Consensus optimisation against double backward passes."""

import pytest
import torch
from torch import Tensor

from saddle_cases import draw
from tacit.errors import InputError
from tacit.iterate import iterate
from tacit.minimax.consensus import ConsensusOptimisation
from tacit.minimax.descent_ascent import SimultaneousGDA
from tacit.minimax.mean_matching import draw_start, random_game
from tacit.minimax.problem import FunctionProblem


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
