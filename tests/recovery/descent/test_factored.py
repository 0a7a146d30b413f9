"""Descent on factors: gradients and steps, against loops written out."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.errors import Status
from tacit.iterate import iterate
from tacit.recovery.descent.factored import FactoredDescent, FactoredState
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.start import small_start

Pair = tuple[Tensor, Tensor]


def draw(generator: torch.Generator, dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=dtype)


def measuring_matrices(problem: RecoveryProblem) -> Tensor:
    """All A_i, shape (m, n1, n2), with y_i = sum_jk A_ijk X_jk: images of units."""
    rows, columns = problem.linear_map.in_shape
    units = torch.eye(rows * columns, dtype=problem.measurements.dtype)
    images = problem.linear_map.apply(units.reshape(-1, rows, columns))
    return images.T.reshape(-1, rows, columns)


def problems(generator: torch.Generator) -> dict[str, RecoveryProblem]:
    """One of each kind, with some measurements held out."""
    real, wide = torch.float64, torch.complex128
    rows, columns = torch.nonzero(torch.ones(6, 5)[:, :], as_tuple=True)
    seen = torch.randperm(30, generator=generator)[:22].sort().values
    entries = EntriesMap(rows=rows[seen], columns=columns[seen], shape=(6, 5))
    made = {
        "rectangular": gaussian_map((6, 5), 23, generator=generator),
        "complex": gaussian_map((6, 5), 23, generator=generator, dtype=wide),
        "entries": entries,
        "symmetric": gaussian_map((5, 5), 13, generator=generator, is_symmetric=True),
        "symmetric, of a full map": gaussian_map((5, 5), 13, generator=generator),
        "hermitian": gaussian_map((5, 5), 17, generator=generator, dtype=wide),
    }
    return {
        name: hold_out(
            RecoveryProblem(
                linear_map=linear_map,
                measurements=draw(
                    generator,
                    wide if linear_map.spec.dtype.is_complex else real,
                    linear_map.num_measurements,
                ),
                is_symmetric=name.startswith(("symmetric", "hermitian")),
            ),
            0.2,
            generator=generator,
        )
        for name, linear_map in made.items()
    }


KINDS = (
    "rectangular",
    "complex",
    "entries",
    "symmetric",
    "symmetric, of a full map",
    "hermitian",
)


def loss(problem: RecoveryProblem, left: Tensor, right: Tensor) -> Tensor:
    """The loss as the class states it."""
    matrices = measuring_matrices(problem)
    product = torch.einsum("jr,kr->jk", left, right.conj())
    residual = torch.einsum("ijk,jk->i", matrices, product) - problem.measurements
    total = (problem.weights * residual.abs().square()).sum()
    return total / 4 if problem.is_symmetric else total / 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_goes_down_the_gradient_of_the_stated_loss(
    kind: str, generator: torch.Generator
) -> None:
    problem = problems(generator)[kind]
    rows, columns = problem.linear_map.in_shape
    dtype = problem.measurements.dtype
    left = draw(generator, dtype, rows, 3).requires_grad_()
    right = left if problem.is_symmetric else draw(generator, dtype, columns, 3)
    if not problem.is_symmetric:
        right.requires_grad_()
    value = loss(problem, left, right)
    inputs = (left,) if problem.is_symmetric else (left, right)
    gradients = torch.autograd.grad(value, inputs)
    start = (left.detach(), left.detach() if problem.is_symmetric else right.detach())
    solver = FactoredDescent(step_size=0.01)
    before = solver.init(problem, start)
    after = solver.step(problem, before)
    assert before.value == pytest.approx(float(value.detach()), rel=1e-12)
    assert (after.right is after.left) == problem.is_symmetric
    moved = (after.left, after.right)
    for new, old, gradient in zip(moved, start, gradients, strict=False):
        torch.testing.assert_close(new, old - 0.01 * gradient, rtol=1e-11, atol=1e-12)
    weights = problem.weights
    ratio = (weights * before.residual.abs().square()).sum() / (
        weights * problem.measurements.abs().square()
    ).sum()
    assert float(before.train_error) == pytest.approx(float(ratio.sqrt()), rel=1e-12)


def naive_run(
    problem: RecoveryProblem, start: Pair, solver: FactoredDescent, num_steps: int
) -> list[Pair]:
    """The papers' updates with everything formed."""
    matrices, weights = measuring_matrices(problem), problem.weights
    left, right = start
    points: list[Pair] = []

    def gradient_at(left: Tensor, right: Tensor) -> tuple[Tensor, float]:
        residual = torch.einsum("ijk,jr,kr->i", matrices, left, right.conj())
        residual = residual - problem.measurements
        total = float((weights * residual.abs().square()).sum())
        gradient = torch.einsum("ijk,i->jk", matrices.conj(), weights * residual)
        if problem.is_symmetric:
            return (gradient + gradient.mH) / 2, total / 4
        return gradient, total / 2

    def inverse(factor: Tensor, value: float) -> Tensor:
        identity = torch.eye(factor.shape[1], dtype=factor.dtype)
        if solver.metric == "euclidean":
            return identity
        damping = solver.damping
        if solver.metric == "loss_damped":
            damping *= math.sqrt(value)
        return torch.linalg.inv(factor.mH @ factor + damping * identity)

    for _ in range(num_steps):
        gradient, value = gradient_at(left, right)
        step = solver.step_size
        moved = left - step * gradient @ right @ inverse(right, value)
        if problem.is_symmetric:
            left = right = moved
        else:
            if solver.form == "alternating":
                left = moved
                gradient, value = gradient_at(left, right)
            right = right - step * gradient.mH @ left @ inverse(left, value)
            left = moved
        points.append((left, right))
    return points


