"""What a programme is, and what it is not."""

import math

import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out


def test_value_and_residual_are_those_of_the_formulas(
    generator: torch.Generator,
) -> None:
    problem = planted_problem((6, 5), 1, oversampling=3.0, generator=generator)
    problem = hold_out(problem, 0.3, generator=generator)
    truth = problem.planted
    assert truth is not None
    program = NuclearProgram(problem=problem, penalty=0.5)
    residual = program.residual(2.0 * truth.left, truth.right)
    kept = problem.weights * problem.measurements
    assert torch.allclose(residual, kept)
    expected = float(kept.square().sum()) / 2.0 + 0.5 * 3.0
    assert program.value(3.0, residual) == pytest.approx(expected)
    assert NuclearProgram(problem=problem, noise_bound=0.0).value(3.0, residual) == 3.0


@pytest.mark.parametrize(
    ("noise_bound", "penalty"),
    [
        *((None, None), (1.0, 1.0), (-1.0, None), (math.inf, None), (math.nan, None)),
        *((None, 0.0), (None, -1.0), (None, math.inf), (None, math.nan)),
    ],
)
def test_numbers_out_of_range_are_refused(
    noise_bound: float | None, penalty: float | None, generator: torch.Generator
) -> None:
    problem = planted_problem((6, 5), 1, oversampling=3.0, generator=generator)
    with pytest.raises(InputError):
        NuclearProgram(problem=problem, noise_bound=noise_bound, penalty=penalty)


def test_a_batch_is_refused(generator: torch.Generator) -> None:
    problem = planted_problem((6, 5), 1, oversampling=3.0, generator=generator)
    batch = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements.expand(2, -1)
    )
    with pytest.raises(ShapeError, match="batch"):
        NuclearProgram(problem=batch, noise_bound=0.0)
