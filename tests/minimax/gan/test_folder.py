"""The folder of a run: one process at a time, every file whole."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_runs import table_of
from tacit.errors import InputError
from tacit.minimax.gan.checkpoint import Checkpoint
from tacit.minimax.gan.folder import (
    find_checkpoint,
    locked_folder,
    save_checkpoint,
    save_samples,
    save_tables,
    writing,
)
from tacit.minimax.gan.history import LossPoint, ScorePoint, TrainingHistory

EMPTY = Checkpoint(header={"step": 1, "seconds": 0.0}, arrays={})


def test_a_folder_serves_one_run_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    with (
        locked_folder(folder),
        pytest.raises(InputError, match="another process is training"),
        locked_folder(folder),
    ):
        pass
    with locked_folder(folder):  # free again
        assert folder.is_dir()


def test_without_a_folder_nothing_is_locked() -> None:
    with locked_folder(None), locked_folder(None):
        pass


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    (tmp_path / f".{'ab' * 16}.tmp").write_bytes(b"half")
    with locked_folder(tmp_path):
        assert os.listdir(tmp_path) == [".lock"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="cannot write to"), locked_folder(path):
        pass


def test_a_full_disk_is_told_with_what_remains(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"No space left .* make room .* resume"),
        writing(tmp_path),
    ):
        raise OSError(28, "No space left on device")


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, EMPTY)
    with pytest.raises(InputError, match="holds a run already; resume it"):
        find_checkpoint(tmp_path, resume=False)
    found, notes = find_checkpoint(tmp_path, resume=True)
    assert found is not None
    assert found.step == 1
    assert not notes


def test_resuming_needs_a_folder_but_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="resume needs the folder"):
        find_checkpoint(None, resume=True)
    assert find_checkpoint(tmp_path, resume=True) == (None, [])
    assert find_checkpoint(None, resume=False) == (None, [])


def test_a_damaged_newest_checkpoint_is_noted(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, EMPTY)
    save_checkpoint(tmp_path, 2, EMPTY).write_bytes(b"")
    found, notes = find_checkpoint(tmp_path, resume=True)
    assert found is not None
    assert found.step == 1
    assert "checkpoint-00000002.npz" in notes[0]


def test_tables_are_written_anew(tmp_path: Path) -> None:
    points = [LossPoint(step=s, discriminator=0.1, generator=0.2) for s in (1, 2)]
    scores = [ScorePoint(step=1, values={"a": 3.0})]
    for count in (2, 1):
        save_tables(tmp_path, TrainingHistory(losses=points[:count], scores=scores))
    assert table_of(tmp_path / "losses.csv") == [[1.0, 0.1, 0.2]]
    assert table_of(tmp_path / "scores.csv") == [[1.0, 3.0]]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1,), (2,), (5,)])
def test_samples_are_a_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    samples = torch.linspace(-1, 1, 9 * torch.Size(shape).numel()).view(9, *shape)
    path = save_samples(tmp_path, 12, samples, samples)
    assert path.name == "samples-00000012.png"
    with Image.open(path) as picture:
        assert picture.size[0] >= 3 * 8
