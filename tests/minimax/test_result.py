"""What a result shows."""

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
    assert list(measured.get_ydata()) == list(result.history)
    heights = predicted.get_ydata()
    assert abs(heights[1] / heights[0] - result.predicted_rate) < 1e-12
    assert axes.get_title() == "zero-value saddle"


def test_a_run_without_steps_can_be_drawn() -> None:
    game = bilinear_game(torch.eye(2).double())
    start = (torch.zeros(2).double(), torch.zeros(2).double())
    result = find_saddle(game, start)
    assert result.num_steps == 0
    assert result.plot().axes[0].get_xlabel() == "step"
