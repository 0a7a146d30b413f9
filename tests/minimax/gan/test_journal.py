"""The record of a run, and that it goes on where it stopped."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tacit.errors import InputError
from tacit.minimax.gan.checkpoint import Checkpoint
from tacit.minimax.gan.events import Noted, TrainingEvent
from tacit.minimax.gan.history import ScorePoint
from tacit.minimax.gan.journal import Journal


def add(journal: Journal, *values: float) -> None:
    for value in values:
        journal.add_losses(torch.tensor(value), torch.tensor(-value))


def saved(journal: Journal) -> Checkpoint:
    return Checkpoint(header=journal.header(), arrays=journal.arrays())


def filled() -> Journal:
    journal = Journal(())
    add(journal, 1.0, 2.0)
    point = journal.mean_loss(2)
    assert point is not None
    journal.close_losses(point)
    journal.add_scores(ScorePoint(step=2, values={"a": 0.1, "b": 1e300}))
    journal.note(2, "something happened")
    add(journal, 5.0)
    return journal


def test_losses_are_averaged_and_then_forgotten() -> None:
    journal = filled()
    assert journal.pending().tolist() == [[5.0, -5.0]]
    (point,) = journal.history.losses
    assert (point.step, point.discriminator, point.generator) == (2, 1.5, -1.5)
    assert (journal.last_loss_step, journal.last_score_step) == (2, 2)
    assert Journal(()).mean_loss(0) is None
    assert Journal(()).last_loss_step is None
    assert Journal(()).last_score_step is None


def test_looking_at_pending_losses_does_not_change_their_mean() -> None:
    one, other = Journal(()), Journal(())
    for value in (0.1, 0.7, 0.9):
        add(one, value)
        add(other, value)
        other.pending()
    first, second = one.mean_loss(3), other.mean_loss(3)
    assert first is not None
    assert second is not None
    assert first.discriminator == second.discriminator
    singles = [np.float64(np.float32(v)) for v in (0.1, 0.7, 0.9)]
    assert first.discriminator == pytest.approx(np.mean(singles), rel=1e-15)


def test_a_restored_record_goes_on() -> None:
    journal, other = filled(), Journal(())
    other.restore(saved(journal))
    for each in (journal, other):
        add(each, 8.0)
    assert torch.equal(other.pending(), journal.pending())
    assert other.notes == ("something happened",)
    assert other.history.scores[0].values == {"a": 0.1, "b": 1e300}
    assert other.history.losses[0].discriminator == 1.5
    one, two = saved(journal), saved(other)
    assert one.header == two.header
    for name, array in one.arrays.items():
        assert array.tobytes() == two.arrays[name].tobytes()


def test_an_empty_record_is_restored_too() -> None:
    other = filled()
    other.restore(saved(Journal(())))
    assert not other.history.losses
    assert not other.history.scores
    assert other.pending().shape == (0, 2)


def widen(header: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["history/losses"] = np.zeros((1, 4))


def flatten(header: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["history/pending"] = np.zeros(2, dtype=np.float32)


def forget(header: dict[str, Any], arrays: dict[str, Any]) -> None:
    header["score_names"] = ["a"]


def break_notes(header: dict[str, Any], arrays: dict[str, Any]) -> None:
    header["notes"] = "text"


@pytest.mark.parametrize("damage", [widen, flatten, forget, break_notes])
def test_a_record_of_another_form_is_refused(
    damage: Callable[[dict[str, Any], dict[str, Any]], None],
) -> None:
    checkpoint = saved(filled())
    header, arrays = dict(checkpoint.header), dict(checkpoint.arrays)
    damage(header, arrays)
    with pytest.raises(InputError, match=r"not written by tacit|no list 'notes'"):
        Journal(()).restore(Checkpoint(header=header, arrays=arrays))


def test_notes_are_told_and_some_only_once() -> None:
    events: list[TrainingEvent] = []
    journal = Journal([events.append, events.append])
    journal.note(1, "the loss is low since step 1", once="loss is low")
    journal.note(2, "the loss is low since step 2", once="loss is low")
    journal.note(3, None)
    assert journal.notes == ("the loss is low since step 1",)
    assert len(events) == 2
    assert all(isinstance(event, Noted) for event in events)
