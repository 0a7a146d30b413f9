"""Starts and defaults: their law, their scale, and closed forms."""

import math
from dataclasses import dataclass, replace
from typing import Any, final

import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.start import (
    DataScale,
    data_scale,
    default_init_scale,
    default_search_rank,
    default_step_size,
    small_start,
    spectral_start,
)


def problem_of(
    shape: tuple[int, int],
    *,
    is_symmetric: bool = False,
    dtype: torch.dtype = torch.float64,
) -> RecoveryProblem:
    """One measurement that sees the whole matrix: cheap at any size."""
    linear_map = EntriesMap(
        rows=torch.zeros(1, dtype=torch.int64),
        columns=torch.zeros(1, dtype=torch.int64),
        shape=shape,
        dtype=dtype,
    )
    return RecoveryProblem(
        linear_map=linear_map,
        measurements=torch.ones(1, dtype=dtype),
        is_symmetric=is_symmetric,
    )


def everything(
    matrix: Tensor, *, scale: float = 1.0, is_symmetric: bool = False
) -> RecoveryProblem:
    """Measure every entry, times ``scale``; the map claims no isotropy."""
    size = matrix.numel()
    linear_map = StoredMap(
        matrix=scale * torch.eye(size, dtype=matrix.dtype),
        shape=(matrix.shape[0], matrix.shape[1]),
    )
    return RecoveryProblem(
        linear_map=linear_map,
        measurements=linear_map.apply(matrix),
        is_symmetric=is_symmetric,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("is_symmetric", [False, True])
def test_small_starts_have_the_variance_of_the_papers(
    dtype: torch.dtype, is_symmetric: bool, generator: torch.Generator
) -> None:
    problem = problem_of((400, 400), is_symmetric=is_symmetric, dtype=dtype)
    left, right = small_start(problem, 100, 1e-3, generator=generator)
    variance = 1e-6 / 100 if is_symmetric else 1e-6
    # The mean of N squares has relative deviation sqrt(2 / N); real and imaginary
    # parts each carry half of the variance.
    for part in torch.view_as_real(left).unbind(-1) if dtype.is_complex else (left,):
        share = 0.5 if dtype.is_complex else 1.0
        ratio = float(part.square().mean()) / (share * variance)
        assert abs(ratio - 1.0) <= 5.0 * math.sqrt(2.0 / part.numel())
        assert abs(float(part.mean())) <= 5.0 * math.sqrt(
            share * variance / part.numel()
        )
    assert (right is left) == is_symmetric
    if not is_symmetric:
        overlap = (left.conj() * right).mean().abs() / variance
        assert float(overlap) <= 5.0 / math.sqrt(left.numel())


def test_scales_multiply_the_same_draws(generator: torch.Generator) -> None:
    problem = problem_of((6, 4))
    scales = torch.tensor([1e-2, 1e-5], dtype=torch.float64)
    left, right = small_start(problem, 3, scales, generator=generator, num_starts=5)
    assert left.shape == (2, 5, 6, 3)
    assert right.shape == (2, 5, 4, 3)
    torch.testing.assert_close(left[0], 1e3 * left[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(right[0], 1e3 * right[1], rtol=1e-12, atol=0)
    assert left.flatten(1)[0].unique().numel() == 5 * 6 * 3  # starts differ


def test_dimensions_that_were_not_asked_for_are_left_out(
    generator: torch.Generator,
) -> None:
    problem = problem_of((6, 4))
    state = generator.get_state()
    one, _ = small_start(problem, 3, 0.1, generator=generator)
    generator.set_state(state)
    scaled, _ = small_start(problem, 3, torch.tensor([0.1, 0.2]), generator=generator)
    assert one.shape == (6, 3)
    assert scaled.shape == (2, 6, 3)
    torch.testing.assert_close(scaled[0], one, rtol=1e-6, atol=0)
    generator.set_state(state)
    batch, _ = small_start(problem, 3, 0.1, generator=generator, num_starts=1)
    assert torch.equal(batch[0], one)


def test_single_precision_takes_the_same_draws(generator: torch.Generator) -> None:
    state = generator.get_state()
    double, _ = small_start(problem_of((6, 4)), 3, 0.1, generator=generator)
    generator.set_state(state)
    single, _ = small_start(
        problem_of((6, 4), dtype=torch.float32), 3, 0.1, generator=generator
    )
    assert single.dtype == torch.float32
    assert torch.equal(single, double.float())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search_rank": 0}, r"search_rank must be at least 1; got 0"),
        ({"num_starts": 0}, r"num_starts must be at least 1 or None; got 0"),
        ({"init_scale": 0.0}, r"init_scale must be positive and finite; got 0\.0"),
        ({"init_scale": math.inf}, r"positive and finite; got inf"),
        ({"init_scale": math.nan}, r"positive and finite; got nan"),
        ({"init_scale": torch.tensor([1.0, -1.0])}, r"positive and finite; got"),
    ],
)
def test_bad_options_of_a_small_start_are_refused(
    options: dict[str, Any], message: str, generator: torch.Generator
) -> None:
    given: dict[str, Any] = {"search_rank": 2, "init_scale": 0.1} | options
    with pytest.raises(InputError, match=message):
        small_start(problem_of((3, 3)), **given, generator=generator)


def test_a_table_of_scales_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ShapeError, match=r"number or a vector; got shape \(2, 2\)"):
        small_start(problem_of((3, 3)), 2, torch.ones(2, 2), generator=generator)


