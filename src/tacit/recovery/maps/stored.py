r"""Maps whose measurement matrix is stored: the user's own, or Gaussian."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, final

import torch
from torch import Tensor

from tacit.compiled import even_bounds, run_in_threads
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.kernels import (
    ROWS_PER_TILE,
    as_array,
    fused_pass,
    fused_pass_pair,
    num_threads,
)
from tacit.recovery.maps.linear_map import (
    AbstractLinearMap,
    Isotropy,
    MapSpec,
    adjoint_times_densely,
    apply_factors_densely,
)

Packing = Literal["full", "symmetric"]
# From this batch on matrix products beat passes that take two vectors each.
_MATMUL_BATCH = 8
_MATMUL_ROWS = 64  # of the measurement matrix; they stay in the cache between products


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class StoredMap(AbstractLinearMap):
    r"""Measurements with every matrix stored as one row.

    .. math:: y_i = \langle \bar A_i, X \rangle = \sum_{jk} A_{ijk} X_{jk}

    Parameters
    ----------
    matrix : Tensor, shape (num_measurements, size)
        Contiguous. With full packing ``size = num_rows * num_columns`` and a row is
        :math:`A_i` row by row. With symmetric packing (real, square) ``size =
        n (n + 1) / 2`` and a row holds the upper triangle of a symmetric :math:`A_i`
        row by row, off-diagonal entries times sqrt(2), so that inner products of packed
        vectors are those of the matrices; only the symmetric part of X is seen.
    shape : tuple of int
        ``(num_rows, num_columns)``.
    packing : {"full", "symmetric"}
        How a row stands for a matrix.
    isotropy : Isotropy or None
        The law the rows were drawn from, if any.

    Raises
    ------
    ShapeError
        If the sizes disagree, or there are no measurements.
    InputError
        If a symmetric packing is asked for of complex matrices, the dtype is neither
        real nor complex floating point, or an entry is not finite.

    Examples
    --------
    >>> import torch, tacit
    >>> rows = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, -1.0, 0.0]])
    >>> trace_and_skew = tacit.StoredMap(matrix=rows, shape=(2, 2))
    >>> trace_and_skew.apply(torch.tensor([[1.0, 5.0], [2.0, 3.0]]))
    tensor([4., 3.])
    """

    matrix: Tensor
    shape: tuple[int, int]
    packing: Packing = "full"
    isotropy: Isotropy | None = None

    def __post_init__(self) -> None:
        rows, columns = self.shape
        size = rows * columns
        if self.packing == "symmetric":
            if rows != columns:
                raise ShapeError(
                    f"a symmetric map takes square matrices; got shape {self.shape}"
                )
            if self.matrix.is_complex():
                raise InputError(
                    "symmetric packing is for real matrices; pack complex ones fully"
                )
            size = rows * (rows + 1) // 2
        if self.matrix.dim() != 2 or self.matrix.shape[1] != size:
            raise ShapeError(
                f"matrix must have shape (num_measurements, {size}) for {self.packing} "
                f"matrices of shape {self.shape}; got {tuple(self.matrix.shape)}"
            )
        _ = self.spec  # refuses no measurements and integers
        matrix = self.matrix.resolve_conj().contiguous()
        parts = torch.view_as_real(matrix) if matrix.is_complex() else matrix
        # Extremes need no copy of the matrix, and are NaN if an entry is.
        if not bool(torch.isfinite(torch.stack(torch.aminmax(parts))).all()):
            raise InputError("matrix has entries that are not finite; clean the data")
        object.__setattr__(self, "matrix", matrix)

    @property
    def spec(self) -> MapSpec:
        return MapSpec(
            in_shape=self.shape,
            num_measurements=self.matrix.shape[0],
            dtype=self.matrix.dtype,
            device=self.matrix.device,
            isotropy=self.isotropy,
        )

    def apply(self, matrix: Tensor) -> Tensor:
        return self.pack(matrix) @ self.matrix.T

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        return self.unpack(self._adjoint_product(measurements))

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        return apply_factors_densely(self, left, right)

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        return adjoint_times_densely(self, measurements, left, right)

    def residual_and_products(
        self, left: Tensor, right: Tensor, measurements: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :func:`tacit.recovery.maps.residual.residual_and_products`."""
        packed = self.pack(left @ right.mH)
        batch = measurements.shape[:-1]
        if packed.shape[:-1] != batch:
            batch = torch.broadcast_shapes(packed.shape[:-1], batch)
        residuals, gradients = self.fused_pass(
            packed.expand(*batch, -1).reshape(-1, packed.shape[-1]),
            measurements.expand(*batch, -1).reshape(-1, measurements.shape[-1]),
            weights,
        )
        residual = residuals.reshape(*batch, -1)
        gradient = self.unpack(gradients.reshape(*batch, -1))
        product = gradient @ right
        if left is right and self.packing == "symmetric":
            return residual, product, product.clone()
        return residual, product, gradient.mH @ left

    def line_terms(
        self, left: Tensor, right: Tensor, d_left: Tensor, d_right: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See :func:`tacit.recovery.maps.residual.line_terms`."""
        first = left @ d_right.mH + d_left @ right.mH
        second = (d_left @ d_right.mH).expand_as(first)
        linear, quadratic = self.apply(torch.stack([first, second]))
        return linear, quadratic

    def _adjoint_product(self, measurements: Tensor) -> Tensor:
        """Return M^H y without a copy of M."""
        # Rows first: with the batch last this product is ten times slower.
        return (measurements.conj() @ self.matrix).conj().resolve_conj()

    def pack(self, matrix: Tensor) -> Tensor:
        """Return matrices as vectors of the length of a stored row."""
        if self.packing == "full":
            return matrix.flatten(-2)
        upper, lower, scale = _triangle(self.shape[0], self.matrix.dtype, matrix.device)
        flat = matrix.flatten(-2)
        return (flat[..., upper] + flat[..., lower]) * (scale / 2.0)

    def unpack(self, vector: Tensor) -> Tensor:
        """Return the matrices that packed vectors stand for."""
        if self.packing == "full":
            return vector.unflatten(-1, self.shape)
        size = self.shape[0]
        upper, lower, scale = _triangle(size, self.matrix.dtype, vector.device)
        flat = vector.new_empty(*vector.shape[:-1], size * size)
        scaled = vector / scale
        flat[..., upper] = scaled
        flat[..., lower] = scaled
        return flat.unflatten(-1, self.shape)

    def fused_pass(
        self, vectors: Tensor, offsets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""Return :math:`r = M v - b` and :math:`M^H (w \circ r)`, reading M once.

        Parameters
        ----------
        vectors : Tensor, shape (batch, size)
            Packed matrices.
        offsets : Tensor, shape (batch, num_measurements)
            b.
        weights : Tensor, shape (num_measurements,)
            w, real.

        Returns
        -------
        residuals : Tensor, shape (batch, num_measurements)
        gradients : Tensor, shape (batch, size)
            Packed.

        Raises
        ------
        ShapeError
            If the shapes are others.
        """
        batch, (rows, size) = vectors.shape[0], self.matrix.shape
        shapes = vectors.shape, offsets.shape, weights.shape
        # Kernels read memory unchecked.
        if shapes != ((batch, size), (batch, rows), (rows,)):
            raise ShapeError(
                f"vectors, offsets and weights must have shapes (batch, {size}), "
                f"(batch, {rows}) and ({rows},); got {[tuple(s) for s in shapes]}"
            )
        if self.matrix.device.type != "cpu":
            return self._fused_apart(vectors, offsets, weights)
        if vectors.shape[0] >= _MATMUL_BATCH:
            return self._fused_matmul(vectors, offsets, weights)
        residuals = offsets.new_empty(offsets.shape)
        gradients = vectors.new_empty(vectors.shape)
        for start in range(0, vectors.shape[0], 2):
            pair = slice(start, start + 2)
            self._fused_kernel(
                vectors[pair], offsets[pair], weights, residuals[pair], gradients[pair]
            )
        return residuals, gradients

    def _fused_apart(
        self, vectors: Tensor, offsets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read the matrix twice: on other devices."""
        residuals = vectors @ self.matrix.T - offsets
        return residuals, self._adjoint_product(weights * residuals)

    def _fused_matmul(
        self, vectors: Tensor, offsets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        residuals = offsets.new_empty(offsets.shape)
        conjugates = vectors.new_zeros(vectors.shape)
        for start in range(0, self.matrix.shape[0], _MATMUL_ROWS):
            rows = slice(start, start + _MATMUL_ROWS)
            block = self.matrix[rows]
            part = vectors @ block.T - offsets[:, rows]
            residuals[:, rows] = part
            conjugates.addmm_((part * weights[rows]).conj(), block)
        return residuals, conjugates.conj().resolve_conj()

    def _fused_kernel(
        self,
        vectors: Tensor,
        offsets: Tensor,
        weights: Tensor,
        residuals: Tensor,
        gradients: Tensor,
    ) -> None:
        """Fill ``residuals`` and ``gradients`` for one or two vectors."""
        matrix = self.matrix
        whole = matrix.shape[0] // ROWS_PER_TILE * ROWS_PER_TILE
        parts = num_threads(matrix.nbytes)
        sums = torch.zeros(parts, *vectors.shape, dtype=matrix.dtype).numpy()
        is_pair = vectors.shape[0] == 2
        kernel = fused_pass_pair if is_pair else fused_pass
        at = slice(None) if is_pair else 0
        rows = matrix.numpy()
        inputs = as_array(vectors)[at], as_array(offsets)[at], as_array(weights)
        outputs = residuals.numpy()[at]

        def run(part: int, start: int, stop: int) -> None:
            kernel(rows, *inputs, outputs, sums[part][at], start, stop)

        run_in_threads(run, even_bounds(whole, parts, ROWS_PER_TILE))
        torch.sum(torch.from_numpy(sums), dim=0, out=gradients)
        if whole < matrix.shape[0]:
            rest = matrix[whole:]
            last = vectors @ rest.T - offsets[:, whole:]
            residuals[:, whole:] = last
            gradients.addmm_(last * weights[whole:], rest.conj())


@lru_cache(maxsize=8)
def _triangle(
    size: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Flat places of the upper triangle, of its mirror image, and their scale."""
    rows, columns = torch.triu_indices(size, size, device=device)
    scale = torch.full(rows.shape, math.sqrt(2.0), dtype=dtype, device=device)
    scale[rows == columns] = 1.0
    return rows * size + columns, columns * size + rows, scale


def gaussian_map(
    shape: tuple[int, int],
    num_measurements: int,
    *,
    generator: torch.Generator,
    is_symmetric: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> StoredMap:
    r"""Draw a Gaussian map.

    It is normalised so that :math:`\mathbb{E} \mathcal{A}^* \mathcal{A} = \mathrm{Id}`.
    Rectangular: the entries of every :math:`A_i` are independent :math:`N(0, 1/m)`
    (complex: :math:`CN(0, 1/m)`). Symmetric: diagonal entries are :math:`N(0, 1/m)`
    and the others :math:`N(0, 1/(2m))`, stored packed. Then
    :math:`\mathbb{E} \|\mathcal{A}(X)\|^2 = \|X\|_F^2`, for symmetric X in the second
    case, which is the scaling of the restricted isometry property.

    Parameters
    ----------
    shape : tuple of int
        ``(num_rows, num_columns)``.
    num_measurements : int
        m.
    generator : torch.Generator
        Draws on the CPU, in float64 whatever ``dtype`` is.
    is_symmetric : bool
        Draw symmetric matrices (real and square).
    dtype : torch.dtype
        Of the map.
    device : torch.device or str
        Where the matrix is stored.

    Returns
    -------
    StoredMap

    Raises
    ------
    ShapeError, InputError
        As :class:`StoredMap`.

    Examples
    --------
    >>> import tacit
    >>> gaussian = tacit.gaussian_map((3, 3), 9, generator=tacit.make_generator(0),
    ...     is_symmetric=True)
    >>> tuple(gaussian.matrix.shape)
    (9, 6)
    """
    rows, columns = shape
    size = rows * (rows + 1) // 2 if is_symmetric else rows * columns
    drawn = torch.complex128 if dtype.is_complex else torch.float64
    matrix = torch.empty(num_measurements, size, dtype=dtype, device=device)
    # In blocks of rows: a map of some gigabytes is not held twice.
    step = max(1, 2**24 // size)
    for start in range(0, num_measurements, step):
        block = matrix[start : start + step]
        block.copy_(torch.randn(block.shape, generator=generator, dtype=drawn))
    return StoredMap(
        matrix=matrix.div_(math.sqrt(num_measurements)),
        shape=shape,
        packing="symmetric" if is_symmetric else "full",
        isotropy=Isotropy(second_moment=1.0 / num_measurements, is_gaussian=True),
    )
