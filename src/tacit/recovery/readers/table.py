"""Tables of row, column and value: CSV and Parquet, through Arrow."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tacit.errors import InputError
from tacit.recovery.readers.entries import MAX_ENTRIES
from tacit.recovery.readers.labels import Coded, code_labels

# What the three columns may be called, in any case.
_USUAL = (("row",), ("column", "col"), ("value",))
_AXES: list[str] = ["row", "column", "value"]
_DELIMITERS = (",", "\t", ";")
_MAX_LINE, _MAX_LISTED = 2**16, 200
_NUMBER = re.compile(r"\s*[-+]?(nan|inf|infinity|\.?[0-9].*)", re.IGNORECASE)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Two columns of labels, and the values if they were asked for.

    Parameters
    ----------
    rows, columns : Coded
    values : float64 array
        Empty if only labels were read.
    names : tuple of str
        What the columns are called.
    """

    rows: Coded
    columns: Coded
    values: npt.NDArray[np.float64]
    names: tuple[str, ...]


def read_table(
    path: Path,
    names: Sequence[str] | None,
    *,
    num_columns: int,
    usual: Sequence[str] = (),
) -> Table:
    """Return row labels, column labels and, of three columns, values.

    A ``.parquet`` file is read as Parquet and any other as CSV in UTF-8, separated by
    commas, tabs or semicolons, with ``"`` around a field that contains one. A CSV file
    needs no header if it has no other columns.

    Parameters
    ----------
    path : Path
    names : sequence of str or None
        The columns to read. By default those called row, column (or col) and value,
        or all, in this order, if the file has just as many.
    num_columns : int
        3 for row, column and value, 2 for row and column.
    usual : sequence of str
        Names that are looked for before those.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        If a column is missing, a label or value is missing, a label is neither integer
        nor text, a value is no number, or the file has no line or too many.
    pyarrow.ArrowException, OSError, ValueError
        If the file is damaged.
    """
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_csv
    found, columns = read(path, names, num_columns, usual)
    if not columns[0].length():
        raise InputError("there is no entry; give at least one line")
    labels = [
        _code(axis, name, column)
        for axis, name, column in zip(_AXES[:2], found, columns, strict=False)
    ]
    values = np.empty(0)
    if num_columns == 3:
        values = _numbers(found[2], columns[2])
    return Table(rows=labels[0], columns=labels[1], values=values, names=tuple(found))


def _choose(
    present: Sequence[str],
    names: Sequence[str] | None,
    num_columns: int,
    usual: Sequence[str],
) -> list[int] | None:
    """Return the places of the columns, or None if only their order can say."""
    if names is not None:
        missing = [name for name in names if name not in present]
        if missing or len(set(names)) != num_columns or len(names) != num_columns:
            raise InputError(
                f"columns must be {num_columns} different ones of "
                f"{_listed(present)}; got {_listed(names)}"
            )
        places = [present.index(name) for name in names]
    elif usual and set(usual) <= set(present):
        places = [present.index(name) for name in usual]
    else:
        lower = [name.lower() for name in present]
        found = [
            [i for i, name in enumerate(lower) if name in known]
            for known in _USUAL[:num_columns]
        ]
        if not all(found):
            # One of the usual names in the place of another is no usual order.
            in_order = all(place in (-1, i) for i, place in enumerate(_first(found)))
            if len(present) == num_columns and in_order:
                return None
            raise InputError(
                f"it has columns {_listed(present)}; say which of them hold "
                f"{_listed(_AXES[:num_columns])} (columns=..., or --columns a,b,c)"
            )
        places = [place for place, *_ in found]
    twice = [present[i] for i in places if present.count(present[i]) > 1]
    if twice:
        raise InputError(f"two of its columns are called {twice[0]!r}; rename one")
    return places


def _first(found: Sequence[Sequence[int]]) -> list[int]:
    return [places[0] if places else -1 for places in found]


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= _MAX_LISTED else text[:_MAX_LISTED] + "..."


