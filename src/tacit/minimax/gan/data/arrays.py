r"""Images and vectors from ``.npy`` and ``.npz`` files, read as data and never run."""

import math
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.files import MAX_FILE_BYTES, checked_file, reading

SUFFIXES = {".npy": "an array", ".npz": "an archive of arrays"}
TRAIN_NAMES = ("images", "samples", "train", "train_images", "x_train")
TEST_NAMES = ("test", "test_images", "x_test")

MIN_SIDE = 4
"""Least height and width of an image; it tells images from channels too."""

_KINDS = "biuf"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_MAX_HEADER, _CHUNK, _MAX_MEMBERS = 2**16, 2**24, 1000
# Of the size of a compressed file; blank images pack well, more is a bomb.
_MAX_RATIO, _SMALL = 200, 2**28
_LARGEST = float(np.finfo(np.float32).max)
_DARK = 32  # of 255: where the brightest pixel of all images is not
_ACCEPTED = (
    "accepted are images as uint8, or as floats from 0 to 1 or from -1 to 1, of shape "
    "(num_images, height, width), (num_images, height, width, channels) or "
    "(num_images, channels, height, width), and float vectors of shape (num, dimension)"
)

Array = npt.NDArray[Any]


@final
class Arrays(NamedTuple):
    """Samples to train on, and those that the file itself holds out."""

    train: Tensor
    test: Tensor | None


def read_array_file(path: Path) -> Arrays:
    """Return the samples of a file.

    Parameters
    ----------
    path : Path
        ``.npy``, or ``.npz`` with an array of one of the names ``images``,
        ``samples``, ``train``, ``train_images``, ``x_train`` (or one array alone), and
        maybe held-out ones as ``test``, ``test_images`` or ``x_test``. Others are not
        looked at.

    Returns
    -------
    Arrays
        uint8 or float32 of shape (num, channels, height, width), or float32 of shape
        (num, dimension).

    Raises
    ------
    InputError
        If the file is damaged, claims more than it has, holds anything but plain
        numbers, or it cannot be told what they mean.
    """
    file = checked_file(path, SUFFIXES, _ACCEPTED)
    with reading(file, SUFFIXES[file.suffix.lower()]):
        if file.suffix.lower() == ".npy":
            content = bytearray(file.stat().st_size)
            with file.open("rb") as opened:
                if opened.readinto(content) != len(content):
                    raise InputError("it changed while it was read; try again")
            return Arrays(samples_from(array_from(content)), None)
        train, test = _arrays_of(file)
        if test is not None and test.dtype != train.dtype:
            raise InputError(
                f"its held-out samples must have the type of the others, {train.dtype};"
                f" they have {test.dtype}"
            )
        if test is None:
            return Arrays(samples_from(train), None)
        # Judged together: a part may have no dark or no bright pixel.
        split = len(train)
        if test.ndim != train.ndim or test.shape[1:] != train.shape[1:]:
            raise InputError(
                f"its held-out samples must have the shape of the others, "
                f"{train.shape[1:]}; they have {test.shape[1:]}"
            )
        both = samples_from(np.concatenate((train, test)))
        return Arrays(both[:split], both[split:])


def _arrays_of(file: Path) -> tuple[Array, Array | None]:
    with zipfile.ZipFile(file) as archive:
        infos = {
            info.filename.removesuffix(".npy"): info for info in archive.infolist()
        }
        if len(infos) < len(archive.infolist()) or len(infos) > _MAX_MEMBERS:
            raise InputError("two of its arrays have one name, or it has too many")
        train = _only(infos, TRAIN_NAMES)
        test = _only(infos, TEST_NAMES)
        if train is None and len(infos) == 1:
            (train,) = infos
            test = None
        if train is None:
            raise InputError(
                f"the samples must be one of {', '.join(TRAIN_NAMES)}; it has "
                f"{', '.join(sorted(infos))[:200] or 'no arrays'}"
            )
        chosen = [infos[name] for name in (train, test) if name is not None]
        _check_claims(chosen, file.stat().st_size)
        arrays = [array_from(_content(archive, info)) for info in chosen]
    return arrays[0], arrays[1] if test is not None else None


def _only(infos: dict[str, zipfile.ZipInfo], names: tuple[str, ...]) -> str | None:
    found = [name for name in names if name in infos]
    if len(found) > 1:
        raise InputError(f"it has both {found[0]} and {found[1]}; keep one of them")
    return found[0] if found else None


