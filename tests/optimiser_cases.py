"""A smooth game of two players with several parameters each, for optimisers."""

import copy
import io
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Players = tuple[list[Tensor], list[Tensor]]


def draw_players(
    generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Players:
    """Two parameters of different shapes for each player."""

    def draw(*shape: int) -> Tensor:
        entries = torch.randn(shape, generator=generator, dtype=torch.float64)
        return entries.to(dtype).requires_grad_()

    return [draw(3, 2), draw(4)], [draw(2), draw(4)]


def copy_players(players: Players) -> Players:
    """The same numbers in new tensors."""
    first, second = ([p.detach().clone().requires_grad_() for p in q] for q in players)
    return first, second


def value(players: Players) -> Tensor:
    """What the first player makes small and the second one large."""
    (weights, shift), (scores, offset) = players
    return (
        (weights.sin() @ scores).sum()
        + (shift * offset).sum()
        + weights.square().sum() / 5
        - (scores**4).sum() / 4
        - offset.square().sum() / 3
    )


def set_gradients(players: Players) -> None:
    """Both players' gradients of the value, at the present point."""
    parameters = [*players[0], *players[1]]
    slopes = torch.autograd.grad(value(players), parameters)
    for parameter, slope in zip(parameters, slopes, strict=True):
        parameter.grad = slope


def flat(players: Players) -> Tensor:
    """All numbers of both players."""
    return torch.cat([p.detach().reshape(-1) for q in players for p in q])


def play(players: Players, moves: Sequence[Callable[[], object]]) -> None:
    """Compute gradients at the present point before each simultaneous move."""
    for move in moves:
        set_gradients(players)
        move()


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it comes back from a file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def twin(
    players: Players, optimisers: Sequence[Optimizer], make: Callable[[Players], Any]
) -> tuple[Players, Any]:
    """Both players and optimisers once more, built anew and loaded."""
    others = copy_players(players)
    fresh = make(others)
    for old, new in zip(optimisers, fresh, strict=True):
        new.load_state_dict(copy.deepcopy(saved(old.state_dict())))
    return others, fresh
