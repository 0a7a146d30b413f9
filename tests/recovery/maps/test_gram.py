"""The Gram matrix of measurements against the dense matrix of every map."""

import pytest
import torch

from recovery_cases import MAPS, dense_matrix
from tacit.recovery.maps.blocks import BlockDiagonalMap
from tacit.recovery.maps.combine import SumMap
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.convolution_grid import Boundary
from tacit.recovery.maps.gram import gram_multiple, map_norm_bound, measurement_gram
from tacit.recovery.maps.structured import FourierMap
from tacit.recovery.subspaces.support import SupportSubspace


@pytest.mark.parametrize("name", MAPS)
def test_gram_is_that_of_the_dense_matrix(
    name: str, generator: torch.Generator
) -> None:
    linear_map = MAPS[name](generator)
    matrix = dense_matrix(linear_map)
    expected = matrix @ matrix.mH
    gram = measurement_gram(linear_map)
    assert gram.dtype == linear_map.spec.dtype
    assert gram.shape == expected.shape
    limit = 1000.0 * torch.finfo(gram.dtype).eps * float(expected.abs().max())
    assert float((gram - expected).abs().max()) <= limit


@pytest.mark.parametrize("name", MAPS)
def test_a_promised_multiple_holds(name: str, generator: torch.Generator) -> None:
    linear_map = MAPS[name](generator)
    multiple = gram_multiple(linear_map)
    is_special = name.startswith(("entries", "fourier"))
    assert (multiple is not None) == is_special
    if multiple is not None:
        matrix = dense_matrix(linear_map)
        unit = torch.eye(matrix.shape[0], dtype=matrix.dtype)
        error = (matrix @ matrix.mH - multiple * unit).abs().max()
        assert float(error) <= 1000.0 * torch.finfo(matrix.dtype).eps * multiple


def test_signs_of_other_modulus_promise_nothing() -> None:
    signs = torch.tensor([[1.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
    uneven = FourierMap(signs=signs, coefficients=torch.tensor([0, 2, 3]))
    matrix = dense_matrix(uneven)
    assert gram_multiple(uneven) is None
    torch.testing.assert_close(measurement_gram(uneven), matrix @ matrix.mH)


@pytest.mark.parametrize("boundary", ["circular", "full", "valid", "same"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gram_of_convolutions_at_every_boundary(
    boundary: Boundary, dtype: torch.dtype
) -> None:
    def corner(shape: tuple[int, int], count: int) -> SupportSubspace:
        return SupportSubspace(indices=torch.arange(count), shape=shape, dtype=dtype)

    linear_map = ConvolutionMap(
        filters=(corner((3, 2), 4), corner((3, 2), 5)),
        signal=corner((5, 4), 9),
        boundary=boundary,
    )
    matrix = dense_matrix(linear_map)
    torch.testing.assert_close(
        measurement_gram(linear_map), matrix @ matrix.mH, rtol=0.0, atol=1e-12
    )


def test_a_multiple_of_a_map_scales_by_the_square(generator: torch.Generator) -> None:
    inner = MAPS["rank one complex"](generator)
    scaled = SumMap(maps=(inner,), coefficients=(2.0 - 1.0j,))
    torch.testing.assert_close(
        measurement_gram(scaled), 5.0 * measurement_gram(inner), rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("name", MAPS)
def test_the_norm_bound_is_above_the_norm(
    name: str, generator: torch.Generator
) -> None:
    linear_map = MAPS[name](generator)
    bound = map_norm_bound(linear_map)
    is_known = name.startswith(("rank", "quadratic", "convolution"))
    assert (bound is not None) == is_known
    if bound is not None:
        norm = float(torch.linalg.matrix_norm(dense_matrix(linear_map), 2))
        assert norm * (1.0 - 1e-5) <= bound <= 10.0 * norm


def test_large_convolutions_have_no_cheap_bound() -> None:
    whole = SupportSubspace(indices=torch.arange(2**12), shape=(2**12,))
    convolution = ConvolutionMap(filters=(whole,), signal=whole)
    assert map_norm_bound(convolution) is None


def test_blocks_have_the_bound_of_their_parts(generator: torch.Generator) -> None:
    parts = [MAPS[name](generator) for name in ("rank one", "rank one", "gaussian")]
    convolutions = BlockDiagonalMap(maps=tuple(parts[:2]))
    bound = map_norm_bound(convolutions)
    norm = float(torch.linalg.matrix_norm(dense_matrix(convolutions), 2))
    assert bound is not None
    assert norm <= bound <= 10.0 * norm
    mixed = BlockDiagonalMap(maps=(parts[0], parts[2]))
    assert map_norm_bound(mixed) is None
