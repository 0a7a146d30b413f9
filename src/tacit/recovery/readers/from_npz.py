"""What the arrays of an ``.npz`` file mean: entries, or measurements."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tacit.errors import InputError
from tacit.recovery.maps.stored import Packing, StoredMap
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.readers.archive import Member
from tacit.recovery.readers.entries import Entries, make_entries
from tacit.recovery.readers.labels import Coded, Labels, code_labels, share_labels

ACCEPTED = (
    "accepted are entries (arrays row, column, value and, if known, shape; or one "
    "matrix with NaN for unknown entries; or what scipy.sparse.save_npz writes) and "
    "measurements (arrays measurement_matrix, measurements and shape)"
)

_ROW, _COLUMN = ("row", "rows"), ("column", "columns", "col")
_VALUE = ("value", "values")


def is_measured(members: Mapping[str, Member]) -> bool:
    """Return whether the arrays are measurements and not entries.

    Parameters
    ----------
    members : mapping of str to array

    Returns
    -------
    bool
    """
    return "measurement_matrix" in members or "measurements" in members


def entries_from(members: Mapping[str, Member], *, is_symmetric: bool) -> Entries:
    """Return the entries that the arrays hold.

    Parameters
    ----------
    members : mapping of str to array
        ``row``, ``column`` and ``value`` of one length, with indices from 0 (or
        names), and optionally ``shape``, ``row_labels`` and ``column_labels``; or
        ``matrix``, with NaN where it is not known, or with a boolean ``observed``
        beside it; or a sparse matrix of scipy in coo, csr or csc format.
    is_symmetric : bool
        As in :func:`make_entries`.

    Returns
    -------
    Entries

    Raises
    ------
    InputError
        If arrays are missing or do not fit together, an index is a fraction, or as
        :func:`make_entries`.
    """
    members = _from_scipy(members) if "format" in members else members
    if "matrix" in members:
        members = _from_matrix(members)
    i, j, value = (_named(members, names) for names in (_ROW, _COLUMN, _VALUE))
    if not (i.ndim == j.ndim == value.ndim == 1 and i.size == j.size == value.size):
        raise InputError(
            "row, column and value must be vectors of one length; got shapes "
            f"{i.shape}, {j.shape} and {value.shape}"
        )
    if not i.size:
        raise InputError("there is no entry; give at least one")
    value = _numbers("value", value)
    if i.dtype.kind in "US" or j.dtype.kind in "US":
        rows, columns = _code("row", i), _code("column", j)
        if is_symmetric:
            rows, columns = share_labels(rows, columns)
        i, j = rows.codes, columns.codes
        shape = (len(rows.labels), len(columns.labels))
        labels: tuple[Labels | None, Labels | None] = (rows.labels, columns.labels)
    else:
        i, j = _indices("row", i), _indices("column", j)
        shape = _shape(members, i, j, is_symmetric=is_symmetric)
        labels = labels_from(members, shape, is_symmetric=is_symmetric)
    return make_entries(
        i,
        j,
        value,
        shape=shape,
        row_labels=labels[0],
        column_labels=labels[1],
        is_symmetric=is_symmetric,
    )


def _from_scipy(members: Mapping[str, Member]) -> dict[str, Member]:
    kind = str(np.asarray(members["format"]).astype(np.str_))
    data, shape = _named(members, ("data",)), _named(members, ("shape",))
    if kind == "coo":
        row, column = _named(members, ("row",)), _named(members, ("col",))
    elif kind in ("csr", "csc"):
        minor = _indices("indices", _named(members, ("indices",)))
        starts = _indices("indptr", _named(members, ("indptr",)))
        counts = np.diff(starts)
        if (counts < 0).any() or counts.sum() != minor.size:
            raise InputError("its indptr does not fit its indices; save it again")
        major = np.repeat(np.arange(counts.size), counts)
        row, column = (major, minor) if kind == "csr" else (minor, major)
    else:
        raise InputError(
            f"sparse format {kind!r} is not read; save it as coo, csr, csc"
        )
    return {"row": row, "column": column, "value": data, "shape": shape}


def _from_matrix(members: Mapping[str, Member]) -> dict[str, Member]:
    matrix = _numbers("matrix", members["matrix"])
    if matrix.ndim != 2:
        raise InputError(f"matrix must have two dimensions; got shape {matrix.shape}")
    observed = members.get("observed", ~np.isnan(matrix))
    if observed.dtype != np.bool_ or observed.shape != matrix.shape:
        raise InputError(
            f"observed must be boolean of shape {matrix.shape}; got {observed.dtype} "
            f"of shape {observed.shape}"
        )
    row, column = np.nonzero(observed)
    found = {
        "row": row,
        "column": column,
        "value": matrix[row, column],
        "shape": np.array(matrix.shape),
    }
    names = ("row_labels", "column_labels")
    return found | {name: members[name] for name in names if name in members}


def problem_from(
    members: Mapping[str, Member], *, is_symmetric: bool
) -> RecoveryProblem:
    r"""Return the problem of finding a matrix from measurements.

    Parameters
    ----------
    members : mapping of str to array
        ``measurements`` of shape ``(m,)`` and ``measurement_matrix`` of shape ``(m,
        num_rows, num_columns)``, or ``(m, num_rows * num_columns)`` with ``shape``, or
        ``(m, n (n + 1) / 2)`` with symmetric packing: the upper triangle row by row,
        off-diagonal entries times sqrt(2). Real or complex:
        :math:`y_i = \sum_{jk} A_{ijk} X_{jk}`.
    is_symmetric : bool
        Whether the matrix is symmetric (Hermitian) positive semidefinite.

    Returns
    -------
    RecoveryProblem
        In double precision.

    Raises
    ------
    InputError
        If arrays are missing, do not fit together, or are not finite.
    """
    matrix = _numbers("measurement_matrix", _named(members, ("measurement_matrix",)))
    values = _numbers("measurements", _named(members, ("measurements",)))
    if values.ndim != 1 or matrix.ndim not in (2, 3) or matrix.shape[0] != values.size:
        raise InputError(
            "measurements must have shape (m,) and measurement_matrix (m, size) or "
            f"(m, rows, columns); got {values.shape} and {matrix.shape}"
        )
    shape, packing = _layout(members, matrix, is_symmetric=is_symmetric)
    if min(shape) < 2:
        raise InputError(
            "a matrix needs at least two rows and two columns; got "
            f"{shape[0]} x {shape[1]}, where nothing can be inferred"
        )
    if is_symmetric and shape[0] != shape[1]:
        raise InputError(f"a symmetric matrix must be square; got {shape}")
    dtype = np.result_type(matrix, values)
    return RecoveryProblem(
        linear_map=StoredMap(
            matrix=torch.from_numpy(
                matrix.reshape(matrix.shape[0], -1).astype(dtype, copy=False)
            ),
            shape=shape,
            packing=packing,
        ),
        measurements=torch.from_numpy(values.astype(dtype, copy=False)),
        is_symmetric=is_symmetric,
    )


def _layout(
    members: Mapping[str, Member], matrix: Member, *, is_symmetric: bool
) -> tuple[tuple[int, int], Packing]:
    if matrix.ndim == 3:
        shape = (int(matrix.shape[1]), int(matrix.shape[2]))
        if "shape" in members and _pair(members) != shape:
            raise InputError(f"shape says {_pair(members)}, measurement_matrix {shape}")
        return shape, "full"
    size = int(matrix.shape[1])
    side = int((2 * size) ** 0.5)
    is_triangle = side * (side + 1) // 2 == size
    if "shape" in members:
        shape = _pair(members)
        if shape[0] * shape[1] == size:
            return shape, "full"
        is_triangle = is_triangle and shape == (side, side)
    if not is_triangle:
        raise InputError(
            f"rows of measurement_matrix have {size} numbers, which must be rows * "
            "columns of shape, or n (n + 1) / 2 of a symmetric n x n matrix; give shape"
        )
    if not is_symmetric:
        raise InputError(
            f"{size} numbers a row are those of a packed symmetric {side} x {side} "
            "matrix; say symmetric (--symmetric), or give shape for another one"
        )
    return (side, side), "symmetric"


# Arrays


def _named(members: Mapping[str, Member], names: tuple[str, ...]) -> Member:
    for name in names:
        if name in members:
            return members[name]
    raise InputError(
        f"array {names[0]!r} is missing among {', '.join(sorted(members))[:200]}; "
        f"{ACCEPTED}"
    )


def _numbers(name: str, array: Member) -> Member:
    if array.dtype.kind not in "iufc":
        raise InputError(f"{name} must be numbers; got {array.dtype}")
    is_complex = array.dtype.kind == "c"
    return array.astype(np.complex128 if is_complex else np.float64, copy=False)


def _indices(name: str, array: Member) -> Member:
    if array.dtype.kind == "f":
        bad = array[~np.isfinite(array) | (np.floor(array) != array)]
        if bad.size:
            raise InputError(f"{name} indices must be integers; got {bad.flat[0]}")
        if array.size and np.abs(array).max() > 2.0**53:
            raise InputError(f"{name} indices are too large; got {np.abs(array).max()}")
    elif array.dtype.kind not in "iu":
        raise InputError(f"{name} indices must be integers; got {array.dtype}")
    if array.dtype.kind == "u" and array.size and array.max() > 2**62:
        raise InputError(f"{name} indices are too large; got {array.max()}")
    return array.astype(np.int64, copy=False)


def _pair(members: Mapping[str, Member]) -> tuple[int, int]:
    sizes = _indices("shape", members["shape"])
    if sizes.shape != (2,):
        raise InputError(f"shape must be two numbers; got {sizes.tolist()}")
    rows, columns = sizes.tolist()
    return rows, columns


def _shape(
    members: Mapping[str, Member], i: Member, j: Member, *, is_symmetric: bool
) -> tuple[int, int]:
    if "shape" in members:
        return _pair(members)
    rows, columns = int(i.max()) + 1, int(j.max()) + 1
    if is_symmetric:
        rows = columns = max(rows, columns)
    return rows, columns


def _texts(name: str, array: Member) -> Member:
    if array.dtype.kind == "S":
        return np.strings.decode(array, "utf-8")
    if array.dtype.kind not in "Uiu":
        raise InputError(f"{name} labels must be integers or text; got {array.dtype}")
    return array


def _code(axis: str, array: Member) -> Coded:
    distinct, codes = np.unique(_texts(axis, array), return_inverse=True)
    found: list[Any] = distinct.tolist()
    return code_labels(axis, found, codes.astype(np.int64))


def labels_from(
    members: Mapping[str, Member], shape: tuple[int, int], *, is_symmetric: bool
) -> tuple[Labels | None, Labels | None]:
    """Return what the arrays ``row_labels`` and ``column_labels`` hold, if there.

    Parameters
    ----------
    members : mapping of str to array
    shape : tuple of int
        Of the matrix.
    is_symmetric : bool
        Whether both sides must have the same labels; one of them is then enough.

    Returns
    -------
    row_labels, column_labels : tuple or None

    Raises
    ------
    InputError
        If there is not one label for every index, or one is there twice.
    """
    rows, columns = (
        _labels(members, axis, size)
        for axis, size in zip(("row", "column"), shape, strict=True)
    )
    if is_symmetric:
        rows, columns = rows or columns, columns or rows
        if rows != columns:
            raise InputError(
                "row_labels and column_labels of a symmetric matrix must be equal; "
                "leave one of them out"
            )
    return rows, columns


def _labels(members: Mapping[str, Member], axis: str, size: int) -> Labels | None:
    array = members.get(f"{axis}_labels")
    if array is None:
        return None
    labels: list[Any] = _texts(axis, array).tolist()
    if array.shape != (size,) or len(set(labels)) < size:
        raise InputError(
            f"{axis}_labels must be {size} different labels; got shape {array.shape} "
            f"with {len(set(labels))} different ones"
        )
    return tuple(labels)
