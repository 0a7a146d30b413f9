import cmath
import math

import pytest
import scipy.fft
import torch

from recovery_cases import dense_matrix, draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.structured import FourierMap, fourier_map

COMPLEX = torch.complex128
SHAPES = [(1, 1), (1, 2), (3, 1), (2, 2), (3, 5), (4, 6), (7, 1)]


def _entry(k: int, j: int, size: int, *, is_complex: bool) -> complex:
    angle = 2.0 * math.pi * k * j / size
    whole = cmath.exp(-1j * angle) if is_complex else math.cos(angle) + math.sin(angle)
    return whole / math.sqrt(size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_rows_are_those_of_the_transform_with_signs(
    generator: torch.Generator, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    size = math.prod(shape)
    count = max(1, size // 2)
    linear_map = fourier_map(shape, count, generator=generator, dtype=dtype)
    signs = linear_map.signs.flatten().tolist()
    expected = [
        [
            math.sqrt(size / count)
            * _entry(int(k), j, size, is_complex=dtype.is_complex)
            * signs[j]
            for j in range(size)
        ]
        for k in linear_map.coefficients
    ]
    got = dense_matrix(linear_map)
    assert torch.allclose(got, torch.tensor(expected, dtype=dtype), atol=1e-13)


def test_the_complex_transform_is_scipys(generator: torch.Generator) -> None:
    linear_map = fourier_map((6, 5), 30, generator=generator, dtype=COMPLEX)
    matrix = draw(generator, 6, 5, dtype=COMPLEX)
    mixed = (linear_map.signs * matrix).flatten().numpy()
    expected = torch.from_numpy(scipy.fft.fft(mixed, norm="ortho"))
    got = linear_map.apply(matrix)
    assert torch.allclose(got, expected[linear_map.coefficients], atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_measurements_are_a_tight_frame(
    generator: torch.Generator, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    size = math.prod(shape)
    count = -(-2 * size // 3)
    linear_map = fourier_map(shape, count, generator=generator, dtype=dtype)
    dense = dense_matrix(linear_map)
    expected = torch.eye(count, dtype=dtype) * (size / count)
    assert torch.allclose(dense @ dense.mH, expected, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_the_mean_over_all_choices_is_the_identity(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    # Every coefficient in turn is a choice of one; their mean is the expectation.
    signs = fourier_map((3, 4), 1, generator=generator, dtype=dtype).signs
    total = torch.zeros(12, 12, dtype=dtype)
    for k in range(12):
        dense = dense_matrix(FourierMap(signs=signs, coefficients=torch.tensor([k])))
        total += dense.mH @ dense / 12.0
    assert torch.allclose(total, torch.eye(12, dtype=dtype), atol=1e-13)


def test_a_single_measurement_is_a_uniformly_random_coefficient(
    generator: torch.Generator,
) -> None:
    draws = 1200
    counts = torch.zeros(12)
    for _ in range(draws):
        counts[fourier_map((3, 4), 4, generator=generator).coefficients[0]] += 1
    # Chi-squared with 11 degrees of freedom: above 31.3 with probability 1e-3.
    assert float(((counts - 100.0) ** 2 / 100.0).sum()) < 31.3


def test_the_stated_law_is_that_of_one_measurement(generator: torch.Generator) -> None:
    linear_map = fourier_map((4, 5), 8, generator=generator)
    law = linear_map.spec.isotropy
    assert law is not None
    assert law.second_moment == 1.0 / 8
    assert not law.is_gaussian
    assert set(linear_map.signs.flatten().tolist()) == {-1.0, 1.0}


def test_any_phases_will_do(generator: torch.Generator) -> None:
    angles = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    signs = torch.polar(torch.ones_like(angles), 2.0 * math.pi * angles)
    dense = dense_matrix(FourierMap(signs=signs, coefficients=torch.arange(12)))
    assert torch.allclose(dense.mH @ dense, torch.eye(12, dtype=COMPLEX), atol=1e-13)


def test_the_draw_repeats(generator: torch.Generator) -> None:
    state = generator.get_state()
    first = fourier_map((4, 3), 5, generator=generator)
    generator.set_state(state)
    second = fourier_map((4, 3), 5, generator=generator, dtype=torch.complex64)
    assert torch.equal(first.coefficients, second.coefficients)
    assert torch.equal(first.signs, second.signs.real.double())


def test_what_makes_no_map_is_refused(generator: torch.Generator) -> None:
    signs = torch.ones(3, 4, dtype=torch.float64)
    with pytest.raises(ShapeError, match="signs must be a matrix"):
        FourierMap(signs=signs[0], coefficients=torch.arange(2))
    with pytest.raises(InputError, match="must be int64"):
        FourierMap(signs=signs, coefficients=torch.arange(2.0))
    for wrong in ([0, 12], [-1, 2], [5, 5]):
        with pytest.raises(InputError, match=r"different numbers in 0\.\.11"):
            FourierMap(signs=signs, coefficients=torch.tensor(wrong))
    with pytest.raises(InputError, match="coefficients is empty"):
        FourierMap(signs=signs, coefficients=torch.arange(0))
    with pytest.raises(InputError, match="signs must be finite"):
        FourierMap(signs=signs / 0.0, coefficients=torch.arange(2))
    for count in (0, 13):
        with pytest.raises(ShapeError, match=rf"got {count} for shape \(3, 4\)"):
            fourier_map((3, 4), count, generator=generator)