@pytest.mark.parametrize("scale", [1.0, 7.0])
@pytest.mark.parametrize("is_complex", [False, True])
def test_with_every_entry_measured_the_spectral_start_is_the_best_approximation(
    scale: float, is_complex: bool, generator: torch.Generator
) -> None:
    """Whatever the map's scale: the fitted gain undoes it."""
    matrix = normal(generator, 6, 4)
    if is_complex:
        matrix = matrix + 1j * normal(generator, 6, 4)
    left, right = spectral_start(
        everything(matrix, scale=scale), 2, generator=generator
    )
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(
        left @ right.mH, (u[:, :2] * s[:2]) @ vh[:2], rtol=1e-11, atol=1e-11
    )
    torch.testing.assert_close(left.mH @ left, right.mH @ right, rtol=0, atol=1e-12)


def test_a_symmetric_spectral_start_keeps_the_positive_part(
    generator: torch.Generator,
) -> None:
    basis = torch.linalg.qr(normal(generator, 5, 5))[0]
    values = torch.tensor([3.0, -9.0, 1.0, -0.5, -2.0], dtype=torch.float64)
    matrix = (basis * values) @ basis.mH
    left, right = spectral_start(
        everything(matrix, scale=3.0, is_symmetric=True), 4, generator=generator
    )
    assert right is left
    positive = (basis * values.clamp_min(0.0)) @ basis.mH
    torch.testing.assert_close(left @ left.mH, positive, rtol=1e-11, atol=1e-11)
    assert left[:, 2:].tolist() == [[0.0, 0.0]] * 5


def test_an_isotropic_map_is_undone_by_its_law(generator: torch.Generator) -> None:
    """A fifth of the entries of a flat matrix: expectation times a fifth, exactly."""
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    # Four entries in each row and column; a circulant whose other values are smaller.
    is_seen = torch.isin((columns - rows) % 20, torch.tensor([0, 1, 3, 7]))
    linear_map = EntriesMap(
        rows=rows[is_seen], columns=columns[is_seen], shape=(20, 20)
    )
    problem = RecoveryProblem(
        linear_map=linear_map,
        measurements=torch.full((80,), 3.0, dtype=torch.float64),
    )
    left, right = spectral_start(problem, 1, generator=generator)
    flat = torch.full((20, 20), 3.0, dtype=torch.float64)
    torch.testing.assert_close(left @ right.mH, flat, rtol=1e-12, atol=0)
    found = data_scale(problem, generator=generator)
    assert found.gain == pytest.approx(0.2, rel=1e-12)
    assert found.spectral_norm == pytest.approx(60.0, rel=1e-12)


def test_measurements_held_out_are_not_used(generator: torch.Generator) -> None:
    linear_map = gaussian_map((5, 4), 30, generator=generator)
    measured = normal(generator, 30)
    held_out = torch.arange(30) >= 20
    problem = RecoveryProblem(
        linear_map=linear_map, measurements=measured, held_out=held_out
    )
    others = replace(problem, measurements=torch.where(held_out, 1e3, measured))
    first = spectral_start(problem, 2, generator=generator)
    second = spectral_start(others, 2, generator=generator)
    torch.testing.assert_close(first, second, rtol=1e-13, atol=0)
    # The gain counts the twenty that are left, of second moment 1/30 each.
    matrix = linear_map.matrix[:20].T @ measured[:20]
    u, s, vh = torch.linalg.svd(matrix.reshape(5, 4))
    expected = (u[:, :2] * s[:2]) @ vh[:2] / (20 / 30)
    torch.testing.assert_close(first[0] @ first[1].mH, expected, rtol=0, atol=1e-11)


