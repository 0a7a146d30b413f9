"""Pictures of a trajectory: its phases, and its spectrum over time."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from tacit.recovery.trajectory.recorder import Trajectory

# Inches; the width of a page's text.
_WIDTH, _ROW_HEIGHT = 6.5, 1.75
# Colours that also colour-blind people tell apart (Okabe and Ito).
_BLUE, _ORANGE, _GREEN, _PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
_GREY = "#9a9a9a"
_SHADES = {"alignment": "#56b4e9", "growth": "#e69f00", "refinement": "#009e73"}
_SHADE_ALPHA = 0.15
_SMALL_FONT = 8
_FLOOR = 1e-16  # of a panel, relative to its largest value: below is rounding
_ANGLE_FLOOR = 1e-8  # the first steps of the power iterate need no picture
_Curve = tuple[str, Tensor, str, str]  # name, values, colour, line style


def phase_figure(trajectory: Trajectory) -> Figure:
    """Draw errors, sizes and angles against the step, with the phases shaded.

    Parameters
    ----------
    trajectory : Trajectory
        Curves that are NaN throughout, for want of a known truth, are left out. In
        rectangular problems a further panel has the two factors' coupling.

    Returns
    -------
    Figure
        6.5 inches wide, built without pyplot: nothing is kept open.

    Examples
    --------
    >>> import tacit
    >>> from tacit.iterate import iterate
    >>> from tacit.recovery.descent.factored import FactoredDescent
    >>> from tacit.recovery.trajectory.figures import phase_figure
    >>> from tacit.recovery.start import small_start
    >>> from tacit.recovery.trajectory.recorder import TrajectoryRecorder
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((9, 9), 1, oversampling=4.0, is_symmetric=True,
    ...     generator=generator)
    >>> start = small_start(problem, 4, 1e-3, generator=generator)
    >>> recorder = TrajectoryRecorder(problem, start, step_size=0.2, init_scale=1e-3)
    >>> _ = iterate(problem, FactoredDescent(step_size=0.2), start, max_steps=100,
    ...     observers=[recorder])
    >>> len(phase_figure(recorder.trajectory()).axes)
    3
    """
    panels: list[tuple[str, list[_Curve]]] = [
        (
            "relative error",
            [
                ("test", trajectory.test_error, _BLUE, "-"),
                ("held out", trajectory.held_out_error, _PURPLE, "-."),
                ("train", trajectory.train_error, _ORANGE, "--"),
            ],
        ),
        ("size in the factor", _size_curves(trajectory)),
        (
            "sine of angle",
            [
                ("to the signal", trajectory.alignment, _BLUE, "-"),
                ("to the power iterate", trajectory.power_alignment, _GREEN, "--"),
            ],
        ),
    ]
    if not trajectory.is_symmetric:
        panels.append(
            (
                "two factors",
                [
                    ("imbalance", trajectory.imbalance, _ORANGE, "--"),
                    ("coupling", trajectory.coupling, _BLUE, "-"),
                ],
            )
        )
    known = [
        (label, curves)
        for label, every in panels
        if (curves := [curve for curve in every if _is_drawable(curve[1])])
    ]
    count = len(known)
    figure = Figure(figsize=(_WIDTH, _ROW_HEIGHT * count + 0.7), layout="constrained")
    every_axes: list[Axes] = list(
        figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    )
    for axes, (label, curves) in zip(every_axes, known, strict=True):
        floor = _ANGLE_FLOOR if label == "sine of angle" else _FLOOR
        _draw_curves(axes, trajectory, curves, floor)
        axes.set_ylabel(label)
    _finish(figure, every_axes, trajectory)
    return figure


def spectrum_figure(trajectory: Trajectory) -> Figure:
    """Draw the singular values of the factor against the step, on a logarithmic axis.

    Parameters
    ----------
    trajectory : Trajectory
        Its ``rank`` leading values are drawn strong, the others thin.

    Returns
    -------
    Figure
        As :func:`phase_figure`.
    """
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    steps, values = trajectory.steps.numpy(), trajectory.spectrum
    rank, count = trajectory.rank, values.shape[1]
    for i in range(count - 1, -1, -1):
        is_signal = i < rank
        label = None
        if i == 0:
            label = "largest" if rank == 1 else f"{rank} largest"
        elif i == rank:
            label = f"the other {count - rank}"
        axes.plot(
            steps,
            values[:, i].numpy(),
            color=_BLUE if is_signal else _ORANGE,
            linewidth=1.6 if is_signal else 0.7,
            alpha=1.0 if is_signal or i == rank else 0.35,
            label=label,
        )
    _set_log_scale(axes, [values.flatten()], _FLOOR)
    axes.set_ylabel(
        "singular values of $U_t$"
        if trajectory.is_symmetric
        else r"singular values of $[L_t; R_t]\,/\sqrt{2}$"
    )
    _style(axes)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1],
        labels[::-1],
        fontsize=_SMALL_FONT,
        loc="lower right",
        edgecolor="none",
        framealpha=0.85,
    )
    _finish(figure, [axes], trajectory)
    return figure


def _size_curves(trajectory: Trajectory) -> list[_Curve]:
    rank = trajectory.rank
    if _is_drawable(trajectory.signal):
        return [
            ("signal, weakest direction", trajectory.signal, _BLUE, "-"),
            ("noise, largest", trajectory.noise, _ORANGE, "--"),
        ]
    # Without the truth the spectrum shows the same two up to the angle.
    curves: list[_Curve] = [
        (f"singular value {rank}", trajectory.spectrum[:, rank - 1], _BLUE, "-")
    ]
    if rank < trajectory.spectrum.shape[1]:
        following = trajectory.spectrum[:, rank]
        curves.append((f"singular value {rank + 1}", following, _ORANGE, "--"))
    return curves


def _is_drawable(values: Tensor) -> bool:
    return bool((values.isfinite() & (values > 0.0)).any())


def _draw_curves(
    axes: Axes, trajectory: Trajectory, curves: list[_Curve], floor: float
) -> None:
    for name, values, color, style in curves:
        axes.plot(
            trajectory.steps.numpy(),
            values.numpy(),
            style,
            color=color,
            label=name,
            linewidth=1.6,
        )
    _set_log_scale(axes, [values for _, values, _, _ in curves], floor)
    _style(axes)
    axes.legend(fontsize=_SMALL_FONT, frameon=False, ncols=len(curves), loc="best")


def _set_log_scale(axes: Axes, curves: list[Tensor], floor: float) -> None:
    axes.set_yscale("log")
    inside = [c[c.isfinite() & (c > 0.0)] for c in curves]
    largest = max(float(c.max()) for c in inside if c.numel())
    smallest = min(float(c.min()) for c in inside if c.numel())
    smallest = max(smallest, floor * largest)
    if largest < 10.0 * smallest:
        middle = math.sqrt(largest * smallest)
        smallest, largest = middle / math.sqrt(10.0), middle * math.sqrt(10.0)
    room = (largest / smallest) ** 0.06
    axes.set_ylim(smallest / room, largest * room)


def _style(axes: Axes) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=_SMALL_FONT)


def _finish(figure: Figure, every_axes: list[Axes], trajectory: Trajectory) -> None:
    """Shade and name the phases, and label what the panels share."""
    first, last = int(trajectory.steps[0]), int(trajectory.steps[-1])
    last = max(last, first + 1)
    names: list[Patch] = []
    for name, phase in trajectory.phases.named():
        stop = last if phase.stop is None else phase.stop
        until = "on" if phase.stop is None else f"to {phase.stop}"
        for axes in every_axes:
            axes.axvspan(
                phase.start,
                stop,
                color=_SHADES[name],
                alpha=_SHADE_ALPHA,
                linewidth=0.0,
            )
        # Named above, not inside: a phase may be a few steps wide.
        label = f"{name}, {phase.start} {until}"
        names.append(Patch(facecolor=_SHADES[name], alpha=0.4, label=label))
    if names:
        figure.legend(
            handles=names,
            loc="outside upper center",
            ncols=len(names),
            fontsize=_SMALL_FONT,
            frameon=False,
        )
    for axes in every_axes:
        axes.set_xlim(first, last)
    every_axes[-1].set_xlabel("step")
    figure.align_ylabels(every_axes)
