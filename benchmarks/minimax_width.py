"""The paper's game over widths: does a saddle exist, is it reached, and how fast.

Simultaneous descent-ascent with discriminator step 1 and generator step c / lambda,
with lambda the largest eigenvalue of J J^T at the start; d = 10 latent dimensions,
n = 50 latents, m = 20 features, weights of variance 1 / width behind the ReLU.
"""

import math
import statistics
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacit.minimax.cone import fit_cone
from tacit.minimax.descent_ascent import SimultaneousGDA
from tacit.minimax.mean_matching import (
    MeanMatchingGame,
    draw_start,
    random_game,
)
from tacit.minimax.predict import existence_probability
from tacit.rng import make_generator

Record = dict[str, Any]

NUM_FEATURES, LATENT_DIM, NUM_LATENTS = 20, 10, 50
WIDTHS = (5, 10, 20, 30, 40, 50, 60, 80, 120, 200, 400, 1000, 3000)
LOSS = 1e-20  # |r|^2 of success
# More seeds at once no longer fit into the cache.
_BATCHED_WIDTH = 200
_EVERY = 5  # steps


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one seed went: squared residuals every few steps, and spectra of J J^T."""

    num_steps: int | None
    losses: np.ndarray
    first: np.ndarray
    last: np.ndarray


def existence(num_features: int, ratio: float, draws: int, seed: int) -> Record:
    """Compare how often a random cone holds a random target with the binomial law."""
    width = round(ratio * num_features)
    generator = make_generator(seed, f"existence/{num_features}/{width}")
    shape = (draws, num_features, width)
    columns = torch.randn(shape, generator=generator, dtype=torch.float64)
    targets = torch.randn(shape[:2], generator=generator, dtype=torch.float64)
    start = process_time()
    found = sum(fit_cone(V, b).is_member for V, b in zip(columns, targets, strict=True))
    seconds = process_time() - start
    law = existence_probability(num_features, width)
    error = math.sqrt(max(law * (1.0 - law), 1e-12) / draws)
    return {
        "found": found / draws,
        "law": law,
        "deviations": (found / draws - law) / error,
        "cpu_seconds": seconds,
    }


def sweep(width: int, seeds: int, *, c: float, max_steps: int, seed: int) -> Record:
    """Run all seeds of one width and say what came out."""
    generator = make_generator(seed, f"width/{width}")
    game = random_game(
        width,
        num_features=NUM_FEATURES,
        latent_dim=LATENT_DIM,
        num_latents=NUM_LATENTS,
        batch=(seeds,),
        generator=generator,
    )
    min_player, max_player = draw_start(game, generator=generator)
    exists = sum(
        fit_cone(V, b).is_member
        for V, b in zip(game.output_weights, game.target, strict=True)
    )
    start = process_time()
    runs: list[Run] = []
    size = seeds if width <= _BATCHED_WIDTH else 1
    for first in range(0, seeds, size):
        part = slice(first, first + size)
        own = _members(game, part)
        runs += _run(own, min_player[part], max_player[part], c, max_steps)
    seconds = process_time() - start
    done = [run for run in runs if run.num_steps is not None]
    steps = sum(run.num_steps or max_steps for run in runs)
    record: Record = {
        "exists": f"{exists}/{seeds}",
        "converged": f"{len(done)}/{seeds}",
        "condition": statistics.median(_condition(run.first) for run in runs),
        "cpu_seconds": seconds,
        "microseconds": 1e6 * seconds / steps,
    }
    if done:
        rates = [_rates(run, c) for run in done]
        measured, from_last, from_first = (
            statistics.median(values) for values in zip(*rates, strict=True)
        )
        record |= {
            "steps": statistics.median(run.num_steps or 0 for run in done),
            "measured": measured,
            "predicted": from_last,
            "predicted_before": from_first,
            "over": statistics.median(a / b for a, b, _ in rates),
            "error": statistics.median(
                abs(math.log(a) / math.log(b) - 1) for a, b, _ in rates
            ),
        }
    return record


def _spectrum(game: MeanMatchingGame, min_player: Tensor) -> Tensor:
    """Return the eigenvalues of J J^T, increasing, by dense algebra."""
    active = (min_player @ game.latents.mT > 0).double()
    means = active @ game.latents / game.latents.shape[-2]
    scaled = game.output_weights * means.square().sum(-1).sqrt().unsqueeze(-2)
    return torch.linalg.eigvalsh(scaled @ scaled.mT).clamp(min=0.0)


def _members(game: MeanMatchingGame, index: slice | Tensor) -> MeanMatchingGame:
    return MeanMatchingGame(
        output_weights=game.output_weights[index],
        latents=game.latents[index],
        target=game.target[index],
    )


def _normalised(
    game: MeanMatchingGame, min_player: Tensor
) -> tuple[MeanMatchingGame, Tensor]:
    """Return the same dynamics with largest eigenvalue 1: a step of c for every seed.

    The generator is homogeneous: step eta on W with weights V behind it is step 1 on
    W / sqrt(eta) with sqrt(eta) V.
    """
    largest = _spectrum(game, min_player)[:, -1].sqrt()
    scaled = MeanMatchingGame(
        output_weights=game.output_weights / largest[:, None, None],
        latents=game.latents,
        target=game.target,
    )
    return scaled, min_player * largest[:, None, None]


def _run(
    game: MeanMatchingGame, x: Tensor, y: Tensor, c: float, max_steps: int
) -> list[Run]:
    game, x = _normalised(game, x)
    solver = SimultaneousGDA(min_step=c, max_step=1.0)
    first = _spectrum(game, x)
    state = solver.init(game, (x, y))
    active = torch.arange(len(x))
    losses = torch.full((max_steps // _EVERY, len(x)), math.nan, dtype=torch.float64)
    runs: dict[int, Run] = {}
    for row in range(max_steps // _EVERY):
        for _ in range(_EVERY):
            state = solver.step(game, state)
        loss = game.linearise(state.min_player).residual.square().sum(-1)
        losses[row, active] = loss
        is_last = row + 1 == max_steps // _EVERY
        over = loss < LOSS
        ending = torch.ones_like(over) if is_last else over
        if not bool(ending.any()):
            continue
        last = _spectrum(game, state.min_player)
        for place in ending.nonzero().flatten().tolist():
            index = int(active[place])
            runs[index] = Run(
                num_steps=(row + 1) * _EVERY if bool(over[place]) else None,
                losses=losses[: row + 1, index].numpy(),
                first=first[index].numpy(),
                last=last[place].numpy(),
            )
        keep = (~ending).nonzero().flatten()
        if not len(keep):
            break
        game, active = _members(game, keep), active[keep]
        state = solver.init(game, (state.min_player[keep], state.max_player[keep]))
    return [runs[index] for index in sorted(runs)]


def _rates(run: Run, c: float) -> tuple[float, float, float]:
    """Return the measured rate of |r|, and those predicted from both spectra."""
    half = run.losses[len(run.losses) // 2 :]
    times = _EVERY * np.arange(len(half))
    slope = float(np.polyfit(times, np.log(half), 1)[0]) / 2.0
    return math.exp(slope), _predicted(run.last, c), _predicted(run.first, c)


def _condition(spectrum: np.ndarray) -> float:
    """Return the condition number of J J^T, inf where a direction is out of reach."""
    low, high = float(spectrum[0]), float(spectrum[-1])
    return high / low if low > 1e-12 * high else math.inf


def _predicted(spectrum: np.ndarray, c: float) -> float:
    """Return the largest root of z^2 - z + c lambda: simultaneous steps with mu = 1."""
    roots = np.sqrt(np.maximum(1.0 - 4.0 * c * spectrum, 0.0))
    real = (1.0 + roots) / 2.0
    return float(np.where(4.0 * c * spectrum <= 1.0, real, np.sqrt(c * spectrum)).max())
