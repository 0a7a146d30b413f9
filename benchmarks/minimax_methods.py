"""Descent-ascent methods on the paper's game: steps to the saddle, cost of a step."""

import math
import statistics
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import torch
from torch import Tensor

from tacit.minimax.consensus import ConsensusOptimisation
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SimultaneousGDA,
)
from tacit.minimax.dynamics.measured import measured_rate
from tacit.minimax.dynamics.rates import linear_rate
from tacit.minimax.dynamics.spectrum import jacobian_spectrum
from tacit.minimax.dynamics.steps import best_steps
from tacit.minimax.extrapolation import AlexGDA, Extragradient, OptimisticGradient
from tacit.minimax.mean_matching import MeanMatchingGame, draw_start, random_game
from tacit.rng import make_generator

Record = dict[str, Any]

LOSS = 1e-20
WIDTHS = (20, 60, 200, 400, 1000, 3000)


def _best_time(run: Callable[[], object], budget: float = 0.3) -> float:
    """Return the least processor time of a call over five rounds, in microseconds."""
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
    """Time a simultaneous step with closed forms and with automatic differentiation.

    The floor is two products of k x d by d x n matrices, by the library of torch.
    """
    for width in WIDTHS:
        yield {"case": f"k = {width}", "solver": "simultaneous", **_speed(width, seed)}


def _speed(width: int, seed: int) -> Record:
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
    return {
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


# Gradients of both players that a step evaluates; a forward derivative counts two.
METHODS: dict[str, tuple[AbstractDescentAscent, int]] = {
    "simultaneous, mu = 1": (SimultaneousGDA(min_step=1.0, max_step=1.0), 1),
    "simultaneous": (SimultaneousGDA(min_step=1.0, max_step=1.0), 1),
    "alternating, mu = 1": (AlternatingGDA(min_step=1.0, max_step=1.0), 1),
    "alternating": (AlternatingGDA(min_step=1.0, max_step=1.0), 1),
    "extragradient": (Extragradient(min_step=1.0, max_step=1.0), 2),
    "optimistic gradient": (OptimisticGradient(min_step=1.0, max_step=0.5), 1),
    "Alex-GDA": (AlexGDA(min_step=1.0, max_step=1.0), 1),
    "consensus": (ConsensusOptimisation(min_step=1.0, max_step=1.0, consensus=0.1), 3),
}
_MAX_STEPS = 20_000


def methods(seeds: int, seed: int) -> Iterator[Record]:
    """Run every method at its best steps for the spectrum at the start, widened 1.5."""
    for width in (60, 200, 1000):
        for name, (method, gradients) in METHODS.items():
            fixed = 1.0 if name.endswith("mu = 1") else None
            runs = [
                _run_method(method, width, fixed, make_generator(seed, f"{width}/{i}"))
                for i in range(seeds)
            ]
            steps = statistics.median(run[0] for run in runs)
            rates = [run[1] for run in runs if run[1] is not None]
            yield {
                "case": f"k = {width}",
                "solver": name,
                "converged": f"{sum(run[0] < math.inf for run in runs)}/{seeds}",
                "steps": steps,
                "gradients": gradients * steps,
                "measured": statistics.median(rates) if rates else None,
                "predicted": statistics.median(run[2] for run in runs),
                "min_step": statistics.median(run[3].min_step for run in runs),
                "max_step": statistics.median(run[3].max_step for run in runs),
            }


def _run_method(
    method: AbstractDescentAscent,
    width: int,
    max_step: float | None,
    generator: torch.Generator,
) -> tuple[float, float | None, float, AbstractDescentAscent]:
    """Return steps to the goal, rates measured and predicted at the end, the solver."""
    game = random_game(width, 20, 10, 50, generator=generator)
    start = draw_start(game, generator=generator)
    spectrum = jacobian_spectrum(game, start[0])
    solver = best_steps(method, spectrum, max_step=max_step, widening=1.5).solver
    state = solver.init(game, start)
    lengths: list[float] = []
    steps = math.inf
    for step in range(1, _MAX_STEPS + 1):
        state = solver.step(game, state)
        lengths.append(float(game.linearise(state.min_player).residual.norm()))
        if lengths[-1] ** 2 < LOSS:
            steps = step
            break
        if not math.isfinite(lengths[-1]):
            break
    predicted = float(linear_rate(solver, jacobian_spectrum(game, state.min_player)))
    return steps, measured_rate(lengths), predicted, solver
