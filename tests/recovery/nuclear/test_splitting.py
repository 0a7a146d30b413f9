"""Douglas-Rachford against CVXPY, closed forms, and bounds recomputed densely."""

import math
import warnings
from dataclasses import replace
from typing import Any

import cvxpy
import pytest
import torch

from recovery_cases import MAPS, dense_matrix, draw, some_entries
from tacit.errors import InputError, Status
from tacit.iterate import Solution, iterate
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.rank_one import rank_one_map
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.splitting import DouglasRachford, SplittingState
from tacit.recovery.problem import RecoveryProblem, hold_out

COMPLEX = torch.complex128


def _planted(
    linear_map: AbstractLinearMap,
    generator: torch.Generator,
    *,
    noise: float,
    is_symmetric: bool = False,
) -> RecoveryProblem:
    """Rank one, with noise of a part of the measurements' size."""
    rows, columns = linear_map.in_shape
    dtype = linear_map.spec.dtype
    left = draw(generator, rows, 1, dtype=dtype)
    right = left if is_symmetric else draw(generator, columns, 1, dtype=dtype)
    clean = linear_map.apply_factors(left, right)
    error = draw(generator, clean.shape[0], dtype=dtype)
    scale = noise * torch.linalg.vector_norm(clean) / torch.linalg.vector_norm(error)
    return RecoveryProblem(
        linear_map=linear_map,
        measurements=clean + scale * error,
        is_symmetric=is_symmetric,
    )


def _cvxpy_value(program: NuclearProgram) -> float:
    problem = program.problem
    rows, columns = problem.linear_map.in_shape
    matrix = dense_matrix(problem.linear_map).resolve_conj().numpy()
    is_complex = problem.measurements.is_complex()
    unknown: Any
    if problem.is_symmetric:
        unknown = cvxpy.Variable(
            (rows, rows), hermitian=is_complex, symmetric=not is_complex
        )
        trace: Any = cvxpy.trace(unknown)
        norm: Any = cvxpy.real(trace) if is_complex else trace
        constraints: list[Any] = [unknown >> 0]
    else:
        unknown = cvxpy.Variable((rows, columns), complex=is_complex)
        norm, constraints = cvxpy.normNuc(unknown), []
    kept = problem.weights.numpy() > 0.0
    y = problem.measurements.resolve_conj().numpy()[kept]
    residual: Any = matrix[kept] @ cvxpy.vec(unknown, order="C") - y
    if program.penalty is not None:
        objective = 0.5 * cvxpy.sum_squares(residual) + program.penalty * norm
    elif program.noise_bound == 0.0:
        objective, constraints = norm, [*constraints, residual == 0]
    else:
        objective = norm
        constraints = [*constraints, cvxpy.norm(residual) <= program.noise_bound]
    asked: Any = cvxpy.Problem(cvxpy.Minimize(objective), constraints)
    with warnings.catch_warnings():
        # It misses its 1e-8 at times; what it reached is compared to 2e-6.
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        asked.solve(solver=cvxpy.CLARABEL)
    return float(asked.value)


def _solved(program: NuclearProgram) -> Solution[SplittingState]:
    return iterate(program, DouglasRachford(rtol=1e-7), None, max_steps=4000)


def _dense_bounds(
    program: NuclearProgram, state: SplittingState
) -> tuple[float, float]:
    """Value of the feasible point and of the scaled dual, from their definitions."""
    problem = program.problem
    matrix = dense_matrix(problem.linear_map)
    kept = problem.weights > 0.0
    residual = (matrix @ state.feasible.flatten() - problem.measurements)[kept]
    size = float(torch.linalg.vector_norm(residual))
    image = (matrix.mH @ state.dual).reshape(problem.linear_map.in_shape)
    if problem.is_symmetric:
        norm = float(torch.linalg.eigvalsh((image + image.mH) / 2.0)[-1])
    else:
        norm = float(torch.linalg.svdvals(image)[0])
    nuclear = float(torch.linalg.svdvals(state.feasible).sum())
    limit = 1.0 if program.penalty is None else program.penalty
    q = state.dual * min(1.0, limit / norm)
    linear = float(torch.vdot(q, problem.measurements).real)
    length = float(torch.linalg.vector_norm(q))
    if program.noise_bound is not None:
        scale = float(torch.linalg.vector_norm(problem.measurements))
        assert size <= program.noise_bound + 1e-6 * scale
        return linear - program.noise_bound * length, nuclear
    return linear - length**2 / 2.0, size**2 / 2.0 + limit * nuclear


