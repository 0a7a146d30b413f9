"""Phase diagram of Ahmed, Recht and Romberg (figure 3), at an eighth of the length."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from deconvolution_data import Array, Instance, Support, draw
from deconvolution_ours import minimise, problem_of, warm_up
from deconvolution_published import multipliers, regularised_descent
from matplotlib.figure import Figure

from tacit.recovery.deconvolution.deconvolve import deconvolve
from tacit.rng import make_generator

Record = dict[str, Any]
LENGTH = 512
SUCCESS = 2e-2


def _convex(instance: Instance, _seed: int) -> tuple[Array, Array]:
    result = minimise(instance, None)
    return result.left.numpy(), result.right.numpy()


def _default(instance: Instance, _seed: int) -> tuple[Array, Array]:
    problem = problem_of(instance)
    result = deconvolve(problem, noise_bound=0.0, generator=make_generator(0))
    (left,), (right,) = result.filter_coefficients, result.signal_coefficients
    return left.numpy().reshape(-1, 1), right.conj().numpy().reshape(-1, 1)


def _descent(instance: Instance, _seed: int) -> tuple[Array, Array]:
    return regularised_descent(instance)


METHODS: dict[str, Callable[[Instance, int], tuple[Array, Array]]] = {
    "tacit": _default,
    "tacit-convex": _convex,
    "multipliers-rank-4": multipliers,
    "regularised-descent": _descent,
}


def diagram(method: str, support: Support, *, seed: int, is_small: bool) -> Record:
    """Run every cell of one diagram: ``counts[i][j]`` successes at K_i, N_j.

    A row ends at the first cell without a success; the cells behind it count as zero.
    """
    step, trials = (64, 1) if is_small else (25, 3)
    sizes = list(range(step, LENGTH // 2 + 1, step))
    warm_up(draw((4, 4, 40), seed=0, is_real=True), None)
    counts = np.zeros((len(sizes), len(sizes)), int)
    tried = 0
    began = time.process_time()
    for i, rows in enumerate(sizes):
        for j, columns in enumerate(sizes):
            for trial in range(trials):
                instance = draw(
                    (rows, columns, LENGTH),
                    seed=1000 * seed + trial,
                    is_real=True,
                    support=support,
                )
                found = METHODS[method](instance, trial)
                counts[i, j] += instance.error(*found) < SUCCESS
                tried += 1
            if counts[i, j] == 0:
                break
    rates = counts / trials
    return {
        "status": "done",
        "setting": support,
        "sizes": sizes,
        "rates": rates.tolist(),
        "successes": int(counts.sum()),
        "tried": tried,
        "edge": _edge(sizes, rates),
        "cpu_seconds": time.process_time() - began,
    }


def _edge(sizes: list[int], rates: Array) -> float:
    """Return the mean over the rows of K + N where the rate falls below a half.

    Halfway between the last N of a row with at least half of its trials and the next,
    over the rows that have such an edge inside the grid; relative to L.
    """
    step = sizes[1] - sizes[0]
    edges: list[float] = []
    for size, row in zip(sizes, rates, strict=True):
        above = np.flatnonzero(row >= 0.5)
        if above.size and above[-1] + 1 < len(sizes):
            edges.append(size + sizes[above[-1]] + step / 2.0)
    return float(np.mean(edges)) / LENGTH if edges else float("nan")


def draw_diagrams(records: list[Record], path: Path) -> None:
    """One panel for each method and support; lines at K + N = L/2.7 and L/2."""
    shown = [record for record in records if "rates" in record]
    if not shown:
        return
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axis, record in zip(axes, shown, strict=False):
        sizes = np.array(record["sizes"])
        half = (sizes[1] - sizes[0]) / 2.0
        axis.imshow(
            np.array(record["rates"]).T,
            origin="lower",
            cmap="gray",
            vmin=0.0,
            vmax=1.0,
            extent=(sizes[0] - half, sizes[-1] + half) * 2,
        )
        for part, style in ((2.7, "--"), (2.0, ":")):
            line = LENGTH / part - sizes
            axis.plot(sizes, line, style, color="tab:red", label=f"K + N = L/{part:g}")
        axis.set_xlim(sizes[0] - half, sizes[-1] + half)
        axis.set_ylim(sizes[0] - half, sizes[-1] + half)
        axis.set_title(f"{record['solver']}, {record['setting']}", fontsize=9)
        axis.set_xlabel("K")
        axis.set_ylabel("N")
    axes[0].legend(fontsize=7)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
