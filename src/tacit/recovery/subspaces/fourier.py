r"""Signals made of chosen Fourier modes: band-limited ones, for instance."""

import math
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from tacit.errors import ShapeError
from tacit.recovery.subspaces.subspace import AbstractSubspace, SubspaceSpec
from tacit.recovery.subspaces.support import require_places


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FourierSubspace(AbstractSubspace):
    r"""Signals made of chosen modes of the discrete Fourier transform.

    With frequencies :math:`k` and points :math:`j` of the grid, L points, and
    :math:`\theta_{kj} = 2 \pi \sum_d k_d j_d / L_d`, complex modes are

    .. math:: L^{-1/2} e^{\mathrm{i} \theta_{kj}}.

    Of a real subspace, mode k stands for a cosine if k comes before its mirror image
    :math:`-k` (modulo the grid) in the grid's order, for the sine of :math:`-k` if it
    comes after it, and where both are one, for a mode that is real itself:

    .. math:: \sqrt{2 / L} \cos \theta_{kj}, \qquad \sqrt{2 / L} \sin \theta_{-kj},
              \qquad L^{-1/2} \cos \theta_{kj}.

    Parameters
    ----------
    modes : Tensor, shape (dimension,)
        k, int64, different from each other: places in the grid of frequencies, read
        row by row.
    shape : tuple of int
        Shape of a signal.
    dtype : torch.dtype
        Of coefficients and signals.

    Raises
    ------
    ShapeError
        If ``modes`` is not a vector, or ``shape`` has other than one or two positive
        sizes.
    InputError
        If a mode is out of range or comes twice.

    Notes
    -----
    Columns are orthonormal. Each direction costs one fast Fourier transform.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.subspaces.fourier import FourierSubspace
    >>> wave = FourierSubspace(modes=torch.tensor([1]), shape=(4,))
    >>> h = torch.tensor([2.0 ** 0.5], dtype=torch.float64)
    >>> (wave.synthesise(h).round(decimals=12) + 0.0).tolist()
    [1.0, 0.0, -1.0, 0.0]
    """

    modes: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64
    _halves: "_Halves" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require_places("modes", self.modes, self.shape)
        real = torch.empty(0, dtype=self.spec.dtype).real.dtype
        object.__setattr__(self, "_halves", _halves(self.modes, self.shape, real))

    @property
    def spec(self) -> SubspaceSpec:
        return SubspaceSpec(
            grid=self.shape,
            dimension=self.modes.numel(),
            dtype=self.dtype,
            device=self.modes.device,
            is_orthonormal=True,
        )

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))

    def synthesise(self, coefficients: Tensor) -> Tensor:
        batch = coefficients.shape[:-1]
        if coefficients.is_complex():
            spread = coefficients.new_zeros(*batch, math.prod(self.shape))
            spread[..., self.modes] = coefficients
            spectrum = spread.unflatten(-1, self.shape)
            return torch.fft.ifftn(spectrum, dim=self._axes, norm="ortho")
        half = self._halves
        spread = torch.zeros(
            *batch,
            math.prod(half.shape),
            dtype=half.weights.dtype,
            device=coefficients.device,
        )
        weighted = coefficients * half.weights
        spread.index_add_(-1, half.places, weighted)
        # The mirror image of a frequency can lie in the stored half, too.
        spread.index_add_(
            -1, half.mirrored, weighted[..., half.is_mirrored].conj().resolve_conj()
        )
        spectrum = spread.unflatten(-1, half.shape)
        return torch.fft.irfftn(spectrum, s=self.shape, dim=self._axes, norm="ortho")

    def analyse(self, signals: Tensor) -> Tensor:
        first = -len(self.shape)
        if signals.is_complex():
            spectrum = torch.fft.fftn(signals, dim=self._axes, norm="ortho")
            return spectrum.flatten(first)[..., self.modes]
        spectrum = torch.fft.rfftn(signals, dim=self._axes, norm="ortho")
        half = self._halves
        picked = spectrum.flatten(first)[..., half.places]
        # Both halves of a spectrum count: Re(conj(v) s) for each.
        product = picked.real * half.weights.real + picked.imag * half.weights.imag
        return product * half.counts


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Halves:
    """Real modes in the half spectrum of real signals.

    ``places`` are positions in it, read row by row, one for each mode, ``weights`` the
    values of a mode's unitary spectrum there; ``counts`` is 2 where the mirror image
    has the conjugate value, else 1. ``mirrored`` are the positions of those mirror
    images that are stored as well, of the modes ``is_mirrored``.
    """

    shape: tuple[int, ...]
    places: Tensor
    weights: Tensor
    counts: Tensor
    mirrored: Tensor
    is_mirrored: Tensor


