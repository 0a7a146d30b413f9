"""Read entries or measurements of a matrix from a file, labels included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tacit.errors import InputError
from tacit.files import checked_file, reading
from tacit.recovery.completion.problem import completion_problem
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.readers.archive import Member, read_members
from tacit.recovery.readers.entries import Entries, make_entries
from tacit.recovery.readers.from_npz import (
    entries_from,
    is_measured,
    labels_from,
    problem_from,
)
from tacit.recovery.readers.labels import Indices, Labels, find_labels, share_labels
from tacit.recovery.readers.matrix_market import read_matrix_market
from tacit.recovery.readers.table import read_table

ACCEPTED = (
    "accepted are tables of row, column, value (.csv, .tsv, .parquet), Matrix Market "
    "files (.mtx), and arrays of entries or of measurements (.npz)"
)
_KINDS = {
    ".csv": "a CSV table",
    ".tsv": "a CSV table",
    ".parquet": "a Parquet table",
    ".npz": "an archive of arrays",
    ".mtx": "a Matrix Market file",
}
# First bytes of files that are no text.
_MAGIC = {
    b"PK\x03\x04": ".npz",
    b"PAR1": ".parquet",
    b"%%Matr": ".mtx",
    b"%%matr": ".mtx",
    b"\x1f\x8b": "gzip",
    b"\x93NUMPY": ".npy",
    b"\x89HDF": "HDF5",
    b"\x80\x02": "pickle",
    b"\x80\x03": "pickle",
    b"\x80\x04": "pickle",
    b"\x80\x05": "pickle",
}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledProblem:
    r"""A problem read from a file, and what its rows and columns are called.

    Parameters
    ----------
    problem : RecoveryProblem
    row_labels, column_labels : tuple of int, tuple of str, or None
        The label of every index; None where indices are the labels.
    names : tuple of str
        What rows, columns and values are called in the file.
    is_completion : bool
        Whether the measurements are entries.
    notes : tuple of str
        What a person should know about the reading.

    Examples
    --------
    >>> import tacit
    >>> from pathlib import Path
    >>> text = "user,film,stars\nann,Alien,5\nbob,Brazil,3\nann,Brazil,4\n"
    >>> _ = Path("stars.csv").write_text(text)
    >>> labelled = tacit.read_problem("stars.csv")
    >>> labelled.row_labels, labelled.column_labels, labelled.names
    (('ann', 'bob'), ('Alien', 'Brazil'), ('user', 'film', 'stars'))
    """

    problem: RecoveryProblem
    row_labels: Labels | None
    column_labels: Labels | None
    names: tuple[str, str, str]
    is_completion: bool
    notes: tuple[str, ...] = ()


def read_entries(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    is_symmetric: bool = False,
) -> Entries:
    r"""Return the known entries of a matrix in a file.

    Nothing in the file is executed and nothing is unpickled. Formats, by suffix:

    * ``.csv``, ``.tsv``: a table with one entry a line, in UTF-8, separated by commas,
      tabs or semicolons; with columns called row, column (or col) and value, in any
      case and among others, or with three columns in this order, where a header is
      optional.
    * ``.parquet``: the same table; labels are integers or text, values are numbers.
    * ``.npz``: arrays ``row``, ``column``, ``value`` and optionally ``shape``,
      ``row_labels``, ``column_labels``; or ``matrix``, with NaN where it is unknown
      or with a boolean ``observed`` beside it; or a matrix saved by
      ``scipy.sparse.save_npz``. Indices start from 0.
    * ``.mtx``: a Matrix Market file, real or complex.

    In tables rows and columns are known by labels: integers of at least 0, or names. A
    matrix has the rows and columns that occur, ascending by value (integers) or by code
    points (names). In the other formats they are known by their indices, and a
    ``shape`` may have rows or columns without an entry.

    Parameters
    ----------
    path : str or Path
    columns : sequence of str or None
        Names of the three columns of a table with row labels, column labels and values.
    is_symmetric : bool
        Read every entry also as its mirror image; rows and columns then have the same
        labels. Entries are stored with row <= column.

    Returns
    -------
    Entries
        Row by row; equal repetitions are merged, as its notes say.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, too large or of another kind, holds
        measurements, or an entry cannot be used: a value that is missing or not finite,
        a label that is missing, negative or a fraction, an index out of range, the same
        entry twice with different values, a single row or column.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tacit.recovery.readers.read import read_entries
    >>> table = "who,what,stars\nbob,film,4\nann,play,2\nann,film,5\n"
    >>> _ = Path("stars.csv").write_text(table)
    >>> entries = read_entries("stars.csv")
    >>> entries.shape, entries.row_labels, entries.values.tolist()
    ((2, 2), ('ann', 'bob'), [5.0, 2.0, 4.0])
    """
    file = _checked(Path(path))
    suffix = file.suffix.lower()
    _require_table(suffix, columns)
    with reading(file, _KINDS[suffix]):
        if suffix == ".npz":
            members = read_members(file)
            if is_measured(members):
                raise InputError("it holds measurements; read it with read_problem")
            return entries_from(members, is_symmetric=is_symmetric)
        if suffix == ".mtx":
            return read_matrix_market(file, is_symmetric=is_symmetric)
        return _entries_of_table(file, columns, is_symmetric=is_symmetric)


def read_problem(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    is_symmetric: bool = False,
) -> LabelledProblem:
    r"""Return the problem of recovering the matrix behind a file.

    Parameters
    ----------
    path : str or Path
        Entries as for :func:`read_entries`, or measurements :math:`y_i = \sum_{jk}
        A_{ijk} X_{jk}` as an ``.npz`` file with ``measurements`` of shape ``(m,)`` and
        ``measurement_matrix`` of one of the shapes

        * ``(m, num_rows, num_columns)``;
        * ``(m, num_rows * num_columns)``, with ``shape = (num_rows, num_columns)``;
        * ``(m, n (n + 1) / 2)`` for a symmetric matrix: the upper triangle row by row,
          off-diagonal entries times sqrt(2) (real only).

        Both may be complex. ``row_labels`` and ``column_labels`` are optional.
    columns : sequence of str or None
        As for :func:`read_entries`.
    is_symmetric : bool
        Whether the matrix is symmetric (Hermitian) positive semidefinite.

    Returns
    -------
    LabelledProblem

    Raises
    ------
    InputError
        As :func:`read_entries`, or if the sizes of measurements disagree.

    Examples
    --------
    >>> import numpy as np
    >>> from tacit.recovery.readers.read import read_problem
    >>> np.savez("traces.npz", measurements=[1.0, 3.0],
    ...     measurement_matrix=[np.eye(2), np.ones((2, 2))])
    >>> labelled = read_problem("traces.npz")
    >>> labelled.problem.linear_map.spec.in_shape, labelled.is_completion
    ((2, 2), False)
    """
    file = _checked(Path(path))
    if file.suffix.lower() == ".npz":
        _require_table(".npz", columns)
        with reading(file, _KINDS[".npz"]):
            members = read_members(file)
            if is_measured(members):
                return _measured(members, is_symmetric=is_symmetric)
            return _labelled(entries_from(members, is_symmetric=is_symmetric))
    return _labelled(read_entries(file, columns=columns, is_symmetric=is_symmetric))


def read_pairs(path: str | Path, labelled: LabelledProblem) -> tuple[Indices, Indices]:
    r"""Return the indices of the entries that a table asks for.

    Parameters
    ----------
    path : str or Path
        A ``.csv``, ``.tsv`` or ``.parquet`` table of row and column labels: columns of
        the names that they have in the problem's own file, or called row and column,
        or two columns in this order.
    labelled : LabelledProblem
        Knows the labels.

    Returns
    -------
    rows, columns : int64 array
        In the order of the table, repetitions included.

    Raises
    ------
    InputError
        If the file cannot be read, or a label is none of the problem's.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tacit.recovery.readers.read import read_pairs, read_problem
    >>> _ = Path("stars.csv").write_text("ann,film,5\nann,play,2\nbob,film,4\n")
    >>> labelled = read_problem("stars.csv")
    >>> _ = Path("asked.csv").write_text("bob,play\n")
    >>> rows, columns = read_pairs("asked.csv", labelled)
    >>> rows.tolist(), columns.tolist()
    ([1], [1])
    """
    file = _checked(Path(path))
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise InputError(f"{file} must be a table: .csv, .tsv or .parquet")
    with reading(file, _KINDS[suffix]):
        table = read_table(file, None, num_columns=2, usual=labelled.names[:2])
        sides = zip(
            ("row", "column"),
            (table.rows, table.columns),
            (labelled.row_labels, labelled.column_labels),
            labelled.problem.linear_map.in_shape,
            strict=True,
        )
        rows, columns = (
            find_labels(axis, coded.labels, labels, size)[coded.codes]
            for axis, coded, labels, size in sides
        )
    return rows, columns


def _measured(members: Mapping[str, Member], *, is_symmetric: bool) -> LabelledProblem:
    problem = problem_from(members, is_symmetric=is_symmetric)
    rows, columns = labels_from(
        members, problem.linear_map.in_shape, is_symmetric=is_symmetric
    )
    return LabelledProblem(
        problem=problem,
        row_labels=rows,
        column_labels=columns,
        names=("row", "column", "value"),
        is_completion=False,
    )


def _labelled(entries: Entries) -> LabelledProblem:
    problem = completion_problem(
        entries.rows,
        entries.columns,
        entries.values,
        entries.shape,
        is_symmetric=entries.is_symmetric,
    )
    return LabelledProblem(
        problem=problem,
        row_labels=entries.row_labels,
        column_labels=entries.column_labels,
        names=entries.names,
        is_completion=True,
        notes=entries.notes,
    )


def _entries_of_table(
    file: Path, columns: Sequence[str] | None, *, is_symmetric: bool
) -> Entries:
    table = read_table(file, columns, num_columns=3)
    rows, others = table.rows, table.columns
    if is_symmetric:
        rows, others = share_labels(rows, others)
    row, column, value = table.names
    return make_entries(
        rows.codes,
        others.codes,
        table.values,
        shape=(len(rows.labels), len(others.labels)),
        row_labels=rows.labels,
        column_labels=others.labels,
        names=(row, column, value),
        is_symmetric=is_symmetric,
    )


def _require_table(suffix: str, columns: Sequence[str] | None) -> None:
    if columns is not None and suffix in (".npz", ".mtx"):
        raise InputError(f"columns are for tables, not for {suffix}; leave them out")


def _checked(file: Path) -> Path:
    """Return the path of a file that is what its suffix says, as far as one can see."""
    suffix = checked_file(file, _KINDS, ACCEPTED).suffix.lower()
    try:
        with file.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")
    # A table may begin with any letters, but has no zeros.
    if kind not in ("", suffix) and (kind == ".mtx" or b"\x00" in head):
        raise InputError(f"{file} is not {_KINDS[suffix]} but looks like {kind}")
    return file
