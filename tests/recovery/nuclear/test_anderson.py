"""Extrapolation on linear maps, where it is a Krylov method, and its guard."""

import pytest
import torch
from torch import Tensor

from recovery_cases import draw
from tacit.recovery.nuclear.anderson import Memory, extrapolate


def _linear(
    generator: torch.Generator, size: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """A symmetric contraction with spectrum in (0, 0.99), and its shift."""
    q = torch.linalg.qr(draw(generator, size, size, dtype=dtype)).Q
    values = torch.linspace(0.01, 0.99, size, dtype=torch.float64)
    return (q * values) @ q.mH, draw(generator, size, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_linear_map_of_few_dimensions_is_solved(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    matrix, shift = _linear(generator, 4, dtype)
    exact = torch.linalg.solve(torch.eye(4, dtype=dtype) - matrix, shift)
    point = torch.zeros(4, dtype=dtype)
    memory = Memory.empty(point)
    errors: list[float] = []
    for _ in range(12):
        point, memory = extrapolate(memory, point, matrix @ point + shift - point)
        errors.append(float(torch.linalg.vector_norm(point - exact)))
    plain = torch.zeros(4, dtype=dtype)
    for _ in range(12):
        plain = matrix @ plain + shift
    assert errors[-1] <= 1e-3 * float(torch.linalg.vector_norm(plain - exact))


def test_the_first_step_is_plain(generator: torch.Generator) -> None:
    point, residual = draw(generator, 5), draw(generator, 5)
    following, memory = extrapolate(Memory.empty(point), point, residual)
    assert bool((following == point + residual).all())
    assert memory.targets.shape == (0, 5)


def test_memory_is_bounded(generator: torch.Generator) -> None:
    point = draw(generator, 30)
    memory = Memory.empty(point)
    for step in range(20):
        point, memory = extrapolate(memory, point, draw(generator, 30) / (step + 1))
    assert memory.targets.shape[0] <= 8
    assert memory.residuals.shape == memory.targets.shape


def test_a_longer_residual_goes_back_to_the_best_point(
    generator: torch.Generator,
) -> None:
    point, residual = draw(generator, 5), draw(generator, 5)
    _, memory = extrapolate(Memory.empty(point), point, residual)
    elsewhere = draw(generator, 5)
    following, memory = extrapolate(memory, elsewhere, 100.0 * residual)
    assert bool((following == point + residual).all())
    assert memory.targets.shape[0] == 0


def test_what_was_given_is_not_changed(generator: torch.Generator) -> None:
    point, residual = draw(generator, 6), draw(generator, 6)
    memory = Memory.empty(point)
    for _ in range(3):
        _, memory = extrapolate(memory, draw(generator, 6), draw(generator, 6))
    kept = memory.targets.clone(), point.clone(), residual.clone()
    extrapolate(memory, point, residual)
    for was, now in zip(kept, (memory.targets, point, residual), strict=True):
        assert bool((was == now).all())
