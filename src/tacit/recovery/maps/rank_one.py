r"""Rank-one measurements: phase retrieval, quadratic and bilinear sensing."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import AbstractLinearMap, Isotropy, MapSpec


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RankOneMap(AbstractLinearMap):
    r"""Measurements :math:`y_i = a_i^H X b_i`.

    With :math:`b_i = a_i` and :math:`X = x x^H` these are the squared moduli
    :math:`|a_i^H x|^2` of phase retrieval; they are real then, and handed over in the
    map's complex dtype.

    Parameters
    ----------
    left_vectors : Tensor, shape (num_measurements, num_rows)
        :math:`a_i`, one in each row.
    right_vectors : Tensor or None, shape (num_measurements, num_columns)
        :math:`b_i`; None takes the left ones for both.
    isotropy : Isotropy or None
        The law the vectors were drawn from, if any.

    Raises
    ------
    ShapeError
        If the two do not hold the same number of vectors.
    InputError
        If their dtypes or devices differ, or an entry is not finite.

    Notes
    -----
    With factors of k columns a product costs ``O(num_measurements * (num_rows +
    num_columns) * k)``; the matrix is never formed.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.maps.rank_one import RankOneMap
    >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    >>> signal = torch.tensor([[3.0], [4.0]], dtype=torch.float64)
    >>> RankOneMap(left_vectors=vectors).apply_factors(signal, signal)
    tensor([ 9., 49.], dtype=torch.float64)
    """

    left_vectors: Tensor
    right_vectors: Tensor | None = None
    isotropy: Isotropy | None = None

    def __post_init__(self) -> None:
        a, b = self.left_vectors, self._right
        if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[0]:
            raise ShapeError(
                "left_vectors and right_vectors must have one row for each measurement;"
                f" got shapes {tuple(a.shape)} and {tuple(b.shape)}"
            )
        if a.dtype != b.dtype or a.device != b.device:
            raise InputError(
                "left_vectors and right_vectors must share dtype and device; got "
                f"{a.dtype} on {a.device} and {b.dtype} on {b.device}; convert with "
                ".to()"
            )
        if not bool(torch.isfinite(a).all() & torch.isfinite(b).all()):
            raise InputError("vectors have entries that are not finite; clean the data")
        object.__setattr__(self, "left_vectors", a.contiguous())
        if self.right_vectors is not None:
            object.__setattr__(self, "right_vectors", b.contiguous())

    @property
    def _right(self) -> Tensor:
        """The vectors b."""
        given = self.right_vectors
        return self.left_vectors if given is None else given

    @property
    def spec(self) -> MapSpec:
        return MapSpec(
            in_shape=(self.left_vectors.shape[1], self._right.shape[1]),
            num_measurements=self.left_vectors.shape[0],
            dtype=self.left_vectors.dtype,
            device=self.left_vectors.device,
            isotropy=self.isotropy,
        )

    def apply(self, matrix: Tensor) -> Tensor:
        return ((self.left_vectors.conj() @ matrix) * self._right).sum(-1)

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        scaled = measurements.unsqueeze(-1) * self.left_vectors
        return scaled.mT @ self._right.conj()

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        transforms = self.transformed(left, right)
        return self.measured(transforms, transforms)

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.products(measurements, self.transformed(left, right))

    def transformed(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """Return ``a_i^H L`` and ``b_i^H R``, both of shape (..., k, measurements).

        With k first the products are several times faster than with k last.
        """
        p = left.mT.contiguous() @ self.left_vectors.mH
        if right is left and self.right_vectors is None:
            return p, p
        return p, right.mT.contiguous() @ self._right.mH

    def measured(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Return the measurements of the left part of one and the right of another."""
        return (first[0] * second[1].conj()).sum(-2)

    def products(
        self, measurements: Tensor, transforms: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Return what ``adjoint_times`` returns, from transformed factors."""
        p, q = transforms
        y = measurements.unsqueeze(-2)
        left_product = ((y * q) @ self.left_vectors).mT.contiguous()
        if p is q and not y.is_complex():
            # The adjoint's matrix is symmetric and both factors are one.
            return left_product, left_product.clone()
        right_product = (y.conj() * p) @ self._right
        return left_product, right_product.mT.contiguous()


def rank_one_map(
    shape: tuple[int, int],
    num_measurements: int,
    *,
    generator: torch.Generator,
    is_symmetric: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> RankOneMap:
    r"""Draw Gaussian rank-one measurements.

    With :math:`a_i`, :math:`b_i` standard normal (complex: :math:`CN(0, I)`) and
    independent, the measurements are

    .. math:: y_i = m^{-1/2} a_i^H X b_i, \qquad
              \mathbb{E} \mathcal{A}^* \mathcal{A} = \mathrm{Id}.

    Symmetric, :math:`b_i = a_i`: they are quadratic, :math:`(2m)^{-1/2} a_i^T X a_i`
    (complex: :math:`m^{-1/2} a_i^H X a_i`), and **not isotropic**, the trace is seen
    too well. For symmetric real X and all complex X

    .. math:: \mathbb{E} \mathcal{A}^* \mathcal{A} (X) = X + \tfrac12 \mathrm{tr}(X) I
              \quad \text{(real)}, \qquad
              X + \mathrm{tr}(X) I \quad \text{(complex)}.

    Parameters
    ----------
    shape : tuple of int
        ``(num_rows, num_columns)``.
    num_measurements : int
        m.
    generator : torch.Generator
        Draws on the CPU, in float64 whatever ``dtype`` is.
    is_symmetric : bool
        Measure with the same vector from both sides (square matrices).
    dtype : torch.dtype
        Of the map.
    device : torch.device or str
        Where the vectors are stored.

    Returns
    -------
    RankOneMap
        ``spec.isotropy`` is None in the symmetric case.

    Raises
    ------
    ShapeError
        If a symmetric map is asked for of matrices that are not square, or a size is
        not positive.

    Notes
    -----
    Moments of fourth order of Gaussians; ours. Single measurements are products of
    Gaussians, with heavier tails than a Gaussian has, so low-rank matrices are seen
    less evenly than by :func:`gaussian_map` with as many measurements.

    Examples
    --------
    >>> import tacit
    >>> quadratic = tacit.rank_one_map((4, 4), 12, generator=tacit.make_generator(0),
    ...     is_symmetric=True)
    >>> quadratic.num_measurements, quadratic.spec.isotropy
    (12, None)
    """
    rows, columns = shape
    if min(rows, columns, num_measurements) < 1:
        raise ShapeError(
            f"shape and num_measurements must be positive; got {shape} and "
            f"{num_measurements}"
        )
    if is_symmetric and rows != columns:
        raise ShapeError(f"a symmetric map takes square matrices; got shape {shape}")
    drawn = torch.complex128 if dtype.is_complex else torch.float64
    # |a_i^T X a_i|^2 of real vectors has the off-diagonal pairs twice.
    twice = is_symmetric and not dtype.is_complex
    scale = ((2.0 if twice else 1.0) * num_measurements) ** -0.25

    def draw(size: int) -> Tensor:
        vectors = torch.randn(num_measurements, size, generator=generator, dtype=drawn)
        return (scale * vectors).to(dtype=dtype, device=device)

    if is_symmetric:
        return RankOneMap(left_vectors=draw(rows))
    return RankOneMap(
        left_vectors=draw(rows),
        right_vectors=draw(columns),
        isotropy=Isotropy(second_moment=1.0 / num_measurements, is_gaussian=False),
    )
