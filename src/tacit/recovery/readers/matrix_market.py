"""Matrix Market files (``.mtx``): stored entries are the known ones.

Parsed here: a damaged file can end the process in the parser of ``scipy.io.mmread``.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import numpy.typing as npt

from tacit.errors import InputError
from tacit.recovery.readers.entries import MAX_ENTRIES, Entries, make_entries

_LAYOUTS = ("coordinate", "array")
_FIELDS = ("real", "double", "integer", "complex")
_SYMMETRIES = ("general", "symmetric", "skew-symmetric", "hermitian")
_MAX_LINE, _MAX_COMMENTS = 2**16, 10_000

_MIRRORED = (
    "both halves of a symmetric file are read: an entry that is held out can be known "
    "from its mirror image; say symmetric if the matrix is positive semidefinite"
)

Lines = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Header:
    """What the first lines say."""

    layout: str
    field: str
    symmetry: str
    shape: tuple[int, int]
    count: int

    @property
    def width(self) -> int:
        """Numbers in a line."""
        places = 2 if self.layout == "coordinate" else 0
        return places + (2 if self.field == "complex" else 1)


def read_matrix_market(path: Path, *, is_symmetric: bool) -> Entries:
    """Return the stored entries, real or complex.

    A file whose header says symmetric, skew-symmetric or hermitian stands for both
    halves of the matrix. Of an array every entry is known.

    Parameters
    ----------
    path : Path
        The file, uncompressed.
    is_symmetric : bool
        As in :func:`make_entries`.

    Returns
    -------
    Entries
        Without labels; a note warns of held-out entries whose mirror image is fitted.

    Raises
    ------
    InputError
        If the header is unknown or claims other than the file holds, the file has no
        values (a pattern), an index is a fraction, or as :func:`make_entries`.
    ValueError
        If a line is no list of numbers.
    """
    with path.open("rb") as file:
        header = _read_header(file)
        size = path.stat().st_size
        # A number and what parts it from the next take two bytes.
        if 2 * header.width * header.count > size + 1:
            raise InputError(
                f"its header claims {header.count} lines, which {size} bytes cannot "
                "hold; it is cut off or not in this format"
            )
        start = file.tell()
        if not any(chunk.strip() for chunk in iter(lambda: file.read(_MAX_LINE), b"")):
            raise InputError(f"its header claims {header.count} lines; got none")
        file.seek(start)
        lines: Lines = np.loadtxt(file, comments=None, ndmin=2)
    if lines.shape != (header.count, header.width):
        raise InputError(
            f"its header claims {header.count} lines of {header.width} numbers; got "
            f"{lines.shape[0]} of {lines.shape[1]}"
        )
    values: npt.NDArray[Any] = lines[:, -1]
    if header.field == "complex":
        values = lines[:, -2] + 1j * lines[:, -1]
    i, j = _array_places(header) if header.layout == "array" else _places(header, lines)
    if header.symmetry != "general":
        i, j, values = _mirrored(header.symmetry, i, j, values)
    found = make_entries(i, j, values, shape=header.shape, is_symmetric=is_symmetric)
    if header.symmetry == "general" or is_symmetric:
        return found
    return replace(found, notes=(_MIRRORED, *found.notes))


def _read_header(file: BinaryIO) -> _Header:
    words = file.readline(_MAX_LINE).decode("ascii", "replace").lower().split()
    if not words or words[0] != "%%matrixmarket":
        raise InputError("it does not begin with %%MatrixMarket")
    layout, field, symmetry = _checked_words(words)
    for _ in range(_MAX_COMMENTS):
        line = file.readline(_MAX_LINE)
        if not line or not (line.startswith(b"%") or not line.strip()):
            break
    else:
        raise InputError(f"it has more than {_MAX_COMMENTS} lines of comments")
    sizes = line.split()
    if len(sizes) != (3 if layout == "coordinate" else 2) or not all(
        size.isdigit() and len(size) < 19 for size in sizes
    ):
        wanted = "rows, columns, entries" if layout == "coordinate" else "rows, columns"
        raise InputError(
            f"its size line must have {wanted}; got "
            f"{line[:40].decode('ascii', 'replace').strip()!r}"
        )
    rows, columns, *rest = (int(size) for size in sizes)
    if min(rows, columns) < 2 or (symmetry != "general" and rows != columns):
        raise InputError(
            "a matrix needs at least two rows and two columns, a symmetric one as many "
            f"rows as columns; its header says {rows} x {columns}"
        )
    halves = {"general": rows * columns, "skew-symmetric": rows * (rows - 1) // 2}
    whole = halves.get(symmetry, rows * (rows + 1) // 2)
    count = rest[0] if rest else whole
    if not 1 <= count <= MAX_ENTRIES:
        raise InputError(f"it has {count} entries; 1 to {MAX_ENTRIES} are read")
    return _Header(
        layout=layout,
        field=field,
        symmetry=symmetry,
        shape=(rows, columns),
        count=count,
    )


def _checked_words(words: list[str]) -> tuple[str, str, str]:
    if len(words) != 5 or words[1] != "matrix":
        raise InputError(
            "its first line must be %%MatrixMarket matrix, layout, field, symmetry; "
            f"got {' '.join(words)[:80]!r}"
        )
    if words[3] == "pattern":
        raise InputError("it is a pattern without values; give the values too")
    accepted = (_LAYOUTS, _FIELDS, _SYMMETRIES)
    for word, known in zip(words[2:], accepted, strict=True):
        if word not in known:
            raise InputError(
                f"its first line must have one of {', '.join(known)}; got {word[:40]!r}"
            )
    layout, field, symmetry = words[2:]
    return layout, field, symmetry


def _places(header: _Header, lines: Lines) -> tuple[Any, Any]:
    places = lines[:, :2]
    # Written so that NaN fails too.
    bad = places[~((places == np.floor(places)) & (np.abs(places) < 2.0**53))]
    if bad.size:
        raise InputError(f"an index must be an integer; got {bad[0]}")
    i, j = places.astype(np.int64).T
    for axis, indices, size in zip(
        ("row", "column"), (i, j), header.shape, strict=True
    ):
        low, high = int(indices.min()), int(indices.max())
        if low < 1 or high > size:
            raise InputError(
                f"a {axis} index must be in 1..{size}; got {low if low < 1 else high}"
            )
    return i - 1, j - 1


def _array_places(header: _Header) -> tuple[Any, Any]:
    """Return the places of an array, column by column; of a symmetric one the half."""
    rows, columns = header.shape
    if header.symmetry == "general":
        j, i = np.divmod(np.arange(rows * columns), rows)
        return i, j
    j, i = np.triu_indices(rows, 1 if header.symmetry == "skew-symmetric" else 0)
    return i, j


def _mirrored(symmetry: str, i: Any, j: Any, values: Any) -> tuple[Any, Any, Any]:
    off = i != j
    mirror = values[off]
    if symmetry == "skew-symmetric":
        mirror = -mirror
    elif symmetry == "hermitian":
        mirror = np.conj(mirror)
    return (
        np.concatenate([i, j[off]]),
        np.concatenate([j, i[off]]),
        np.concatenate([values, mirror]),
    )
