r"""One picture of a folder: its size, and its pixels at the size that is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, final

import numpy as np
import numpy.typing as npt
from PIL.Image import DecompressionBombError, Image, Resampling, Transpose, fromarray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from tacit.errors import InputError
from tacit.files import reading

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))
"""Files that are taken for pictures."""

MAX_PICTURE_BYTES = 2**27
"""Largest file that is read as a picture (128 MiB)."""

MAX_PIXELS = 2**26
"""Most pixels of a picture: 8192 x 8192."""

_KIND = "a picture"
_MAGIC = 12
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"))
_WHITE, _WHITE_16 = 255, 65535
# A JPEG is decoded at a fraction of its size as long as it has this many times the
# pixels asked for along each side; the antialiased resampling does the rest.
_SPARE = 3

Pixels = npt.NDArray[np.uint8]


@final
class PictureHead(NamedTuple):
    """What a picture says of itself before it is decoded."""

    width: int
    height: int
    is_grey: bool


def read_head(path: Path) -> PictureHead:
    """Return what a picture says of itself.

    Parameters
    ----------
    path : Path
        JPEG, PNG or WebP, whichever of these suffixes it has.

    Returns
    -------
    PictureHead

    Raises
    ------
    InputError
        If it is none of these, too large, or damaged where that shows already.
    """
    with reading(path, _KIND), path.open("rb") as file:
        picture = _opened(file)
        return PictureHead(*picture.size, picture.mode in _GREY_MODES)


def read_pixels(path: Path, image_size: int, *, is_grey: bool) -> Pixels:
    r"""Return the middle square of a picture, upright and antialiased.

    Parameters
    ----------
    path : Path
        As in :func:`read_head`, with sides of at least ``image_size``.
    image_size : int
        Side of the result.
    is_grey : bool
        Whether grey values are returned, and colours refused.

    Returns
    -------
    array, shape (1 or 3, image_size, image_size)
        uint8; a grey picture has three equal channels where colours are asked for.

    Raises
    ------
    InputError
        If the picture is damaged, too small, transparent somewhere, or has colours
        where grey values are asked for.

    Notes
    -----
    Resampling is Pillow's bicubic one, as are the roundings. A JPEG much larger than
    the result is decoded at 1/2, 1/4 or 1/8 of its size.
    """
    with reading(path, _KIND), path.open("rb") as file:
        picture = _opened(file)
        if min(picture.size) < image_size:
            raise InputError(
                f"it has {picture.width} x {picture.height} pixels, fewer than "
                f"image_size = {image_size}; remove it, or give a smaller image_size"
            )
        if isinstance(picture, JpegImageFile) and picture.mode in ("L", "RGB"):
            picture.draft(picture.mode, (_SPARE * image_size, _SPARE * image_size))
        picture.load()
        turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
        plain = _plain(_opaque(picture), is_grey=is_grey)
    square = _middle(plain, image_size)
    if turn is not None:
        square = square.transpose(turn)
    pixels = np.asarray(square)
    if pixels.ndim == 2:
        return pixels[None]
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _opener(magic: bytes) -> Callable[[Any], Image]:
    """Return what reads a file that begins so.

    By class, not by Image.open: no other format is tried, and what a file claims is
    judged by our own limit instead of a global one.
    """
    if magic.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if magic.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if magic[:4] == b"RIFF" and magic[8:] == b"WEBP":
        return WebPImageFile
    raise InputError("it is neither JPEG nor PNG nor WebP; convert or remove it")


def _opened(file: BinaryIO) -> Image:
    size = file.seek(0, 2)
    if not 0 < size <= MAX_PICTURE_BYTES:
        raise InputError(
            f"it has {size} bytes; pictures have 1 to {MAX_PICTURE_BYTES}: remove it"
        )
    file.seek(0)
    magic = file.read(_MAGIC)
    file.seek(0)
    try:
        picture = _opener(magic)(file)
    except DecompressionBombError as error:
        raise InputError(f"it claims too many pixels ({error}); remove it") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"it claims {width} x {height} pixels; at most {MAX_PIXELS} are read: make "
            "it smaller, or remove it"
        )
    return picture


def _opaque(picture: Image) -> Image:
    """Return the picture without palette and without a channel of opacity."""
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    if picture.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        lowest, _ = picture.getchannel("A").getextrema()
        if not isinstance(lowest, int | float) or lowest < _WHITE:
            raise InputError(
                "it has transparent pixels, whose colour is not defined; save it "
                "opaque, on white for example"
            )
        picture = picture.convert("L" if picture.mode[0] == "L" else "RGB")
    return picture


def _plain(picture: Image, *, is_grey: bool) -> Image:
    """Return the picture with 8 bits a channel, grey or in colours."""
    if picture.mode.startswith("I"):
        picture = _of_8_bits(picture)
    if picture.mode in ("1", "L"):
        return picture.convert("L" if is_grey else "RGB")
    if is_grey:
        raise InputError("it has colours where the others are grey; convert it")
    return picture.convert("RGB")


def _of_8_bits(picture: Image) -> Image:
    levels: npt.NDArray[Any] = np.asarray(picture).astype(np.int64)
    if levels.min() < 0 or levels.max() > _WHITE_16:
        raise InputError("its integers must have 8 or 16 bits; save it so")
    # 65535 = 257 * 255, so this is the nearest of 256 levels.
    return fromarray(((levels + 128) // 257).astype(np.uint8))


def _middle(picture: Image, image_size: int) -> Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    middle = picture.crop((left, top, left + side, top + side))
    # Not resize(box=...), which would take pixels beyond the square into account.
    return middle.resize((image_size, image_size), Resampling.BICUBIC)
