"""Optimistic optimisers: the published recursions, the full-batch method, resuming."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from optimiser_cases import (
    Players,
    copy_players,
    draw_players,
    flat,
    play,
    set_gradients,
    twin,
)
from tacit.errors import InputError
from tacit.minimax.descent_ascent import SaddleState
from tacit.minimax.extrapolation import OptimisticGradient
from tacit.minimax.optimisers.optimistic import OptimisticAdam, OptimisticSGD
from tacit.minimax.quadratic import bilinear_game

Pair = tuple[OptimisticAdam, OptimisticAdam] | tuple[OptimisticSGD, OptimisticSGD]
Make = Callable[[Players], Pair]


def _adam(players: Players) -> Pair:
    return (
        OptimisticAdam(players[0], lr=0.05, betas=(0.5, 0.9)),
        OptimisticAdam(players[1], lr=0.1, betas=(0.5, 0.9), maximize=True),
    )


def _sgd(players: Players) -> Pair:
    return (
        OptimisticSGD(players[0], lr=0.05, momentum=0.3),
        OptimisticSGD(players[1], lr=0.1, momentum=-0.3, maximize=True),
    )


MAKES = [pytest.param(_adam, id="adam"), pytest.param(_sgd, id="sgd")]


def _round(players: Players, optimisers: Pair) -> None:
    play(players, [lambda: [optimiser.step() for optimiser in optimisers]])


class _Algorithm1:
    """Daskalakis et al. (2018), algorithm 1, written out number by number."""

    def __init__(self, start: Tensor, rates: list[float]) -> None:
        self.theta = start.tolist()
        self.m = [0.0] * len(self.theta)
        self.v = [0.0] * len(self.theta)
        self.last = [0.0] * len(self.theta)
        self.t, self.rates = 0, rates

    def step(self, slopes: list[float]) -> None:
        rate = self.rates[self.t]
        self.t += 1
        for i, slope in enumerate(slopes):
            self.m[i] = 0.5 * self.m[i] + 0.5 * slope
            self.v[i] = 0.9 * self.v[i] + 0.1 * slope**2
            root = (self.v[i] / (1 - 0.9**self.t)) ** 0.5
            move = rate * self.m[i] / (1 - 0.5**self.t) / (root + 1e-3)
            self.theta[i] += self.last[i] - 2 * move
            self.last[i] = move


@pytest.mark.parametrize("rates", [[0.1] * 12, [0.1] * 4 + [0.05] * 4 + [0.2] * 4])
def test_adam_is_the_published_algorithm(
    rates: list[float], generator: torch.Generator
) -> None:
    x = torch.randn(6, generator=generator, dtype=torch.float64)
    oracle = _Algorithm1(x, rates)
    x = x.requires_grad_()
    optimiser = OptimisticAdam([x], lr=rates[0], betas=(0.5, 0.9), eps=1e-3)
    for rate in rates:
        optimiser.param_groups[0]["lr"] = rate
        x.grad = torch.autograd.grad((x.sin() + x**4).sum(), x)[0]
        oracle.step(x.grad.tolist())
        optimiser.step()
        wanted = torch.tensor(oracle.theta, dtype=torch.float64)
        assert torch.allclose(x, wanted, rtol=0, atol=1e-13)


def test_sgd_on_full_batches_is_the_optimistic_gradient_method(
    generator: torch.Generator,
) -> None:
    matrix = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    x = torch.randn(3, generator=generator, dtype=torch.float64)
    y = torch.randn(2, generator=generator, dtype=torch.float64)
    game, solver = bilinear_game(matrix), OptimisticGradient(min_step=0.1, max_step=0.2)
    state = SaddleState(
        min_player=x,
        max_player=y,
        value=0.0,
        # The optimiser takes the gradients before the first for zero.
        memory=(torch.zeros_like(x), torch.zeros_like(y)),
    )
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    down, up = OptimisticSGD([x], lr=0.1), OptimisticSGD([y], lr=0.2, maximize=True)
    for _ in range(20):
        state = solver.step(game, state)
        x.grad, y.grad = torch.autograd.grad(x @ matrix @ y, (x, y))
        down.step()
        up.step()
        assert torch.allclose(x, state.min_player, rtol=0, atol=1e-13)
        assert torch.allclose(y, state.max_player, rtol=0, atol=1e-13)


def test_it_converges_on_a_bilinear_game_unlike_plain_sgd() -> None:
    x, y = (torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    down, up = OptimisticSGD([x], lr=0.3), OptimisticSGD([y], lr=0.3, maximize=True)
    for _ in range(500):
        x.grad, y.grad = torch.autograd.grad((x * y).sum(), (x, y))
        down.step()
        up.step()
    # Each of both factors solves z^2 - (1 - 2 s) z - s = 0 with s = 0.3 i.
    s = torch.tensor(0.3j, dtype=torch.complex128)
    half = (1 - 2 * s) / 2
    rate = float((half + (half**2 + s).sqrt()).abs())
    assert rate < 1.0
    assert (x.abs() + y.abs()).item() <= 20.0 * rate**500


# Interrupted runs, copies, other hands


@pytest.mark.parametrize("make", MAKES)
def test_a_resumed_run_is_bit_equal(make: Make, generator: torch.Generator) -> None:
    players = draw_players(generator, torch.float32)
    optimisers = make(players)
    for _ in range(4):
        _round(players, optimisers)
    others, fresh = twin(players, optimisers, make)
    for _ in range(4):
        _round(players, optimisers)
        _round(others, fresh)
    assert torch.equal(flat(players), flat(others))


@pytest.mark.parametrize("make", MAKES)
def test_a_deep_copy_goes_on_alone(make: Make, generator: torch.Generator) -> None:
    players = draw_players(generator)
    optimisers = make(players)
    _round(players, optimisers)
    others, doubles = copy.deepcopy((players, optimisers))
    before = flat(players)
    _round(others, doubles)
    assert torch.equal(flat(players), before)
    _round(players, optimisers)
    assert torch.equal(flat(players), flat(others))


@pytest.mark.parametrize("make", MAKES)
def test_a_change_of_the_parameters_between_steps_is_kept(
    make: Make, generator: torch.Generator
) -> None:
    players = draw_players(generator)
    others = copy_players(players)
    optimisers, plain = make(players), make(others)
    for pair, own in ((optimisers, players), (plain, others)):
        _round(own, pair)
    with torch.no_grad():
        players[0][0].add_(1.0)
    # The same gradients for both: only the place differs.
    set_gradients(others)
    pairs = zip((*players[0], *players[1]), (*others[0], *others[1]), strict=True)
    for mine, other in pairs:
        assert other.grad is not None
        mine.grad = other.grad.clone()
    for optimiser in (*optimisers, *plain):
        optimiser.step()
    assert torch.allclose(players[0][0], others[0][0] + 1.0, rtol=0, atol=1e-14)
    assert torch.equal(players[1][0], others[1][0])


@pytest.mark.parametrize("kind", [OptimisticAdam, OptimisticSGD])
def test_maximising_is_minimising_the_negative(
    kind: type[OptimisticAdam] | type[OptimisticSGD], generator: torch.Generator
) -> None:
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    up, down = start.clone().requires_grad_(), start.clone().requires_grad_()
    rise, fall = kind([up], lr=0.1, maximize=True), kind([down], lr=0.1)
    for _ in range(4):
        up.grad = torch.autograd.grad(up.sin().sum(), up)[0]
        down.grad = torch.autograd.grad(-down.sin().sum(), down)[0]
        rise.step()
        fall.step()
    assert torch.equal(up, down)


@pytest.mark.parametrize("kind", [OptimisticAdam, OptimisticSGD])
def test_what_has_no_gradient_stays(
    kind: type[OptimisticAdam] | type[OptimisticSGD], generator: torch.Generator
) -> None:
    (first, second), _ = draw_players(generator)
    optimiser = kind([{"params": [first], "lr": 0.2}, {"params": [second]}], lr=0.1)
    first.grad, second.grad = torch.ones_like(first), torch.ones_like(second)
    optimiser.step()
    first.grad = None
    kept, moving = first.detach().clone(), second.detach().clone()
    optimiser.step()
    assert torch.equal(first, kept)
    assert not torch.equal(second, moving)


@pytest.mark.parametrize("make", MAKES)
def test_a_closure_is_called_once_with_gradients_on(
    make: Make, generator: torch.Generator
) -> None:
    players = draw_players(generator)
    others = copy_players(players)
    calls: list[bool] = []

    def closure() -> float:
        calls.append(torch.is_grad_enabled())
        set_gradients(players)
        return 7.0

    assert make(players)[0].step(closure) == 7.0
    play(others, [make(others)[0].step])
    assert calls == [True]
    assert torch.equal(flat(players), flat(others))


def test_settings_out_of_range_are_refused() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(InputError, match=r"betas must be two numbers in \[0, 1\)"):
        OptimisticAdam([x], betas=(0.9, 1.0))
    with pytest.raises(InputError, match="lr must be finite and not negative; got inf"):
        OptimisticSGD([x], lr=float("inf"))
