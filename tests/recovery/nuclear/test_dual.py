"""The least-squares dual vector against dense least squares."""

import pytest
import torch
from torch import Tensor

from cases import normal
from nuclear_cases import factors_of
from recovery_cases import dense_matrix
from tacit.recovery.nuclear.dual import least_squares_dual
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out

KINDS = ["rectangular", "complex", "symmetric", "hermitian"]


def make_problem(kind: str, generator: torch.Generator) -> RecoveryProblem:
    is_symmetric = kind in {"symmetric", "hermitian"}
    problem = planted_problem(
        (7, 7) if is_symmetric else (7, 6),
        2,
        num_measurements=45,
        is_symmetric=is_symmetric,
        dtype=torch.complex128 if kind in {"complex", "hermitian"} else torch.float64,
        generator=generator,
    )
    return hold_out(problem, 0.1, generator=generator)


def tangent_basis(problem: RecoveryProblem, u: Tensor, v: Tensor) -> Tensor:
    """An orthonormal basis, over the real numbers, of the tangent space as vectors."""
    rows, columns = problem.linear_map.in_shape
    spans: list[Tensor] = []
    units = [1.0, 1j] if u.is_complex() else [1.0]
    for k in range(u.shape[1]):
        for unit in units:
            for j in range(columns):
                matrix = torch.zeros(rows, columns, dtype=u.dtype)
                matrix[:, j] = unit * u[:, k]
                spans.append(matrix)
            for i in range(rows):
                matrix = torch.zeros(rows, columns, dtype=u.dtype)
                matrix[i, :] = unit * v[:, k].conj()
                spans.append(matrix)
    if problem.is_symmetric:
        spans = [(matrix + matrix.mH) / 2.0 for matrix in spans]
    flat = torch.stack([_real(matrix.flatten()) for matrix in spans])
    _, values, basis = torch.linalg.svd(flat, full_matrices=False)
    return basis[values > 1e-10]


def _real(vector: Tensor) -> Tensor:
    if not vector.is_complex():
        return vector
    return torch.cat([vector.real, vector.imag])


@pytest.mark.parametrize("is_near", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_nearest_vector_with_the_right_tangent_part(
    kind: str, is_near: bool, generator: torch.Generator
) -> None:
    problem = make_problem(kind, generator)
    truth = problem.planted
    assert truth is not None
    near = normal(generator, 45).to(problem.measurements.dtype) if is_near else None
    dual = least_squares_dual(problem, truth.left, truth.right, near=near)
    matrix = truth.left @ truth.right.mH
    left, _, right = torch.linalg.svd(matrix)
    u, v = left[:, :2], right.mH[:, :2]
    basis = tangent_basis(problem, u, v)
    # The adjoint restricted to the tangent space, as a real matrix.
    operator = problem.weights[:, None] * dense_matrix(problem.linear_map)
    if operator.is_complex():
        operator = torch.cat(
            [
                torch.cat([operator.real, -operator.imag], 1),
                torch.cat([operator.imag, operator.real], 1),
            ]
        )
    seen = operator @ basis.T
    start = torch.zeros_like(problem.measurements) if near is None else near
    start = _real(problem.weights * start)
    target = basis @ _real((u @ v.mH).flatten())
    change = torch.linalg.lstsq(
        seen.T, (target - seen.T @ start)[:, None], driver="gelsd"
    ).solution[:, 0]
    assert torch.allclose(_real(dual), start + change, atol=1e-8)
    assert bool((dual[problem.weights == 0.0] == 0.0).all())


def test_a_few_steps_end_where_they_are(generator: torch.Generator) -> None:
    problem = make_problem("rectangular", generator)
    left, right = factors_of(normal(generator, 7, 6), is_symmetric=False)
    few = least_squares_dual(problem, left[:, :2], right[:, :2], max_steps=1)
    many = least_squares_dual(problem, left[:, :2], right[:, :2])
    none = least_squares_dual(problem, left[:, :2], right[:, :2], max_steps=0)
    assert bool((none == 0.0).all())
    distance = torch.linalg.vector_norm(few - many)
    assert 0.0 < float(distance) < float(torch.linalg.vector_norm(many))
