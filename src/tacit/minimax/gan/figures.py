"""Pictures of a training run: its losses and its scores over the steps."""

from collections.abc import Sequence
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from tacit.minimax.gan.history import TrainingHistory

# Inches; the width of a page's text.
_WIDTH, _ROW_HEIGHT = 6.5, 2.0
# Colours that also colour-blind people tell apart (Okabe and Ito).
_BLUE, _ORANGE = "#0072b2", "#d55e00"
_GREY = "#9a9a9a"
_SMALL_FONT = 8
_TITLES = {
    "frechet": "Frechet distance",
    "kernel": "kernel distance",
    "sliced_wasserstein": "sliced Wasserstein",
    "variance_ratio": "variance ratio",
}
_SPLITS = {"train": (_BLUE, "-"), "test": (_ORANGE, "--")}
_Curve = tuple[str, Sequence[int], Sequence[float], str, str]


def training_figure(history: TrainingHistory) -> Figure:
    """Draw every score, and both losses, against the step.

    Parameters
    ----------
    history : TrainingHistory
        Scores against training and held-out samples share a panel. Positive scores have
        a logarithmic axis.

    Returns
    -------
    Figure
        6.5 inches wide, built without pyplot: nothing is kept open.

    Examples
    --------
    >>> from tacit.minimax.gan.figures import training_figure
    >>> from tacit.minimax.gan.history import ScorePoint, TrainingHistory
    >>> points = [ScorePoint(step=s, values={"frechet_test": 9.0 / s}) for s in (1, 2)]
    >>> len(training_figure(TrainingHistory(scores=points)).axes)
    2
    """
    panels = _score_panels(history)
    losses = history.losses
    steps = [point.step for point in losses]
    discriminator = [point.discriminator for point in losses]
    generator = [point.generator for point in losses]
    panels.append(
        (
            "loss",
            [
                ("discriminator", steps, discriminator, _BLUE, "-"),
                ("generator", steps, generator, _ORANGE, "--"),
            ],
        )
    )
    count = len(panels)
    figure = Figure(figsize=(_WIDTH, _ROW_HEIGHT * count + 0.4), layout="constrained")
    every_axes: list[Axes] = list(
        figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    )
    for axes, (title, curves) in zip(every_axes, panels, strict=True):
        _draw(axes, title, curves)
    every_axes[-1].set_xlabel("step")
    figure.align_ylabels(every_axes)
    return figure


def scatter_png(samples: Tensor, real: Tensor) -> bytes:
    """Return a picture of the first two coordinates of samples over those of the data.

    Parameters
    ----------
    samples, real : Tensor, shape (n, d)
        On the CPU; d = 1 is drawn on a line.
    """
    figure = Figure(figsize=(4.0, 4.0), layout="constrained", dpi=100)
    axes = figure.subplots()
    for name, points, color in (("data", real, _GREY), ("samples", samples, _ORANGE)):
        axes.scatter(
            points[:, 0].numpy(),
            points[:, min(1, points.shape[1] - 1)].numpy(),
            s=4.0,
            color=color,
            label=name,
            linewidths=0.0,
        )
    # The data's frame, so that the pictures of a run can be compared.
    for set_limits, column in ((axes.set_xlim, 0), (axes.set_ylim, -1)):
        low, high = float(real[:, column].min()), float(real[:, column].max())
        room = 0.15 * (high - low) or 1.0
        set_limits(low - room, high + room)
    axes.legend(fontsize=_SMALL_FONT, loc="upper right")
    _style(axes)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _score_panels(history: TrainingHistory) -> list[tuple[str, list[_Curve]]]:
    names = list(history.scores[0].values) if history.scores else []
    panels: dict[str, list[_Curve]] = {}
    for name in names:
        kind, _, split = name.rpartition("_")
        kind, split = (kind, split) if split in _SPLITS else (name, "")
        color, style = _SPLITS.get(split, (_BLUE, "-"))
        steps, values = history.curve(name)
        curve = (f"against {split} data" if split else "", steps, values, color, style)
        panels.setdefault(_TITLES.get(kind, kind.replace("_", " ")), []).append(curve)
    return list(panels.items())


def _draw(axes: Axes, title: str, curves: Sequence[_Curve]) -> None:
    for label, steps, values, color, style in curves:
        axes.plot(
            steps,
            values,
            style,
            color=color,
            label=label or None,
            linewidth=1.4,
            marker="." if len(steps) < 2 else None,
        )
    if title != "loss" and all(v > 0.0 for curve in curves for v in curve[2]):
        axes.set_yscale("log")
    axes.set_ylabel(title)
    if any(curve[0] for curve in curves):
        axes.legend(fontsize=_SMALL_FONT, frameon=False, ncols=len(curves))
    _style(axes)


def _style(axes: Axes) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=_SMALL_FONT)
