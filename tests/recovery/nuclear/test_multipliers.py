"""The multiplier: found, and nothing runs away on the way to it."""

import pytest
import torch

from nuclear_cases import optimum, small_program
from tacit.errors import Status
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.nuclear.multipliers import relative_gap, solve_factored
from tacit.recovery.nuclear.penalised import Fit, Search, leading_part, size_of
from tacit.recovery.nuclear.program import NuclearProgram


def search_of(program: NuclearProgram, generator: torch.Generator) -> Search:
    return Search(problem=program.problem, generator=generator, max_steps=3000)


@pytest.mark.parametrize("form", ["little noise", "much noise"])
@pytest.mark.parametrize("kind", ["rectangular", "complex"])
def test_the_residual_fills_the_ball_and_stays_inside(
    kind: str, form: str, generator: torch.Generator
) -> None:
    program = small_program(kind, form, 7)
    found = solve_factored(search_of(program, generator), program, rtol=1e-6)
    size = size_of(program.problem, program.residual(found.left, found.right))
    bound = program.noise_bound or 0.0
    assert bound * (1.0 - 2e-3) <= size <= bound * (1.0 + 1e-12)
    assert found.status is Status.CONVERGED
    assert found.gap <= 1e-6


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-3])
def test_the_penalty_does_not_run_away(
    noise: float, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(10, 10, 80, generator=generator)
    size = float(torch.linalg.vector_norm(problem.measurements))
    program = NuclearProgram(problem=problem, noise_bound=noise * size)
    found = solve_factored(search_of(program, generator), program, rtol=1e-6)
    top, _, _ = leading_part(problem, problem.measurements, 1, generator)
    assert found.gap <= 1e-6
    # For exact data the penalty stays in sight of the data, else of the noise.
    scale = float(top[0]) if noise == 0.0 else noise * size
    assert 1e-4 * scale <= found.penalty <= scale


def test_the_gap_is_that_of_the_definition(generator: torch.Generator) -> None:
    program = small_program("rectangular", "much noise", 7)
    expected = optimum(program)
    assert expected is not None
    left, values, right = torch.linalg.svd(expected.matrix, full_matrices=False)
    problem, root = program.problem, values.sqrt()
    residual = problem.linear_map.apply(expected.matrix) - problem.measurements
    fit = Fit(
        left=left * root,
        right=right.mH * root,
        residual=residual,
        size=size_of(problem, residual),
        penalty=1.0,
        gain=1.0,
        status=Status.MAX_STEPS,
        num_steps=0,
        num_passes=0,
    )
    search = search_of(program, generator)
    assert relative_gap(search, program, fit, expected.dual) < 1e-5
    half = relative_gap(search, program, fit, 0.5 * expected.dual)
    assert half < 1e-5  # in this form any multiple of a dual vector will do
    spoiled = expected.dual + 0.1 * torch.linalg.vector_norm(expected.dual) * (
        torch.ones_like(expected.dual) / len(expected.dual) ** 0.5
    )
    matrix = problem.linear_map.adjoint_apply(spoiled)
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    inner = float(torch.dot(spoiled, problem.measurements))
    size = float(torch.linalg.vector_norm(spoiled))
    lower = (inner - (program.noise_bound or 0.0) * size) / norm
    upper = float(values.sum())
    gap = relative_gap(search, program, fit, spoiled)
    assert gap == pytest.approx((upper - lower) / upper, rel=1e-6)
