"""Folders of real pictures: order, split, digests, and what is refused."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.data import folder as module
from tacit.minimax.gan.data.dataset import GanData
from tacit.minimax.gan.data.folder import ImageFolder, image_folder

LIMIT = 2**20


def paint(path: Path, colour: str, size: tuple[int, int] = (8, 8)) -> Path:
    """Write a picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if colour in ("black", "white", "grey") else "RGB"
    Image.new(mode, size, colour).save(path)
    return path


def opened(folder: Path, size: int | None = None, limit: int = LIMIT) -> GanData:
    """Open a folder."""
    return image_folder(folder, image_size=size, max_cache_bytes=limit)


def names_of(data: GanData, folder: Path) -> list[str]:
    """Return the training pictures in their order."""
    assert isinstance(data.train, ImageFolder)
    paths = [data.train.store.paths[number] for number in data.train.numbers.tolist()]
    return [path.relative_to(folder).as_posix() for path in paths]


def test_pictures_are_those_of_pillow(
    tmp_path: Path, generator: torch.Generator
) -> None:
    pixels = torch.randint(256, (25, 12, 9, 3), generator=generator).to(torch.uint8)
    for number, image in enumerate(pixels.numpy()):
        Image.fromarray(image).save(tmp_path / f"{number:03}.png")
    data = opened(tmp_path, 5)
    assert (data.train.num_samples, data.train.shape) == (23, (3, 5, 5))
    assert data.test is not None
    assert data.test.num_samples == 2
    for at, number in enumerate((9, 19)):
        image = Image.fromarray(pixels[number].numpy()).crop((0, 1, 9, 10))
        expected = np.asarray(image.resize((5, 5), Image.Resampling.BICUBIC))
        found = data.test.batch(torch.tensor([at]))[0]
        expected = expected.transpose(2, 0, 1) / 127.5 - 1.0
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("limit", [0, LIMIT])
def test_a_limit_on_memory_changes_no_number(limit: int, tmp_path: Path) -> None:
    for number, colour in enumerate(["red", "blue", "lime"]):
        paint(tmp_path / f"{number}.png", colour)
    data = opened(tmp_path, limit=limit)
    assert isinstance(data.train, ImageFolder)
    assert (data.train.store.cache is None) == (limit == 0)
    found = data.train.batch(torch.tensor([2, 0, 1]))[:, :, 3, 3].tolist()
    assert found == [[-1.0, 1.0, -1.0], [1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]]
    with pytest.raises(ShapeError, match=r"in 0\.\.2"):
        data.train.batch(torch.tensor([3]))


def test_a_file_of_pixels_is_left_in_the_cache_folder(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "1.png", "red")
    cache = tmp_path / "cache"
    for _ in range(2):
        data = image_folder(tmp_path / "a", cache_folder=cache, max_cache_bytes=0)
        assert data.train.batch(torch.tensor([0]))[0, 0].unique().tolist() == [1.0]
    assert len(list(cache.iterdir())) == 1


def test_the_order_is_that_of_names_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.PNG", "a/b/c.png", "A.png", "a.png"):
        paint(tmp_path / name, "red")
    (tmp_path / "list.txt").write_text("not a picture")
    (tmp_path / "._b.png").write_bytes(b"a Mac's note")
    paint(tmp_path / ".hidden" / "c.png", "red")
    expected = ["A.png", "a/b/c.png", "a/z.PNG", "a.png", "b.png"]
    assert names_of(opened(tmp_path), tmp_path) == expected


def test_folders_train_and_test_are_the_split(tmp_path: Path) -> None:
    for name in ("train/1/a.png", "train/b.png", "test/c.png", "other/d.png"):
        paint(tmp_path / name, "red" if "train" in name else "blue")
    data = opened(tmp_path)
    assert names_of(data, tmp_path) == ["train/1/a.png", "train/b.png"]
    assert data.split == "the folder test is held out"
    assert data.test is not None
    assert data.test.batch(torch.tensor([0]))[0, :, 0, 0].tolist() == [-1.0, -1.0, 1.0]
    (tmp_path / "test" / "c.png").unlink()
    with pytest.raises(InputError, match="test has no pictures"):
        opened(tmp_path)


