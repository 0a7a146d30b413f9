"""Predictions for random noise against optima of CVXPY; norm bounds against norms.

Statistics: an instance's error varies by a quarter around the mean, so the root mean
square over 20 instances has a standard error of about 6 per cent; at these sizes the
prediction itself is off by a few per cent, for convolutions by up to 15. Seeds are
fixed.
"""

import math
from dataclasses import replace

import pytest
import torch

from nuclear_cases import optimum
from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.theory.random_noise import norm_bound, random_noise
from tacit.recovery.deconvolution.theory.statistical_dimension import (
    statistical_dimension,
    subdifferential_distance,
)
from tacit.recovery.maps.gram import measurement_gram
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.planted import planted_problem

NUM = 20  # instances


def measured(
    generator: torch.Generator,
    shape: tuple[int, int],
    length: int,
    size: float,
    linear_map: AbstractLinearMap | None = None,
) -> tuple[float, float]:
    """Root mean square error over the noise bound, and mean rank, of some optima."""
    squares, ranks = 0.0, 0
    for _ in range(NUM):
        if linear_map is None:
            problem = planted_deconvolution(*shape, length, generator=generator)
        else:
            problem = planted_problem(
                shape, 1, linear_map=linear_map, generator=generator
            )
        noise = torch.randn(length, generator=generator, dtype=torch.float64)
        noise *= size / torch.linalg.norm(noise)
        noisy = replace(problem, measurements=problem.measurements + noise)
        solved = optimum(NuclearProgram(problem=noisy, noise_bound=size))
        assert solved is not None
        assert problem.planted is not None
        truth = problem.planted.left @ problem.planted.right.mH
        squares += float((solved.matrix - truth).square().sum())
        values = torch.linalg.svdvals(solved.matrix)
        ranks += int((values > 1e-3 * size).sum())
    return math.sqrt(squares / NUM) / size, ranks / NUM


@pytest.mark.parametrize(("shape", "length"), [((6, 6), 60), ((4, 9), 130)])
def test_random_noise_does_to_convolutions_what_it_is_predicted_to(
    generator: torch.Generator, shape: tuple[int, int], length: int
) -> None:
    error, rank, fit = random_noise(shape, length, noise_bound=1.0)
    found, found_rank = measured(generator, shape, length, 1e-3)
    assert found == pytest.approx(error.value, rel=0.3)
    assert found_rank == pytest.approx(rank.value, abs=0.6)
    assert found_rank > 1.2  # noise raises the rank
    assert fit.value < 0.85 * found


def test_gaussian_maps_follow_it_too(generator: torch.Generator) -> None:
    linear_map = gaussian_map((6, 6), 70, generator=generator)
    error, rank, _ = random_noise((6, 6), 70, noise_bound=1.0)
    found, found_rank = measured(generator, (6, 6), 70, 1e-3, linear_map)
    assert found == pytest.approx(error.value, rel=0.2)
    assert found_rank == pytest.approx(rank.value, abs=0.6)


def test_noiseless_recovery_sets_in_at_the_statistical_dimension(
    generator: torch.Generator,
) -> None:
    dimension = statistical_dimension((7, 7))

    def successes(length: int) -> int:
        count = 0
        for _ in range(8):
            problem = planted_deconvolution(7, 7, length, generator=generator)
            solved = optimum(NuclearProgram(problem=problem, noise_bound=0.0))
            assert solved is not None
            assert problem.planted is not None
            truth = problem.planted.left @ problem.planted.right.mH
            count += bool(torch.linalg.norm(solved.matrix - truth) < 1e-3)
        return count

    # The transition is about sqrt(K N) = 7 wide to either side.
    assert successes(round(dimension - 9)) <= 1
    assert successes(round(dimension + 16)) >= 7


def test_the_minimiser_is_the_stationary_point() -> None:
    # lambda D'(lambda) = 2 sqrt(L - D) (sqrt(L) - sqrt(L - D)), by differences.
    distance = subdifferential_distance((20, 20))
    error, *_ = random_noise((20, 20), 200, noise_bound=1.0)
    through = 200.0 * error.value**2 / (1.0 + error.value**2)
    place = int((distance.values - through).abs()[distance.scales > 3.0].argmin())
    place += int((distance.scales <= 3.0).sum())
    scale, width = distance.scales, 20
    slope = (distance.values[place + width] - distance.values[place - width]) / (
        scale[place + width] - scale[place - width]
    )
    root = math.sqrt(200.0 - through)
    expected = 2.0 * root * (math.sqrt(200.0) - root)
    assert float(scale[place] * slope) == pytest.approx(expected, rel=0.02)


def test_few_measurements_let_all_noise_through() -> None:
    error, rank, fit = random_noise((20, 20), 60, noise_bound=0.1)
    assert error.value == math.inf
    assert math.isnan(rank.value)
    assert fit.value == pytest.approx(0.1 * math.sqrt(39 / 21))
    assert random_noise((20, 20), 39, noise_bound=0.1)[2].value == math.inf


def test_many_measurements_follow_the_dimension_law() -> None:
    # error sqrt(L) / tau is sqrt(min of D / lambda at L -> infinity), about K + N.
    values = [
        random_noise((n, n), 10**6, noise_bound=1e3)[0].value for n in (10, 40, 160)
    ]
    ratios = [
        value / math.sqrt(2 * n) for value, n in zip(values, (10, 40, 160), strict=True)
    ]
    assert all(1.0 < ratio < 2.0 for ratio in ratios)
    assert random_noise((10, 10), 10**6, noise_bound=2e3)[0].value == pytest.approx(
        2 * values[0]
    )


def test_sources_share_the_measurements() -> None:
    one = random_noise((10, 10), 100, noise_bound=1.0)
    two = random_noise((10, 10), 200, noise_bound=1.0, num_sources=2)
    assert two[0].value == pytest.approx(one[0].value)
    assert two[1].value == pytest.approx(2.0 * one[1].value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_norms_of_maps_are_within_the_bounds(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    bound = norm_bound((12, 10), 60, is_complex=dtype.is_complex)
    for kind in ("short", "random"):
        linear_map = planted_deconvolution(
            12, 10, 60, filter_kind=kind, dtype=dtype, generator=generator
        ).linear_map
        gram = measurement_gram(linear_map)
        norm = math.sqrt(float(torch.linalg.eigvalsh(gram)[-1]))
        assert norm <= bound.value
        assert norm >= math.sqrt(float(gram.diagonal().real.sum()) / 60)
        # Of the right order: the floor is sqrt(K N / L) = 1.41.
        assert bound.value < 6.0 * norm


def test_the_failure_probability_has_its_price() -> None:
    rare, often = (
        norm_bound((12, 10), 60, failure_probability=p).value for p in (1e-12, 0.5)
    )
    assert often < rare
    assert norm_bound((12, 10), 60, filter_max=4.0).value == pytest.approx(
        2.0 * norm_bound((12, 10), 60).value
    )


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ShapeError, match="must be positive"):
        random_noise((3, 3), 0, noise_bound=0.1)
    with pytest.raises(InputError, match="noise_bound must be at least 0"):
        random_noise((3, 3), 9, noise_bound=math.nan)
    with pytest.raises(InputError, match="num_sources must be at least 1"):
        random_noise((3, 3), 9, noise_bound=0.1, num_sources=0)
    with pytest.raises(InputError, match="filter_max must be at least 1"):
        norm_bound((3, 3), 9, filter_max=0.5)
    with pytest.raises(InputError, match=r"failure_probability must be in \(0, 1\)"):
        norm_bound((3, 3), 9, failure_probability=0.0)
