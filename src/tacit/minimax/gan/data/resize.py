"""Images in memory brought to one square size."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tacit.errors import InputError

MIN_SIZE, MAX_SIZE = 4, 1024
"""Least and largest ``image_size``."""

_CHUNK = 2**24  # numbers that are floats at a time


def check_image_size(image_size: int) -> None:
    """Refuse a size that is out of range.

    Raises
    ------
    InputError
        If it is.
    """
    if not MIN_SIZE <= image_size <= MAX_SIZE:
        raise InputError(
            f"image_size must be in {MIN_SIZE}..{MAX_SIZE}; got {image_size}"
        )


def resized(images: Tensor, image_size: int) -> Tensor:
    r"""Return the middle square of images, resampled.

    Bicubic with antialiasing, as :meth:`PIL.Image.Image.resize` does it for floats.

    Parameters
    ----------
    images : Tensor, shape (num_images, channels, height, width)
        uint8, or float32 from -1 to 1.
    image_size : int
        Side of the result; smaller or larger than before.

    Returns
    -------
    Tensor, shape (num_images, channels, image_size, image_size)
        Of the same dtype; the images themselves if they have that size.

    Raises
    ------
    InputError
        If ``image_size`` is out of range.
    """
    check_image_size(image_size)
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = images[:, :, top : top + side, left : left + side]
    if side == image_size:
        return middle.contiguous()
    shape = (*images.shape[:2], image_size, image_size)
    found = torch.empty(shape, dtype=images.dtype)
    if not len(images):
        return found
    per_image = images.shape[1] * max(side, image_size) ** 2
    size = max(_CHUNK // per_image, 1)
    for old, new in zip(middle.split(size), found.split(size), strict=True):
        values = interpolate(
            old.to(torch.float32),
            (image_size, image_size),
            mode="bicubic",
            align_corners=False,
            antialias=True,
        )
        # Bicubic overshoots at edges.
        if images.dtype == torch.uint8:
            new.copy_(values.round_().clamp_(0.0, 255.0))
        else:
            new.copy_(values.clamp_(-1.0, 1.0))
    return found
