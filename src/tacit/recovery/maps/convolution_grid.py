r"""What is seen of a convolution, and the transforms that compute it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final, get_args

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from tacit.errors import InputError, ShapeError

Boundary = Literal["circular", "full", "valid", "same"]
Window = tuple[slice, ...]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConvolutionGrid:
    r"""Grids of filters and of one signal, and which part of convolutions is measured.

    Convolution is computed on a grid of its own: the signal's if circular, else one of
    fast sizes on which what wraps around is not seen.

    Parameters
    ----------
    filters : tuple of tuple of int
        Shape of each channel's filter.
    signal : tuple of int
        Shape of the signal.
    boundary : {"circular", "full", "valid", "same"}
    is_complex : bool
        Real signals have half the spectrum.

    Attributes
    ----------
    windows : tuple of tuple of slice
        Which part of the transformed grid each channel measures.
    out_grid : tuple of int
        Shape of one channel's measurements.
    transformed : tuple of int
        Shape of the grid on which convolution is computed.

    Raises
    ------
    ShapeError
        If there is no filter, or the grids do not fit each other or the boundary.
    InputError
        If the boundary is not known.

    Examples
    --------
    >>> from tacit.recovery.maps.convolution_grid import ConvolutionGrid
    >>> grid = ConvolutionGrid(filters=((3,),), signal=(100,), boundary="full",
    ...     is_complex=False)
    >>> grid.out_grid, grid.transformed
    ((102,), (108,))
    """

    filters: tuple[tuple[int, ...], ...]
    signal: tuple[int, ...]
    boundary: Boundary
    is_complex: bool
    windows: tuple[Window, ...] = field(init=False, repr=False)
    out_grid: tuple[int, ...] = field(init=False)
    transformed: tuple[int, ...] = field(init=False)
    _axes: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kinds = get_args(Boundary)
        if self.boundary not in kinds:
            raise InputError(
                f"boundary must be one of {', '.join(kinds)}; got {self.boundary!r}"
            )
        if not self.filters:
            raise ShapeError("filters is empty; give one subspace for each channel")
        if any(len(grid) != len(self.signal) for grid in self.filters):
            raise ShapeError(
                "filters and signal must have grids of as many dimensions; got "
                f"{self.filters} and {self.signal}"
            )
        windows = [_window(self.boundary, grid, self.signal) for grid in self.filters]
        shapes = [_shape(window) for window in windows]
        if any(shape != shapes[0] for shape in shapes):
            raise ShapeError(
                f"all channels must give measurements of one shape; got filters on "
                f"{self.filters}; put them on one grid"
            )
        object.__setattr__(self, "windows", tuple(windows))
        object.__setattr__(self, "out_grid", shapes[0])
        axes = range(len(self.signal))
        object.__setattr__(self, "_axes", tuple(axis - len(axes) for axis in axes))
        sizes = tuple(self._transform_size(axis) for axis in axes)
        object.__setattr__(self, "transformed", sizes)

    def _transform_size(self, axis: int) -> int:
        n = self.signal[axis]
        if self.boundary == "circular":
            return n
        needed = [n]
        for grid, window in zip(self.filters, self.windows, strict=True):
            k, seen = grid[axis], window[axis]
            # What lies beyond the size is added at the start; it has to end there
            # before the window begins.
            needed += [k, seen.stop, n + k - 1 - seen.start]
        size = max(needed)
        return next_fast_len(size, real=not self.is_complex) or size

    def transform(self, signals: Tensor) -> Tensor:
        """Continue by zeros and transform: (..., *grid) to (..., *spectrum)."""
        if self.is_complex:
            return torch.fft.fftn(signals, s=self.transformed, dim=self._axes)
        return torch.fft.rfftn(signals, s=self.transformed, dim=self._axes)

    def invert(self, spectra: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Transform back and keep the first points: (..., *spectrum) to (..., *grid).

        This undoes :meth:`transform`, and is its adjoint up to the number of points.
        """
        signals = self._invert(spectra)
        return signals if grid == self.transformed else signals[..., *_corner(grid)]

    def see(self, spectra: Sequence[Tensor]) -> Tensor:
        """Return the measurements of convolutions, given by their spectra.

        Parameters
        ----------
        spectra : sequence of Tensor, shape (..., *spectrum)
            One for each channel.

        Returns
        -------
        Tensor, shape (..., num_measurements)
            The channels one after the other.
        """
        first = self._axes[0]
        parts = [
            self._invert(spectrum)[..., *window].flatten(first)
            for spectrum, window in zip(spectra, self.windows, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def place(self, measurements: Tensor) -> list[Tensor]:
        """Put measurements where they are seen, zeros elsewhere, and transform.

        Parameters
        ----------
        measurements : Tensor, shape (..., num_measurements)

        Returns
        -------
        list of Tensor, shape (..., *spectrum)
            One for each channel.
        """
        pieces = measurements.chunk(len(self.filters), dim=-1)
        spectra: list[Tensor] = []
        for piece, window in zip(pieces, self.windows, strict=True):
            signals = piece.unflatten(-1, self.out_grid)
            if self.out_grid != self.transformed:
                padded = piece.new_zeros(*piece.shape[:-1], *self.transformed)
                padded[..., *window] = signals
                signals = padded
            spectra.append(self.transform(signals))
        return spectra

    def _invert(self, spectra: Tensor) -> Tensor:
        if self.is_complex:
            return torch.fft.ifftn(spectra, dim=self._axes)
        return torch.fft.irfftn(spectra, s=self.transformed, dim=self._axes)


def _corner(grid: tuple[int, ...]) -> Window:
    return tuple(slice(0, size) for size in grid)


def _window(
    boundary: Boundary, filter_grid: tuple[int, ...], signal_grid: tuple[int, ...]
) -> Window:
    """Return which part of the full convolution is measured.

    Raises
    ------
    ShapeError
        If the filter is too large for the boundary.
    """
    sizes = list(zip(filter_grid, signal_grid, strict=True))
    if boundary in {"circular", "valid"} and any(k > n for k, n in sizes):
        raise ShapeError(
            f"filters must be no larger than the signal for the boundary "
            f"{boundary!r}; got grids {filter_grid} and {signal_grid}"
        )
    if boundary == "circular":
        return _corner(signal_grid)
    if boundary == "full":
        return tuple(slice(0, n + k - 1) for k, n in sizes)
    if boundary == "valid":
        return tuple(slice(k - 1, n) for k, n in sizes)
    return tuple(slice((k - 1) // 2, (k - 1) // 2 + n) for k, n in sizes)


def _shape(window: Window) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in window)
