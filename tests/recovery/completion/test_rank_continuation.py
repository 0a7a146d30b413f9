"""Rank continuation on planted matrices."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.recovery.completion.rank_continuation import (
    largest_rank,
    rank_continuation,
)
from tacit.recovery.descent.conjugate import ConjugateState
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.rank_search import Search


def error(problem: RecoveryProblem, left: Tensor, right: Tensor) -> float:
    """Relative error of the whole matrix."""
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    norm = torch.linalg.matrix_norm
    return float(norm(left @ right.mH - truth) / norm(truth))


@pytest.mark.parametrize("condition_number", [1.0, 10.0, 1e4])
def test_the_rank_is_found(generator: torch.Generator, condition_number: float) -> None:
    problem = planted_completion(
        (120, 90),
        4,
        oversampling=4.0,
        condition_number=condition_number,
        generator=generator,
    )
    phases: list[str] = []
    search = Search(problem=problem, generator=generator, on_phase=phases.append)
    found = rank_continuation(search)
    assert found.status is Status.CONVERGED
    assert found.rank == 4
    assert error(problem, found.left, found.right) < 1e-7
    ranks = [int(phase.removeprefix("rank ")) for phase in phases]
    assert ranks == list(range(ranks[0], 5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_symmetric_problems_keep_one_factor(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    problem = planted_completion(
        (80, 80),
        2,
        oversampling=5.0,
        condition_number=20.0,
        is_symmetric=True,
        dtype=dtype,
        generator=generator,
    )
    found = rank_continuation(Search(problem=problem, generator=generator))
    assert found.left is found.right
    assert found.rank == 2
    assert error(problem, found.left, found.right) < 1e-7


@pytest.mark.parametrize("has_validation", [True, False])
def test_noise_is_not_fitted(generator: torch.Generator, has_validation: bool) -> None:
    problem = planted_completion(
        (120, 90), 3, oversampling=5.0, noise=0.1, generator=generator
    )
    problem = replace(problem, noise_level=None)
    if has_validation:
        problem = hold_out(problem, 0.1, generator=generator)
    search = Search(problem=problem, generator=generator, validation=problem.held_out)
    found = rank_continuation(search)
    assert found.rank == 3
    assert error(problem, found.left, found.right) < 0.1


def test_the_residual_is_that_of_the_factors(generator: torch.Generator) -> None:
    problem = planted_completion(
        (40, 30), 2, oversampling=4.0, noise=0.1, generator=generator
    )
    seen: list[ConjugateState] = []
    search = Search(
        problem=problem,
        generator=generator,
        observers=[lambda _, state: seen.append(state)],
    )
    found = rank_continuation(search, rank=2)
    product = problem.linear_map.apply_factors(found.left, found.right)
    torch.testing.assert_close(found.residual, product - problem.measurements)
    assert found.num_steps == len(seen)
    assert found.num_passes > found.num_steps


def test_the_rank_is_limited(generator: torch.Generator) -> None:
    problem = planted_completion((60, 50), 4, oversampling=4.0, generator=generator)
    search = Search(problem=problem, generator=generator)
    found = rank_continuation(search, rank=2)
    assert found.rank == 2
    # The best approximation of rank 2 of four equal singular values misses half.
    assert 0.3 < found.train_error < 0.8


def test_an_interruption_keeps_what_was_found(generator: torch.Generator) -> None:
    def interrupt(step: int, state: ConjugateState) -> None:
        if state.left.shape[-1] == 2:
            raise KeyboardInterrupt

    problem = planted_completion(
        (60, 50), 3, oversampling=4.0, condition_number=100.0, generator=generator
    )
    found = rank_continuation(
        Search(problem=problem, generator=generator, observers=[interrupt])
    )
    assert found.status is Status.INTERRUPTED
    assert found.train_error < 1.0


def test_the_largest_rank_leaves_more_entries_than_unknowns(
    generator: torch.Generator,
) -> None:
    problem = planted_completion((30, 20), 1, num_measurements=200, generator=generator)
    most = largest_rank(problem)
    assert most * (50 - most) <= 200 < (most + 1) * (50 - most - 1)
    assert largest_rank(problem, 7) == 7
    with pytest.raises(InputError, match=r"1\.\.min.* = 20; got 21"):
        largest_rank(problem, 21)
