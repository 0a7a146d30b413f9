"""Errors on measurements held out: intervals cover what they claim to cover."""

import math
from dataclasses import dataclass, replace
from typing import final

import pytest
import torch
from scipy.stats import chi2, t
from torch import Tensor

from cases import normal
from held_out_cases import (
    REPEATS,
    contains,
    highest_count,
    judged,
    lowest_count,
    matrix_error,
    norm,
    perturbed,
    truth_of,
)
from tacit.errors import InputError, ShapeError
from tacit.recovery.held_out import held_out_error
from tacit.recovery.maps.linear_map import (
    AbstractLinearMap,
    Isotropy,
    MapSpec,
    adjoint_times_densely,
)
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out

# Gaussian maps


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gaussian_intervals_cover_as_often_as_stated(
    dtype: torch.dtype, is_symmetric: bool, noise: float, generator: torch.Generator
) -> None:
    """New maps, one pair of factors: the fitted half plays no part in the interval."""
    confidence = 0.8
    first = planted_problem(
        (4, 4),
        2,
        num_measurements=14,
        is_symmetric=is_symmetric,
        dtype=dtype,
        generator=generator,
    )
    left, right = perturbed(first, 0.2, generator)
    truth = truth_of(first)
    covered = {"frobenius": 0, "ratio": 0, "mean square": 0}
    distance = norm(matrix_error(first, left, right))
    size = norm(truth.left @ truth.right.mH)
    level = noise * size / math.sqrt(14)
    for _ in range(REPEATS):
        new_map = gaussian_map(
            (4, 4),
            14,
            is_symmetric=is_symmetric and not dtype.is_complex,
            dtype=dtype,
            generator=generator,
        )
        exact = new_map.apply_factors(truth.left, truth.right)
        errors = torch.randn(exact.shape, generator=generator, dtype=dtype)
        problem = RecoveryProblem(
            linear_map=new_map,
            measurements=exact + level * errors,
            is_symmetric=is_symmetric,
            noise_level=level,
        )
        problem = hold_out(problem, 0.5, generator=generator)
        error = judged(problem, left, right, confidence=confidence)
        variance = distance**2 / 14 + level**2
        total = size**2 / 14 + level**2
        covered["frobenius"] += contains(error.frobenius_interval, distance)
        covered["ratio"] += contains(error.interval, math.sqrt(variance / total))
        covered["mean square"] += contains(
            error.root_mean_square_interval, math.sqrt(variance)
        )
        assert error.num_held_out == 7
        assert error.is_exact == (not dtype.is_complex)
        assert error.entry_interval is None
        assert "Gaussian" in error.assumptions
    for count in covered.values():
        assert lowest_count(confidence) < count < highest_count(confidence), covered


def test_the_gaussian_interval_is_that_of_chi_squared(
    generator: torch.Generator,
) -> None:
    problem = planted_problem(
        (5, 4), 2, num_measurements=30, noise=0.1, generator=generator
    )
    problem = hold_out(problem, 0.4, generator=generator)
    left, right = perturbed(problem, 0.2, generator)
    error = judged(problem, left, right, confidence=0.9)
    assert problem.held_out is not None
    residual = (problem.linear_map.apply(left @ right.T) - problem.measurements)[
        problem.held_out
    ]
    total = float(residual.square().sum())
    low, high = total / chi2.ppf(0.95, 12), total / chi2.ppf(0.05, 12)
    assert error.root_mean_square_interval == pytest.approx(
        (math.sqrt(low), math.sqrt(high)), rel=1e-12
    )
    noise = (problem.noise_level or 0.0) ** 2
    expected = tuple(math.sqrt(max(0.0, v - noise) * 30) for v in (low, high))
    assert error.frobenius_interval == pytest.approx(expected, rel=1e-12)
    measured = problem.measurements[problem.held_out]
    assert error.value == pytest.approx(norm(residual) / norm(measured), rel=1e-14)
    assert error.root_mean_square == pytest.approx(math.sqrt(total / 12), rel=1e-14)


def test_the_ends_of_the_ratio_are_where_the_correlation_test_turns(
    generator: torch.Generator,
) -> None:
    problem = planted_problem((5, 4), 2, num_measurements=30, generator=generator)
    problem = hold_out(problem, 0.4, generator=generator)
    left, right = perturbed(problem, 0.2, generator)
    error = judged(problem, left, right, confidence=0.9)
    assert problem.held_out is not None
    first = (problem.linear_map.apply(left @ right.T) - problem.measurements)[
        problem.held_out
    ]
    second = problem.measurements[problem.held_out]
    for scale in error.interval:
        plus, minus = first + scale * second, first - scale * second
        correlation = float(plus @ minus) / (norm(plus) * norm(minus))
        statistic = correlation * math.sqrt(11 / (1 - correlation**2))
        assert abs(statistic) == pytest.approx(float(t.ppf(0.95, 11)), rel=1e-9)


