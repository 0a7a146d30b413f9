"""The optimality system against differences of the Lagrangian."""

import math

import pytest
import torch
from torch import Tensor

from recovery_cases import draw
from tacit.recovery.adversary.optimality import (
    RankSystem,
    as_real,
    rank_system,
    refine,
)
from tacit.recovery.adversary.target import noise_target, solve_for_noise
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import hold_out

DTYPES = [torch.float64, torch.complex128]


def _program(
    generator: torch.Generator, dtype: torch.dtype, rank: int = 1
) -> NuclearProgram:
    problem = planted_problem(
        (6, 5), rank, num_measurements=26, noise=0.2, dtype=dtype, generator=generator
    )
    problem = hold_out(problem, 0.1, generator=generator)
    size = float(torch.linalg.vector_norm(problem.measurements))
    return NuclearProgram(problem=problem, noise_bound=0.15 * size)


def _rounded(matrix: Tensor, rank: int) -> Tensor:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vh[:rank]


def _lagrangian(program: NuclearProgram, multiplier: float, matrix: Tensor) -> float:
    problem = program.problem
    residual = problem.linear_map.apply(matrix) - problem.measurements
    square = float(torch.linalg.vector_norm(problem.weights * residual)) ** 2
    bound = program.noise_bound or 0.0
    nuclear = float(torch.linalg.svdvals(matrix).sum())
    return nuclear + multiplier / 2.0 * (square - bound * bound)


def _stationary(generator: torch.Generator, dtype: torch.dtype) -> RankSystem:
    """An optimum of rank two or more."""
    target = noise_target(_program(generator, dtype, rank=2).problem, 0.1)
    system = solve_for_noise(target, target.draw(generator)).system
    assert system is not None
    assert system.rank >= 2
    return system


@pytest.mark.parametrize("dtype", DTYPES)
def test_coordinates_are_orthonormal(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    program = _program(generator, dtype)
    system = rank_system(program, draw(generator, 6, 5, dtype=dtype), 2)
    size = 2 * (6 + 5 - 2)
    first, second = (
        draw(generator, size, dtype=dtype),
        draw(generator, size, dtype=dtype),
    )
    assert system.images.shape[1] == size
    torch.testing.assert_close(system.pull(system.push(first)), first)
    inside = (system.push(first).conj() * system.push(second)).sum()
    torch.testing.assert_close(inside, torch.vdot(first, second))
    image = program.problem.linear_map.apply(system.push(first))
    torch.testing.assert_close(system.images @ first, program.problem.weights * image)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_that_of_the_lagrangian(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    program = _program(generator, dtype)
    system = rank_system(program, draw(generator, 6, 5, dtype=dtype), 2, 0.7)
    tangent = draw(generator, 18, dtype=dtype)
    step = 1e-5 * system.push(tangent)
    plus, minus = (
        _lagrangian(program, 0.7, _rounded(system.matrix + sign * step, 2))
        for sign in (1.0, -1.0)
    )
    slope = float(system.gradient @ as_real(tangent))
    assert (plus - minus) / 2e-5 == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_second_derivative_at_a_stationary_point(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    system = _stationary(generator, dtype)
    h = system.matrix_of_system[:-1, :-1]
    torch.testing.assert_close(h, h.T)
    size = float(system.values[-1])
    rank = system.rank
    for _ in range(4):
        tangent = draw(generator, rank * (11 - rank), dtype=dtype)
        step = 1e-3 * size
        move = step * system.push(tangent)
        values = [
            _lagrangian(
                system.program,
                system.multiplier,
                _rounded(system.matrix + t * move, rank),
            )
            for t in (-2.0, -1.0, 0.0, 1.0, 2.0)
        ]
        weights = (-1.0, 16.0, -30.0, 16.0, -1.0)
        total = sum(w * v for w, v in zip(weights, values, strict=True))
        real = as_real(tangent)
        assert total / (12.0 * step * step) == pytest.approx(
            float(real @ h @ real), rel=1e-5
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_refined_point_satisfies_the_conditions(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    system = _stationary(generator, dtype)
    program = system.program
    residual = program.problem.weights * (
        program.problem.linear_map.apply(system.matrix) - program.problem.measurements
    )
    bound = program.noise_bound or math.nan
    assert float(torch.linalg.vector_norm(residual)) == pytest.approx(bound, rel=1e-9)
    back = program.problem.linear_map.adjoint_apply(system.dual)
    u, _, vh = torch.linalg.svd(system.matrix)
    turned = u.mH @ back @ vh.mH
    expected = torch.zeros_like(turned)
    rank = system.rank
    expected[:rank, :rank] = torch.eye(rank, dtype=dtype)
    expected[rank:, rank:] = turned[rank:, rank:]
    torch.testing.assert_close(turned, expected, rtol=0.0, atol=1e-9)
    assert system.normal_norm == pytest.approx(
        float(torch.linalg.svdvals(turned[rank:, rank:])[0])
    )


def test_hopeless_start_is_refused(generator: torch.Generator) -> None:
    program = _program(generator, torch.float64)
    far = 1e6 * draw(generator, 6, 5)
    assert refine(program, far, 3, 1e-9, max_steps=3) is None


def test_full_rank_leaves_no_normal_part(generator: torch.Generator) -> None:
    program = _program(generator, torch.float64)
    system = rank_system(program, draw(generator, 6, 5), 5)
    assert system.normal_norm == 0.0
    assert system.images.shape[1] == 30
