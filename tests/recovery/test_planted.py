"""Planted instances: spectrum, noise and map are those asked for."""

import math
from typing import Any

import pytest
import torch
from scipy.stats import chi2, kstest
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import RecoveryProblem, degrees_of_freedom
from tacit.rng import make_generator

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def truth_of(problem: RecoveryProblem) -> Tensor:
    assert problem.planted is not None
    return problem.planted.left @ problem.planted.right.mH


def eps_of(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_truth_has_the_planted_spectrum(
    dtype: torch.dtype, is_symmetric: bool, generator: torch.Generator
) -> None:
    shape = (9, 9) if is_symmetric else (9, 6)
    problem = planted_problem(
        shape,
        3,
        oversampling=1.5,
        condition_number=100.0,
        is_symmetric=is_symmetric,
        dtype=dtype,
        generator=generator,
    )
    matrix = truth_of(problem)
    values = torch.linalg.svdvals(matrix)
    expected = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64).to(values)
    torch.testing.assert_close(values[:3], expected, rtol=0, atol=20 * eps_of(dtype))
    assert float(values[3]) < 20 * eps_of(dtype)
    assert matrix.dtype == problem.measurements.dtype == dtype
    assert problem.planted is not None
    if is_symmetric:
        assert problem.planted.left is problem.planted.right
    grams = [f.mH @ f for f in (problem.planted.left, problem.planted.right)]
    diagonal = torch.diag(expected).to(dtype)
    for gram in grams:  # balanced, with columns in the order of the values
        torch.testing.assert_close(gram, diagonal, rtol=0, atol=20 * eps_of(dtype))


def test_a_linear_spectrum_has_constant_differences(generator: torch.Generator) -> None:
    problem = planted_problem(
        (8, 7),
        4,
        oversampling=1.0,
        condition_number=4.0,
        spectrum="linear",
        generator=generator,
    )
    values = torch.linalg.svdvals(truth_of(problem))[:4]
    expected = torch.tensor([1.0, 0.75, 0.5, 0.25], dtype=torch.float64)
    torch.testing.assert_close(values, expected)


def test_singular_vectors_are_haar(generator: torch.Generator) -> None:
    """A coordinate of a uniform unit vector in three dimensions is uniform."""
    draws: list[float] = []
    for _ in range(500):
        problem = planted_problem((3, 5), 1, num_measurements=1, generator=generator)
        assert problem.planted is not None
        draws.append(float(problem.planted.left[0, 0]))
    assert kstest(draws, "uniform", args=(-1.0, 2.0)).pvalue > 1e-4


def test_the_truth_depends_on_the_generator_only() -> None:
    def truth(**options: Any) -> Tensor:
        problem = planted_problem((6, 5), 2, generator=make_generator(3), **options)
        return truth_of(problem)

    expected = truth(oversampling=2.0)
    other = gaussian_map((6, 5), 7, generator=make_generator(4))
    for options in (
        {"num_measurements": 3},
        {"oversampling": 3.0, "noise": 0.5},
        {"linear_map": other},
    ):
        assert torch.equal(truth(**options), expected)
    single = truth(oversampling=2.0, dtype=torch.float32)
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-6)
    completion = planted_completion(
        (6, 5), 2, oversampling=1.2, generator=make_generator(3)
    )
    assert torch.equal(truth_of(completion), expected)


def test_one_generator_state_gives_one_problem() -> None:
    first, second = (
        planted_completion(
            (20, 20), 2, oversampling=1.1, noise=0.1, generator=make_generator(5)
        )
        for _ in range(2)
    )
    assert torch.equal(first.measurements, second.measurements)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_symmetric", [False, True])
