"""Arrays of every accepted meaning, of every refused one, and damaged files."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import InputError
from tacit.minimax.gan.data import arrays as module
from tacit.minimax.gan.data.arrays import array_from, read_array_file, samples_from
from tacit.rng import make_generator

SHAPE = (5, 6, 7)


def pixels(*shape: int) -> np.ndarray:
    """Return random pixels with both black and white among them."""
    drawn = torch.randint(256, shape, generator=make_generator(0, str(shape)))
    found = drawn.to(torch.uint8).numpy()
    found.flat[0], found.flat[1] = 0, 255
    return found


def npy(array: Any) -> bytearray:
    """Return an array as numpy writes it."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return bytearray(buffer.getvalue())


def write_archive(path: Path, members: dict[str, Any]) -> None:
    """Write arrays as ``numpy.savez`` does, under any names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in members.items():
            archive.writestr(f"{name}.npy", bytes(npy(array)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("is_fortran", [False, True])
def test_pixels_of_either_order(channels: int, order: str, is_fortran: bool) -> None:
    images = pixels(5, channels, 6, 7)
    given_array = images if order == "first" else images.transpose(0, 2, 3, 1)
    if is_fortran:
        given_array = np.asfortranarray(given_array)
    found = samples_from(array_from(npy(given_array)))
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found, images)


def test_three_axes_are_grey_images() -> None:
    images = pixels(*SHAPE)
    np.testing.assert_array_equal(samples_from(images), images[:, None])


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", "g"])
def test_floats_of_either_range(dtype: str) -> None:
    levels = pixels(*SHAPE) / 255.0
    found = samples_from(levels.astype(dtype))
    assert found.dtype == torch.float32
    tolerance = 2e-3 if dtype == "<f2" else 1e-6
    np.testing.assert_allclose(found, 2.0 * levels[:, None] - 1.0, atol=tolerance)
    signed = samples_from((2.0 * levels - 1.0).astype(dtype))
    np.testing.assert_allclose(signed, found, atol=tolerance)


def test_the_array_itself_stays_as_it_is() -> None:
    levels = (pixels(*SHAPE) / 255.0).astype(np.float32)
    before = levels.copy()
    samples_from(levels)
    np.testing.assert_array_equal(levels, before)


def test_vectors_are_taken_as_they_are() -> None:
    vectors = np.array([[1.0, -250.0], [3.0, 4e30]])
    found = samples_from(vectors)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, vectors.astype(np.float32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 8, 8), np.uint8), "no samples"),
        (np.zeros(9), "its shape is"),
        (np.zeros((2, 3, 8, 8, 1)), "its shape is"),
        (np.zeros((5, 2, 8, 8), np.uint8), "must be 1 or 3 channels"),
        (np.zeros((5, 3, 8, 3), np.uint8), "not both"),
        (np.zeros((5, 1, 1, 1), np.uint8), "not both"),
        (np.zeros((64, 64, 3), np.uint8), "images of 3 x 64 pixels"),
        (np.zeros((5, 3, 2, 8), np.uint8), "images of 8 x 2 pixels"),
        (np.zeros((5, 8, 8), np.uint8), "brightest pixel is 0"),
        (np.full((5, 8, 8), 16, np.uint8), "multiply it by 15"),
        (np.ones((5, 8, 8), np.uint8), "multiply it by 255"),
        (np.ones((5, 8, 8), np.int64), "int64, whose scale"),
        (np.ones((5, 8, 8), bool), "bool, whose scale"),
        (np.full((5, 8, 8), 255.0), "go from 255 to 255"),
        (np.full((5, 8, 8), -1.01), "go from -1.01"),
        (np.full((5, 8, 8), np.nan), "have no NaN"),
        (np.full((5, 8, 8), np.inf), "have no NaN"),
        (np.zeros((5, 784), np.uint8), "reshape images"),
        (np.array([[0.0, np.nan]]), "finite in float32"),
        (np.array([[0.0, np.inf]]), "finite in float32"),
        (np.array([[0.0, 1e39]]), "finite in float32"),
    ],
)
def test_what_has_no_one_meaning_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        samples_from(array)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{"a": 1}], dtype=object),
        np.array(["a"]),
        np.array([1j]),
        np.zeros(2, dtype=[("a", "f4")]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
    ],
    ids=["object", "text", "complex", "record", "date"],
)
def test_only_plain_numbers_are_loaded(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="never loaded"):
        array_from(npy(array))


def head(shape: str, version: int = 1) -> bytearray:
    """Return an array's beginning with any shape, and sixteen numbers."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return bytearray(b"\x93NUMPY" + bytes((version, 0)) + size + text + bytes(16))


