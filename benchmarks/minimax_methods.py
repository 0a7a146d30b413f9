"""Descent-ascent methods on the paper's game: steps to the saddle, cost of a step."""

import math
import statistics
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import torch
from torch import Tensor

from tacit.minimax.descent_ascent import SimultaneousGDA
from tacit.minimax.dynamics.rates import linear_rate
from tacit.minimax.mean_matching import MeanMatchingGame, draw_start, random_game
from tacit.rng import make_generator

Record = dict[str, Any]

LOSS = 1e-20
WIDTHS = (20, 60, 200, 400, 1000, 3000)


def _best_time(run: Callable[[], object], budget: float = 0.3) -> float:
    """Return the least processor time of one call, in microseconds, over five rounds."""
    run()
    start = process_time()
    count = 0
    while process_time() - start < budget / 5.0:
        run()
        count += 1
    rounds: list[float] = []
    for _ in range(5):
        start = process_time()
        for _ in range(max(count, 1)):
            run()
        rounds.append((process_time() - start) / max(count, 1))
    return 1e6 * min(rounds)


def speed(seed: int) -> Iterator[Record]:
    """Time one simultaneous step with closed forms and with automatic differentiation.

    The floor is two products of k x d by d x n matrices, by the library that torch uses.
    """
    for width in WIDTHS:
        generator = make_generator(seed, f"speed/{width}")
        game = random_game(width, 20, 10, 50, generator=generator)
        x, y = draw_start(game, generator=generator)
        many = random_game(width, 20, 10, 50, batch=(20,), generator=generator)
        starts = draw_start(many, generator=generator)
        solver = SimultaneousGDA(min_step=1e-3, max_step=1.0)
        state, states = solver.init(game, (x, y)), solver.init(many, starts)
        latents = game.latents.mT.contiguous()

        own = _best_time(lambda: solver.step(game, state))
        graph = _best_time(lambda: _autograd_step(game, x, y))
        functional = _best_time(lambda: _functional_step(game, x, y))
        yield {
            "case": f"k = {width}",
            "solver": "simultaneous",
            "microseconds": own,
            "autograd": graph,
            "functional": functional,
            "ratio": min(graph, functional) / own,
            "batched": _best_time(lambda: solver.step(many, states)) / 20.0,
            "floor": 2.0 * _best_time(lambda: x @ latents),
        }


def _value(game: MeanMatchingGame, x: Tensor, y: Tensor) -> Tensor:
    hidden = torch.relu(x @ game.latents.mT).mean(-1)
    return y @ (game.output_weights @ hidden - game.target) - y @ y / 2


def _autograd_step(
    game: MeanMatchingGame, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    down, up = torch.autograd.grad(_value(game, x, y), (x, y))
    return x.detach() - 1e-3 * down, y.detach() + up


def _functional_step(
    game: MeanMatchingGame, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    down, up = torch.func.grad(lambda x, y: _value(game, x, y), argnums=(0, 1))(x, y)
    return x - 1e-3 * down, y + up
