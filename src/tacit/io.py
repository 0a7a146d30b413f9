"""Named arrays and a JSON header in one ``.npz`` file; read as data, never as code."""

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tacit.errors import InputError

Array = npt.NDArray[np.float64]

_HEADER = "header"
MAX_FILE_BYTES = 2 * 2**30
_MAX_HEADER_BYTES = 2**20
_MAX_MEMBERS = 2**17


def write_arrays(
    path: Path, header: Mapping[str, object], arrays: Mapping[str, Array]
) -> None:
    """Write a header and float64 arrays to ``path`` in one step.

    Parameters
    ----------
    path : Path
        Written through a temporary file beside it, so a reader sees the old content or
        the new one, never half of it.
    header : mapping
        JSON-serialisable.
    arrays : mapping of str to array
        Names other than ``"header"``.
    """
    text = json.dumps(dict(header), sort_keys=True, allow_nan=False).encode()
    members = {_HEADER: np.frombuffer(text, dtype=np.uint8), **arrays}
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, allow_pickle=False, **members)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_arrays(
    path: Path, *, max_bytes: int = MAX_FILE_BYTES
) -> tuple[dict[str, object], dict[str, Array]]:
    """Read what :func:`write_arrays` wrote.

    Parameters
    ----------
    path : Path
        An uncompressed ``.npz`` file.
    max_bytes : int
        Refuse files that hold or claim more.

    Returns
    -------
    header : dict
        The JSON header.
    arrays : dict of str to float64 array

    Raises
    ------
    InputError
        If the file is missing, not of this format, damaged, holds anything but plain
        numbers, or claims more than it contains.
    """
    if not path.is_file():
        raise InputError(f"cannot read {path}: there is no such file")
    arrays: dict[str, Array] = {}
    header: dict[str, object] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if len(members) > _MAX_MEMBERS or total > max_bytes:
                raise InputError(
                    f"{path} claims {total} bytes in {len(members)} arrays; at most "
                    f"{max_bytes} bytes in {_MAX_MEMBERS} arrays are read"
                )
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name == _HEADER:
                    header = _read_header(archive, member)
                else:
                    arrays[name] = _read_array(archive, member)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (
        zipfile.BadZipFile,
        ValueError,
        EOFError,
        OSError,
        NotImplementedError,
    ) as error:
        raise InputError(
            f"{path} is not a file of named arrays written by tacit: {error}"
        ) from None
    if not header:
        raise InputError(f"{path} has no header; it was not written by tacit")
    return header, arrays


def _read_header(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> dict[str, object]:
    if member.file_size > _MAX_HEADER_BYTES:
        raise InputError(
            f"its header claims {member.file_size} bytes; at most 1 MiB is read"
        )
    text = _read_member(archive, member, np.dtype(np.uint8)).tobytes()
    loaded = json.loads(text)
    if not isinstance(loaded, dict):
        raise InputError("its header is not a JSON object")
    return {str(key): value for key, value in loaded.items()}


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    return _read_member(archive, member, np.dtype("<f8")).astype(np.float64)


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, dtype: np.dtype[np.generic]
) -> npt.NDArray[np.generic]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise InputError(
            f"array {member.filename!r} is compressed; it was not written by tacit"
        )
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise InputError(
                f"array {member.filename!r} has an unknown format {version}"
            )
        shape, is_fortran, found = np.lib.format.read_array_header_1_0(file)
        if found != dtype or is_fortran:
            raise InputError(
                f"array {member.filename!r} must hold {dtype} in C order; got {found}"
            )
        # The claim is checked against what the file holds before memory is taken.
        if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise InputError(
                f"array {member.filename!r} claims shape {shape}, which it lacks"
            )
        return np.frombuffer(file.read(), dtype=dtype).reshape(shape)
