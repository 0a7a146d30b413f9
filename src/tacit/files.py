"""Errors of the packages that parse files, turned into one sentence about the file."""

import csv
import struct
import zlib
from collections.abc import Container, Generator
from contextlib import contextmanager
from pathlib import Path

from tacit.errors import InputError, ShapeError
from tacit.io import DAMAGES

MAX_FILE_BYTES = 8 * 2**30
"""Largest file that is read (8 GiB)."""

_DAMAGES = (*DAMAGES, csv.Error, struct.error, zlib.error)
_MAX_REASON = 300


def checked_file(file: Path, suffixes: Container[str], accepted: str) -> Path:
    """Return the path of a file that is worth opening.

    Parameters
    ----------
    file : Path
    suffixes : container of str
        Those accepted, lower-case.
    accepted : str
        The same in words, for the message.

    Raises
    ------
    InputError
        If it does not exist, is no file, has another suffix, is empty or too large.
    """
    if not file.exists():
        raise InputError(f"{file} does not exist; check the path")
    if not file.is_file():
        raise InputError(f"{file} is not a file; {accepted}")
    suffix = file.suffix.lower()
    if suffix not in suffixes:
        raise InputError(f"{file} has an unknown suffix {suffix!r}; {accepted}")
    size = file.stat().st_size
    if not size:
        raise InputError(f"{file} is empty; {accepted}")
    if size > MAX_FILE_BYTES:
        raise InputError(f"{file} has {size} bytes; at most {MAX_FILE_BYTES} are read")
    return file


@contextmanager
def reading(path: Path, kind: str) -> Generator[None, None, None]:
    """Name the file before the message of any error that its content can cause.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        What it should be, as in ``"a Parquet file"``.

    Raises
    ------
    InputError
        For every error of numpy, scipy and pyarrow too.
    """
    try:
        yield
    except (InputError, ShapeError) as error:
        raise InputError(f"{path}: {error}") from None
    except _DAMAGES as error:
        reason = (" ".join(str(error).split()) or type(error).__name__)[:_MAX_REASON]
        raise InputError(f"{path} cannot be read as {kind}: {reason}") from None