@pytest.mark.parametrize("shape", ["(1000000, 1000000)", "(15,)", "(17,)", "(-16,)"])
def test_a_claim_is_compared_with_what_is_there(shape: str) -> None:
    assert array_from(head("(4, 4)")).shape == (4, 4)
    assert array_from(head("(4, 4)", 2)).shape == (4, 4)
    with pytest.raises(InputError, match="which it lacks"):
        array_from(head(shape))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InputError, match="unknown format"):
        array_from(head("(4, 4)", 9))


@pytest.mark.parametrize("name", ["images", "samples", "x_train", "anything"])
def test_an_archive_names_its_samples(name: str, tmp_path: Path) -> None:
    images = pixels(*SHAPE)
    write_archive(tmp_path / "a.npz", {name: images})
    train, test = read_array_file(tmp_path / "a.npz")
    np.testing.assert_array_equal(train, images[:, None])
    assert test is None


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_an_archive_may_hold_samples_out(write: Any, tmp_path: Path) -> None:
    images = pixels(9, 6, 7) / 255.0
    # Labels, even as objects, are not looked at.
    labels = np.array([None] * 7, dtype=object)
    write(tmp_path / "a.npz", x_train=images[:7], x_test=images[7:], y_train=labels)
    train, test = read_array_file(tmp_path / "a.npz")
    np.testing.assert_allclose(train[:, 0], 2.0 * images[:7] - 1.0, atol=1e-6)
    assert test is not None
    np.testing.assert_allclose(test[:, 0], 2.0 * images[7:] - 1.0, atol=1e-6)


def test_both_parts_are_judged_together(tmp_path: Path) -> None:
    # The held-out part alone would look as if it went from 0 to 1.
    train, test = np.full((2, 5, 5), -0.5), np.full((1, 5, 5), 0.5)
    np.savez(tmp_path / "a.npz", train=train, test=test)
    found = read_array_file(tmp_path / "a.npz").test
    assert found is not None
    assert found.unique().tolist() == [0.5]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "has no arrays"),
        ({"a": np.zeros(3), "b": np.zeros(3)}, "must be one of images.*has a, b"),
        ({"images": np.zeros(3), "train": np.zeros(3)}, "both images and train"),
        ({"train": pixels(3, 5, 5), "test": pixels(3, 5, 6)}, "shape of the others"),
        ({"train": pixels(3, 5, 5), "test": np.ones((3, 5, 5))}, "type of the others"),
    ],
)
def test_archives_that_do_not_say_what_they_hold_are_refused(
    members: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_archive(tmp_path / "a.npz", members)
    with pytest.raises(InputError, match=rf"a\.npz: .*{message}"):
        read_array_file(tmp_path / "a.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=np.zeros((2**13, 8, 8)))
    assert len(read_array_file(path).train) == 2**13
    size = path.stat().st_size
    monkeypatch.setattr(module, "_SMALL", 2**20)
    assert 200 * size < 2**22
    with pytest.raises(InputError, match=f"has {size} bytes but claims 41944[0-9]+"):
        read_array_file(path)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", bytes(npy(pixels(*SHAPE))))
        archive.writestr("images", b"")
    with pytest.raises(InputError, match="one name"):
        read_array_file(tmp_path / "a.npz")


def test_a_length_that_is_not_true_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_archive(path, {"images": pixels(*SHAPE)})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24  # where the list has the length
    (length,) = struct.unpack_from("<I", content, at)
    struct.pack_into("<I", content, at, length + 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not as long as the archive says"):
        read_array_file(path)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.npy is empty"):
        read_array_file(tmp_path / "a.npy")
    (tmp_path / "a.csv").write_bytes(b"1")
    with pytest.raises(InputError, match="unknown suffix"):
        read_array_file(tmp_path / "a.csv")


ZIPPED = io.BytesIO()
np.savez_compressed(ZIPPED, images=pixels(3, 4, 4))
FILES = {".npy": bytes(npy(pixels(3, 4, 4))), ".npz": ZIPPED.getvalue()}


@given(
    suffix=st.sampled_from(sorted(FILES)),
    at=st.integers(0, 400),
    values=st.binary(min_size=1, max_size=8),
    kept=st.integers(0, 600),
)
def test_damage_is_refused_or_harmless(
    suffix: str,
    at: int,
    values: bytes,
    kept: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = bytearray(FILES[suffix])
    content[at : at + len(values)] = values
    path = tmp_path_factory.mktemp("damaged") / f"a{suffix}"
    path.write_bytes(content[: max(kept, 1)] if kept < 300 else content)
    try:
        train, _ = read_array_file(path)
    except InputError as error:
        message = str(error)
    else:
        message = path.name
        assert train.ndim in (2, 4)
        assert bool(train.isfinite().all())
    assert path.name in message
