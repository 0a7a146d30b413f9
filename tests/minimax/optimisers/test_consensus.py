"""The consensus term against second derivatives written out and against jvp."""

import pytest
import torch

from optimiser_cases import copy_players, draw_players, value
from tacit.errors import InputError
from tacit.minimax.consensus import ConsensusOptimisation
from tacit.minimax.optimisers.consensus import consensus_gradients
from tacit.minimax.problem import FunctionProblem
from tacit.minimax.quadratic import random_quadratic_game


def test_on_a_quadratic_game_it_is_the_hessian_times_the_gradient(
    generator: torch.Generator,
) -> None:
    game = random_quadratic_game(
        3,
        2,
        curvature=(0.5, 1.0),
        coupling=(0.5, 2.0),
        concavity=(0.1, 1.0),
        generator=generator,
    )
    x = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, generator=generator, dtype=torch.float64, requires_grad=True)
    loss = game.value(x, y)
    plain, extra = consensus_gradients((loss, -loss), ([x], [y]))
    for_min, for_max = game.gradients(x.detach(), y.detach())
    assert torch.allclose(plain[0][0], for_min)
    assert torch.allclose(plain[1][0], -for_max)
    of_x = game.curvature @ for_min + game.coupling @ for_max
    of_y = game.coupling.mT @ for_min - game.concavity @ for_max
    assert torch.allclose(extra[0][0], of_x)
    assert torch.allclose(extra[1][0], of_y)
    assert not any(slope.requires_grad for slope in (*plain[0], *extra[1]))


def test_its_step_is_that_of_the_full_batch_method(generator: torch.Generator) -> None:
    game = FunctionProblem(
        function=lambda x, y: (x.sin() * y).sum() - (y**4).sum() / 4,
        min_shape=(3,),
        max_shape=(3,),
    )
    x = torch.randn(3, generator=generator, dtype=torch.float64)
    y = torch.randn(3, generator=generator, dtype=torch.float64)
    solver = ConsensusOptimisation(min_step=0.1, max_step=0.2, consensus=0.7)
    state = solver.step(game, solver.init(game, (x, y)))
    u, v = x.clone().requires_grad_(), y.clone().requires_grad_()
    loss = game.function(u, v)
    (of_u, of_v), extra = consensus_gradients((loss, -loss), ([u], [v]))
    assert torch.allclose(state.min_player, x - 0.1 * (of_u[0] + 0.7 * extra[0][0]))
    assert torch.allclose(state.max_player, y - 0.2 * (of_v[0] + 0.7 * extra[1][0]))


def test_players_with_several_parameters_and_losses_that_do_not_sum_to_zero(
    generator: torch.Generator,
) -> None:
    """The extra term is the slope of half the squared length, by differences."""
    players = draw_players(generator)

    def half(shifted: tuple[list[torch.Tensor], list[torch.Tensor]]) -> float:
        first = torch.autograd.grad(value(shifted), shifted[0])
        second = torch.autograd.grad(-2 * value(shifted), shifted[1])
        return sum(float(s.square().sum()) for s in (*first, *second)) / 2

    loss = value(players)
    _, extra = consensus_gradients((loss, -2 * loss), players)
    for side in (0, 1):
        for index, term in enumerate(extra[side]):
            direction = torch.randn(
                term.shape, generator=generator, dtype=torch.float64
            )
            ends: list[float] = []
            for sign in (1e-5, -1e-5):
                moved = copy_players(players)
                moved[side][index].data.add_(direction, alpha=sign)
                ends.append(half(moved))
            slope = (ends[0] - ends[1]) / 2e-5
            assert float((term * direction).sum()) == pytest.approx(slope, rel=1e-6)


def test_what_no_loss_depends_on_has_gradients_zero() -> None:
    x, y, idle = (torch.tensor(v, requires_grad=True) for v in (1.0, 2.0, 3.0))
    plain, extra = consensus_gradients((x * y, -x * y), ([x, idle], [y]))
    assert float(plain[0][1]) == float(extra[0][1]) == 0.0
    # A linear game has constant gradients, and nothing to make smaller.
    plain, extra = consensus_gradients((3 * x, 4 * y), ([x], [y]))
    assert [float(plain[0][0]), float(plain[1][0])] == [3.0, 4.0]
    assert [float(extra[0][0]), float(extra[1][0])] == [0.0, 0.0]


def test_a_player_without_parameters_is_refused() -> None:
    x = torch.ones((), requires_grad=True)
    with pytest.raises(InputError, match="each player must have at least one"):
        consensus_gradients((x, x), ([x], []))
