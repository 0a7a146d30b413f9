"""What a result shows."""

import numpy as np
import pytest
import torch

from tacit.minimax.find import find_saddle
from tacit.minimax.mean_matching import draw_start, random_game
from tacit.minimax.quadratic import bilinear_game


def test_the_figure_has_the_run_and_the_predicted_rate(
    generator: torch.Generator,
) -> None:
    game = random_game(60, 5, 3, 12, generator=generator)
    result = find_saddle(game, draw_start(game, generator=generator))
    (axes,) = result.plot().axes
    measured, predicted = axes.lines
    assert np.asarray(measured.get_ydata()).tolist() == list(result.history)
    heights = np.asarray(predicted.get_ydata(), dtype=np.float64)
    assert heights[1] / heights[0] == pytest.approx(result.predicted_rate)
    assert axes.get_title() == "zero-value saddle"


def test_a_run_without_steps_can_be_drawn() -> None:
    game = bilinear_game(torch.eye(2).double())
    start = (torch.zeros(2).double(), torch.zeros(2).double())
    result = find_saddle(game, start)
    assert result.num_steps == 0
    assert result.plot().axes[0].get_xlabel() == "step"
