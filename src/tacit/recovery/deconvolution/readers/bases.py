r"""The subspaces of filters and of the signal that the arrays of a file describe."""

import math

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers.arrays import (
    Members,
    integers,
    numbers,
    only_one,
    sizes,
    text,
)
from tacit.recovery.deconvolution.readers.observation import Observation
from tacit.recovery.maps.convolution_grid import Boundary
from tacit.recovery.subspaces.fourier import FourierSubspace, lowest_modes
from tacit.recovery.subspaces.matrix import MatrixSubspace
from tacit.recovery.subspaces.subspace import AbstractSubspace
from tacit.recovery.subspaces.support import SupportSubspace
from tacit.recovery.subspaces.wavelet import wavelet_subspace

FILTER_NAMES = ("B", "filter_support", "filter_size")
SIGNAL_NAMES = (
    *("C", "signal_support", "signal_modes", "signal_wavelets"),
    *("signal_basis", "onset"),
)
MAX_STORED = 10**8
"""Most numbers of a stored basis (800 MB)."""

Grid = tuple[int, ...]


def filters_from(
    members: Members, observed: Observation
) -> tuple[AbstractSubspace, ...]:
    r"""Return the subspace of every channel's filter.

    Parameters
    ----------
    members : mapping of str to array
        One of

        * ``B``: a basis as columns, ``(*grid, K)``, or ``(num_channels, *grid, K)``;
        * ``filter_support``: True where a filter may differ from zero, ``grid`` or
          ``(num_channels, *grid)``; or, in one dimension, delays from 0, ``(K,)`` or
          ``(num_channels, K)``;
        * ``filter_size``: all filters of this size, one number or one for each
          dimension.
    observed : Observation
        Says how many channels there are.

    Returns
    -------
    tuple of AbstractSubspace

    Raises
    ------
    InputError
        If arrays are missing, too many, or do not fit.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from tacit.recovery.deconvolution.readers.bases import filters_from
    >>> from tacit.recovery.deconvolution.readers.observation import Observation
    >>> observed = Observation(values=torch.zeros(2, 64).double(), kind="audio")
    >>> members = {"filter_support": np.array([[0, 5], [0, 7]])}
    >>> [b.grid for b in filters_from(members, observed)]
    [(8,), (8,)]
    """
    name = only_one(members, FILTER_NAMES, "the filters")
    dimensions, count = len(observed.grid), observed.num_channels
    dtype = observed.values.dtype
    if name == "filter_size":
        grid = sizes(members, name, dimensions)
        return (whole(_affordable(name, grid, observed), dtype),) * count
    if name == "B":
        basis = numbers(members, name).to(dtype)
        return tuple(_stored(b) for b in _channels(name, basis, dimensions + 1, count))
    if members[name].dtype.kind == "b":
        masks = torch.from_numpy(members[name].copy())
        return tuple(
            _of_mask(name, mask, dtype)
            for mask in _channels(name, masks, dimensions, count)
        )
    if dimensions > 1:
        raise InputError(
            f"{name} of an image must be boolean, True where a kernel may differ from "
            f"zero; got {members[name].dtype}"
        )
    delays = integers(members, name)
    if not delays.numel():
        raise InputError(f"{name} is empty; give at least one delay")
    grid = _affordable(name, (int(delays.max()) + 1,), observed)
    return tuple(
        SupportSubspace(indices=own, shape=grid, dtype=dtype)
        for own in _channels(name, delays, 1, count)
    )


