"""Norms of matrices: never below the exact value, and tight."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cases import normal
from tacit.errors import ShapeError
from tacit.lipschitz.closed_form.matrix_norms import (
    inf_to_two_bound,
    join_scales,
    one_to_two_norm,
    round_up,
    spectral_norm_bound,
    spectral_norm_bounds,
    times_power_of_two,
)
from tacit.rng import make_generator

integers = st.lists(st.integers(-1000, 1000), min_size=1, max_size=12)


@given(integers, integers, st.integers(-900, 400))
def test_the_bound_is_above_the_exact_norm_of_rank_one(
    u: list[int], v: list[int], exponent: int
) -> None:
    matrix = torch.outer(torch.tensor(u).double(), torch.tensor(v).double())
    bound = Fraction(spectral_norm_bound(times_power_of_two(matrix, exponent)))
    # |u v^T| = |u| |v|, a root of an integer: compared in squares, exactly.
    square = Fraction(sum(a * a for a in u) * sum(b * b for b in v))
    square *= Fraction(4) ** exponent
    assert bound * bound >= square
    assert bound * bound <= square * (1 + Fraction(1, 10**12))


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (5, 5), (40, 30), (30, 200)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_bound_meets_the_singular_value(
    shape: tuple[int, int], dtype: torch.dtype, generator: torch.Generator
) -> None:
    batch = torch.randn(3, *shape, generator=generator, dtype=dtype)
    truth = torch.linalg.svdvals(batch)[:, 0]
    bounds = spectral_norm_bounds(batch)
    assert bool((bounds >= truth * (1 - 1e-14)).all())
    assert bool((bounds <= truth * (1 + 1e-11)).all())


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-160, 1e160, 1e300])
def test_scale_does_not_matter(scale: float, generator: torch.Generator) -> None:
    matrix = normal(generator, 6, 4)
    truth = float(torch.linalg.svdvals(matrix)[0])
    # The entries of the scaled matrix have few digits left below 1e-308.
    rtol = 1e-2 if scale < 1e-307 else 1e-12
    assert spectral_norm_bound(matrix * scale) == pytest.approx(truth * scale, rtol)
    lengths = torch.linalg.vector_norm(matrix, dim=0)
    expected = float(lengths.max()) * scale
    assert one_to_two_norm(matrix * scale) == pytest.approx(expected, rtol)


def test_one_batch_may_hold_all_scales() -> None:
    scales = torch.tensor([0.0, 5e-324, 1e-200, 1.0, 1e200, 1.7e308]).double()
    bounds = spectral_norm_bounds(scales[:, None, None])
    assert bool((bounds >= scales).all())
    assert float(bounds[0]) == 0.0
    assert bounds[2:].tolist() == pytest.approx(scales[2:].tolist(), rel=1e-13)


def test_what_is_not_finite_has_no_finite_bound() -> None:
    batch = torch.tensor([[[math.inf]], [[math.nan]], [[2.0]]], dtype=torch.float64)
    bounds = spectral_norm_bounds(batch).tolist()
    assert bounds[:2] == [math.inf, math.inf]
    assert bounds[2] == pytest.approx(2.0, rel=1e-13)
    assert (
        spectral_norm_bound(torch.full((3, 3), 1e308, dtype=torch.float64)) == math.inf
    )


def test_empty_matrices_are_zero() -> None:
    assert spectral_norm_bounds(torch.zeros(2, 0, 3).double()).tolist() == [0.0, 0.0]
    assert one_to_two_norm(torch.zeros(0, 3).double()) == 0.0
    assert inf_to_two_bound(torch.zeros(0, 3).double()) == 0.0


def test_only_a_matrix_has_a_spectral_norm() -> None:
    with pytest.raises(ShapeError, match="two axes"):
        spectral_norm_bound(torch.zeros(3))


def _inf_to_two(matrix: Tensor) -> float:
    columns = matrix.shape[1]
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=columns))).double()
    return float(torch.linalg.vector_norm(matrix @ signs.T, dim=0).max())


@pytest.mark.parametrize("seed", range(40))
def test_inf_to_two_is_between_the_maximum_over_signs_and_its_relaxation(
    seed: int,
) -> None:
    generator = make_generator(seed, "inf to two")
    rows, columns = 1 + seed % 5, 1 + seed % 8
    matrix = normal(generator, rows, columns)
    if seed % 4 == 1:
        matrix[:, 0] *= 1e6
    if seed % 4 == 2:
        matrix[:, -1] = 0.0
    if seed % 4 == 3:
        matrix *= 1e-200
    truth, bound = _inf_to_two(matrix), inf_to_two_bound(matrix)
    assert bound >= truth * (1 - 1e-14)
    easy = [
        float(torch.linalg.vector_norm(matrix / matrix.abs().max(), dim=0).sum()),
        math.sqrt(columns)
        * float(torch.linalg.svdvals(matrix / matrix.abs().max())[0]),
    ]
    assert bound <= min(easy) * float(matrix.abs().max()) * (1 + 1e-10)


def test_inf_to_two_of_one_row_is_its_l1_norm(generator: torch.Generator) -> None:
    row = normal(generator, 1, 50)
    assert inf_to_two_bound(row) == pytest.approx(float(row.abs().sum()), rel=1e-12)


@given(st.integers(-5000, 5000), st.integers(1, 10**9))
def test_rounding_up_is_tight_and_never_down(exponent: int, odd: int) -> None:
    value = Fraction(odd) * Fraction(2) ** exponent
    rounded = round_up(value)
    if rounded == math.inf:
        assert value > Fraction(2) ** 1023
        return
    assert Fraction(rounded) >= value
    below = math.nextafter(rounded, 0.0)
    assert Fraction(below) < value


@given(st.integers(-3000, 3000))
def test_a_power_of_two_is_applied_in_parts(exponent: int) -> None:
    start = torch.tensor([1.5, -3.0], dtype=torch.float64)
    back = times_power_of_two(times_power_of_two(start, exponent), -exponent)
    if abs(exponent) <= 1000:
        assert back.tolist() == start.tolist()
    expected = math.ldexp(1.5, exponent) if exponent < 1023 else math.inf
    assert float(times_power_of_two(start, exponent)[0]) == expected


def test_blocks_meet_in_one_unit() -> None:
    large = torch.tensor([[1e200, 0.0]], dtype=torch.float64)
    small = torch.tensor([[3.0]], dtype=torch.float64)
    unit, (a, b) = join_scales([large, small], [1000, 1700], [0, 1])
    assert float(torch.cat([a, b], dim=1).abs().max()) < 1.0
    assert (
        Fraction(float(a[0, 0])) * Fraction(2) ** unit
        == Fraction(1e200) * Fraction(2) ** 1000
    )
    assert Fraction(float(b[0, 0])) * Fraction(2) ** unit == 3 * Fraction(2) ** 1700
    unit, (zero,) = join_scales([torch.zeros(1, 1).double()], [50], [0])
    assert (unit, float(zero)) == (0, 0.0)
