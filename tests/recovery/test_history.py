"""What every step looked like, over phases of different kinds."""

import math
from types import SimpleNamespace

import numpy as np
import torch

from tacit.recovery.history import HistoryRecorder
from tacit.recovery.history_figure import history_figure


def _state(width: int, **errors: float) -> SimpleNamespace:
    return SimpleNamespace(left=torch.zeros(4, width), **errors)


def _recorded() -> HistoryRecorder:
    recorder = HistoryRecorder()
    recorder.begin("small start")
    recorder(1, _state(4, train_error=0.5))
    recorder(2, _state(4))
    recorder.begin("rank 2")
    recorder(1, _state(2, train_error=0.1, held_out_error=0.2))
    return recorder


def test_steps_of_all_phases_are_kept_in_order() -> None:
    history = _recorded().history()
    assert history.phases == ((0, "small start"), (2, "rank 2"))
    assert history.ranks == (4, 4, 2)
    assert history.train_errors[0] == 0.5
    assert math.isnan(history.train_errors[1])
    assert history.held_out_errors[2] == 0.2


def test_the_picture_has_both_curves_the_phases_and_the_spectrum() -> None:
    figure = history_figure(_recorded().history(), torch.tensor([2.0, 0.5]))
    errors, spectrum = figure.axes
    curves = {line.get_label(): line for line in errors.get_lines()}
    assert np.array_equal(curves["measurements fitted"].get_ydata(), [0.5, 0.1])
    assert np.array_equal(curves["measurements held out"].get_xdata(), [3])
    assert {text.get_text() for text in errors.texts} == {"small start", "rank 2"}
    assert np.array_equal(spectrum.get_lines()[0].get_ydata(), [2.0, 0.5])
    assert errors.get_yscale() == spectrum.get_yscale() == "log"


def test_an_empty_history_and_a_vanishing_value_are_drawn() -> None:
    figure = history_figure(HistoryRecorder().history(), torch.tensor([1.0, 0.0]))
    figure.canvas.draw()
    assert figure.axes[1].get_yscale() == "linear"


def test_many_phases_are_marked_but_not_named() -> None:
    recorder = HistoryRecorder()
    for rank in range(1, 12):
        recorder.begin(f"rank {rank}")
        recorder(1, _state(rank, train_error=1.0 / rank))
    figure = history_figure(recorder.history(), torch.ones(1))
    assert not figure.axes[0].texts
