"""Extrapolated players: Alex-GDA, its special cases, and that nothing is lost."""

import pytest
import torch
from torch import Tensor

from optimiser_cases import draw_players, flat, saved
from tacit.errors import InputError, ShapeError
from tacit.iterate import iterate
from tacit.minimax.descent_ascent import SimultaneousGDA
from tacit.minimax.extrapolation import AlexGDA
from tacit.minimax.optimisers.ahead import Extrapolation
from tacit.minimax.quadratic import QuadraticGame, random_quadratic_game


def _game(generator: torch.Generator) -> QuadraticGame:
    return random_quadratic_game(
        3,
        2,
        curvature=(0.0, 0.5),
        coupling=(0.5, 2.0),
        concavity=(0.1, 1.0),
        generator=generator,
    )


def _run(
    game: QuadraticGame, start: tuple[Tensor, Tensor], factors: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Train by SGD, the minimising player first, each against the other one ahead."""
    x, y = (player.clone().requires_grad_() for player in start)
    down = torch.optim.SGD([x], lr=0.1)
    up = torch.optim.SGD([y], lr=0.2, maximize=True)
    of_x, of_y = (
        Extrapolation([x], factor=factors[0]),
        Extrapolation([y], factor=factors[1]),
    )
    for _ in range(15):
        with of_y.shown():
            (x.grad,) = torch.autograd.grad(game.value(x, y), [x])
        of_x.remember()
        down.step()
        with of_x.shown():
            (y.grad,) = torch.autograd.grad(game.value(x, y), [y])
        of_y.remember()
        up.step()
    return x.detach(), y.detach()


def _start(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = torch.randn(3, generator=generator, dtype=torch.float64)
    return x, torch.randn(2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("factors", [(2.0, 2.0), (1.5, 3.0), (1.0, 1.0), (0.5, 0.0)])
def test_with_sgd_it_is_alex_gda(
    factors: tuple[float, float], generator: torch.Generator
) -> None:
    game, start = _game(generator), _start(generator)
    solver = AlexGDA(
        min_step=0.1,
        max_step=0.2,
        min_extrapolation=factors[0],
        max_extrapolation=factors[1],
    )
    found = iterate(game, solver, start, max_steps=15).state
    x, y = _run(game, start, factors)
    assert torch.allclose(x, found.min_player, rtol=0, atol=1e-12)
    assert torch.allclose(y, found.max_player, rtol=0, atol=1e-12)


def test_a_first_player_shown_where_it_was_is_simultaneous_training(
    generator: torch.Generator,
) -> None:
    game, start = _game(generator), _start(generator)
    solver = SimultaneousGDA(min_step=0.1, max_step=0.2)
    found = iterate(game, solver, start, max_steps=15).state
    x, y = _run(game, start, (0.0, 1.0))
    assert torch.allclose(x, found.min_player, rtol=0, atol=1e-12)
    assert torch.allclose(y, found.max_player, rtol=0, atol=1e-12)


def test_afterwards_every_bit_is_back(generator: torch.Generator) -> None:
    players = draw_players(generator, torch.float32)
    ahead = Extrapolation(players[0], factor=1.7)
    ahead.remember()
    with torch.no_grad():
        for parameter in players[0]:
            parameter.mul_(1.1)
    real = flat(players)
    with ahead.shown():
        assert not torch.equal(flat(players), real)
    assert torch.equal(flat(players), real)
    with pytest.raises(ZeroDivisionError), ahead.shown():
        _ = 1 / 0
    assert torch.equal(flat(players), real)


def test_before_the_first_step_nothing_is_extrapolated(
    generator: torch.Generator,
) -> None:
    players = draw_players(generator)
    before = flat(players)
    with Extrapolation(players[1], factor=3.0).shown():
        assert torch.equal(flat(players), before)


def test_its_state_goes_through_a_file(generator: torch.Generator) -> None:
    players = draw_players(generator)
    ahead = Extrapolation(players[0], factor=2.0)
    ahead.remember()
    with torch.no_grad():
        players[0][0].add_(0.3)
    state = ahead.state_dict()
    kept = saved(state)
    other = Extrapolation(players[0], factor=2.0)
    other.load_state_dict(kept)
    with ahead.shown():
        wanted = flat(players)
    with other.shown():
        assert torch.equal(flat(players), wanted)
    ahead.remember()
    assert torch.equal(state["before"][0], kept["before"][0])
    assert not torch.equal(state["before"][0], ahead.state_dict()["before"][0])


def test_what_cannot_be_is_refused(generator: torch.Generator) -> None:
    players = draw_players(generator)
    with pytest.raises(InputError, match="at least one parameter"):
        Extrapolation([], factor=2.0)
    with pytest.raises(InputError, match="factor must be finite and not negative"):
        Extrapolation(players[0], factor=-1.0)
    other = Extrapolation(players[1], factor=2.0)
    with pytest.raises(ShapeError, match="the state must have tensors of shapes"):
        other.load_state_dict(Extrapolation(players[0], factor=2.0).state_dict())
