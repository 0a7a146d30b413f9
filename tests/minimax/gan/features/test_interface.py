from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.features.interface import (
    AbstractFeatures,
    check_images,
    checked_features,
    extract_features,
    feature_batches,
)


class Corners(AbstractFeatures):
    """First and last pixel, and how many images came at once."""

    name = "corners"
    dimension = 2
    digest = None
    preprocess = "none"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @override
    def extract(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return images.flatten(1)[:, [0, -1]].float()


def _images(num: int, generator: torch.Generator) -> Tensor:
    shape = (num, 1, 3, 4)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def test_batches_are_bounded_and_joined_in_order(generator: torch.Generator) -> None:
    features, images = Corners(), _images(11, generator)
    found = extract_features(features, images, batch_size=4)
    assert features.sizes == [4, 4, 3]
    assert found.dtype == torch.float32
    assert torch.equal(found, images.flatten(1)[:, [0, -1]].float())


def test_images_may_come_in_pieces(generator: torch.Generator) -> None:
    images = _images(11, generator)
    whole = extract_features(Corners(), images)
    pieces = (part for part in images.split([5, 0, 6]))
    assert torch.equal(extract_features(Corners(), pieces, batch_size=2), whole)


def test_no_more_pieces_are_taken_than_are_asked_for(
    generator: torch.Generator,
) -> None:
    taken: list[int] = []

    def pieces() -> Iterator[Tensor]:
        for number in range(5):
            taken.append(number)
            yield _images(3, generator)

    next(feature_batches(Corners(), pieces()))
    assert taken == [0]


def test_refuses_bad_requests(generator: torch.Generator) -> None:
    images = _images(2, generator)
    with pytest.raises(InputError, match="batch_size must be at least 1; got 0"):
        extract_features(Corners(), images, batch_size=0)
    with pytest.raises(InputError, match="there must be images"):
        extract_features(Corners(), images[:0])
    with pytest.raises(InputError, match="there must be images"):
        extract_features(Corners(), [])


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 2, 8, 8), (2, 8, 8, 3), (2, 1, 0, 8)])
def test_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"\(num_images, 1 or 3, height, width\)"):
        check_images(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_refuses_other_numbers(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=f"uint8 pixels; got {dtype}"):
        check_images(torch.zeros(1, 1, 2, 2, dtype=dtype))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_refuses_features_that_are_not_finite(value: float) -> None:
    features = torch.zeros(3, 2)
    features[1, 1] = value
    with pytest.raises(InputError, match="features must be finite"):
        checked_features(features, 3, 2)


def test_features_too_large_for_float32_are_refused() -> None:
    with pytest.raises(InputError, match="features must be finite"):
        checked_features(torch.full((1, 1), 1e200, dtype=torch.float64), 1, 1)


@pytest.mark.parametrize("shape", [(3, 3), (2, 2), (3,), (3, 2, 2, 1), (3, 2, 2)])
def test_refuses_features_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"features of shape \(3, 2\)"):
        checked_features(torch.zeros(shape), 3, 2)


def test_pooled_maps_are_features() -> None:
    found = checked_features(torch.ones(3, 2, 1, 1, dtype=torch.float64), 3, 2)
    assert found.shape == (3, 2)
    assert found.dtype == torch.float32
