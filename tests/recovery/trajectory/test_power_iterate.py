"""The power iterate against dense matrix powers."""

import math

import pytest
import torch

from cases import normal
from recovery_cases import COMPLEX, draw, some_entries
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.trajectory import power_iterate
from tacit.recovery.trajectory.power_iterate import PowerIterate
from tacit.recovery.trajectory.split import principal_angles

MU = 0.3


def problem_of(
    linear_map: AbstractLinearMap, generator: torch.Generator, *, is_symmetric: bool
) -> RecoveryProblem:
    y = draw(generator, linear_map.num_measurements, dtype=linear_map.spec.dtype)
    problem = RecoveryProblem(
        linear_map=linear_map, measurements=y, is_symmetric=is_symmetric
    )
    return hold_out(problem, 0.2, generator=generator)


@pytest.mark.parametrize("is_formed", [True, False])
@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_it_is_a_matrix_power_times_the_start(
    is_formed: bool,
    is_symmetric: bool,
    dtype: torch.dtype,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not is_formed:
        monkeypatch.setattr(power_iterate, "_MAX_FORMED", 0)
    shape = (6, 6) if is_symmetric else (6, 5)
    problem = problem_of(
        some_entries(generator, shape, 20, dtype), generator, is_symmetric=is_symmetric
    )
    left = draw(generator, shape[0], 4, dtype=dtype)
    right = left if is_symmetric else draw(generator, shape[1], 4, dtype=dtype)
    iterate = PowerIterate(problem, (left, right), MU)
    matrix = problem.linear_map.adjoint_apply(problem.weights * problem.measurements)
    if is_symmetric:
        lifted, start = (matrix + matrix.mH) / 2.0, left
    else:
        zeros = [torch.zeros(size, size, dtype=dtype) for size in shape]
        lifted = torch.cat(
            (
                torch.cat((zeros[0], matrix), 1),
                torch.cat((matrix.mH, zeros[1]), 1),
            )
        )
        start = torch.cat((left, right))
    for _ in range(7):
        iterate.advance()
    step = torch.eye(lifted.shape[0], dtype=dtype) + MU * lifted
    power = torch.linalg.matrix_power(step, 7) @ start
    other = draw(generator, shape[0], 4, dtype=dtype)
    pair = other, other if is_symmetric else draw(generator, shape[1], 4, dtype=dtype)
    stacked = other if is_symmetric else torch.cat(pair)
    first, second = (torch.linalg.svd(m)[0][:, :2] for m in (power, stacked))
    expected = principal_angles(first, second)[-1].sin()
    assert float(iterate.angle(*pair, 2)) == pytest.approx(float(expected), abs=1e-10)


def test_the_first_iterate_is_the_start(generator: torch.Generator) -> None:
    gaussian = gaussian_map((7, 7), 30, generator=generator, is_symmetric=True)
    problem = problem_of(gaussian, generator, is_symmetric=True)
    left = normal(generator, 2, 7, 3)
    iterate = PowerIterate(problem, (left, left), MU)
    assert float(iterate.angle(left, left, 2).max()) < 1e-13


def test_what_rounding_has_eaten_is_unknown(generator: torch.Generator) -> None:
    # Full observation of diag(1, 0): the second direction stays, the first one grows.
    linear_map = some_entries(generator, (2, 2), 4)
    y = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    problem = RecoveryProblem(linear_map=linear_map, measurements=y, is_symmetric=True)
    start = torch.eye(2, dtype=torch.float64)
    iterate = PowerIterate(problem, (start, start), 1.0)
    angles: list[float] = []
    for _ in range(60):
        iterate.advance()
        angles.append(float(iterate.angle(start, start, 2)))
    lost = [math.isnan(angle) for angle in angles]
    # 2^t exceeds 1e10 from t = 34 on, and stays beyond.
    assert lost == [step >= 34 for step in range(1, 61)]


def test_growth_beyond_the_largest_number_does_no_harm(
    generator: torch.Generator,
) -> None:
    linear_map = some_entries(generator, (2, 2), 4)
    y = torch.tensor([1e6, 0.0, 0.0, 1e6], dtype=torch.float64)
    problem = RecoveryProblem(linear_map=linear_map, measurements=y, is_symmetric=True)
    start = normal(generator, 2, 2)
    iterate = PowerIterate(problem, (start, start), 1.0)
    for _ in range(100):  # 1e600 without rescaling
        iterate.advance()
    assert float(iterate.angle(start, start, 1)) < 1e-12
