"""Pictures of a folder, decoded when they are asked for and then kept as bytes."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import final
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.gan.data.picture import Pixels, read_pixels

_THREADS = min(4, os.cpu_count() or 1)
_FEW = 4  # pictures that are decoded before threads would have started
_PAGE = 4096
_BLOCK = bytes(2**24)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PixelCache:
    """Where decoded pictures are kept.

    Parameters
    ----------
    pixels : Tensor, shape (num_pictures, channels, image_size, image_size)
        uint8, in memory or in a file.
    is_filled : Tensor, shape (num_pictures,)
        uint8: 1 where ``pixels`` has the picture.
    """

    pixels: Tensor
    is_filled: Tensor


def memory_cache(shape: tuple[int, ...]) -> PixelCache:
    """Return an empty cache in memory, which is taken as pictures come in."""
    return PixelCache(
        pixels=torch.from_numpy(np.zeros(shape, dtype=np.uint8)),
        is_filled=torch.zeros(shape[0], dtype=torch.uint8),
    )


def file_cache(folder: Path, key: str, shape: tuple[int, ...]) -> PixelCache:
    """Return a cache in a memory-mapped file, with what an earlier run left in it.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    key : str
        Names the file; of other pictures, another one.
    shape : tuple of int
        Of all pictures.

    Returns
    -------
    PixelCache

    Raises
    ------
    InputError
        If the disk is too small for it, or a file of that name has another size.
    OSError
        If the folder cannot be written to.
    """
    start = -(-shape[0] // _PAGE) * _PAGE
    size = start + int(np.prod(shape, dtype=np.int64))
    path = folder / f"pixels-{key}.bin"
    if not path.exists():
        _make_empty(folder, path, size)
    if not path.is_file() or path.stat().st_size != size:
        raise InputError(
            f"{path} should be a file of {size} bytes that an earlier run left; remove "
            "it"
        )
    content = torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="r+"))
    return PixelCache(
        pixels=content[start:].reshape(shape), is_filled=content[: shape[0]]
    )


def _make_empty(folder: Path, path: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"a cache of {size} bytes is needed in {folder}, where {free} are free; "
            "name another folder, or lower image_size"
        )
    temporary = folder / f".{uuid4().hex}.tmp"
    try:
        # Written and not only claimed: a mapped file for which the disk then has no
        # room would kill the process.
        with temporary.open("xb") as file:
            for at in range(0, size, len(_BLOCK)):
                file.write(_BLOCK[: size - at])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PictureStore:
    """Pictures by number.

    Parameters
    ----------
    paths : sequence of Path
    image_size : int
    is_grey : bool
    cache : PixelCache or None
        None decodes a picture whenever it is asked for.
    """

    paths: Sequence[Path]
    image_size: int
    is_grey: bool
    cache: PixelCache | None

    def fetch(self, numbers: Tensor) -> Tensor:
        """Return pixels, uint8 of shape (len(numbers), channels, size, size).

        Raises
        ------
        InputError
            If a picture cannot be read.
        """
        if self.cache is None:
            shape = (1 if self.is_grey else 3, self.image_size, self.image_size)
            found = np.empty((len(numbers), *shape), dtype=np.uint8)
            for place, pixels in zip(
                found, self._decoded(numbers.tolist()), strict=True
            ):
                place[:] = pixels
            return torch.from_numpy(found)
        filled = self.cache.is_filled
        missing = numbers[filled.index_select(0, numbers) == 0].unique().tolist()
        for number, pixels in zip(missing, self._decoded(missing), strict=True):
            self.cache.pixels[number] = torch.from_numpy(pixels)
            # Afterwards, so that a run that is killed here decodes it again.
            filled[number] = 1
        return self.cache.pixels.index_select(0, numbers)

    def _decode(self, number: int) -> Pixels:
        path = self.paths[number]
        return read_pixels(path, self.image_size, is_grey=self.is_grey).copy()

    def _decoded(self, numbers: list[int]) -> list[Pixels]:
        if len(numbers) <= _FEW or _THREADS == 1:
            return [self._decode(number) for number in numbers]
        # Pillow decodes without holding the interpreter's lock.
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._decode, numbers))


def key_of(paths: Sequence[Path], *facts: object) -> str:
    """Return a name for what pictures look like: files, when they changed, facts."""
    found = hashlib.sha256(repr(facts).encode())
    for path in paths:
        status = path.stat()
        text = f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\n"
        found.update(text.encode("utf-8", "surrogateescape"))
    return found.hexdigest()[:32]
