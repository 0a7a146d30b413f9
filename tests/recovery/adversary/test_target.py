"""The instance that is attacked, and answers compared with CVXPY."""

from dataclasses import replace

import pytest
import torch

from nuclear_cases import optimum
from tacit.errors import InputError, ShapeError
from tacit.recovery.adversary.target import NoiseTarget, noise_target, solve_for_noise
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out

DTYPES = [torch.float64, torch.complex128]


def _problem(
    generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> RecoveryProblem:
    return planted_problem(
        (5, 4), 1, num_measurements=18, dtype=dtype, generator=generator
    )


def _target(generator: torch.Generator, dtype: torch.dtype, part: float) -> NoiseTarget:
    problem = hold_out(_problem(generator, dtype), 0.1, generator=generator)
    return noise_target(problem, part)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("part", [1e-2, 0.1, 0.4])
def test_answer_is_cvxpys(
    dtype: torch.dtype, part: float, generator: torch.Generator
) -> None:
    target = _target(generator, dtype, part)
    noise = target.draw(generator)
    answer = solve_for_noise(target, noise)
    found = optimum(target.program(noise))
    assert found is not None
    assert answer.relative_gap < 1e-8
    nuclear = float(torch.linalg.svdvals(answer.matrix).sum())
    assert nuclear == pytest.approx(found.value, rel=1e-6)
    assert answer.error == pytest.approx(
        float(torch.linalg.matrix_norm(found.matrix - target.truth)), rel=1e-2
    )


def test_answer_near_another_is_the_same(generator: torch.Generator) -> None:
    target = _target(generator, torch.complex128, 0.05)
    first, second = target.draw(generator), target.draw(generator)
    near = solve_for_noise(target, first)
    warm = solve_for_noise(target, second, near)
    cold = solve_for_noise(target, second)
    assert warm.error == pytest.approx(cold.error, rel=1e-7)


def test_noise_as_large_as_the_measurements_leaves_zero(
    generator: torch.Generator,
) -> None:
    target = _target(generator, torch.float64, 10.0)
    answer = solve_for_noise(target, target.draw(generator) / 2.0)
    assert float(answer.matrix.abs().max()) == 0.0
    assert answer.error == pytest.approx(float(torch.linalg.matrix_norm(target.truth)))
    assert answer.relative_gap == 0.0
    assert answer.system is None


def test_unfinished_answer_says_how_far_it_got(generator: torch.Generator) -> None:
    target = _target(generator, torch.float64, 0.05)
    noise = target.draw(generator)
    answer = solve_for_noise(target, noise, max_steps=2)
    assert answer.system is None
    found = optimum(target.program(noise))
    assert found is not None
    nuclear = float(torch.linalg.svdvals(answer.matrix).sum())
    assert answer.relative_gap >= (nuclear - found.value) / nuclear - 1e-7
    assert answer.relative_gap > 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_drawn_noise(dtype: torch.dtype, generator: torch.Generator) -> None:
    target = _target(generator, dtype, 0.3)
    noise = target.draw(generator)
    size = float(torch.linalg.vector_norm(noise))
    assert size == pytest.approx(0.3, rel=1e-12)
    assert float(noise[target.problem.weights == 0.0].abs().max()) == 0.0
    longer = target.into_ball(torch.ones_like(noise))
    assert float(torch.linalg.vector_norm(longer)) <= 0.3 * (1.0 + 1e-12)
    torch.testing.assert_close(target.into_ball(noise / 2.0), noise / 2.0)


def test_what_cannot_be_attacked(generator: torch.Generator) -> None:
    problem = _problem(generator)
    with pytest.raises(InputError, match="planted"):
        noise_target(replace(problem, planted=None), 0.1)
    for bound in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="noise_bound"):
            noise_target(problem, bound)
    symmetric = planted_problem(
        (4, 4), 1, oversampling=2.0, is_symmetric=True, generator=generator
    )
    with pytest.raises(InputError, match="symmetric"):
        noise_target(symmetric, 0.1)
    batch = torch.stack([problem.measurements, problem.measurements])
    with pytest.raises(ShapeError, match="batch"):
        noise_target(replace(problem, measurements=batch), 0.1)
    single = planted_problem(
        (4, 4), 1, oversampling=2.0, dtype=torch.float32, generator=generator
    )
    with pytest.raises(InputError, match="double precision"):
        noise_target(single, 0.1)
    unseen = planted_completion((5, 4), 1, oversampling=1.0, generator=generator)
    assert unseen.planted is not None
    nothing = replace(unseen.planted, left=torch.zeros_like(unseen.planted.left))
    with pytest.raises(InputError, match="zeros"):
        noise_target(replace(unseen, planted=nothing), 0.1)
