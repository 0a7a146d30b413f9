r"""Leading spectrum of the back-projection :math:`\mathcal{A}^*(y)`.

Small matrices are formed and factored. Larger ones are met through products with a few
columns alone: a block Krylov space, a Rayleigh-Ritz step in it, and a thick restart
before it grows out of memory.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import AbstractLinearMap, require_spec
from tacit.recovery.maps.stored import StoredMap

# Up to this smaller side a dense factorisation takes less than a tenth of a second.
_DENSE_SIDE = 500
_DENSE_ENTRIES = _DENSE_SIDE**2
_EXTRA_COLUMNS = 5  # in a block: a gap after the wanted values is not needed
_MAX_BLOCKS = 10  # kept in the Krylov space; then it is restarted
_MAX_PRODUCTS = 100

# Takes blocks L, R and returns M R and M^H L.
Multiply = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def leading_triplets(
    linear_map: AbstractLinearMap,
    measurements: Tensor,
    rank: int,
    *,
    generator: torch.Generator,
    rtol: float = 1e-6,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the leading singular triplets of :math:`M = \mathcal{A}^*(y)`.

    Where M is small or no larger than what the iteration would store, or the map's
    measurement matrix is stored, M is formed once. A formed M with a smaller side of
    at most 500 gets a dense decomposition, exact to rounding; every other M a block
    Krylov iteration from a random start, which uses products with ``rank + 5``
    columns alone.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    measurements : Tensor, shape (..., num_measurements)
        y; times the problem's weights if some are held out.
    rank : int
        Number of triplets, 1 to ``min(num_rows, num_columns)``.
    generator : torch.Generator
        Draws the start (on the CPU); unused by the dense way.
    rtol : float
        The iteration ends once :math:`\|M v - \sigma u\|` and :math:`\|M^H u - \sigma
        v\|` are at most ``rtol`` (or 100 eps) times the largest singular value for
        every triplet, or after 100 products.

    Returns
    -------
    left : Tensor, shape (..., num_rows, rank)
        Orthonormal columns u.
    values : Tensor, shape (..., rank)
        Singular values, largest first, real.
    right : Tensor, shape (..., num_columns, rank)
        Orthonormal columns v: :math:`M \approx U \operatorname{diag}(s) V^H`.

    Raises
    ------
    InputError
        If the rank is out of range or the dtype is not the map's.
    ShapeError
        If the measurements have the wrong length.

    Notes
    -----
    Each value returned is within its residual of a singular value of M, and, for values
    separated by a gap g, within its square over g; it never exceeds the singular value
    of the same number, up to rounding. That no larger one was missed holds almost
    surely over the start, as the Krylov space is not deficient in exact arithmetic.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.back_projection import leading_triplets
    >>> generator = tacit.make_generator(0)
    >>> gaussian = tacit.gaussian_map((6, 4), 50, generator=generator)
    >>> measured = gaussian.apply(gaussian.adjoint_apply(gaussian.matrix[:, 0]))
    >>> left, values, right = leading_triplets(gaussian, measured, 2,
    ...     generator=generator)
    >>> tuple(left.shape), tuple(values.shape), tuple(right.shape)
    ((6, 2), (2,), (4, 2))
    """
    _require_sizes(linear_map, measurements, rank)
    width = min(rank + _EXTRA_COLUMNS, *linear_map.in_shape)
    if not _is_formed(linear_map, width):

        def multiply(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
            return linear_map.adjoint_times(measurements, left, right)

        return _krylov_triplets(
            multiply,
            _draw_start(linear_map, measurements, width, generator),
            rank,
            rtol,
        )
    matrix = linear_map.adjoint_apply(measurements)
    if min(linear_map.in_shape) > max(_DENSE_SIDE, (_MAX_BLOCKS + 1) * width):
        start = _draw_start(linear_map, measurements, width, generator)
        return _krylov_triplets(
            lambda left, right: (matrix @ right, matrix.mH @ left), start, rank, rtol
        )
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left[..., :rank], values[..., :rank], right.mH[..., :rank]


def leading_eigenpairs(
    linear_map: AbstractLinearMap,
    measurements: Tensor,
    rank: int,
    *,
    generator: torch.Generator,
    rtol: float = 1e-6,
) -> tuple[Tensor, Tensor]:
    r"""Return the algebraically largest eigenpairs of the back-projection.

    Those of the Hermitian part :math:`H = (M + M^H) / 2` of :math:`M =
    \mathcal{A}^*(y)`, the gradient direction on Hermitian matrices. The way is that of
    :func:`leading_triplets`.

    Parameters
    ----------
    linear_map : AbstractLinearMap
        Of square matrices.
    measurements : Tensor, shape (..., num_measurements)
        y; times the problem's weights if some are held out.
    rank : int
        Number of pairs, 1 to ``num_rows``.
    generator : torch.Generator
        Draws the start (on the CPU); unused by the dense way.
    rtol : float
        The iteration ends once :math:`\|H v - \lambda v\|` is at most ``rtol`` (or 100
        eps) times the largest absolute Ritz value for every pair, or after 100
        products.

    Returns
    -------
    values : Tensor, shape (..., rank)
        Eigenvalues, largest first, of either sign.
    vectors : Tensor, shape (..., num_rows, rank)
        Orthonormal columns.

    Raises
    ------
    InputError
        If the rank is out of range or the dtype is not the map's.
    ShapeError
        If the map's matrices are not square or the measurements have the wrong length.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.back_projection import leading_eigenpairs
    >>> generator = tacit.make_generator(0)
    >>> gaussian = tacit.gaussian_map((5, 5), 50, generator=generator,
    ...     is_symmetric=True)
    >>> values, vectors = leading_eigenpairs(gaussian, gaussian.matrix[:, 0], 2,
    ...     generator=generator)
    >>> bool(values[0] >= values[1]), tuple(vectors.shape)
    (True, (5, 2))
    """
    rows, columns = linear_map.in_shape
    if rows != columns:
        raise ShapeError(
            f"eigenpairs need a map of square matrices; got shape {(rows, columns)}; "
            "use leading_triplets"
        )
    _require_sizes(linear_map, measurements, rank)
    width = min(rank + _EXTRA_COLUMNS, rows)
    if not _is_formed(linear_map, width):

        def multiply(block: Tensor) -> Tensor:
            products = linear_map.adjoint_times(measurements, block, block)
            return (products[0] + products[1]) / 2.0

        start, _ = _draw_start(linear_map, measurements, width, generator)
        return _krylov_eigenpairs(multiply, start, rank, rtol)
    matrix = linear_map.adjoint_apply(measurements)
    matrix = (matrix + matrix.mH) / 2.0
    if rows > max(_DENSE_SIDE, (_MAX_BLOCKS + 1) * width):
        start, _ = _draw_start(linear_map, measurements, width, generator)
        return _krylov_eigenpairs(lambda block: matrix @ block, start, rank, rtol)
    values, vectors = torch.linalg.eigh(matrix)
    return values[..., -rank:].flip(-1), vectors[..., -rank:].flip(-1)


def _require_sizes(
    linear_map: AbstractLinearMap, measurements: Tensor, rank: int
) -> None:
    require_spec(linear_map, "measurements", measurements)
    if measurements.shape[-1:] != (linear_map.num_measurements,):
        raise ShapeError(
            f"measurements must have shape (..., {linear_map.num_measurements}) as the "
            f"map gives them; got {tuple(measurements.shape)}"
        )
    limit = min(linear_map.in_shape)
    if not 1 <= rank <= limit:
        raise InputError(
            f"rank must be in 1..min(num_rows, num_columns) = {limit}; got {rank}"
        )


def _is_formed(linear_map: AbstractLinearMap, width: int) -> bool:
    """Whether forming the matrix is cheaper than working without it."""
    rows, columns = linear_map.in_shape
    return (
        # Each product with a stored map forms the matrix anyway.
        isinstance(linear_map, StoredMap)
        or rows * columns <= _DENSE_ENTRIES
        # The Krylov space would be as large as the matrix.
        or min(rows, columns) <= (_MAX_BLOCKS + 1) * width
    )


def _draw_start(
    linear_map: AbstractLinearMap,
    measurements: Tensor,
    width: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return orthonormal random blocks for the two sides."""
    spec = linear_map.spec
    batch = measurements.shape[:-1]
    drawn = torch.complex128 if spec.dtype.is_complex else torch.float64

    def draw(size: int) -> Tensor:
        block = torch.randn(*batch, size, width, generator=generator, dtype=drawn)
        return torch.linalg.qr(block.to(dtype=spec.dtype, device=spec.device))[0]

    rows, columns = spec.in_shape
    return draw(rows), draw(columns)


def _krylov_triplets(
    multiply: Multiply, start: tuple[Tensor, Tensor], rank: int, rtol: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Block Lanczos bidiagonalisation, with both sides started and multiplied at once.

    ``core`` is P^H M Q for the bases P and Q so far. M Q lies in the span of P and the
    next block but for its last block, so residuals are read off the products of the
    last block with the next one.
    """
    new_left, new_right = start
    width = new_left.shape[-1]
    left, right = new_left[..., :0], new_right[..., :0]
    core = new_left.new_empty(*new_left.shape[:-2], 0, 0)
    num_products = 0
    while True:
        image_left, image_right = multiply(new_left, new_right)
        num_products += 1
        core = torch.cat(
            (
                torch.cat((core, left.mH @ image_left), -1),
                image_right.mH @ torch.cat((right, new_right), -1),
            ),
            -2,
        )
        left = torch.cat((left, new_left), -1)
        right = torch.cat((right, new_right), -1)
        next_left = _orthonormal(image_left, left)
        next_right = _orthonormal(image_right, right)
        u, values, vh = torch.linalg.svd(core)
        last_u, last_v = u[..., -width:, :rank], vh.mH[..., -width:, :rank]
        residual = torch.maximum(
            _column_norms(next_left.mH @ image_left @ last_v),
            _column_norms(next_right.mH @ image_right @ last_u),
        )
        is_accurate = _is_accurate(residual, values[..., :1], rtol)
        if is_accurate or num_products == _MAX_PRODUCTS:
            return left @ u[..., :rank], values[..., :rank], right @ vh.mH[..., :rank]
        if left.shape[-1] >= _MAX_BLOCKS * width:
            left = left @ u[..., : 2 * width]
            right = right @ vh.mH[..., : 2 * width]
            core = torch.diag_embed(values[..., : 2 * width]).to(core.dtype)
        new_left, new_right = next_left, next_right


def _krylov_eigenpairs(
    multiply: Callable[[Tensor], Tensor], start: Tensor, rank: int, rtol: float
) -> tuple[Tensor, Tensor]:
    """Block Lanczos for the algebraically largest pairs; ``multiply`` returns H Q."""
    new, width = start, start.shape[-1]
    basis = new[..., :0]
    core = new.new_empty(*new.shape[:-2], 0, 0)
    num_products = 0
    while True:
        image = multiply(new)
        num_products += 1
        column = torch.cat((basis, new), -1).mH @ image
        core = torch.cat((core, column[..., :-width, :]), -1)
        core = torch.cat((core, column.mH), -2)
        basis = torch.cat((basis, new), -1)
        new = _orthonormal(image, basis)
        # Only one triangle is read, so rounding cannot make the core unsymmetric.
        values, vectors = torch.linalg.eigh(core)
        values, vectors = values.flip(-1), vectors.flip(-1)
        residual = _column_norms(new.mH @ image @ vectors[..., -width:, :rank])
        scale = values.abs().amax(-1, keepdim=True)
        if _is_accurate(residual, scale, rtol) or num_products == _MAX_PRODUCTS:
            return values[..., :rank], basis @ vectors[..., :rank]
        if basis.shape[-1] >= _MAX_BLOCKS * width:
            basis = basis @ vectors[..., : 2 * width]
            core = torch.diag_embed(values[..., : 2 * width]).to(core.dtype)


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    """Return columns orthonormal to the basis and each other that span the block.

    Twice: what cancelled in the first pass, or was zero, is orthogonal after the second
    whatever direction rounding gave it.
    """
    for _ in range(2):
        block = torch.linalg.qr(block - basis @ (basis.mH @ block))[0]
    return block


def _column_norms(block: Tensor) -> Tensor:
    return torch.linalg.vector_norm(block, dim=-2)


def _is_accurate(residual: Tensor, scale: Tensor, rtol: float) -> bool:
    """Whether every residual is small; also if one is NaN, which no step repairs."""
    floor = 100.0 * torch.finfo(residual.dtype).eps
    return not bool((residual > max(rtol, floor) * scale).any())