# CSV


def _read_csv(
    path: Path, names: Sequence[str] | None, num_columns: int, usual: Sequence[str]
) -> tuple[list[str], list[Any]]:
    delimiter, fields = _first_line(path)
    places = _choose(fields, names, num_columns, usual)
    has_header = places is not None
    if places is None:
        places = list(range(num_columns))
        # A third field that is no number can only be a name.
        has_header = num_columns == 3 and not _NUMBER.fullmatch(fields[2])
    own = [f"c{i}" for i in range(len(fields))]
    types = [pa.large_string(), pa.large_string(), pa.float64()]
    table = pa_csv.read_csv(
        path,
        # One thread, so that a message has the number of the line.
        read_options=pa_csv.ReadOptions(
            use_threads=False, column_names=own, skip_rows=int(has_header)
        ),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter),
        convert_options=pa_csv.ConvertOptions(
            include_columns=[own[i] for i in places],
            column_types={own[i]: kind for i, kind in zip(places, types, strict=False)},
            null_values=[],
            strings_can_be_null=False,
        ),
    )
    found = [fields[i] for i in places] if has_header else _AXES[:num_columns]
    _check_length(table.num_rows)
    return found, [table.column(i) for i in range(num_columns)]


def _first_line(path: Path) -> tuple[str, list[str]]:
    with path.open("rb") as file:
        line = file.readline(_MAX_LINE)
    if b"\x00" in line:
        raise InputError("it is not a text file in UTF-8; export it as CSV again")
    text = re.split("[\r\n]", line.decode("utf-8-sig"), maxsplit=1)[0]
    if not text.strip():
        raise InputError("its first line is empty; begin with a header or an entry")
    best: tuple[str, list[str]] = (",", [])
    for delimiter in _DELIMITERS:
        fields = [
            field.strip() for field in next(csv.reader([text], delimiter=delimiter))
        ]
        if len(fields) > max(len(best[1]), 1):
            best = (delimiter, fields)
    if not best[1]:
        raise InputError(
            "its first line has a single field; separate row, column, value by commas"
        )
    return best


# Parquet


def _read_parquet(
    path: Path, names: Sequence[str] | None, num_columns: int, usual: Sequence[str]
) -> tuple[list[str], list[Any]]:
    with pq.ParquetFile(path) as file:
        _check_length(file.metadata.num_rows)
        present = list(file.schema_arrow.names)
        places = _choose(present, names, num_columns, usual)
        if places is None:
            places = list(range(num_columns))
        found = [present[i] for i in places]
        if len(set(found)) < num_columns:
            raise InputError("two of its columns have one name; rename one")
        table = file.read(columns=found, use_threads=False)
    table.validate(full=True)
    return found, [table.column(name) for name in found]


def _check_length(count: int) -> None:
    if count > MAX_ENTRIES:
        raise InputError(f"it has {count} entries; at most {MAX_ENTRIES} are read")


# Columns of Arrow


def _code(axis: str, name: str, column: Any) -> Coded:
    _require_whole(name, column)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_floating(kind):
        column = column.cast(pa.int64(), safe=True)
        kind = column.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_integer(kind)):
        raise InputError(
            f"column {name!r} holds {kind}; {axis} labels are integers or text"
        )
    encoded = _one_chunk(column).dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return code_labels(axis, encoded.dictionary.to_pylist(), codes)


def _one_chunk(column: Any) -> Any:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _numbers(name: str, column: Any) -> npt.NDArray[np.float64]:
    _require_whole(name, column)
    kind = column.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        raise InputError(f"column {name!r} holds {kind}; values must be numbers")
    values = column.cast(pa.float64(), safe=False).to_numpy()
    return np.array(values, dtype=np.float64)


def _require_whole(name: str, column: Any) -> None:
    if column.null_count:
        raise InputError(
            f"column {name!r} lacks {column.null_count} of its {column.length()} "
            "fields; leave unknown entries out"
        )
