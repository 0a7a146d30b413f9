import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.problem import (
    convolution_problem,
    demixing_problem,
    frequency_grid,
    source_maps,
)
from tacit.recovery.maps.convolution import Boundary
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.subspaces.matrix import gaussian_subspace
from tacit.recovery.subspaces.support import SupportSubspace

F64 = torch.float64


def short(
    size: int, grid: tuple[int, ...], dtype: torch.dtype = F64
) -> SupportSubspace:
    return SupportSubspace(indices=torch.arange(size), shape=grid, dtype=dtype)


def draw(*shape: int, generator: torch.Generator, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_truth_has_no_residual_on_a_circle(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    kernel, signal = (
        short(3, (12,), dtype),
        gaussian_subspace((12,), 4, generator=generator, dtype=dtype),
    )
    h, x = (draw(n, generator=generator, dtype=dtype) for n in (3, 4))
    w, c = kernel.synthesise(h).numpy(), signal.synthesise(x).numpy()
    observed = np.zeros(12, dtype=w.dtype)
    for shift in range(12):
        observed += w[shift] * np.roll(c, shift)
    problem = convolution_problem(torch.from_numpy(observed), kernel, signal)
    image = problem.linear_map.apply_factors(h[:, None], x.conj()[:, None])
    assert torch.allclose(image, problem.measurements)


@pytest.mark.parametrize("boundary", ["full", "valid", "same"])
def test_images_of_linear_convolutions_fit(
    boundary: Boundary, generator: torch.Generator
) -> None:
    kernel, signal = short(9, (3, 3)), short(12, (6, 5))
    h, x = draw(9, generator=generator), draw(12, generator=generator)
    observed = scipy.signal.convolve2d(
        signal.synthesise(x).numpy(), kernel.synthesise(h).numpy(), boundary
    )
    problem = convolution_problem(
        torch.from_numpy(observed), kernel, signal, boundary=boundary, noise_level=0.0
    )
    image = problem.linear_map.apply_factors(h[:, None], x[:, None])
    assert torch.allclose(image, problem.measurements)
    assert problem.noise_level == 0.0
    (part,) = source_maps(problem.linear_map)
    assert frequency_grid(part) == (8, 7)


def test_channels_and_sources_add_up(generator: torch.Generator) -> None:
    sources = [
        (
            [short(2, (10,)), short(3, (10,))],
            gaussian_subspace((10,), 4, generator=generator),
        )
        for _ in range(2)
    ]
    observed = torch.zeros(2, 10, dtype=F64)
    lefts: list[Tensor] = []
    rights: list[Tensor] = []
    for kernels, signal in sources:
        x = draw(4, generator=generator)
        spectrum = torch.fft.fft(signal.synthesise(x))
        for channel, kernel in enumerate(kernels):
            h = draw(kernel.dimension, generator=generator)
            product = torch.fft.fft(kernel.synthesise(h)) * spectrum
            observed[channel] += torch.fft.ifft(product).real
            lefts.append(h)
        rights.append(x)
    problem = demixing_problem(observed, sources)
    image = problem.linear_map.apply_factors(
        torch.cat(lefts)[:, None], torch.cat(rights)[:, None]
    )
    assert torch.allclose(image, problem.measurements)
    assert [len(part.filters) for part in source_maps(problem.linear_map)] == [2, 2]


def test_one_source_is_a_plain_convolution(generator: torch.Generator) -> None:
    signal = gaussian_subspace((10,), 4, generator=generator)
    problem = demixing_problem(
        torch.ones(1, 10, dtype=F64), [(short(2, (10,)), signal)]
    )
    assert len(source_maps(problem.linear_map)) == 1
    assert frequency_grid(source_maps(problem.linear_map)[0]) == (10,)


def test_wrong_observations_are_refused(generator: torch.Generator) -> None:
    kernel, signal = short(2, (10,)), short(3, (10,))
    with pytest.raises(
        ShapeError, match=r"observed must have shape \(10,\).*got \(9,\)"
    ):
        convolution_problem(torch.zeros(9, dtype=F64), kernel, signal)
    with pytest.raises(ShapeError, match=r"shape \(2, 10\)"):
        convolution_problem(torch.zeros(10, dtype=F64), [kernel, kernel], signal)
    bad = torch.zeros(10, dtype=F64)
    bad[3] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        convolution_problem(bad, kernel, signal)
    with pytest.raises(InputError, match=r"float64.*float32"):
        convolution_problem(torch.zeros(10), kernel, signal)
    with pytest.raises(ShapeError, match="filters is empty"):
        convolution_problem(torch.zeros(10, dtype=F64), [], signal)
    with pytest.raises(ShapeError, match="sources is empty"):
        demixing_problem(torch.zeros(10, dtype=F64), [])
    with pytest.raises(ShapeError, match="source 0 has 1 and source 1 has 2"):
        demixing_problem(
            torch.zeros(10, dtype=F64), [(kernel, signal), ([kernel, kernel], signal)]
        )


def test_other_maps_are_no_deconvolution(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="got StoredMap"):
        source_maps(gaussian_map((3, 3), 5, generator=generator))
