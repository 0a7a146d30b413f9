"""The picture of a bracket: every bound on one axis, and where the layers lose."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from torch import Tensor

from tacit.lipschitz.network import run
from tacit.lipschitz.pair import measure
from tacit.lipschitz.predict import Prediction
from tacit.lipschitz.products import site_bounds
from tacit.lipschitz.solve import LipschitzResult

_LOWER, _UPPER, _PREDICTED = "#0072b2", "#d55e00", "#777777"


def draw_bracket(
    title: str,
    result: LipschitzResult,
    predictions: tuple[Prediction, ...],
    folder: Path,
) -> list[Path]:
    """Draw the bracket into ``folder`` as png and pdf.

    The left panel has every bound on one logarithmic axis. The right one follows a unit
    change of the input through the layers: the product of layer norms, the worst case of
    the lifted network, and the change along the pair of inputs that was found.

    Returns
    -------
    list of Path
        The files written.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_bounds(left, result, predictions)
    _draw_growth(right, result)
    figure.suptitle(title)
    paths = [folder / "bracket.png", folder / "bracket.pdf"]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths


def _draw_bounds(
    axes: Axes, result: LipschitzResult, predictions: tuple[Prediction, ...]
) -> None:
    rows = [
        (b.value, b.method, _LOWER if b.side == "lower" else _UPPER)
        for b in result.bounds
    ]
    rows += [(p.value, f"{p.name} ({p.certainty})", _PREDICTED) for p in predictions]
    rows = sorted((row for row in rows if row[0] > 0.0), reverse=True)
    bracket = result.bracket
    axes.axvspan(bracket.lower.value, bracket.upper.value, color="#009e73", alpha=0.15)
    for height, (value, _, color) in enumerate(rows):
        axes.plot(value, height, marker="o", color=color, clip_on=False)
        axes.annotate(
            f"{value:.4g}", (value, height), xytext=(0, 6), textcoords="offset points",
            ha="center", fontsize=8, color=color,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for _, name, _ in rows], fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.2)
    axes.set_xscale("log")
    values = [value for value, _, _ in rows]
    if values and max(values) < 100 * min(values):
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(f"Lipschitz constant, {result.problem.norm} inputs")
    axes.set_title(
        f"{bracket.lower.value:.5g} (reached) to {bracket.upper.value:.5g} (certified)",
        fontsize=10,
    )


def _draw_growth(axes: Axes, result: LipschitzResult) -> None:
    problem = result.problem
    curves = [("product of layer norms", site_bounds(problem), _UPPER, "s--")]
    if result.lifted is not None and len(result.lifted.amplitudes) > 1:
        curves.append(("lifted network", result.lifted.amplitudes, "#cc79a7", "D-"))
    curves.append(("pair of inputs found", reached_growth(result), _LOWER, "o-"))
    for name, values, color, style in curves:
        axes.plot(
            range(len(values)), values, style, color=color, label=name, markersize=4
        )
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("activation (0: input, last: output)")
    axes.set_ylabel("change per unit of input change")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title("where the layers lose", fontsize=10)


def reached_growth(result: LipschitzResult) -> tuple[float, ...]:
    """Return the l2 change at every site along the pair found, per unit of input change."""
    problem, pair = result.problem, result.pair
    batch = torch.stack([pair.x, pair.x_prime])
    unit = float(measure(batch[1:] - batch[:1], problem.norm))

    def distance(values: Tensor) -> float:
        return float(torch.linalg.vector_norm(values[1] - values[0])) / unit

    growth = [distance(batch)]

    def record(site: int, y: Tensor) -> Tensor:
        z = problem.network.activations[site - 1].apply(y)
        growth.append(distance(z))
        return z

    output = run(problem.network, batch, record)
    return (*growth, distance(output))
