r"""Signals that are zero outside a known support: short kernels, sparse channels."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.subspaces.subspace import AbstractSubspace, SubspaceSpec


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SupportSubspace(AbstractSubspace):
    r"""Signals with a known support: B holds some columns of the identity.

    .. math:: (B h)_{p_i} = h_i, \qquad \text{0 elsewhere}

    Parameters
    ----------
    indices : Tensor, shape (dimension,)
        :math:`p_i`, int64, different from each other: places in the signal, which is
        read row by row.
    shape : tuple of int
        Shape of a signal.
    dtype : torch.dtype
        Of coefficients and signals.

    Raises
    ------
    ShapeError
        If ``indices`` is not a vector, or ``shape`` has other than one or two positive
        sizes.
    InputError
        If an index is out of range or comes twice.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.subspaces.support import SupportSubspace
    >>> echo = SupportSubspace(indices=torch.tensor([0, 3]), shape=(5,))
    >>> echo.synthesise(torch.tensor([1.0, 0.5], dtype=torch.float64)).tolist()
    [1.0, 0.0, 0.0, 0.5, 0.0]
    """

    indices: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        require_places("indices", self.indices, self.shape)
        _ = self.spec  # refuses grids and dtypes

    @property
    def spec(self) -> SubspaceSpec:
        return SubspaceSpec(
            grid=self.shape,
            dimension=self.indices.shape[0],
            dtype=self.dtype,
            device=self.indices.device,
            is_orthonormal=True,
        )

    def synthesise(self, coefficients: Tensor) -> Tensor:
        batch = coefficients.shape[:-1]
        signals = coefficients.new_zeros(*batch, math.prod(self.shape))
        signals.index_copy_(-1, self.indices, coefficients)
        return signals.unflatten(-1, self.shape)

    def analyse(self, signals: Tensor) -> Tensor:
        return signals.flatten(-len(self.shape)).index_select(-1, self.indices)


def centred_support(grid: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    r"""Return the places of a short kernel whose centre is at the origin.

    With circular boundaries such a kernel blurs an image without moving it. Along each
    dimension a kernel of size s covers the offsets :math:`-\lfloor s / 2 \rfloor,
    \dots, \lceil s / 2 \rceil - 1`, modulo the grid's size.

    Parameters
    ----------
    shape : tuple of int
        Shape of a signal.
    shape : tuple of int
        Shape of the kernel, at most the grid in every dimension.

    Returns
    -------
    Tensor, shape (prod(shape),)
        int64; in the kernel's own order, so that ``h.reshape(shape)`` shows it with its
        centre in the middle.

    Raises
    ------
    ShapeError
        If the kernel does not fit.

    Examples
    --------
    >>> from tacit.recovery.subspaces.support import centred_support
    >>> centred_support((8,), (3,)).tolist()
    [7, 0, 1]
    """
    fits = len(shape) == len(grid) and all(
        1 <= size <= length for size, length in zip(shape, grid, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"shape must have sizes in 1..size of the grid {grid}; got {shape}"
        )
    places = torch.zeros(1, dtype=torch.int64)
    for size, length in zip(shape, grid, strict=True):
        offsets = (torch.arange(size) - size // 2) % length
        places = (places[:, None] * length + offsets).flatten()
    return places


def require_places(name: str, places: Tensor, grid: tuple[int, ...]) -> None:
    """Refuse what are not different places of a grid that is read row by row.

    Raises
    ------
    ShapeError
        If ``places`` is not a vector.
    InputError
        If a place is out of range or comes twice, or there is none.
    """
    if places.dim() != 1:
        raise ShapeError(f"{name} must be a vector; got shape {tuple(places.shape)}")
    if places.dtype != torch.int64:
        raise InputError(
            f"{name} must be int64; got {places.dtype}; convert with .to()"
        )
    if places.numel() == 0:
        raise InputError(f"{name} is empty; choose at least one")
    size = math.prod(grid)
    low, high = (int(bound) for bound in torch.aminmax(places))
    if low < 0 or high >= size or places.unique().numel() < places.numel():
        raise InputError(
            f"{name} must be different numbers in 0..{size - 1} for grid {grid}; got "
            f"{places.numel()} in {low}..{high}"
        )
