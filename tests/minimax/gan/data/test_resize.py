"""Resizing against Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image

from tacit.errors import InputError
from tacit.minimax.gan.data import resize as module
from tacit.minimax.gan.data.resize import resized
from tacit.minimax.gan.grid import from_pixels


def by_pillow(image: np.ndarray, size: int) -> np.ndarray:
    """Return one channel as Pillow resamples its middle square."""
    height, width = image.shape
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    middle = Image.fromarray(image[top : top + side, left : left + side])
    # As floats: of bytes Pillow rounds and cuts between its two passes.
    found = middle.convert("F").resize((size, size), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(found), 0.0, 255.0)


@pytest.mark.parametrize("shape", [(32, 32), (45, 32), (20, 33)])
@pytest.mark.parametrize("size", [8, 13, 40])
def test_the_middle_is_resampled_as_pillow_does_it(
    shape: tuple[int, int],
    size: int,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = torch.randint(256, (5, 3, *shape), generator=generator).to(torch.uint8)
    monkeypatch.setattr(module, "_CHUNK", 2 * 3 * 45 * 45)  # a few images at a time
    found = resized(images, size)
    assert (found.dtype, found.shape) == (torch.uint8, (5, 3, size, size))
    for image, new in zip(images.flatten(0, 1), found.flatten(0, 1), strict=True):
        difference = new.numpy() - by_pillow(image.numpy(), size)
        assert np.abs(difference).max() <= 0.5 + 1e-3


def test_floats_stay_in_their_range_and_agree(generator: torch.Generator) -> None:
    pixels = torch.randint(2, (4, 1, 20, 20), generator=generator).to(torch.uint8) * 255
    found = resized(from_pixels(pixels), 33)
    assert found.dtype == torch.float32
    assert float(found.abs().max()) <= 1.0
    difference = (found - from_pixels(resized(pixels, 33))).abs()
    assert float(difference.max()) <= 0.5 / 127.5 + 1e-5


def test_images_of_that_size_are_only_cropped(generator: torch.Generator) -> None:
    images = torch.randint(256, (3, 1, 9, 12), generator=generator).to(torch.uint8)
    assert torch.equal(resized(images, 9), images[:, :, :, 1:10])


def test_no_images_are_no_trouble() -> None:
    images = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    assert resized(images, 16).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("size", [-1, 0, 3, 1025])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(InputError, match=rf"in 4\.\.1024; got {size}"):
        resized(torch.zeros(1, 1, 8, 8), size)