def signal_from(
    members: Members, observed: Observation, filter_grid: Grid, boundary: Boundary
) -> AbstractSubspace:
    r"""Return the subspace of the signal.

    Parameters
    ----------
    members : mapping of str to array
        One of

        * ``C``: a basis as columns, ``(*grid, N)``;
        * ``signal_support``: True where the signal may differ from zero, or places from
          0 (read row by row);
        * ``signal_modes``: numbers of Fourier modes, or ``signal_basis`` with the text
          ``fourier`` and ``signal_dimension``, for the lowest so many;
        * ``signal_wavelets``: numbers of wavelets, coarse to fine, as
          :func:`~tacit.recovery.subspaces.wavelet.largest_wavelets` gives them, of the
          family ``wavelet`` (text; ``haar`` if it is not there);
        * ``signal_basis`` with the text ``identity``: every signal;
        * ``onset`` (s), ``frequency`` (Hz) and ``decay`` (1/s), vectors of one length:
          see :func:`notes_subspace`.
    observed : Observation
    filter_grid : tuple of int
        Shape of a filter.
    boundary : {"circular", "full", "valid", "same"}
        Both together say how long the signal is.

    Returns
    -------
    AbstractSubspace

    Raises
    ------
    InputError
        If arrays are missing, too many, or do not fit.
    """
    name = only_one(members, SIGNAL_NAMES, "the signal")
    dtype = observed.values.dtype
    if name == "C":
        basis = numbers(members, name).to(dtype)
        return _stored(_channels(name, basis, len(observed.grid) + 1, 1)[0])
    grid = signal_grid(observed.grid, filter_grid, boundary)
    if name == "signal_support":
        if members[name].dtype.kind == "b":
            mask = torch.from_numpy(members[name].copy())
            if tuple(mask.shape) != grid:
                raise InputError(
                    f"{name} must have the signal's shape {grid}; got "
                    f"{tuple(mask.shape)}"
                )
            return _of_mask(name, mask, dtype)
        places = integers(members, name)
        return SupportSubspace(indices=places, shape=grid, dtype=dtype)
    if name == "signal_modes":
        modes = integers(members, name)
        return FourierSubspace(modes=modes, shape=grid, dtype=dtype)
    if name == "signal_wavelets":
        family = text(members, "wavelet") if "wavelet" in members else "haar"
        chosen = integers(members, name)
        return wavelet_subspace(grid, chosen, wavelet=family, dtype=dtype)
    if name == "onset":
        return _notes(members, grid, observed)
    kind = text(members, name)
    if kind == "identity":
        return whole(grid, dtype)
    if kind == "fourier" and "signal_dimension" in members:
        (dimension,) = sizes(members, "signal_dimension", 1)
        return FourierSubspace(
            modes=lowest_modes(grid, dimension), shape=grid, dtype=dtype
        )
    raise InputError(
        f"{name} must be identity, or fourier with signal_dimension; got {kind!r}"
    )


def signal_grid(observed: Grid, filter_grid: Grid, boundary: Boundary) -> Grid:
    """Return the shape of a signal from that of its convolution.

    Raises
    ------
    InputError
        If nothing is left of it.
    """
    turn = {"full": -1, "valid": 1}.get(boundary, 0)
    grid = tuple(
        size + turn * (k - 1) for size, k in zip(observed, filter_grid, strict=True)
    )
    if min(grid) < 1:
        raise InputError(
            f"filters of shape {filter_grid} are longer than the observation of shape "
            f"{observed}; give shorter ones"
        )
    return grid


def whole(grid: Grid, dtype: torch.dtype = torch.float64) -> SupportSubspace:
    """Return all signals of a shape."""
    return SupportSubspace(
        indices=torch.arange(math.prod(grid)), shape=grid, dtype=dtype
    )


