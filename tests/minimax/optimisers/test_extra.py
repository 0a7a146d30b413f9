"""Extragradient optimisers: closed forms, cooper's, torch's Adam, resuming."""

import copy
from collections.abc import Callable

import cooper.optim as cooper
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
    value,
)
from tacit.errors import InputError
from tacit.iterate import iterate
from tacit.minimax.extrapolation import Extragradient
from tacit.minimax.optimisers.extra import ExtraAdam, ExtraSGD
from tacit.minimax.quadratic import bilinear_game

Pair = tuple[ExtraAdam, ExtraAdam] | tuple[ExtraSGD, ExtraSGD]
Make = Callable[[Players], Pair]


def _adam(players: Players) -> Pair:
    return (
        ExtraAdam(players[0], lr=0.05, betas=(0.5, 0.9)),
        ExtraAdam(players[1], lr=0.1, betas=(0.5, 0.9), maximize=True),
    )


def _sgd(players: Players) -> Pair:
    return (
        ExtraSGD(players[0], lr=0.05, momentum=0.3),
        ExtraSGD(players[1], lr=0.1, momentum=-0.3, maximize=True),
    )


MAKES = [pytest.param(_adam, id="adam"), pytest.param(_sgd, id="sgd")]


def _round(players: Players, optimisers: Pair) -> None:
    play(
        players,
        [
            lambda: [optimiser.extrapolate() for optimiser in optimisers],
            lambda: [optimiser.step() for optimiser in optimisers],
        ],
    )


# Closed forms


def test_a_bilinear_game_is_a_contraction_in_the_complex_plane() -> None:
    """With z = x + i y, a step multiplies by 1 - (eta b)^2 + i eta b."""
    b, eta = 1.5, 0.4
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1, -2))
    down, up = ExtraSGD([x], lr=eta), ExtraSGD([y], lr=eta, maximize=True)
    z = complex(1, -2)
    for _ in range(50):
        for moves in ((down.extrapolate, up.extrapolate), (down.step, up.step)):
            x.grad, y.grad = torch.autograd.grad(b * x * y, (x, y))
            for move in moves:
                move()
        z *= complex(1 - (eta * b) ** 2, eta * b)
        assert complex(x.item(), y.item()) == pytest.approx(z, abs=1e-14)


def test_sgd_on_full_batches_is_the_extragradient_method(
    generator: torch.Generator,
) -> None:
    matrix = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    x = torch.randn(3, generator=generator, dtype=torch.float64)
    y = torch.randn(2, generator=generator, dtype=torch.float64)
    solver = Extragradient(min_step=0.2, max_step=0.3)
    found = iterate(bilinear_game(matrix), solver, (x, y), max_steps=20).state
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    down, up = ExtraSGD([x], lr=0.2), ExtraSGD([y], lr=0.3, maximize=True)
    for _ in range(20):
        for moves in ((down.extrapolate, up.extrapolate), (down.step, up.step)):
            x.grad, y.grad = torch.autograd.grad(x @ matrix @ y, (x, y))
            for move in moves:
                move()
    assert torch.allclose(x, found.min_player, rtol=0, atol=1e-13)
    assert torch.allclose(y, found.max_player, rtol=0, atol=1e-13)


def test_adam_is_torchs_from_the_point_before_the_look_ahead(
    generator: torch.Generator,
) -> None:
    """Adam of torch, put back by hand where each look-ahead began."""
    players = draw_players(generator)
    others = copy_players(players)
    optimisers = _adam(players)
    plain = (
        torch.optim.Adam(others[0], lr=0.05, betas=(0.5, 0.9)),
        torch.optim.Adam(others[1], lr=0.1, betas=(0.5, 0.9), maximize=True),
    )
    for _ in range(10):
        _round(players, optimisers)
        began = copy_players(others)
        set_gradients(others)
        for optimiser in plain:
            optimiser.step()
        set_gradients(others)
        back = zip((*others[0], *others[1]), (*began[0], *began[1]), strict=True)
        for own, old in back:
            own.data.copy_(old.data)
        for optimiser in plain:
            optimiser.step()
        assert torch.allclose(flat(players), flat(others), rtol=0, atol=1e-13)


