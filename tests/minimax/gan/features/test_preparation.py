from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.features.preparation import PixelValues, Preparation


def _images(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("values", "black", "white"),
    [
        ("0..1", [0.0] * 3, [1.0] * 3),
        ("-1..1", [-1.0] * 3, [1.0] * 3),
        ("0..255", [0.0] * 3, [255.0] * 3),
        # The values of torchvision's documentation, worked out by hand.
        ("imagenet", [-2.117904, -2.035714, -1.804444], [2.248908, 2.428571, 2.64]),
    ],
)
def test_black_and_white(
    values: PixelValues, black: list[float], white: list[float]
) -> None:
    preparation = Preparation(values=values, channels=3)
    for pixel, wanted in ((0, black), (255, white)):
        images = torch.full((2, 1, 2, 2), pixel, dtype=torch.uint8)
        found = preparation.apply(images)
        expected = torch.tensor(wanted).reshape(1, 3, 1, 1).expand(2, 3, 2, 2)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_all_pixels_survive_as_bytes() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    found = Preparation(values="0..255").apply(pixels)
    assert torch.equal(found.round().to(torch.uint8), pixels)
    assert float((found - found.round()).abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
    ],
)
@pytest.mark.parametrize("size", [(5, 7), (40, 33)])
def test_resizes_as_pillow_does(
    name: str,
    method: Image.Resampling,
    size: tuple[int, int],
    generator: torch.Generator,
) -> None:
    images = _images((1, 1, 24, 20), generator)
    preparation = Preparation(size=size, resampling=name)  # pyright: ignore[reportArgumentType]
    found = preparation.apply(images)[0, 0]
    picture = Image.fromarray(images[0, 0].numpy().astype(np.float32))
    resized = np.asarray(picture.resize((size[1], size[0]), method))
    wanted = torch.from_numpy(resized / 255.0).clamp(0.0, 1.0)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_without_antialiasing_four_pixels_count(generator: torch.Generator) -> None:
    images = _images((1, 1, 8, 8), generator)
    preparation = Preparation(size=(2, 2), resampling="bilinear without antialiasing")
    # Centres of the halves lie between pixels 1 and 2, and between 5 and 6.
    pixels = images[0, 0].float() / 255.0
    wanted = torch.stack(
        [
            torch.stack([pixels[i : i + 2, j : j + 2].mean() for j in (1, 5)])
            for i in (1, 5)
        ]
    )
    torch.testing.assert_close(preparation.apply(images)[0, 0], wanted)


def test_grey_becomes_three_equal_channels(generator: torch.Generator) -> None:
    images = _images((2, 1, 4, 4), generator)
    found = Preparation(channels=3).apply(images)
    assert found.shape == (2, 3, 4, 4)
    assert torch.equal(found[:, 0], found[:, 2])
    colour = _images((2, 3, 4, 4), generator)
    assert torch.equal(Preparation(channels=3).apply(colour), colour.float() / 255.0)
    assert Preparation().apply(images).shape == (2, 1, 4, 4)


def test_colour_is_refused_where_grey_is_expected(generator: torch.Generator) -> None:
    with pytest.raises(ShapeError, match="must be grey"):
        Preparation(channels=1).apply(_images((2, 3, 4, 4), generator))


def test_images_stay_as_they_are(generator: torch.Generator) -> None:
    images = _images((2, 1, 4, 4), generator)
    before = images.clone()
    found = Preparation(size=(4, 4), values="0..1").apply(images)
    found += 1.0
    assert torch.equal(images, before)


def test_says_what_it_does() -> None:
    preparation = Preparation(values="imagenet", size=(3, 5), channels=3)
    assert str(preparation) == (
        "resized to 3 x 5 (bilinear), 3 channels, values of ImageNet (mean 0, "
        "deviation 1)"
    )
    assert str(replace(preparation, channels=1, values="0..1", size=None)) == (
        "1 channel, values 0..1"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": "0..2"}, "values must be one of '0..1'"),
        ({"channels": 2}, "channels must be one of 1, 3, None; got 2"),
        ({"resampling": "nearest"}, "resampling must be one of"),
        ({"values": "imagenet"}, "pass channels=3"),
        ({"size": (0, 4)}, r"in 1\.\.4096; got \(0, 4\)"),
        ({"size": (4, 5000)}, "size must be"),
        ({"size": (4, 4, 4)}, "size must be"),
    ],
)
def test_refuses_what_it_does_not_know(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Preparation(**options)  # pyright: ignore[reportArgumentType]
