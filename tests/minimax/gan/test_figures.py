"""Pictures of a run have every curve, with its name."""

import numpy as np
import pytest
import torch

from tacit.minimax.gan.figures import scatter_png, training_figure
from tacit.minimax.gan.history import LossPoint, ScorePoint, TrainingHistory

LOSSES = [LossPoint(step=s, discriminator=1.0 / s, generator=-2.0) for s in (5, 10)]
SCORES = [
    ScorePoint(
        step=s,
        values={"frechet_train": 9.0 / s, "frechet_test": 8.0 / s, "kernel_test": -0.1},
    )
    for s in (3, 6, 9)
]


def test_every_score_and_loss_is_drawn() -> None:
    axes = training_figure(TrainingHistory(losses=LOSSES, scores=SCORES)).axes
    assert [a.get_ylabel() for a in axes] == [
        "Frechet distance",
        "kernel distance",
        "loss",
    ]
    train, test = axes[0].get_lines()
    assert np.array_equal(train.get_xdata(), [3, 6, 9])
    assert np.allclose(test.get_ydata(), [8 / 3, 8 / 6, 8 / 9])
    assert axes[0].get_yscale() == "log"
    assert axes[1].get_yscale() == "linear"  # it has negative values
    assert np.allclose(axes[2].get_lines()[0].get_ydata(), [0.2, 0.1])
    assert axes[2].get_xlabel() == "step"


@pytest.mark.parametrize("num", [0, 1])
def test_a_run_that_has_hardly_begun_is_drawn(num: int) -> None:
    history = TrainingHistory(losses=LOSSES[:num], scores=SCORES[:num])
    figure = training_figure(history)
    figure.canvas.draw()
    assert len(figure.axes) == 1 + 2 * num


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_vectors_are_scattered(dimension: int, generator: torch.Generator) -> None:
    points = torch.randn(9, dimension, generator=generator)
    assert scatter_png(points, points).startswith(b"\x89PNG")
    assert scatter_png(points, torch.zeros(3, dimension)).startswith(b"\x89PNG")
