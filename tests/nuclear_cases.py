"""Small nuclear norm programmes of every kind, and their optima by CVXPY."""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import cvxpy as cp
import numpy as np
import torch
from torch import Tensor

from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.rng import make_generator

KINDS = ["rectangular", "complex", "symmetric", "hermitian", "entries", "wide"]
FORMS = ["exact", "little noise", "much noise", "all noise", "penalty", "big penalty"]


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """What CVXPY found: accurate to about 1e-7 of the size of the data."""

    value: float
    matrix: Tensor
    dual: Tensor


def small_problem(kind: str, seed: int, *, part_held_out: float) -> RecoveryProblem:
    """A noisy problem of a size that CVXPY solves in a few hundredths of a second."""
    generator = make_generator(seed, kind)
    is_symmetric = kind in {"symmetric", "hermitian"}
    is_complex = kind in {"complex", "hermitian"}
    plant: Any = planted_completion if kind == "entries" else planted_problem
    problem = plant(
        {"wide": (3, 6)}.get(kind, (4, 4) if is_symmetric else (5, 4)),
        1,
        num_measurements=10 if kind == "hermitian" else 12,
        noise=0.2,
        is_symmetric=is_symmetric,
        dtype=torch.complex128 if is_complex else torch.float64,
        generator=generator,
    )
    if part_held_out == 0.0:
        return problem
    return hold_out(problem, part_held_out, generator=generator)


def small_program(
    kind: str, form: str, seed: int, *, part_held_out: float = 0.0
) -> NuclearProgram:
    """A programme that has a solution."""
    problem = small_problem(kind, seed, part_held_out=part_held_out)
    size = float(torch.linalg.vector_norm(problem.weights * problem.measurements))
    back = problem.linear_map.adjoint_apply(problem.weights * problem.measurements)
    largest = float(torch.linalg.matrix_norm(back, 2))
    if form == "exact" and problem.is_symmetric:
        # Noisy measurements need not be those of a positive semidefinite matrix.
        assert problem.planted is not None
        left = problem.planted.left
        exact = problem.linear_map.apply_factors(left, left)
        problem = RecoveryProblem(
            linear_map=problem.linear_map,
            measurements=exact,
            is_symmetric=True,
            held_out=problem.held_out,
        )
    if "penalty" in form:
        part = {"penalty": 0.05, "big penalty": 1.5}[form]
        return NuclearProgram(problem=problem, penalty=part * largest)
    lowest = 0.25 if problem.is_symmetric else 1e-3
    part = {
        "exact": 0.0,
        "little noise": lowest,
        "much noise": 0.5,
        "all noise": 1.0 + 1e-9,
    }[form]
    return NuclearProgram(problem=problem, noise_bound=part * size)


@cache
def solved(
    kind: str, form: str, seed: int, part_held_out: float
) -> tuple[NuclearProgram, Optimum]:
    """A programme and its optimum."""
    program = small_program(kind, form, seed, part_held_out=part_held_out)
    found = optimum(program)
    assert found is not None
    return program, found


def optimum(program: NuclearProgram) -> Optimum | None:
    """Solve the programme with an interior point method; None if nothing fits."""
    problem = program.problem
    shape = problem.linear_map.in_shape
    dtype = problem.measurements.dtype
    units = torch.eye(shape[0] * shape[1], dtype=dtype).reshape(-1, *shape)
    kept = problem.weights > 0
    operator = problem.linear_map.apply(units).T[kept].numpy()
    target = problem.measurements[kept].numpy()
    constraints: list[Any] = []
    unknown: Any
    if problem.is_symmetric:
        is_complex = dtype.is_complex
        unknown = cp.Variable(shape, hermitian=is_complex, symmetric=not is_complex)
        constraints = [unknown >> 0]
        norm: Any = cp.trace(unknown)
        norm = cp.real(norm) if is_complex else norm
    else:
        unknown = cp.Variable(shape, complex=dtype.is_complex)
        norm = cp.normNuc(unknown)
    flat = cp.vec(unknown, order="C")
    misfit: Any = operator @ flat - target
    if dtype.is_complex:
        misfit = cp.hstack([cp.real(misfit), cp.imag(misfit)])
    residual = cp.Variable(misfit.shape[0])
    equation = residual == misfit
    if program.penalty is not None:
        goal = cp.sum_squares(residual) / 2 + program.penalty * norm
    else:
        goal = norm
        # Zero as an equation: a cone of radius zero has no interior.
        radius = program.noise_bound or 0.0
        ball = residual == 0 if radius == 0.0 else cp.norm(residual) <= radius
        constraints = [*constraints, ball]
    task: Any = cp.Problem(cp.Minimize(goal), [*constraints, equation])
    with warnings.catch_warnings():  # the last digits are not asked for
        warnings.filterwarnings("ignore", "Solution may be inaccurate")
        task.solve(solver=cp.CLARABEL)
    if unknown.value is None:
        return None
    found = np.asarray(equation.dual_value)
    if dtype.is_complex:
        half = len(found) // 2
        found = found[:half] + 1j * found[half:]
    dual = torch.zeros_like(problem.measurements)
    dual[kept] = torch.from_numpy(found).to(dtype)
    if float(torch.vdot(dual, problem.measurements).real) < 0.0:
        dual = -dual
    matrix = torch.from_numpy(np.array(unknown.value)).to(dtype)
    return Optimum(value=float(task.value), matrix=matrix, dual=dual)


def factors_of(matrix: Tensor, *, is_symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return balanced factors; of the closest matrix in the cone, if symmetric."""
    if is_symmetric:
        values, vectors = torch.linalg.eigh((matrix + matrix.mH) / 2)
        factor = vectors * values.clamp_min(0.0).sqrt()
        return factor, factor
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left * values.sqrt(), right.mH * values.sqrt()
