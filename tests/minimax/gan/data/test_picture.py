"""Pictures of every mode as Pillow writes them, hostile sizes, and damages."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tacit.errors import InputError
from tacit.minimax.gan.data import picture as module
from tacit.minimax.gan.data.picture import read_head, read_pixels
from tacit.rng import make_generator


def noise(*shape: int) -> np.ndarray:
    """Return random pixels."""
    generator = make_generator(0, str(shape))
    return torch.randint(256, shape, generator=generator).to(torch.uint8).numpy()


GREY, COLOURS = noise(8, 8), noise(8, 8, 3)


def saved(folder: Path, picture: Image.Image, name: str = "a.png") -> Path:
    """Write a picture."""
    path = folder / name
    picture.save(path, lossless=True)
    return path


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_a_grey_picture_of_every_mode(mode: str, tmp_path: Path) -> None:
    levels = GREY
    if mode == "I;16":
        picture = Image.fromarray(257 * GREY.astype(np.uint16) + 128)
    elif mode == "1":
        levels = 255 * (GREY > 99).astype(np.uint8)
        picture = Image.fromarray(GREY > 99)
    else:
        picture = Image.fromarray(GREY).convert(mode)
    path = saved(tmp_path, picture)
    assert read_head(path) == (8, 8, True)
    np.testing.assert_array_equal(read_pixels(path, 8, is_grey=True), levels[None])
    coloured = read_pixels(path, 8, is_grey=False)
    np.testing.assert_array_equal(coloured, np.stack([levels] * 3))


def test_16_bits_become_the_nearest_of_8(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    path = saved(tmp_path, Image.fromarray(levels))
    expected = np.rint(levels / 257.0)
    np.testing.assert_array_equal(read_pixels(path, 8, is_grey=True)[0], expected)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P", "webp"])
def test_colours_of_every_mode(kind: str, tmp_path: Path) -> None:
    picture = Image.fromarray(COLOURS)
    if kind == "P":
        picture = picture.quantize(64)
    expected = np.asarray(picture.convert("RGB"))
    if kind == "RGBA":
        picture = picture.convert("RGBA")
    path = saved(tmp_path, picture, "a.webp" if kind == "webp" else "a.png")
    assert read_head(path) == (8, 8, False)
    found = read_pixels(path, 8, is_grey=False)
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1))
    with pytest.raises(InputError, match=r"a\.(png|webp): it has colours where"):
        read_pixels(path, 8, is_grey=True)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_what_pillow_decodes(mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(COLOURS).convert(mode)
    path = tmp_path / "a.JPG"
    picture.save(path, format="JPEG", quality=95)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("L" if mode == "L" else "RGB"))
    found = read_pixels(path, 8, is_grey=mode == "L")
    if mode != "L":
        expected = expected.transpose(2, 0, 1)
    np.testing.assert_array_equal(found, expected.reshape(found.shape))


def test_the_kind_is_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(GREY).save(path, format="PNG")
    np.testing.assert_array_equal(read_pixels(path, 8, is_grey=True)[0], GREY)


@pytest.mark.parametrize(("height", "width"), [(30, 40), (41, 30), (64, 64)])
@pytest.mark.parametrize("size", [7, 16, 30])
def test_the_middle_square_is_what_pillow_makes_of_it(
    height: int, width: int, size: int, tmp_path: Path
) -> None:
    picture = Image.fromarray(noise(height, width, 3))
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    middle = picture.crop((left, top, left + side, top + side))
    expected = np.asarray(middle.resize((size, size), Image.Resampling.BICUBIC))
    found = read_pixels(saved(tmp_path, picture), size, is_grey=False)
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1))


def test_a_large_jpeg_is_decoded_smaller_with_little_difference(tmp_path: Path) -> None:
    waves = np.sin(np.arange(512) / 30.0)
    picture = Image.fromarray((127.5 * (np.outer(waves, waves) + 1.0)).astype(np.uint8))
    path = tmp_path / "a.jpg"
    picture.save(path, quality=95)
    found = read_pixels(path, 20, is_grey=True)[0].astype(int)
    with Image.open(path) as opened:
        fair = opened.resize((20, 20), Image.Resampling.BICUBIC)
    assert np.abs(found - np.asarray(fair).astype(int)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_upright(orientation: int, tmp_path: Path) -> None:
    from PIL import ImageOps

    picture = Image.fromarray(COLOURS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    picture.save(path, exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    found = read_pixels(path, 8, is_grey=False)
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1))


def test_longer_integers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = Image.fromarray(np.full((8, 8), 70000, dtype=np.int32))
    path = saved(tmp_path, Image.fromarray(GREY))

    def open_wide(_: object) -> Image.Image:
        return wide

    def opener(_: bytes) -> Any:
        return open_wide

    # No png has them, but versions of Pillow differ in what they make of 16 bits.
    monkeypatch.setattr(module, "_opener", opener)
    with pytest.raises(InputError, match="8 or 16 bits"):
        read_pixels(path, 8, is_grey=True)


def test_transparent_pixels_are_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(COLOURS).convert("RGBA")
    picture.putpixel((1, 0), (1, 2, 3, 254))
    with pytest.raises(InputError, match=r"a\.png: it has transparent pixels"):
        read_pixels(saved(tmp_path, picture), 8, is_grey=False)
    palette = Image.fromarray(COLOURS).quantize(64)
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((0, 0)))
    with pytest.raises(InputError, match="transparent pixels"):
        read_pixels(tmp_path / "b.png", 8, is_grey=False)


def test_too_small_pictures_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(noise(8, 30)))
    with pytest.raises(InputError, match="30 x 8 pixels, fewer than image_size = 9"):
        read_pixels(path, 9, is_grey=True)


def part(name: bytes, content: bytes) -> bytes:
    """Return a part of a png with its checksum."""
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I4s", len(content), name) + content + check


def png_claim(width: int, height: int) -> bytes:
    """Return a png that claims a size and has a few bytes of pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", pixels)


