"""The fast way for general maps: planted matrices of every kind are found."""

import math

import pytest
import torch

from tacit.errors import Status
from tacit.iterate import Observer
from tacit.recovery.maps.rank_one import rank_one_map
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.rank_search import Fit, Search
from tacit.recovery.sensing import sense


def _error(problem: RecoveryProblem, fit: Fit) -> float:
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    norm = torch.linalg.matrix_norm
    return float(norm(fit.left @ fit.right.mH - truth) / norm(truth))


@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("condition_number", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("oversampling", [5.0, 2.0])
@pytest.mark.parametrize("search_rank", [None, 24])
def test_rank_and_matrix_are_found(
    is_symmetric: bool,
    condition_number: float,
    oversampling: float,
    search_rank: int | None,
    generator: torch.Generator,
) -> None:
    problem = planted_problem(
        (30, 30) if is_symmetric else (30, 24),
        3,
        oversampling=oversampling,
        condition_number=condition_number,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    answer = sense(
        Search(problem=problem, generator=generator), search_rank=search_rank
    )
    assert answer.fit.status is Status.CONVERGED
    assert answer.fit.rank == 3
    assert _error(problem, answer.fit) < 1e-7
    assert (answer.trajectory is not None) == ("small random start" in answer.method)
    if search_rank == 24:
        assert answer.choices["search_rank"] == 24.0
        assert answer.choices["init_scale"] < 1e-3


def test_conjugate_gradients_alone_would_lose_the_bias(
    generator: torch.Generator,
) -> None:
    # Why the small start is there: with full width and few measurements, conjugate
    # gradients explain everything by a matrix that is not the one planted.
    problem = planted_problem(
        (24, 24), 1, oversampling=4.0, is_symmetric=True, generator=generator
    )
    search = Search(problem=problem, generator=generator)
    from tacit.recovery.rank_search import fit_factors
    from tacit.recovery.start import small_start

    start = small_start(problem, 24, 1e-4, generator=generator)
    direct = fit_factors(search, *start)
    assert direct.train_error < 1e-6
    assert _error(problem, direct) > 0.1
    assert _error(problem, sense(search, search_rank=24).fit) < 1e-7


@pytest.mark.parametrize("has_held_out", [True, False])
@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_noise_is_not_fitted(
    has_held_out: bool, noise: float, generator: torch.Generator
) -> None:
    problem = planted_problem(
        (40, 30), 2, oversampling=6.0, noise=noise, generator=generator
    )
    if has_held_out:
        problem = hold_out(problem, 0.1, generator=generator)
    problem = RecoveryProblem(  # the level is not told
        linear_map=problem.linear_map,
        measurements=problem.measurements,
        held_out=problem.held_out,
        planted=problem.planted,
    )
    fit = sense(Search(problem=problem, generator=generator)).fit
    assert fit.rank == 2
    # Least squares at the true rank: noise spread over d of m measurements.
    assert _error(problem, fit) < 1.5 * noise * math.sqrt(1.0 / 6.0)


def test_phase_retrieval(generator: torch.Generator) -> None:
    linear_map = rank_one_map(
        (16, 16),
        160,
        generator=generator,
        is_symmetric=True,
        dtype=torch.complex128,
    )
    problem = planted_problem(
        (16, 16), 1, linear_map=linear_map, is_symmetric=True, generator=generator
    )
    assert float(problem.measurements.imag.abs().max()) < 1e-12
    answer = sense(Search(problem=problem, generator=generator), rank=1)
    assert answer.fit.train_error < 1e-8
    assert _error(problem, answer.fit) < 1e-6


def test_a_given_rank_is_kept(generator: torch.Generator) -> None:
    problem = planted_problem((20, 18), 3, oversampling=4.0, generator=generator)
    search = Search(problem=problem, generator=generator)
    exact = sense(search, rank=3)
    assert _error(problem, exact.fit) < 1e-7
    short = sense(search, rank=2)
    assert short.fit.rank == 2
    # What is lost is at least what the best approximation of that rank loses.
    assert _error(problem, short.fit) >= 1.0 / math.sqrt(3.0) - 1e-9


def test_a_bad_spectral_start_gets_a_second_chance(generator: torch.Generator) -> None:
    problem = planted_problem(
        (40, 40),
        4,
        oversampling=1.6,
        condition_number=30.0,
        is_symmetric=True,
        generator=generator,
    )
    answer = sense(Search(problem=problem, generator=generator), rank=4)
    assert _error(problem, answer.fit) < 1e-6


def _interrupt_at(count: int) -> Observer:
    seen = 0

    def observe(step: int, state: object) -> Status | None:
        nonlocal seen
        seen += 1
        if seen == count:
            raise KeyboardInterrupt
        return None

    return observe


@pytest.mark.parametrize("count", [1, 12, 45])
@pytest.mark.parametrize("search_rank", [None, 24])
def test_an_interruption_keeps_what_was_found(
    count: int, search_rank: int | None, generator: torch.Generator
) -> None:
    problem = planted_problem(
        (24, 24), 2, oversampling=3.0, noise=0.1, is_symmetric=True, generator=generator
    )
    search = Search(
        problem=problem, generator=generator, observers=[_interrupt_at(count)]
    )
    fit = sense(search, search_rank=search_rank).fit
    assert fit.status is Status.INTERRUPTED
    assert bool(torch.isfinite(fit.left).all())
    assert fit.num_steps <= count
    # The errors are those of the factors handed back.
    residual = problem.linear_map.apply(fit.left @ fit.right.mH) - problem.measurements
    norm = torch.linalg.vector_norm
    error = float(norm(residual) / norm(problem.measurements))
    assert fit.train_error == pytest.approx(error, rel=1e-6)


def test_single_precision(generator: torch.Generator) -> None:
    linear_map = gaussian_map((24, 20), 600, generator=generator, dtype=torch.float32)
    problem = planted_problem((24, 20), 2, linear_map=linear_map, generator=generator)
    answer = sense(Search(problem=problem, generator=generator, rtol=1e-5))
    assert answer.fit.rank == 2
    assert _error(problem, answer.fit) < 1e-4


def test_phases_are_announced(generator: torch.Generator) -> None:
    problem = planted_problem((20, 18), 2, oversampling=4.0, generator=generator)
    phases: list[str] = []
    sense(
        Search(problem=problem, generator=generator, on_phase=phases.append),
        search_rank=18,
    )
    assert phases[0] == "small random start with 18 columns"
    assert phases[-1].startswith("rank")
