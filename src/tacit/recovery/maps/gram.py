r"""The Gram matrix of the measurements, :math:`\mathcal{A} \mathcal{A}^*`."""

import math

import torch
from torch import Tensor

from tacit.recovery.maps.blocks import BlockDiagonalMap
from tacit.recovery.maps.combine import SumMap, TwoSidedMap
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.rank_one import RankOneMap
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.maps.structured import FourierMap

_BLOCK = 2**22  # entries of matrices that the general way holds at once
_LARGEST_ROWS = 2**22  # entries of the Fourier rows of a convolution


def gram_multiple(linear_map: AbstractLinearMap) -> float | None:
    r"""Return c where :math:`\mathcal{A} \mathcal{A}^* = c\, \mathrm{Id}` by structure.

    Entries have c = 1 and subsampled Fourier transforms with signs of modulus one
    :math:`c = N / m`, with N entries of the matrix and m measurements.

    Parameters
    ----------
    linear_map : AbstractLinearMap

    Returns
    -------
    float or None
        None where the kind of the map promises nothing.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.maps.gram import gram_multiple
    >>> gram_multiple(tacit.fourier_map((6, 5), 10, generator=tacit.make_generator(0)))
    3.0
    """
    if isinstance(linear_map, EntriesMap):
        return 1.0
    if isinstance(linear_map, FourierMap):
        if not bool((linear_map.signs.abs() == 1.0).all()):
            return None
        return linear_map.signs.numel() / linear_map.num_measurements
    return None


def measurement_gram(linear_map: AbstractLinearMap) -> Tensor:
    r"""Return the matrix of :math:`\mathcal{A} \mathcal{A}^*`.

    For measurements :math:`\langle A_i, X \rangle` its entries are :math:`\langle A_i,
    A_j \rangle`. Rank-one measurements :math:`a_i^H X b_i` have

    .. math:: G_{ij} = (a_i^H a_j)\, \overline{(b_i^H b_j)},

    and convolutions are of this kind after a Fourier transform, one block for each
    channel: the channels see different rows of the matrix. Block matrices add up what
    their blocks give. Neither forms the matrix of :math:`\mathcal{A}`.

    Parameters
    ----------
    linear_map : AbstractLinearMap

    Returns
    -------
    Tensor, shape (num_measurements, num_measurements)
        Hermitian up to rounding, in the map's dtype; a new tensor.

    Notes
    -----
    Linear convolution takes the matrix of the circular convolution on its padded grid,
    and crops it. Maps of other kinds cost one product with the map and its adjoint for
    each measurement.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.maps.gram import measurement_gram
    >>> from tacit.recovery.maps.rank_one import RankOneMap
    >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    >>> measurement_gram(RankOneMap(left_vectors=vectors))
    tensor([[1., 1.],
            [1., 4.]], dtype=torch.float64)
    """
    multiple = gram_multiple(linear_map)
    if multiple is not None:
        spec = linear_map.spec
        unit = torch.eye(spec.num_measurements, dtype=spec.dtype, device=spec.device)
        return multiple * unit
    if isinstance(linear_map, StoredMap):
        return linear_map.matrix @ linear_map.matrix.mH
    if isinstance(linear_map, RankOneMap):
        return _rank_one_gram(linear_map.left_vectors, linear_map.right_vectors)
    if isinstance(linear_map, ConvolutionMap):
        return _convolution_gram(linear_map)
    if isinstance(linear_map, BlockDiagonalMap):
        gram = measurement_gram(linear_map.maps[0])
        for part in linear_map.maps[1:]:
            gram += measurement_gram(part)
        return gram
    if isinstance(linear_map, SumMap) and len(linear_map.maps) == 1:
        (c,) = linear_map.coefficients or (1.0,)
        return abs(c) ** 2 * measurement_gram(linear_map.maps[0])
    if isinstance(linear_map, TwoSidedMap) and isinstance(linear_map.inner, RankOneMap):
        return _two_sided_gram(linear_map, linear_map.inner)
    return _general_gram(linear_map)


def _rank_one_gram(left: Tensor, right: Tensor | None) -> Tensor:
    gram = left.conj() @ left.mT
    if right is None:
        return gram * gram.conj()
    return gram.mul_((right.conj() @ right.mT).conj())


