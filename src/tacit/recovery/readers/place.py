"""Errors of the packages that parse files, turned into one sentence about the file."""

import csv
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tacit.errors import InputError, ShapeError
from tacit.io import DAMAGES

MAX_FILE_BYTES = 8 * 2**30
"""Largest file that is read (8 GiB)."""

_DAMAGES = (*DAMAGES, csv.Error, struct.error, zlib.error)
_MAX_REASON = 300


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
