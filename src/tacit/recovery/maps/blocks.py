r"""Block matrices measured block by block and added up: demixing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import AbstractLinearMap, MapSpec


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class BlockDiagonalMap(AbstractLinearMap):
    r"""Measurements of a block matrix's diagonal blocks, added up.

    .. math:: \mathcal{A}(X) = \sum_s \mathcal{A}_s(X_{ss})

    This is demixing: several unknown matrices, each seen by a map of its own, of which
    only the sum is measured. Blocks off the diagonal are not seen. Setting them to zero
    never raises the nuclear norm (pinching), so the matrix of least nuclear norm that
    fits may be taken block diagonal, and its norm is the sum of the blocks' norms.

    Parameters
    ----------
    maps : tuple of AbstractLinearMap
        :math:`\mathcal{A}_s`, each with as many measurements.

    Raises
    ------
    ShapeError
        If the numbers of measurements differ.
    InputError
        If no map is given, or dtypes or devices differ.

    Notes
    -----
    Pinching: Bhatia, "Matrix Analysis" (1997), section IV.2. Factors are handed on as
    factors.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.maps.blocks import BlockDiagonalMap
    >>> generator = tacit.make_generator(0)
    >>> parts = [tacit.gaussian_map(shape, 9, generator=generator)
    ...     for shape in ((4, 3), (2, 5))]
    >>> BlockDiagonalMap(maps=tuple(parts)).in_shape
    (6, 8)
    """

    maps: tuple[AbstractLinearMap, ...]
    _spec: MapSpec = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.maps:
            raise InputError("maps is empty; give at least one map")
        specs = [part.spec for part in self.maps]
        counts = [spec.num_measurements for spec in specs]
        if any(count != counts[0] for count in counts):
            raise ShapeError(
                f"maps must give as many measurements each, to be added; got {counts}"
            )
        kinds = [f"{spec.dtype} on {spec.device}" for spec in specs]
        if any(kind != kinds[0] for kind in kinds):
            raise InputError(
                f"maps must share dtype and device; got {', '.join(kinds)}; make them "
                "alike"
            )
        spec = MapSpec(
            in_shape=(
                sum(spec.in_shape[0] for spec in specs),
                sum(spec.in_shape[1] for spec in specs),
            ),
            num_measurements=counts[0],
            dtype=specs[0].dtype,
            device=specs[0].device,
        )
        object.__setattr__(self, "_spec", spec)

    @property
    def spec(self) -> MapSpec:
        return self._spec

    def split(self, left: Tensor, right: Tensor) -> list[tuple[Tensor, Tensor]]:
        r"""Return the factors of every diagonal block, as views.

        The block of :math:`L R^H` is :math:`X_{ss} = L_s R_s^H`.

        Parameters
        ----------
        left : Tensor, shape (..., num_rows, k)
        right : Tensor, shape (..., num_columns, k)
        """
        rows = [part.in_shape[0] for part in self.maps]
        columns = [part.in_shape[1] for part in self.maps]
        return list(zip(left.split(rows, -2), right.split(columns, -2), strict=True))

    def apply(self, matrix: Tensor) -> Tensor:
        rows = matrix.split([part.in_shape[0] for part in self.maps], dim=-2)
        widths = [part.in_shape[1] for part in self.maps]
        return _total(
            [
                part.apply(block.split(widths, dim=-1)[place])
                for place, (part, block) in enumerate(zip(self.maps, rows, strict=True))
            ]
        )

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        shape = self._spec.in_shape
        matrix = measurements.new_zeros(*measurements.shape[:-1], *shape)
        row = column = 0
        for part in self.maps:
            height, width = part.in_shape
            block = matrix[..., row : row + height, column : column + width]
            block.copy_(part.adjoint_apply(measurements))
            row, column = row + height, column + width
        return matrix

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        pairs = zip(self.maps, self.split(left, right), strict=True)
        return _total([part.apply_factors(*pair) for part, pair in pairs])

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        pairs = zip(self.maps, self.split(left, right), strict=True)
        return _stacked(
            [part.adjoint_times(measurements, *pair) for part, pair in pairs]
        )


def _stacked(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return (
        torch.cat([left for left, _ in pairs], dim=-2),
        torch.cat([right for _, right in pairs], dim=-2),
    )


def _total(terms: Sequence[Tensor]) -> Tensor:
    return reduce(add, terms)
