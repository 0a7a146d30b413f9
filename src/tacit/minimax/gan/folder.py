"""The folder of a run: checkpoints, tables and pictures, for one process at a time."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor

from tacit.errors import InputError
from tacit.io import write_bytes
from tacit.minimax.gan.checkpoint import (
    Checkpoint,
    checkpoint_paths,
    latest_checkpoint,
    sweep,
    write_checkpoint,
)
from tacit.minimax.gan.figures import scatter_png
from tacit.minimax.gan.grid import png_bytes, sample_grid
from tacit.minimax.gan.history import TrainingHistory, losses_csv, scores_csv

_LOCK = ".lock"
_IMAGE_DIMENSIONS = 4
_SEEN_PIXELS = 48  # sides below half of it are magnified


@contextmanager
def locked_folder(folder: Path | None) -> Generator[None, None, None]:
    """Keep other processes from training in the same folder.

    Parameters
    ----------
    folder : Path or None
        Made if it is missing. None: nothing is locked. A killed process keeps no lock.

    Raises
    ------
    InputError
        If another process holds it, or it cannot be made.
    """
    if folder is None:
        yield
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"another process is training in {folder}; wait for it, or name "
                "another folder"
            ) from None
    try:
        sweep(folder)
        yield
    finally:
        lock.release()


@contextmanager
def writing(folder: Path) -> Generator[None, None, None]:
    """Name the folder in what the system says when it cannot be written to.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        For every ``OSError`` inside.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror or error}; what was written "
            "before is whole: make room or permit it, and resume"
        ) from None


def find_checkpoint(
    folder: Path | None, *, resume: bool
) -> tuple[Checkpoint | None, list[str]]:
    """Return where a run goes on, and notes about damaged files.

    Parameters
    ----------
    folder : Path or None
    resume : bool

    Raises
    ------
    InputError
        If there is a run, and it is not to be resumed; if none of its checkpoints is
        whole; if there is no folder to resume from.
    """
    if folder is None:
        if resume:
            raise InputError("resume needs the folder of the run; name it with out")
        return None, []
    if not resume:
        if checkpoint_paths(folder):
            raise InputError(
                f"{folder} holds a run already; resume it (--resume), or name another "
                "folder"
            )
        return None, []
    checkpoint, notes = latest_checkpoint(folder)
    return checkpoint, list(notes)


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, as :func:`write_checkpoint`.

    Parameters
    ----------
    folder : Path
    step : int
    checkpoint : Checkpoint

    Raises
    ------
    InputError
        If it cannot be written; those before stay.
    """
    with writing(folder):
        return write_checkpoint(folder, step, checkpoint)


def save_tables(folder: Path, history: TrainingHistory) -> None:
    """Write ``losses.csv`` and ``scores.csv`` anew, each in one step.

    Parameters
    ----------
    folder : Path
    history : TrainingHistory

    Raises
    ------
    InputError
        If they cannot be written.
    """
    # Anew, not appended: after a kill and a resume no line is there twice.
    with writing(folder):
        write_bytes(folder / "losses.csv", losses_csv(history))
        write_bytes(folder / "scores.csv", scores_csv(history))


def save_samples(folder: Path, step: int, samples: Tensor, real: Tensor) -> Path:
    """Write ``samples-<step>.png``: a grid of images, or a scatter plot of vectors.

    Parameters
    ----------
    folder : Path
    step : int
        Steps taken.
    samples, real : Tensor, shape (n, *shape)
        On the CPU; ``real`` is drawn behind vectors only.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    path = folder / f"samples-{step:08d}.png"
    if samples.ndim == _IMAGE_DIMENSIONS:
        # Digits of 8 x 8 are made large enough to be seen.
        magnification = max(1, _SEEN_PIXELS // max(samples.shape[2:]))
        content = png_bytes(sample_grid(samples, magnification=magnification))
    else:
        content = scatter_png(samples.flatten(1), real.flatten(1))
    with writing(folder):
        write_bytes(path, content)
    return path
