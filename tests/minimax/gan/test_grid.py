"""Pixels and back, pictures of many images, and files that Pillow reads."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.grid import from_pixels, png_bytes, sample_grid, to_pixels


def test_every_pixel_comes_back() -> None:
    pixels = torch.arange(256).to(torch.uint8)
    images = from_pixels(pixels)
    np.testing.assert_allclose(images, np.arange(256) / 127.5 - 1.0, atol=1e-7)
    assert torch.equal(to_pixels(images), pixels)


def test_pixels_are_the_nearest_ones(generator: torch.Generator) -> None:
    images = 2.4 * torch.rand(1000, generator=generator, dtype=torch.float64) - 1.2
    exact = (images.clamp(-1.0, 1.0) + 1.0) * 127.5
    assert float((to_pixels(images) - exact).abs().max()) <= 0.5 + 1e-4


def test_half_precision_loses_no_more_than_it_must() -> None:
    images = torch.linspace(-1.0, 1.0, 101).to(torch.float16)
    assert torch.equal(to_pixels(images), to_pixels(images.to(torch.float32)))


def test_the_images_themselves_stay_as_they_are() -> None:
    images = torch.zeros(3, requires_grad=True)
    assert not to_pixels(images).requires_grad
    assert images.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_has_no_pixels(value: float) -> None:
    with pytest.raises(InputError, match="must be finite"):
        to_pixels(torch.tensor([0.0, value]))


def test_dtypes_are_not_guessed() -> None:
    with pytest.raises(InputError, match="floating point"):
        to_pixels(torch.tensor([1]))
    with pytest.raises(InputError, match="uint8"):
        from_pixels(torch.tensor([1.0]))


def by_hand(
    pixels: np.ndarray, columns: int, margin: int, magnification: int
) -> np.ndarray:
    """Paste one image after the other."""
    count, channels, height, width = pixels.shape
    high, wide = magnification * height, magnification * width
    rows = -(-count // columns)
    size = (columns * (wide + margin) + margin, rows * (high + margin) + margin)
    picture = Image.new("RGB", size, "white")
    for number, image in enumerate(pixels):
        one = Image.fromarray(image[0] if channels == 1 else image.transpose(1, 2, 0))
        one = one.convert("RGB").resize((wide, high), Image.Resampling.NEAREST)
        row, column = divmod(number, columns)
        picture.paste(
            one, (margin + column * (wide + margin), margin + row * (high + margin))
        )
    return np.asarray(picture)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("count", "columns", "margin", "magnification"),
    [(1, 1, 0, 1), (5, 3, 2, 1), (7, 4, 1, 3), (6, 6, 0, 2)],
)
def test_a_grid_is_what_pasting_makes(
    channels: int,
    count: int,
    columns: int,
    margin: int,
    magnification: int,
    generator: torch.Generator,
) -> None:
    shape = (count, channels, 4, 5)
    pixels = torch.randint(256, shape, generator=generator).to(torch.uint8)
    grid = sample_grid(
        pixels, columns=columns, margin=margin, magnification=magnification
    )
    expected = by_hand(pixels.numpy(), columns, margin, magnification)
    np.testing.assert_array_equal(grid, expected)
    again = sample_grid(
        from_pixels(pixels), columns=columns, margin=margin, magnification=magnification
    )
    assert torch.equal(again, grid)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (9, 3), (10, 4)])
def test_by_default_a_grid_is_about_square(count: int, columns: int) -> None:
    images = torch.zeros(count, 1, 4, 4)
    assert torch.equal(sample_grid(images), sample_grid(images, columns=columns))


def test_more_columns_than_images_leave_no_gap() -> None:
    images = torch.zeros(2, 1, 4, 4)
    assert sample_grid(images, columns=9, margin=0).shape == (4, 8, 3)


@pytest.mark.parametrize("shape", [(5, 2), (5, 2, 4, 4), (0, 1, 4, 4), (5, 1, 4, 0)])
def test_what_is_no_image_has_no_grid(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="must have shape"):
        sample_grid(torch.zeros(shape))


def test_impossible_layouts_are_refused() -> None:
    images = torch.zeros(2, 1, 4, 4)
    with pytest.raises(InputError, match="at least 1, margin"):
        sample_grid(images, columns=0)
    with pytest.raises(InputError, match="at least 1, margin"):
        sample_grid(images, margin=-1)
    with pytest.raises(InputError, match="show fewer"):
        sample_grid(images, magnification=10**4)


def test_pillow_reads_what_is_written(generator: torch.Generator) -> None:
    grid = torch.randint(256, (6, 7, 3), generator=generator).to(torch.uint8)
    read = np.asarray(Image.open(BytesIO(png_bytes(grid))))
    np.testing.assert_array_equal(read, grid)
    with pytest.raises(ShapeError, match="height, width, 3"):
        png_bytes(grid[..., 0])
