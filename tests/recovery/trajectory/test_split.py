"""Angles, split and error against constructed answers and dense matrices."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cases import normal
from recovery_cases import COMPLEX, draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.trajectory.split import (
    principal_angles,
    relative_error,
    split_factor,
)
from tacit.rng import make_generator

EPS = torch.finfo(torch.float64).eps


def planes(angles: list[float], generator: torch.Generator) -> list[torch.Tensor]:
    """Two subspaces at the given angles, in random coordinates and random bases."""
    count = len(angles)
    size = 2 * count + 1
    axes = torch.linalg.qr(draw(generator, size, size, dtype=COMPLEX))[0]
    turn = torch.tensor(angles, dtype=torch.float64)
    first = axes[:, :count]
    second = first * turn.cos() + axes[:, count : 2 * count] * turn.sin()
    return [m @ draw(generator, count, count, dtype=COMPLEX) for m in (first, second)]


@given(
    angles=st.lists(
        st.floats(min_value=0.0, max_value=math.pi / 2), min_size=1, max_size=4
    ),
    seed=st.integers(min_value=0, max_value=1000),
)
def test_angles_of_constructed_subspaces_are_found(
    angles: list[float], seed: int
) -> None:
    first, second = planes(angles, make_generator(seed, "planes"))
    expected = torch.tensor(sorted(angles), dtype=torch.float64)
    # The random bases' condition numbers multiply the rounding error of QR.
    slack = 1e3 * EPS * max(float(torch.linalg.cond(m)) for m in (first, second))
    for found in (principal_angles(first, second), principal_angles(second, first)):
        torch.testing.assert_close(found, expected, rtol=0.0, atol=slack)


def test_tiny_and_nearly_right_angles_keep_their_digits() -> None:
    axes = torch.eye(5, dtype=torch.float64)
    tilt = torch.stack((axes[0] + 1e-9 * axes[2], 1e-9 * axes[1] + axes[3]), 1)
    found = principal_angles(axes[:, :2], tilt)
    assert float(found[0]) == pytest.approx(1e-9, rel=1e-9)
    assert float(math.pi / 2 - found[1]) == pytest.approx(1e-9, rel=1e-6)


def test_a_line_has_one_angle_to_a_plane(generator: torch.Generator) -> None:
    plane = torch.eye(6, dtype=torch.float64)[:, :2]
    line = normal(generator, 6, 1)
    found = principal_angles(line, plane)
    cosine = float(line[:2].norm() / line.norm())
    assert found.shape == (1,)
    assert float(found[0]) == pytest.approx(math.acos(cosine), abs=1e-12)


def test_angles_come_for_a_batch(generator: torch.Generator) -> None:
    first, second = normal(generator, 3, 7, 2), normal(generator, 3, 7, 2)
    batch = principal_angles(first, second)
    single = torch.stack([principal_angles(first[i], second[i]) for i in range(3)])
    torch.testing.assert_close(batch, single)


@pytest.mark.parametrize("shapes", [((4, 2), (5, 2)), ((3, 4), (3, 1))])
def test_subspaces_that_do_not_fit_are_refused(
    shapes: tuple[tuple[int, int], tuple[int, int]], generator: torch.Generator
) -> None:
    first, second = (normal(generator, *shape) for shape in shapes)
    with pytest.raises(ShapeError, match="two subspaces"):
        principal_angles(first, second)


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
@pytest.mark.parametrize("width", [2, 5])
def test_the_split_of_a_factor_built_from_two_parts(
    dtype: torch.dtype, width: int, generator: torch.Generator
) -> None:
    # Signal rows and noise rows on orthogonal right subspaces, by construction.
    axes = torch.linalg.qr(draw(generator, 9, 9, dtype=dtype))[0]
    rows = torch.linalg.qr(draw(generator, width + 2, width + 2, dtype=dtype))[0]
    signal = draw(generator, 9, 2, dtype=dtype) @ rows[:2]
    noise = axes[:, 2:] @ draw(generator, 7, width, dtype=dtype) @ rows[2:]
    found_signal, found_noise = split_factor(signal + noise, axes[:, :2])
    torch.testing.assert_close(found_signal, signal, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(found_noise, noise, rtol=0.0, atol=1e-12)


def test_the_noise_part_is_orthogonal_to_the_signal(
    generator: torch.Generator,
) -> None:
    basis = torch.linalg.qr(normal(generator, 8, 3))[0]
    factors = normal(generator, 4, 8, 6)
    signal, noise = split_factor(factors, basis)
    torch.testing.assert_close(signal + noise, factors)
    assert float((basis.mH @ noise).abs().max()) < 1e-13
    assert torch.linalg.matrix_rank(signal).tolist() == [3] * 4


def test_a_basis_that_is_not_orthonormal_is_refused(
    generator: torch.Generator,
) -> None:
    with pytest.raises(InputError, match="orthonormal"):
        split_factor(normal(generator, 5, 3), normal(generator, 5, 2))


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_the_error_on_factors_is_that_of_the_matrices(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    left = draw(generator, 2, 7, 3, dtype=dtype)
    right = draw(generator, 2, 5, 3, dtype=dtype)
    true_left = draw(generator, 7, 2, dtype=dtype)
    true_right = draw(generator, 5, 2, dtype=dtype)
    truth = true_left @ true_right.mH
    expected = torch.linalg.matrix_norm(left @ right.mH - truth)
    expected /= torch.linalg.matrix_norm(truth)
    found = relative_error(left, right, true_left, true_right)
    torch.testing.assert_close(found, expected)


def test_errors_far_below_the_root_of_the_rounding_unit_are_seen(
    generator: torch.Generator,
) -> None:
    # An expansion in inner products would return something of the order of 1e-8.
    truth = torch.linalg.qr(normal(generator, 30, 1))[0]
    found = relative_error((1.0 + 1e-12) * truth, truth, truth, truth)
    assert float(found) == pytest.approx(1e-12, rel=0.01)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 2), (5, 2), (3, 1), (5, 1)),
        ((4, 2), (5, 2), (4, 1), (4, 1)),
        ((4, 2), (5, 3), (4, 1), (5, 1)),
        ((4, 2), (5, 2), (4, 1), (5, 2)),
    ],
)
def test_factors_that_do_not_fit_are_refused(
    shapes: tuple[tuple[int, int], ...], generator: torch.Generator
) -> None:
    left, right, true_left, true_right = (normal(generator, *s) for s in shapes)
    with pytest.raises(ShapeError, match="must agree"):
        relative_error(left, right, true_left, true_right)