def _check_claims(infos: list[zipfile.ZipInfo], size: int) -> None:
    total = sum(info.file_size for info in infos)
    is_stored = all(info.compress_type == zipfile.ZIP_STORED for info in infos)
    limit = size if is_stored else max(_MAX_RATIO * size, _SMALL)
    if total > min(limit, MAX_FILE_BYTES):
        raise InputError(
            f"it has {size} bytes but claims {total}; at most "
            f"{min(limit, MAX_FILE_BYTES)} are read"
        )


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytearray:
    # A buffer of our own, so that the array may be used without a copy.
    content = bytearray(info.file_size)
    view = memoryview(content)
    with archive.open(info) as file:
        at = 0
        while at < len(content) and (chunk := file.read(_CHUNK)):
            view[at : at + len(chunk)] = chunk
            at += len(chunk)
        # The last read, at the end, is the one that compares the checksum.
        if at < len(content) or file.read(1):
            raise InputError(
                f"array {info.filename!r} is not as long as the archive says"
            )
    return content


def array_from(content: bytearray) -> Array:
    """Return the array that the bytes of an ``.npy`` file hold, without a copy.

    Raises
    ------
    InputError
        If it holds anything but real numbers, or is not as long as it says.
    """
    head = BytesIO(content[:_MAX_HEADER])
    version = np.lib.format.read_magic(head)
    if version not in _HEADERS:
        raise InputError(f"the array has an unknown format {version}")
    shape, is_fortran, dtype = _HEADERS[version](head)
    if dtype.kind not in _KINDS:
        raise InputError(
            f"the array holds {dtype}, which is never loaded; save plain numbers"
        )
    start = head.tell()
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise InputError(f"the array claims shape {shape}, which it lacks")
    flat = np.frombuffer(content, dtype=dtype, offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def samples_from(array: Array) -> Tensor:
    r"""Return what an array means: images, or vectors.

    * uint8: pixels, 0 black and 255 white.
    * floats: images from -1 to 1 if any is negative, else from 0 to 1.
    * of four axes: the one of size 1 or 3 is that of the channels, the second or the
      last. Of three axes: grey images. Of two: vectors, taken as they are.

    Returns
    -------
    Tensor
        uint8 or float32, shape (num, channels, height, width) or (num, dimension).

    Raises
    ------
    InputError
        If it is empty, not finite, too small, or could mean several things.
    """
    if not array.size:
        raise InputError(f"it has no samples: shape {array.shape}")
    if array.ndim == 2:
        return _vectors(array)
    images = _channels_first(array)
    if array.dtype == np.uint8:
        brightest = int(array.max())
        if brightest < _DARK:
            raise InputError(
                f"its brightest pixel is {brightest} of 255, so its scale is another "
                f"one; multiply it by {255 // max(brightest, 1)}"
            )
        return torch.from_numpy(np.ascontiguousarray(images))
    if array.dtype.kind != "f":
        raise InputError(
            f"it holds {array.dtype}, whose scale cannot be told; save pixels from 0 "
            "to 255 as uint8"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -1.0 and high <= 1.0):
        raise InputError(
            f"its floats go from {low:.6g} to {high:.6g}, where images go from 0 to 1 "
            "or from -1 to 1 and have no NaN; scale it, or save it as uint8"
        )
    # Always new, as it is scaled in place.
    found = torch.from_numpy(np.array(images, dtype=np.float32, order="C"))
    return found if low < 0.0 else found.mul_(2.0).sub_(1.0)


def _vectors(array: Array) -> Tensor:
    if array.dtype.kind != "f":
        raise InputError(
            f"it has shape {array.shape} of {array.dtype}: reshape images to "
            "(num_images, height, width), or save vectors as floats"
        )
    # Before they are made float32, where large ones would overflow.
    low, high = float(array.min()), float(array.max())
    if not (low >= -_LARGEST and high <= _LARGEST):
        raise InputError(
            f"its numbers go from {low:.6g} to {high:.6g} and must be finite in "
            "float32; scale or remove them"
        )
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _channels_first(array: Array) -> Array:
    if array.ndim == 3:
        images = array[:, None]
    elif array.ndim == 4:
        is_first, is_last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
        if is_first == is_last:
            raise InputError(
                f"one axis of its shape {array.shape} must be 1 or 3 channels, the "
                f"second or the last, and not both; {_ACCEPTED}"
            )
        images = array if is_first else np.moveaxis(array, 3, 1)
    else:
        raise InputError(f"its shape is {array.shape}; {_ACCEPTED}")
    if min(images.shape[2:]) < MIN_SIDE:
        raise InputError(
            f"its shape {array.shape} would mean images of {images.shape[3]} x "
            f"{images.shape[2]} pixels; at least {MIN_SIDE} x {MIN_SIDE} are needed: "
            f"{_ACCEPTED}"
        )
    return images
