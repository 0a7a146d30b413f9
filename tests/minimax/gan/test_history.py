"""Losses and scores as tables."""

import csv

from tacit.minimax.gan.history import (
    LossPoint,
    ScorePoint,
    TrainingHistory,
    losses_csv,
    scores_csv,
)

HISTORY = TrainingHistory(
    losses=[LossPoint(step=2, discriminator=0.1 + 0.2, generator=-1e-300)],
    scores=[
        ScorePoint(step=1, values={"a": 1 / 3, "b": 2.0}),
        ScorePoint(step=9, values={"a": 4.0, "b": 5e300}),
    ],
)


def test_tables_are_read_back_exactly() -> None:
    rows = list(csv.reader(losses_csv(HISTORY).decode().splitlines()))
    assert rows[0] == ["step", "discriminator_loss", "generator_loss"]
    assert [float(cell) for cell in rows[1]] == [2.0, 0.1 + 0.2, -1e-300]
    rows = list(csv.reader(scores_csv(HISTORY).decode().splitlines()))
    assert rows[0] == ["step", "a", "b"]
    assert [[float(c) for c in row] for row in rows[1:]] == [
        [1, 1 / 3, 2],
        [9, 4, 5e300],
    ]


def test_empty_tables_have_a_header() -> None:
    assert scores_csv(TrainingHistory()) == b"step\n"
    assert losses_csv(TrainingHistory()).count(b"\n") == 1


def test_a_curve_is_one_score_over_the_steps() -> None:
    assert HISTORY.curve("a") == ([1, 9], [1 / 3, 4.0])
