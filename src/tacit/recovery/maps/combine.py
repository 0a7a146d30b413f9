"""Maps made of other maps: sums and multiples, stacked measurements, subspaces.

All of them hand factors on as factors, so they form a matrix only if a part does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import AbstractLinearMap, Isotropy, MapSpec


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SumMap(AbstractLinearMap):
    r"""A linear combination: :math:`\mathcal{A}(X) = \sum_j c_j \mathcal{A}_j(X)`.

    One map and one coefficient make a multiple of that map.

    Parameters
    ----------
    maps : tuple of AbstractLinearMap
        :math:`\mathcal{A}_j`, between the same spaces.
    coefficients : tuple of numbers, or None
        :math:`c_j`, finite, real for real maps; all 1 if None.

    Raises
    ------
    ShapeError
        If the maps are not between the same spaces, or the numbers of maps and
        coefficients differ.
    InputError
        If no map is given, dtypes or devices differ, or a coefficient is not finite or
        is complex with real maps.

    Notes
    -----
    ``spec.isotropy`` is that of a single map, scaled; a sum of several makes no claim.

    Examples
    --------
    >>> import tacit, torch
    >>> gaussian = tacit.gaussian_map((4, 3), 20, generator=tacit.make_generator(0))
    >>> doubled = tacit.SumMap(maps=(gaussian,), coefficients=(2.0,))
    >>> matrix = torch.ones(4, 3, dtype=torch.float64)
    >>> bool((doubled.apply(matrix) == 2.0 * gaussian.apply(matrix)).all())
    True
    """

    maps: tuple[AbstractLinearMap, ...]
    coefficients: tuple[complex, ...] | None = None

    def __post_init__(self) -> None:
        first = _common_spec(self.maps).num_measurements
        counts = [linear_map.num_measurements for linear_map in self.maps]
        if any(count != first for count in counts):
            raise ShapeError(
                f"maps to be added must give as many measurements each; got {counts}; "
                "StackedMap puts measurements one after the other"
            )
        if self.coefficients is None:
            return
        if len(self.coefficients) != len(self.maps):
            raise ShapeError(
                f"coefficients must be one for each of {len(self.maps)} maps; got "
                f"{len(self.coefficients)}"
            )
        is_complex = self.maps[0].spec.dtype.is_complex
        for number in map(complex, self.coefficients):
            finite = math.isfinite(number.real) and math.isfinite(number.imag)
            if not finite or (number.imag != 0.0 and not is_complex):
                raise InputError(
                    "coefficients must be finite, and real for real maps; got "
                    f"{self.coefficients}"
                )

    @property
    def _scales(self) -> list[complex]:
        """The coefficients, as floats for real maps."""
        numbers = [complex(c) for c in self.coefficients or [1.0] * len(self.maps)]
        is_complex = self.maps[0].spec.dtype.is_complex
        return numbers if is_complex else [number.real for number in numbers]

    @property
    def spec(self) -> MapSpec:
        first = self.maps[0].spec
        law = first.isotropy
        if law is not None and len(self.maps) == 1:
            size = abs(self._scales[0]) ** 2
            law = (
                Isotropy(
                    second_moment=size * law.second_moment, is_gaussian=law.is_gaussian
                )
                if size > 0.0
                else None
            )
        return MapSpec(
            in_shape=first.in_shape,
            num_measurements=first.num_measurements,
            dtype=first.dtype,
            device=first.device,
            isotropy=law if len(self.maps) == 1 else None,
        )

    def apply(self, matrix: Tensor) -> Tensor:
        return self._combine([part.apply(matrix) for part in self.maps])

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        terms = zip(self.maps, self._scales, strict=True)
        return _total(
            [part.adjoint_apply(c.conjugate() * measurements) for part, c in terms]
        )

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        return self._combine([part.apply_factors(left, right) for part in self.maps])

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        terms = zip(self.maps, self._scales, strict=True)
        return _total_pairs(
            [
                part.adjoint_times(c.conjugate() * measurements, left, right)
                for part, c in terms
            ]
        )

    def _combine(self, values: Sequence[Tensor]) -> Tensor:
        return _total([c * v for c, v in zip(self._scales, values, strict=True)])


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class StackedMap(AbstractLinearMap):
    r"""The measurements of several maps of one matrix, one after the other.

    Parameters
    ----------
    maps : tuple of AbstractLinearMap
        They take matrices of the same shape.

    Raises
    ------
    ShapeError
        If they do not.
    InputError
        If no map is given, or dtypes or devices differ.

    Notes
    -----
    ``spec.isotropy`` is kept where all parts have the same second moment.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> parts = [tacit.gaussian_map((4, 3), m, generator=generator) for m in (5, 6)]
    >>> tacit.StackedMap(maps=tuple(parts)).num_measurements
    11
    """

    maps: tuple[AbstractLinearMap, ...]

    def __post_init__(self) -> None:
        _common_spec(self.maps)

    @property
    def _counts(self) -> list[int]:
        return [linear_map.num_measurements for linear_map in self.maps]

    @property
    def spec(self) -> MapSpec:
        first = self.maps[0].spec
        laws = [linear_map.spec.isotropy for linear_map in self.maps]
        known = [law for law in laws if law is not None]
        moments = {law.second_moment for law in known}
        is_one = len(known) == len(laws) and len(moments) == 1
        return MapSpec(
            in_shape=first.in_shape,
            num_measurements=sum(self._counts),
            dtype=first.dtype,
            device=first.device,
            isotropy=Isotropy(
                second_moment=moments.pop(),
                is_gaussian=all(law.is_gaussian for law in known),
            )
            if is_one
            else None,
        )

    def apply(self, matrix: Tensor) -> Tensor:
        return torch.cat([part.apply(matrix) for part in self.maps], dim=-1)

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        pieces = zip(self.maps, measurements.split(self._counts, dim=-1), strict=True)
        return _total([part.adjoint_apply(piece) for part, piece in pieces])

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        parts = [part.apply_factors(left, right) for part in self.maps]
        return torch.cat(parts, dim=-1)

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        pieces = zip(self.maps, measurements.split(self._counts, dim=-1), strict=True)
        return _total_pairs(
            [part.adjoint_times(piece, left, right) for part, piece in pieces]
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TwoSidedMap(AbstractLinearMap):
    r"""A map behind a multiplication from both sides: :math:`\mathcal{A}(B X C^H)`.

    This is how known subspaces enter: a matrix whose columns lie in the span of B and
    whose rows in that of C is :math:`B X C^H` with a smaller X. With unitary B and C,
    entries of a matrix become entries in other bases.

    Parameters
    ----------
    inner : AbstractLinearMap
        :math:`\mathcal{A}`.
    left_matrix : Tensor or None, shape (inner's num_rows, num_rows)
        B; None is the identity.
    right_matrix : Tensor or None, shape (inner's num_columns, num_columns)
        C; None is the identity.

    Raises
    ------
    ShapeError
        If the matrices do not fit the map.
    InputError
        If a dtype or device differs from the map's, or an entry is not finite.

    Notes
    -----
    ``spec.isotropy`` is kept where B and C have orthonormal columns (to ``100 * size *
    eps``), for norms are kept then; a law that covers symmetric matrices only needs
    C = B besides.

    Examples
    --------
    >>> import tacit, torch
    >>> generator = tacit.make_generator(0)
    >>> gaussian = tacit.gaussian_map((6, 5), 20, generator=generator)
    >>> basis = torch.eye(6, 2, dtype=torch.float64)
    >>> tacit.TwoSidedMap(inner=gaussian, left_matrix=basis).in_shape
    (2, 5)
    """

    inner: AbstractLinearMap
    left_matrix: Tensor | None = None
    right_matrix: Tensor | None = None
    _is_isometric: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        spec = self.inner.spec
        sides = (("left_matrix", self.left_matrix), ("right_matrix", self.right_matrix))
        for (name, matrix), size in zip(sides, spec.in_shape, strict=True):
            if matrix is not None:
                _require_side(name, matrix, size, spec)
        isometric = all(m is None or _has_orthonormal_columns(m) for _, m in sides)
        object.__setattr__(self, "_is_isometric", isometric)

    @property
    def spec(self) -> MapSpec:
        inner = self.inner.spec
        rows, columns = inner.in_shape
        left, right = self.left_matrix, self.right_matrix
        return MapSpec(
            in_shape=(
                rows if left is None else left.shape[1],
                columns if right is None else right.shape[1],
            ),
            num_measurements=inner.num_measurements,
            dtype=inner.dtype,
            device=inner.device,
            isotropy=inner.isotropy if self._is_isometric else None,
        )

    def apply(self, matrix: Tensor) -> Tensor:
        outer = _times(self.left_matrix, matrix)
        if self.right_matrix is not None:
            outer = outer @ self.right_matrix.mH
        return self.inner.apply(outer)

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        inner = self.inner.adjoint_apply(measurements)
        matrix = _adjoint_times(self.left_matrix, inner)
        return matrix if self.right_matrix is None else matrix @ self.right_matrix

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        return self.inner.apply_factors(*self._lift(left, right))

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        lifted = self._lift(left, right)
        products = self.inner.adjoint_times(measurements, *lifted)
        return (
            _adjoint_times(self.left_matrix, products[0]),
            _adjoint_times(self.right_matrix, products[1]),
        )

    def _lift(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``B L`` and ``C R``; one tensor stays one."""
        lifted = _times(self.left_matrix, left)
        if right is left and self.right_matrix is self.left_matrix:
            return lifted, lifted
        return lifted, _times(self.right_matrix, right)


def _times(matrix: Tensor | None, factor: Tensor) -> Tensor:
    return factor if matrix is None else matrix @ factor


def _adjoint_times(matrix: Tensor | None, factor: Tensor) -> Tensor:
    return factor if matrix is None else matrix.mH @ factor


def _total(terms: Sequence[Tensor]) -> Tensor:
    return reduce(add, terms)


def _total_pairs(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return _total([pair[0] for pair in pairs]), _total([pair[1] for pair in pairs])


def _has_orthonormal_columns(matrix: Tensor) -> bool:
    if matrix.shape[1] > matrix.shape[0]:
        return False
    gram = matrix.mH @ matrix
    gram.diagonal().sub_(1.0)
    limit = 100.0 * matrix.shape[0] * torch.finfo(matrix.dtype).eps
    return float(gram.abs().max()) <= limit


def _require_side(name: str, matrix: Tensor, size: int, spec: MapSpec) -> None:
    if matrix.dim() != 2 or matrix.shape[0] != size or matrix.shape[1] < 1:
        raise ShapeError(
            f"{name} must have {size} rows, as the map's matrices of shape "
            f"{spec.in_shape} need; got shape {tuple(matrix.shape)}"
        )
    if matrix.dtype != spec.dtype or matrix.device.type != spec.device.type:
        raise InputError(
            f"{name} must be {spec.dtype} on {spec.device} as the map is; got "
            f"{matrix.dtype} on {matrix.device}; convert it with .to()"
        )
    if not bool(torch.isfinite(matrix).all()):
        raise InputError(f"{name} has entries that are not finite; clean the data")


def _common_spec(maps: Sequence[AbstractLinearMap]) -> MapSpec:
    """Return the first map's spec, once all take the same matrices.

    Raises
    ------
    ShapeError, InputError
        If they do not, or there are none.
    """
    if not maps:
        raise InputError("maps is empty; give at least one map")
    specs = [linear_map.spec for linear_map in maps]
    shapes = [spec.in_shape for spec in specs]
    if any(shape != shapes[0] for shape in shapes):
        raise ShapeError(f"maps must take matrices of one shape; got {shapes}")
    kinds = [f"{spec.dtype} on {spec.device}" for spec in specs]
    if any(kind != kinds[0] for kind in kinds):
        raise InputError(
            f"maps must share dtype and device; got {', '.join(kinds)}; make them alike"
        )
    return specs[0]