def _halves(modes: Tensor, shape: tuple[int, ...], real: torch.dtype) -> _Halves:
    half_shape = (*shape[:-1], shape[-1] // 2 + 1)
    mirror = _place(tuple(-k % n for k, n in _frequencies(modes, shape)), shape)
    lower = torch.minimum(modes, mirror)
    upper = torch.maximum(modes, mirror)
    # The cosine is half of either exponential; the sine is 1/2i of the lower one.
    is_pair = modes != mirror
    is_sine = (modes > mirror).double()
    value = torch.complex(1.0 - is_sine, -is_sine)
    value[is_pair] /= math.sqrt(2.0)
    is_stored, is_mirror_stored = (
        _frequencies(place, shape)[-1][0] < half_shape[-1] for place in (lower, upper)
    )
    value = torch.where(is_stored, value, value.conj())
    place = torch.where(is_stored, lower, upper)
    both = is_pair & is_stored & is_mirror_stored
    return _Halves(
        shape=half_shape,
        places=_half_place(place, shape),
        weights=value.to(
            torch.complex64 if real == torch.float32 else torch.complex128
        ),
        counts=torch.where(is_pair, 2.0, 1.0).to(real),
        mirrored=_half_place(upper[both], shape),
        is_mirrored=both,
    )


def _frequencies(places: Tensor, shape: tuple[int, ...]) -> list[tuple[Tensor, int]]:
    """Return the frequency along each dimension, with the dimension's size."""
    return list(zip(torch.unravel_index(places, shape), shape, strict=True))


def _place(frequencies: tuple[Tensor, ...], shape: tuple[int, ...]) -> Tensor:
    place = torch.zeros_like(frequencies[0])
    for k, n in zip(frequencies, shape, strict=True):
        place = place * n + k
    return place


def _half_place(places: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return places in the stored half, read by its own rows."""
    frequencies = tuple(k for k, _ in _frequencies(places, shape))
    return _place(frequencies, (*shape[:-1], shape[-1] // 2 + 1))


def lowest_modes(grid: tuple[int, ...], dimension: int) -> Tensor:
    r"""Return the modes of lowest frequency, for band-limited signals.

    Frequencies :math:`\min(k, n - k)` are compared by :math:`\sum_d (k_d / n_d)^2`; of
    a mode and its mirror image the first in the grid's order comes first.

    Parameters
    ----------
    grid : tuple of int
        Shape of a signal.
    dimension : int
        Number of modes, at most that of points; odd keeps pairs together in one
        dimension.

    Returns
    -------
    Tensor, shape (dimension,)
        int64.

    Raises
    ------
    ShapeError
        If ``dimension`` is out of range.

    Examples
    --------
    >>> from tacit.recovery.subspaces.fourier import lowest_modes
    >>> lowest_modes((8,), 5).tolist()
    [0, 1, 7, 2, 6]
    """
    size = math.prod(grid)
    if not 1 <= dimension <= size:
        raise ShapeError(
            f"dimension must be in 1..{size} for grid {grid}; got {dimension}"
        )
    total = torch.zeros(1, dtype=torch.float64)
    for n in grid:
        k = torch.arange(n)
        lowest = torch.minimum(k, n - k).double() / n
        total = (total[:, None] + lowest**2).flatten()
    return total.argsort(stable=True)[:dimension]
