r"""A folder of pictures as data, however many they are."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.gan.data.dataset import (
    AbstractDataset,
    DigestOf,
    GanData,
    check_indices,
    every_nth,
)
from tacit.minimax.gan.data.picture import SUFFIXES, PictureHead, read_head
from tacit.minimax.gan.data.resize import check_image_size
from tacit.minimax.gan.data.store import (
    PictureStore,
    file_cache,
    key_of,
    memory_cache,
)
from tacit.minimax.gan.grid import from_pixels

PERIOD = 10
"""Of every ten pictures the last one is held out, where the folder does not say."""

MAX_PICTURES = 10**7
MAX_DIGESTED = 2**28
"""Bytes up to which the digest is one of the files' content."""

_SHOWN = 5


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolder(AbstractDataset):
    """Some of the pictures of a folder.

    Parameters
    ----------
    name : str
    store : PictureStore
        Of all pictures.
    numbers : Tensor, shape (num_samples,)
        Which of them belong to this dataset.
    """

    name: str
    store: PictureStore
    numbers: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        side = self.store.image_size
        return (1 if self.store.is_grey else 3, side, side)

    @property
    def num_samples(self) -> int:
        return self.numbers.shape[0]

    def batch(self, indices: Tensor) -> Tensor:
        check_indices(indices, self.num_samples)
        return from_pixels(self.store.fetch(self.numbers[indices.cpu()]))


@final
class _Split(NamedTuple):
    keep: Tensor
    held_out: Tensor
    rule: str


def image_folder(
    folder: Path,
    *,
    image_size: int | None = None,
    cache_folder: Path | None = None,
    max_cache_bytes: int,
) -> GanData:
    """Return the pictures of a folder and of those below it, in the order of names.

    Parameters
    ----------
    folder : Path
        With ``.jpg``, ``.jpeg``, ``.png`` or ``.webp`` files. If it has the folders
        ``train`` and ``test``, their pictures alone are taken, else every tenth is
        held out. Links to pictures are followed, links to folders are not; names that
        start with a dot are left out.
    image_size : int, optional
        Side of the images; the middle square of each picture is resampled. May be left
        out if all pictures have one square size.
    cache_folder : Path, optional
        Where decoded pictures are kept for this run and later ones.
    max_cache_bytes : int
        How much they may take in memory, if there is no ``cache_folder``; above it,
        they are decoded every time.

    Returns
    -------
    GanData
        Grey if all pictures are grey, else in colours.

    Raises
    ------
    InputError
        If there are no pictures, or the head of one is damaged, claims too much, or
        says that it is smaller than ``image_size``. Pixels are read later, by
        ``batch``.
    """
    paths = _pictures_of(folder)
    split = _split_of(folder, paths)
    heads = [read_head(path) for path in paths]
    side = _side_of(folder, paths, heads, image_size)
    is_grey = all(head.is_grey for head in heads)
    shape = (len(paths), 1 if is_grey else 3, side, side)
    if cache_folder is not None:
        cache = file_cache(cache_folder, key_of(paths, shape), shape)
    elif shape[0] * shape[1] * side**2 <= max_cache_bytes:
        cache = memory_cache(shape)
    else:
        cache = None
    store = PictureStore(paths=paths, image_size=side, is_grey=is_grey, cache=cache)
    digest, digest_of = _digest(folder, paths, shape)
    name = folder.resolve().name
    train, test = (
        ImageFolder(name=name, store=store, numbers=numbers)
        for numbers in (split.keep, split.held_out)
    )
    return GanData(
        name=name,
        train=train,
        test=test if test.num_samples else None,
        digest=digest,
        digest_of=digest_of,
        split=split.rule,
    )


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be listed: {error.strerror}")


def _pictures_of(folder: Path) -> list[Path]:
    halves = [folder / "train", folder / "test"]
    roots = halves if all(half.is_dir() for half in halves) else [folder]
    found: list[Path] = []
    others: set[str] = set()
    for root in roots:
        # Without following links: a circle of them would never end.
        for place, folders, files in os.walk(root, onerror=_refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(place, name)
                if name.startswith("."):
                    continue
                if path.suffix.lower() in SUFFIXES:
                    found.append(path)
                else:
                    others.add(path.suffix.lower() or name)
            if len(found) > MAX_PICTURES:
                raise InputError(f"{folder} has more than {MAX_PICTURES} pictures")
    if not found:
        raise InputError(
            f"{folder} has no {', '.join(sorted(SUFFIXES))} pictures; got "
            f"{', '.join(sorted(others)[:_SHOWN]) or 'no files'}"
        )
    # A pipe would be waited for, a link to nothing could not be read.
    odd = next((path for path in found if not path.is_file()), None)
    if odd is not None:
        raise InputError(f"{odd} is no file, or a link to nothing; remove it")
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _split_of(folder: Path, paths: Sequence[Path]) -> _Split:
    tops = {path.relative_to(folder).parts[0] for path in paths}
    if all((folder / half).is_dir() for half in ("train", "test")):
        missing = {"train", "test"} - tops
        if missing:
            raise InputError(f"{folder / missing.pop()} has no pictures; add some")
        is_test = torch.tensor(
            [path.relative_to(folder).parts[0] == "test" for path in paths]
        )
        numbers = torch.arange(len(paths))
        return _Split(
            numbers[~is_test], numbers[is_test], "the folder test is held out"
        )
    keep, held_out = every_nth(len(paths), PERIOD)
    if not held_out.numel():
        return _Split(keep, held_out, f"none held out: fewer than {PERIOD} pictures")
    rule = f"of every {PERIOD} pictures in the order of names the last is held out"
    return _Split(keep, held_out, rule)


def _side_of(
    folder: Path,
    paths: Sequence[Path],
    heads: Sequence[PictureHead],
    image_size: int | None,
) -> int:
    if image_size is None:
        sizes = {(head.width, head.height) for head in heads}
        width, height = min(sizes)
        if len(sizes) > 1 or width != height:
            raise InputError(
                f"{folder} has pictures of {len(sizes)} sizes, {width} x {height} the "
                "narrowest; say image_size, as in 64"
            )
        image_size = width
    check_image_size(image_size)
    for path, head in zip(paths, heads, strict=True):
        if min(head.width, head.height) < image_size:
            raise InputError(
                f"{path} has {head.width} x {head.height} pixels, fewer than "
                f"image_size = {image_size}; remove it, or give a smaller image_size"
            )
    return image_size


def _digest(
    folder: Path, paths: Sequence[Path], shape: tuple[int, ...]
) -> tuple[str, DigestOf]:
    sizes = [path.stat().st_size for path in paths]
    by_content = sum(sizes) <= MAX_DIGESTED
    found = hashlib.sha256(f"{shape};".encode())
    for path, size in zip(paths, sizes, strict=True):
        name = path.relative_to(folder).as_posix()
        found.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
        if by_content:
            found.update(_content_digest(path))
    return found.hexdigest(), "files" if by_content else "names and sizes of files"


def _content_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        opened: Any = file
        return hashlib.file_digest(opened, "sha256").digest()
