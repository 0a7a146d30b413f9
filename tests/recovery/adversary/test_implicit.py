"""The gradient through the solver against differences of solutions."""

from itertools import pairwise

import pytest
import torch

from tacit.errors import Status
from tacit.iterate import iterate
from tacit.recovery.adversary.implicit import NoiseAscent, error_gradient
from tacit.recovery.adversary.target import NoiseTarget, noise_target, solve_for_noise
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import hold_out

DTYPES = [torch.float64, torch.complex128]


def _target(
    generator: torch.Generator, dtype: torch.dtype, rank: int, noise_bound: float
) -> NoiseTarget:
    problem = planted_problem(
        (6, 5), rank, num_measurements=26, dtype=dtype, generator=generator
    )
    return noise_target(hold_out(problem, 0.1, generator=generator), noise_bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [1, 2])
def test_gradient_is_the_slope_of_the_error(
    dtype: torch.dtype, rank: int, generator: torch.Generator
) -> None:
    target = _target(generator, dtype, rank, 0.1)
    noise = 0.8 * target.draw(generator)
    answer = solve_for_noise(target, noise)
    assert answer.system is not None
    assert answer.system.normal_norm < 0.999  # or nothing smooth is expected
    gradient = error_gradient(answer.system, target.truth)

    def half_square(at: torch.Tensor) -> float:
        return solve_for_noise(target, at, answer).error ** 2 / 2.0

    step = 1e-4
    for _ in range(5):
        direction = target.draw(generator)
        plus = half_square(noise + step * direction)
        minus = half_square(noise - step * direction)
        slope = float(torch.vdot(gradient, direction).real)
        assert (plus - minus) / (2.0 * step) == pytest.approx(
            slope, rel=1e-5, abs=1e-5 * 0.1 * float(torch.linalg.vector_norm(gradient))
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_ascent_never_descends_and_stays_in_the_ball(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    target = _target(generator, dtype, 1, 0.1)
    start = target.draw(generator)
    sizes: list[float] = []
    found = iterate(
        target,
        NoiseAscent(),
        start,
        max_steps=30,
        observers=[
            lambda step, state: sizes.append(
                float(torch.linalg.vector_norm(state.noise))
            )
        ],
    )
    errors = (solve_for_noise(target, start).error, *found.history)
    assert all(low <= high for low, high in pairwise(errors))
    assert errors[-1] > 1.2 * errors[0]
    assert max(sizes) <= 0.1 * (1.0 + 1e-12)
    # The error is that of a fresh solve with the noise alone.
    again = solve_for_noise(target, found.state.noise)
    assert again.error == pytest.approx(found.state.value, rel=1e-6)


def test_end_is_stationary_on_the_sphere(generator: torch.Generator) -> None:
    target = _target(generator, torch.float64, 1, 0.1)
    found = iterate(
        target, NoiseAscent(rtol=1e-13), target.draw(generator), max_steps=300
    )
    system = found.state.answer.system
    assert system is not None
    gradient = error_gradient(system, target.truth)
    noise = found.state.noise
    along = float(torch.dot(gradient, noise)) / 0.1
    assert along > 0.0  # a shorter noise would do less
    across = gradient - noise * (along / 0.1)
    assert float(torch.linalg.vector_norm(across)) < 1e-3 * along


def test_zero_answer_ends_the_ascent(generator: torch.Generator) -> None:
    target = _target(generator, torch.float64, 1, 10.0)
    found = iterate(target, NoiseAscent(), target.draw(generator) / 3.0, max_steps=5)
    assert found.status is Status.STALLED
    assert found.num_steps == 1


def test_no_way_up_from_the_end(generator: torch.Generator) -> None:
    target = _target(generator, torch.float64, 1, 0.1)
    ascent = NoiseAscent(rtol=0.0)
    end = iterate(target, ascent, target.draw(generator), max_steps=400)
    assert end.status is Status.STALLED
    again = ascent.step(target, end.state)
    assert again.has_stalled
    assert again.value == end.state.value
    assert again.num_solves > end.state.num_solves