SOLVERS = {
    "gd": FactoredDescent(step_size=0.1),
    "alternating gd": FactoredDescent(step_size=0.1, form="alternating"),
    "ScaledGD": FactoredDescent(step_size=0.2, metric="scaled"),
    "APGD": FactoredDescent(step_size=0.2, metric="scaled", form="alternating"),
    "ScaledGD(lambda)": FactoredDescent(step_size=0.2, metric="damped", damping=0.3),
    "PrecGD": FactoredDescent(step_size=0.2, metric="loss_damped", damping=0.5),
}

# The alternating form needs two factors.
PAIRS = [
    (kind, method)
    for kind in KINDS
    for method, solver in SOLVERS.items()
    if solver.form == "simultaneous" or not kind.startswith(("symmetric", "hermitian"))
]


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_many_steps_are_those_of_a_loop_written_out(
    kind: str, method: str, generator: torch.Generator
) -> None:
    problem, solver = problems(generator)[kind], SOLVERS[method]
    start = small_start(problem, 2, 0.5, generator=generator)
    expected = naive_run(problem, start, solver, 25)
    seen: list[FactoredState] = []
    iterate(
        problem, solver, start, max_steps=25, observers=[lambda _, s: seen.append(s)]
    )
    for state, (left, right) in zip(seen, expected, strict=True):
        torch.testing.assert_close(state.left, left, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(state.right, right, rtol=1e-7, atol=1e-9)
    assert seen[-1].num_steps == 25
    per_step = 2 if solver.form == "alternating" else 1
    assert seen[-1].num_passes == 1 + 25 * per_step


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_a_batch_runs_as_its_members_alone(
    kind: str, method: str, generator: torch.Generator
) -> None:
    problem, solver = problems(generator)[kind], SOLVERS[method]
    scales = torch.tensor([0.5, 0.1], dtype=torch.float64)
    left, right = small_start(problem, 2, scales, generator=generator, num_starts=5)
    batch = iterate(problem, solver, (left, right), max_steps=10).state
    assert batch.losses.shape == batch.train_error.shape == (2, 5)
    assert batch.value == float(batch.losses.max())
    for index in ((0, 0), (1, 3)):
        alone_start = (left[index], left[index] if right is left else right[index])
        alone = iterate(problem, solver, alone_start, max_steps=10).state
        torch.testing.assert_close(batch.left[index], alone.left, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(
            batch.right[index], alone.right, rtol=1e-8, atol=1e-10
        )
        assert float(batch.losses[index]) == pytest.approx(alone.value, rel=1e-8)


def test_a_batch_of_measurements_runs_as_its_members_alone(
    generator: torch.Generator,
) -> None:
    problem = problems(generator)["rectangular"]
    measured = normal(generator, 3, problem.linear_map.num_measurements)
    start = small_start(problem, 2, 0.5, generator=generator)
    solver = FactoredDescent(step_size=0.1)
    batch = iterate(
        replace(problem, measurements=measured), solver, start, max_steps=10
    ).state
    assert batch.left.shape == (3, 6, 2)
    alone = iterate(
        replace(problem, measurements=measured[1]), solver, start, max_steps=10
    ).state
    torch.testing.assert_close(batch.left[1], alone.left, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", SOLVERS)
def test_a_run_that_is_taken_up_again_is_the_uninterrupted_one(
    method: str, generator: torch.Generator
) -> None:
    problem, solver = problems(generator)["rectangular"], SOLVERS[method]
    start = small_start(problem, 2, 0.5, generator=generator)
    whole = iterate(problem, solver, start, max_steps=12).state
    half = iterate(problem, solver, start, max_steps=5).state
    rest = iterate(problem, solver, (half.left, half.right), max_steps=7).state
    assert torch.equal(whole.left, rest.left)
    assert torch.equal(whole.right, rest.right)
    assert whole.value == rest.value


@pytest.mark.parametrize("kind", ["rectangular", "complex", "entries"])
@pytest.mark.parametrize("form", ["simultaneous", "alternating"])
def test_scaled_descent_does_not_depend_on_the_basis(
    kind: str, form: Any, generator: torch.Generator
) -> None:
    """L Q and R Q^{-H} stand for the same matrix and stay so; plain descent differs."""
    problem = problems(generator)[kind]
    dtype = problem.measurements.dtype
    left, right = small_start(problem, 3, 1.0, generator=generator)
    basis = draw(generator, dtype, 3, 3) + 2 * torch.eye(3)
    other = (left @ basis, right @ torch.linalg.inv(basis).mH)
    products: dict[str, list[Tensor]] = {}
    for metric in ("scaled", "euclidean"):
        solver = FactoredDescent(step_size=0.1, metric=metric, form=form)
        products[metric] = [
            (state := iterate(problem, solver, start, max_steps=5).state).left
            @ state.right.mH
            for start in ((left, right), other)
        ]
    torch.testing.assert_close(*products["scaled"], rtol=1e-8, atol=1e-8)
    assert float((products["euclidean"][0] - products["euclidean"][1]).abs().max()) > (
        1e-3
    )


@pytest.mark.parametrize("kind", ["rectangular", "complex", "entries"])
def test_imbalance_grows_by_the_square_of_the_step_alone(
    kind: str, generator: torch.Generator
) -> None:
    r"""L^H L - R^H R gains mu^2 (P^H P - Q^H Q), P and Q the two gradients, exactly."""
    problem, mu = problems(generator)[kind], 0.05
    start = small_start(problem, 3, 0.5, generator=generator)
    solver = FactoredDescent(step_size=mu)
    before = solver.init(problem, start)
    after = solver.step(problem, before)

    def imbalance(pair: Pair) -> Tensor:
        return pair[0].mH @ pair[0] - pair[1].mH @ pair[1]

    gained = imbalance((after.left, after.right)) - imbalance(start)
    torch.testing.assert_close(
        gained, mu**2 * imbalance(before.gradients), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("kind", KINDS)
def test_divergence_is_a_status(kind: str, generator: torch.Generator) -> None:
    problem = problems(generator)[kind]
    start = small_start(problem, 2, 1.0, generator=generator, num_starts=2)
    solution = iterate(problem, FactoredDescent(step_size=1e3), start, max_steps=100)
    assert solution.status is Status.NON_FINITE
    assert solution.num_steps < 100


def test_one_run_that_diverges_ends_the_batch(generator: torch.Generator) -> None:
    problem = problems(generator)["rectangular"]
    scales = torch.tensor([1e-3, 1e3], dtype=torch.float64)
    start = small_start(problem, 2, scales, generator=generator)
    solution = iterate(problem, FactoredDescent(step_size=0.1), start, max_steps=500)
    assert solution.status is Status.NON_FINITE
    assert bool(solution.state.losses[0].isfinite())


def test_a_singular_metric_is_a_status(generator: torch.Generator) -> None:
    problem = problems(generator)["rectangular"]
    left, right = small_start(problem, 2, 1.0, generator=generator)
    left = torch.cat((left, left[:, :1] * 0.0), -1)
    right = torch.cat((right, right[:, :1]), -1)
    solver = FactoredDescent(step_size=0.1, metric="scaled")
    solution = iterate(problem, solver, (left, right), max_steps=5)
    assert (solution.status, solution.num_steps) == (Status.NON_FINITE, 1)
    damped = FactoredDescent(step_size=0.1, metric="damped", damping=1e-3)
    assert iterate(problem, damped, (left, right), max_steps=5).status is (
        Status.MAX_STEPS
    )


def test_convergence_is_that_of_every_run(generator: torch.Generator) -> None:
    problem = planted_problem((12, 10), 1, oversampling=6.0, generator=generator)
    scales = torch.tensor([1e-1, 1e-4], dtype=torch.float64)
    start = small_start(problem, 1, scales, generator=generator)
    solver = FactoredDescent(step_size=0.25, rtol=1e-6)
    errors: list[Tensor] = []

    def watch(_: int, state: FactoredState) -> None:
        errors.append(state.train_error)

    solution = iterate(problem, solver, start, max_steps=1000, observers=[watch])
    assert solution.status is Status.CONVERGED
    assert float(errors[-1].max()) <= 1e-6 < float(errors[-2].max())
    assert float(errors[-2].min()) <= 1e-6


def test_a_start_at_rest_is_called_stalled(generator: torch.Generator) -> None:
    """Zero factors have zero gradients: no step will ever move them."""
    problem = problems(generator)["rectangular"]
    zeros = (torch.zeros(6, 2).double(), torch.zeros(5, 2).double())
    solution = iterate(problem, FactoredDescent(step_size=0.1), zeros, max_steps=9)
    assert (solution.status, solution.num_steps) == (Status.STALLED, 1)
    # Something tiny is not at rest, however slowly it grows.
    tiny = small_start(problem, 2, 1e-100, generator=generator)
    solution = iterate(problem, FactoredDescent(step_size=0.1), tiny, max_steps=9)
    assert solution.status is Status.MAX_STEPS


def test_zero_measurements_have_an_absolute_error(generator: torch.Generator) -> None:
    problem = problems(generator)["rectangular"]
    zero = replace(problem, measurements=torch.zeros_like(problem.measurements))
    start = small_start(zero, 2, 0.1, generator=generator)
    state = FactoredDescent(step_size=0.1).init(zero, start)
    assert float(state.train_error) == pytest.approx(math.sqrt(2 * state.value))


def test_a_stored_matrix_is_read_once_a_step(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problems(generator)["rectangular"]
    start = small_start(problem, 2, 0.1, generator=generator)
    fused_pass, calls = StoredMap.fused_pass, [0]

    def counted(self: StoredMap, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        calls[0] += 1
        return fused_pass(self, *vectors)

    def refuse(self: StoredMap, *_: Tensor) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(StoredMap, "fused_pass", counted)
    for name in ("apply", "adjoint_apply", "apply_factors", "adjoint_times"):
        monkeypatch.setattr(StoredMap, name, refuse)
    iterate(problem, FactoredDescent(step_size=0.1), start, max_steps=7)
    assert calls[0] == 1 + 7
