"""Operator norms of dense matrices, rounded upward, and safe scaling."""

import math
from fractions import Fraction

import torch
from torch import Tensor

from tacit.errors import ShapeError
from tacit.spectral import EPS

# Multiplications allowed for the Gram matrix of the columns in inf_to_two_bound.
_GRAM_BUDGET = 3e10


def spectral_norm_bounds(matrices: Tensor) -> Tensor:
    r"""Return an upper bound on the spectral norm of every matrix of a batch.

    .. math:: \|A\|_2^2 = \lambda_{\max}(A^* A) \le
              \hat\lambda + c\,k\,\epsilon\,\|A\|_F^2 + 4 n \epsilon \hat\lambda

    for A scaled by a power of two to entries of at most 1. The Gram matrix of the
    shorter side (n) is a sum over the longer (k), rounded by at most
    :math:`\gamma_k \||A|^*|A|\|_2 \le \gamma_k \|A\|_F^2`; c = 1 covers it for real
    matrices and c = 4 for complex ones. The last term is the backward error of the
    symmetric eigensolver, as in :func:`tacit.spectral.max_eigenvalue`.

    Parameters
    ----------
    matrices : Tensor, shape (batch, rows, columns)
        Real or complex, double precision.

    Returns
    -------
    Tensor, shape (batch,)
        Real; infinity where an entry is not finite.

    Notes
    -----
    Power iteration would be faster, but every value it reaches is a lower bound.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.closed_form.matrix_norms import spectral_norm_bounds
    >>> bound = float(spectral_norm_bounds(torch.tensor([[[3.0, 4.0]]]).double())[0])
    >>> 5.0 <= bound <= 5.0 * (1 + 1e-13)
    True
    """
    matrices = matrices.detach()
    batch, rows, columns = matrices.shape
    if batch == 0 or rows == 0 or columns == 0:
        return torch.zeros(batch, dtype=torch.float64)
    largest = matrices.abs().amax(dim=(1, 2))
    is_finite = torch.isfinite(largest)
    exponent = torch.frexp(torch.where(is_finite, largest, 1.0)).exponent
    # Two steps, because a single power may overflow where the product does not.
    half = torch.div(exponent, 2, rounding_mode="floor")
    ones = torch.ones(batch, 1, 1, dtype=torch.float64)
    first = torch.ldexp(ones, -half[:, None, None])
    second = torch.ldexp(ones, (half - exponent)[:, None, None])
    scaled = torch.where(is_finite[:, None, None], matrices, 0.0) * first * second
    gram = scaled.mH @ scaled if columns <= rows else scaled @ scaled.mH
    size, length = min(rows, columns), max(rows, columns)
    value = torch.linalg.eigvalsh(gram)[:, -1].clamp(min=0.0)
    frobenius = torch.diagonal(gram, dim1=1, dim2=2).sum(dim=1).real
    factor = 4 if matrices.is_complex() else 1
    slack = factor * (length + 8) * EPS * frobenius + 4 * size * EPS * value
    root = torch.sqrt(value + slack) * (1.0 + 4.0 * EPS)
    norm = torch.ldexp(torch.ldexp(root, half), exponent - half)
    norm = torch.where((norm == 0.0) & (largest > 0.0), math.ulp(0.0), norm)
    return torch.where(is_finite, norm, torch.inf)


def times_power_of_two(matrix: Tensor, exponent: int) -> Tensor:
    """Return ``matrix * 2**exponent``, exact unless an entry leaves float64's range.

    A single factor would overflow for exponents beyond 1023, even where the product
    does not.

    Parameters
    ----------
    matrix : Tensor
        Double precision.
    exponent : int
        Any integer; beyond +-4000 it no longer matters.

    Returns
    -------
    Tensor
        A new tensor, unless the exponent is 0.
    """
    rest = max(-4000, min(4000, exponent))
    while rest:
        part = max(-1000, min(1000, rest))
        matrix = matrix * 2.0**part
        rest -= part
    return matrix


def round_up(value: Fraction) -> float:
    """Return the float64 next above a rational number >= 0; infinity beyond the range.

    Parameters
    ----------
    value : Fraction
        At least 0.

    Returns
    -------
    float
        Positive whenever ``value`` is, however small.
    """
    try:
        rounded = float(value)
    except OverflowError:
        return math.inf
    return rounded if Fraction(rounded) >= value else math.nextafter(rounded, math.inf)


