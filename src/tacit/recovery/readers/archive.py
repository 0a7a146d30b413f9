"""Named arrays in ``.npz`` files, read as data: no pickle, no more than is there."""

import math
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tacit.errors import InputError

Member = npt.NDArray[Any]

MAX_BYTES = 16 * 2**30
"""Most bytes that the arrays of a file may have together (16 GiB)."""

_KINDS = "biufcUS"
_MAX_MEMBERS = 100
# Of the size of a compressed file; more is no measurement but a bomb.
_MAX_RATIO, _SMALL = 200, 2**28
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_MAX_HEADER, _CHUNK = 2**16, 2**24


def read_members(path: Path) -> dict[str, Member]:
    """Return the arrays of an ``.npz`` file, compressed or not.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to array
        Numbers, truth values or text; writable.

    Raises
    ------
    InputError
        If an array holds objects or records, two have one name, or the file claims
        more than it can hold.
    zipfile.BadZipFile, OSError, ValueError, and others
        If the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_claims(infos, path.stat().st_size)
        names = [info.filename.removesuffix(".npy") for info in infos]
        if len(set(names)) < len(names):
            raise InputError("two of its arrays have one name; save it again")
        return {
            name: _read_member(archive, info)
            for name, info in zip(names, infos, strict=True)
        }


def _check_claims(infos: list[zipfile.ZipInfo], size: int) -> None:
    total = sum(info.file_size for info in infos)
    is_stored = all(info.compress_type == zipfile.ZIP_STORED for info in infos)
    limit = min(size if is_stored else max(_MAX_RATIO * size, _SMALL), MAX_BYTES)
    if total > limit or len(infos) > _MAX_MEMBERS:
        raise InputError(
            f"it has {size} bytes but claims {total} in {len(infos)} arrays; at most "
            f"{limit} in {_MAX_MEMBERS} are read"
        )


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    name = info.filename
    # A buffer of our own, so that the array may be written to without a copy.
    content = bytearray(info.file_size)
    view = memoryview(content)
    with archive.open(info) as file:
        at = 0
        while at < len(content) and (chunk := file.read(_CHUNK)):
            view[at : at + len(chunk)] = chunk
            at += len(chunk)
        # The last read, at the end, is the one that compares the checksum.
        if at < len(content) or file.read(1):
            raise InputError(f"array {name!r} is not as long as the archive says")
    head = BytesIO(content[:_MAX_HEADER])
    version = np.lib.format.read_magic(head)
    if version not in _HEADERS:
        raise InputError(f"array {name!r} has an unknown format {version}")
    shape, is_fortran, dtype = _HEADERS[version](head)
    if dtype.kind not in _KINDS:
        raise InputError(
            f"array {name!r} holds {dtype}, which is never loaded; save numbers or text"
        )
    start = head.tell()
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise InputError(f"array {name!r} claims shape {shape}, which it lacks")
    flat = np.frombuffer(content, dtype=dtype, offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C")
