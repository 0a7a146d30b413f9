"""What turns images into features, and features of many images."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError

_IMAGE_CHANNELS = (1, 3)


class AbstractFeatures(ABC):
    """Something that has a vector of features for every image.

    It has a ``name`` (str, for people); the ``dimension`` of its features; a ``digest``
    (SHA-256 in hexadecimal of the weights, or None) that tells two extractors of one
    name apart; and ``preprocess`` (str), which says in words what is done to the pixels
    before.

    Examples
    --------
    >>> import tacit
    >>> features = tacit.digits_features()
    >>> isinstance(features, tacit.AbstractFeatures), features.dimension
    (True, 64)
    """

    name: str
    dimension: int
    digest: str | None
    preprocess: str

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """Return the features of one batch of images.

        Parameters
        ----------
        images : Tensor, shape (batch_size, channels, height, width)
            uint8 pixels on any device; 1 (grey) or 3 (red, green, blue) channels.

        Returns
        -------
        Tensor, shape (batch_size, dimension)
            float32 on the CPU, finite.

        Raises
        ------
        ShapeError
            If images are no such batch, or the features have another shape.
        InputError
            If they are not uint8, or a feature is not finite.
        """


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of pixels.

    Raises
    ------
    InputError
        If it is not uint8.
    ShapeError
        If it has another shape than (batch_size, 1 or 3, height, width).
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] not in _IMAGE_CHANNELS or 0 in shape[2:]:
        raise ShapeError(
            f"images must have shape (num_images, 1 or 3, height, width); got {shape}"
        )
    if images.dtype != torch.uint8:
        raise InputError(
            f"images must be uint8 pixels; got {images.dtype}; turn images from -1 to "
            "1 into pixels first (to_pixels)"
        )


def checked_features(values: Tensor, num_images: int, dimension: int) -> Tensor:
    """Return features as float32 on the CPU, if they are what they should be.

    Parameters
    ----------
    values : Tensor, shape (num_images, dimension) or (num_images, dimension, 1, 1)
    num_images, dimension : int
        What is expected.

    Raises
    ------
    ShapeError
        If they have another shape.
    InputError
        If one is NaN or infinite.
    """
    found = tuple(values.shape)
    if found[:2] != (num_images, dimension) or any(size != 1 for size in found[2:]):
        raise ShapeError(
            f"{num_images} images must give features of shape "
            f"{(num_images, dimension)}; got {found}; pool over positions, and name "
            "the right dimension"
        )
    features = values.detach().to("cpu", torch.float32).reshape(num_images, dimension)
    if not bool(features.isfinite().all()):
        raise InputError(
            "features must be finite; some are NaN or infinite: the extractor's "
            "weights are damaged, or it expects other pixel values"
        )
    return features


def extract_features(
    features: AbstractFeatures,
    images: Tensor | Iterable[Tensor],
    *,
    batch_size: int = 64,
) -> Tensor:
    """Return the features of many images, taken batch by batch.

    Parameters
    ----------
    features : AbstractFeatures
    images : Tensor, shape (num_images, channels, height, width), or iterable of such
        uint8 pixels. Of an iterable one item is held at a time.
    batch_size : int
        Images that the extractor gets at once: bounds the memory it takes.

    Returns
    -------
    Tensor, shape (num_images, dimension)
        float32 on the CPU.

    Raises
    ------
    InputError
        If ``batch_size`` is not positive, there are no images, or as
        :meth:`AbstractFeatures.extract`.
    ShapeError
        As :meth:`AbstractFeatures.extract`.

    Examples
    --------
    >>> import tacit, torch
    >>> images = torch.zeros(100, 1, 8, 8, dtype=torch.uint8)
    >>> tacit.extract_features(tacit.digits_features(), images).shape
    torch.Size([100, 64])
    """
    parts = list(feature_batches(features, images, batch_size=batch_size))
    if not parts:
        raise InputError("there must be images to take features of; got none")
    return torch.cat(parts)


def feature_batches(
    features: AbstractFeatures,
    images: Tensor | Iterable[Tensor],
    *,
    batch_size: int = 64,
) -> Iterator[Tensor]:
    """Yield the features of many images batch by batch, and keep none of them.

    Parameters
    ----------
    features, images, batch_size
        As in :func:`extract_features`.

    Yields
    ------
    Tensor, shape (at most batch_size, dimension)

    Raises
    ------
    InputError, ShapeError
        As :func:`extract_features`, but nothing is yielded of no images.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1; got {batch_size}")
    for item in (images,) if isinstance(images, Tensor) else images:
        check_images(item)
        for batch in item.split(batch_size):
            if len(batch):
                found = features.extract(batch)
                yield checked_features(found, len(batch), features.dimension)
