r"""The interface of a known subspace of signals on a grid."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubspaceSpec:
    """What a subspace is made of.

    Parameters
    ----------
    grid : tuple of int
        Shape of a signal: ``(length,)``, or ``(height, width)`` of an image.
    dimension : int
        Number of coefficients.
    dtype : torch.dtype
        Of coefficients and signals: float32, float64, complex64 or complex128.
    device : torch.device
        Where both live.
    is_orthonormal : bool
        Whether a signal is as long as its coefficients are.

    Raises
    ------
    ShapeError
        If a size is not positive, the grid has other than one or two dimensions, or
        there are more coefficients than points.
    InputError
        If the dtype is not real or complex floating point.
    """

    grid: tuple[int, ...]
    dimension: int
    dtype: torch.dtype
    device: torch.device
    is_orthonormal: bool

    def __post_init__(self) -> None:
        if len(self.grid) not in (1, 2) or min(*self.grid, self.dimension) < 1:
            raise ShapeError(
                "a subspace needs a grid of one or two positive sizes and at least one "
                f"coefficient; got grid {self.grid} and dimension {self.dimension}"
            )
        if self.dimension > math.prod(self.grid):
            raise ShapeError(
                f"a subspace of signals on a grid {self.grid} has at most "
                f"{math.prod(self.grid)} dimensions; got {self.dimension}"
            )
        if not (self.dtype.is_floating_point or self.dtype.is_complex):
            raise InputError(
                f"a subspace's dtype must be real or complex floating point; got "
                f"{self.dtype}; convert the data first"
            )


class AbstractSubspace(ABC):
    r"""Signals :math:`w = B h` with a known matrix B and unknown coefficients h.

    Batch dimensions come first and are optional. B need not be stored.

    Examples
    --------
    >>> import tacit, torch
    >>> whole = tacit.SupportSubspace(indices=torch.arange(3), shape=(3,))
    >>> isinstance(whole, tacit.AbstractSubspace), whole.dimension
    (True, 3)
    """

    @property
    @abstractmethod
    def spec(self) -> SubspaceSpec:
        """Grid, dimension, dtype, device, and whether the columns are orthonormal."""

    @abstractmethod
    def synthesise(self, coefficients: Tensor) -> Tensor:
        r"""Return :math:`B h`: ``(..., dimension)`` to ``(..., *grid)``."""

    @abstractmethod
    def analyse(self, signals: Tensor) -> Tensor:
        r"""Return :math:`B^H w`: ``(..., *grid)`` to ``(..., dimension)``."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of a signal."""
        return self.spec.grid

    @property
    def dimension(self) -> int:
        """Number of coefficients."""
        return self.spec.dimension


def basis_matrix(subspace: AbstractSubspace) -> Tensor:
    """Return B as a matrix, formed: ``(prod(grid), dimension)``."""
    spec = subspace.spec
    units = torch.eye(spec.dimension, dtype=spec.dtype, device=spec.device)
    return subspace.synthesise(units).flatten(1).mT
