"""Files written whole or not at all, and read as data whoever prepared them."""

import json
import os
import struct
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archives import Trap
from tacit.errors import InputError
from tacit.io import read_arrays, read_typed_arrays, write_arrays, write_bytes

HEADER: dict[str, object] = {"format": "test", "numbers": [1, 2.5], "none": None}
ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3) / 7.0,
    "empty": np.zeros((0, 4)),
    "scalar": np.array(1e-308),
    "special": np.array([np.inf, -0.0, np.pi]),
}


def npy(array: np.ndarray[Any, Any], *, allow_pickle: bool = False) -> bytes:
    """Return an array as a file of its own."""
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def npy_claiming(shape: str, descr: str, content: bytes) -> bytes:
    """Return an array file whose header says anything one likes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    line = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + content


def header_of(value: object = HEADER) -> bytes:
    """Return the member that holds the JSON header."""
    return npy(np.frombuffer(json.dumps(value).encode(), dtype=np.uint8))


def archive(path: Path, members: Mapping[str, bytes], *, deflate: bool = False) -> Path:
    """Write a zip file of these members."""
    kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a place for the file under test."""
    return tmp_path / "arrays.npz"


# Writing


def test_what_is_written_is_read(path: Path) -> None:
    write_arrays(path, HEADER, ARRAYS)
    header, arrays = read_arrays(path)
    assert header == HEADER
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


TYPED = {
    "single": np.array([np.pi, -0.0, np.nan, np.inf, 1e-45], dtype=np.float32),
    "double": np.array([[np.pi], [np.nan]]),
    "whole": np.array([-(2**63), 2**63 - 1]),
    "bytes": np.arange(256, dtype=np.uint8).reshape(16, 16),
    "none": np.zeros((3, 0), dtype=np.float32),
}


def test_every_type_asked_for_comes_back_bit_by_bit(path: Path) -> None:
    write_arrays(path, HEADER, TYPED)
    header, arrays = read_typed_arrays(path, ("float32", "float64", "int64", "uint8"))
    assert header == HEADER
    assert arrays.keys() == TYPED.keys()
    for name, array in TYPED.items():
        assert (arrays[name].shape, arrays[name].dtype) == (array.shape, array.dtype)
        assert arrays[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array", [np.zeros(2, dtype=np.float16), np.zeros(2, dtype=">f4")]
)
def test_a_type_that_was_not_asked_for_is_refused(
    path: Path, array: np.ndarray[Any, Any]
) -> None:
    write_arrays(path, HEADER, {"x": array})
    with pytest.raises(InputError, match="must hold float32 or int64 in C order"):
        read_typed_arrays(path, ("float32", "int64"))


def test_numpy_reads_it_without_pickle(path: Path) -> None:
    write_arrays(path, HEADER, ARRAYS)
    with np.load(path, allow_pickle=False) as loaded:
        assert loaded["matrix"].tolist() == ARRAYS["matrix"].tolist()