# The same by another package


def _cooper_adam(players: Players) -> tuple[cooper.ExtraAdam, cooper.ExtraAdam]:
    # eps enters torch's Adam and cooper's at different places.
    return (
        cooper.ExtraAdam(players[0], lr=0.05, betas=(0.5, 0.9), eps=0.0),
        cooper.ExtraAdam(players[1], lr=0.1, betas=(0.5, 0.9), eps=0.0, maximize=True),
    )


def test_adam_agrees_with_cooper(generator: torch.Generator) -> None:
    players = draw_players(generator)
    others = copy_players(players)
    own = (
        ExtraAdam(players[0], lr=0.05, betas=(0.5, 0.9), eps=0.0),
        ExtraAdam(players[1], lr=0.1, betas=(0.5, 0.9), eps=0.0, maximize=True),
    )
    theirs = _cooper_adam(others)
    for _ in range(15):
        _round(players, own)
        set_gradients(others)
        for optimiser in theirs:
            optimiser.extrapolation()
        set_gradients(others)
        for optimiser in theirs:
            optimiser.step()
        assert torch.allclose(flat(players), flat(others), rtol=0, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_sgd_agrees_with_cooper(momentum: float, generator: torch.Generator) -> None:
    players = draw_players(generator)
    others = copy_players(players)
    own = (
        ExtraSGD(players[0], lr=0.05, momentum=momentum),
        ExtraSGD(players[1], lr=0.1, momentum=momentum, maximize=True),
    )
    theirs = (
        cooper.ExtraSGD(others[0], lr=0.05, momentum=momentum),
        cooper.ExtraSGD(others[1], lr=0.1, momentum=momentum, maximize=True),
    )
    for _ in range(15):
        _round(players, own)
        set_gradients(others)
        for optimiser in theirs:
            optimiser.extrapolation()
        set_gradients(others)
        for optimiser in theirs:
            optimiser.step()
        assert torch.allclose(flat(players), flat(others), rtol=0, atol=1e-13)


# Interrupted runs, copies


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("is_ahead", [False, True])
def test_a_resumed_run_is_bit_equal(
    make: Make, is_ahead: bool, generator: torch.Generator
) -> None:
    players = draw_players(generator, torch.float32)
    optimisers = make(players)
    for _ in range(3):
        _round(players, optimisers)
    if is_ahead:
        play(players, [lambda: [one.extrapolate() for one in optimisers]])
    others, fresh = twin(players, optimisers, make)
    if is_ahead:
        play(players, [lambda: [one.step() for one in optimisers]])
        play(others, [lambda: [one.step() for one in fresh]])
    for _ in range(3):
        _round(players, optimisers)
        _round(others, fresh)
    assert torch.equal(flat(players), flat(others))


@pytest.mark.parametrize("make", MAKES)
def test_between_steps_the_state_holds_no_copy_of_the_parameters(
    make: Make, generator: torch.Generator
) -> None:
    players = draw_players(generator)
    optimisers = make(players)
    _round(players, optimisers)
    kept = optimisers[0].state_dict()["state"][0]
    assert "anchor" not in kept
    assert set(kept) <= {"step", "exp_avg", "exp_avg_sq", "momentum_buffer"}


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


# How it is used


@pytest.mark.parametrize("kind", [ExtraAdam, ExtraSGD])
def test_maximising_is_minimising_the_negative(
    kind: type[ExtraAdam] | type[ExtraSGD], generator: torch.Generator
) -> None:
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    up, down = start.clone().requires_grad_(), start.clone().requires_grad_()
    rise, fall = kind([up], lr=0.1, maximize=True), kind([down], lr=0.1)
    for _ in range(4):
        for moves in ((rise.extrapolate, fall.extrapolate), (rise.step, fall.step)):
            up.grad = torch.autograd.grad(up.sin().sum(), up)[0]
            down.grad = torch.autograd.grad(-down.sin().sum(), down)[0]
            for move in moves:
                move()
    assert torch.equal(up, down)


@pytest.mark.parametrize("make", MAKES)
def test_a_closure_sees_the_look_ahead_point(
    make: Make, generator: torch.Generator
) -> None:
    players = draw_players(generator)
    others = copy_players(players)
    optimisers, plain = make(players), make(others)
    seen: list[Tensor] = []

    def closure() -> float:
        assert torch.is_grad_enabled()
        seen.append(flat(players))
        set_gradients(players)
        return value(players).item()

    play(players, [optimisers[0].extrapolate])
    ahead = flat(players)
    loss = optimisers[0].step(closure)
    play(others, [plain[0].extrapolate, plain[0].step])
    assert torch.equal(seen[0], ahead)
    assert loss is not None
    assert torch.equal(flat(players), flat(others))
    assert not torch.equal(ahead, flat(players))


def test_groups_have_rates_of_their_own(generator: torch.Generator) -> None:
    players = draw_players(generator)
    first, second = players[0]
    start = (first.detach().clone(), second.detach().clone())
    optimiser = ExtraSGD([{"params": [first], "lr": 0.2}, {"params": [second]}], lr=0.1)
    first.grad, second.grad = torch.ones_like(first), torch.ones_like(second)
    optimiser.extrapolate()
    optimiser.step()
    assert torch.allclose(first, start[0] - 0.2)
    assert torch.allclose(second, start[1] - 0.1)


@pytest.mark.parametrize("kind", [ExtraAdam, ExtraSGD])
def test_what_has_no_gradient_stays(
    kind: type[ExtraAdam] | type[ExtraSGD], generator: torch.Generator
) -> None:
    (first, second), _ = draw_players(generator)
    start = (first.detach().clone(), second.detach().clone())
    optimiser = kind([first, second], lr=0.1)
    first.grad = torch.ones_like(first)
    optimiser.extrapolate()
    first.grad = None  # at the look-ahead point nothing pulls any more
    optimiser.step()
    assert torch.equal(first, start[0])
    assert torch.equal(second, start[1])


@pytest.mark.parametrize("make", MAKES)
def test_both_calls_are_needed_in_turn(make: Make, generator: torch.Generator) -> None:
    players = draw_players(generator)
    optimiser = make(players)[0]
    set_gradients(players)
    before = flat(players)
    with pytest.raises(InputError, match="step must follow extrapolate"):
        optimiser.step()
    assert torch.equal(flat(players), before)
    optimiser.extrapolate()
    ahead = flat(players)
    with pytest.raises(InputError, match="extrapolate must be followed by step"):
        optimiser.extrapolate()
    assert torch.equal(flat(players), ahead)
    optimiser.step()


@pytest.mark.parametrize("kind", [ExtraAdam, ExtraSGD])
def test_a_group_that_joins_between_both_calls_is_refused(
    kind: type[ExtraAdam] | type[ExtraSGD], generator: torch.Generator
) -> None:
    """And nothing has moved: the round can be ended without it."""
    (first, second), _ = draw_players(generator)
    start = first.detach().clone()
    optimiser = kind([first], lr=0.1)
    first.grad, second.grad = torch.ones_like(first), torch.ones_like(second)
    optimiser.extrapolate()
    ahead = first.detach().clone()
    optimiser.add_param_group({"params": [second]})
    for move in (optimiser.step, optimiser.extrapolate):
        with pytest.raises(InputError, match=r"must (follow|be followed by)"):
            move()
        assert torch.equal(first, ahead)
    del optimiser.param_groups[1]
    optimiser.step()
    assert torch.allclose(first, start - 0.1)


def test_settings_out_of_range_are_refused() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(InputError, match="lr must be finite and not negative; got -1"):
        ExtraAdam([x], lr=-1.0)
    with pytest.raises(InputError, match="momentum must be between -1 and 1; got 1"):
        ExtraSGD([x], momentum=1.0)
