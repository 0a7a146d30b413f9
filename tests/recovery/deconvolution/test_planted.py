import math
from typing import Any, cast

import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.problem import source_maps
from tacit.recovery.problem import Planted, RecoveryProblem
from tacit.recovery.subspaces.support import SupportSubspace
from tacit.rng import make_generator


def truth_of(problem: RecoveryProblem) -> Planted:
    assert problem.planted is not None
    return problem.planted


def places_of(problem: RecoveryProblem) -> list[int]:
    support = source_maps(problem.linear_map)[0].filters[0]
    assert isinstance(support, SupportSubspace)
    return support.indices.tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_observation_is_the_convolution_plus_noise_of_that_size(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        4, 5, 40, noise=0.3, dtype=dtype, generator=generator
    )
    (part,) = source_maps(problem.linear_map)
    kernel = part.filters[0].synthesise(truth_of(problem).left[:, 0])
    signal = part.signal.synthesise(truth_of(problem).right[:, 0].conj().resolve_conj())
    exact = torch.fft.ifft(torch.fft.fft(kernel) * torch.fft.fft(signal))
    exact = exact if dtype.is_complex else exact.real
    noise = torch.linalg.vector_norm(problem.measurements - exact)
    assert float(noise) == pytest.approx(0.3 * float(exact.norm()), rel=1e-12)
    assert problem.noise_level is not None
    assert problem.noise_level * math.sqrt(40) == pytest.approx(float(noise))
    assert float(truth_of(problem).left.norm()) == pytest.approx(1.0)
    assert float(truth_of(problem).right.norm()) == pytest.approx(1.0)


def test_supports_are_short_or_random(generator: torch.Generator) -> None:
    short = planted_deconvolution(5, 3, 50, generator=generator)
    scattered = planted_deconvolution(
        5, 3, 50, filter_kind="random", generator=generator
    )
    assert places_of(short) == [0, 1, 2, 3, 4]
    assert len(set(places_of(scattered))) == 5
    assert places_of(scattered) != places_of(short)


def test_the_gaussian_law_of_the_papers(generator: torch.Generator) -> None:
    # The mean of ||A(Z)||^2 over draws of C is ||Z||^2; 400 draws are within 5 %.
    problem = planted_deconvolution(3, 2, 25, generator=generator)
    total = 0.0
    for _ in range(400):
        problem = planted_deconvolution(3, 2, 25, generator=generator)
        total += float(problem.measurements.square().sum())
    assert total / 400 == pytest.approx(1.0, abs=0.2)
    law = problem.linear_map.spec.isotropy
    assert law is not None
    assert law.second_moment == 1.0 / 25


def test_scrambled_signals_store_no_matrix(generator: torch.Generator) -> None:
    problem = planted_deconvolution(
        3, 8, 64, signal_kind="scrambled", num_channels=2, generator=generator
    )
    (part,) = source_maps(problem.linear_map)
    assert part.signal.spec.is_orthonormal
    assert problem.linear_map.spec.isotropy is None
    assert problem.linear_map.num_measurements == 128


def test_sources_have_blocks_of_their_own(generator: torch.Generator) -> None:
    problem = planted_deconvolution(3, 2, 40, num_sources=2, generator=generator)
    truth = truth_of(problem)
    left, right = truth.left, truth.right
    assert left.shape == (6, 2)
    assert right.shape == (4, 2)
    assert not left[3:, 0].any()
    assert not left[:3, 1].any()
    assert torch.allclose(
        problem.linear_map.apply_factors(left, right), problem.measurements
    )


def test_one_seed_is_one_problem() -> None:
    first, second = (
        planted_deconvolution(4, 5, 40, noise=0.1, generator=make_generator(7))
        for _ in range(2)
    )
    assert torch.equal(first.measurements, second.measurements)


def test_bad_sizes_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(
        ShapeError, match=r"filter_size must be in 1\.\.length = 8; got 9"
    ):
        planted_deconvolution(9, 2, 8, generator=generator)
    with pytest.raises(ShapeError, match="num_channels"):
        planted_deconvolution(2, 2, 8, num_channels=0, generator=generator)
    with pytest.raises(InputError, match="noise must be"):
        planted_deconvolution(2, 2, 8, noise=-1.0, generator=generator)
    with pytest.raises(InputError, match="filter_kind must be one of short, random"):
        planted_deconvolution(
            2, 2, 8, filter_kind=cast(Any, "long"), generator=generator
        )
    with pytest.raises(InputError, match="signal_kind must be one of"):
        planted_deconvolution(
            2, 2, 8, signal_kind=cast(Any, "flat"), generator=generator
        )