CASES = {
    "real": ("gaussian", False),
    "complex": ("rank one complex", False),
    "convolution": ("convolution complex", False),
    "symmetric": ("gaussian symmetric", True),
    "hermitian": ("quadratic complex", True),
}


@pytest.mark.parametrize("form", ["exact", "noise", "penalty"])
@pytest.mark.parametrize("is_held_out", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_value_is_that_of_cvxpy(
    case: str, is_held_out: bool, form: str, generator: torch.Generator
) -> None:
    name, is_symmetric = CASES[case]
    linear_map = MAPS[name](generator)
    noise = 0.0 if form == "exact" else 0.1
    problem = _planted(linear_map, generator, noise=noise, is_symmetric=is_symmetric)
    if is_held_out:
        problem = hold_out(problem, 0.2, generator=generator)
    y = problem.weights * problem.measurements
    program = NuclearProgram(
        problem=problem,
        noise_bound=None
        if form == "penalty"
        else 1.3 * noise * float(torch.linalg.vector_norm(problem.measurements)),
        penalty=0.1 * float(torch.linalg.matrix_norm(linear_map.adjoint_apply(y), 2))
        if form == "penalty"
        else None,
    )
    solution = _solved(program)
    assert solution.status is Status.CONVERGED
    lower, upper = _dense_bounds(program, solution.state)
    assert upper - lower <= 1e-5 * upper
    expected = _cvxpy_value(program)
    assert solution.state.value == pytest.approx(expected, rel=2e-6)
    assert lower == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_some_entries(noise: float, generator: torch.Generator) -> None:
    entries = some_entries(generator, (7, 6), 30)
    problem = _planted(entries, generator, noise=noise)
    bound = noise * float(torch.linalg.vector_norm(problem.measurements))
    program = NuclearProgram(problem=problem, noise_bound=bound)
    solution = _solved(program)
    assert solution.status is Status.CONVERGED
    assert solution.state.value == pytest.approx(_cvxpy_value(program), rel=2e-6)


def _identity(dtype: torch.dtype) -> StoredMap:
    return StoredMap(matrix=torch.eye(20, dtype=dtype), shape=(5, 4))


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_penalised_identity_is_soft_thresholding(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    matrix = draw(generator, 5, 4, dtype=dtype)
    problem = RecoveryProblem(
        linear_map=_identity(dtype), measurements=matrix.flatten()
    )
    solution = _solved(NuclearProgram(problem=problem, penalty=0.8))
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    expected = (u * (s - 0.8).clamp_min(0.0)) @ vh
    state = solution.state
    assert solution.status is Status.CONVERGED
    # The loss is strongly convex: a gap of 1e-7 leaves its square root to the point.
    torch.testing.assert_close(
        state.left @ state.right.mH, expected, rtol=0.0, atol=2e-3
    )


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_identity_with_noise_clips_what_the_bound_allows(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    matrix = draw(generator, 5, 4, dtype=dtype)
    s = torch.linalg.svdvals(matrix)
    level = 0.5 * float(s[-1])  # every singular value is lowered by this
    problem = RecoveryProblem(
        linear_map=_identity(dtype), measurements=matrix.flatten()
    )
    solution = _solved(NuclearProgram(problem=problem, noise_bound=level * 2.0))
    assert solution.status is Status.CONVERGED
    assert solution.state.value == pytest.approx(float((s - level).sum()), rel=1e-6)


@pytest.mark.parametrize("is_symmetric", [False, True])
def test_a_bound_above_the_measurements_gives_zero(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    linear_map = rank_one_map((5, 5), 20, generator=generator, dtype=COMPLEX)
    problem = _planted(linear_map, generator, noise=0.1)
    problem = replace(problem, is_symmetric=is_symmetric)
    bound = 1.01 * float(torch.linalg.vector_norm(problem.measurements))
    solution = _solved(NuclearProgram(problem=problem, noise_bound=bound))
    assert solution.status is Status.CONVERGED
    assert solution.state.value == 0.0
    assert solution.state.left.shape == (5, 0)
    assert not bool(solution.state.feasible.any())


def test_a_penalty_above_the_data_gives_zero(generator: torch.Generator) -> None:
    problem = _planted(
        gaussian_map((5, 4), 15, generator=generator), generator, noise=0.1
    )
    image = problem.linear_map.adjoint_apply(problem.measurements)
    penalty = 1.05 * float(torch.linalg.matrix_norm(image, 2))
    solution = _solved(NuclearProgram(problem=problem, penalty=penalty))
    assert solution.status is Status.CONVERGED
    assert solution.state.left.shape[1] == 0
    size = float(torch.linalg.vector_norm(problem.measurements))
    assert solution.state.value == pytest.approx(size**2 / 2.0, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_unit_of_the_measurements_changes_nothing(
    scale: float, noise: float, generator: torch.Generator
) -> None:
    linear_map = rank_one_map((6, 6), 40, generator=generator, dtype=COMPLEX)
    problem = _planted(linear_map, generator, noise=noise)
    bound = noise * float(torch.linalg.vector_norm(problem.measurements))
    one = _solved(NuclearProgram(problem=problem, noise_bound=bound))
    scaled = replace(problem, measurements=scale * problem.measurements)
    other = _solved(NuclearProgram(problem=scaled, noise_bound=scale * bound))
    assert abs(one.num_steps - other.num_steps) <= 12
    assert other.state.value == pytest.approx(scale * one.state.value, rel=1e-6)


def test_what_nothing_fits_ends_without_a_claim() -> None:
    # A diagonal entry of a semidefinite matrix is never -1.
    entry = StoredMap(matrix=torch.eye(4, dtype=torch.float64)[:1], shape=(2, 2))
    problem = RecoveryProblem(
        linear_map=entry,
        measurements=-torch.ones(1, dtype=torch.float64),
        is_symmetric=True,
    )
    solution = _solved(NuclearProgram(problem=problem, noise_bound=0.5))
    assert solution.status is not Status.CONVERGED
    assert solution.state.relative_gap > 1e-3


def test_exact_rank_one_recovery(generator: torch.Generator) -> None:
    linear_map = rank_one_map((12, 12), 130, generator=generator, dtype=COMPLEX)
    problem = _planted(linear_map, generator, noise=0.0)
    solution = _solved(NuclearProgram(problem=problem, noise_bound=0.0))
    state = solution.state
    assert state.left.shape == (12, 1)
    assert solution.num_steps <= 120
    image = linear_map.apply_factors(state.left, state.right)
    error = torch.linalg.vector_norm(image - problem.measurements)
    assert float(error) <= 1e-5 * float(torch.linalg.vector_norm(problem.measurements))


def test_more_measurements_than_entries(generator: torch.Generator) -> None:
    linear_map = gaussian_map((4, 3), 30, generator=generator)
    problem = _planted(linear_map, generator, noise=0.0)
    solution = _solved(NuclearProgram(problem=problem, noise_bound=0.0))
    assert solution.status is Status.CONVERGED
    program = NuclearProgram(
        problem=_planted(linear_map, generator, noise=0.3), noise_bound=0.0
    )
    with pytest.raises(InputError, match="the noise bound must be at least"):
        _solved(program)


def test_steps_do_not_change_their_state(generator: torch.Generator) -> None:
    linear_map = rank_one_map((5, 5), 25, generator=generator)
    problem = _planted(linear_map, generator, noise=0.1)
    program = NuclearProgram(problem=problem, noise_bound=0.5)
    solver = DouglasRachford()
    state = solver.init(program, None)
    for _ in range(15):
        state = solver.step(program, state)
    first, second = solver.step(program, state), solver.step(program, state)
    assert bool((first.point == second.point).all())
    assert first.value == second.value


def test_a_start_sets_the_scale_of_the_first_step(generator: torch.Generator) -> None:
    problem = _planted(
        rank_one_map((5, 5), 25, generator=generator), generator, noise=0.1
    )
    program = NuclearProgram(problem=problem, noise_bound=0.5)
    left = draw(generator, 5, 2)
    sizes = [
        DouglasRachford().init(program, (c * left, left)).step_size for c in (1.0, 3.0)
    ]
    assert sizes[1] == pytest.approx(3.0 * sizes[0], rel=1e-12)


@pytest.mark.parametrize("rtol", [0.0, 1.0, math.nan])
def test_an_impossible_accuracy_is_refused(rtol: float) -> None:
    with pytest.raises(InputError, match="rtol must be in"):
        DouglasRachford(rtol=rtol)


def test_checks_too_rare_to_happen_are_refused() -> None:
    with pytest.raises(InputError, match="check_every"):
        DouglasRachford(check_every=0)
