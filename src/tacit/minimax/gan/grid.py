"""Images between -1 and 1, their pixels, and many of them in one picture."""

import math
from io import BytesIO

import torch
from PIL.Image import fromarray
from torch import Tensor

from tacit.errors import InputError, ShapeError

_HALF = 127.5  # half of the range of a pixel
_WHITE = 255
_MAX_SIDE = 2**15  # of a picture of many


def to_pixels(images: Tensor) -> Tensor:
    r"""Return the pixels of images, :math:`\mathrm{round}(127.5\,(x + 1))`.

    Parameters
    ----------
    images : Tensor
        Floating point of any shape and device, from -1 (black) to 1 (white); what lies
        beyond is cut.

    Returns
    -------
    Tensor
        uint8 of the same shape and device; ``to_pixels(from_pixels(p))`` is ``p``.

    Raises
    ------
    InputError
        If they are no floating point numbers, or not finite.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.gan.grid import to_pixels
    >>> to_pixels(torch.tensor([-1.0, 0.2, 1.5])).tolist()
    [0, 153, 255]
    """
    if not images.dtype.is_floating_point:
        raise InputError(f"images must be floating point; got {images.dtype}")
    if not bool(torch.isfinite(images).all()):
        raise InputError(
            "images must be finite; got NaN or infinity among their values: training "
            "has diverged, or the data need cleaning"
        )
    # In float32 at least: half precision has no room for 256 levels.
    scaled = (images.detach().to(torch.float32) + 1.0).mul_(_HALF)
    return scaled.round_().clamp_(0.0, float(_WHITE)).to(torch.uint8)


def from_pixels(pixels: Tensor) -> Tensor:
    r"""Return images :math:`x = p / 127.5 - 1`, from -1 (black) to 1 (white).

    Parameters
    ----------
    pixels : Tensor
        uint8 of any shape and device.

    Returns
    -------
    Tensor
        float32 of the same shape and device.

    Raises
    ------
    InputError
        If they are not uint8.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.gan.grid import from_pixels
    >>> from_pixels(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    [-1.0, 1.0]
    """
    if pixels.dtype != torch.uint8:
        raise InputError(f"pixels must be uint8; got {pixels.dtype}")
    return pixels.to(torch.float32).div_(_HALF).sub_(1.0)


def sample_grid(
    images: Tensor,
    *,
    columns: int | None = None,
    margin: int = 2,
    magnification: int = 1,
) -> Tensor:
    r"""Return one picture of many images, row by row, with white between them.

    Parameters
    ----------
    images : Tensor, shape (num_images, 1 or 3, height, width)
        From -1 to 1, or uint8 pixels.
    columns : int, optional
        Images side by side; by default the least whose square holds all of them.
    margin : int
        White pixels around every image.
    magnification : int
        How many pixels wide and high each pixel becomes.

    Returns
    -------
    Tensor, shape (rows * (m * height + margin) + margin, ..., 3)
        uint8 on the CPU, the last axis red, green and blue; m is the magnification.

    Raises
    ------
    ShapeError
        If these are no images, or none.
    InputError
        If values are not finite, or the layout is impossible.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.gan.grid import sample_grid
    >>> sample_grid(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([22, 32, 3])
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ShapeError(
            "images must have shape (num_images, 1 or 3, height, width); got "
            f"{tuple(images.shape)}; draw vectors as points instead"
        )
    count, channels, height, width = images.shape
    across = math.isqrt(count - 1) + 1 if columns is None else columns
    if across < 1 or margin < 0 or magnification < 1:
        raise InputError(
            "columns and magnification must be at least 1, margin at least 0; got "
            f"{across}, {magnification} and {margin}"
        )
    across = min(across, count)
    down = -(-count // across)
    high, wide = magnification * height + margin, magnification * width + margin
    if max(down * high, across * wide) + margin > _MAX_SIDE:
        raise InputError(
            f"{count} images of {width} x {height} pixels need a picture of "
            f"{across * wide} x {down * high}; at most {_MAX_SIDE} x {_MAX_SIDE} are "
            "drawn: show fewer"
        )
    pixels = images if images.dtype == torch.uint8 else to_pixels(images)
    large = pixels.cpu().repeat_interleave(magnification, dim=2)
    large = large.repeat_interleave(magnification, dim=3)
    # Every cell is an image with its margin below and to the right of it.
    cells = torch.full((down * across, channels, high, wide), _WHITE, dtype=torch.uint8)
    cells[:count, :, : high - margin, : wide - margin] = large
    rows = cells.reshape(down, across, channels, high, wide).permute(0, 3, 1, 4, 2)
    grid = torch.full(
        (down * high + margin, across * wide + margin, 3), _WHITE, dtype=torch.uint8
    )
    grid[margin:, margin:] = rows.reshape(down * high, across * wide, channels)
    return grid


def png_bytes(grid: Tensor) -> bytes:
    """Return a picture as the content of a ``.png`` file.

    Parameters
    ----------
    grid : Tensor, shape (height, width, 3)
        uint8, as :func:`sample_grid` makes it.

    Returns
    -------
    bytes

    Raises
    ------
    ShapeError
        If it is no such picture.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.gan.grid import png_bytes, sample_grid
    >>> png_bytes(sample_grid(torch.zeros(4, 1, 8, 8)))[1:4]
    b'PNG'
    """
    if grid.dtype != torch.uint8 or grid.ndim != 3 or grid.shape[-1] != 3:
        raise ShapeError(
            "a picture must be uint8 of shape (height, width, 3); got "
            f"{grid.dtype} of shape {tuple(grid.shape)}"
        )
    buffer = BytesIO()
    fromarray(grid.cpu().contiguous().numpy()).save(buffer, format="PNG")
    return buffer.getvalue()
