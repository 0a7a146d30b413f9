"""The TensorBoard log holds what happened, read back by TensorBoard itself."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tacit.errors import InputError, Status
from tacit.minimax.gan.events import Ended, Evaluated, Progressed, Saved
from tacit.minimax.gan.tensorboard import TensorBoardObserver


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 2)])
def test_losses_scores_and_pictures_are_in_the_log(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    observer = TensorBoardObserver(tmp_path)
    observer(
        Progressed(step=50, num_steps=99, discriminator_loss=0.25, generator_loss=-0.5)
    )
    observer(Saved(step=60, path=tmp_path))
    observer(Evaluated(step=70, scores={"a": 2.0}, samples=torch.zeros(shape)))
    observer(Ended(step=99, status=Status.MAX_STEPS))
    log: Any = EventAccumulator(str(tmp_path))
    log.Reload()
    found = {
        tag: [(event.step, event.value) for event in log.Scalars(tag)]
        for tag in log.Tags()["scalars"]
    }
    assert found == {
        "loss/discriminator": [(50, 0.25)],
        "loss/generator": [(50, -0.5)],
        "score/a": [(70, 2.0)],
    }
    assert log.Tags()["images"] == (["samples"] if len(shape) == 4 else [])


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        return None

    monkeypatch.setattr("tacit.minimax.gan.tensorboard.find_spec", missing)
    assert importlib.util.find_spec("tensorboard") is not None
    with pytest.raises(InputError, match="pip install tensorboard"):
        TensorBoardObserver(tmp_path)
