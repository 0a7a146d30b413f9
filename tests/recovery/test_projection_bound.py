"""Bounds on the spectrum of a back-projection, against dense factorisations."""

import math

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery import projection_bound
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.projection_bound import bound_negative_part, bound_spectral_norm

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
