"""Where ascents begin."""

import pytest
import torch

from recovery_cases import dense_matrix
from tacit.recovery.adversary.descent_cone import pull_inside
from tacit.recovery.adversary.starts import (
    CONE,
    RANDOM,
    TANGENT,
    ZERO,
    longest_of_cone,
    noise_starts,
    random_answers,
    tangent_noise,
)
from tacit.recovery.adversary.target import NoiseTarget, noise_target
from tacit.recovery.planted import planted_problem

DTYPES = [torch.float64, torch.complex128]


def _target(
    generator: torch.Generator, dtype: torch.dtype, noise_bound: float = 0.1
) -> NoiseTarget:
    problem = planted_problem(
        (6, 5), 1, num_measurements=26, dtype=dtype, generator=generator
    )
    return noise_target(problem, noise_bound)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tangent_noise_is_the_weakest_singular_vector(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    target = _target(generator, dtype)
    planted = target.problem.planted
    assert planted is not None
    rows, columns = torch.eye(6, dtype=dtype), torch.eye(5, dtype=dtype)
    u = planted.left / torch.linalg.vector_norm(planted.left)
    v = planted.right / torch.linalg.vector_norm(planted.right)
    spanning = [(row[:, None] @ v.mH).flatten() for row in rows]
    spanning += [(u @ column[None]).flatten() for column in columns]
    images = dense_matrix(target.problem.linear_map) @ torch.stack(spanning, 1)
    basis = torch.linalg.svd(torch.stack(spanning, 1), full_matrices=False)
    kept = int((basis.S > 1e-10).sum())
    assert kept == 10
    images = dense_matrix(target.problem.linear_map) @ basis.U[:, :kept]
    weakest = torch.linalg.svd(images, full_matrices=False).U[:, -1]
    noise = tangent_noise(target)
    assert float(torch.linalg.vector_norm(noise)) == pytest.approx(0.1, rel=1e-12)
    assert float(torch.vdot(weakest, noise).abs()) == pytest.approx(0.1, rel=1e-9)
    pulled = (u @ v.mH).flatten()
    n = -torch.linalg.pinv(images).mH @ (basis.U[:, :kept].mH @ pulled)
    aligned = torch.vdot(noise, n)
    assert float(aligned.real) > 0.0
    assert float(aligned.imag if dtype.is_complex else 0.0) == pytest.approx(
        0.0, abs=1e-12
    )


def test_random_answers_are_sorted(generator: torch.Generator) -> None:
    target = _target(generator, torch.float64)
    errors = [answer.error for _, answer in random_answers(target, 5, generator)]
    assert errors == sorted(errors, reverse=True)


def test_which_starts(generator: torch.Generator) -> None:
    target = _target(generator, torch.float64)
    member = pull_inside(target, -target.truth)
    noises = [target.draw(generator) for _ in range(3)]
    starts = noise_starts(target, member, noises, 4)
    assert [start.name for start in starts] == [CONE, TANGENT, RANDOM, RANDOM]
    assert starts[2].noise is noises[0]
    loud = _target(generator, torch.float64, 10.0)
    starts = noise_starts(loud, pull_inside(loud, -loud.truth), noises, 1)
    assert [start.name for start in starts] == [CONE, ZERO]
    left = loud.problem.measurements + starts[1].noise
    assert float(torch.linalg.vector_norm(left)) <= 10.0


def test_zero_error_is_no_start_for_the_cone(generator: torch.Generator) -> None:
    target = _target(generator, torch.float64)
    zero = torch.zeros_like(target.truth)
    alone = longest_of_cone(target, zero)
    both = longest_of_cone(target, -target.truth)
    assert both.size >= alone.size > 0.0
