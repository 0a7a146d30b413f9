r"""Blind deconvolution as a low-rank problem: what was observed, and what is known."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.blocks import BlockDiagonalMap
from tacit.recovery.maps.convolution import Boundary, ConvolutionMap
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.subspaces.subspace import AbstractSubspace

Filters = AbstractSubspace | Sequence[AbstractSubspace]


def convolution_problem(
    observed: Tensor,
    filters: Filters,
    signal: AbstractSubspace,
    *,
    boundary: Boundary = "circular",
    noise_level: float | None = None,
) -> RecoveryProblem:
    r"""Ask for a filter and a signal from their convolution.

    .. math:: y = (B h) * (C x) + e, \qquad
              y_j = (B_j h_j) * (C x) + e_j \quad \text{in channel } j

    with known subspaces B and C and unknown coefficients h and x. The product is linear
    in the matrix :math:`h x^T` of rank one, which is what the problem is about: its
    factors are ``left`` = h (all channels, one below the other) and ``right`` = the
    conjugate of x.

    Parameters
    ----------
    observed : Tensor
        y on its grid: ``(length,)`` or ``(height, width)``; with several channels
        ``(num_channels, *grid)``. Finite, in the dtype of the subspaces.
    filters : AbstractSubspace or sequence of AbstractSubspace
        B; one for each channel. All channels share the signal.
    signal : AbstractSubspace
        C.
    boundary : {"circular", "full", "valid", "same"}
        What is seen of the convolution; see
        :class:`~tacit.recovery.maps.convolution.ConvolutionMap`.
    noise_level : float or None
        Standard deviation of every entry of e; 0 for exact data, None if not known.

    Returns
    -------
    RecoveryProblem

    Raises
    ------
    ShapeError
        If the observation has another shape than the convolution.
    InputError
        If dtypes disagree or an entry is not finite.

    References
    ----------
    Ahmed, Recht and Romberg (2014), Blind deconvolution using convex programming, for
    the lifting; several channels as in Ahmed and Demanet (2018), recalled.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.problem import convolution_problem
    >>> from tacit.recovery.subspaces.support import SupportSubspace
    >>> short = SupportSubspace(indices=torch.arange(2), shape=(6,))
    >>> early = SupportSubspace(indices=torch.arange(3), shape=(6,))
    >>> observed = torch.tensor([1.0, 3.0, 6.0, 8.0, 0.0, 0.0], dtype=torch.float64)
    >>> convolution_problem(observed, short, early).linear_map.in_shape
    (2, 3)
    """
    filters = _filters(filters)
    linear_map = ConvolutionMap(filters=filters, signal=signal, boundary=boundary)
    return RecoveryProblem(
        linear_map=linear_map,
        measurements=_measurements(observed, linear_map, len(filters)),
        noise_level=noise_level,
    )


def demixing_problem(
    observed: Tensor,
    sources: Sequence[tuple[Filters, AbstractSubspace]],
    *,
    boundary: Boundary = "circular",
    noise_level: float | None = None,
) -> RecoveryProblem:
    r"""Ask for several filters and signals from the sum of their convolutions.

    .. math:: y = \sum_s (B_s h_s) * (C_s x_s) + e

    Parameters
    ----------
    observed : Tensor
        y, as in :func:`convolution_problem`.
    sources : sequence of (filters, signal)
        Subspaces :math:`B_s` (one for each channel) and :math:`C_s` of every source.
    boundary : {"circular", "full", "valid", "same"}
    noise_level : float or None

    Returns
    -------
    RecoveryProblem
        About a block matrix whose diagonal blocks are :math:`h_s x_s^T`.

    Raises
    ------
    ShapeError
        If there are no sources, or shapes disagree.
    InputError
        If dtypes disagree or an entry is not finite.

    References
    ----------
    Ling and Strohmer (2017), Blind deconvolution meets blind demixing.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.problem import demixing_problem
    >>> from tacit.recovery.subspaces.support import SupportSubspace
    >>> short = SupportSubspace(indices=torch.arange(2), shape=(9,))
    >>> early = SupportSubspace(indices=torch.arange(3), shape=(9,))
    >>> zero = torch.zeros(9, dtype=torch.float64)
    >>> sources = [(short, early), (short, early)]
    >>> demixing_problem(zero, sources).linear_map.in_shape
    (4, 6)
    """
    if not sources:
        raise ShapeError("sources is empty; give (filters, signal) of at least one")
    maps: list[ConvolutionMap] = []
    num_channels = len(_filters(sources[0][0]))
    for place, (filters, signal) in enumerate(sources):
        kernels = _filters(filters)
        if len(kernels) != num_channels:
            raise ShapeError(
                "every source must have a filter for each channel; source 0 has "
                f"{num_channels} and source {place} has {len(kernels)}"
            )
        maps.append(ConvolutionMap(filters=kernels, signal=signal, boundary=boundary))
    return RecoveryProblem(
        linear_map=maps[0] if len(maps) == 1 else BlockDiagonalMap(maps=tuple(maps)),
        measurements=_measurements(observed, maps[0], num_channels),
        noise_level=noise_level,
    )


def source_maps(linear_map: AbstractLinearMap) -> tuple[ConvolutionMap, ...]:
    """Return the convolution of every source.

    Raises
    ------
    InputError
        If the map is not a convolution or a sum of them.
    """
    if isinstance(linear_map, ConvolutionMap):
        return (linear_map,)
    if isinstance(linear_map, BlockDiagonalMap):
        maps = linear_map.maps
        found = tuple(part for part in maps if isinstance(part, ConvolutionMap))
        if len(found) == len(maps):
            return found
    raise InputError(
        "blind deconvolution needs the map of convolution_problem or demixing_problem; "
        f"got {type(linear_map).__name__}"
    )


def frequency_grid(part: ConvolutionMap) -> tuple[int, ...]:
    """Return the grid on which a convolution is a product of Fourier transforms.

    The signal's own grid if it is circular, else that of the full convolution.
    """
    if part.boundary == "circular":
        return part.signal.grid
    kernel = part.filters[0].grid
    return tuple(n + k - 1 for n, k in zip(part.signal.grid, kernel, strict=True))


def _filters(filters: Filters) -> tuple[AbstractSubspace, ...]:
    if isinstance(filters, AbstractSubspace):
        return (filters,)
    found = tuple(filters)
    if not found:
        raise ShapeError("filters is empty; give one subspace for each channel")
    return found


def _measurements(
    observed: Tensor, linear_map: ConvolutionMap, num_channels: int
) -> Tensor:
    """Return the observation as the map's vector, once its shape is right."""
    grid = linear_map.out_grid
    shapes = [(num_channels, *grid)] + ([grid] if num_channels == 1 else [])
    if tuple(observed.shape) not in shapes:
        raise ShapeError(
            f"observed must have shape {shapes[-1]} as the convolution of these "
            f"subspaces; got {tuple(observed.shape)}"
        )
    if not bool(torch.isfinite(observed).all()):
        raise InputError(
            "observed has entries that are not finite; cut them out or fill them in"
        )
    return observed.flatten()
