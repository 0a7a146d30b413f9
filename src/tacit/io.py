"""Files written whole or not at all, and named arrays read as data, never as code."""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from tacit.errors import InputError

Array = npt.NDArray[np.float64]
AnyArray = npt.NDArray[np.generic]

_HEADER = "header"
MAX_FILE_BYTES = 2 * 2**30
_MAX_HEADER_BYTES = 2**20
_MAX_MEMBERS = 2**17
# Everything that zipfile, numpy and json raise on files made to break them.
DAMAGES = (
    zipfile.BadZipFile,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step.

    Parameters
    ----------
    path : Path
        Written through a temporary file beside it, so a reader sees the old content or
        the new one, never half of it. A link is followed.
    content : bytes
        All of it.

    Raises
    ------
    InputError
        If ``path`` is there and is no plain file (a folder, a device).
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise InputError(f"cannot write {path}: it is not a file; name another one")
    temporary = target.with_name(f".{uuid4().hex}.tmp")
    try:
        # Not by tempfile, whose files nobody else may read.
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_arrays(
    path: Path, header: Mapping[str, object], arrays: Mapping[str, AnyArray]
) -> None:
    """Write a header and arrays of numbers to ``path`` in one step.

    Parameters
    ----------
    path : Path
        As for :func:`write_bytes`.
    header : mapping
        JSON-serialisable.
    arrays : mapping of str to array
        Names other than ``"header"``. Float64 for :func:`read_arrays`;
        :func:`read_typed_arrays` reads other types of numbers too.

    Raises
    ------
    InputError
        If an array is named ``"header"``, or as :func:`write_bytes`.
    """
    if _HEADER in arrays:
        raise InputError(f"no array may be called {_HEADER!r}; name it otherwise")
    text = json.dumps(dict(header), sort_keys=True, allow_nan=False).encode()
    members: dict[str, AnyArray] = {
        _HEADER: np.frombuffer(text, dtype=np.uint8),
        # Readers refuse columns first, which a transposed array would be written as.
        **{name: np.asarray(array, order="C") for name, array in arrays.items()},
    }
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **members)
    write_bytes(path, buffer.getvalue())


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
    header, arrays = read_typed_arrays(path, ("float64",), max_bytes=max_bytes)
    return header, {name: array.astype(np.float64) for name, array in arrays.items()}


def read_typed_arrays(
    path: Path, dtypes: Sequence[str], *, max_bytes: int = MAX_FILE_BYTES
) -> tuple[dict[str, object], dict[str, AnyArray]]:
    """Read what :func:`write_arrays` wrote, every array in the type it was written in.

    Parameters
    ----------
    path : Path
        An uncompressed ``.npz`` file.
    dtypes : sequence of str
        The types of numbers accepted, such as ``"float32"``; little-endian.
    max_bytes : int
        Refuse files that hold or claim more.

    Returns
    -------
    header : dict
        The JSON header.
    arrays : dict of str to array
        Not writeable: they are views of what was read.

    Raises
    ------
    InputError
        As :func:`read_arrays`.
    """
    accepted = tuple(np.dtype(name).newbyteorder("<") for name in dtypes)
    if not path.is_file():
        raise InputError(f"cannot read {path}: there is no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked_members(archive, path.stat().st_size, max_bytes)
            header = _read_header(archive, members)
            arrays = {
                name: _read_member(archive, member, accepted)
                for name, member in members.items()
                if name != _HEADER
            }
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except DAMAGES as error:
        raise InputError(
            f"{path} is not a file of named arrays written by tacit: "
            f"{str(error) or type(error).__name__}"
        ) from None
    return header, arrays


def _checked_members(
    archive: zipfile.ZipFile, size: int, max_bytes: int
) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    total = sum(info.file_size for info in infos)
    if len(infos) > _MAX_MEMBERS or total > max_bytes:
        raise InputError(
            f"it claims {total} bytes in {len(infos)} arrays; at most {max_bytes} "
            f"bytes in {_MAX_MEMBERS} arrays are read"
        )
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED:
            raise InputError(
                f"array {info.filename!r} is compressed; it was not written by tacit"
            )
    if total > size:
        raise InputError(f"it claims {total} bytes but has {size} in all")
    members = {info.filename.removesuffix(".npy"): info for info in infos}
    if len(members) < len(infos):
        raise InputError("two of its arrays have the same name")
    return members


def _read_header(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]
) -> dict[str, object]:
    member = members.get(_HEADER)
    if member is None:
        raise InputError("it has no header; it was not written by tacit")
    if member.file_size > _MAX_HEADER_BYTES:
        raise InputError(
            f"its header claims {member.file_size} bytes; at most 1 MiB is read"
        )
    text = _read_member(archive, member, (np.dtype(np.uint8),)).tobytes()
    loaded = json.loads(text)
    if not isinstance(loaded, dict):
        raise InputError("its header is not a JSON object")
    return {str(key): value for key, value in loaded.items()}


def _read_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    accepted: Sequence[np.dtype[np.generic]],
) -> AnyArray:
    # All of it, so that its checksum is compared before anything is made of it.
    content = archive.read(member)
    file = BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise InputError(f"array {member.filename!r} has an unknown format {version}")
    shape, is_fortran, found = np.lib.format.read_array_header_1_0(file)
    if found not in accepted or is_fortran:
        names = " or ".join(dtype.name for dtype in accepted)
        raise InputError(
            f"array {member.filename!r} must hold {names} in C order; got {found}"
        )
    if math.prod(shape) * found.itemsize != len(content) - file.tell():
        raise InputError(
            f"array {member.filename!r} claims shape {shape}, which it lacks"
        )
    return np.frombuffer(content, dtype=found, offset=file.tell()).reshape(shape)
