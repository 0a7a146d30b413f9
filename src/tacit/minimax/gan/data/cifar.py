r"""CIFAR-10 and CIFAR-100 in their binary version, from a folder or its archive."""

import gzip
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import final

import numpy as np
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.files import reading

Content = bytes | memoryview

_SIDE, _PIXELS = 32, 3 * 32 * 32
MAX_UNPACKED = 2**28
"""Most bytes of an archive, unpacked (256 MiB; CIFAR has 184 million)."""

_MAX_MEMBERS = 100


@final
@dataclass(frozen=True, kw_only=True)
class CifarFormat:
    """Which files belong to a version, and what their records are.

    A record is one byte for each label, then 3072 bytes: the red, green and blue
    values of 32 x 32 pixels, row by row.

    Parameters
    ----------
    name : str
    folder : str
        Where its archive unpacks to.
    train, test : tuple of str
        Names of files.
    classes : tuple of int
        How many there are, for each label; the last label is the finest.
    """

    name: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    classes: tuple[int, ...]

    @property
    def record(self) -> int:
        """Bytes of an image with its labels."""
        return len(self.classes) + _PIXELS

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files."""
        return self.train + self.test


FORMATS = (
    CifarFormat(
        name="cifar-10",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{index}.bin" for index in range(1, 6)),
        test=("test_batch.bin",),
        classes=(10,),
    ),
    CifarFormat(
        name="cifar-100",
        folder="cifar-100-binary",
        train=("train.bin",),
        test=("test.bin",),
        classes=(20, 100),
    ),
)
"""The two versions; those pickled for Python are not read."""

_ALL_FILES = {file for form in FORMATS for file in form.files}
_PICKLED = {"data_batch_1", "cifar-10-batches-py", "cifar-100-python"}
_ADVICE = "get the binary version, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz"
_IS_PICKLED = (
    "it is CIFAR as pickled for Python, and unpickling would run what it holds; "
    f"{_ADVICE}"
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class CifarImages:
    """Images of CIFAR and their classes.

    Parameters
    ----------
    name : str
        ``"cifar-10"`` or ``"cifar-100"``.
    train, test : Tensor, shape (num_images, 3, 32, 32)
        uint8.
    train_labels, test_labels : Tensor, shape (num_images,)
        int64; of CIFAR-100 the fine ones.
    """

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def cifar_folder(folder: Path) -> Path | None:
    """Return where files of CIFAR lie, if they lie here or one folder below.

    Raises
    ------
    InputError
        If they are those for Python.
    """
    for form in FORMATS:
        for place in (folder, folder / form.folder):
            if any((place / file).is_file() for file in form.files):
                return place
    if any((folder / name).exists() for name in _PICKLED):
        raise InputError(f"{folder}: {_IS_PICKLED}")
    return None


def read_cifar(path: Path) -> CifarImages:
    """Return the images of a folder, or of the archive that the folder came in.

    Parameters
    ----------
    path : Path
        A folder as :func:`cifar_folder` finds it, or a ``.tar.gz`` file, which is read
        in memory.

    Returns
    -------
    CifarImages

    Raises
    ------
    InputError
        If files are missing, cut off, too large, or are not what they should be.

    References
    ----------
    Krizhevsky (2009), Learning multiple layers of features from tiny images; format as
    on https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
    """
    if path.is_dir():
        return _images(_files_of(path), path)
    with reading(path, "an archive of CIFAR"):
        try:
            contents = _members_of(path)
        except tarfile.TarError as error:
            raise InputError(f"it is no whole tar archive ({error})") from None
    return _images(contents, path)


def _images(contents: Mapping[str, Content], path: Path) -> CifarImages:
    form = max(FORMATS, key=lambda form: len(contents.keys() & set(form.files)))
    if not contents:
        raise InputError(f"{path} has no files of CIFAR; {_ADVICE}")
    missing = [file for file in form.files if file not in contents]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)} of {form.name}; unpack all of it"
        )
    train, train_labels = _samples(form, form.train, contents, path)
    test, test_labels = _samples(form, form.test, contents, path)
    return CifarImages(
        name=form.name,
        train=train,
        train_labels=train_labels,
        test=test,
        test_labels=test_labels,
    )


def _samples(
    form: CifarFormat,
    files: tuple[str, ...],
    contents: Mapping[str, Content],
    path: Path,
) -> tuple[Tensor, Tensor]:
    counts = [_checked_count(form, contents[file], path / file) for file in files]
    images = torch.empty((sum(counts), 3, _SIDE, _SIDE), dtype=torch.uint8)
    labels = torch.empty(sum(counts), dtype=torch.int64)
    num_labels = len(form.classes)
    parts = zip(files, images.split(counts), labels.split(counts), strict=True)
    for file, some_images, some_labels in parts:
        records = np.frombuffer(contents[file], np.uint8).reshape(-1, form.record)
        for column, classes in enumerate(form.classes):
            largest = int(records[:, column].max())
            if largest >= classes:
                raise InputError(
                    f"{path / file} has label {largest}, but {form.name} has "
                    f"{classes} classes; it is another file or damaged"
                )
        some_labels.numpy()[:] = records[:, num_labels - 1]
        some_images.numpy().reshape(-1, _PIXELS)[:] = records[:, num_labels:]
    return images, labels


def _checked_count(form: CifarFormat, content: Content, file: Path) -> int:
    if not content or len(content) % form.record:
        raise InputError(
            f"{file} has {len(content)} bytes, which must be a positive multiple of "
            f"{form.record}, the size of an image with its labels; it was cut off or "
            f"is another file: {_ADVICE}"
        )
    return len(content) // form.record


def _files_of(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    left = MAX_UNPACKED
    for name in sorted(_ALL_FILES):
        file = folder / name
        if not file.is_file():
            continue
        with reading(file, "a file of CIFAR"), file.open("rb") as opened:
            # One byte more than allowed tells that there is more, whatever size a
            # special file states.
            content = opened.read(left + 1)
            if len(content) > left:
                raise InputError(
                    f"the files of CIFAR have at most {MAX_UNPACKED} bytes together; "
                    "this is another one"
                )
        left -= len(content)
        found[name] = content
    return found


def _members_of(path: Path) -> dict[str, memoryview]:
    with gzip.open(path, "rb") as packed:
        # All of it, so that its checksum is compared before anything is made of it.
        unpacked = packed.read(MAX_UNPACKED + 1)
    if len(unpacked) > MAX_UNPACKED:
        raise InputError(
            f"unpacked it has more than {MAX_UNPACKED} bytes, which CIFAR has not; "
            f"{_ADVICE}"
        )
    found: dict[str, memoryview] = {}
    with tarfile.open(fileobj=BytesIO(unpacked), mode="r:") as archive:
        for number, member in enumerate(archive):
            if number >= _MAX_MEMBERS:
                raise InputError(f"it has more than {_MAX_MEMBERS} files; {_ADVICE}")
            parts = PurePosixPath(member.name).parts
            if _PICKLED & set(parts):
                raise InputError(_IS_PICKLED)
            name = parts[-1] if parts else ""
            if name not in _ALL_FILES:
                continue
            if name in found:
                raise InputError(f"it has two files {name}; {_ADVICE}")
            # A sparse file could be filled up to any size that it claims.
            if not member.isreg() or member.issparse():
                raise InputError(f"its member {name} is no plain file; {_ADVICE}")
            end = member.offset_data + member.size
            if end > len(unpacked):
                raise InputError(f"its member {name} is cut off; get it again")
            found[name] = memoryview(unpacked)[member.offset_data : end]
    return found