def notes_subspace(
    onset: Tensor, frequency: Tensor, decay: Tensor, *, length: int, rate: float
) -> MatrixSubspace:
    r"""Return signals made of decaying tones that begin at known times.

    .. math:: x(t) = \sum_{i \,:\, t \ge t_i} e^{-\delta_i (t - t_i)} \bigl( a_i \cos 2
              \pi f_i (t - t_i) + b_i \sin 2 \pi f_i (t - t_i) \bigr)

    with unknown :math:`a_i`, :math:`b_i`: a plucked or struck instrument that plays
    from a known score. The sharp onsets are what tells the signal from its echoes.

    Parameters
    ----------
    onset : Tensor, shape (num_tones,)
        :math:`t_i`, in seconds, at least 0 and before the end.
    frequency : Tensor, shape (num_tones,)
        :math:`f_i`, in Hz, above 0 and below half the rate.
    decay : Tensor, shape (num_tones,)
        :math:`\delta_i`, in 1/s, at least 0.
    length : int
        Number of samples.
    rate : float
        Samples a second.

    Returns
    -------
    MatrixSubspace
        Of dimension ``2 * num_tones``; columns of norm 1.

    Raises
    ------
    InputError
        If a number is out of range, or the basis would be too large.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.readers.bases import notes_subspace
    >>> one = torch.tensor([0.5])
    >>> notes_subspace(one, 100 * one, 3 * one, length=1000, rate=1000.0).dimension
    2
    """
    tones = onset.numel()
    if 2 * tones * length > MAX_STORED:
        raise InputError(
            f"{tones} tones of {length} samples are too many: at most {MAX_STORED} "
            "numbers are stored, two for each sample of each tone"
        )
    for name, values, low, high in (
        ("onset", onset, 0.0, (length - 1) / rate),
        ("frequency", frequency, 0.0, rate / 2.0),
        ("decay", decay, 0.0, math.inf),
    ):
        if not bool(((values >= low) & (values <= high)).all()):
            raise InputError(
                f"{name} must be in {low:g}..{high:g}; got {float(values.min()):g} to "
                f"{float(values.max()):g}"
            )
    time = torch.arange(length, dtype=torch.float64)[:, None] / rate - onset
    envelope = torch.exp(-decay * time.clamp(min=0.0)) * (time >= -0.5 / rate)
    angle = 2.0 * math.pi * frequency * time
    matrix = torch.cat([envelope * angle.cos(), envelope * angle.sin()], dim=1)
    norms = torch.linalg.vector_norm(matrix, dim=0)
    if not float(norms.min()) > 0.0:
        raise InputError(
            "every tone must sound: of at least one of its frequency and decay nothing "
            "is left in the samples; leave it out"
        )
    return MatrixSubspace(matrix=matrix / norms, is_orthonormal=False)


def _notes(members: Members, grid: Grid, observed: Observation) -> MatrixSubspace:
    names = ("onset", "frequency", "decay")
    missing = [name for name in names if name not in members]
    if missing or len(grid) != 1 or observed.values.is_complex():
        raise InputError(
            "tones need vectors onset, frequency and decay, and a real signal of one "
            f"dimension; {', '.join(missing) or 'this one'} is missing or is not one"
        )
    vectors = [numbers(members, name).flatten() for name in names]
    lengths = [vector.numel() for vector in vectors]
    if len(set(lengths)) > 1 or any(vector.is_complex() for vector in vectors):
        raise InputError(
            f"onset, frequency and decay must be real and of one length; got {lengths}"
        )
    return notes_subspace(*vectors, length=grid[0], rate=float(observed.rate or 1))


def _channels(
    name: str, tensor: Tensor, dimensions: int, count: int
) -> tuple[Tensor, ...]:
    """Return the part of every channel; one part without that dimension is all's."""
    if tensor.dim() == dimensions:
        return (tensor,) * count
    if tensor.dim() == dimensions + 1 and tensor.shape[0] == count:
        return tuple(tensor)
    raise InputError(
        f"{name} must have {dimensions} dimensions, or {dimensions + 1} of which the "
        f"first is {count}, the number of channels; got shape {tuple(tensor.shape)}"
    )


def _stored(basis: Tensor) -> MatrixSubspace:
    if basis.numel() > MAX_STORED:
        raise InputError(
            f"a basis may have at most {MAX_STORED} numbers; got {basis.numel()}"
        )
    matrix = basis.reshape(-1, basis.shape[-1])
    return MatrixSubspace(matrix=matrix, shape=tuple(basis.shape[:-1]))


def _of_mask(name: str, mask: Tensor, dtype: torch.dtype) -> SupportSubspace:
    places = mask.flatten().nonzero()[:, 0]
    if not places.numel():
        raise InputError(f"{name} is False everywhere; allow at least one place")
    return SupportSubspace(indices=places, shape=tuple(mask.shape), dtype=dtype)


def _affordable(name: str, grid: Grid, observed: Observation) -> Grid:
    """Refuse filters beyond the observation before they are stored."""
    if any(k > size for k, size in zip(grid, observed.grid, strict=True)):
        raise InputError(
            f"{name} asks for filters of shape {grid}, longer than the observation of "
            f"shape {observed.grid}; give shorter ones"
        )
    return grid
