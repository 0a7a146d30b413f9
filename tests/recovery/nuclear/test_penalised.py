"""Factors with a penalty: optimal for it, and as wide as they must be."""

import pytest
import torch

from nuclear_cases import optimum, small_program
from tacit.errors import Status
from tacit.recovery.nuclear.penalised import (
    Fit,
    Search,
    first_fit,
    improve,
    leading_part,
    size_of,
)
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import RecoveryProblem


def search_of(problem: RecoveryProblem, generator: torch.Generator) -> Search:
    return Search(problem=problem, generator=generator, max_steps=2000)


def objective(program: NuclearProgram, fit: Fit) -> float:
    norm = float(torch.linalg.svdvals(fit.left @ fit.right.mH).sum())
    return program.value(norm, program.residual(fit.left, fit.right))


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("kind", ["rectangular", "complex", "symmetric", "hermitian"])
def test_the_width_at_the_start_does_not_matter(
    kind: str, width: int, generator: torch.Generator
) -> None:
    program = small_program(kind, "penalty", 2)
    search, penalty = search_of(program.problem, generator), program.penalty or 0.0
    fit = improve(search, first_fit(search, penalty, width), penalty, accuracy=1e-7)
    expected = optimum(program)
    assert expected is not None
    assert objective(program, fit) == pytest.approx(expected.value, rel=1e-6)
    values, _, _ = leading_part(
        program.problem, program.problem.weights * -fit.residual, 1, generator
    )
    assert float(values[0]) <= penalty * (1.0 + 1e-5)


def test_without_new_columns_a_narrow_fit_stays_behind(
    generator: torch.Generator,
) -> None:
    program = small_program("rectangular", "penalty", 2)
    search, penalty = search_of(program.problem, generator), program.penalty or 0.0
    start = first_fit(search, penalty, 1)
    narrow = improve(search, start, penalty, accuracy=1e-7, is_widened=False)
    wide = improve(search, start, penalty, accuracy=1e-7)
    assert narrow.rank == 1 < wide.rank
    assert objective(program, narrow) > objective(program, wide) * (1.0 + 1e-6)


def test_a_penalty_above_the_norm_leaves_nothing(generator: torch.Generator) -> None:
    program = small_program("rectangular", "big penalty", 2)
    search, penalty = search_of(program.problem, generator), program.penalty or 0.0
    fit = improve(search, first_fit(search, penalty, 3), penalty, accuracy=1e-7)
    assert float(torch.linalg.matrix_norm(fit.left @ fit.right.mH)) < 1e-10


def test_factors_are_balanced_and_the_residual_is_theirs(
    generator: torch.Generator,
) -> None:
    program = small_program("complex", "penalty", 4, part_held_out=0.2)
    search, penalty = search_of(program.problem, generator), program.penalty or 0.0
    fit = improve(search, first_fit(search, penalty, 3), penalty, accuracy=1e-3)
    assert torch.allclose(fit.left.mH @ fit.left, fit.right.mH @ fit.right, atol=1e-12)
    residual = program.residual(fit.left, fit.right)
    assert torch.allclose(program.problem.weights * fit.residual, residual, atol=1e-10)
    assert fit.size == pytest.approx(size_of(program.problem, residual))


def test_an_observer_sees_steps_and_may_end_them(generator: torch.Generator) -> None:
    program = small_program("rectangular", "penalty", 2)
    penalty, steps = program.penalty or 0.0, [0]
    search = Search(
        problem=program.problem,
        generator=generator,
        max_steps=2000,
        observers=(lambda step, state: steps.append(step),),
    )

    def stop(step: int, state: object) -> Status | None:
        return Status.INTERRUPTED if step == 3 else None

    start = first_fit(search, penalty, 2)
    fit = improve(search, start, penalty, accuracy=1e-7, watch=stop)
    assert (fit.status, fit.num_steps, fit.is_cut) == (Status.INTERRUPTED, 3, True)
    assert steps == [0, 1, 2, 3]