@pytest.mark.parametrize("side", [8193, 10**5, 2**31 - 1])
def test_a_claim_of_many_pixels_is_refused_before_they_are_made(
    side: int, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png_claim(side, side))
    message = rf"a\.png: it claims {side} x {side} pixels"
    with pytest.raises(InputError, match=message):
        read_head(tmp_path / "a.png")
    with pytest.raises(InputError, match=message):
        read_pixels(tmp_path / "a.png", 8, is_grey=True)


@pytest.mark.parametrize("side", [9000, 2**14])  # the larger one Pillow refuses
def test_a_webp_that_claims_much_is_refused(side: int, tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (9, 9), "red"), "a.webp")
    content = bytearray(path.read_bytes())
    at = content.index(b"VP8L") + 9
    bits = int.from_bytes(content[at : at + 4], "little")
    # 14 bits for each side, less 1.
    bits = bits & ~(2**28 - 1) | (side - 1) << 14 | side - 1
    content[at : at + 4] = bits.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.webp: it claims .* pixels"):
        read_head(path)


def test_the_limits_themselves_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, Image.fromarray(GREY))
    size = path.stat().st_size
    monkeypatch.setattr(module, "MAX_PIXELS", 64)
    monkeypatch.setattr(module, "MAX_PICTURE_BYTES", size)
    assert read_head(path).width == 8
    monkeypatch.setattr(module, "MAX_PIXELS", 63)
    with pytest.raises(InputError, match="8 x 8 pixels; at most 63"):
        read_head(path)
    monkeypatch.setattr(module, "MAX_PICTURE_BYTES", size - 1)
    with pytest.raises(InputError, match=f"it has {size} bytes"):
        read_head(path)


@pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(99), b"\xff\xd8\xff"])
def test_what_is_no_picture_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jpg"):
        read_head(tmp_path / "a.jpg")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jpg cannot be read as a picture"):
        read_head(tmp_path / "a.jpg")


def encoded(form: str) -> bytes:
    """Return a picture in a format."""
    buffer = io.BytesIO()
    Image.fromarray(noise(40, 40, 3)).save(buffer, format=form)
    return buffer.getvalue()


CONTENTS = {form: encoded(form) for form in ("JPEG", "PNG", "WEBP")}


@pytest.mark.parametrize("form", CONTENTS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_picture_that_was_cut_off_is_refused(
    form: str, share: float, tmp_path: Path
) -> None:
    content = CONTENTS[form]
    (tmp_path / "a.jpg").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"a\.jpg cannot be read as a picture"):
        read_pixels(tmp_path / "a.jpg", 8, is_grey=False)


# Pillow warns of damaged descriptions that it passes over.
@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    form=st.sampled_from(sorted(CONTENTS)),
    places=st.lists(st.integers(0, 700), min_size=1, max_size=4),
    values=st.binary(min_size=4, max_size=4),
)
def test_damage_is_refused_or_harmless(
    form: str,
    places: list[int],
    values: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = bytearray(CONTENTS[form])
    for at, value in zip(places, values, strict=False):
        content[at] = value
    path = tmp_path_factory.mktemp("damaged") / "a.jpg"
    path.write_bytes(content)
    try:
        found = read_pixels(path, 8, is_grey=False)
    except InputError as error:
        message = str(error)
    else:
        message = path.name
        assert (found.shape, found.dtype) == ((3, 8, 8), np.uint8)
    assert path.name in message
