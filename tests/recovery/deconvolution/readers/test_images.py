"""Pictures: every mode as Pillow writes it, hostile sizes, and damages."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers import images as module
from tacit.recovery.deconvolution.readers.images import png_bytes, read_image

GREY = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)


def saved(folder: Path, picture: Image.Image, name: str = "a.png") -> Path:
    """Write a picture."""
    path = folder / name
    picture.save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGB", "RGBA", "I;16", "1"])
def test_a_png_of_every_mode_has_its_grey_values(tmp_path: Path, mode: str) -> None:
    levels, step = GREY / 255.0, 1 / 255
    if mode == "I;16":
        picture, step = Image.fromarray(257 * GREY.astype(np.uint16)), 1 / 65535
    elif mode == "1":
        levels, step = np.array([[0.0, 1.0, 1.0]]), 1.0
        picture = Image.fromarray(levels > 0.0)
    else:
        picture = Image.fromarray(GREY).convert(mode)
    observed = read_image(saved(tmp_path, picture))
    np.testing.assert_allclose(observed.values[0], levels, atol=1e-15)
    assert (observed.step, observed.kind, observed.rate) == (step, "image", None)
    assert any("opacity" in note for note in observed.notes) == (mode in ("LA", "RGBA"))


def test_colours_become_their_luminance(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    observed = read_image(saved(tmp_path, Image.fromarray(colours)))
    np.testing.assert_allclose(observed.values[0], [[0.299, 0.587, 0.114]], rtol=1e-12)
    assert observed.notes == ("colours were reduced to their luminance",)


def test_floats_are_read_as_they_are(tmp_path: Path) -> None:
    values = np.array([[0.25, -1.5, 7.0]], dtype=np.float32)
    observed = read_image(saved(tmp_path, Image.fromarray(values), "a.tif"))
    assert observed.values.tolist() == [values.tolist()]
    assert observed.step == 0.0
    values[0, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        read_image(saved(tmp_path, Image.fromarray(values), "b.tif"))


def test_jpeg_says_that_it_changes_more_than_rounding_does(tmp_path: Path) -> None:
    observed = read_image(saved(tmp_path, Image.fromarray(GREY), "a.JPG"))
    assert observed.values.shape == (1, 2, 3)
    assert any("--noise" in note for note in observed.notes)


def test_transparent_pixels_are_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY).convert("RGBA")
    picture.putpixel((1, 0), (1, 2, 3, 254))
    with pytest.raises(InputError, match="transparent"):
        read_image(saved(tmp_path, picture))
    palette = Image.fromarray(GREY).convert("P")
    palette.save(tmp_path / "b.png", transparency=0)
    with pytest.raises(InputError, match="transparent"):
        read_image(tmp_path / "b.png")


def test_long_integers_are_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 70000]], dtype=np.int32))
    with pytest.raises(InputError, match="go from 0 to 70000"):
        read_image(saved(tmp_path, picture, "a.tif"))


def bomb(width: int, height: int) -> bytes:
    """Return a png that claims a size and has a few bytes of pixels."""

    def part(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return (
            struct.pack(">I4s", len(content), name) + content + struct.pack(">I", check)
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", pixels)


@pytest.mark.parametrize("side", [2049, 10**5, 2**31 - 1])
def test_a_claim_of_many_pixels_is_refused_before_they_are_made(
    tmp_path: Path, side: int
) -> None:
    (tmp_path / "a.png").write_bytes(bomb(side, side))
    with pytest.raises(InputError, match=f"claims {side} x {side} pixels"):
        read_image(tmp_path / "a.png")


def test_the_limit_itself_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, Image.fromarray(GREY))
    monkeypatch.setattr(module, "MAX_PIXELS", 6)
    assert read_image(path).grid == (2, 3)
    monkeypatch.setattr(module, "MAX_PIXELS", 5)
    with pytest.raises(InputError, match="3 x 2 pixels; at most 5"):
        read_image(path)


def test_what_is_written_is_what_pillow_reads() -> None:
    content, num_cut = png_bytes(torch.tensor([[0.0, 0.2, 1.0], [-0.5, 1.7, 1.001]]))
    levels = np.asarray(Image.open(BytesIO(content)))
    assert levels.tolist() == [[0, 51, 255], [0, 255, 255]]
    assert num_cut == 2
