"""Transforms of factors: every map through them is the map itself."""

import pytest
import torch

from recovery_cases import MAPS, MapBuilder, draw
from tacit.recovery.maps.rank_one import rank_one_map
from tacit.recovery.maps.transforms import measured, moved, products, transformed

TOLERANCE = {torch.float32: 1e-4, torch.complex64: 1e-4}


@pytest.mark.parametrize("build", MAPS.values(), ids=MAPS.keys())
def test_measurements_and_products_are_those_of_factors(
    build: MapBuilder, generator: torch.Generator
) -> None:
    linear_map = build(generator)
    spec = linear_map.spec
    rows, columns = spec.in_shape
    sizes = ((2, rows, 2), (2, columns, 2))
    left, d_left = (draw(generator, *sizes[0], dtype=spec.dtype) for _ in range(2))
    right, d_right = (draw(generator, *sizes[1], dtype=spec.dtype) for _ in range(2))
    y = draw(generator, 2, spec.num_measurements, dtype=spec.dtype)
    here = transformed(linear_map, left, right)
    there = transformed(linear_map, d_left, d_right)
    after = moved(here, 0.5, there)
    tolerance = TOLERANCE.get(spec.dtype, 1e-12)

    def close(one: torch.Tensor, other: torch.Tensor) -> bool:
        scale = 1.0 + float(other.abs().max())
        return torch.allclose(one, other, rtol=0.0, atol=tolerance * scale)

    new_left, new_right = left + 0.5 * d_left, right + 0.5 * d_right
    assert close(
        measured(linear_map, here, there), linear_map.apply_factors(left, d_right)
    )
    assert close(
        measured(linear_map, after, after),
        linear_map.apply_factors(new_left, new_right),
    )
    got = products(linear_map, y, after)
    expected = linear_map.adjoint_times(y, new_left, new_right)
    assert close(got[0], expected[0])
    assert close(got[1], expected[1])


def test_one_factor_twice_stays_one(generator: torch.Generator) -> None:
    linear_map = rank_one_map((4, 4), 7, generator=generator, is_symmetric=True)
    left, direction = draw(generator, 2, 4, 2)
    here = transformed(linear_map, left, left)
    after = moved(here, 2.0, transformed(linear_map, direction, direction))
    assert after[0] is after[1]
    image = linear_map.apply_factors(left + 2.0 * direction, left + 2.0 * direction)
    assert torch.allclose(measured(linear_map, after, after), image, rtol=1e-12)
