"""What every measurement map obeys."""

import inspect
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recovery_cases import MAPS, dense_matrix, draw
from sources import classes
from tacit.recovery.maps.linear_map import AbstractLinearMap, adjoint_test
from tacit.recovery.maps.residual import residual_and_products
from tacit.rng import make_generator

FINAL_MAPS = [
    cls
    for cls in classes()
    if issubclass(cls, AbstractLinearMap) and not inspect.isabstract(cls)
]
SQUARE = [
    name
    for name, build in MAPS.items()
    if len(set(build(make_generator(0)).in_shape)) == 1
]
EVERY = pytest.mark.parametrize("name", MAPS)
seeds = st.integers(0, 2**31)
widths = st.integers(1, 7)
batches = st.sampled_from([(), (1,), (3,), (2, 3), (9,)])


def _built(name: str, seed: int) -> tuple[AbstractLinearMap, torch.Generator]:
    generator = make_generator(seed, name)
    return MAPS[name](generator), generator


def _assert_near(got: Tensor, expected: Tensor, scale: float) -> None:
    """Agree up to 100 roundings of numbers of the size ``scale``."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    assert float((got - expected).abs().max()) <= (
        100.0 * torch.finfo(got.dtype).eps * scale
    )


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))


@pytest.mark.parametrize("cls", FINAL_MAPS, ids=lambda cls: cls.__name__)
def test_every_map_is_among_the_cases(cls: type[Any]) -> None:
    built = {type(_built(name, 0)[0]) for name in MAPS}
    assert cls in built, f"add a {cls.__name__} to recovery_cases.MAPS"


def test_the_cases_cover_both_precisions_and_both_fields() -> None:
    seen = {_built(name, 0)[0].spec.dtype for name in MAPS}
    expected = {torch.float32, torch.float64, torch.complex64, torch.complex128}
    assert seen == expected


@EVERY
def test_the_public_adjoint_test_is_passed(name: str) -> None:
    linear_map, generator = _built(name, 1)
    mismatch = adjoint_test(linear_map, generator=generator)
    assert mismatch <= 100.0 * torch.finfo(linear_map.spec.dtype).eps


@EVERY
@settings(max_examples=12)
@given(seed=seeds, batch=batches)
def test_both_directions_are_one_dense_matrix(
    name: str, seed: int, batch: tuple[int, ...]
) -> None:
    linear_map, generator = _built(name, seed)
    spec = linear_map.spec
    dense = dense_matrix(linear_map)
    matrix = draw(generator, *batch, *spec.in_shape, dtype=spec.dtype)
    measured = draw(generator, *batch, spec.num_measurements, dtype=spec.dtype)
    scale = _norm(dense) * (_norm(matrix) + _norm(measured))
    forward, adjoint = linear_map.apply(matrix), linear_map.adjoint_apply(measured)
    _assert_near(forward, matrix.flatten(-2) @ dense.T, scale)
    expected = (measured @ dense.conj()).unflatten(-1, spec.in_shape)
    _assert_near(adjoint, expected, scale)
    # Adjointness itself, as the inner products say it.
    inner = (forward.conj() * measured).sum() - (matrix.conj() * adjoint).sum()
    assert abs(complex(inner)) <= (
        100.0 * torch.finfo(spec.dtype).eps * scale * (_norm(matrix) + _norm(measured))
    )


@EVERY
@settings(max_examples=12)
@given(seed=seeds, batch=batches, width=widths)
def test_factors_give_what_their_product_gives(
    name: str, seed: int, batch: tuple[int, ...], width: int
) -> None:
    linear_map, generator = _built(name, seed)
    spec = linear_map.spec
    dense = dense_matrix(linear_map)
    left = draw(generator, *batch, spec.in_shape[0], width, dtype=spec.dtype)
    right = draw(generator, *batch, spec.in_shape[1], width, dtype=spec.dtype)
    measured = draw(generator, *batch, spec.num_measurements, dtype=spec.dtype)
    scale = (
        _norm(dense) * (1.0 + _norm(left) + _norm(right)) ** 2 * (1.0 + _norm(measured))
    )
    product = (left @ right.mH).flatten(-2)
    back = (measured @ dense.conj()).unflatten(-1, spec.in_shape)
    got = linear_map.adjoint_times(measured, left, right)
    _assert_near(linear_map.apply_factors(left, right), product @ dense.T, scale)
    _assert_near(got[0], back @ right, scale)
    _assert_near(got[1], back.mH @ left, scale)


@pytest.mark.parametrize("name", SQUARE)
@settings(max_examples=12)
@given(seed=seeds, width=widths)
def test_one_factor_may_stand_on_both_sides(name: str, seed: int, width: int) -> None:
    linear_map, generator = _built(name, seed)
    spec = linear_map.spec
    factor = draw(generator, 2, spec.in_shape[0], width, dtype=spec.dtype)
    measured = draw(generator, 2, spec.num_measurements, dtype=spec.dtype)
    scale = (
        (1.0 + _norm(factor)) ** 2
        * (1.0 + _norm(measured))
        * (1.0 + _norm(dense_matrix(linear_map)))
    )
    copied = factor.clone()
    _assert_near(
        linear_map.apply_factors(factor, factor),
        linear_map.apply_factors(factor, copied),
        scale,
    )
    same = linear_map.adjoint_times(measured, factor, factor)
    apart = linear_map.adjoint_times(measured, factor, copied)
    for one, two in zip(same, apart, strict=True):
        _assert_near(one, two, scale)
    assert same[0].data_ptr() != same[1].data_ptr()


@EVERY
@settings(max_examples=12)
@given(seed=seeds, batch=batches, width=widths)
def test_the_residual_and_its_products_are_those_of_the_parts(
    name: str, seed: int, batch: tuple[int, ...], width: int
) -> None:
    linear_map, generator = _built(name, seed)
    spec = linear_map.spec
    left = draw(generator, *batch, spec.in_shape[0], width, dtype=spec.dtype)
    right = draw(generator, *batch, spec.in_shape[1], width, dtype=spec.dtype)
    measured = draw(generator, spec.num_measurements, dtype=spec.dtype)
    weights = torch.rand(spec.num_measurements, generator=generator).round()
    weights = weights.to(measured.real.dtype)
    got = residual_and_products(linear_map, left, right, measured, weights)
    residual = linear_map.apply(left @ right.mH) - measured
    gradient = linear_map.adjoint_apply(weights * residual)
    size = 1.0 + _norm(dense_matrix(linear_map))
    scale = size**2 * (1.0 + _norm(left) + _norm(right) + _norm(measured)) ** 3
    for one, two in zip(
        got, (residual, gradient @ right, gradient.mH @ left), strict=True
    ):
        _assert_near(one, two, scale)


@EVERY
@settings(max_examples=12)
@given(seed=seeds)
def test_a_map_is_linear(name: str, seed: int) -> None:
    linear_map, generator = _built(name, seed)
    spec = linear_map.spec
    x, z = draw(generator, 2, *spec.in_shape, dtype=spec.dtype)
    factor = 1.5 - 2.0j if spec.dtype.is_complex else -0.75
    got = linear_map.apply(x + factor * z)
    parts = linear_map.apply(x), factor * linear_map.apply(z)
    _assert_near(got, parts[0] + parts[1], _norm(parts[0]) + _norm(parts[1]))


@EVERY
def test_results_are_new_tensors_of_the_maps_dtype_and_device(name: str) -> None:
    linear_map, generator = _built(name, 2)
    spec = linear_map.spec
    matrix = draw(generator, 2, *spec.in_shape, dtype=spec.dtype)
    measured = draw(generator, 2, spec.num_measurements, dtype=spec.dtype)
    left = draw(generator, 2, spec.in_shape[0], 2, dtype=spec.dtype)
    right = draw(generator, 2, spec.in_shape[1], 2, dtype=spec.dtype)
    given_ones = (matrix, measured, left, right)
    before = [tensor.clone() for tensor in given_ones]
    results = (
        linear_map.apply(matrix),
        linear_map.adjoint_apply(measured),
        linear_map.apply_factors(left, right),
        *linear_map.adjoint_times(measured, left, right),
    )
    for result in results:
        assert (result.dtype, result.device) == (spec.dtype, spec.device)
        result.zero_()  # an alias would write into what was given
    for tensor, copy in zip(given_ones, before, strict=True):
        assert torch.equal(tensor, copy)


@EVERY
def test_inputs_may_lie_in_memory_in_any_order(name: str) -> None:
    linear_map, generator = _built(name, 3)
    spec = linear_map.spec
    rows, columns = spec.in_shape
    turned = draw(generator, columns, rows, 2, dtype=spec.dtype).permute(2, 1, 0)
    measured = draw(generator, spec.num_measurements, 2, dtype=spec.dtype).mT.conj()
    left = draw(generator, 3, rows, dtype=spec.dtype).mH
    right = draw(generator, 3, columns, dtype=spec.dtype).mH
    plain = [t.resolve_conj().contiguous() for t in (turned, measured, left, right)]
    size = (1.0 + _norm(dense_matrix(linear_map))) * math.prod(
        1.0 + _norm(tensor) for tensor in plain
    )
    pairs = [
        (linear_map.apply(turned), linear_map.apply(plain[0])),
        (linear_map.adjoint_apply(measured), linear_map.adjoint_apply(plain[1])),
        (linear_map.apply_factors(left, right), linear_map.apply_factors(*plain[2:])),
        *zip(
            linear_map.adjoint_times(measured[0], left, right),
            linear_map.adjoint_times(plain[1][0], *plain[2:]),
            strict=True,
        ),
    ]
    for one, two in pairs:
        _assert_near(one, two, size)


@EVERY
def test_a_map_that_claims_a_law_states_a_sensible_one(name: str) -> None:
    linear_map, _ = _built(name, 4)
    spec = linear_map.spec
    assert linear_map.in_shape == spec.in_shape
    assert linear_map.num_measurements == spec.num_measurements
    if spec.isotropy is not None:
        assert 0.0 < spec.isotropy.second_moment < math.inf
