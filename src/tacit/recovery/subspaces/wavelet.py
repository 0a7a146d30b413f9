r"""Wavelet subspaces: images with few coefficients, and where these are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pywt
import torch
from scipy import sparse
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.subspaces.matrix import MatrixSubspace
from tacit.recovery.subspaces.support import require_places

Array = np.ndarray[Any, np.dtype[Any]]

# Numbers that a block of columns holds before its zeros are dropped.
_BLOCK = 2**22
# Even lags of a filter's autocorrelation vanish to this.
_FILTER_ATOL = 1e-10


def wavelet_subspace(
    grid: tuple[int, ...],
    indices: Tensor | int,
    *,
    wavelet: str = "db4",
    levels: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> MatrixSubspace:
    r"""Return signals made of chosen wavelets, periodised and so orthonormal.

    The discrete wavelet transform of the grid, continued periodically, is an orthogonal
    matrix; B holds some columns of its inverse.

    Parameters
    ----------
    grid : tuple of int
        Shape of a signal; sizes must be multiples of ``2**levels``.
    indices : Tensor, shape (dimension,), or int
        Which wavelets, int64 and different from each other, numbered from coarse to
        fine: the approximation, then the details of each level, of a level first those
        along the last dimension, each read row by row. A number takes the first so
        many.
    wavelet : str
        An orthogonal one of PyWavelets: ``haar``, ``db4``, ``sym8``, ...
    levels : int or None
        How often the approximation is split; None as often as sizes can be halved and
        the wavelet is no longer than the coarsest signal, at least once.
    dtype : torch.dtype
        Of coefficients and signals.

    Returns
    -------
    MatrixSubspace
        Sparse.

    Raises
    ------
    ShapeError
        If the sizes are no multiples of ``2**levels``, or a number is out of range.
    InputError
        If the wavelet is not known or not orthogonal, an index is out of range or comes
        twice, or the dtype is not real or complex floating point.

    Notes
    -----
    A wavelet of level l has ``O(4^l)`` entries on an image, so coarse ones fill the
    matrix. Building costs one inverse transform of the grid for each column.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.subspaces.wavelet import wavelet_subspace
    >>> means = wavelet_subspace((4,), 2, wavelet="haar", levels=1)
    >>> ramp = torch.arange(4.0, dtype=torch.float64)
    >>> means.synthesise(means.analyse(ramp)).round(decimals=12).tolist()
    [0.5, 0.5, 2.5, 2.5]
    """
    size = math.prod(grid)
    layout = _layout(grid, wavelet, levels)
    if isinstance(indices, int):
        if not 1 <= indices <= size:
            raise ShapeError(
                f"indices must be a number in 1..{size} for grid {grid}; got {indices}"
            )
        indices = torch.arange(indices)
    require_places("indices", indices, grid)
    chosen = indices.cpu().numpy()
    width = max(1, _BLOCK // size)
    blocks: list[Any] = []
    for first in range(0, chosen.size, width):
        places = chosen[first : first + width]
        units = np.zeros((places.size, size))
        units[np.arange(places.size), places] = 1.0
        blocks.append(sparse.csr_array(_compose(units, grid, layout, wavelet)))
    real = torch.empty(0, dtype=dtype).numpy().dtype
    matrix = sparse.csr_array(sparse.vstack(blocks).T.astype(real))
    return MatrixSubspace(matrix=matrix, shape=grid, is_orthonormal=True)


def largest_wavelets(
    image: Tensor, dimension: int, *, wavelet: str = "db4", levels: int | None = None
) -> Tensor:
    r"""Return which wavelets an image has its largest coefficients at.

    Parameters
    ----------
    image : Tensor, shape grid
        Or a signal of one dimension; finite, real or complex.
    dimension : int
        How many.
    wavelet, levels
        As for :func:`wavelet_subspace`.

    Returns
    -------
    Tensor, shape (dimension,)
        Indices for :func:`wavelet_subspace`, int64, ascending; of equal coefficients
        the coarser ones.

    Raises
    ------
    ShapeError
        If the sizes are no multiples of ``2**levels``, or ``dimension`` is out of
        range.
    InputError
        If the wavelet is not known or not orthogonal, or the image is not finite.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.subspaces.wavelet import largest_wavelets
    >>> step = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    >>> largest_wavelets(step, 2, wavelet="haar").tolist()
    [0, 1]
    """
    grid = tuple(image.shape)
    layout = _layout(grid, wavelet, levels)
    if not 1 <= dimension <= image.numel():
        raise ShapeError(
            f"dimension must be in 1..{image.numel()} for grid {grid}; got {dimension}"
        )
    if not bool(torch.isfinite(image).all()):
        raise InputError("image has entries that are not finite; fill them in")
    signals = image.detach().cpu().resolve_conj().numpy()
    sizes = np.abs(_decompose(signals, len(layout), wavelet))
    # Sizes equal but for rounding are equal.
    sizes = np.round(sizes / (sizes.max() or 1.0), 12)
    chosen = np.argsort(-sizes, kind="stable")[:dimension]
    return torch.from_numpy(np.sort(chosen))


def _layout(
    grid: tuple[int, ...], wavelet: str, levels: int | None
) -> list[tuple[int, ...]]:
    """Return the shape of the approximation after each level, the finest first.

    Raises
    ------
    ShapeError, InputError
        If there is no such transform.
    """
    length = _filter_length(wavelet)
    if len(grid) not in (1, 2) or min(grid) < 1:
        raise ShapeError(
            f"a signal must have one or two dimensions of positive size; got {grid}"
        )
    # The largest power of two that divides a size.
    halvings = min((size & -size).bit_length() - 1 for size in grid)
    if levels is None:
        levels = min(halvings, max(1, pywt.dwt_max_level(min(grid), length)))
    if not 1 <= levels <= halvings:
        raise ShapeError(
            f"grid sizes must be multiples of 2**levels with levels at least 1; got "
            f"grid {grid} and levels {levels}; crop or pad the signal, or lower levels"
        )
    return [tuple(n >> level for n in grid) for level in range(1, levels + 1)]


def _filter_length(wavelet: str) -> int:
    """Return the length of an orthogonal wavelet's filter.

    Raises
    ------
    InputError
        If the wavelet is not known, or its shifts by even steps are not orthonormal.
    """
    names = pywt.wavelist(kind="discrete")  # pyright: ignore[reportAttributeAccessIssue]
    if wavelet not in names:
        raise InputError(
            f"wavelet must be a discrete one of PyWavelets, such as haar, db4 or sym8; "
            f"got {wavelet!r}"
        )
    filters = pywt.Wavelet(wavelet)  # pyright: ignore[reportAttributeAccessIssue]
    lowpass = np.asarray(filters.rec_lo)
    even = np.convolve(lowpass, lowpass[::-1])[(lowpass.size - 1) % 2 :: 2]
    even[even.size // 2] -= 1.0
    if not float(np.abs(even).max()) <= _FILTER_ATOL:
        raise InputError(
            f"wavelet must be orthogonal, such as haar, db4 or sym8; got {wavelet!r}, "
            "which is not"
        )
    return int(lowpass.size)


def _decompose(signals: Array, levels: int, wavelet: str) -> Array:
    """Return all coefficients, (prod(grid),), from coarse to fine."""
    approximation, axes = signals, tuple(range(signals.ndim))
    details: list[Array] = []
    for _ in range(levels):
        parts = pywt.dwtn(approximation, wavelet, mode="periodization", axes=axes)
        approximation = parts[_kinds(signals.ndim)[0]]
        # Later levels, which are coarser, come first.
        details = [parts[kind].ravel() for kind in _kinds(signals.ndim)[1:]] + details
    return np.concatenate([approximation.ravel(), *details])


def _compose(
    coefficients: Array,
    grid: tuple[int, ...],
    layout: Sequence[tuple[int, ...]],
    wavelet: str,
) -> Array:
    """Return the signals, flat, of several vectors of coefficients."""
    count, axes = coefficients.shape[0], tuple(range(1, len(grid) + 1))
    approximation_kind, *detail_kinds = _kinds(len(grid))
    start = math.prod(layout[-1])
    approximation = coefficients[:, :start].reshape(count, *layout[-1])
    for shape in reversed(layout):
        parts = {approximation_kind: approximation}
        for kind in detail_kinds:
            stop = start + math.prod(shape)
            parts[kind] = coefficients[:, start:stop].reshape(count, *shape)
            start = stop
        approximation = pywt.idwtn(parts, wavelet, mode="periodization", axes=axes)
    return approximation.reshape(count, -1)


def _kinds(num_dims: int) -> list[str]:
    """Names of approximation and details, as PyWavelets has them."""
    return ["a", "d"] if num_dims == 1 else ["aa", "ad", "da", "dd"]
