"""The picture of a recovery: errors over the steps, and the spectrum of the answer."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from tacit.recovery.history import History

_SIZE = (9.0, 3.6)  # inches
# Colours that also colour-blind people tell apart (Okabe and Ito).
_TRAIN, _HELD_OUT, _SPECTRUM = "#0072b2", "#d55e00", "#009e73"
_SMALL_FONT = 8
_MOST_LABELS = 8  # phases named in the picture


def history_figure(history: History, spectrum: Tensor) -> Figure:
    """Draw what every step did, and the singular values of the answer.

    Parameters
    ----------
    history : History
    spectrum : Tensor, shape (rank,)
        Singular values, largest first.

    Returns
    -------
    Figure
        Errors over the steps with the phases marked, beside the spectrum.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    _draw_errors(left, history)
    values = [float(value) for value in spectrum]
    right.plot(range(1, len(values) + 1), values, "o-", color=_SPECTRUM, markersize=4)
    if min(values) > 0.0:
        right.set_yscale("log")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("number")
    right.set_title("singular values of the answer", fontsize=_SMALL_FONT + 1)
    right.grid(alpha=0.3)
    return figure


def _draw_errors(axes: Axes, history: History) -> None:
    for name, values, color in (
        ("measurements fitted", history.train_errors, _TRAIN),
        ("measurements held out", history.held_out_errors, _HELD_OUT),
    ):
        steps = [i + 1 for i, value in enumerate(values) if math.isfinite(value)]
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            axes.plot(steps, finite, color=color, label=name, linewidth=1.5)
    drawn = [v for v in (*history.train_errors, *history.held_out_errors) if v > 0.0]
    if any(math.isfinite(value) for value in drawn):
        axes.set_yscale("log")
        axes.legend(fontsize=_SMALL_FONT)
    for step, name in history.phases:
        axes.axvline(step + 0.5, color="0.8", linewidth=0.8, zorder=0)
        if len(history.phases) <= _MOST_LABELS:
            axes.annotate(
                name,
                (step + 0.5, 0.02),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                rotation=90,
                fontsize=_SMALL_FONT - 1,
                color="0.35",
            )
    axes.set_xlabel("step")
    axes.set_ylabel("relative error")
    axes.grid(alpha=0.3)
    axes.set_title("errors, and where each phase begins", fontsize=_SMALL_FONT + 1)
