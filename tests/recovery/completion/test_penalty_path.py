"""The choice of the penalty."""

import math

import pytest
import torch

from tacit.errors import InputError, Status
from tacit.recovery.completion.penalty_path import penalty_path
from tacit.recovery.completion.soft_impute import SoftImputeState, soft_impute
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem, hold_out


def noisy(generator: torch.Generator) -> RecoveryProblem:
    problem = planted_completion(
        (60, 50), 2, oversampling=4.0, noise=0.2, generator=generator
    )
    return hold_out(problem, 0.2, generator=generator)


def test_the_best_of_a_fine_grid_is_hardly_better(generator: torch.Generator) -> None:
    problem = noisy(generator)
    path = penalty_path(problem, generator=generator)
    back = problem.linear_map.adjoint_apply(problem.weights * problem.measurements)
    largest = float(torch.linalg.matrix_norm(back, 2))
    errors = [
        soft_impute(
            problem, largest * 0.85**k, generator=generator, gap_rtol=1e-4
        ).state.held_out_error
        for k in range(1, 25)
    ]
    assert path.best.held_out_error < 1.01 * min(errors)
    assert path.best.held_out_error == min(error for _, error, _ in path.errors)
    assert 0.0 < path.penalty < largest


def test_counts_are_those_of_all_penalties(generator: torch.Generator) -> None:
    seen: list[SoftImputeState] = []
    problem = noisy(generator)
    path = penalty_path(
        problem, generator=generator, observers=[lambda _, state: seen.append(state)]
    )
    assert path.num_steps == len(seen)
    assert path.num_passes > path.num_steps
    penalties = [penalty for penalty, _, _ in path.errors]
    # Downwards by one factor; then two or three between or beside those tried.
    descent = [penalties[0] * 0.4**k for k in range(len(penalties))]
    num_down = sum(math.isclose(*pair) for pair in zip(penalties, descent, strict=True))
    assert penalties[:num_down] == pytest.approx(descent[:num_down])
    assert len(penalties) - num_down in (2, 3)
    assert path.status is Status.CONVERGED


def test_an_interruption_ends_the_path(generator: torch.Generator) -> None:
    def interrupt(_: int, state: SoftImputeState) -> None:
        raise KeyboardInterrupt

    path = penalty_path(noisy(generator), generator=generator, observers=[interrupt])
    assert path.status is Status.INTERRUPTED
    assert len(path.errors) == 1


def test_nothing_held_out_is_refused(generator: torch.Generator) -> None:
    problem = planted_completion((8, 6), 1, oversampling=2.0, generator=generator)
    with pytest.raises(InputError, match="held out to choose by"):
        penalty_path(problem, generator=generator)
