"""Errors while a file is read become one sentence about the file."""

import zlib
from pathlib import Path

import pyarrow as pa
import pytest

from tacit.errors import InputError, ShapeError
from tacit.recovery.readers.place import reading

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
