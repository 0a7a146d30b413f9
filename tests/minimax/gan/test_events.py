"""Events are facts: nobody who hears of one can change it."""

from dataclasses import FrozenInstanceError, fields
from typing import get_args

import pytest

from tacit.minimax.gan.events import Noted, TrainingEvent


def test_every_event_says_at_which_step() -> None:
    for kind in get_args(TrainingEvent):
        assert "step" in {field.name for field in fields(kind)}


def test_an_event_cannot_be_changed() -> None:
    event = Noted(step=1, text="a")
    with pytest.raises(FrozenInstanceError):
        event.step = 2  # pyright: ignore[reportAttributeAccessIssue]
