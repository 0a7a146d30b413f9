"""Decoded pictures: kept in memory, in a file over runs, or not at all."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tacit.errors import InputError
from tacit.minimax.gan.data import store as module
from tacit.minimax.gan.data.picture import Pixels, read_pixels
from tacit.minimax.gan.data.store import (
    PictureStore,
    PixelCache,
    file_cache,
    key_of,
    memory_cache,
)
from tacit.rng import make_generator

COUNT, SHAPE = 12, (12, 3, 6, 6)


def pictures(folder: Path) -> tuple[list[Path], torch.Tensor]:
    """Write pictures, and return what is in them."""
    pixels = torch.randint(256, SHAPE, generator=make_generator(0, "store"))
    pixels = pixels.to(torch.uint8)
    paths: list[Path] = []
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        paths.append(folder / f"{number:02}.png")
        Image.fromarray(np.ascontiguousarray(image)).save(paths[-1])
    return paths, pixels


def store_of(paths: list[Path], cache: PixelCache | None) -> PictureStore:
    """Return a store of colours."""
    return PictureStore(paths=paths, image_size=6, is_grey=False, cache=cache)


@pytest.fixture(name="decoded")
def fixture_decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list of what is decoded from now on."""
    found: list[Path] = []

    def counted(path: Path, image_size: int, *, is_grey: bool) -> Pixels:
        found.append(path)
        return read_pixels(path, image_size, is_grey=is_grey)

    monkeypatch.setattr(module, "read_pixels", counted)
    return found


@pytest.mark.parametrize("kind", ["memory", "file", "none"])
@pytest.mark.parametrize("threads", [1, 3])
def test_pictures_come_in_the_order_they_are_asked_for(
    kind: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_THREADS", threads)
    paths, pixels = pictures(tmp_path)
    caches = {
        "memory": memory_cache(SHAPE),
        "file": file_cache(tmp_path / "cache", "key", SHAPE),
        "none": None,
    }
    store = store_of(paths, caches[kind])
    for wanted in ([3], [11, 3, 3, 0, 7, 5, 1, 2], [], list(range(COUNT))):
        numbers = torch.tensor(wanted, dtype=torch.int64)
        assert torch.equal(store.fetch(numbers), pixels[numbers])


def test_a_picture_is_decoded_once(tmp_path: Path, decoded: list[Path]) -> None:
    paths, _ = pictures(tmp_path)
    store = store_of(paths, memory_cache(SHAPE))
    for wanted in ([0, 1, 2], [2, 1, 0, 0], [3, 2, 3]):
        store.fetch(torch.tensor(wanted))
    assert sorted(decoded) == paths[:4]


def test_without_a_cache_it_is_decoded_every_time(
    tmp_path: Path, decoded: list[Path]
) -> None:
    paths, _ = pictures(tmp_path)
    store = store_of(paths, None)
    store.fetch(torch.tensor([0, 1]))
    store.fetch(torch.tensor([1]))
    assert decoded == [paths[0], paths[1], paths[1]]


def test_a_file_is_used_again_by_the_next_run(
    tmp_path: Path, decoded: list[Path]
) -> None:
    paths, pixels = pictures(tmp_path)
    store_of(paths, file_cache(tmp_path / "c", "key", SHAPE)).fetch(torch.arange(9))
    assert len(decoded) == 9
    later = store_of(paths, file_cache(tmp_path / "c", "key", SHAPE))
    assert torch.equal(later.fetch(torch.arange(COUNT)), pixels)
    assert len(decoded) == COUNT
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["pixels-key.bin"]


def test_a_damaged_picture_is_named_and_not_kept(tmp_path: Path) -> None:
    paths, pixels = pictures(tmp_path)
    content = paths[5].read_bytes()
    paths[5].write_bytes(content[:60])
    store = store_of(paths, memory_cache(SHAPE))
    for _ in range(2):
        with pytest.raises(InputError, match=r"05\.png cannot be read as a picture"):
            store.fetch(torch.arange(COUNT))
    paths[5].write_bytes(content)
    assert torch.equal(store.fetch(torch.arange(COUNT)), pixels)


def test_a_cache_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pixels-key.bin").write_bytes(b"short")
    with pytest.raises(InputError, match=r"pixels-key\.bin should be a file of"):
        file_cache(tmp_path, "key", SHAPE)
    (tmp_path / "pixels-other.bin").mkdir()
    with pytest.raises(InputError, match="remove it"):
        file_cache(tmp_path, "other", SHAPE)


def test_a_full_disk_is_noticed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage: Any = shutil.disk_usage(tmp_path)._replace(free=100)

    def nearly_full(folder: Path) -> Any:
        return usage if folder.is_dir() else None

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(InputError, match="where 100 are free"):
        file_cache(tmp_path / "c", "key", SHAPE)
    assert not list((tmp_path / "c").iterdir())


def test_the_file_is_as_large_as_needed_in_whole_and_part_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", bytes(1000))
    cache = file_cache(tmp_path, "key", SHAPE)
    assert (tmp_path / "pixels-key.bin").stat().st_size == 4096 + 12 * 3 * 36
    assert not bool(cache.is_filled.any())
    assert cache.pixels.shape == SHAPE


def test_the_key_is_another_one_for_other_pictures(tmp_path: Path) -> None:
    paths, _ = pictures(tmp_path)
    keys = [key_of(paths, 64), key_of(paths, 32), key_of(paths[1:], 64)]
    assert key_of(paths, 64) == keys[0]
    Image.new("RGB", (6, 6), "red").save(paths[0])
    keys.append(key_of(paths, 64))
    assert len(set(keys)) == 4