def test_unknown_noise_leaves_the_upper_side_alone(generator: torch.Generator) -> None:
    problem = planted_problem(
        (5, 4), 2, num_measurements=60, noise=0.1, generator=generator
    )
    problem = hold_out(problem, 0.5, generator=generator)
    left, right = perturbed(problem, 0.2, generator)
    known = judged(problem, left, right)
    unknown = judged(replace(problem, noise_level=None), left, right)
    exact = judged(replace(problem, noise_level=0.0), left, right)
    assert known.frobenius_interval is not None
    assert unknown.frobenius_interval is not None
    assert exact.frobenius_interval is not None
    assert unknown.frobenius_interval[0] == 0.0 < known.frobenius_interval[0]
    assert unknown.frobenius_interval[1] == exact.frobenius_interval[1]
    assert known.frobenius_interval[1] < exact.frobenius_interval[1]
    assert unknown.interval == known.interval == exact.interval


def test_noise_above_the_residual_leaves_nothing(generator: torch.Generator) -> None:
    problem = planted_problem((5, 4), 2, num_measurements=60, generator=generator)
    problem = replace(hold_out(problem, 0.5, generator=generator), noise_level=10.0)
    error = judged(problem, *perturbed(problem, 0.1, generator))
    assert error.frobenius_interval == (0.0, 0.0)


def test_the_truth_has_no_error(generator: torch.Generator) -> None:
    problem = planted_problem((5, 4), 2, num_measurements=60, generator=generator)
    problem = hold_out(problem, 0.5, generator=generator)
    truth = truth_of(problem)
    error = judged(problem, truth.left, truth.right)
    assert error.value < 1e-14
    assert error.frobenius_interval is not None
    assert error.frobenius_interval[1] < 1e-14
    zero = judged(
        replace(problem, measurements=torch.zeros_like(problem.measurements)),
        0.0 * truth.left,
        truth.right,
    )
    assert math.isnan(zero.value)
    assert zero.interval == (0.0, math.inf)
    assert zero.frobenius_interval == (0.0, 0.0)


def test_the_zero_matrix_has_relative_error_one(generator: torch.Generator) -> None:
    problem = planted_problem((5, 4), 2, num_measurements=60, generator=generator)
    problem = hold_out(problem, 0.5, generator=generator)
    truth = truth_of(problem)
    error = judged(problem, 0.0 * truth.left, truth.right)
    assert error.value == 1.0
    assert error.interval == pytest.approx((1.0, 1.0), abs=1e-12)


def test_a_map_blind_to_half_of_the_matrix_gives_no_distance(
    generator: torch.Generator,
) -> None:
    symmetric = gaussian_map((4, 4), 30, is_symmetric=True, generator=generator)
    problem = planted_problem((4, 4), 1, linear_map=symmetric, generator=generator)
    problem = hold_out(problem, 0.5, generator=generator)
    error = judged(problem, *perturbed(problem, 0.1, generator))
    assert error.frobenius_interval is None


# Other maps


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class HeavyMap(AbstractLinearMap):
    """Independent isotropic rows that are not Gaussian: rank one, from Gaussians."""

    stored: StoredMap
    second_moment: float

    @property
    def spec(self) -> MapSpec:
        return replace(
            self.stored.spec,
            isotropy=Isotropy(second_moment=self.second_moment, is_gaussian=False),
        )

    def apply(self, matrix: Tensor) -> Tensor:
        return self.stored.apply(matrix)

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        return self.stored.adjoint_apply(measurements)

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        return self.stored.apply_factors(left, right)

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        return adjoint_times_densely(self, measurements, left, right)


def heavy_map(num_measurements: int, generator: torch.Generator) -> HeavyMap:
    vectors = normal(generator, num_measurements, 4, 1)
    others = normal(generator, num_measurements, 1, 3)
    rows = (vectors * others).reshape(num_measurements, 12)
    return HeavyMap(stored=StoredMap(matrix=rows, shape=(4, 3)), second_moment=1.0)


def test_asymptotic_intervals_cover_nearly_as_often_as_stated(
    generator: torch.Generator,
) -> None:
    """Products of Gaussians have heavy tails: 0.95 is nearly reached at n = 300."""
    first = planted_problem((4, 3), 2, num_measurements=1, generator=generator)
    left, right = perturbed(first, 0.2, generator)
    truth = truth_of(first)
    distance = norm(matrix_error(first, left, right))
    size = norm(truth.left @ truth.right.mH)
    covered = {"frobenius": 0, "ratio": 0}
    for _ in range(REPEATS):
        new_map = heavy_map(301, generator)
        problem = RecoveryProblem(
            linear_map=new_map,
            measurements=new_map.apply_factors(truth.left, truth.right),
            held_out=torch.arange(301) > 0,
            noise_level=0.0,
        )
        error = judged(problem, left, right)
        covered["frobenius"] += contains(error.frobenius_interval, distance)
        covered["ratio"] += contains(error.interval, distance / size)
        assert not error.is_exact
        assert "independent" in error.assumptions
    for count in covered.values():
        assert lowest_count(0.92) < count, covered


