"""The projection against CVXPY and its optimality conditions."""

from dataclasses import replace
from typing import Any

import cvxpy
import pytest
import torch
from torch import Tensor

from recovery_cases import MAPS, dense_matrix, draw
from tacit.errors import InputError
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.nuclear.ball import ResidualBall, residual_ball, secular_root
from tacit.recovery.problem import RecoveryProblem, hold_out

# Maps of few measurements, of every kind of Gram matrix.
NAMES = [
    "rank one",
    "rank one complex",
    "quadratic complex",
    "entries",
    "fourier complex",
    "convolution",
    "convolution complex",
]


def _case(
    name: str, generator: torch.Generator, *, is_held_out: bool = False
) -> tuple[ResidualBall, Tensor]:
    """A ball around measurements that some matrix has, and a matrix outside."""
    linear_map = MAPS[name](generator)
    dtype = linear_map.spec.dtype
    truth = draw(generator, *linear_map.in_shape, dtype=dtype)
    problem = RecoveryProblem(
        linear_map=linear_map, measurements=linear_map.apply(truth)
    )
    if is_held_out:
        problem = hold_out(problem, 0.3, generator=generator)
    return residual_ball(problem), draw(generator, *linear_map.in_shape, dtype=dtype)


def _residual(ball: ResidualBall, matrix: Tensor) -> Tensor:
    problem = ball.problem
    image = problem.linear_map.apply(matrix)
    return problem.weights * (image - problem.measurements)


@pytest.mark.parametrize("is_held_out", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_optimality_conditions(
    name: str, is_held_out: bool, generator: torch.Generator
) -> None:
    ball, start = _case(name, generator, is_held_out=is_held_out)
    size = float(torch.linalg.vector_norm(_residual(ball, start)))
    for bound in (0.0, 0.01 * size, 0.7 * size):
        point, s = ball.project(start, bound)
        residual = _residual(ball, point)
        assert float(torch.linalg.vector_norm(residual)) == pytest.approx(
            bound, abs=1e-9 * size
        )
        # V - X is a normal of the ball: A* of a positive multiple of the residual.
        torch.testing.assert_close(
            start - point, ball.problem.linear_map.adjoint_apply(s)
        )
        if bound > 0.0:
            aligned = torch.vdot(s, residual).real / bound
            assert float(aligned) == pytest.approx(
                float(torch.linalg.vector_norm(s)), rel=1e-8
            )
        if ball.problem.held_out is not None:
            assert not bool(s[ball.problem.held_out].any())


@pytest.mark.parametrize("name", ["rank one", "rank one complex", "entries"])
def test_projection_is_that_of_cvxpy(name: str, generator: torch.Generator) -> None:
    ball, start = _case(name, generator)
    matrix = dense_matrix(ball.problem.linear_map).numpy()
    bound = 0.5 * float(torch.linalg.vector_norm(_residual(ball, start)))
    is_complex = start.is_complex()
    unknown = cvxpy.Variable(start.numel(), complex=is_complex)
    distance: Any = cvxpy.sum_squares(unknown - start.flatten().numpy())
    gap: Any = matrix @ unknown - ball.problem.measurements.numpy()
    cvxpy.Problem(cvxpy.Minimize(distance), [cvxpy.norm(gap) <= bound]).solve(
        solver=cvxpy.CLARABEL
    )
    point, _ = ball.project(start, bound)
    expected = torch.from_numpy(unknown.value).reshape(start.shape)
    # CVXPY has the squared distance to about 1e-8, so the point to its square root.
    distance_to_start = float(torch.linalg.vector_norm(point - start))
    error = float(torch.linalg.vector_norm(point - expected))
    assert error <= 2e-4 * distance_to_start


@pytest.mark.parametrize("name", NAMES)
def test_proximal_point_solves_its_normal_equations(
    name: str, generator: torch.Generator
) -> None:
    ball, start = _case(name, generator, is_held_out=True)
    point, s = ball.proximal(start, 0.8)
    torch.testing.assert_close(s, 0.8 * _residual(ball, point))
    adjoint = ball.problem.linear_map.adjoint_apply(s)
    torch.testing.assert_close(point + adjoint, start)


def test_a_matrix_inside_stays(generator: torch.Generator) -> None:
    ball, start = _case("rank one complex", generator)
    size = float(torch.linalg.vector_norm(_residual(ball, start)))
    point, s = ball.project(start, 1.001 * size)
    assert bool((point == start).all())
    assert not bool(s.any())


def test_repeated_measurements_need_no_inverse(generator: torch.Generator) -> None:
    row = draw(generator, 1, 6)
    twice = StoredMap(matrix=torch.cat((row, row)), shape=(2, 3))
    one = torch.ones(2, dtype=torch.float64)
    ball = residual_ball(RecoveryProblem(linear_map=twice, measurements=one))
    point, _ = ball.project(torch.zeros(2, 3, dtype=torch.float64), 0.0)
    expected = row[0] / row.square().sum()
    torch.testing.assert_close(point.flatten(), expected)
    apart = replace(
        ball,
        problem=RecoveryProblem(
            linear_map=twice, measurements=torch.tensor([1.0, 3.0]).double()
        ),
    )
    # The nearest attained measurements are (2, 2), at the distance sqrt(2).
    for bound in (0.0, 1.4):
        with pytest.raises(InputError, match=r"at least 1\.41421"):
            apart.project(torch.zeros(2, 3, dtype=torch.float64), bound)
    point, _ = apart.project(torch.zeros(2, 3, dtype=torch.float64), 1.5)
    size = torch.linalg.vector_norm(_residual(apart, point))
    assert float(size) == pytest.approx(1.5, rel=1e-12)


def test_secular_root_of_one_term() -> None:
    # c / (1 + mu d) = tau, so mu = (c / tau - 1) / d.
    sizes = torch.tensor([9.0], dtype=torch.float64)
    values = torch.tensor([0.25], dtype=torch.float64)
    assert secular_root(sizes, values, 0.5) == pytest.approx(20.0, rel=1e-13)


def test_secular_root_of_eigenvalues_far_apart() -> None:
    sizes = torch.tensor([1e-6, 1.0, 1e6], dtype=torch.float64)
    values = torch.tensor([1e-9, 1e-3, 1e6], dtype=torch.float64)
    for radius in (1e-3 + 1e-6, 0.1, 999.0):
        root = secular_root(sizes, values, radius)
        norm = (sizes / (1.0 + root * values).square()).sum().sqrt()
        assert float(norm) == pytest.approx(radius, rel=1e-11)
