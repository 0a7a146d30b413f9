r"""Subspaces spanned by the columns of a matrix, dense or sparse."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.subspaces.subspace import (
    AbstractSubspace,
    SubspaceSpec,
    basis_matrix,
)

# Numbers that a pass over all columns holds at once.
_BLOCK = 2**22


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixSubspace(AbstractSubspace):
    r"""Signals :math:`w = B h` with a stored matrix B.

    Parameters
    ----------
    matrix : Tensor or sparse array of SciPy, shape (prod(shape), dimension)
        B, one column for each coefficient; a signal is read row by row. A sparse one
        is kept as CSR on the CPU, and its transpose as another CSR beside it.
    shape : tuple of int or None
        Of a signal, which is read row by row; None takes signals of one dimension.
    is_orthonormal : bool or None
        Whether :math:`B^H B = I`. A given value is trusted; None finds out, to ``100 *
        sqrt(prod(shape)) * eps``, at the cost of :math:`B^H B` where all columns have
        length one.

    Raises
    ------
    ShapeError
        If B is no matrix, its rows are not the points of a signal, or it has more
        columns than rows.
    InputError
        If the matrix is of another kind, an entry is not finite, or the dtype is not
        real or complex floating point.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.subspaces.matrix import MatrixSubspace
    >>> ramp = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    >>> line = MatrixSubspace(matrix=ramp)
    >>> line.synthesise(torch.tensor([2.0], dtype=torch.float64))
    tensor([2., 4., 6.], dtype=torch.float64)
    """

    matrix: Any
    shape: tuple[int, ...] | None = None
    is_orthonormal: bool | None = None
    _spec: SubspaceSpec = field(init=False, repr=False)
    _transpose: Any = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if sparse.issparse(self.matrix):
            matrix = sparse.csr_array(self.matrix)
            transpose = sparse.csr_array(matrix.T)
            object.__setattr__(self, "_transpose", transpose)
            values = torch.from_numpy(matrix.data)
        elif isinstance(self.matrix, Tensor):
            matrix = values = self.matrix.resolve_conj().contiguous()
        else:
            raise InputError(
                "matrix must be a tensor or a sparse array of SciPy; got "
                f"{type(self.matrix).__name__}; convert it first"
            )
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "_spec", self._checked_spec(values))
        if self.is_orthonormal is None:
            spec = replace(self._spec, is_orthonormal=_has_orthonormal_columns(self))
            object.__setattr__(self, "_spec", spec)

    def _checked_spec(self, values: Tensor) -> SubspaceSpec:
        """Return the spec of a matrix with these (stored) entries."""
        size = tuple(self.matrix.shape)
        if len(size) != 2:
            raise ShapeError(f"matrix must have two dimensions; got shape {size}")
        shape = (size[0],) if self.shape is None else self.shape
        if math.prod(shape) != size[0]:
            raise ShapeError(
                f"matrix must have one row for each of the {math.prod(shape)} points "
                f"of a signal of shape {shape}; got shape {size}"
            )
        spec = SubspaceSpec(
            grid=shape,
            dimension=size[1],
            dtype=values.dtype,
            device=values.device,
            is_orthonormal=bool(self.is_orthonormal),
        )
        if not bool(torch.isfinite(values).all()):
            raise InputError("matrix has entries that are not finite; clean the data")
        return spec

    @property
    def spec(self) -> SubspaceSpec:
        return self._spec

    def synthesise(self, coefficients: Tensor) -> Tensor:
        if self._transpose is None:
            signals = coefficients @ self.matrix.mT
        else:
            signals = _sparse_times(self.matrix, coefficients)
        return signals.unflatten(-1, self._spec.grid)

    def analyse(self, signals: Tensor) -> Tensor:
        flat = signals.flatten(-len(self._spec.grid))
        # The small side is conjugated, so that B is read as it is stored.
        if self._transpose is None:
            product = flat.conj().resolve_conj() @ self.matrix
        else:
            product = _sparse_times(self._transpose, flat.conj())
        return product.conj().resolve_conj()


def basis_signals(subspace: AbstractSubspace, part: slice) -> Tensor:
    """Return some columns of B as signals; those of a stored matrix are not copied.

    Parameters
    ----------
    subspace : AbstractSubspace
    part : slice
        Which, with a start and a stop.

    Returns
    -------
    Tensor, shape (part.stop - part.start, *grid)
    """
    spec = subspace.spec
    if isinstance(subspace, MatrixSubspace) and isinstance(subspace.matrix, Tensor):
        return subspace.matrix[:, part].mT.unflatten(-1, spec.grid)
    count = part.stop - part.start
    units = torch.zeros(count, spec.dimension, dtype=spec.dtype, device=spec.device)
    units[:, part].fill_diagonal_(1.0)
    return subspace.synthesise(units)


def orthonormalised(subspace: AbstractSubspace) -> tuple[AbstractSubspace, Tensor]:
    r"""Return the same subspace with orthonormal columns Q, and R with :math:`B = Q R`.

    A signal :math:`w = B h` has the coefficients :math:`R h` there.

    Parameters
    ----------
    subspace : AbstractSubspace
        Of a size at which its matrix fits into memory. One that is orthonormal already
        is returned itself, with the identity.

    Returns
    -------
    subspace : AbstractSubspace
    triangle : Tensor, shape (dimension, dimension)
        R, upper triangular, with a positive diagonal.

    Raises
    ------
    InputError
        If the columns of B are linearly dependent, to ``dimension * eps`` of the
        largest entry of R's diagonal.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.subspaces.matrix import MatrixSubspace, orthonormalised
    >>> line = MatrixSubspace(matrix=torch.tensor([[3.0], [4.0]], dtype=torch.float64))
    >>> orthonormal, triangle = orthonormalised(line)
    >>> orthonormal.spec.is_orthonormal, triangle.tolist()
    (True, [[5.0]])
    """
    spec = subspace.spec
    if spec.is_orthonormal:
        return subspace, torch.eye(spec.dimension, dtype=spec.dtype, device=spec.device)
    q, triangle = torch.linalg.qr(basis_matrix(subspace))
    diagonal = triangle.diagonal()
    sizes = diagonal.abs()
    limit = spec.dimension * torch.finfo(spec.dtype).eps * float(sizes.max())
    if not float(sizes.min()) > limit:
        raise InputError(
            "the columns of the subspace must be linearly independent; got a matrix "
            f"whose triangular factor has {float(sizes.min()):.1e} on its diagonal; "
            "drop columns that the others make"
        )
    phases = diagonal / sizes
    orthonormal = MatrixSubspace(
        matrix=q * phases, shape=spec.grid, is_orthonormal=True
    )
    return orthonormal, phases.conj()[:, None] * triangle


def gaussian_subspace(
    grid: tuple[int, ...],
    dimension: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> MatrixSubspace:
    r"""Draw a random subspace: independent normal entries of variance 1/L.

    L is the number of points of the grid, so :math:`\mathbb{E} B^H B = I`. Complex
    entries are circular, :math:`CN(0, 1/L)`.

    Parameters
    ----------
    grid : tuple of int
        Shape of a signal.
    dimension : int
        Number of coefficients, at most L.
    generator : torch.Generator
        Draws on the CPU, in double precision whatever ``dtype`` is.
    dtype : torch.dtype
        Of the matrix.
    device : torch.device or str
        Where it is stored.

    Returns
    -------
    MatrixSubspace

    Raises
    ------
    ShapeError
        If a size is not positive, or ``dimension`` exceeds L.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.subspaces.matrix import gaussian_subspace
    >>> generator = tacit.make_generator(0)
    >>> gaussian_subspace((8, 4), 5, generator=generator).spec.grid
    (8, 4)
    """
    size = math.prod(grid)
    if not 1 <= dimension <= size:
        raise ShapeError(
            f"dimension must be in 1..{size} for grid {grid}; got {dimension}"
        )
    double = torch.complex128 if dtype.is_complex else torch.float64
    drawn = torch.randn(size, dimension, generator=generator, dtype=double)
    matrix = (drawn / math.sqrt(size)).to(dtype=dtype, device=device)
    return MatrixSubspace(matrix=matrix, shape=grid, is_orthonormal=False)


def _sparse_times(matrix: Any, vectors: Tensor) -> Tensor:
    """Multiply every vector, (..., columns), by a CSR matrix of SciPy."""
    batch = vectors.shape[:-1]
    columns = vectors.reshape(-1, vectors.shape[-1]).resolve_conj().numpy().T
    product = np.ascontiguousarray((matrix @ columns).T)
    return torch.from_numpy(product).reshape(*batch, matrix.shape[0])


def _has_orthonormal_columns(subspace: MatrixSubspace) -> bool:
    """Whether all columns have length one and are orthogonal, to rounding."""
    spec = subspace.spec
    size = math.prod(spec.grid)
    limit = 100.0 * math.sqrt(size) * torch.finfo(spec.dtype).eps
    matrix = subspace.matrix
    squares = abs(matrix * matrix.conj()).sum(0)
    if float(abs(squares - 1.0).max()) > limit:
        return False
    width = max(1, _BLOCK // size)
    for first in range(0, spec.dimension, width):
        count = min(width, spec.dimension - first)
        units = torch.zeros(count, spec.dimension, dtype=spec.dtype, device=spec.device)
        units[:, first : first + count].fill_diagonal_(1.0)
        gram = subspace.analyse(subspace.synthesise(units))
        if float((gram - units).abs().max()) > limit:
            return False
    return True