def _two_sided_gram(outer: TwoSidedMap, inner: RankOneMap) -> Tensor:
    """Return the Gram matrix of ``a^H (B X C^H) b``: again of rank-one measurements."""
    a = inner.left_vectors
    b = a if inner.right_vectors is None else inner.right_vectors
    left = a if outer.left_matrix is None else a @ outer.left_matrix.conj()
    right = b if outer.right_matrix is None else b @ outer.right_matrix.conj()
    return _rank_one_gram(left, right)


def _convolution_gram(linear_map: ConvolutionMap) -> Tensor:
    filters, signal = linear_map.fourier_rows()
    grid = linear_map.grid
    size = math.prod(linear_map.out_grid)
    axes = len(grid.transformed)
    spec = linear_map.spec
    shape = (spec.num_measurements, spec.num_measurements)
    gram = torch.zeros(shape, dtype=spec.dtype, device=spec.device)
    for place, (rows, window) in enumerate(zip(filters, grid.windows, strict=True)):
        # F^H G F, with G in the Fourier domain; then what the boundary lets see.
        block = _rank_one_gram(rows, signal)
        block = block.reshape(*grid.transformed, *grid.transformed)
        block = torch.fft.ifftn(block, dim=tuple(range(axes)), norm="ortho")
        block = block[window]
        block = torch.fft.fftn(block, dim=tuple(range(axes, 2 * axes)), norm="ortho")
        block = block[..., *window].reshape(size, size)
        part = slice(place * size, (place + 1) * size)
        gram[part, part] = block if spec.dtype.is_complex else block.real
    return gram


def _general_gram(linear_map: AbstractLinearMap) -> Tensor:
    spec = linear_map.spec
    size = spec.num_measurements
    width = max(1, _BLOCK // math.prod(spec.in_shape))
    gram = torch.empty(size, size, dtype=spec.dtype, device=spec.device)
    for first in range(0, size, width):
        count = min(width, size - first)
        units = torch.zeros(count, size, dtype=spec.dtype, device=spec.device)
        units[:, first : first + count].fill_diagonal_(1.0)
        images = linear_map.apply(linear_map.adjoint_apply(units))
        gram[:, first : first + count] = images.mT
    return gram


def map_norm_bound(linear_map: AbstractLinearMap) -> float | None:
    r"""Return an upper bound of the norm of a map, from Frobenius norms, where cheap.

    The Gram matrix of rank-one measurements :math:`a_i^H X b_i` is an entrywise product
    of two positive semidefinite ones, so with A and B the matrices of all :math:`a_i`
    and :math:`b_i`

    .. math:: \|\mathcal{A}\|^2 \le \min(\max_i \|a_i\|^2 \|B\|_2^2,\;
              \max_i \|b_i\|^2 \|A\|_2^2).

    A convolution is one in the Fourier domain, or a part of one; a sum of blocks has at
    most the sum of the squares.

    Parameters
    ----------
    linear_map : AbstractLinearMap

    Returns
    -------
    float or None
        None for other maps, and where the Fourier rows are too large.

    References
    ----------
    Schur's bound of entrywise products, as in Horn and Johnson (1991), Topics in matrix
    analysis, theorem 5.5.18.
    """
    if isinstance(linear_map, RankOneMap):
        other = linear_map.right_vectors
        left = linear_map.left_vectors
        return _rows_norm_bound(left, left if other is None else other)
    if isinstance(linear_map, ConvolutionMap):
        points = linear_map.num_measurements // len(linear_map.filters)
        if points * max(linear_map.in_shape) > _LARGEST_ROWS:
            return None
        filters, signal = linear_map.fourier_rows()
        # Channels do not share unknowns of the filters: their Gram matrix has blocks.
        return max(_rows_norm_bound(rows, signal) for rows in filters)
    if isinstance(linear_map, BlockDiagonalMap):
        bounds = [map_norm_bound(part) for part in linear_map.maps]
        known = [bound for bound in bounds if bound is not None]
        return math.hypot(*known) if len(known) == len(bounds) else None
    return None


def _rows_norm_bound(left: Tensor, right: Tensor) -> float:
    rows = [float(v.abs().square().sum(-1).max()) for v in (left, right)]
    norms = [float(torch.linalg.eigvalsh(v.mH @ v)[-1]) for v in (left, right)]
    slack = 1.0 + 64.0 * max(left.shape) * torch.finfo(left.dtype).eps
    return math.sqrt(slack * min(rows[0] * norms[1], rows[1] * norms[0]))
