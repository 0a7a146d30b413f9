"""The problem record: what it refuses, what it holds out, how many unknowns it has."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import (
    RecoveryProblem,
    degrees_of_freedom,
    hold_out,
    num_unknowns,
    widest_rank,
)
from tacit.rng import make_generator


def given(**changes: Any) -> dict[str, Any]:
    """Arguments of a valid problem with five measurements, some changed."""
    stored = StoredMap(
        matrix=torch.arange(30.0, dtype=torch.float64).reshape(5, 6), shape=(2, 3)
    )
    measurements = torch.arange(5.0, dtype=torch.float64)
    return {"linear_map": stored, "measurements": measurements, **changes}


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


BROKEN: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "dtype": (
        {"measurements": torch.arange(5.0)},
        InputError,
        r"measurements must be torch.float64 on cpu .* got torch.float32 on cpu",
    ),
    "length": (
        {"measurements": numbers(1.0, 2.0)},
        ShapeError,
        r"measurements must have shape \(\.\.\., 5\) .* got \(2,\)",
    ),
    "nothing": (
        {"measurements": torch.tensor(1.0, dtype=torch.float64)},
        ShapeError,
        r"got \(\)",
    ),
    "nan": (
        {"measurements": numbers(1, 2, math.nan, 4, 5)},
        InputError,
        "measurements must be finite; drop the others first",
    ),
    "infinity": (
        {"measurements": numbers(1, 2, math.inf, 4, 5)},
        InputError,
        "measurements must be finite",
    ),
    "rectangular": (
        {"is_symmetric": True},
        ShapeError,
        r"a symmetric problem needs a square matrix; got \(2, 3\)",
    ),
    "negative noise": (
        {"noise_level": -1.0},
        InputError,
        "noise_level must be a number of at least 0, .* got -1.0",
    ),
    "infinite noise": ({"noise_level": math.inf}, InputError, "got inf"),
    "noise nan": ({"noise_level": math.nan}, InputError, "got nan"),
    "mask of numbers": (
        {"held_out": torch.zeros(5)},
        ShapeError,
        r"held_out must be boolean of shape \(5,\); got torch.float32 of shape \(5,\)",
    ),
    "short mask": (
        {"held_out": torch.zeros(4, dtype=torch.bool)},
        ShapeError,
        r"held_out must be boolean of shape \(5,\); got torch.bool of shape \(4,\)",
    ),
    "full mask": (
        {"held_out": torch.ones(5, dtype=torch.bool)},
        InputError,
        "every measurement is held out; leave some to fit",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_refused(name: str) -> None:
    changes, error, message = BROKEN[name]
    RecoveryProblem(**given())
    with pytest.raises(error, match=message):
        RecoveryProblem(**given(**changes))


def test_batches_of_measurements_are_accepted() -> None:
    batch = torch.ones(4, 5, dtype=torch.float64)
    assert RecoveryProblem(**given(measurements=batch)).measurements.shape == (4, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_weights_are_real_and_zero_where_held_out(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_problem(
        (4, 3), 1, num_measurements=6, dtype=dtype, generator=generator
    )
    mask = torch.tensor([True, False, False, True, False, False])
    weights = replace(problem, held_out=mask).weights
    assert weights.tolist() == [0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    assert weights.dtype == problem.measurements.real.dtype
    assert problem.weights.tolist() == [1.0] * 6


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_sums_of_squares_are_taken_over_each_part(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_problem(
        (4, 3), 1, num_measurements=6, dtype=dtype, generator=generator
    )
    mask = torch.tensor([True, False, False, True, False, False])
    held = replace(problem, held_out=mask)
    batch = torch.randn(3, 6, generator=generator, dtype=dtype)
    expected = [
        [sum(abs(z) ** 2 for z in row) for row in batch[:, part].tolist()]
        for part in (~mask, mask)
    ]
    sums = held.sums_of_squares(batch)
    torch.testing.assert_close(sums.double(), torch.tensor(expected).double())
    measured = problem.measurements.abs().square()
    torch.testing.assert_close(
        held.squared_sizes, torch.stack([measured[~mask].sum(), measured[mask].sum()])
    )
    assert float(problem.squared_sizes[1]) == 0.0


@pytest.mark.parametrize(
    ("fraction", "count"), [(0.0, 0), (0.04, 0), (0.25, 2), (0.5, 5), (0.999, 9)]
)
def test_hold_out_takes_the_nearest_number_and_leaves_one(
    fraction: float, count: int, generator: torch.Generator
) -> None:
    problem = planted_problem(
        (4, 3), 1, num_measurements=10, noise=0.1, generator=generator
    )
    held = hold_out(problem, fraction, generator=generator)
    if count == 0:
        assert held.held_out is None
    else:
        assert held.held_out is not None
        assert int(held.held_out.sum()) == count
    assert held.linear_map is problem.linear_map
    assert held.measurements is problem.measurements
    assert (held.noise_level, held.planted) == (problem.noise_level, problem.planted)
    assert hold_out(held, 0.0, generator=generator).held_out is None


def test_hold_out_draws_every_measurement_equally_often(
    generator: torch.Generator,
) -> None:
    problem = planted_problem((4, 3), 1, num_measurements=10, generator=generator)
    times = torch.zeros(10)
    for _ in range(2000):
        mask = hold_out(problem, 0.3, generator=generator).held_out
        assert mask is not None
        times += mask
    # Each is Binomial(2000, 0.3): five standard deviations.
    assert float((times - 600).abs().max()) < 5 * math.sqrt(2000 * 0.3 * 0.7)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, math.nan])
def test_hold_out_refuses_a_fraction_out_of_range(
    fraction: float, generator: torch.Generator
) -> None:
    problem = RecoveryProblem(**given())
    with pytest.raises(InputError, match=r"fraction held out must be in \[0, 1\); got"):
        hold_out(problem, fraction, generator=generator)


def tangent_rank(columns: list[Tensor]) -> int:
    matrix = torch.stack([column.flatten() for column in columns])
    return int(torch.linalg.matrix_rank(matrix))


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_unknowns_are_the_rank_of_the_jacobian(
    rank: int, dtype: torch.dtype, generator: torch.Generator
) -> None:
    """Derivatives of L R^T with respect to every entry of L and of R."""
    left = torch.randn(6, rank, generator=generator, dtype=dtype)
    right = torch.randn(4, rank, generator=generator, dtype=dtype)
    units_left = torch.eye(6 * rank, dtype=dtype).reshape(-1, 6, rank)
    units_right = torch.eye(4 * rank, dtype=dtype).reshape(-1, 4, rank)
    tangents = [unit @ right.T for unit in units_left]
    tangents += [left @ unit.T for unit in units_right]
    assert degrees_of_freedom((6, 4), rank) == tangent_rank(tangents)


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_unknowns_of_symmetric_matrices_are_the_rank_of_the_jacobian(
    rank: int, generator: torch.Generator
) -> None:
    factor = normal(generator, 5, rank)
    units = torch.eye(5 * rank, dtype=torch.float64).reshape(-1, 5, rank)
    tangents = [unit @ factor.T + factor @ unit.T for unit in units]
    assert degrees_of_freedom((5, 5), rank, is_symmetric=True) == tangent_rank(tangents)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_unknowns_of_hermitian_matrices_are_counted_as_real_numbers(
    rank: int, generator: torch.Generator
) -> None:
    factor = torch.randn(5, rank, generator=generator, dtype=torch.complex128)
    units = torch.eye(5 * rank, dtype=torch.complex128).reshape(-1, 5, rank)
    tangents = [
        torch.view_as_real(phase * unit @ factor.mH + factor @ (phase * unit).mH)
        for unit in units
        for phase in (1.0, 1.0j)
    ]
    problem = planted_problem(
        (5, 5),
        rank,
        num_measurements=9,
        is_symmetric=True,
        dtype=torch.complex128,
        generator=generator,
    )
    assert num_unknowns(problem, rank) == tangent_rank(tangents)


@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("part", [0.1, 0.5, 1.0, 5.0])
def test_the_widest_rank_is_that_of_a_search_through_all(
    part: float, is_symmetric: bool, generator: torch.Generator
) -> None:
    problem = planted_problem(
        (9, 9),
        2,
        num_measurements=60,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    problem = hold_out(problem, 0.2, generator=generator)
    fitting = [
        rank
        for rank in range(10)
        if degrees_of_freedom((9, 9), rank, is_symmetric=is_symmetric) <= part * 48
    ]
    assert widest_rank(problem, part) == max(fitting)


def test_unknowns_of_a_completion_problem_are_those_of_its_matrix() -> None:
    problem = planted_completion(
        (7, 5), 2, oversampling=1.2, generator=make_generator(0)
    )
    assert isinstance(problem.linear_map, EntriesMap)
    assert num_unknowns(problem, 2) == 2 * (7 + 5 - 2)
