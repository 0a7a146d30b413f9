"""Bounds on the spectrum of a back-projection, against dense factorisations."""

import math

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery import projection_bound
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.projection_bound import bound_negative_part, bound_spectral_norm
from tacit.spectral import EigenvalueBound

WAYS = ["dense", "formed", "products"]


def choose_way(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small matrices go the way of large ones."""
    if way != "dense":
        monkeypatch.setattr(projection_bound, "_DENSE_SIZE", 0)
    if way == "products":
        monkeypatch.setattr(projection_bound, "_FORMED_ENTRIES", 0)


def random_measurements(
    linear_map: AbstractLinearMap, generator: torch.Generator
) -> Tensor:
    spec = linear_map.spec
    return torch.randn(spec.num_measurements, generator=generator, dtype=spec.dtype)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(30, 18), (18, 30)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_norm_is_bounded_closely(
    way: str,
    shape: tuple[int, int],
    dtype: torch.dtype,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose_way(way, monkeypatch)
    maps = [
        gaussian_map(shape, 40, dtype=dtype, generator=generator),
        planted_completion(
            shape, 2, oversampling=1.5, dtype=dtype, generator=generator
        ).linear_map,
    ]
    for linear_map in maps:
        measurements = random_measurements(linear_map, generator)
        norm = float(
            torch.linalg.matrix_norm(linear_map.adjoint_apply(measurements), 2)
        )
        bound = bound_spectral_norm(
            linear_map, measurements, failure_probability=1e-9, generator=generator
        )
        assert norm <= bound.upper <= norm * 1.001
        assert bound.value <= norm * (1 + 1e-12)
        assert bound.failure_probability == (0.0 if way == "dense" else 1e-9)
        assert (bound.num_steps == 0) == (way == "dense")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_negative_part_is_bounded_closely(
    way: str,
    dtype: torch.dtype,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose_way(way, monkeypatch)
    maps = [
        gaussian_map((20, 20), 40, dtype=dtype, generator=generator),
        planted_completion(
            (20, 20),
            2,
            oversampling=1.5,
            is_symmetric=True,
            dtype=dtype,
            generator=generator,
        ).linear_map,
    ]
    for linear_map in maps:
        measurements = random_measurements(linear_map, generator)
        matrix = linear_map.adjoint_apply(measurements)
        values = torch.linalg.eigvalsh((matrix + matrix.mH) / 2)
        lowest, norm = float(values[0]), float(values.abs().max())
        bound = bound_negative_part(
            linear_map, measurements, failure_probability=1e-9, generator=generator
        )
        assert -lowest <= bound.upper <= -lowest + 4e-6 * norm
        assert bound.value <= -lowest + 1e-12 * norm
        assert bound.failure_probability == (0.0 if way == "dense" else 1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_a_positive_definite_matrix_has_a_negative_bound(
    way: str, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All entries seen, and those of a multiple of the identity measured."""
    choose_way(way, monkeypatch)
    problem = planted_completion((12, 12), 1, num_measurements=144, generator=generator)
    measurements = 3.0 * torch.eye(12, dtype=torch.float64).flatten()
    bound = bound_negative_part(
        problem.linear_map, measurements, failure_probability=1e-6, generator=generator
    )
    assert bound.upper == pytest.approx(-3.0, rel=1e-4)
    assert bound.upper >= -3.0


@pytest.mark.parametrize("way", WAYS)
def test_zero_measurements_have_zero_bounds(
    way: str, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_way(way, monkeypatch)
    problem = planted_completion((12, 12), 1, num_measurements=60, generator=generator)
    zero = torch.zeros_like(problem.measurements)
    for bound in (bound_spectral_norm, bound_negative_part):
        found = bound(
            problem.linear_map, zero, failure_probability=1e-6, generator=generator
        )
        assert (found.value, found.upper) == (0.0, 0.0)


def test_a_bound_that_is_not_found_is_infinite(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_way("formed", monkeypatch)
    monkeypatch.setattr(projection_bound, "_MAX_STEPS", 1)
    linear_map = gaussian_map((20, 20), 40, generator=generator)
    measurements = random_measurements(linear_map, generator)
    bound = bound_negative_part(
        linear_map, measurements, failure_probability=1e-12, generator=generator
    )
    assert bound.upper == math.inf


def test_what_cannot_be_bounded_is_refused(generator: torch.Generator) -> None:
    single = planted_problem(
        (5, 5), 1, num_measurements=9, dtype=torch.float32, generator=generator
    )
    for bound in (bound_spectral_norm, bound_negative_part):
        with pytest.raises(InputError, match=r"double precision; got .* torch.float32"):
            bound(
                single.linear_map,
                single.measurements,
                failure_probability=1e-6,
                generator=generator,
            )
    wide = gaussian_map((4, 5), 9, generator=generator)
    with pytest.raises(ShapeError, match=r"need square matrices; got \(4, 5\)"):
        bound_negative_part(
            wide,
            random_measurements(wide, generator),
            failure_probability=1e-6,
            generator=generator,
        )


def planted_spectrum(
    generator: torch.Generator, dtype: torch.dtype, *, is_symmetric: bool
) -> tuple[AbstractLinearMap, Tensor, Tensor, Tensor]:
    """All entries measured of a matrix with three singular values near 1, then 0.8."""
    shape = (24, 24) if is_symmetric else (30, 24)
    left, right = (
        torch.linalg.qr(torch.randn(size, 24, generator=generator, dtype=dtype)).Q
        for size in shape
    )
    right = left if is_symmetric else right
    values = 0.8 * torch.linspace(1.0, 0.0, 24, dtype=torch.float64)
    values[:3] = torch.tensor([1.0, 1.0, 1.0 - 1e-9])
    size = shape[0] * shape[1]
    stored = StoredMap(matrix=torch.eye(size, dtype=dtype), shape=shape)
    matrix = (left * values) @ right.mH
    return stored, matrix.flatten(), left[:, :3], right[:, :3]


@pytest.mark.parametrize("way", ["formed", "products"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_known_subspaces_give_close_bounds_in_few_steps(
    way: str,
    dtype: torch.dtype,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose_way(way, monkeypatch)
    monkeypatch.setattr(projection_bound, "_COARSE_RTOL", 0.2)
    linear_map, measurements, left, right = planted_spectrum(
        generator, dtype, is_symmetric=False
    )

    def bound(known: tuple[Tensor, Tensor] | None) -> EigenvalueBound:
        return bound_spectral_norm(
            linear_map,
            measurements,
            failure_probability=1e-9,
            generator=generator,
            rtol=1e-10,
            known=known,
        )

    closely = bound((2.0 * left + left.flip(1), right))  # not orthonormal
    assert 1.0 <= closely.upper <= 1.0 + 1e-10
    assert closely.value <= 1.0 + 1e-14
    assert closely.failure_probability == 1e-9
    noise = torch.randn(30, 3, generator=generator, dtype=dtype)
    slightly_off = left + 1e-7 * noise
    near = bound((slightly_off, right))
    assert 1.0 <= near.upper <= 1.0 + 1e-10
    assert closely.num_steps <= near.num_steps < bound(None).num_steps


@pytest.mark.parametrize("way", ["formed", "products"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_known_subspace_bounds_the_negative_part_closely(
    way: str,
    dtype: torch.dtype,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose_way(way, monkeypatch)
    linear_map, measurements, left, _ = planted_spectrum(
        generator, dtype, is_symmetric=True
    )
    for sign, value in ((-1.0, 1.0), (1.0, 0.0)):
        bound = bound_negative_part(
            linear_map,
            sign * measurements,
            failure_probability=1e-9,
            generator=generator,
            rtol=1e-8,
            known=left,
        )
        assert value - 1e-15 <= bound.upper <= value + 3e-8
        assert bound.value <= value + 1e-13
        assert bound.failure_probability == 1e-9


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("kind", ["random", "zeros", "repeated", "wide", "one side"])
def test_wrong_subspaces_still_give_bounds(
    kind: str,
    way: str,
    dtype: torch.dtype,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose_way(way, monkeypatch)
    linear_map = gaussian_map((16, 16), 30, dtype=dtype, generator=generator)
    measurements = random_measurements(linear_map, generator)
    matrix = linear_map.adjoint_apply(measurements)
    first, second = (
        torch.randn(16, 3, generator=generator, dtype=dtype) for _ in range(2)
    )
    known = {
        "random": (first, second),
        "zeros": (0 * first, 0 * second),
        "repeated": (first[:, [0, 0, 1]], second[:, [1, 1, 1]]),
        "wide": (torch.eye(16, dtype=dtype), second),
        "one side": (1e150 * torch.linalg.svd(matrix).U[:, :3], 1e-150 * second),
    }[kind]
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    bound = bound_spectral_norm(
        linear_map,
        measurements,
        failure_probability=1e-9,
        generator=generator,
        known=known,
    )
    assert norm <= bound.upper
    assert bound.value <= norm * (1 + 1e-12)
    lowest = float(torch.linalg.eigvalsh((matrix + matrix.mH) / 2)[0])
    for sign in (1.0, -1.0):
        edge = -lowest
        if sign < 0.0:
            edge = float(torch.linalg.eigvalsh((matrix + matrix.mH) / 2)[-1])
        part = bound_negative_part(
            linear_map,
            sign * measurements,
            failure_probability=1e-9,
            generator=generator,
            known=known[0],
        )
        assert edge <= part.upper
        assert part.value <= edge + 1e-12 * norm
