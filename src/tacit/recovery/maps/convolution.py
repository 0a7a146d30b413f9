r"""Blind deconvolution, lifted: convolutions of filters and a signal in subspaces."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.maps.convolution_grid import Boundary, ConvolutionGrid
from tacit.recovery.maps.linear_map import AbstractLinearMap, Isotropy, MapSpec
from tacit.recovery.subspaces.matrix import basis_signals
from tacit.recovery.subspaces.subspace import AbstractSubspace

# Numbers that each array of a pass over a whole matrix holds at once.
_BLOCK = 2**20


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConvolutionMap(AbstractLinearMap):
    r"""Convolutions of filters :math:`B_c h_c` with one signal :math:`C x`, lifted.

    .. math:: y_c = (B_c h_c) * (C x), \qquad Z = h x^T, \quad
              h = (h_1, \dots, h_{\text{channels}})

    The map is linear in Z. In factors, :math:`Z = L R^H` with the filters'
    coefficients as columns :math:`l_j` of L and the *conjugates* of the signals'
    coefficients as columns :math:`r_j` of R:

    .. math:: \mathcal{A}(L R^H)_c = \sum_j (B_c l_{cj}) * (C \bar r_j)

    Measurements are the channels, one after the other, each read row by row.

    Parameters
    ----------
    filters : tuple of AbstractSubspace
        :math:`B_c`, one for each channel.
    signal : AbstractSubspace
        C; of the same dtype and device.
    boundary : {"circular", "full", "valid", "same"}
        Circular convolution has the signal's size; filters on a smaller grid are
        continued by zeros. Linear convolution is seen in full (size ``signal + filter -
        1``), where no value outside the signal takes part (``signal - filter + 1``), or
        in its middle, of the signal's size, as in :func:`scipy.signal.convolve`.
    isotropy : Isotropy or None
        The law the subspaces were drawn from, if any; see the notes.

    Raises
    ------
    ShapeError
        If there is no filter, the grids do not fit the boundary or differ in their
        number of dimensions, or the channels are not of one shape.
    InputError
        If dtypes or devices differ, or the boundary is not known.

    Notes
    -----
    With factors of k columns and one channel, a residual and its products take 2k + 1
    transforms forth and as many back, of the grid or, for linear convolution, of the
    next fast size without wrap-around, besides two products with each subspace. The
    matrix is formed by ``adjoint_apply`` alone, in blocks.

    For circular convolution, one channel, :math:`B^H B = I` and C with independent
    entries :math:`N(0, 1/L)` or :math:`CN(0, 1/L)`, L points, :math:`\mathbb{E}
    |\mathcal{A}(D)_l|^2 = \|D\|_F^2 / L`: each measurement is :math:`\sum_t (B D)_{l -
    t} C_t^T` with rows :math:`C_t` of C, and :math:`\|B D\|_F = \|D\|_F`.
    Measurements are normal for every D, but dependent.

    References
    ----------
    Ahmed, Recht and Romberg, "Blind deconvolution using convex programming", IEEE
    Transactions on Information Theory 60 (2014), for the lifting.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.maps.convolution import ConvolutionMap
    >>> from tacit.recovery.subspaces.support import SupportSubspace
    >>> short = SupportSubspace(indices=torch.arange(2), shape=(2,))
    >>> whole = SupportSubspace(indices=torch.arange(3), shape=(3,))
    >>> convolution = ConvolutionMap(filters=(short,), signal=whole, boundary="full")
    >>> h = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    >>> x = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    >>> convolution.apply_factors(h, x).round(decimals=12).tolist()
    [1.0, 1.0, 2.0, -4.0]
    """

    filters: tuple[AbstractSubspace, ...]
    signal: AbstractSubspace
    boundary: Boundary = "circular"
    isotropy: Isotropy | None = None
    _spec: MapSpec = field(init=False, repr=False)
    _grid: ConvolutionGrid = field(init=False, repr=False)
    _heights: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        signal = self.signal.spec
        specs = [*(b.spec for b in self.filters), signal]
        grid = ConvolutionGrid(
            filters=tuple(spec.grid for spec in specs[:-1]),
            signal=signal.grid,
            boundary=self.boundary,
            is_complex=signal.dtype.is_complex,
        )
        kinds = [f"{spec.dtype} on {spec.device}" for spec in specs]
        if any(kind != kinds[-1] for kind in kinds):
            raise InputError(
                "filters and signal must share dtype and device; got "
                f"{', '.join(kinds)}; make them alike"
            )
        heights = [spec.dimension for spec in specs[:-1]]
        spec = MapSpec(
            in_shape=(sum(heights), signal.dimension),
            num_measurements=len(self.filters) * math.prod(grid.out_grid),
            dtype=signal.dtype,
            device=signal.device,
            isotropy=self.isotropy,
        )
        object.__setattr__(self, "_grid", grid)
        object.__setattr__(self, "_spec", spec)
        object.__setattr__(self, "_heights", heights)

    @property
    def spec(self) -> MapSpec:
        return self._spec

    @property
    def grid(self) -> ConvolutionGrid:
        """On which it is computed, and what of it is measured."""
        return self._grid

    @property
    def out_grid(self) -> tuple[int, ...]:
        """Shape of one channel's measurements."""
        return self._grid.out_grid

    def filters_of(self, left: Tensor) -> tuple[Tensor, ...]:
        r"""Return the filters :math:`B_c l_{cj}` of every channel.

        Parameters
        ----------
        left : Tensor, shape (..., num_rows, k)

        Returns
        -------
        tuple of Tensor, shape (..., k, *grid)
        """
        parts = left.mT.split(self._heights, dim=-1)
        return tuple(
            b.synthesise(part) for b, part in zip(self.filters, parts, strict=True)
        )

    def signal_of(self, right: Tensor) -> Tensor:
        r"""Return the signals :math:`C \bar r_j`.

        Parameters
        ----------
        right : Tensor, shape (..., num_columns, k)

        Returns
        -------
        Tensor, shape (..., k, *grid)
        """
        return self.signal.synthesise(right.mH.resolve_conj())

    def apply(self, matrix: Tensor) -> Tensor:
        rows, columns = self._spec.in_shape
        if columns > rows and len(self.filters) > 1:
            blocks = matrix.split(self._heights, dim=-2)
            parts = zip(self._channels(), blocks, strict=True)
            return torch.cat([part.apply(block) for part, block in parts], dim=-1)
        total = matrix.new_zeros(*matrix.shape[:-2], self._spec.num_measurements)
        batch = math.prod(matrix.shape[:-2])
        if columns <= rows:
            for part, signals in self._basis(self.signal, batch):
                filters = map(self._grid.transform, self.filters_of(matrix[..., part]))
                transforms = *filters, signals
                total += self.measured(transforms, transforms)
        else:
            for part, filters in self._basis(next(iter(self.filters)), batch):
                signals = self.signal_of(matrix[..., part, :].mH)
                transforms = filters, self._grid.transform(signals)
                total += self.measured(transforms, transforms)
        return total

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        rows, columns = self._spec.in_shape
        if columns > rows and len(self.filters) > 1:
            pieces = measurements.chunk(len(self.filters), dim=-1)
            parts = zip(self._channels(), pieces, strict=True)
            blocks = [part.adjoint_apply(piece) for part, piece in parts]
            return torch.cat(blocks, dim=-2)
        matrix = measurements.new_empty(*measurements.shape[:-1], rows, columns)
        seen = self._grid.place(measurements.unsqueeze(-2))
        batch = math.prod(measurements.shape[:-1])
        if columns <= rows:
            for part, signals in self._basis(self.signal, batch):
                matrix[..., part] = self._left_product(seen, signals)
        else:
            for part, filters in self._basis(next(iter(self.filters)), batch):
                matrix[..., part, :] = self._right_product(seen, [filters]).mH
        return matrix

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        if left.shape[-1] == 0:  # what FFT libraries refuse
            return left.new_zeros(*left.shape[:-2], self._spec.num_measurements)
        transforms = self.transformed(left, right)
        return self.measured(transforms, transforms)

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.products(measurements, self.transformed(left, right))

    def transformed(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """Transform what two factors stand for.

        Parameters
        ----------
        left : Tensor, shape (..., num_rows, k)
        right : Tensor, shape (..., num_columns, k)

        Returns
        -------
        tuple of Tensor, shape (..., k, *spectrum)
            Of the filters of every channel and, last, of the signals.
        """
        filters = [self._grid.transform(w) for w in self.filters_of(left)]
        return *filters, self._grid.transform(self.signal_of(right))

    def measured(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Return the measurements of the filters of one and the signals of another."""
        axis, signals = self._column_axis, second[-1]
        return self._grid.see([(p * signals).sum(axis) for p in first[:-1]])

    def products(
        self, measurements: Tensor, transforms: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Return what ``adjoint_times`` returns, from transformed factors."""
        seen = self._grid.place(measurements.unsqueeze(-2))
        return (
            self._left_product(seen, transforms[-1]),
            self._right_product(seen, transforms[:-1]),
        )

    def fourier_rows(self) -> tuple[tuple[Tensor, ...], Tensor]:
        r"""Return the rank-one measurements that a circular convolution is.

        With F the unitary discrete Fourier transform of L points, and of channel c the
        rows :math:`b_l^H` of :math:`F B_c` and :math:`c_l^T` of :math:`\sqrt L F C`,

        .. math:: (F \mathcal{A}(Z)_c)_l = b_l^H Z_c c_l.

        That is the :class:`RankOneMap` of ``left_vectors`` :math:`b_l` and
        ``right_vectors`` :math:`c_l`. Linear convolution has the rows of the circular
        one on its padded grid, of which measurements are a part.

        Returns
        -------
        filters : tuple of Tensor, shape (L, dimension)
            :math:`b_l` of every channel; complex.
        signal : Tensor, shape (L, num_columns)
            :math:`c_l`; complex.
        """
        size = math.prod(self._grid.transformed)

        def rows(subspace: AbstractSubspace) -> Tensor:
            signals = basis_signals(subspace, slice(0, subspace.dimension))
            padded = self._grid.transformed
            axes = tuple(range(1, signals.dim()))
            spectra = torch.fft.fftn(signals, s=padded, dim=axes, norm="ortho")
            return spectra.flatten(1).mT

        filters = tuple(rows(b).conj().resolve_conj() for b in self.filters)
        return filters, math.sqrt(size) * rows(self.signal)

    @property
    def _column_axis(self) -> int:
        """Where spectra have the columns of factors."""
        return -1 - len(self._grid.signal)

    def _channels(self) -> list["ConvolutionMap"]:
        """Return every channel as a map of its own."""
        return [replace(self, filters=(b,), isotropy=None) for b in self.filters]

    def _basis(
        self, subspace: AbstractSubspace, batch: int
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield transforms of basis signals, as many at once as memory allows."""
        width = max(1, _BLOCK // (math.prod(self._grid.transformed) * max(1, batch)))
        for first in range(0, subspace.dimension, width):
            part = slice(first, min(first + width, subspace.dimension))
            yield part, self._grid.transform(basis_signals(subspace, part))

    def _left_product(self, seen: Sequence[Tensor], signals: Tensor) -> Tensor:
        r"""Return :math:`\mathcal{A}^*(q) R`: correlations with the signals."""
        conjugates = signals.conj()
        grid = self._grid
        parts = [
            b.analyse(grid.invert(conjugates * e, size))
            for b, size, e in zip(self.filters, grid.filters, seen, strict=True)
        ]
        return torch.cat(parts, dim=-1).mT.contiguous()

    def _right_product(
        self, seen: Sequence[Tensor], filters: Sequence[Tensor]
    ) -> Tensor:
        r"""Return :math:`\mathcal{A}^*(q)^H L`: correlations with the filters."""
        terms = [p.conj() * e for p, e in zip(filters, seen, strict=True)]
        correlations = self._grid.invert(reduce(add, terms), self._grid.signal)
        return self.signal.analyse(correlations).mH.resolve_conj().contiguous()
