import pytest
import torch

from recovery_cases import MAPS, dense_matrix, draw
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.residual import line_terms, residual_and_products
from tacit.recovery.maps.stored import gaussian_map


def measured(
    linear_map: AbstractLinearMap, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    return (left @ right.mH).flatten(-2) @ dense_matrix(linear_map).T


def factors(
    generator: torch.Generator, linear_map: AbstractLinearMap, *batch: int
) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = linear_map.in_shape
    dtype = linear_map.spec.dtype
    left = draw(generator, *batch, rows, 2, dtype=dtype)
    return left, draw(generator, *batch, columns, 2, dtype=dtype)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("batches", [((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,))])
def test_residual_and_products_are_those_of_the_dense_map(
    name: str,
    batches: tuple[tuple[int, ...], tuple[int, ...]],
    generator: torch.Generator,
) -> None:
    linear_map = MAPS[name](generator)
    spec = linear_map.spec
    left, right = factors(generator, linear_map, *batches[0])
    y = draw(generator, *batches[1], spec.num_measurements, dtype=spec.dtype)
    kept = y.clone()
    weights = (torch.rand(spec.num_measurements, generator=generator) < 0.7).to(
        y.real.dtype
    )
    residual = measured(linear_map, left, right) - y
    conjugated = dense_matrix(linear_map).conj()
    gradient = ((weights * residual) @ conjugated).unflatten(-1, spec.in_shape)
    got = residual_and_products(linear_map, left, right, y, weights)
    atol = 1e5 * torch.finfo(spec.dtype).eps
    for one, other in zip(
        got, (residual, gradient @ right, gradient.mH @ left), strict=True
    ):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=0.0, atol=atol)
    assert torch.equal(y, kept)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_line_terms_make_a_quadratic_polynomial(
    name: str, batch: tuple[int, ...], generator: torch.Generator
) -> None:
    linear_map = MAPS[name](generator)
    left, right = factors(generator, linear_map, *batch)
    d_left, d_right = factors(generator, linear_map, *batch)
    linear, quadratic = line_terms(linear_map, left, right, d_left, d_right)
    start = measured(linear_map, left, right)
    atol = 1e5 * torch.finfo(linear_map.spec.dtype).eps
    for s in (1.0, -0.5):
        there = measured(linear_map, left + s * d_left, right + s * d_right)
        got = start + s * linear + s**2 * quadratic
        assert torch.allclose(got, there, rtol=0.0, atol=atol)


@pytest.mark.parametrize("batch", [(), (2,), (9,)])
def test_one_factor_twice(batch: tuple[int, ...], generator: torch.Generator) -> None:
    linear_map = gaussian_map((5, 5), 11, generator=generator, is_symmetric=True)
    left, _ = factors(generator, linear_map, *batch)
    y, weights = draw(generator, 11), torch.ones(11, dtype=torch.float64)
    got = residual_and_products(linear_map, left, left, y, weights)
    expected = residual_and_products(linear_map, left, left.clone(), y, weights)
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    # Changing one answer leaves the other alone.
    got[1].zero_()
    assert torch.allclose(got[2], expected[2], atol=1e-12)
