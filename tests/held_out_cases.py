"""Factors to judge, and how often an interval has to cover the truth."""

import math
from typing import Any

import torch
from torch import Tensor

from tacit.recovery.held_out import HeldOutError, held_out_error
from tacit.recovery.problem import Planted, RecoveryProblem

Interval = tuple[float, float]
REPEATS = 400


def contains(interval: Interval | None, value: float) -> bool:
    assert interval is not None
    return interval[0] <= value <= interval[1]


def lowest_count(confidence: float) -> float:
    """Five standard deviations below the expected number of covering intervals."""
    deviation = math.sqrt(REPEATS * confidence * (1.0 - confidence))
    return REPEATS * confidence - 5.0 * deviation


def highest_count(confidence: float) -> float:
    return 2.0 * REPEATS * confidence - lowest_count(confidence)


def truth_of(problem: RecoveryProblem) -> Planted:
    assert problem.planted is not None
    return problem.planted


def judged(
    problem: RecoveryProblem, left: Tensor, right: Tensor, **options: Any
) -> HeldOutError:
    error = held_out_error(problem, left, right, **options)
    assert error is not None
    return error


def perturbed(
    problem: RecoveryProblem, scale: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Factors that differ from the truth, the same pair if they should be."""
    truth = truth_of(problem)

    def draw(factor: Tensor) -> Tensor:
        noise = torch.randn(factor.shape, generator=generator, dtype=factor.dtype)
        return factor + scale * noise

    left = draw(truth.left)
    return (left, left) if problem.is_symmetric else (left, draw(truth.right))


def matrix_error(problem: RecoveryProblem, left: Tensor, right: Tensor) -> Tensor:
    truth = truth_of(problem)
    return left @ right.mH - truth.left @ truth.right.mH


def norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))
