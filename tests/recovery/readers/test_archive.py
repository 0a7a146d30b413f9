"""Arrays come out of archives as numpy put them in; nothing else comes out."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.errors import InputError
from tacit.recovery.readers import archive
from tacit.recovery.readers.archive import read_members

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "float": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big": np.arange(4, dtype=">f8"),
    "complex": np.array([1 + 2j]),
    "text": np.array(["a", "\u00e9\u00e9"]),
    "bytes": np.array([b"a", b"bc"]),
    "truth": np.array([True, False]),
    "empty": np.empty((0, 3)),
    "scalar": np.array(5),
}


def packed(folder: Path, members: dict[str, bytes], compression: int = 0) -> Path:
    """Write an archive of these members."""
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npy(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    """Return an array as numpy saves it."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_they_were(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "a.npz", **ARRAYS)
    found = read_members(tmp_path / "a.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    found["float"][0, 0] = 7.0


def test_long_headers_are_read(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a.npy": npy(np.arange(3.0), version=(2, 0))})
    assert read_members(path)["a"].tolist() == [0.0, 1.0, 2.0]


def test_objects_and_records_are_refused_unread(tmp_path: Path) -> None:
    for array in (np.array([None]), np.zeros(1, dtype=[("a", "f8")])):
        path = packed(tmp_path, {"a.npy": npy(array, allow_pickle=True)})
        with pytest.raises(InputError, match="never loaded"):
            read_members(path)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a": npy(np.ones(1)), "a.npy": npy(np.ones(1))})
    with pytest.raises(InputError, match="one name"):
        read_members(path)


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(
        tmp_path, {"a.npy": npy(np.zeros(2**17))}, compression=zipfile.ZIP_DEFLATED
    )
    assert read_members(path)["a"].shape == (2**17,)
    monkeypatch.setattr(archive, "_SMALL", 2**19)
    assert path.stat().st_size < 2**12
    with pytest.raises(InputError, match="claims 1048704 in 1 arrays"):
        read_members(path)


def test_an_archive_of_too_many_arrays_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, {f"{i}.npy": npy(np.ones(1)) for i in range(101)})
    with pytest.raises(InputError, match="in 101 arrays"):
        read_members(path)


def test_a_stored_array_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a.npy": npy(np.ones(3))})
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02") + 24  # the size unpacked, in the directory
    path.write_bytes(content[:at] + struct.pack("<I", 10**9) + content[at + 4 :])
    with pytest.raises(InputError, match="but claims 1000000000"):
        read_members(path)


@pytest.mark.parametrize("size", [100, 200])
def test_an_array_of_another_length_than_claimed_is_refused(
    size: int, tmp_path: Path
) -> None:
    content = npy(np.ones(3))
    path = packed(tmp_path, {"a.npy": content}, zipfile.ZIP_DEFLATED)
    packed_bytes = path.read_bytes()
    at = packed_bytes.index(b"PK\x01\x02") + 24
    changed = packed_bytes[:at] + struct.pack("<I", size) + packed_bytes[at + 4 :]
    path.write_bytes(changed)
    with pytest.raises((InputError, zipfile.BadZipFile)):
        read_members(path)


def test_a_shape_that_the_data_lack_is_refused(tmp_path: Path) -> None:
    content = npy(np.ones((10, 10))).replace(b"(10, 10)", b"(10, 99)")
    with pytest.raises(InputError, match="claims shape"):
        read_members(packed(tmp_path, {"a.npy": content}))


def test_an_unknown_format_and_no_format_are_refused(tmp_path: Path) -> None:
    content = npy(np.ones(1), version=(3, 0))
    with pytest.raises(InputError, match="unknown format"):
        read_members(packed(tmp_path, {"a.npy": content}))
    with pytest.raises(ValueError, match="magic"):
        read_members(packed(tmp_path, {"a.npy": b"hello, world"}))


def test_a_wrong_checksum_is_noticed(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a.npy": npy(np.ones(3))})
    content = path.read_bytes()
    one = struct.pack("<d", 1.0)
    path.write_bytes(content.replace(one, struct.pack("<d", 1.5), 1))
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        read_members(path)
