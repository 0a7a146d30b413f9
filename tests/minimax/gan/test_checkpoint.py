"""Checkpoint files: whole or refused, with one to fall back to."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_runs import assert_same_arrays
from tacit.errors import InputError
from tacit.io import write_arrays
from tacit.minimax.gan.checkpoint import (
    Checkpoint,
    checkpoint_paths,
    latest_checkpoint,
    read_checkpoint,
    sweep,
    write_checkpoint,
)

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "layer.0/weight": np.array([np.pi, -0.0, np.nan], dtype=np.float32),
    "stream": np.arange(256, dtype=np.uint8),
    "count": np.array(2**62 + 1),
    "double": np.array([[1e-308, np.inf]]),
}


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(header={"step": step, "seconds": 1.5, "data": {}}, arrays=ARRAYS)


def names(folder: Path) -> list[str]:
    return [path.name for path in checkpoint_paths(folder)]


def test_what_is_written_is_read_bit_by_bit(tmp_path: Path) -> None:
    found = read_checkpoint(write_checkpoint(tmp_path / "run", 3, checkpoint(3)))
    assert (found.step, found.seconds) == (3, 1.5)
    assert_same_arrays(found.arrays, ARRAYS)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        write_checkpoint(tmp_path, step, checkpoint(step))
    assert names(tmp_path) == ["checkpoint-00000100.npz", "checkpoint-00000010.npz"]


def test_the_one_before_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, step, checkpoint(step))

    def stopped(self: Path, target: Path) -> Path:
        assert len(names(tmp_path)) == 2
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_checkpoint(tmp_path, 3, checkpoint(3))
    found, notes = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 2
    assert not notes


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "replaced"])
def test_a_damaged_one_is_passed_over_and_named(tmp_path: Path, damage: str) -> None:
    for step in (1, 2):
        path = write_checkpoint(tmp_path, step, checkpoint(step))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    bad = {
        "truncated": bytes(content[: len(content) // 2]),
        "empty": b"",
        "flipped": bytes(content),
        "replaced": b"\x80\x04K\x01.",
    }
    path.write_bytes(bad[damage])
    found, notes = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(notes) == 1
    assert path.name in notes[0]
    assert "the checkpoint before it was taken" in notes[0]


def test_a_damaged_later_one_goes_when_the_run_has_gone_on(tmp_path: Path) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, step, checkpoint(step))
    (tmp_path / "checkpoint-00000009.npz").write_bytes(b"")
    write_checkpoint(tmp_path, 3, checkpoint(3))
    assert names(tmp_path) == ["checkpoint-00000003.npz", "checkpoint-00000002.npz"]


def test_if_none_is_whole_all_are_named(tmp_path: Path) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, step, checkpoint(step)).write_bytes(b"PK")
    with pytest.raises(InputError, match=r"no checkpoint .* delete them") as caught:
        latest_checkpoint(tmp_path)
    assert all(name in str(caught.value) for name in names(tmp_path))


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) == (None, ())
    assert latest_checkpoint(tmp_path / "missing") == (None, ())


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    write_arrays(path, {"format": "other"}, ARRAYS)
    with pytest.raises(InputError, match="not a checkpoint of this version"):
        read_checkpoint(path)


def test_a_type_that_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    half = {"w": np.zeros(2, dtype=np.float16)}
    with pytest.raises(InputError, match="'w' is float16"):
        write_checkpoint(tmp_path, 1, Checkpoint(header={}, arrays=half))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "header",
    [{}, {"step": -1, "seconds": -1.0, "data": []}, {"step": "1", "seconds": "x"}],
)
def test_a_header_without_meaning_is_refused(header: dict[str, object]) -> None:
    odd = Checkpoint(header=header, arrays={})
    with pytest.raises(InputError, match="step must be a count"):
        _ = odd.step
    with pytest.raises(InputError, match="time must be a number"):
        _ = odd.seconds
    with pytest.raises(InputError, match="no object 'data'"):
        odd.section("data")


def test_only_half_written_files_are_swept(tmp_path: Path) -> None:
    left = tmp_path / f".{'0a' * 16}.tmp"
    for path in (left, tmp_path / ".mine.tmp", tmp_path / "losses.csv"):
        path.write_bytes(b"")
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", "losses.csv"]
