"""Errors while a file is read become one sentence about the file."""

import zlib
from pathlib import Path

import pyarrow as pa
import pytest

from tacit import files
from tacit.errors import InputError, ShapeError
from tacit.files import checked_file, reading

PATH = Path("some.csv")


@pytest.mark.parametrize("error", [InputError("no row"), ShapeError("no row")])
def test_our_own_errors_keep_their_text(error: Exception) -> None:
    with pytest.raises(InputError, match=r"^some\.csv: no row$"), reading(PATH, "a"):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        pa.ArrowInvalid("a\n  b"),
        pa.ArrowNotImplementedError("a b"),
        OSError("a b"),
        zlib.error("a b"),
        MemoryError("a b"),
        RuntimeError("a b"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "a b"),
    ],
)
def test_errors_of_packages_become_one_line(error: Exception) -> None:
    with pytest.raises(InputError) as caught, reading(PATH, "a table"):
        raise error
    text = str(caught.value)
    assert text.startswith("some.csv cannot be read as a table: ")
    assert "a b" in text
    assert "\n" not in text


def test_an_error_without_text_has_its_name_and_a_long_one_is_cut() -> None:
    with (
        pytest.raises(InputError, match=r"a table: EOFError$"),
        reading(PATH, "a table"),
    ):
        raise EOFError
    with pytest.raises(InputError) as caught, reading(PATH, "a table"):
        raise ValueError("x" * 10_000)
    assert len(str(caught.value)) < 400


def test_ctrl_c_and_bugs_are_not_errors_of_the_file() -> None:
    with pytest.raises(KeyboardInterrupt), reading(PATH, "a table"):
        raise KeyboardInterrupt
    with pytest.raises(NameError), reading(PATH, "a table"):
        raise NameError


def test_a_file_worth_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tmp_path / "a.NPZ"
    good.write_bytes(b"12345")
    assert checked_file(good, {".npz"}, "accepted are arrays") == good
    empty = tmp_path / "b.npz"
    empty.touch()
    cases = [
        (tmp_path / "none.npz", "does not exist; check the path"),
        (tmp_path, "is not a file; accepted are arrays"),
        (empty, "is empty; accepted are arrays"),
    ]
    for path, text in cases:
        with pytest.raises(InputError, match=text):
            checked_file(path, {".npz"}, "accepted are arrays")
    with pytest.raises(InputError, match=r"unknown suffix '\.npz'; accepted"):
        checked_file(good, {".csv"}, "accepted are tables")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 4)
    with pytest.raises(InputError, match="has 5 bytes; at most 4 are read"):
        checked_file(good, {".npz"}, "accepted are arrays")
