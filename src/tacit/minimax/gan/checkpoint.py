"""Checkpoints on disk: numbers only, written whole or not at all, the last two kept."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from tacit.errors import InputError
from tacit.io import read_typed_arrays, write_arrays

CHECKPOINT_FORMAT = "tacit gan checkpoint 1"
_DTYPES = ("float32", "float64", "int64", "uint8")
_NAME = re.compile(r"checkpoint-(\d+)\.npz")
_LEFT_BEHIND = re.compile(r"\.[0-9a-f]{32}\.tmp")
_KEPT = 2  # the newest, and one to fall back to

Arrays = Mapping[str, npt.NDArray[np.generic]]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A training run at the end of a step, as data.

    Parameters
    ----------
    header : mapping
        Settings, data, step and whatever else JSON holds.
    arrays : mapping of str to array
        Everything else: float32, float64, int64 or uint8.
    """

    header: Mapping[str, object]
    arrays: Arrays

    @property
    def step(self) -> int:
        """Steps taken."""
        step = self.header.get("step")
        if not isinstance(step, int) or step < 0:
            raise InputError(f"the checkpoint's step must be a count; got {step!r}")
        return step

    @property
    def seconds(self) -> float:
        """Time taken."""
        seconds = self.header.get("seconds")
        if not isinstance(seconds, int | float) or not seconds >= 0.0:
            raise InputError(f"the checkpoint's time must be a number; got {seconds!r}")
        return float(seconds)

    def section(self, name: str) -> dict[str, object]:
        """Return one object of the header.

        Parameters
        ----------
        name : str

        Raises
        ------
        InputError
            If there is none.
        """
        section = self.header.get(name)
        if not isinstance(section, dict):
            raise InputError(f"the checkpoint's header has no object {name!r}")
        return {str(key): value for key, value in section.items()}


def checkpoint_paths(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest first.

    Parameters
    ----------
    folder : Path
        May be missing.
    """
    if not folder.is_dir():
        return []
    found = [
        (int(match[1]), path)
        for path in folder.iterdir()
        if (match := _NAME.fullmatch(path.name)) and path.is_file()
    ]
    return [path for _, path in sorted(found, reverse=True)]


def write_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, then delete all but it and the one before.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    step : int
        Steps taken; part of the file's name.
    checkpoint : Checkpoint

    Returns
    -------
    Path
        The file. Whenever the process is killed, it is there as a whole or not at all,
        and the one before is there as long as it is not.

    Raises
    ------
    InputError
        If an array is of a type that cannot be read back.
    """
    for name, array in checkpoint.arrays.items():
        if array.dtype.name not in _DTYPES:
            raise InputError(
                f"a checkpoint holds {', '.join(_DTYPES)}; {name!r} is "
                f"{array.dtype.name}; train in float32"
            )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{step:08d}.npz"
    header = {"format": CHECKPOINT_FORMAT, **checkpoint.header}
    write_arrays(path, header, checkpoint.arrays)
    # Of those after this step there are only damaged ones, which it was resumed before.
    ordered = checkpoint_paths(folder)
    for old in ordered[: ordered.index(path)] + ordered[ordered.index(path) + _KEPT :]:
        old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Parameters
    ----------
    path : Path
        A file that :func:`write_checkpoint` wrote.

    Raises
    ------
    InputError
        If it is missing, damaged, or something else.
    """
    header, arrays = read_typed_arrays(path, _DTYPES)
    if header.get("format") != CHECKPOINT_FORMAT:
        raise InputError(
            f"{path} is not a checkpoint of this version of tacit; it says "
            f"{header.get('format')!r}, not {CHECKPOINT_FORMAT!r}"
        )
    return Checkpoint(header=header, arrays=arrays)


def latest_checkpoint(folder: Path) -> tuple[Checkpoint | None, Sequence[str]]:
    """Return the newest whole checkpoint of a folder, and why newer ones are not.

    Parameters
    ----------
    folder : Path
        May be missing or empty.

    Returns
    -------
    checkpoint : Checkpoint or None
        None if the folder has no file of that name.
    notes : sequence of str
        A sentence for every newer file that could not be read.

    Raises
    ------
    InputError
        If there are checkpoints, but none is whole.
    """
    notes: list[str] = []
    for path in checkpoint_paths(folder):
        try:
            checkpoint = read_checkpoint(path)
        except InputError as error:
            notes.append(f"{error}; the checkpoint before it was taken")
        else:
            return checkpoint, notes
    if notes:
        reasons = "; ".join(
            note.removesuffix("; the checkpoint before it was taken") for note in notes
        )
        raise InputError(
            f"no checkpoint in {folder} can be read: {reasons}; delete them to train "
            "from the start, or restore the folder from a copy"
        )
    return None, ()


def sweep(folder: Path) -> None:
    """Delete half-written files that a killed run left behind.

    Parameters
    ----------
    folder : Path
        Of a run, and locked: nobody else may be writing there.
    """
    for path in folder.iterdir():
        if _LEFT_BEHIND.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
