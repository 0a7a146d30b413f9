r"""The map of completion: some entries of a matrix."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from tacit.compiled import Array, run_in_threads
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.entry_kernels import (
    EntryOrder,
    adjoint_times_factor,
    balanced_bounds,
    order_entries,
    sample_product,
    times_factor,
)
from tacit.recovery.maps.kernels import as_array, new_tensor, num_threads
from tacit.recovery.maps.linear_map import AbstractLinearMap, Isotropy, MapSpec

# Entries times columns that a pass without kernels holds at once.
_BLOCK = 2**24


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class EntriesMap(AbstractLinearMap):
    r"""Measurements :math:`y_e = X_{i_e j_e}`: some entries of the matrix.

    Parameters
    ----------
    rows : Tensor, shape (num_measurements,)
        :math:`i_e`, int64.
    columns : Tensor, shape (num_measurements,)
        :math:`j_e`, int64. Entries are sorted by row, then by column, and none comes
        twice; :func:`completion_problem` brings them into this order.
    shape : tuple of int
        ``(num_rows, num_columns)``.
    dtype : torch.dtype
        Of matrix and measurements.

    Raises
    ------
    ShapeError
        If ``rows`` and ``columns`` are not vectors of one length.
    InputError
        If an index is out of range, the order is broken, or the dtype is neither real
        nor complex floating point.

    Notes
    -----
    Factors cost O(num_measurements * k); the matrix is formed by ``adjoint_apply``
    alone. ``spec.isotropy`` has the second moment of entries drawn uniformly.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.maps.entries import EntriesMap
    >>> diagonal = torch.arange(3)
    >>> entries = EntriesMap(rows=diagonal, columns=diagonal, shape=(3, 3))
    >>> entries.apply(torch.arange(9.0, dtype=torch.float64).reshape(3, 3))
    tensor([0., 4., 8.], dtype=torch.float64)
    """

    rows: Tensor
    columns: Tensor
    shape: tuple[int, int]
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        if self.rows.dim() != 1 or self.rows.shape != self.columns.shape:
            raise ShapeError(
                "rows and columns must be vectors of one length; got shapes "
                f"{tuple(self.rows.shape)} and {tuple(self.columns.shape)}"
            )
        for name, places, size in (
            ("rows", self.rows, self.shape[0]),
            ("columns", self.columns, self.shape[1]),
        ):
            _require_places(name, places, size)
        _ = self.spec  # refuses integers
        step = self.rows.diff()
        if not bool(((step > 0) | ((step == 0) & (self.columns.diff() > 0))).all()):
            raise InputError(
                "entries must be sorted by row, then column, each once; sort and merge "
                "them, or let completion_problem do it"
            )

    @property
    def spec(self) -> MapSpec:
        return MapSpec(
            in_shape=self.shape,
            num_measurements=self.rows.shape[0],
            dtype=self.dtype,
            device=self.rows.device,
            isotropy=Isotropy(
                second_moment=1.0 / (self.shape[0] * self.shape[1]), is_gaussian=False
            ),
        )

    def apply(self, matrix: Tensor) -> Tensor:
        return matrix[..., self.rows, self.columns]

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        matrix = measurements.new_zeros(*measurements.shape[:-1], *self.shape)
        matrix[..., self.rows, self.columns] = measurements
        return matrix

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        self._require_factors(left, right)
        if left.shape[-1] != right.shape[-1]:
            raise ShapeError(
                "left and right must have one number of columns; got shapes "
                f"{tuple(left.shape)} and {tuple(right.shape)}"
            )
        if not self._is_compiled(left, right):
            return sampled_entries(self.rows, self.columns, left, right)
        batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        values = new_tensor(left, *batch, self.num_measurements)
        order = self._order
        _run(
            sample_product,
            (order.starts, order.columns),
            (*_matrices(batch, left, right), *_vectors(batch, values)),
            self._bounds(order.starts, left.shape[-1]),
        )
        return values

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        self._require_factors(left, right)
        if measurements.shape[-1:] != self.rows.shape:
            raise ShapeError(
                f"measurements must have shape (..., {self.num_measurements}); got "
                f"{tuple(measurements.shape)}"
            )
        if not self._is_compiled(measurements, left, right):
            values, conjugates = measurements, measurements.conj()
            return (
                sparse_times(self.rows, self.columns, values, right, self.shape[0]),
                sparse_times(self.columns, self.rows, conjugates, left, self.shape[1]),
            )
        return self._times(measurements, right), self._adjoint_times(measurements, left)

    def _require_factors(self, left: Tensor, right: Tensor) -> None:
        """Refuse factors of other sizes: kernels read memory unchecked."""
        if (left.shape[-2:-1], right.shape[-2:-1]) != (self.shape[:1], self.shape[1:]):
            raise ShapeError(
                f"left and right must have {self.shape[0]} and {self.shape[1]} rows; "
                f"got shapes {tuple(left.shape)} and {tuple(right.shape)}"
            )

    def _is_compiled(self, *tensors: Tensor) -> bool:
        """Whether kernels can be used: on the CPU, where no derivative is recorded."""
        return self.rows.device.type == "cpu" and not any(
            tensor.requires_grad for tensor in tensors
        )

    @cached_property
    def _order(self) -> EntryOrder:
        """The entries row by row and column by column; on the CPU."""
        return order_entries(self.rows.numpy(), self.columns.numpy(), self.shape)

    def _times(self, measurements: Tensor, right: Tensor) -> Tensor:
        order = self._order
        batch = torch.broadcast_shapes(measurements.shape[:-1], right.shape[:-2])
        product = new_tensor(right, *batch, self.shape[0], right.shape[-1])
        _run(
            times_factor,
            (order.starts, order.columns),
            (*_vectors(batch, measurements), *_matrices(batch, right, product)),
            self._bounds(order.starts, right.shape[-1]),
        )
        return product

    def _adjoint_times(self, measurements: Tensor, left: Tensor) -> Tensor:
        order = self._order
        batch = torch.broadcast_shapes(measurements.shape[:-1], left.shape[:-2])
        product = new_tensor(left, *batch, self.shape[1], left.shape[-1])
        _run(
            adjoint_times_factor,
            (order.column_starts, order.rows, order.places),
            (*_vectors(batch, measurements), *_matrices(batch, left, product)),
            self._bounds(order.column_totals, left.shape[-1]),
        )
        return product

    def _bounds(self, starts: Array, width: int) -> list[int]:
        """One part for each thread, with about the same number of entries."""
        num_bytes = self.num_measurements * (width + 1) * self.dtype.itemsize
        return balanced_bounds(starts, num_threads(num_bytes))


def _run(
    kernel: Callable[..., object],
    index: tuple[Array, ...],
    arrays: tuple[Array, ...],
    bounds: list[int],
) -> None:
    """Call a kernel for every member of a batch: the first dimension of ``arrays``.

    The last array is an output; if it is empty there is nothing to do.
    """
    if arrays[-1].size == 0:
        return
    for members in zip(*arrays, strict=True):

        def call(_: int, start: int, stop: int, members: Any = members) -> None:
            kernel(*index, *members, start, stop)

        run_in_threads(call, bounds)


def _vectors(batch: tuple[int, ...], *tensors: Tensor) -> tuple[Array, ...]:
    return tuple(_flat(batch, tensor, 1) for tensor in tensors)


def _matrices(batch: tuple[int, ...], *tensors: Tensor) -> tuple[Array, ...]:
    return tuple(_flat(batch, tensor, 2) for tensor in tensors)


def _flat(batch: tuple[int, ...], tensor: Tensor, num_dims: int) -> Array:
    """One batch dimension, contiguous; a view of what is so already."""
    single = tensor.shape[tensor.dim() - num_dims :]
    flat = tensor.expand(*batch, *single).reshape(math.prod(batch), *single)
    return as_array(flat)


def _require_places(name: str, places: Tensor, size: int) -> None:
    if places.dtype != torch.int64:
        raise InputError(
            f"{name} must be int64; got {places.dtype}; convert with .to()"
        )
    if places.shape[0] == 0:
        raise InputError(f"{name} is empty; give at least one entry")
    low, high = (int(bound) for bound in torch.aminmax(places))
    if low < 0 or high >= size:
        raise InputError(
            f"{name} must be in 0..{size - 1} for this shape; got {low}..{high}"
        )


def sampled_entries(
    rows: Tensor, columns: Tensor, left: Tensor, right: Tensor
) -> Tensor:
    r"""Return entries of :math:`L R^H`, shape (..., num_entries), on any device."""
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    values = left.new_empty(*batch, rows.shape[0])
    for part in _blocks(values, left.shape[-1]):
        picked = left[..., rows[part], :] * right[..., columns[part], :].conj()
        values[..., part] = picked.sum(-1)
    return values


def sparse_times(
    rows: Tensor, columns: Tensor, values: Tensor, factor: Tensor, num_rows: int
) -> Tensor:
    r"""Return :math:`S F` for a sparse S, shape (..., num_rows, k), on any device."""
    batch = torch.broadcast_shapes(values.shape[:-1], factor.shape[:-2])
    product = factor.new_zeros(*batch, num_rows, factor.shape[-1])
    for part in _blocks(values.expand(*batch, -1), factor.shape[-1]):
        terms = values[..., part].unsqueeze(-1) * factor[..., columns[part], :]
        product.index_add_(-2, rows[part], terms)
    return product


def _blocks(values: Tensor, width: int) -> list[slice]:
    """Parts of the entries for which (batch, part, width) stays within ``_BLOCK``."""
    size = values.shape[-1]
    batch = values.numel() // size
    step = max(1, _BLOCK // max(1, batch * width))
    return [slice(start, start + step) for start in range(0, size, step)]
