"""Small measurement maps of every kind, real and complex.

``MAPS`` maps a name to a builder that takes a generator; a test in
``recovery/test_laws.py`` holds that every final map occurs.
"""

from collections.abc import Callable

import torch
from scipy.sparse.linalg import aslinearoperator
from torch import Tensor

from tacit.recovery.bridges.scipy import from_scipy
from tacit.recovery.maps.blocks import BlockDiagonalMap
from tacit.recovery.maps.combine import StackedMap, SumMap, TwoSidedMap
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.convolution_grid import Boundary
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.rank_one import rank_one_map
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.maps.structured import fourier_map
from tacit.recovery.subspaces.matrix import gaussian_subspace
from tacit.recovery.subspaces.support import SupportSubspace

MapBuilder = Callable[[torch.Generator], AbstractLinearMap]
COMPLEX = torch.complex128


def draw(
    generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Standard normal entries, drawn in double precision."""
    double = torch.complex128 if dtype.is_complex else torch.float64
    return torch.randn(*shape, generator=generator, dtype=double).to(dtype)


def dense_matrix(linear_map: AbstractLinearMap) -> Tensor:
    """Return the matrix M with ``apply(X) = M @ X.flatten()``, one unit at a time."""
    rows, columns = linear_map.in_shape
    units = torch.eye(rows * columns, dtype=linear_map.spec.dtype)
    images = [linear_map.apply(unit.reshape(rows, columns)) for unit in units]
    return torch.stack(images, dim=1)


def some_entries(
    generator: torch.Generator,
    shape: tuple[int, int],
    count: int,
    dtype: torch.dtype = torch.float64,
) -> EntriesMap:
    """Different entries, drawn uniformly."""
    order = torch.randperm(shape[0] * shape[1], generator=generator)
    places = order[:count].sort().values
    return EntriesMap(
        rows=places // shape[1], columns=places % shape[1], shape=shape, dtype=dtype
    )


def _stored(generator: torch.Generator) -> AbstractLinearMap:
    matrix = draw(generator, 15, 7, dtype=torch.float32).T
    return StoredMap(matrix=matrix, shape=(5, 3))


def _operator(dtype: torch.dtype) -> MapBuilder:
    def build(generator: torch.Generator) -> AbstractLinearMap:
        matrix = draw(generator, 7, 12, dtype=dtype).numpy()
        return from_scipy(aslinearoperator(matrix), (3, 4))

    return build


def _sum(dtype: torch.dtype, coefficients: tuple[complex, ...] | None) -> MapBuilder:
    def build(generator: torch.Generator) -> AbstractLinearMap:
        maps = (
            rank_one_map((5, 4), 7, generator=generator, dtype=dtype),
            fourier_map((5, 4), 7, generator=generator, dtype=dtype),
            some_entries(generator, (5, 4), 7, dtype),
        )
        return SumMap(maps=maps, coefficients=coefficients)

    return build


def _stacked(dtype: torch.dtype) -> MapBuilder:
    def build(generator: torch.Generator) -> AbstractLinearMap:
        maps = (
            gaussian_map((4, 5), 3, generator=generator, dtype=dtype),
            some_entries(generator, (4, 5), 1, dtype),
            rank_one_map((4, 5), 6, generator=generator, dtype=dtype),
        )
        return StackedMap(maps=maps)

    return build


def _two_sided(dtype: torch.dtype, sides: str) -> MapBuilder:
    def build(generator: torch.Generator) -> AbstractLinearMap:
        inner = some_entries(generator, (6, 6), 11, dtype)
        left = draw(generator, 6, 4, dtype=dtype)
        right = draw(generator, 6, 3, dtype=dtype)
        return TwoSidedMap(
            inner=inner,
            left_matrix=left if sides in {"left", "both", "same"} else None,
            right_matrix={"right": right, "both": right, "same": left}.get(sides),
        )

    return build


def _convolution(
    grid: tuple[int, ...],
    boundary: Boundary,
    filters: tuple[str, ...],
    dtype: torch.dtype = torch.float64,
    dimension: int = 3,
) -> MapBuilder:
    """Filters of a "short" or a "gaussian" subspace, on a smaller grid."""
    small = tuple((size + 1) // 2 for size in grid)
    support = SupportSubspace(indices=torch.tensor([2, 0]), shape=small, dtype=dtype)

    def build(generator: torch.Generator) -> AbstractLinearMap:
        gaussian = gaussian_subspace(small, 3, generator=generator, dtype=dtype)
        return ConvolutionMap(
            filters=tuple(support if f == "short" else gaussian for f in filters),
            signal=gaussian_subspace(grid, dimension, generator=generator, dtype=dtype),
            boundary=boundary,
        )

    return build


def _blocks(*builders: MapBuilder) -> MapBuilder:
    def build(generator: torch.Generator) -> AbstractLinearMap:
        maps = tuple(builder(generator) for builder in builders)
        count = maps[0].num_measurements
        stored = gaussian_map(
            (2, 3), count, generator=generator, dtype=maps[0].spec.dtype
        )
        return BlockDiagonalMap(maps=(*maps, stored))

    return build


MAPS: dict[str, MapBuilder] = {
    "stored float32": _stored,
    "gaussian": lambda g: gaussian_map((4, 6), 9, generator=g),
    "gaussian complex": lambda g: gaussian_map((4, 3), 9, generator=g, dtype=COMPLEX),
    "gaussian complex64": lambda g: gaussian_map(
        (3, 3), 5, generator=g, dtype=torch.complex64
    ),
    "gaussian symmetric": lambda g: gaussian_map(
        (5, 5), 11, generator=g, is_symmetric=True
    ),
    "entries": lambda g: some_entries(g, (7, 5), 16),
    "entries float32": lambda g: some_entries(g, (5, 6), 14, torch.float32),
    "entries complex": lambda g: some_entries(g, (4, 6), 13, COMPLEX),
    "entries of a column": lambda g: some_entries(g, (6, 1), 3),
    "rank one": lambda g: rank_one_map((5, 4), 9, generator=g),
    "rank one float32": lambda g: rank_one_map(
        (5, 4), 9, generator=g, dtype=torch.float32
    ),
    "rank one complex": lambda g: rank_one_map((4, 6), 9, generator=g, dtype=COMPLEX),
    "quadratic": lambda g: rank_one_map((5, 5), 9, generator=g, is_symmetric=True),
    "quadratic complex": lambda g: rank_one_map(
        (4, 4), 9, generator=g, is_symmetric=True, dtype=COMPLEX
    ),
    "fourier, even size": lambda g: fourier_map((4, 5), 9, generator=g),
    "fourier, odd size": lambda g: fourier_map((3, 5), 15, generator=g),
    "fourier float32": lambda g: fourier_map((4, 4), 7, generator=g, dtype=torch.float),
    "fourier complex": lambda g: fourier_map((4, 5), 9, generator=g, dtype=COMPLEX),
    "fourier of one entry": lambda g: fourier_map((1, 1), 1, generator=g),
    "sum": _sum(torch.float64, None),
    "combination": _sum(torch.float32, (2.0, -0.5, 3)),
    "combination complex": _sum(COMPLEX, (2.0, 1.0 - 0.5j, 3.0j)),
    "stacked": _stacked(torch.float64),
    "stacked complex": _stacked(COMPLEX),
    "left subspace": _two_sided(torch.float64, "left"),
    "right subspace": _two_sided(COMPLEX, "right"),
    "two subspaces": _two_sided(torch.float64, "both"),
    "two subspaces complex": _two_sided(COMPLEX, "both"),
    "one subspace twice": _two_sided(torch.float64, "same"),
    "convolution": _convolution((8,), "circular", ("short",)),
    "convolution, odd size": _convolution((7,), "circular", ("gaussian",)),
    "convolution complex": _convolution((6,), "circular", ("short",), COMPLEX),
    "convolution float32": _convolution((7,), "full", ("short",), torch.float32),
    "convolution, channels": _convolution(
        (7,), "valid", ("short", "gaussian"), COMPLEX
    ),
    "convolution, few signals": _convolution(
        (6,), "same", ("short", "gaussian"), dimension=6
    ),
    "convolution of an image": _convolution((4, 3), "circular", ("short", "short")),
    "convolution of an image, complex": _convolution(
        (3, 4), "full", ("gaussian",), COMPLEX, 2
    ),
    "blocks": _blocks(
        _convolution((5,), "circular", ("short",)),
        _convolution((5,), "circular", ("gaussian",), dimension=2),
    ),
    "blocks complex": _blocks(_convolution((5,), "same", ("gaussian",), COMPLEX)),
    "scipy": _operator(torch.float64),
    "scipy complex": _operator(COMPLEX),
}
