"""The picture of a recovered matrix: with and without holes, errors, spectrum."""

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from tacit.cli.places import save_figure
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.result import RecoveryResult

NAMES = ("recovery", "convergence", "phases", "spectrum")
"""Figures that may be written; the last two only after a small start."""

_KINDS = ("png", "pdf")
MAX_SIDE = 2000
"""Largest side of a matrix that is shown as an image."""

# Colours that also colour-blind people tell apart (Okabe and Ito).
_FITTED, _HELD_OUT, _HOLE = "#0072b2", "#d55e00", "#cfe3f2"
_MAX_POINTS, _TITLE_WIDTH, _MAX_ASPECT = 4000, 90, 4

Array = npt.NDArray[np.float64]


def figure_paths(folder: Path, name: str) -> list[Path]:
    """Return where a figure goes, as png and as pdf."""
    return [folder / f"{name}.{kind}" for kind in _KINDS]


def draw_recovery(
    title: str, problem: RecoveryProblem, result: RecoveryResult, folder: Path
) -> list[Path]:
    """Draw the result into ``folder``, each figure as png and pdf.

    Returns
    -------
    list of Path
        The files written, each in one step.
    """
    figures = {"recovery": recovery_figure(title, problem, result)} | result.plot()
    return [
        path
        for name, figure in figures.items()
        for path in save_figure(figure, figure_paths(folder, name))
    ]


def recovery_figure(
    title: str, problem: RecoveryProblem, result: RecoveryResult
) -> Figure:
    """Return the figure.

    Above, where neither side is longer than ``MAX_SIDE``, the matrix: of a completion
    problem as given, with holes, beside the completed one. Below what was measured
    against what the matrix says, fitted and held out, and its singular values.
    """
    shape = problem.linear_map.in_shape
    below = ["fit", "spectrum"]
    if max(shape) > MAX_SIDE:
        names = [below]
    elif isinstance(problem.linear_map, EntriesMap):
        names = [["given", "matrix"], below]
    else:
        names = [["matrix", *below]]
    size = (5.5 * len(names[0]), 4.6 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(names), len(names[0]), squeeze=False)
    axes: dict[str, Axes] = {
        name: grid[i][j] for i, row in enumerate(names) for j, name in enumerate(row)
    }
    if "matrix" in axes:
        _draw_matrix(figure, axes, problem, result)
    _draw_fit(axes["fit"], problem, result)
    _draw_spectrum(axes["spectrum"], result)
    figure.suptitle(fill(title, _TITLE_WIDTH), parse_math=False)
    return figure


def _draw_matrix(
    figure: Figure,
    axes: dict[str, Axes],
    problem: RecoveryProblem,
    result: RecoveryResult,
) -> None:
    images = {"matrix": _real(result.matrix())}
    known = images["matrix"]
    if isinstance(problem.linear_map, EntriesMap):
        images["given"] = _with_holes(problem.linear_map, problem)
        known = images["given"][np.isfinite(images["given"])]
    # One scale for both, so that the same grey is the same number.
    low, high = float(known.min()), float(known.max())
    rows, columns = problem.linear_map.in_shape
    is_narrow = max(rows, columns) > _MAX_ASPECT * min(rows, columns)
    titles = {
        "given": f"given: {problem.measurements.shape[-1]} entries",
        "matrix": f"recovered: rank {result.rank}",
    }
    drawn: Any = None
    for name, image in images.items():
        axes[name].set_facecolor(_HOLE)
        drawn = axes[name].imshow(
            image,
            cmap="gray",
            vmin=low,
            vmax=high,
            aspect="auto" if is_narrow else "equal",
            interpolation="nearest",
        )
        axes[name].set_title(titles[name], fontsize=10)
        axes[name].set_xlabel("column")
        axes[name].set_ylabel("row")
    label = "absolute value" if problem.measurements.is_complex() else "value"
    shown = [axes[name] for name in sorted(images)]
    figure.colorbar(drawn, ax=shown, label=label, shrink=0.8)


def _with_holes(entries: EntriesMap, problem: RecoveryProblem) -> Array:
    image = np.full(entries.in_shape, np.nan)
    rows, columns = entries.rows.cpu().numpy(), entries.columns.cpu().numpy()
    image[rows, columns] = _real(problem.measurements)
    if problem.is_symmetric:
        image[columns, rows] = image[rows, columns]
    return image


def _draw_fit(axes: Axes, problem: RecoveryProblem, result: RecoveryResult) -> None:
    measured = problem.measurements
    fitted = problem.linear_map.apply_factors(result.left, result.right)
    held_out = problem.held_out
    if held_out is None:
        held_out = torch.zeros(measured.shape[-1], dtype=torch.bool)
    for mask, color, label in (
        (~held_out, _FITTED, "fitted"),
        (held_out, _HELD_OUT, "held out"),
    ):
        if not bool(mask.any()):
            continue
        x, y = _thinned(measured[mask]), _thinned(fitted[mask])
        # Pixels in the pdf too: thousands of circles make a slow page.
        axes.scatter(
            x, y, s=8, alpha=0.5, color=color, label=label, lw=0, rasterized=True
        )
    parts = _parts(measured)
    ends = [float(parts.min()), float(parts.max())]
    axes.plot(ends, ends, color="#777777", lw=0.8, zorder=0)
    axes.set_xlabel("measured")
    axes.set_ylabel("said by the matrix")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    error = f"relative error {result.train_error:.3g} fitted"
    if result.held_out is not None:
        error += f", {result.held_out.value:.3g} held out"
    axes.set_title(error, fontsize=10)


def _draw_spectrum(axes: Axes, result: RecoveryResult) -> None:
    values = singular_values(result.left, result.right)
    axes.plot(range(1, values.size + 1), values, "o-", color=_FITTED, markersize=4)
    if values.size and values[-1] > 0.0:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("number")
    axes.set_ylabel("singular value")
    axes.grid(alpha=0.3)
    axes.set_title("singular values of the matrix", fontsize=10)


def singular_values(left: Tensor, right: Tensor) -> Array:
    """Return the singular values of ``left @ right^H``, which is not formed."""
    inner_left = torch.linalg.qr(left, mode="r").R
    inner_right = torch.linalg.qr(right, mode="r").R
    values = torch.linalg.svdvals(inner_left @ inner_right.mH)
    return values.to(torch.float64).cpu().numpy()


def _thinned(values: Tensor) -> Array:
    step = max(1, -(-values.shape[-1] // _MAX_POINTS))
    return _parts(values[::step])


def _parts(values: Tensor) -> Array:
    """Return real numbers to plot: of complex ones the two parts."""
    parts = torch.view_as_real(values).flatten() if values.is_complex() else values
    return parts.to(torch.float64).cpu().numpy()


def _real(values: Tensor) -> Array:
    """Return real numbers to show as grey: of complex ones the absolute value."""
    real = values.abs() if values.is_complex() else values
    return real.to(torch.float64).cpu().numpy()
