r"""Photographs in ``.png``, ``.jpg`` and ``.tif`` files, read as grey values."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Image, fromarray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers.observation import Observation

MAX_PIXELS = 2**22
"""Most pixels of a picture that is read: 2048 x 2048."""

SUFFIXES = {
    ".png": "a PNG picture",
    ".jpg": "a JPEG picture",
    ".jpeg": "a JPEG picture",
    ".tif": "a TIFF picture",
    ".tiff": "a TIFF picture",
}
# By class, not by Image.open: no other format is tried, and what a file claims is
# judged by our own limit instead of a global one.
_OPENERS: dict[str, Callable[[Any], Image]] = {
    ".png": PngImageFile,
    ".jpg": JpegImageFile,
    ".jpeg": JpegImageFile,
    ".tif": TiffImageFile,
    ".tiff": TiffImageFile,
}
_WHITE_8, _WHITE_16 = 255.0, 65535.0
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow

Pixels = npt.NDArray[Any]


def read_image(path: Path) -> Observation:
    r"""Return the grey values of a picture: 0 black, 1 white.

    Colours become luminance, :math:`0.299 R + 0.587 G + 0.114 B`. Values are taken as
    proportional to light; those of most cameras are not quite (gamma).

    Parameters
    ----------
    path : Path
        PNG, JPEG or TIFF; 1, 8 or 16 bits, or floats, without transparent pixels.

    Returns
    -------
    Observation
        ``(1, height, width)``.

    Raises
    ------
    InputError
        If the picture claims too many pixels, is transparent somewhere, or a value is
        not finite.
    OSError, ValueError, SyntaxError, and others
        If the file is damaged.

    Examples
    --------
    >>> import torch
    >>> from pathlib import Path
    >>> from tacit.recovery.deconvolution.readers.images import png_bytes, read_image
    >>> content, _ = png_bytes(torch.tensor([[0.0, 1.0], [0.2, 0.4]]))
    >>> _ = Path("four.png").write_bytes(content)
    >>> read_image(Path("four.png")).values.tolist()
    [[[0.0, 1.0], [0.2, 0.4]]]
    """
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        picture = _OPENERS[suffix](file)
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise InputError(
                f"it claims {width} x {height} pixels; at most {MAX_PIXELS} are read: "
                "cut out a part, or make it smaller"
            )
        notes: list[str] = []
        picture.load()
        grey, step = _grey(_opaque(picture, notes), notes)
    if not np.isfinite(grey).all():
        raise InputError("it has pixels that are not finite; fill them in")
    if suffix in (".jpg", ".jpeg"):
        notes.append(
            "JPEG changes pixels by more than rounding, and how much is not known; "
            "--noise says it"
        )
    return Observation(
        values=torch.from_numpy(grey)[None], kind="image", step=step, notes=tuple(notes)
    )


def _opaque(picture: Image, notes: list[str]) -> Image:
    """Return the picture without palette and without a channel of opacity."""
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    if picture.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        lowest, _ = picture.getchannel("A").getextrema()
        if not isinstance(lowest, int | float) or lowest < _WHITE_8:
            raise InputError(
                "it has transparent pixels, which hide what was seen; save it opaque"
            )
        notes.append("its channel of opacity, which is full everywhere, was dropped")
        picture = picture.convert("L" if picture.mode[0] == "L" else "RGB")
    return picture


def _grey(picture: Image, notes: list[str]) -> tuple[Pixels, float]:
    """Return grey values from 0 to 1, and their step."""
    mode = picture.mode
    if mode == "F":
        return np.asarray(picture, dtype=np.float64), 0.0
    if mode == "1":
        return np.asarray(picture, dtype=np.float64), 1.0
    if mode == "L":
        return np.asarray(picture, dtype=np.float64) / _WHITE_8, 1.0 / _WHITE_8
    if mode.startswith("I"):
        levels = np.asarray(picture).astype(np.float64)
        if levels.min() < 0.0 or levels.max() > _WHITE_16:
            raise InputError(
                "its integers must have 16 bits; they go from "
                f"{levels.min():.0f} to {levels.max():.0f}: save it so, or as floats"
            )
        return levels / _WHITE_16, 1.0 / _WHITE_16
    notes.append("colours were reduced to their luminance")
    colours = np.asarray(picture.convert("RGB"), dtype=np.float64)
    return colours @ np.array(_LUMINANCE) / _WHITE_8, 1.0 / _WHITE_8


def png_bytes(grey: Tensor) -> tuple[bytes, int]:
    r"""Return a grey ``.png`` picture of 8 bits.

    Parameters
    ----------
    grey : Tensor, shape (height, width)
        Real; 0 becomes black, 1 white, and what lies beyond is cut.

    Returns
    -------
    content : bytes
    num_cut : int
        Pixels that were more than half a level beyond black or white.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.readers.images import png_bytes
    >>> png_bytes(torch.tensor([[0.5, 1.5]]))[1]
    1
    """
    levels = torch.round(grey.to(torch.float64) * _WHITE_8)
    kept = levels.clamp(0.0, _WHITE_8)
    buffer = BytesIO()
    fromarray(kept.to(torch.uint8).numpy()).save(buffer, format="PNG")
    return buffer.getvalue(), int((levels != kept).sum())