def test_few_pictures_are_all_trained_on(tmp_path: Path) -> None:
    for number in range(9):
        paint(tmp_path / f"{number}.png", "red")
    data = opened(tmp_path)
    assert (data.test, data.train.num_samples) == (None, 9)
    assert "fewer than 10" in data.split


def test_grey_pictures_become_colours_only_beside_colours(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "white")
    assert opened(tmp_path).train.shape == (1, 8, 8)
    paint(tmp_path / "b.jpg", "red")
    data = opened(tmp_path)
    assert data.train.shape == (3, 8, 8)
    assert data.train.batch(torch.tensor([0])).unique().tolist() == [1.0]


def test_the_size_may_be_left_out_only_if_there_is_one(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red", (9, 9))
    assert opened(tmp_path).train.shape == (3, 9, 9)
    paint(tmp_path / "b.png", "red", (10, 10))
    with pytest.raises(InputError, match=r"pictures of 2 sizes, 9 x 9.*say image_size"):
        opened(tmp_path)
    assert opened(tmp_path, 9).train.num_samples == 2
    with pytest.raises(InputError, match=r"a\.png has 9 x 9 pixels, fewer than"):
        opened(tmp_path, 10)


def test_a_size_out_of_range_is_refused(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red", (3, 3))
    with pytest.raises(InputError, match=r"in 4\.\.1024; got 3"):
        opened(tmp_path)


def test_the_digest_is_that_of_names_and_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = paint(tmp_path / "a" / "b.png", "red")
    content = path.read_bytes()
    text = f"(1, 3, 8, 8);a/b.png\0{len(content)}\n".encode()
    by_content = hashlib.sha256(text + hashlib.sha256(content).digest()).hexdigest()
    data = opened(tmp_path)
    assert (data.digest, data.digest_of) == (by_content, "files")
    assert opened(tmp_path, 4).digest != by_content
    monkeypatch.setattr(module, "MAX_DIGESTED", len(content) - 1)
    data = opened(tmp_path)
    assert data.digest == hashlib.sha256(text).hexdigest()
    assert data.digest_of == "names and sizes of files"


def test_a_folder_without_pictures_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no \.jpeg.*got no files"):
        opened(tmp_path)
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match=r"got \.gif"):
        opened(tmp_path)


def test_too_many_pictures_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "a.png", "red")
    paint(tmp_path / "b.png", "red")
    monkeypatch.setattr(module, "MAX_PICTURES", 1)
    with pytest.raises(InputError, match="more than 1 pictures"):
        opened(tmp_path)


def test_links_to_pictures_count_and_links_to_folders_do_not(tmp_path: Path) -> None:
    target = paint(tmp_path / "elsewhere" / "a.png", "red")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link.png").symlink_to(target)
    (folder / "circle").symlink_to(folder)
    assert names_of(opened(folder), folder) == ["link.png"]
    (folder / "nowhere.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"nowhere\.png is no file, or a link to"):
        opened(folder)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red")
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png is no file"):
        opened(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="cannot be listed: Permission denied"):
        opened(tmp_path)


def test_a_damaged_head_is_refused_when_the_folder_is_opened(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    with pytest.raises(InputError, match=r"b\.png cannot be read as a picture"):
        opened(tmp_path)


def test_damage_inside_is_refused_when_it_is_asked_for(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red")
    path = paint(tmp_path / "b.jpg", "red", (99, 99))
    path.write_bytes(path.read_bytes()[:-20])
    data = opened(tmp_path, 8)
    assert data.train.batch(torch.tensor([0])).shape == (1, 3, 8, 8)
    with pytest.raises(InputError, match=r"b\.jpg cannot be read as a picture"):
        data.train.batch(torch.tensor([0, 1]))