def test_noise_has_the_level_stated(
    dtype: torch.dtype, is_symmetric: bool, generator: torch.Generator
) -> None:
    size, noise = 4000, 0.2
    problem = planted_problem(
        (5, 5),
        2,
        num_measurements=size,
        noise=noise,
        is_symmetric=is_symmetric,
        dtype=dtype,
        generator=generator,
    )
    exact = problem.linear_map.apply(truth_of(problem))
    level = problem.noise_level
    assert level is not None
    norm = float(torch.linalg.vector_norm(exact))
    assert level == pytest.approx(noise * norm / math.sqrt(size), rel=1e-5)
    errors = problem.measurements - exact
    parts = 2 if dtype.is_complex else 1
    statistic = parts * float((errors.abs().double() / level).square().sum())
    tail = 1e-5
    assert chi2.ppf(tail, parts * size) < statistic < chi2.isf(tail, parts * size)
    real = errors.real.double() * math.sqrt(parts) / level
    assert kstest(real.tolist(), "norm").pvalue > 1e-4


def test_without_noise_measurements_are_exact(generator: torch.Generator) -> None:
    problem = planted_problem((5, 4), 2, oversampling=1.0, generator=generator)
    exact = problem.linear_map.apply(truth_of(problem))
    torch.testing.assert_close(problem.measurements, exact, rtol=0, atol=1e-15)
    assert problem.noise_level == 0.0


@pytest.mark.parametrize("is_symmetric", [False, True])
def test_oversampling_counts_unknowns(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    problem = planted_problem(
        (10, 10),
        2,
        oversampling=1.5,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    unknowns = degrees_of_freedom((10, 10), 2, is_symmetric=is_symmetric)
    assert problem.linear_map.num_measurements == round(1.5 * unknowns)
    assert isinstance(problem.linear_map, StoredMap)
    packing = "symmetric" if is_symmetric else "full"
    assert problem.linear_map.packing == packing


def test_complex_hermitian_problems_have_a_map_of_all_matrices(
    generator: torch.Generator,
) -> None:
    problem = planted_problem(
        (5, 5),
        2,
        oversampling=2.0,
        is_symmetric=True,
        dtype=torch.complex128,
        generator=generator,
    )
    matrix = truth_of(problem)
    torch.testing.assert_close(matrix, matrix.mH)
    assert isinstance(problem.linear_map, StoredMap)
    assert problem.linear_map.packing == "full"


def test_a_given_map_is_used(generator: torch.Generator) -> None:
    given = gaussian_map((6, 5), 11, generator=generator, dtype=torch.complex64)
    problem = planted_problem((6, 5), 2, linear_map=given, generator=generator)
    assert problem.linear_map is given
    assert problem.measurements.dtype == torch.complex64


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, InputError, "exactly one of oversampling and num_measurements; got None and"),
    (
        {"oversampling": 1.5, "num_measurements": 3},
        InputError,
        "exactly one of oversampling and num_measurements; got 1.5 and 3",
    ),
    ({"oversampling": 0.0}, InputError, "oversampling must be positive; got 0.0"),
    ({"oversampling": math.inf}, InputError, "oversampling must be positive; got inf"),
    ({"num_measurements": 0}, InputError, "num_measurements must be at least 1; got 0"),
    (
        {"oversampling": 1.5, "condition_number": 0.5},
        InputError,
        "condition_number must be finite and at least 1; got 0.5",
    ),
    (
        {"oversampling": 1.5, "spectrum": "flat"},
        InputError,
        "spectrum must be 'geometric' or 'linear'; got 'flat'",
    ),
    (
        {"oversampling": 1.5, "noise": -0.1},
        InputError,
        "noise must be finite and at least 0; got -0.1",
    ),
    ({"oversampling": 1.5, "noise": math.nan}, InputError, "noise must be finite"),
    (
        {"oversampling": 1.5, "is_symmetric": True},
        ShapeError,
        r"a symmetric matrix is square; got shape \(6, 5\)",
    ),
]


