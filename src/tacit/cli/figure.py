"""The picture of a bracket: every bound on one axis, and where the layers lose."""

from pathlib import Path
from textwrap import fill

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from torch import Tensor

from tacit.cli.places import save_figure
from tacit.cli.report import describe
from tacit.lipschitz.closed_form.products import site_bounds
from tacit.lipschitz.network import run
from tacit.lipschitz.pair import measure
from tacit.lipschitz.predict import Prediction
from tacit.lipschitz.solve import LipschitzResult

FIGURES = ("bracket.png", "bracket.pdf")
# Colours that also colour-blind people tell apart (Okabe and Ito).
_LOWER, _UPPER, _LIFTED, _BRACKET = "#0072b2", "#d55e00", "#cc79a7", "#009e73"
_PREDICTED = "#777777"
_LABEL_WIDTH, _TITLE_WIDTH = 30, 90


def draw_bracket(
    title: str,
    result: LipschitzResult,
    predictions: tuple[Prediction, ...],
    folder: Path,
) -> list[Path]:
    """Draw the bracket into ``folder`` as png and pdf.

    Returns
    -------
    list of Path
        The files written, each in one step.
    """
    figure = bracket_figure(title, result, predictions)
    return save_figure(figure, [folder / name for name in FIGURES])


def bracket_figure(
    title: str, result: LipschitzResult, predictions: tuple[Prediction, ...]
) -> Figure:
    """Return the figure.

    The left panel has every bound on one logarithmic axis. The right one follows a unit
    change of the input through the layers: the product of layer norms, the worst case
    of the lifted network, and the change along the pair of inputs that was found.
    """
    rows = len(result.bounds) + len(predictions)
    figure = Figure(figsize=(11, max(4.2, 1.4 + 0.42 * rows)), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_bounds(left, result, predictions)
    _draw_growth(right, result)
    figure.suptitle(fill(title, _TITLE_WIDTH), parse_math=False)
    return figure


def _draw_bounds(
    axes: Axes, result: LipschitzResult, predictions: tuple[Prediction, ...]
) -> None:
    rows = [
        (b.value, b.method, _LOWER if b.side == "lower" else _UPPER)
        for b in result.bounds
    ]
    rows += [
        (p.value, f"{p.name} (predicted, {p.certainty})", _PREDICTED)
        for p in predictions
    ]
    rows.sort(key=lambda row: -row[0])
    bracket = result.bracket
    axes.set_xscale("log")
    _set_limits(axes, [value for value, _, _ in rows])
    low, high = axes.get_xlim()
    axes.axvspan(
        min(max(bracket.lower.value, low), high),
        min(max(bracket.upper.value, low), high),
        color=_BRACKET,
        alpha=0.15,
    )
    for height, (value, _, color) in enumerate(rows):
        is_inside = low <= value <= high
        place = min(max(value, low), high)
        if is_inside:
            axes.plot(value, height, marker="o", color=color)
        axes.annotate(
            # Zero and infinity have no place on a logarithmic axis: named at its ends.
            f"{value:.4g}" if is_inside else f"{value:g} (off the axis)",
            (place, height),
            xytext=(0 if is_inside else 4 if place == low else -4, 6),
            textcoords="offset points",
            ha="center" if is_inside else "left" if place == low else "right",
            fontsize=8,
            color=color,
        )
    labels = [fill(name, _LABEL_WIDTH) for _, name, _ in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.2)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        f"Lipschitz constant of {describe(result)}, {result.problem.norm} inputs "
        "(logarithmic)"
    )
    axes.set_title(
        f"{bracket.lower.value:.7g} (reached) to {bracket.upper.value:.7g} (certified)",
        fontsize=10,
    )


def _set_limits(axes: Axes, values: list[float]) -> None:
    inside = [value for value in values if 0.0 < value < float("inf")] or [1.0]
    # A little room for the numbers beside the outermost points, also if all are equal.
    low, high = min(inside), max(inside)
    room = max((high / low) ** 0.15, 1.05)
    axes.set_xlim(low / room, high * room)
    if high < 100 * low:
        is_narrow = high < 10 * low
        axes.xaxis.set_major_locator(
            MaxNLocator(6, steps=[1, 2, 5, 10])
            if is_narrow
            else LogLocator(subs=(1, 2, 3, 5))
        )
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_growth(axes: Axes, result: LipschitzResult) -> None:
    problem = result.problem
    curves = [("product of layer norms", product_growth(result), _UPPER, "s--")]
    lifted = () if result.lifted is None else result.lifted.amplitudes
    if len(lifted) > 1 and problem.norm != "l1":  # for l1 they are those of l2 inputs
        curves.append(("lifted network", (1.0, *lifted[1:]), _LIFTED, "D-"))
    curves.append(("pair of inputs found", reached_growth(result), _LOWER, "o-"))
    for name, values, color, style in curves:
        axes.plot(
            range(len(values)), values, style, color=color, label=name, markersize=4
        )
    if any(value > 0.0 for _, values, _, _ in curves for value in values[1:]):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("activation (0: input, last: output)")
    axes.set_ylabel(f"l2 change per unit of {problem.norm} input change")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title("where the layers lose", fontsize=10)


def product_growth(result: LipschitzResult) -> tuple[float, ...]:
    """Return how much the product of layer norms lets every site change."""
    values = site_bounds(result.problem)
    slopes = [
        max(abs(slope) for slope in activation.slopes)
        for activation in result.problem.network.activations
    ]
    # Of the activations' values, as the other curves are.
    return tuple(
        value * slope for value, slope in zip(values, [1.0, *slopes, 1.0], strict=True)
    )


def reached_growth(result: LipschitzResult) -> tuple[float, ...]:
    """Return the l2 change at every site along the pair found.

    Per unit of input change, which is measured in the problem's norm: 1 at the input.
    """
    problem, pair = result.problem, result.pair
    batch = torch.stack([pair.x, pair.x_prime])
    unit = float(measure(batch[1:] - batch[:1], problem.norm))
    growth = [1.0]

    def distance(values: Tensor) -> float:
        return float(torch.linalg.vector_norm(values[1] - values[0])) / unit

    def record(site: int, y: Tensor) -> Tensor:
        z = problem.network.activations[site - 1].apply(y)
        growth.append(distance(z))
        return z

    output = run(problem.network, batch, record)
    return (*growth, distance(output))
