"""Pictures of a deconvolution: before, after, and how sure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from tacit.bracket import Bracket

# Inches of one panel; colours that also colour-blind people tell apart (Okabe, Ito).
_PANEL = (4.6, 3.4)
_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
_SMALL_FONT = 8
_MOST_POINTS = 20_000  # of a curve; beyond, every so many are drawn
_MOST_CHANNELS = 4  # drawn; the others are in the files
_MOST_VALUES, _LEAST_VALUE = 30, 1e-8

Array = npt.NDArray[Any]


def deconvolution_figure(
    observed: Tensor,
    *,
    filters: Sequence[Tensor],
    signals: Sequence[Tensor],
    spectrum: Tensor,
    norm: Bracket,
    truth: Tensor | None = None,
) -> Figure:
    """Draw the observation beside what was found.

    Parameters
    ----------
    observed : Tensor, shape (num_channels, *grid)
        As measured.
    filters, signals : sequence of Tensor
        What was found, on their grids.
    spectrum : Tensor, shape (rank,)
        Singular values of the convex programme's solution, largest first.
    norm : Bracket
        Of their least sum.
    truth : Tensor or None, shape grid of the signal
        The true signal, where it is known, in any scale.

    Returns
    -------
    Figure
        Observation, signals, (truth,) filters, and the singular values with the
        certified bracket. Of complex numbers the absolute value is drawn. Built without
        pyplot: nothing is kept open.
    """
    num_columns = 2 if truth is None else 3
    size = (_PANEL[0] * num_columns, 2 * _PANEL[1])
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, num_columns, squeeze=False)
    _draw(grid[0][0], [*observed], "observed", _ORANGE)
    _draw(grid[0][1], signals, "signal found", _BLUE)
    if truth is not None:
        _draw(grid[0][2], [_in_scale(truth, signals[0])], "true signal", _GREEN)
        _draw_transfer(grid[1][2], filters, tuple(signals[0].shape))
    _draw_filters(grid[1][0], filters)
    _draw_spectrum(grid[1][1], spectrum, norm)
    return figure


def _draw(axes: Axes, channels: Sequence[Tensor], title: str, color: str) -> None:
    """Draw signals of one dimension above each other, or images side by side."""
    shown = [_real(channel) for channel in channels[:_MOST_CHANNELS]]
    if len(channels) > 1:
        title += f" ({len(channels)} channels)"
    axes.set_title(title, fontsize=_SMALL_FONT + 1)
    if shown[0].ndim == 2:
        axes.imshow(_mosaic(shown), cmap="gray", interpolation="nearest")
        axes.set_axis_off()
        return
    step = max(1, -(-shown[0].size // _MOST_POINTS))
    height = max(float(np.abs(values).max()) for values in shown) or 1.0
    for number, values in enumerate(shown):
        places = np.arange(0, values.size, step)
        # One below the other: each has room for twice the largest value.
        axes.plot(places, values[::step] - 2.0 * height * number, color=color, lw=0.6)
    axes.set_xlabel("sample", fontsize=_SMALL_FONT)
    axes.grid(alpha=0.3)


def _mosaic(images: Sequence[Array]) -> Array:
    """Return images in rows, with white between them."""
    columns = math.ceil(math.sqrt(len(images)))
    height, width = images[0].shape
    white = max(float(image.max()) for image in images)
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), white)
    for number, image in enumerate(images):
        i, j = divmod(number, columns)
        top, left = i * (height + 1), j * (width + 1)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _draw_filters(axes: Axes, found: Sequence[Tensor]) -> None:
    filters = [_real(kernel) for kernel in found[:_MOST_CHANNELS]]
    if filters[0].ndim == 2:
        _draw(axes, found, "filters found", _BLUE)
        return
    axes.set_title("filters found", fontsize=_SMALL_FONT + 1)
    for number, values in enumerate(filters):
        places = np.flatnonzero(values)
        color = (_BLUE, _ORANGE, _GREEN, _GREY)[number]
        axes.vlines(places, 0.0, values[places], color=color, lw=1.0)
        axes.plot(places, values[places], "o", color=color, markersize=3)
    axes.axhline(0.0, color=_GREY, lw=0.6)
    axes.set_xlabel("delay", fontsize=_SMALL_FONT)
    axes.grid(alpha=0.3)


def _draw_spectrum(axes: Axes, spectrum: Tensor, norm: Bracket) -> None:
    values = _real(spectrum)[:_MOST_VALUES]
    # What is below rounding says nothing.
    values = values[values >= _LEAST_VALUE * values[0]]
    axes.plot(range(1, values.size + 1), values, "o-", color=_BLUE, markersize=4)
    if values.size > 1 and float(values.min()) > 0.0:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("number", fontsize=_SMALL_FONT)
    axes.grid(alpha=0.3)
    low, high = norm.lower.value, norm.upper.value
    axes.set_title(
        "singular values of the convex solution\n"
        f"their least sum: {low:.7g} to {high:.7g} (certified)",
        fontsize=_SMALL_FONT + 1,
    )


def _draw_transfer(
    axes: Axes, filters: Sequence[Tensor], shape: tuple[int, ...]
) -> None:
    """Draw how strongly each frequency passes the filters, weakest last."""
    axes.set_title("frequencies that pass, sorted", fontsize=_SMALL_FONT + 1)
    for number, kernel in enumerate(filters[:_MOST_CHANNELS]):
        size = tuple(max(n, k) for n, k in zip(shape, kernel.shape, strict=True))
        gain = torch.fft.fftn(kernel, s=size).abs().flatten().sort(descending=True)
        values = _real(gain.values)
        step = max(1, -(-values.size // _MOST_POINTS))
        part = np.linspace(0.0, 1.0, values[::step].size)
        color = (_BLUE, _ORANGE, _GREEN, _GREY)[number]
        axes.plot(part, values[::step], color=color, lw=1.0)
    if all(float(kernel.abs().max()) > 0.0 for kernel in filters):
        axes.set_yscale("log")
    axes.set_xlabel("part of all frequencies", fontsize=_SMALL_FONT)
    axes.grid(alpha=0.3)


def _in_scale(truth: Tensor, found: Tensor) -> Tensor:
    """Return the truth times the number that brings it closest to what was found."""
    energy = torch.vdot(truth.flatten(), truth.flatten()).real
    if truth.shape != found.shape or not float(energy) > 0.0:
        return truth
    return truth * (torch.vdot(truth.flatten(), found.flatten()) / energy)


def _real(values: Tensor) -> Array:
    """Return real numbers to draw: of complex ones the absolute value."""
    real = values.abs() if values.is_complex() else values
    return real.detach().to(torch.float64).cpu().numpy()
