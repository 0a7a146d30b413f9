"""Corrected matrices fit, are the nearest that do, and are refused where none does."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nuclear_cases import small_problem, small_program
from recovery_cases import dense_matrix
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.nuclear import repair as repair_room
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.repair import (
    Repair,
    nuclear_norm_of,
    repaired,
    smallest_multiple,
)
from tacit.recovery.problem import RecoveryProblem

DOUBLE = torch.float64
KINDS = ["rectangular", "complex", "entries", "wide"]


def norm(matrix: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix).sum())


def factors(
    program: NuclearProgram, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    rows, columns = program.problem.linear_map.in_shape
    dtype = program.problem.measurements.dtype
    left = 0.5 * torch.randn(rows, 2, generator=generator, dtype=dtype)
    right = torch.randn(columns, 2, generator=generator, dtype=dtype)
    return left, left if program.problem.is_symmetric else right


def repair_of(program: NuclearProgram, left: Tensor, right: Tensor) -> Repair:
    return repaired(program, left, right, norm(left @ right.mH))


def misfit(program: NuclearProgram, matrix: Tensor) -> float:
    problem = program.problem
    residual = problem.linear_map.apply(matrix) - problem.measurements
    return float(torch.linalg.vector_norm(problem.weights * residual))


@pytest.mark.parametrize("way", ["gram", "iterative"])
@pytest.mark.parametrize("form", ["exact", "much noise"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_correction_is_the_least_one_of_its_direction(
    kind: str,
    form: str,
    way: str,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way == "iterative":
        monkeypatch.setattr(repair_room, "_LARGEST_GRAM", 0)
    program = small_program(kind, form, 0, part_held_out=0.2)
    problem = program.problem
    left, right = factors(program, generator)
    found = repair_of(program, left, right)
    assert found.matrix is not None
    assert found.reason == ""
    size = float(torch.linalg.vector_norm(problem.weights * problem.measurements))
    noise_bound = program.noise_bound or 0.0
    assert misfit(program, found.matrix) <= noise_bound + 1e-13 * size
    assert norm(found.matrix) <= found.nuclear_norm <= norm(found.matrix) * (1 + 1e-11)
    # The least correction with the same residual, by the pseudo-inverse.
    kept = problem.weights > 0
    dense = dense_matrix(problem.linear_map)[kept]
    start = left @ right.mH
    residual = (problem.linear_map.apply(start) - problem.measurements)[kept]
    part = 1.0 - noise_bound / float(torch.linalg.vector_norm(residual))
    change = torch.linalg.pinv(dense) @ (part * residual)
    expected = start - change.reshape(start.shape)
    assert float(torch.linalg.matrix_norm(found.matrix - expected)) <= 1e-10


def test_redundant_measurements_are_no_obstacle(generator: torch.Generator) -> None:
    """Every measurement twice: the Gram matrix is singular, and y attainable."""
    matrix = torch.randn(7, 12, generator=generator, dtype=DOUBLE)
    truth = torch.randn(12, generator=generator, dtype=DOUBLE)
    twice = torch.cat((matrix, matrix))
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=twice, shape=(4, 3)), measurements=twice @ truth
    )
    program = NuclearProgram(problem=problem, noise_bound=0.0)
    found = repair_of(program, *factors(program, generator))
    assert found.matrix is not None
    assert misfit(program, found.matrix) <= 1e-12


def test_more_measurements_than_entries_are_no_obstacle(
    generator: torch.Generator,
) -> None:
    matrix = torch.randn(20, 6, generator=generator, dtype=DOUBLE)
    measurements = torch.randn(20, generator=generator, dtype=DOUBLE)
    closest = torch.linalg.lstsq(matrix, measurements[:, None]).solution[:, 0]
    least = float(torch.linalg.vector_norm(matrix @ closest - measurements))
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=matrix, shape=(3, 2)), measurements=measurements
    )
    for factor, fits in ((0.99, False), (1.01, True), (1.5, True)):
        program = NuclearProgram(problem=problem, noise_bound=factor * least)
        found = repair_of(program, *factors(program, generator))
        assert (found.matrix is not None) == fits
        assert math.isfinite(found.nuclear_norm) == fits
        if not fits:
            assert "misses the noise bound by" in found.reason
            missed = float(found.reason.split()[-1])
            assert missed == pytest.approx(0.01 * least, rel=0.06)


def test_badly_scaled_measurements_are_met(generator: torch.Generator) -> None:
    """A violation at rounding level hides a part of X that must not be forgotten."""
    rows = torch.zeros(2, 4, dtype=DOUBLE)
    rows[0, 0], rows[1, 3] = 1.0, 1e-10
    measurements = torch.tensor([1.0, 5e-14], dtype=DOUBLE)
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=rows, shape=(2, 2)), measurements=measurements
    )
    program = NuclearProgram(problem=problem, noise_bound=0.0)
    left = torch.tensor([[1.0], [0.0]], dtype=DOUBLE)
    found = repair_of(program, left, left)
    assert found.nuclear_norm == pytest.approx(1.0005, rel=1e-9)


@pytest.mark.parametrize("kind", ["symmetric", "hermitian"])
@pytest.mark.parametrize("form", ["exact", "much noise"])
def test_corrections_stay_in_the_cone(
    kind: str, form: str, generator: torch.Generator
) -> None:
    program = small_program(kind, form, 0, part_held_out=0.1)
    planted = small_problem(kind, 0, part_held_out=0.1).planted
    assert planted is not None
    noise = torch.randn(4, 1, generator=generator, dtype=planted.left.dtype)
    left = planted.left + 1e-3 * noise
    found = repair_of(program, left, left)
    assert found.matrix is not None
    values = torch.linalg.eigvalsh(found.matrix)
    assert float(values[0]) >= -1e-15
    assert float(values.sum()) <= found.nuclear_norm <= float(values.sum()) * (1 + 1e-9)
    size = float(torch.linalg.vector_norm(program.problem.measurements))
    assert misfit(program, found.matrix) <= (program.noise_bound or 0.0) + 1e-13 * size


def test_an_empty_cone_is_given_up() -> None:
    places = torch.arange(2)
    entries = EntriesMap(rows=places, columns=places, shape=(2, 2))
    problem = RecoveryProblem(
        linear_map=entries,
        measurements=torch.tensor([-1.0, 1.0], dtype=DOUBLE),
        is_symmetric=True,
    )
    program = NuclearProgram(problem=problem, noise_bound=0.5)
    eye = torch.eye(2, dtype=DOUBLE)
    found = repair_of(program, eye, eye)
    assert found.matrix is None
    assert "misses the noise bound by 5.0e-01" in found.reason


def test_without_a_full_spectrum_norms_are_added(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = small_program("rectangular", "much noise", 0)
    left, right = factors(program, generator)
    closely = repair_of(program, left, right)
    monkeypatch.setattr(repair_room, "_LARGEST_SPECTRUM", 3)
    roughly = repair_of(program, left, right)
    assert roughly.matrix is not None
    start = left @ right.mH
    moved = float(torch.linalg.matrix_norm(roughly.matrix - start))
    expected = norm(start) + 2.0 * moved  # four columns
    assert roughly.nuclear_norm == pytest.approx(expected, rel=1e-12)
    assert roughly.nuclear_norm >= closely.nuclear_norm
    cone = small_program("symmetric", "much noise", 0)
    refused = repair_of(cone, *factors(cone, generator))
    assert refused.reason == "a cone of size 4 is too large to project on"
    monkeypatch.setattr(repair_room, "_LARGEST_MATRIX", 19)
    refused = repair_of(program, left, right)
    assert refused.reason == "a matrix of 5 x 4 is too large to correct"
    assert refused.nuclear_norm == math.inf


def test_what_fits_is_left_alone(generator: torch.Generator) -> None:
    program = small_program("rectangular", "much noise", 0)
    left, right = factors(program, generator)
    exact = replace(
        program.problem,
        measurements=program.problem.linear_map.apply_factors(left, right),
    )
    found = repair_of(replace(program, problem=exact), left, right)
    assert found.matrix is not None
    assert bool((found.matrix == left @ right.mH).all())


def test_the_smallest_multiple_is_the_first_to_fit(generator: torch.Generator) -> None:
    image = torch.randn(6, generator=generator, dtype=torch.complex128)
    target = 2.0 * image + 0.3 * torch.randn(6, generator=generator).to(image.dtype)
    length = float(torch.linalg.vector_norm(target))
    grid = torch.linspace(0.0, 3.0, 30001, dtype=DOUBLE)
    distances = torch.linalg.vector_norm(grid[:, None] * image - target, dim=1)
    for distance in (0.9 * length, 0.7 * length, 1.001 * float(distances.min())):
        found = smallest_multiple(image, target, distance)
        expected = float(grid[(distances <= distance).nonzero()[0, 0]])
        assert found == pytest.approx(expected, abs=2e-4)
    assert smallest_multiple(image, target, 1.001 * length) == 0.0
    assert smallest_multiple(image, target, 0.99 * float(distances.min())) is None
    assert smallest_multiple(-image, target, 0.9 * length) is None
    assert smallest_multiple(0 * image, target, 0.9 * length) is None


def test_a_nuclear_norm_is_rounded_up(generator: torch.Generator) -> None:
    matrix = torch.randn(6, 4, generator=generator, dtype=DOUBLE)
    gram = torch.linalg.eigvalsh(matrix.T @ matrix).sqrt().sum()
    assert nuclear_norm_of(matrix) == pytest.approx(float(gram), rel=1e-12)
    assert nuclear_norm_of(matrix) > norm(matrix)
