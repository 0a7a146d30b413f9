r"""What subspace a photographed scene is looked for in."""

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers.arrays import Members
from tacit.recovery.deconvolution.readers.bases import signal_from, signal_grid, whole
from tacit.recovery.deconvolution.readers.observation import Observation
from tacit.recovery.maps.convolution_grid import Boundary
from tacit.recovery.subspaces.subspace import AbstractSubspace
from tacit.recovery.subspaces.wavelet import largest_wavelets, wavelet_subspace

MAX_WAVELET_PIXELS = 2**17
"""Most pixels of a picture that is made of chosen wavelets."""

Grid = tuple[int, ...]

_LEVELS = 3  # of the wavelet transform, where the picture is large enough
# Pixels for each wavelet read from a blurred picture: with more wavelets the kernel is
# hardly determined, with fewer the picture is coarse.
_PER_WAVELET = 6
_GUESSED = (
    "the wavelets of the scene are guessed from the blurred picture, which gains "
    "little; known ones (--signal-basis) or further pictures of it gain much more"
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PictureSignal:
    r"""A scene's subspace, and the pictures that fit its grid.

    Parameters
    ----------
    observed : Observation
        Without the rows and columns that no wavelet transform could take.
    signal : AbstractSubspace
    discarded : float
        :math:`\|y - P y\|_2` of the observed pictures, P the projection onto the
        subspace: about what the subspace lacks of the truth; 0 if it has all pictures.
    """

    observed: Observation
    signal: AbstractSubspace
    discarded: float


def picture_signal(
    observed: Observation,
    filters: tuple[AbstractSubspace, ...],
    boundary: Boundary,
    *,
    wavelet: str,
    coefficients: int | None,
    basis: Members | None,
) -> PictureSignal:
    r"""Return the subspace in which the scene behind pictures is looked for.

    Several pictures with unlike kernels determine the scene: it may be any. Of a single
    one, the wavelets with the largest coefficients in the observed picture span it, as
    in Ahmed, Recht and Romberg.

    Parameters
    ----------
    observed : Observation
        Pictures of one scene.
    filters : tuple of AbstractSubspace
        Of every picture.
    boundary : {"circular", "full", "valid", "same"}
    wavelet : str
    coefficients : int or None
        How many wavelets; None is as described, with ``num_pixels / 6`` wavelets for a
        single picture.
    basis : mapping of str to array, or None
        The subspace itself, as :func:`signal_from` reads it.

    Returns
    -------
    PictureSignal

    Raises
    ------
    InputError
        If sizes do not fit, or the picture is too large for wavelets.

    References
    ----------
    Ahmed, Recht and Romberg (2014), section 4.3 (recalled), for the support read from
    the blurred picture; to count what it discards as noise is ours.
    """
    kernel = filters[0].grid
    if basis is not None:
        signal = signal_from(basis, observed, kernel, boundary)
        return PictureSignal(observed=observed, signal=signal, discarded=0.0)
    grid = signal_grid(observed.grid, kernel, boundary)
    if observed.num_channels > 1 and coefficients is None:
        return PictureSignal(observed=observed, signal=whole(grid), discarded=0.0)
    if observed.grid[0] * observed.grid[1] > MAX_WAVELET_PIXELS:
        raise InputError(
            f"a picture made of wavelets may have at most {MAX_WAVELET_PIXELS} pixels; "
            f"got {observed.grid[1]} x {observed.grid[0]}; cut out a part, or give "
            "several pictures of the scene"
        )
    observed, grid = _trimmed(observed, grid)
    size = observed.grid[0] * observed.grid[1]
    count = max(size // _PER_WAVELET, 1) if coefficients is None else coefficients
    if not 1 <= count <= grid[0] * grid[1]:
        raise InputError(
            f"--coefficients must be in 1..{grid[0] * grid[1]}; got {count}; give "
            "another number, or a larger picture"
        )
    guess = _on_grid(observed.values.mean(0), grid, kernel, boundary)
    chosen = largest_wavelets(guess, count, wavelet=wavelet)
    signal = wavelet_subspace(grid, chosen, wavelet=wavelet)
    lacking = guess - signal.synthesise(signal.analyse(guess))
    discarded = float(torch.linalg.vector_norm(lacking)) * observed.num_channels**0.5
    observed = replace(observed, notes=(*observed.notes, _GUESSED))
    return PictureSignal(observed=observed, signal=signal, discarded=discarded)


def _trimmed(observed: Observation, grid: Grid) -> tuple[Observation, Grid]:
    """Return pictures whose scene has sizes that can be halved often enough."""
    unit = next(2**n for n in range(_LEVELS, -1, -1) if min(grid) >= 4 * 2**n or n == 0)
    rows, columns = (size % unit for size in grid)
    if not rows and not columns:
        return observed, grid
    height, width = observed.grid
    if rows >= height or columns >= width or unit == 1:
        raise InputError(
            f"a scene of {grid[1]} x {grid[0]} pixels is too small for wavelets; give "
            "a larger picture"
        )
    note = f"{rows} rows and {columns} columns were cut off, so that wavelets fit"
    trimmed = replace(
        observed,
        values=observed.values[:, : height - rows, : width - columns].contiguous(),
        notes=(*observed.notes, note),
    )
    return trimmed, tuple(size - size % unit for size in grid)


def _on_grid(picture: Tensor, grid: Grid, kernel: Grid, boundary: Boundary) -> Tensor:
    """Return the picture where the scene is that it shows, edges continued."""
    if boundary == "circular":
        return picture.roll([-(size // 2) for size in kernel], dims=(0, 1))
    found = picture
    for axis, size in enumerate(grid):
        before = (size - found.shape[axis]) // 2
        places = (torch.arange(size) - before).clamp(0, found.shape[axis] - 1)
        found = found.index_select(axis, places)
    return found


def aligned(scene: Tensor, kernel: Grid, boundary: Boundary, shape: Grid) -> Tensor:
    """Return the part of a scene that the observed picture shows, where it shows it.

    Parameters
    ----------
    scene : Tensor, shape (height, width)
    kernel : tuple of int
        Shape of the kernels, whose centre is taken to leave the picture in its place.
    boundary : {"circular", "full", "valid", "same"}
    shape : tuple of int
        Of the observed picture.

    Returns
    -------
    Tensor
        Of that shape, or the whole scene where that is smaller.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.readers.pictures import aligned
    >>> aligned(torch.arange(16).reshape(4, 4), (3, 3), "valid", (2, 2)).tolist()
    [[5, 6], [9, 10]]
    """
    if boundary == "circular":
        return scene.roll([size // 2 for size in kernel], dims=(0, 1))
    found = scene
    for axis, size in enumerate(shape):
        extra = max(found.shape[axis] - size, 0)
        found = found.narrow(axis, extra // 2, found.shape[axis] - extra)
    return found