def test_a_batch_of_problems_has_a_batch_of_starts(
    generator: torch.Generator,
) -> None:
    matrices = normal(generator, 3, 5, 4)
    problem = everything(matrices[0], scale=2.0)
    batch = replace(problem, measurements=problem.linear_map.apply(matrices))
    left, right = spectral_start(batch, 4, generator=generator)
    torch.testing.assert_close(left @ right.mH, matrices, rtol=0, atol=1e-12)
    found = data_scale(batch, generator=generator)
    norm = float(torch.linalg.matrix_norm(matrices, 2).max())
    assert found.spectral_norm == pytest.approx(norm, rel=1e-12)
    assert found.gain == pytest.approx(4.0, rel=1e-12)


@pytest.mark.parametrize("is_symmetric", [False, True])
def test_the_scale_of_planted_data_is_found(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    """Up to the fluctuation of the map: about sqrt(n r / m) relative each way."""
    problem = planted_problem(
        (30, 30), 2, oversampling=10.0, is_symmetric=is_symmetric, generator=generator
    )
    found = data_scale(problem, generator=generator)
    assert found.gain == pytest.approx(1.0, rel=1e-12)
    assert 0.7 <= found.spectral_norm <= 1.5


def test_data_without_a_scale_is_refused(generator: torch.Generator) -> None:
    zero = everything(torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(InputError, match=r"nonzero matrix; .* is 0\.0; check"):
        data_scale(zero, generator=generator)
    negative = everything(-torch.eye(3, dtype=torch.float64), is_symmetric=True)
    with pytest.raises(InputError, match=r"nonzero positive semidefinite matrix"):
        data_scale(negative, generator=generator)
    # A start of zeros is what explains these best.
    for problem in (zero, negative):
        left, right = spectral_start(problem, 2, generator=generator)
        assert not bool((left @ right.mH).any())


@final
@dataclass(frozen=True)
class Count:
    shape: tuple[int, int]
    num_fitted: int
    is_symmetric: bool
    dtype: torch.dtype


@pytest.mark.parametrize(
    "count",
    [
        Count((7, 5), num, is_symmetric=False, dtype=torch.float64)
        for num in (1, 10, 11, 20, 34, 35, 100)
    ]
    + [
        Count((6, 6), num, is_symmetric=True, dtype=dtype)
        for num in (1, 5, 6, 10, 11, 20, 21, 36)
        for dtype in (torch.float64, torch.complex128)
    ],
)
def test_the_search_rank_is_the_largest_that_is_determined(count: Count) -> None:
    """Unknowns counted by hand: factors less the rotations between them."""
    rows, columns = count.shape
    num_measurements = count.num_fitted + 3
    ones = torch.ones(num_measurements, rows * columns, dtype=count.dtype)
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=ones, shape=count.shape),
        measurements=torch.ones(num_measurements, dtype=count.dtype),
        is_symmetric=count.is_symmetric,
        held_out=torch.arange(num_measurements) < 3,
    )

    def unknowns(rank: int) -> int:
        if count.is_symmetric and not count.dtype.is_complex:
            return rows * rank - rank * (rank - 1) // 2
        return (rows + columns) * rank - rank * rank

    fitting = [
        rank
        for rank in range(1, min(rows, columns) + 1)
        if unknowns(rank) <= count.num_fitted
    ]
    assert default_search_rank(problem) == max(fitting, default=1)


def test_the_init_scale_has_the_unit_of_the_factors() -> None:
    """Of X times c^2 it is c times as large; rectangular starts grow by sqrt(k)."""
    symmetric = problem_of((4, 4), is_symmetric=True)
    one = DataScale(spectral_norm=1.0, gain=1.0)
    nine = DataScale(spectral_norm=9.0, gain=5.0)
    base = default_init_scale(symmetric, 16, one)
    assert base == 1e-6
    assert default_init_scale(symmetric, 16, nine) == pytest.approx(3 * base)
    assert default_init_scale(symmetric, 16, one, accuracy=1e-2) == 1e-2
    assert default_init_scale(problem_of((4, 4)), 16, one) == pytest.approx(base / 4)


@pytest.mark.parametrize("accuracy", [0.0, 1.0, -1.0, math.nan])
def test_an_accuracy_that_means_nothing_is_refused(accuracy: float) -> None:
    one = DataScale(spectral_norm=1.0, gain=1.0)
    with pytest.raises(InputError, match=r"accuracy must be in \(0, 1\); got"):
        default_init_scale(problem_of((4, 4)), 2, one, accuracy=accuracy)


def test_the_step_is_that_of_the_papers_in_the_unit_of_the_data() -> None:
    assert default_step_size(DataScale(spectral_norm=1.0, gain=1.0)) == 0.25
    scale = DataScale(spectral_norm=8.0, gain=0.5)
    assert default_step_size(scale) == 0.0625
    for metric in ("scaled", "damped", "loss_damped"):
        assert default_step_size(scale, metric) == 1.0
