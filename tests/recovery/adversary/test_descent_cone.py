"""Members of the set that holds every error, against the constraints themselves."""

import pytest
import torch
from torch import Tensor

from recovery_cases import draw
from tacit.recovery.adversary.descent_cone import (
    ConeMember,
    longest_along,
    longest_member,
    near_kernel_direction,
    project_on_nuclear_ball,
    pull_inside,
)
from tacit.recovery.adversary.target import NoiseTarget, noise_target, solve_for_noise
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import hold_out

DTYPES = [torch.float64, torch.complex128]


def _target(
    generator: torch.Generator, dtype: torch.dtype, noise_bound: float = 0.1
) -> NoiseTarget:
    problem = planted_problem(
        (6, 5), 1, num_measurements=26, dtype=dtype, generator=generator
    )
    return noise_target(hold_out(problem, 0.1, generator=generator), noise_bound)


def _is_member(target: NoiseTarget, direction: Tensor) -> bool:
    """Whether both constraints hold without any tolerance."""
    moved = torch.linalg.svdvals(target.truth + direction).sum()
    image = target.problem.weights * target.problem.linear_map.apply(direction)
    return bool(moved <= torch.linalg.svdvals(target.truth).sum()) and bool(
        torch.linalg.vector_norm(image) <= 2.0 * target.noise_bound
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("noise_bound", [1e-8, 1e-4, 0.1, 3.0])
def test_whatever_is_pulled_inside_is_inside(
    dtype: torch.dtype, noise_bound: float, generator: torch.Generator
) -> None:
    target = _target(generator, dtype, noise_bound)
    for scale in (1e-9, 1e-2, 1.0, 1e6):
        member = pull_inside(target, scale * draw(generator, 6, 5, dtype=dtype))
        assert _is_member(target, member.direction)
        assert min(member.norm_slack, member.image_slack) >= 0.0
    zero = pull_inside(target, torch.zeros_like(target.truth))
    assert _is_member(target, zero.direction)
    answer = solve_for_noise(target, target.draw(generator))
    assert _is_member(
        target, pull_inside(target, answer.matrix - target.truth).direction
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_longest_member_is_longer_than_any_error(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    target = _target(generator, dtype)
    member = longest_member(target, near_kernel_direction(target))
    assert _is_member(target, member.direction)
    for _ in range(20):
        noise = target.draw(generator)
        assert solve_for_noise(target, noise).error < member.size
    # Random members do not reach it either.
    for _ in range(200):
        direction = draw(generator, 6, 5, dtype=dtype)
        assert pull_inside(target, direction).size < member.size


def test_both_ends_fit_the_noise(generator: torch.Generator) -> None:
    target = _target(generator, torch.complex128)
    member = longest_member(target, near_kernel_direction(target))
    noise = member.noise()
    assert float(torch.linalg.vector_norm(noise)) <= 0.1 * (1.0 + 1e-12)
    problem = target.program(noise).problem
    for end in (target.truth, target.truth + member.direction):
        misfit = problem.linear_map.apply(end) - problem.measurements
        size = float(torch.linalg.vector_norm(problem.weights * misfit))
        assert size <= 0.1 * (1.0 + 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_projection_on_the_nuclear_ball(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    matrix = draw(generator, 5, 4, dtype=dtype)
    nearest = project_on_nuclear_ball(matrix, 2.0)
    assert float(torch.linalg.svdvals(nearest).sum()) == pytest.approx(2.0)
    # Nearest: the rest makes an obtuse angle with every other point of the ball.
    rest = matrix - nearest
    best = 2.0 * float(torch.linalg.svdvals(rest)[0])  # of <rest, .> on the ball
    at = float((rest.conj() * nearest).sum().real)
    assert at == pytest.approx(best, rel=1e-10)
    assert project_on_nuclear_ball(0.1 * nearest, 2.0) is not nearest
    torch.testing.assert_close(
        project_on_nuclear_ball(0.1 * nearest, 2.0), 0.1 * nearest
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_near_kernel_direction_is_in_the_cone_and_best(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    target = _target(generator, dtype)
    planted = target.problem.planted
    assert planted is not None
    u = planted.left / torch.linalg.vector_norm(planted.left)
    v = planted.right / torch.linalg.vector_norm(planted.right)

    def split(z: Tensor) -> tuple[float, float]:
        rest = z - u @ (u.mH @ z)
        rest = rest - (rest @ v) @ v.mH
        along = float((u.mH @ z @ v).real)
        return along, float(torch.linalg.svdvals(rest).sum())

    def size(z: Tensor) -> float:
        image = target.problem.linear_map.apply(z)
        return float(torch.linalg.vector_norm(target.problem.weights * image))

    best = near_kernel_direction(target)
    along, normal = split(best)
    assert along == pytest.approx(-1.0, abs=1e-12)
    assert normal <= 1.0 + 1e-12
    for _ in range(300):
        z = best + 0.3 * draw(generator, 6, 5, dtype=dtype)
        along, normal = split(z)
        z = z - u @ v.mH * (along + 1.0)
        _, normal = split(z)
        if normal > 1.0:
            rest = z - u @ (u.mH @ z)
            rest = rest - (rest @ v) @ v.mH
            z = z - rest * (1.0 - 1.0 / normal)
        assert size(z) >= size(best) * (1.0 - 1e-6)


def test_linear_objective_beats_random_members(generator: torch.Generator) -> None:
    target = _target(generator, torch.float64)
    objective = draw(generator, 6, 5)
    objective = objective / torch.linalg.matrix_norm(objective)
    start = 0.1 * draw(generator, 6, 5)
    found = pull_inside(target, longest_along(target, objective, start)).direction
    reached = float((objective * found).sum())
    for _ in range(300):
        other = pull_inside(target, draw(generator, 6, 5)).direction
        assert float((objective * other).sum()) < reached


def test_nothing_is_a_member_without_noise_of_its_own(
    generator: torch.Generator,
) -> None:
    target = _target(generator, torch.float64)
    nothing = ConeMember(target=target, direction=torch.zeros_like(target.truth))
    assert float(nothing.noise().abs().max()) == 0.0
    assert nothing.norm_slack == 0.0
    assert nothing.image_slack == 0.2