def join_scales(
    blocks: list[Tensor], exponents: list[int], sources: list[int]
) -> tuple[int, list[Tensor]]:
    """Bring the blocks of one target to a common unit, given the units of the sources.

    Parameters
    ----------
    blocks : list of Tensor
        ``A[t, s]`` for the sources s of one target t.
    exponents : list of int
        Values of site s are measured in units of ``2**exponents[s]``.
    sources : list of int
        The s, in the order of the blocks.

    Returns
    -------
    int, list of Tensor
        The exponent u of the unit of ``y_t``, and the blocks in these units,
        ``A[t, s] * 2**(exponents[s] - u)``, the largest entry of all about 1.
    """
    sizes = [torch.frexp(block.abs().max()) for block in blocks]
    units = [
        int(size.exponent) + exponents[s]
        for size, s in zip(sizes, sources, strict=True)
        if float(size.mantissa) != 0.0
    ]
    unit = max(units, default=0)
    return unit, [
        times_power_of_two(block, exponents[s] - unit)
        for block, s in zip(blocks, sources, strict=True)
    ]


def spectral_norm_bound(matrix: Tensor) -> float:
    """Return an upper bound on the spectral norm of one matrix.

    Parameters
    ----------
    matrix : Tensor, shape (rows, columns)
        Double precision.

    Returns
    -------
    float
        As :func:`spectral_norm_bounds`, tight to about ``size * eps``.

    Raises
    ------
    ShapeError
        If it is not a matrix.
    """
    if matrix.dim() != 2:
        raise ShapeError(f"matrix must have two axes; got shape {tuple(matrix.shape)}")
    return float(spectral_norm_bounds(matrix[None])[0])


def one_to_two_norm(matrix: Tensor) -> float:
    r"""Return the norm of a matrix from l1 to l2, rounded upward.

    .. math:: \|A\|_{1 \to 2} = \max_j \|A e_j\|_2,

    because the l1 ball is the convex hull of the :math:`\pm e_j`.

    Parameters
    ----------
    matrix : Tensor, shape (rows, columns)
        Double precision.

    Returns
    -------
    float
    """
    if matrix.numel() == 0:
        return 0.0
    return float(_norms(matrix, dim=0).max())


def inf_to_two_bound(matrix: Tensor) -> float:
    r"""Return an upper bound on the norm of a matrix from l_inf to l2.

    The norm itself is NP-hard. For weights :math:`\mu \ge 0` of sum 1,
    :math:`\|x\|_\infty \le 1` implies :math:`\sum_i \mu_i x_i^2 \le 1`, hence

    .. math:: \|A\|_{\infty \to 2} \le \|A\, \mathrm{diag}(\mu)^{-1/2}\|_2 .

    Taken is the best of: uniform weights (:math:`\sqrt{d}\,\|A\|_2`); weights
    proportional to the column norms (at most their sum); weights proportional to the
    row sums of :math:`|A^T A|` (at most :math:`(\sum_{ij} |A^T A|_{ij})^{1/2}`, exact
    for a single row); and :math:`(\sum_i \|a_i\|_1^2)^{1/2}` over the rows :math:`a_i`.

    Parameters
    ----------
    matrix : Tensor, shape (rows, columns)
        Double precision.

    Returns
    -------
    float

    References
    ----------
    Nesterov (1998), Semidefinite relaxation and nonconvex quadratic optimization: the
    best weights are at most sqrt(pi / 2) above the norm. Our choices are not the best.
    """
    matrix = matrix.detach()
    if matrix.numel() == 0 or not bool(matrix.any()):
        return 0.0
    rows, columns = matrix.shape
    lengths = _norms(matrix, dim=0)
    by_row = _norms(matrix.abs().sum(dim=1)[None] * (1.0 + columns * EPS), dim=1)
    bounds = [
        float(by_row[0]),
        float(lengths.sum()) * (1.0 + columns * EPS),
        spectral_norm_bound(matrix) * math.sqrt(columns) * (1.0 + 4.0 * EPS),
    ]
    kept = lengths > 0.0
    weights = [lengths[kept]]
    if rows * columns * columns <= _GRAM_BUDGET:
        unit = matrix[:, kept] / lengths.max()
        weights.append((unit.T @ unit).abs().sum(dim=1))
    for weight in weights:
        # Any positive weights are valid; the rounding of their sum is made up for.
        root = torch.sqrt(weight / weight.sum())
        if bool((root > 0.0).all()):
            bounds.append(
                spectral_norm_bound(matrix[:, kept] / root) * (1 + columns * EPS)
            )
    return min(bounds)


def _norms(matrix: Tensor, dim: int) -> Tensor:
    """Euclidean norms along a dimension, rounded upward, safe at extreme scales."""
    largest = matrix.detach().abs().max()
    if not bool(torch.isfinite(largest)) or float(largest) == 0.0:
        return matrix.detach().abs().amax(dim=dim)
    exponent = int(torch.frexp(largest).exponent)
    scaled = times_power_of_two(matrix.detach(), -exponent)
    norms = torch.linalg.vector_norm(scaled, dim=dim) * (
        1.0 + (matrix.shape[dim] + 4) * EPS
    )
    # Squares below the range of float64 vanish; the largest entry never does.
    norms = torch.maximum(norms, scaled.abs().amax(dim=dim))
    return times_power_of_two(norms, exponent)
