"""Tables with and without headers, in CSV as people write it, and in Parquet."""

import csv
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import InputError
from tacit.recovery.readers import table as module
from tacit.recovery.readers.table import Table, read_table


def table(
    content: str | bytes, folder: Path, name: str = "t.csv", **more: Any
) -> Table:
    """Return what is read from a file with this content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, more.get("names"), num_columns=more.get("num_columns", 3))


def lines(found: Table) -> list[tuple[object, object, float]]:
    """Return the lines of a table with their labels."""
    return [
        (found.rows.labels[i], found.columns.labels[j], value)
        for i, j, value in zip(
            found.rows.codes, found.columns.codes, found.values.tolist(), strict=True
        )
    ]


TWO = [(1, 2, 3.5), (4, 5, -6.0)]


@pytest.mark.parametrize(
    "content",
    [
        "row,column,value\n1,2,3.5\n4,5,-6\n",
        "1,2,3.5\n4,5,-6\n",
        "1,2,3.5\n4,5,-6",
        "ROW,Col,Value\r\n1,2,3.5\r\n\r\n4,5,-6\r\n",
        "user,film,stars\n1,2,3.5\n4,5,-6\n",
        "row;column;value\n1;2;3.5\n4;5;-6\n",
        "row\tcolumn\tvalue\n1\t2\t3.5\n4\t5\t-6\n",
        "value,note,column,row\n3.5,x,2,1\n-6,,5,4\n",
        "\ufeffrow,column,value\n1,2,3.5\n4,5,-6\n",
        "1, 2, 3.5\n4, 5, -0.6e1\n",
        '"row","column","value"\n"1","2","3.5"\n"4","5","-6"\n',
        "1.0,2,3.5\n4.0,5,-6\n",
        "row,column,value\r1,2,3.5\r4,5,-6\r",
    ],
)
def test_csv_is_read_as_people_write_it(content: str, tmp_path: Path) -> None:
    assert lines(table(content, tmp_path)) == TWO


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9
)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.floats(-1e300, 1e300)), min_size=1))
def test_names_and_numbers_survive_the_csv_module(
    tmp_path_factory: pytest.TempPathFactory, known: list[tuple[str, str, float]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "names.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "column", "value"])
        # A name beside the drawn ones, so that none of them can be a number.
        writer.writerows([*known, ("x", "x", 0.0)])
    assert lines(read_table(path, None, num_columns=3)) == [*known, ("x", "x", 0.0)]


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    content = "when,who,what,stars\n9,ann,film,5\n8,bob,play,4\n"
    found = table(content, tmp_path, names=("who", "what", "stars"))
    assert lines(found) == [("ann", "film", 5.0), ("bob", "play", 4.0)]
    assert found.names == ("who", "what", "stars")
    with pytest.raises(InputError, match="columns when, who, what, stars; say which"):
        table(content, tmp_path)
    for names in (("who", "what", "none"), ("who", "who", "stars"), ("who", "what")):
        with pytest.raises(InputError, match="3 different ones of when, who"):
            table(content, tmp_path, names=names)


def test_the_names_of_columns_are_kept(tmp_path: Path) -> None:
    found = table("user,film,stars\n1,2,3\n", tmp_path)
    assert found.names == ("user", "film", "stars")
    assert table("1,2,3\n", tmp_path).names == ("row", "column", "value")


def test_pairs_have_no_value(tmp_path: Path) -> None:
    for content in ("row,column\na,b\n", "a,b\n", "column,z,row\nb,1,a\n"):
        found = table(content, tmp_path, num_columns=2)
        assert (found.rows.labels, found.columns.labels) == (("a",), ("b",))
        assert found.values.size == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("row,column,value\n", "there is no entry"),
        ("\n1,2,3\n", "first line is empty"),
        ("hello\nworld\n", "single field"),
        ("row,column\n1,2\n", "it has columns row, column; say which"),
        ("value,x,y\n1,2,3\n", "it has columns value, x, y; say which"),
        ("row,row,column,value\n1,2,3,4\n", "two of its columns are called 'row'"),
        ("1,2,3\n,5,6\n", "row label must have 1 to"),
        ("1,2,3\n4,-5,6\n", "column label that is an integer must be at least 0"),
        (b"r\x00o\x00", "not a text file in UTF-8"),
    ],
)
def test_bad_csv_is_refused(content: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        table(content, tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,2,3\n4,5\n", "Row #2: Expected 3 columns, got 2"),
        ("1,2,3\n4,5,x\n", "Row #2: .*invalid value 'x'"),
        ("1,2,3\n4,5,\n", "Row #2: .*invalid value ''"),
        ("1,2,3\n4,5,1+2j\n", "invalid value"),
        ("1,2,3\n4,5,0x10\n", "invalid value"),
        (b"1,2,3\n\xff,5,6\n", "invalid UTF8"),
    ],
)
def test_a_bad_line_is_named(content: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(pa.ArrowException, match=words):
        table(content, tmp_path)


# Parquet


def parquet(folder: Path, columns: dict[str, Any]) -> Path:
    """Write a Parquet file."""
    path = folder / "t.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ([1, 4], [2, 5], [3.5, -6.0]),
        (pa.array([1, 4], pa.uint8()), [2, 5], pa.array([3.5, -6], pa.float32())),
        ([1.0, 4.0], ["2", "5"], [decimal.Decimal("3.5"), decimal.Decimal("-6.0")]),
        (pa.array(["1", "4"]).dictionary_encode(), [2, 5], [3.5, -6.0]),
        (pa.array(["1", "4"], pa.large_string()), [2, 5], [3.5, -6.0]),
    ],
)
def test_parquet_is_read_whatever_its_types(
    row: Any, column: Any, value: Any, tmp_path: Path
) -> None:
    path = parquet(tmp_path, {"value": value, "row": row, "column": column})
    assert lines(read_table(path, None, num_columns=3)) == TWO


def test_parquet_in_several_groups_is_one_table(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    names = [f"n{i % 7}" for i in range(50)]
    content = pa.table({"a": names, "b": list(range(50)), "c": np.arange(50) / 8})
    pq.write_table(content, path, row_group_size=6)
    found = read_table(path, None, num_columns=3)
    wanted = list(zip(names, range(50), (np.arange(50) / 8).tolist(), strict=True))
    assert lines(found) == wanted
    assert found.names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"row": [1, None]}, "'row' lacks 1 of its 2 fields"),
        ({"value": [1.0, None]}, "'value' lacks 1"),
        ({"value": ["a", "b"]}, "'value' holds string; values must be numbers"),
        ({"value": [True, False]}, "holds bool"),
        ({"row": [True, False]}, "'row' holds bool; row labels are integers or text"),
        ({"row": [[1], [2]]}, "'row' holds list"),
        ({"row": [-1, 2]}, "at least 0; got -1"),
        ({"more": [1, 2], "row": None}, "say which"),
        ({"value": None}, "say which"),
    ],
)
def test_bad_parquet_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    columns = {"row": [1, 4], "column": [2, 5], "value": [3.5, -6.0]} | changes
    columns = {name: content for name, content in columns.items() if content}
    with pytest.raises(InputError, match=words):
        read_table(parquet(tmp_path, columns), None, num_columns=3)


def test_parquet_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    twice = pa.Table.from_arrays([pa.array([1, 2])] * 3, ["a", "b", "a"])
    pq.write_table(twice, path)
    with pytest.raises(InputError, match="two of its columns have one name"):
        read_table(path, None, num_columns=3)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_more_entries_than_fit_are_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 1)
    path = parquet(tmp_path, {"a": [1, 4], "b": [2, 5], "c": [3.5, -6.0]})
    if kind == "csv":
        path = tmp_path / "t.csv"
        path.write_text("1,2,3.5\n4,5,-6\n")
    with pytest.raises(InputError, match="it has 2 entries; at most 1 are read"):
        read_table(path, None, num_columns=3)


def test_empty_parquet_is_refused(tmp_path: Path) -> None:
    empty = pa.array([], pa.int64())
    path = parquet(tmp_path, {"a": empty, "b": empty, "c": empty})
    with pytest.raises(InputError, match="there is no entry"):
        read_table(path, None, num_columns=3)


def test_a_fraction_in_parquet_is_no_label(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"a": [1.5, 2.0], "b": [1, 2], "c": [1, 2]})
    with pytest.raises(pa.ArrowException, match=r"1\.5"):
        read_table(path, None, num_columns=3)
