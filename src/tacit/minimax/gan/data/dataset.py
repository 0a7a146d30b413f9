"""What samples are: the interface of all data, and samples held in memory."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.data.gaussians import GaussianMixture
from tacit.minimax.gan.grid import from_pixels

DigestOf = Literal["samples", "files", "names and sizes of files"]
"""What a digest was taken of."""

_CHUNK = 2**24  # numbers that are turned into bytes at a time


class AbstractDataset(ABC):
    """Samples of one shape that can be had in batches, in any order.

    A dataset has a ``name`` (str), which is for people and identifies nothing.

    Examples
    --------
    >>> import tacit
    >>> issubclass(tacit.ArrayDataset, tacit.AbstractDataset)
    True
    """

    name: str

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample: (channels, height, width), or (dimension,) of a vector."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def batch(self, indices: Tensor) -> Tensor:
        r"""Return some of the samples.

        Parameters
        ----------
        indices : Tensor, shape (batch_size,)
            int64 in ``0..num_samples - 1``, in any order, repeated or not.

        Returns
        -------
        Tensor, shape (batch_size, *shape)
            float32 and new; images from -1 to 1, :math:`x = p / 127.5 - 1` of their
            pixels p.

        Raises
        ------
        ShapeError
            If indices are no vector of int64.
        InputError
            If a sample cannot be read; the sentence names its file.
        """


def check_indices(indices: Tensor, num_samples: int) -> None:
    """Refuse what is no vector of indices.

    Raises
    ------
    ShapeError
        If it has another shape or dtype, or an index is out of range.
    """
    if indices.ndim != 1 or indices.dtype != torch.int64:
        raise ShapeError(
            "indices must be a vector of int64; got "
            f"{indices.dtype} of shape {tuple(indices.shape)}"
        )
    if indices.numel() and not (
        int(indices.min()) >= 0 and int(indices.max()) < num_samples
    ):
        raise ShapeError(
            f"indices must be in 0..{num_samples - 1}; got {int(indices.min())} to "
            f"{int(indices.max())}"
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayDataset(AbstractDataset):
    """Samples in memory.

    Parameters
    ----------
    name : str
    samples : Tensor, shape (num_samples, ...)
        Images (num_samples, channels, height, width) as uint8 pixels, or as float32
        from -1 to 1; vectors (num_samples, dimension) as float32. On any device, where
        batches then are made too.
    labels : Tensor, shape (num_samples,), optional
        int64 classes, where the data have them; on the CPU.

    Raises
    ------
    ShapeError
        If there are no samples, or shapes disagree.
    InputError
        If samples are of another dtype, not finite, or images beyond -1 to 1.

    Examples
    --------
    >>> import tacit, torch
    >>> black = torch.zeros(10, 1, 8, 8, dtype=torch.uint8)
    >>> data = tacit.ArrayDataset(name="black", samples=black)
    >>> data.batch(torch.tensor([3, 1])).shape
    torch.Size([2, 1, 8, 8])
    """

    name: str
    samples: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.samples.shape)
        if len(shape) not in (2, 4) or 0 in shape:
            raise ShapeError(
                "samples must have shape (num_samples, channels, height, width) or "
                f"(num_samples, dimension), none of them 0; got {shape}"
            )
        if len(shape) == 4 and shape[1] not in (1, 3):
            raise ShapeError(f"images must have 1 or 3 channels; got {shape[1]}")
        if self.labels is not None and (
            self.labels.shape != shape[:1] or self.labels.dtype != torch.int64
        ):
            raise ShapeError(
                f"there must be one int64 label for each of {shape[0]} samples; got "
                f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            )
        if self.samples.dtype == torch.uint8 and len(shape) == 4:
            return
        if self.samples.dtype != torch.float32:
            raise InputError(
                "samples must be float32, or uint8 pixels of images; got "
                f"{self.samples.dtype} of shape {shape}"
            )
        low, high = (float(value) for value in torch.aminmax(self.samples))
        # Written so that NaN, which compares as false, is refused too.
        limit = 1.0 if len(shape) == 4 else torch.finfo(torch.float32).max
        if not (-limit <= low and high <= limit):
            raise InputError(
                "samples must be finite, images between -1 and 1; got values from "
                f"{low:.6g} to {high:.6g}; rescale or clean them"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.samples.shape[1:])

    @property
    def num_samples(self) -> int:
        return self.samples.shape[0]

    def batch(self, indices: Tensor) -> Tensor:
        check_indices(indices, self.num_samples)
        chosen = self.samples.index_select(0, indices.to(self.samples.device))
        return from_pixels(chosen) if chosen.dtype == torch.uint8 else chosen


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GanData:
    """What a GAN learns from, and what it is judged by.

    Parameters
    ----------
    name : str
    train : AbstractDataset
    test : AbstractDataset or None
        Samples that take no part in training, of the same shape.
    digest : str
        SHA-256 in hexadecimal; other data have another one.
    digest_of : {"samples", "files", "names and sizes of files"}
        What it was taken of: all numbers; the files' content; or, of large folders,
        only which files there are and how many bytes they have.
    split : str
        How the held-out samples were chosen, for people.
    mixture : GaussianMixture or None
        The distribution itself, where it is known.

    Raises
    ------
    ShapeError
        If the held-out samples have another shape.

    Examples
    --------
    >>> import tacit
    >>> data = tacit.read_data("digits")
    >>> data.train.shape, data.train.num_samples, data.test.num_samples
    ((1, 8, 8), 1438, 359)
    """

    name: str
    train: AbstractDataset
    test: AbstractDataset | None
    digest: str
    digest_of: DigestOf = "samples"
    split: str = "none held out"
    mixture: GaussianMixture | None = None

    def __post_init__(self) -> None:
        if self.test is not None and self.test.shape != self.train.shape:
            raise ShapeError(
                f"held-out samples must have the shape of the others, "
                f"{self.train.shape}; got {self.test.shape}"
            )


def digest_of_samples(parts: Sequence[Tensor | None]) -> str:
    """Return the SHA-256 of tensors on the CPU: of dtypes, shapes and bytes.

    The bytes are little-endian in C order; ``None`` differs from every tensor.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.gan.data.dataset import digest_of_samples
    >>> digest_of_samples([torch.zeros(2)]) == digest_of_samples([torch.zeros(2, 1)])
    False
    """
    found = hashlib.sha256()
    for part in parts:
        if part is None:
            found.update(b"none;")
            continue
        array = part.contiguous().numpy()
        found.update(f"{part.dtype} {tuple(part.shape)};".encode())
        flat = array.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            chunk = flat[start : start + _CHUNK]
            found.update(chunk.astype(chunk.dtype.newbyteorder("<"), copy=False).data)
    return found.hexdigest()


def every_nth(num_samples: int, period: int) -> tuple[Tensor, Tensor]:
    """Return which samples are kept for training, and which are held out.

    Held out are those with ``index % period == period - 1``.

    Examples
    --------
    >>> from tacit.minimax.gan.data.dataset import every_nth
    >>> [part.tolist() for part in every_nth(7, 3)]
    [[0, 1, 3, 4, 6], [2, 5]]
    """
    indices = torch.arange(num_samples)
    is_held_out = indices % period == period - 1
    return indices[~is_held_out], indices[is_held_out]
