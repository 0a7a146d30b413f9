"""Upper sides: the best multiple of a point, or a repair, against a fine grid."""

import math

import pytest
import torch
from torch import Tensor

from nuclear_cases import KINDS, small_program
from tacit.bracket import Bound
from tacit.recovery.nuclear.primal import (
    normalised,
    point_at,
    upper_fitting,
    upper_penalised,
)
from tacit.recovery.nuclear.program import NuclearProgram

LOWEST = Bound(value=0.0, side="lower", method="none")


def planted_factors(program: NuclearProgram, scale: float) -> tuple[Tensor, Tensor]:
    planted = program.problem.planted
    assert planted is not None
    left = math.sqrt(scale) * planted.left
    right = math.sqrt(scale) * planted.right
    return left, left if program.problem.is_symmetric else right


def norm(matrix: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix).sum())


@pytest.mark.parametrize("scale", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_multiple_with_a_penalty_is_found(kind: str, scale: float) -> None:
    program = small_program(kind, "penalty", 0, part_held_out=0.2)
    assert program.penalty is not None
    left, right = planted_factors(program, scale)
    bound = upper_penalised(point_at(program, left, right), program.penalty)
    matrix = left @ right.mH
    values = [
        program.value(
            multiple * norm(matrix),
            program.residual(multiple * left, right)
            if not program.problem.is_symmetric
            else program.residual(
                math.sqrt(multiple) * left, math.sqrt(multiple) * left
            ),
        )
        for multiple in (torch.linspace(0.0, 4.0, 4001) / scale).tolist()
    ]
    assert min(values) * (1 - 1e-3) <= bound.value <= min(values) * (1 + 1e-12)


@pytest.mark.parametrize("scale", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_upper_side_is_reached_by_its_witness(kind: str, scale: float) -> None:
    program = small_program(kind, "much noise", 0, part_held_out=0.2)
    left, right = planted_factors(program, scale)
    point = point_at(program, left, right)
    bound = upper_fitting(program, point, LOWEST)
    matrix = bound.witness
    if isinstance(matrix, float):
        assert bound.method.endswith("times a number")
        matrix = matrix * (point.left @ point.right.mH)
    assert isinstance(matrix, Tensor)
    assert norm(matrix) <= bound.value <= norm(matrix) * (1 + 1e-12)
    problem = program.problem
    residual = problem.weights * (
        problem.linear_map.apply(matrix) - problem.measurements
    )
    assert program.noise_bound is not None
    length = float(torch.linalg.vector_norm(residual))
    assert length <= program.noise_bound * (1 + 1e-13)
    if problem.is_symmetric:
        assert float(torch.linalg.eigvalsh(matrix)[0]) >= -1e-14


def test_a_point_that_fits_is_not_moved_away_from() -> None:
    program = small_program("rectangular", "all noise", 0)
    left, right = planted_factors(program, 1.0)
    bound = upper_fitting(program, point_at(program, left, right), LOWEST)
    assert bound.value == 0.0
    assert bound.witness == 0.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-5, 1.0, 1e300])
def test_any_scale_is_taken_out(
    dtype: torch.dtype, scale: float, generator: torch.Generator
) -> None:
    matrix = torch.randn(3, 2, generator=generator, dtype=dtype)
    given = scale * matrix
    found, largest = normalised(given)
    parts = torch.view_as_real(found) if found.is_complex() else found
    assert float(parts.abs().max()) == 1.0
    assert torch.allclose(largest * found, given, rtol=1e-12, atol=0.0)
    nothing, zero = normalised(0.0 * matrix)
    assert zero == 0.0
    assert float(nothing.abs().max()) == 0.0