@pytest.mark.parametrize("plant", [planted_problem, planted_completion])
@pytest.mark.parametrize(("options", "error", "message"), REFUSED)
def test_contradictions_are_refused(
    plant: Any,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    generator: torch.Generator,
) -> None:
    with pytest.raises(error, match=message):
        plant((6, 5), 2, generator=generator, **options)


@pytest.mark.parametrize("rank", [0, 6])
def test_a_rank_out_of_range_is_refused(rank: int, generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=rf"rank must be in 1\.\..* = 5; got {rank}"):
        planted_problem((6, 5), rank, oversampling=2.0, generator=generator)


def test_rank_one_has_condition_number_one(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="condition number 1; got condition_number 2"):
        planted_problem(
            (6, 5), 1, oversampling=2.0, condition_number=2.0, generator=generator
        )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"oversampling": 2.0},
            InputError,
            "got oversampling 2.0 and num_measurements",
        ),
        ({"num_measurements": 11}, InputError, "num_measurements 11 besides; leave"),
        (
            {"dtype": torch.float32},
            InputError,
            "dtype must be the map's, torch.float64",
        ),
    ],
)
def test_a_given_map_says_everything(
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    generator: torch.Generator,
) -> None:
    given = gaussian_map((6, 5), 11, generator=generator)
    with pytest.raises(error, match=message):
        planted_problem((6, 5), 2, linear_map=given, generator=generator, **options)
    with pytest.raises(ShapeError, match=r"takes matrices of shape \(6, 5\); got"):
        planted_problem((5, 6), 2, linear_map=given, generator=generator)


@pytest.mark.parametrize(
    ("shape", "rank", "is_symmetric", "dtype"),
    [
        ((60, 40), 3, False, torch.float64),
        ((60, 40), 1, False, torch.complex64),
        ((40, 40), 2, True, torch.float32),
        ((40, 40), 2, True, torch.complex128),
    ],
)
def test_completion_measures_entries_of_the_truth(
    shape: tuple[int, int],
    rank: int,
    is_symmetric: bool,
    dtype: torch.dtype,
    generator: torch.Generator,
) -> None:
    problem = planted_completion(
        shape,
        rank,
        oversampling=1.2,
        is_symmetric=is_symmetric,
        dtype=dtype,
        generator=generator,
    )
    entries = problem.linear_map
    assert isinstance(entries, EntriesMap)
    unknowns = degrees_of_freedom(shape, rank, is_symmetric=is_symmetric)
    assert entries.num_measurements == round(1.2 * unknowns)
    expected = truth_of(problem)[entries.rows, entries.columns]
    torch.testing.assert_close(
        problem.measurements, expected, rtol=0, atol=10 * eps_of(dtype)
    )
    seen = torch.zeros(shape, dtype=torch.bool)
    seen[entries.rows, entries.columns] = True
    if is_symmetric:
        assert not bool(seen.tril(-1).any())
        seen = seen | seen.T
    assert int(seen.sum(0).min()) >= rank
    assert int(seen.sum(1).min()) >= rank


def test_completion_never_forms_a_large_matrix(generator: torch.Generator) -> None:
    """A matrix of 10^12 entries, eight terabytes."""
    problem = planted_completion(
        (10**6, 10**6), 1, num_measurements=2_100_000, noise=0.1, generator=generator
    )
    assert problem.measurements.shape == (2_100_000,)
    assert problem.planted is not None
    picked = torch.arange(0, 2_100_000, 1000)
    assert isinstance(problem.linear_map, EntriesMap)
    rows = problem.linear_map.rows[picked]
    columns = problem.linear_map.columns[picked]
    exact = problem.planted.left[rows, 0] * problem.planted.right[columns, 0]
    level = problem.noise_level
    assert level is not None
    errors = (problem.measurements[picked] - exact) / level
    assert kstest(errors.tolist(), "norm").pvalue > 1e-4


def test_too_many_entries_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=r"must be in 1\.\.30 for shape \(6, 5\)"):
        planted_completion((6, 5), 2, oversampling=2.0, generator=generator)