def test_a_header_that_json_cannot_hold_leaves_the_old_file(path: Path) -> None:
    write_arrays(path, HEADER, ARRAYS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_arrays(path, {"value": float("nan")}, {})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_the_name_of_the_header_is_taken(path: Path) -> None:
    with pytest.raises(InputError, match="no array may be called 'header'"):
        write_arrays(path, HEADER, {"header": np.zeros(1)})


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "text"
    write_bytes(path, b"old")
    with path.open("rb") as reader:
        write_bytes(path, b"new and longer")
        assert reader.read() == b"old"  # who reads the old one reads it to its end
    assert path.read_bytes() == b"new and longer"
    assert os.listdir(tmp_path) == ["text"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_writing_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text"
    write_bytes(path, b"old")

    def stopped(self: Path, target: Path) -> Path:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopped)
        with pytest.raises(error):
            write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["text"]


def test_others_may_read_what_the_process_lets_them(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == ordinary.stat().st_mode


def test_a_link_is_followed(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_folder_and_a_device_are_not_replaced(tmp_path: Path) -> None:
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(InputError, match="is not a file"):
            write_bytes(path, b"new")
    assert not Path(os.devnull).is_file()


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_bytes(path, b"content")
    assert path.read_bytes() == b"content"


# Reading what somebody else prepared


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.npz", tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            read_arrays(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x80\x04K\x01."])
def test_what_is_no_archive_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a file of named arrays"):
        read_arrays(path)


def test_a_truncated_file_is_refused(path: Path) -> None:
    write_arrays(path, {"a": 1}, {"x": np.ones(2)})
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_arrays(path)


def test_nothing_is_unpickled(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    objects = np.array([Trap(folder)], dtype=object)
    archive(
        path,
        {"header.npy": header_of(), "x.npy": npy(objects, allow_pickle=True)},
    )
    with pytest.raises(InputError, match="must hold float64"):
        read_arrays(path)
    archive(path, {"header.npy": npy(objects, allow_pickle=True)})
    with pytest.raises(InputError, match="must hold uint8"):
        read_arrays(path)
    assert not folder.exists()


REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "no header": ({"x.npy": npy(np.ones(2))}, "has no header"),
    "header is a list": ({"header.npy": header_of([1])}, "not a JSON object"),
    "header is no JSON": (
        {"header.npy": npy(np.frombuffer(b"{", dtype=np.uint8))},
        "not a file of named arrays",
    ),
    "header without end": (
        {"header.npy": npy(np.frombuffer(b"[" * 10**5, dtype=np.uint8))},
        "not a file of named arrays",
    ),
    "header of floats": ({"header.npy": npy(np.ones(2))}, "must hold uint8"),
    "long header": (
        {"header.npy": npy(np.zeros(2**20 + 1, dtype=np.uint8))},
        "at most 1 MiB",
    ),
    "float32": (
        {"header.npy": header_of(), "x.npy": npy(np.ones(2, dtype=np.float32))},
        "must hold float64",
    ),
    "big endian": (
        {"header.npy": header_of(), "x.npy": npy(np.ones(2, dtype=">f8"))},
        "must hold float64",
    ),
    "columns first": (
        {"header.npy": header_of(), "x.npy": npy(np.asfortranarray(np.ones((2, 2))))},
        "in C order",
    ),
    "no array": ({"header.npy": header_of(), "x.npy": b"hello"}, "not a file of named"),
    "format 2": (
        {"header.npy": header_of(), "x.npy": b"\x93NUMPY\x02\x00" + b"\0" * 90},
        "unknown format",
    ),
    "claims 80 GB": (
        {"header.npy": header_of(), "x.npy": npy_claiming("(10**10,)", "'<f8'", b"")},
        "not a file of named arrays",
    ),
    "claims 8 GB": (
        {
            "header.npy": header_of(),
            "x.npy": npy_claiming("(1000000000,)", "'<f8'", b"\0" * 8),
        },
        "claims shape",
    ),
    "negative sizes": (
        {
            "header.npy": header_of(),
            "x.npy": npy_claiming("(-1, -1)", "'<f8'", b"\0" * 8),
        },
        "not a file of named arrays",
    ),
    "endless size": (
        {
            "header.npy": header_of(),
            "x.npy": npy_claiming(f"(0, {10**30})", "'<f8'", b""),
        },
        "not a file of named arrays",
    ),
    "nested type": (
        {
            "header.npy": header_of(),
            "x.npy": npy_claiming("(1,)", "[('a', 'O')]", b"\0" * 8),
        },
        "must hold float64",
    ),
    "type that is none": (
        {"header.npy": header_of(), "x.npy": npy_claiming("(1,)", "'no'", b"\0" * 8)},
        "not a file of named arrays",
    ),
    "deep header": (
        {"header.npy": header_of(), "x.npy": npy_claiming("(" * 4000, "'<f8'", b"")},
        "not a file of named arrays",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_prepared_file_is_refused_in_words(path: Path, name: str) -> None:
    members, words = REFUSED[name]
    archive(path, members)
    with pytest.raises(InputError, match=words) as caught:
        read_arrays(path)
    assert str(path) in str(caught.value)


def test_a_compressed_array_is_refused_unread(path: Path) -> None:
    zeros = npy(np.zeros(2**20))
    archive(path, {"header.npy": header_of(), "x.npy": zeros}, deflate=True)
    assert path.stat().st_size < len(zeros) / 100
    with pytest.raises(InputError, match="is compressed"):
        read_arrays(path)


def _directory_says(path: Path, offset: int, value: int) -> None:
    """Change four bytes of the last entry in the directory of an archive."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x01\x02") + offset
    content[start : start + 4] = struct.pack("<I", value)
    path.write_bytes(content)


def test_a_directory_that_claims_more_than_the_file_is_refused(path: Path) -> None:
    write_arrays(path, HEADER, ARRAYS)
    _directory_says(path, 24, 2**30)
    with pytest.raises(InputError, match="but has"):
        read_arrays(path)
    with pytest.raises(InputError, match="at most 1000 bytes"):
        read_arrays(path, max_bytes=1000)


def test_an_encrypted_array_is_refused(path: Path) -> None:
    write_arrays(path, HEADER, ARRAYS)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.rindex(mark) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        read_arrays(path)


def test_two_arrays_of_one_name_are_refused(path: Path) -> None:
    archive(path, {"header.npy": header_of(), "x.npy": npy(np.ones(1)), "x": b""})
    with pytest.raises(InputError, match="the same name"):
        read_arrays(path)


@given(st.data())
def test_a_damaged_byte_is_refused_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "arrays.npz"
    write_arrays(path, HEADER, {"x": np.array([1.0, 2.0, 3.0])})
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        header, arrays = read_arrays(path)
    except InputError:
        return
    # A byte that no reader looks at, or a name: the numbers have a checksum.
    assert header == HEADER
    assert [a.tolist() for a in arrays.values()] == [[1.0, 2.0, 3.0]]


def test_a_transposed_array_is_read_back(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3).T
    write_arrays(tmp_path / "arrays.npz", {}, {"x": array})
    assert (read_arrays(tmp_path / "arrays.npz")[1]["x"] == array).all()
