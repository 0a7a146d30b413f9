"""Tangent spaces and how maps see them, against projections and dense matrices."""

import math

import pytest
import torch
from torch import Tensor

from nuclear_cases import KINDS, small_program
from recovery_cases import dense_matrix
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.nuclear import tangent
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.tangent import TangentSpace, map_norm, tangent_space
from tacit.recovery.problem import RecoveryProblem
from tacit.rng import make_generator


def factors(
    program: NuclearProgram, rank: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    rows, columns = program.problem.linear_map.in_shape
    dtype = program.problem.measurements.dtype
    left = torch.randn(rows, rank, generator=generator, dtype=dtype)
    right = torch.randn(columns, rank, generator=generator, dtype=dtype)
    return left, left if program.problem.is_symmetric else right


def space_at(program: NuclearProgram, left: Tensor, right: Tensor) -> TangentSpace:
    space = tangent_space(program, left, right)
    assert space is not None
    return space


def real_units(shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """A basis, over the real numbers, of all matrices."""
    count = shape[0] * shape[1]
    units = torch.eye(count, dtype=dtype).reshape(count, *shape)
    return torch.cat((units, 1j * units)) if dtype.is_complex else units


def projected_on(program: NuclearProgram, space: TangentSpace, units: Tensor) -> Tensor:
    """Projections on the tangent space, from its definition."""
    if program.problem.is_symmetric:
        units = (units + units.mH) / 2
    left, right = space.u @ space.u.mH, space.v @ space.v.mH
    return left @ units + units @ right - left @ units @ right


def smallest_stretch(program: NuclearProgram, matrices: Tensor) -> float:
    """The smallest singular value of the map on the real span of matrices."""
    problem = program.problem
    images = problem.weights * problem.linear_map.apply(matrices)
    flat = matrices.flatten(1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).flatten(1)
        images = torch.view_as_real(images).flatten(1)
    _, sizes, basis = torch.linalg.svd(flat, full_matrices=False)
    kept = sizes > 1e-9
    # Coordinates in an orthonormal basis of the span, then the map in them.
    coordinates = flat @ basis[kept].mT
    operator = torch.linalg.lstsq(coordinates, images, driver="gelsd").solution
    values = torch.linalg.svdvals(operator)
    return float(values[-1]) if len(operator) <= operator.shape[1] else 0.0


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_margins_are_those_of_the_map_on_projected_units(
    kind: str, rank: int, generator: torch.Generator
) -> None:
    program = small_program(kind, "much noise", 0, part_held_out=0.1)
    left, right = factors(program, rank, generator)
    space = space_at(program, left, right)
    dtype = left.dtype
    units = real_units(program.problem.linear_map.in_shape, dtype)
    on_space = projected_on(program, space, units)
    assert space.margin == pytest.approx(smallest_stretch(program, on_space), abs=1e-7)
    small = real_units((rank, rank), dtype)
    face = space.u @ (small + small.mH) @ space.v.mH
    expected = smallest_stretch(program, face)
    assert expected > 0.0
    assert space.face_margin == pytest.approx(expected, rel=1e-6)
    assert space.face_margin <= expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_is_split_as_projections_say(
    kind: str, generator: torch.Generator
) -> None:
    program = small_program(kind, "much noise", 0)
    left, right = factors(program, 2, generator)
    space = space_at(program, left, right)
    matrix = torch.randn(len(left), len(right), generator=generator, dtype=left.dtype)
    off, error, top, norm = space.split(matrix)
    if program.problem.is_symmetric:
        matrix = (matrix + matrix.mH) / 2
    inside = projected_on(program, space, matrix)
    frobenius = float(torch.linalg.matrix_norm(inside - space.u @ space.v.mH))
    assert frobenius <= error <= frobenius * (1 + 1e-12)
    spectral = float(torch.linalg.matrix_norm(matrix, 2))
    assert spectral <= norm <= spectral * (1 + 1e-12)
    if program.problem.is_symmetric:
        assert top == pytest.approx(float(torch.linalg.eigvalsh(matrix)[-1]))
        beyond = float(torch.linalg.eigvalsh(matrix - inside)[-1])
    else:
        assert top == pytest.approx(spectral)
        beyond = float(torch.linalg.matrix_norm(matrix - inside, 2))
    assert beyond <= off <= beyond + 1e-12


def test_small_singular_values_belong_to_the_tail(generator: torch.Generator) -> None:
    program = small_program("rectangular", "much noise", 0)
    left, right = factors(program, 3, generator)
    left, right = (torch.linalg.qr(factor).Q for factor in (left, right))
    values = torch.tensor([2.0, 1.0, 1e-8], dtype=torch.float64)
    space = space_at(program, left * values, right)
    assert space.u.shape == (5, 2)
    assert space.nuclear_norm == pytest.approx(3.0, rel=1e-12)
    assert 1e-8 * (1 - 1e-6) <= space.tail <= 1e-8 + 1e-12
    matrix = space.left @ space.right.mH
    expected = (left[:, :2] * values[:2]) @ right[:, :2].mH
    assert float((matrix - expected).abs().max()) < 1e-14


def test_zero_has_no_tangent_space() -> None:
    program = small_program("complex", "much noise", 0)
    left, right = (torch.zeros(size, 1, dtype=torch.complex128) for size in (5, 4))
    space = space_at(program, left, right)
    assert space.margin == space.face_margin == math.inf
    assert space.nuclear_norm == space.tail == 0.0


def test_a_space_of_more_dimensions_than_measurements_is_not_seen(
    generator: torch.Generator,
) -> None:
    entries = EntriesMap(rows=torch.arange(3), columns=torch.arange(3), shape=(3, 3))
    problem = RecoveryProblem(
        linear_map=entries, measurements=torch.ones(3, dtype=torch.float64)
    )
    program = NuclearProgram(problem=problem, noise_bound=0.1)
    space = space_at(program, *factors(program, 1, generator))
    assert space.margin == 0.0
    assert space.face_margin > 0.0


def test_a_full_rank_has_nothing_beyond(generator: torch.Generator) -> None:
    program = small_program("symmetric", "much noise", 0)
    space = space_at(program, *factors(program, 4, generator))
    off, _, _, _ = space.split(torch.randn(4, 4, generator=generator).double())
    assert off < 1e-12


def test_large_spaces_are_refused(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = small_program("rectangular", "much noise", 0)
    left, right = factors(program, 1, generator)
    assert tangent_space(program, left, right) is not None
    monkeypatch.setattr(tangent, "_LARGEST_SPACE", 7)
    assert tangent_space(program, left, right) is None


@pytest.mark.parametrize("way", ["dense", "formed", "products"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_of_a_map_is_bounded(
    kind: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "dense":
        monkeypatch.setattr(tangent, "_LARGEST_GRAM", 0)
    if way == "products":
        monkeypatch.setattr(tangent, "_LARGEST_FORMED", 0)
    program = small_program(kind, "much noise", 0, part_held_out=0.25)
    problem = program.problem
    dense = problem.weights[:, None] * dense_matrix(problem.linear_map)
    expected = float(torch.linalg.matrix_norm(dense, 2))
    found = map_norm(program, failure_probability=1e-9, generator=make_generator(0))
    assert expected <= found <= 1.011 * expected


def test_the_norm_of_a_map_of_zeros_is_zero() -> None:
    stored = StoredMap(matrix=torch.zeros(3, 4, dtype=torch.float64), shape=(2, 2))
    problem = RecoveryProblem(
        linear_map=stored, measurements=torch.ones(3, dtype=torch.float64)
    )
    program = NuclearProgram(problem=problem, noise_bound=0.1)
    norm = map_norm(program, failure_probability=1e-9, generator=make_generator(0))
    assert norm == 0.0


def test_batches_of_basis_matrices_are_joined(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear_map = gaussian_map((6, 5), 25, generator=generator)
    problem = RecoveryProblem(
        linear_map=linear_map, measurements=torch.ones(25, dtype=torch.float64)
    )
    program = NuclearProgram(problem=problem, noise_bound=0.1)
    left, right = factors(program, 2, generator)
    once = space_at(program, left, right)
    monkeypatch.setattr(tangent, "_BLOCK", 3)
    again = space_at(program, left, right)
    assert again.margin == pytest.approx(once.margin, rel=1e-9)
    assert once.margin > 0.01
