"""Conjugate gradients: descent, convergence, and agreement with independent answers."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tacit.errors import InputError, Status
from tacit.iterate import iterate
from tacit.recovery.descent.conjugate import ConjugateGradients, ConjugateState
from tacit.recovery.maps.rank_one import rank_one_map
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.start import spectral_start


def _error(problem: RecoveryProblem, state: ConjugateState) -> float:
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    difference = state.left @ state.right.mH - truth
    norm = torch.linalg.matrix_norm
    return float(norm(difference) / norm(truth))


@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("condition_number", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("num_extra", [0, 6])
def test_six_digits_within_thirty_five_steps(
    is_symmetric: bool,
    condition_number: float,
    num_extra: int,
    generator: torch.Generator,
) -> None:
    shape = (40, 40) if is_symmetric else (40, 30)
    problem = planted_problem(
        shape,
        3,
        oversampling=6.0,
        condition_number=condition_number,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    start = spectral_start(problem, 3 + num_extra, generator=generator)
    solution = iterate(problem, ConjugateGradients(rtol=3e-7), start, max_steps=35)
    assert solution.status is Status.CONVERGED
    assert _error(problem, solution.state) < 1e-6


def _complex_problem(generator: torch.Generator, kind: str) -> RecoveryProblem:
    if kind == "phase retrieval":
        linear_map = rank_one_map(
            (12, 12),
            120,
            generator=generator,
            is_symmetric=True,
            dtype=torch.complex128,
        )
        return planted_problem(
            (12, 12), 1, linear_map=linear_map, is_symmetric=True, generator=generator
        )
    linear_map = gaussian_map((9, 7), 120, generator=generator, dtype=torch.complex128)
    return planted_problem((9, 7), 2, linear_map=linear_map, generator=generator)


@pytest.mark.parametrize("kind", ["phase retrieval", "rectangular"])
def test_complex_problems(kind: str, generator: torch.Generator) -> None:
    problem = _complex_problem(generator, kind)
    rank = 1 if kind == "phase retrieval" else 2
    start = spectral_start(problem, rank, generator=generator)
    solution = iterate(problem, ConjugateGradients(), start, max_steps=200)
    assert solution.status is Status.CONVERGED
    assert _error(problem, solution.state) < 1e-7


def test_completion(generator: torch.Generator) -> None:
    problem = planted_completion((60, 50), 3, oversampling=4.0, generator=generator)
    start = spectral_start(problem, 3, generator=generator)
    solution = iterate(problem, ConjugateGradients(), start, max_steps=300)
    assert solution.status is Status.CONVERGED
    assert _error(problem, solution.state) < 1e-7


def _dense_twin(problem: RecoveryProblem) -> RecoveryProblem:
    """The same problem with its map as a full stored matrix."""
    rows, columns = problem.linear_map.in_shape
    size = rows * columns
    units = torch.eye(size, dtype=problem.measurements.dtype)
    matrix = problem.linear_map.apply(units.unflatten(-1, (rows, columns)))
    return RecoveryProblem(
        linear_map=StoredMap(matrix=matrix.T.contiguous(), shape=(rows, columns)),
        measurements=problem.measurements,
        is_symmetric=problem.is_symmetric,
        held_out=problem.held_out,
    )


def test_carried_gradients_and_fresh_ones_give_the_same_run(
    generator: torch.Generator,
) -> None:
    # A stored map carries the gradient along; entries compute it at every point.
    sparse = planted_completion((14, 11), 2, oversampling=3.0, generator=generator)
    sparse = hold_out(sparse, 0.1, generator=generator)
    start = spectral_start(sparse, 2, generator=generator)
    states = [
        iterate(problem, ConjugateGradients(rtol=0.0), start, max_steps=25).state
        for problem in (sparse, _dense_twin(sparse))
    ]
    first, second = (state.left @ state.right.mH for state in states)
    assert torch.allclose(first, second, rtol=1e-6, atol=1e-9)
    assert states[0].held_out_error == pytest.approx(states[1].held_out_error, rel=1e-5)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_with_noise_it_ends_where_a_general_optimiser_ends(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    shape = (7, 7) if is_symmetric else (7, 5)
    problem = planted_problem(
        shape,
        2,
        oversampling=3.0,
        noise=0.2,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    left, right = spectral_start(problem, 2, generator=generator)
    solution = iterate(problem, ConjugateGradients(), (left, right), max_steps=300)
    assert solution.status is Status.CONVERGED
    rows, columns = shape
    matrix = problem.linear_map.apply(
        torch.eye(rows * columns, dtype=torch.float64).unflatten(-1, shape)
    ).T.numpy()
    data = problem.measurements.numpy()

    def loss(flat: np.ndarray) -> float:
        u = flat[: 2 * rows].reshape(rows, 2)
        v = u if is_symmetric else flat[2 * rows :].reshape(columns, 2)
        residual = matrix @ (u @ v.T).ravel() - data
        return 0.5 * float(residual @ residual)

    first = left if is_symmetric else torch.cat([left, right])
    found = minimize(loss, first.numpy().ravel(), method="BFGS", options={"gtol": 1e-9})
    assert solution.state.value == pytest.approx(float(found.fun), rel=1e-6)


def test_every_step_lowers_the_loss(generator: torch.Generator) -> None:
    problem = planted_problem(
        (20, 15), 2, oversampling=2.0, condition_number=30.0, generator=generator
    )
    start = spectral_start(problem, 4, generator=generator)
    history = iterate(problem, ConjugateGradients(), start, max_steps=60).history
    assert all(b <= a * (1.0 + 1e-12) for a, b in pairwise(history))


def test_the_state_is_that_of_its_point(generator: torch.Generator) -> None:
    problem = planted_problem((15, 12), 2, oversampling=3.0, generator=generator)
    problem = hold_out(problem, 0.2, generator=generator)
    start = spectral_start(problem, 2, generator=generator)
    state = iterate(problem, ConjugateGradients(), start, max_steps=9).state
    matrix = state.left @ state.right.mH
    residual = problem.linear_map.apply(matrix) - problem.measurements
    assert torch.allclose(state.residual, residual, atol=1e-12)
    fitted, held = problem.weights == 1.0, problem.weights == 0.0
    norm, y = torch.linalg.vector_norm, problem.measurements
    train = float(norm(residual[fitted]) / norm(y[fitted]))
    held_out = float(norm(residual[held]) / norm(y[held]))
    assert state.train_error == pytest.approx(train, rel=1e-9)
    assert state.held_out_error == pytest.approx(held_out, rel=1e-9)
    assert state.value == pytest.approx(0.5 * float(norm(residual[fitted]) ** 2))


def test_measurements_held_out_have_no_influence(generator: torch.Generator) -> None:
    problem = planted_problem((15, 12), 2, oversampling=3.0, generator=generator)
    problem = hold_out(problem, 0.2, generator=generator)
    changed = RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=torch.where(problem.weights == 0.0, 1e6, problem.measurements),
        held_out=problem.held_out,
    )
    start = spectral_start(problem, 2, generator=generator)
    first, second = (
        iterate(p, ConjugateGradients(), start, max_steps=10).state
        for p in (problem, changed)
    )
    assert torch.equal(first.left, second.left)


def test_nothing_held_out_is_said_by_nan(generator: torch.Generator) -> None:
    problem = planted_problem((8, 6), 1, oversampling=3.0, generator=generator)
    start = spectral_start(problem, 1, generator=generator)
    assert math.isnan(ConjugateGradients().init(problem, start).held_out_error)


def test_a_stored_matrix_is_read_once_a_step(generator: torch.Generator) -> None:
    problem = planted_problem((20, 15), 2, oversampling=5.0, generator=generator)
    start = spectral_start(problem, 2, generator=generator)
    solution = iterate(problem, ConjugateGradients(), start, max_steps=50)
    # One pass at the start, one for each step, and one refresh on the way to 1e-9.
    assert solution.state.num_passes <= solution.num_steps + 3


def test_single_precision_reaches_its_own_floor(generator: torch.Generator) -> None:
    problem = planted_problem(
        (20, 15), 2, oversampling=5.0, dtype=torch.float32, generator=generator
    )
    start = spectral_start(problem, 2, generator=generator)
    solution = iterate(problem, ConjugateGradients(rtol=3e-6), start, max_steps=60)
    assert solution.status is Status.CONVERGED


def test_a_critical_start_is_not_left(generator: torch.Generator) -> None:
    problem = planted_problem((8, 6), 1, oversampling=3.0, generator=generator)
    zero = (
        torch.zeros(8, 1, dtype=torch.float64),
        torch.zeros(6, 1, dtype=torch.float64),
    )
    solution = iterate(problem, ConjugateGradients(), zero, max_steps=50)
    assert solution.status is Status.CONVERGED  # no gradient: rank_search looks further
    assert solution.state.train_error == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["rtol", "decrement_rtol", "damping"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_options_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        ConjugateGradients(**{name: value})
