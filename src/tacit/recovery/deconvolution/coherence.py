r"""How evenly subspaces and signals spread over the frequencies."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.problem import frequency_grid, source_maps
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.subspaces.subspace import AbstractSubspace
from tacit.recovery.subspaces.support import SupportSubspace

_CHUNK = 2**22  # numbers transformed at once: 64 MB in complex128


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Coherence:
    r"""What decides whether one filter and one signal can be told apart.

    F is the unitary discrete Fourier transform on the grid of L points, and
    :math:`b_l`, :math:`c_l` the rows of :math:`F B` and :math:`F C`. Small values are
    good: the energy lies spread over all frequencies. A large ``filter_max`` says that
    *some* filter of the subspace sits on few frequencies, a large ``filter_flatness``
    that *this* one does; what a frequency without energy in the filter did to the
    signal cannot be seen.

    Parameters
    ----------
    filter_max : float
        :math:`\mu_{\max}^2 = (L / K) \max_l \|b_l\|^2`; for orthonormal columns in
        [1, L / K], 1 for every set of points as support.
    signal_max : float
        The same for C, in [1, L / N].
    filter_flatness : float or None
        :math:`\mu_h^2 = L \max_l |\langle b_l, h \rangle|^2 / \|B h\|^2`, in
        [1, K filter_max]; about log L for a random filter; None without a filter.
    signal_flatness : float or None
        The same for the signal.

    Notes
    -----
    Ahmed, Recht and Romberg (2014) prove exact recovery by the nuclear norm, for a
    Gaussian C, if :math:`\max(\mu_{\max}^2 K, \mu_h^2 N) \le c\, L / \log^3 L` with an
    unknown constant c (recalled).

    Examples
    --------
    >>> from tacit.recovery.deconvolution.coherence import Coherence
    >>> Coherence(filter_max=1.0, signal_max=2.5).filter_flatness is None
    True
    """

    filter_max: float
    signal_max: float
    filter_flatness: float | None = None
    signal_flatness: float | None = None


def subspace_coherence(
    subspace: AbstractSubspace, grid: tuple[int, ...] | None = None
) -> float:
    r"""Return :math:`(L / K) \max_l \|b_l\|^2` over the rows of the unitary F B.

    Parameters
    ----------
    subspace : AbstractSubspace
        With orthonormal columns for the range [1, L / K] to hold.
    grid : tuple of int or None
        Of L points; signals on a smaller one are continued by zeros. None takes the
        subspace's own.

    Returns
    -------
    float

    Notes
    -----
    K transforms of length L, a few columns at a time: B is not stored. Sets of points
    have 1 without any.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.coherence import subspace_coherence
    >>> from tacit.recovery.subspaces.matrix import MatrixSubspace
    >>> flat = torch.full((4, 1), 0.5, dtype=torch.float64)
    >>> subspace_coherence(MatrixSubspace(matrix=flat))
    4.0
    """
    if isinstance(subspace, SupportSubspace):
        return 1.0
    spec = subspace.spec
    grid = spec.grid if grid is None else grid
    size = math.prod(grid)
    energies = torch.zeros(1, dtype=torch.float64, device=spec.device)
    chunk = max(1, _CHUNK // size)
    for begin in range(0, spec.dimension, chunk):
        count = min(chunk, spec.dimension - begin)
        units = torch.zeros(count, spec.dimension, dtype=spec.dtype, device=spec.device)
        units[:, begin : begin + count].fill_diagonal_(1.0)
        spectra = _transform(subspace.synthesise(units), grid)
        energies = energies + spectra.abs().square().sum(0).to(torch.float64)
    # The plain transform is sqrt(L) times the unitary one.
    return float(energies.max()) / spec.dimension


def flatness(signal: Tensor, grid: tuple[int, ...] | None = None) -> float:
    r"""Return :math:`L \max_l |(F w)_l|^2 / \|w\|^2` of a signal on its grid.

    Parameters
    ----------
    signal : Tensor
        w, on a grid of any dimension.
    grid : tuple of int or None
        As in :func:`subspace_coherence`.

    Returns
    -------
    float
        In [1, L]; 1 for a single point, L for a constant.

    Raises
    ------
    InputError
        If the signal is zero.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.coherence import flatness
    >>> flatness(torch.tensor([0.0, 3.0, 0.0, 0.0])), flatness(torch.ones(4))
    (1.0, 4.0)
    """
    energy = float(torch.linalg.vector_norm(signal)) ** 2
    if energy == 0.0:
        raise InputError("a zero signal has no spectrum to speak of; give another one")
    spectrum = _transform(signal, tuple(signal.shape) if grid is None else grid)
    return float(spectrum.abs().max()) ** 2 / energy


def coherences(
    linear_map: AbstractLinearMap,
    filters: tuple[Tensor, ...] | None = None,
    signals: tuple[Tensor, ...] | None = None,
) -> tuple[Coherence, ...]:
    """Return the coherence of every filter with its signal.

    Parameters
    ----------
    linear_map : AbstractLinearMap
        Of :func:`~tacit.recovery.deconvolution.problem.convolution_problem` or of
        :func:`~tacit.recovery.deconvolution.problem.demixing_problem`.
    filters : tuple of Tensor or None
        Every source's filters on their grids, channel by channel; None leaves the
        flatness out.
    signals : tuple of Tensor or None
        Every source's signal on its grid.

    Returns
    -------
    tuple of Coherence
        One for each filter, in the same order.

    Raises
    ------
    InputError
        If the map is of another kind, or a signal is zero.
    ShapeError
        If the number of filters or signals is wrong.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.deconvolution.coherence import coherences
    >>> from tacit.recovery.deconvolution.planted import planted_deconvolution
    >>> problem = planted_deconvolution(10, 20, 100,
    ...     generator=tacit.make_generator(0))
    >>> coherences(problem.linear_map)[0].filter_max
    1.0
    """
    maps = source_maps(linear_map)
    number = sum(len(part.filters) for part in maps)
    if (filters is not None and len(filters) != number) or (
        signals is not None and len(signals) != len(maps)
    ):
        raise ShapeError(
            f"the map has {number} filters and {len(maps)} signals; got "
            f"{filters and len(filters)} and {signals and len(signals)}"
        )
    found: list[Coherence] = []
    for source, part in enumerate(maps):
        grid = frequency_grid(part)
        signal_max = subspace_coherence(part.signal, grid)
        signal_flatness = None if signals is None else flatness(signals[source], grid)
        for subspace in part.filters:
            kernel = None if filters is None else filters[len(found)]
            found.append(
                Coherence(
                    filter_max=subspace_coherence(subspace, grid),
                    signal_max=signal_max,
                    filter_flatness=None if kernel is None else flatness(kernel, grid),
                    signal_flatness=signal_flatness,
                )
            )
    return tuple(found)


def _transform(signals: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Return the transform at all frequencies, or half of them for real signals."""
    axes = tuple(range(-len(grid), 0))
    if signals.is_complex():
        return torch.fft.fftn(signals, s=grid, dim=axes)
    return torch.fft.rfftn(signals, s=grid, dim=axes)
