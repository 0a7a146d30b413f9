"""The front: what it reports is attained, and random search does not beat it."""

import math
from dataclasses import replace

import pytest
import torch

from nuclear_cases import optimum
from tacit.errors import InputError, Status
from tacit.recovery.adversary.implicit import AscentState
from tacit.recovery.adversary.target import noise_target, solve_for_noise
from tacit.recovery.adversary.worst_noise import WorstNoise, worst_noise
from tacit.recovery.maps.rank_one import RankOneMap
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out

DTYPES = [torch.float64, torch.complex128]


def _problem(
    generator: torch.Generator, dtype: torch.dtype, shape: tuple[int, int] = (5, 4)
) -> RecoveryProblem:
    problem = planted_problem(
        shape, 1, num_measurements=22, noise=0.3, dtype=dtype, generator=generator
    )
    return hold_out(problem, 0.1, generator=generator)


def _deconvolution(
    size: int, length: int, generator: torch.Generator
) -> RecoveryProblem:
    """Partial Fourier matrix and Gaussian signals, complex, K = N."""
    eye = torch.eye(length, size, dtype=torch.complex128)
    signals = torch.randn(length, size, dtype=torch.complex128, generator=generator)
    return planted_problem(
        (size, size),
        1,
        linear_map=RankOneMap(
            left_vectors=torch.fft.fft(eye, dim=0, norm="ortho"), right_vectors=signals
        ),
        generator=generator,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("noise_bound", [0.02, 0.2])
def test_reported_error_is_attained(
    dtype: torch.dtype, noise_bound: float, generator: torch.Generator
) -> None:
    problem = _problem(generator, dtype)
    found = worst_noise(problem, noise_bound, num_starts=2, generator=generator)
    size = float(torch.linalg.vector_norm(found.noise))
    assert size <= noise_bound * (1.0 + 1e-12)
    assert found.relative_gap <= 1e-6
    assert found.certificate.infeasibility <= 1e-9
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    clean = problem.linear_map.apply(truth)
    observed = replace(problem, measurements=clean + found.noise)
    assert float(found.noise[problem.weights == 0.0].abs().max()) == 0.0
    other = optimum(NuclearProgram(problem=observed, noise_bound=noise_bound))
    assert other is not None
    attained = float(torch.linalg.matrix_norm(other.matrix - truth))
    assert found.error == pytest.approx(attained, rel=1e-2)
    assert found.error == pytest.approx(
        float(torch.linalg.matrix_norm(found.matrix - truth)), rel=1e-12
    )
    scale = float(torch.linalg.matrix_norm(truth))
    assert found.relative_error == pytest.approx(found.error / scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_search_does_not_beat_it(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = _problem(generator, dtype)
    found = worst_noise(problem, 0.1, generator=generator)
    target = noise_target(problem, 0.1)
    noise = target.draw(generator)
    best = solve_for_noise(target, noise)
    for trial in range(150):  # random draws, then random steps from the best of them
        fresh = target.draw(generator)
        other = fresh if trial < 50 else target.into_ball(noise + 0.3 * fresh)
        answer = solve_for_noise(target, other, best)
        assert answer.error <= found.error * (1.0 + 1e-4)
        if answer.error > best.error:
            noise, best = other, answer
    assert best.error > 0.7 * found.error  # the search is no straw man
    assert found.error <= found.cone_size


def test_no_noise_of_two_measurements_beats_it(generator: torch.Generator) -> None:
    """Brute force over the whole circle, and over shorter noises."""
    problem = planted_problem(
        (2, 2), 1, num_measurements=2, noise=0.0, generator=generator
    )
    found = worst_noise(problem, 0.1, generator=generator)
    target = noise_target(problem, 0.1)
    worst = 0.0
    for radius in (0.1, 0.07):
        for place in range(120):
            angle = 2.0 * math.pi * place / 120.0
            noise = torch.tensor(
                [radius * math.cos(angle), radius * math.sin(angle)],
                dtype=torch.float64,
            )
            worst = max(worst, solve_for_noise(target, noise).error)
    assert worst <= found.error * (1.0 + 1e-3)
    assert worst >= found.error * (1.0 - 1e-2)


def test_at_least_twice_the_random_error(generator: torch.Generator) -> None:
    problem = _deconvolution(8, 80, generator)
    found = worst_noise(problem, 1e-2, num_starts=2, generator=generator)
    assert found.over_random > 2.0
    assert found.relative_gap <= 1e-6
    assert found.cone_size > found.error


def test_what_is_told_on_the_way(generator: torch.Generator) -> None:
    problem = _problem(generator, torch.float64)
    phases: list[str] = []
    states: list[AscentState] = []
    found = worst_noise(
        problem,
        0.1,
        num_starts=3,
        num_random=4,
        max_steps=5,
        observers=[lambda step, state: states.append(state)],
        on_phase=phases.append,
        generator=generator,
    )
    assert phases[:2] == ["random noise", "descent cone"]
    assert phases[-1] == "certificate"
    assert len(phases) == 6
    assert len(found.starts) == 3
    assert found.error == max(error for _, error in found.starts)
    assert found.error == max(state.value for state in states)
    assert found.history[-1] == found.error
    assert found.method == f"gradient ascent from: {found.starts[_won(found)][0]}"
    assert len(found.random_errors) == 4
    assert found.num_solves >= len(states)
    assert found.seconds > 0.0


def _won(found: WorstNoise) -> int:
    errors = [error for _, error in found.starts]
    return errors.index(max(errors))


def test_an_observer_can_end_it(generator: torch.Generator) -> None:
    problem = _problem(generator, torch.float64)
    found = worst_noise(
        problem,
        0.1,
        observers=[lambda step, state: Status.INTERRUPTED],
        generator=generator,
    )
    assert found.status is Status.INTERRUPTED
    assert len(found.starts) == 1


def test_much_noise_makes_the_answer_zero_or_worse(generator: torch.Generator) -> None:
    problem = _problem(generator, torch.float64)
    found = worst_noise(problem, 5.0, num_starts=1, generator=generator)
    assert found.relative_noise > 1.0
    assert found.relative_error >= 1.0 - 1e-12
    assert len(found.starts) == 2


def test_a_seed_repeats_it() -> None:
    errors: list[float] = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(3)
        problem = _problem(generator, torch.complex128)
        found = worst_noise(problem, 0.1, num_starts=3, generator=generator)
        errors.append(found.error)
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    ("num_starts", "max_steps", "num_random"),
    [(0, 1, 1), (1, -1, 1), (1, 1, 0), (4, 1, 1)],
)
def test_counts_out_of_range(
    num_starts: int, max_steps: int, num_random: int, generator: torch.Generator
) -> None:
    problem = _problem(generator, torch.float64)
    with pytest.raises(InputError, match="num_starts"):
        worst_noise(
            problem,
            0.1,
            num_starts=num_starts,
            max_steps=max_steps,
            num_random=num_random,
            generator=generator,
        )