def test_a_map_of_no_known_law_gives_no_distance(generator: torch.Generator) -> None:
    stored = StoredMap(matrix=normal(generator, 20, 12), shape=(4, 3))
    problem = planted_problem((4, 3), 1, linear_map=stored, generator=generator)
    problem = hold_out(problem, 0.5, generator=generator)
    error = judged(problem, *perturbed(problem, 0.2, generator))
    assert (error.frobenius_interval, error.entry_interval) == (None, None)
    assert 0.0 < error.interval[0] < error.value < error.interval[1] < math.inf


@pytest.mark.parametrize("num_held_out", [1, 2, 3])
def test_few_measurements_give_wide_intervals_and_no_error(
    num_held_out: int, generator: torch.Generator
) -> None:
    for linear_map in (
        heavy_map(20, generator),
        gaussian_map((4, 3), 20, generator=generator),
    ):
        problem = planted_problem((4, 3), 1, linear_map=linear_map, generator=generator)
        problem = replace(problem, held_out=torch.arange(20) < num_held_out)
        error = judged(problem, *perturbed(problem, 0.2, generator))
        for interval in (error.interval, error.root_mean_square_interval):
            assert interval[0] <= interval[1]
            if num_held_out == 1 and not error.is_exact:
                assert interval == (0.0, math.inf)


# What is refused, and what is not asked


def test_nothing_held_out_is_none(generator: torch.Generator) -> None:
    problem = planted_problem((4, 3), 1, num_measurements=9, generator=generator)
    truth = truth_of(problem)
    assert held_out_error(problem, truth.left, truth.right) is None
    empty = replace(problem, held_out=torch.zeros(9, dtype=torch.bool))
    assert held_out_error(empty, truth.left, truth.right) is None


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan, 95.0])
def test_a_confidence_out_of_range_is_refused(
    confidence: float, generator: torch.Generator
) -> None:
    problem = planted_problem((4, 3), 1, num_measurements=9, generator=generator)
    truth = truth_of(problem)
    with pytest.raises(InputError, match=r"confidence must be in \(0, 1\); got"):
        held_out_error(problem, truth.left, truth.right, confidence=confidence)


def test_factors_that_do_not_fit_are_refused(generator: torch.Generator) -> None:
    problem = planted_problem((4, 3), 1, num_measurements=9, generator=generator)
    left, right = normal(generator, 4, 2), normal(generator, 3, 2)
    with pytest.raises(InputError, match=r"left must be torch.float64"):
        held_out_error(problem, left.float(), right)
    with pytest.raises(InputError, match=r"right must be torch.float64"):
        held_out_error(problem, left, right.float())
    for first, second in ((right, left), (left, right[:, :1]), (left[:3], right)):
        with pytest.raises(ShapeError, match=r"left must have shape \(4, k\) and"):
            held_out_error(problem, first, second)
    with pytest.raises(ShapeError, match="one problem and one pair of factors"):
        held_out_error(problem, left[None], right[None])
    batch = replace(problem, measurements=problem.measurements.expand(2, -1))
    with pytest.raises(ShapeError, match="index the batch"):
        held_out_error(batch, left, right)
    for bad in (math.nan, math.inf):
        with pytest.raises(InputError, match="left has entries that are not finite"):
            held_out_error(problem, bad * left, right)
        with pytest.raises(InputError, match="right has entries that are not finite"):
            held_out_error(problem, left, bad * right)
    symmetric = planted_problem(
        (3, 3), 1, num_measurements=9, is_symmetric=True, generator=generator
    )
    with pytest.raises(ShapeError, match="a symmetric problem has one factor"):
        held_out_error(symmetric, right, 2 * right)


def test_single_precision_is_judged_in_double(generator: torch.Generator) -> None:
    problem = planted_problem(
        (5, 4), 2, num_measurements=60, dtype=torch.float32, generator=generator
    )
    problem = hold_out(problem, 0.5, generator=generator)
    left, right = perturbed(problem, 0.2, generator)
    error = judged(problem, left, right)
    distance = norm(matrix_error(problem, left, right))
    assert error.frobenius_interval is not None
    low, high = error.frobenius_interval
    assert low / 2 < distance < 2 * high
