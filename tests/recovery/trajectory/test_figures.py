"""What the figures show is what was recorded."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tacit.iterate import iterate
from tacit.recovery.descent.factored import FactoredDescent
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.start import small_start
from tacit.recovery.trajectory.figures import phase_figure, spectrum_figure
from tacit.recovery.trajectory.recorder import Trajectory, TrajectoryRecorder


def record(
    generator: torch.Generator,
    *,
    is_symmetric: bool = True,
    is_known: bool = True,
    num_steps: int = 120,
) -> Trajectory:
    shape = (12, 12) if is_symmetric else (12, 9)
    problem = planted_problem(
        shape, 2, oversampling=3.0, is_symmetric=is_symmetric, generator=generator
    )
    if not is_known:
        problem = RecoveryProblem(
            linear_map=problem.linear_map,
            measurements=problem.measurements,
            is_symmetric=is_symmetric,
        )
        problem = hold_out(problem, 0.2, generator=generator)
    start = small_start(problem, 5, 1e-3, generator=generator)
    recorder = TrajectoryRecorder(problem, start, step_size=0.2, init_scale=1e-3)
    iterate(
        problem,
        FactoredDescent(step_size=0.2),
        start,
        max_steps=num_steps,
        observers=[recorder],
    )
    return recorder.trajectory()


def lines(axes: Axes) -> dict[str, npt.NDArray[np.float64]]:
    return {
        str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.get_lines()
    }


def phase_names(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_are_those_recorded(generator: torch.Generator) -> None:
    seen = record(generator)
    errors, sizes, angles = phase_figure(seen).axes
    drawn = lines(errors) | lines(sizes) | lines(angles)
    expected = {
        "test": seen.test_error,
        "train": seen.train_error,
        "signal, weakest direction": seen.signal,
        "noise, largest": seen.noise,
        "to the signal": seen.alignment,
        "to the power iterate": seen.power_alignment,
    }
    assert drawn.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(drawn[name], values.numpy())


def test_phases_are_named_with_their_steps(generator: torch.Generator) -> None:
    seen = record(generator, num_steps=300)
    for figure in (phase_figure(seen), spectrum_figure(seen)):
        names = phase_names(figure)
        assert len(names) == len(seen.phases.named()) == 3
        for text, (name, phase) in zip(names, seen.phases.named(), strict=True):
            until = "on" if phase.stop is None else f"to {phase.stop}"
            assert text == f"{name}, {phase.start} {until}"
            for axes in figure.axes:
                edges = [
                    (p.get_x(), p.get_x() + p.get_width())
                    for p in axes.patches
                    if isinstance(p, Rectangle)
                ]
                assert (phase.start, 300 if phase.stop is None else phase.stop) in edges


def test_rectangular_runs_show_how_the_factors_agree(
    generator: torch.Generator,
) -> None:
    seen = record(generator, is_symmetric=False)
    figure = phase_figure(seen)
    assert len(figure.axes) == 4
    assert lines(figure.axes[3]).keys() == {"imbalance", "coupling"}


def test_without_the_truth_what_is_unknown_is_left_out(
    generator: torch.Generator,
) -> None:
    seen = record(generator, is_known=False, num_steps=300)
    errors, sizes = phase_figure(seen).axes
    assert lines(errors).keys() == {"held out", "train"}
    names = {f"singular value {seen.rank}", f"singular value {seen.rank + 1}"}
    assert lines(sizes).keys() == names


def test_every_singular_value_is_drawn(generator: torch.Generator) -> None:
    seen = record(generator)
    axes = spectrum_figure(seen).axes[0]
    drawn = np.sort(np.stack([line.get_ydata() for line in axes.get_lines()]), axis=0)
    np.testing.assert_array_equal(drawn[::-1].T, seen.spectrum.numpy())
    assert axes.get_yscale() == "log"
    legend = axes.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["2 largest", "the other 3"]


@pytest.mark.parametrize(
    ("num_steps", "is_symmetric"), [(0, True), (1, False), (60, True)]
)
def test_records_of_any_length_can_be_saved_without_a_window(
    num_steps: int, is_symmetric: bool, generator: torch.Generator
) -> None:
    seen = record(generator, is_symmetric=is_symmetric, num_steps=num_steps)
    before = plt.get_fignums()
    for figure in (phase_figure(seen), spectrum_figure(seen)):
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=30)
        assert buffer.getvalue().startswith(b"\x89PNG")
    assert plt.get_fignums() == before
