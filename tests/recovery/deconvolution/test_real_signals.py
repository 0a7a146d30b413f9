"""A photograph through an unknown blur, and chords through an unknown echo."""

import math

import pytest
import torch
from skimage import data, transform
from torch import Tensor

from tacit.recovery.deconvolution.deconvolve import deconvolve
from tacit.recovery.deconvolution.problem import convolution_problem
from tacit.recovery.deconvolution.scale import error_up_to_scale
from tacit.recovery.subspaces.matrix import MatrixSubspace
from tacit.recovery.subspaces.support import SupportSubspace, centred_support
from tacit.recovery.subspaces.wavelet import largest_wavelets, wavelet_subspace

F64 = torch.float64


def photograph(size: int) -> Tensor:
    image = transform.resize(data.camera() / 255.0, (size, size), anti_aliasing=True)
    return torch.from_numpy(image)


def motion_blur(size: int) -> Tensor:
    """A tilted, unsymmetric kernel that sums to one."""
    y, x = torch.meshgrid(*[torch.arange(float(size)) - size // 2] * 2, indexing="ij")
    kernel = torch.exp(-((y - 0.3 * x).square() / 0.6 + x.square() / 3.0)).to(F64)
    return kernel / kernel.sum()


@pytest.mark.parametrize(("noise", "most"), [(0.0, 1e-6), (0.003, 0.05)])
def test_a_photograph_is_deblurred(
    noise: float, most: float, generator: torch.Generator
) -> None:
    image, kernel = photograph(32), motion_blur(3)
    signal = wavelet_subspace(
        (32, 32), largest_wavelets(image, 60, wavelet="haar"), wavelet="haar"
    )
    sharp = signal.synthesise(signal.analyse(image))
    blur = SupportSubspace(indices=centred_support((32, 32), (3, 3)), shape=(32, 32))
    w = blur.synthesise(kernel.flatten())
    blurred = torch.fft.irfft2(torch.fft.rfft2(w) * torch.fft.rfft2(sharp), s=(32, 32))
    level = noise * float(blurred.norm()) / 32.0
    drawn = torch.randn(32, 32, generator=generator, dtype=F64)
    problem = convolution_problem(
        blurred + level * drawn, blur, signal, noise_level=level
    )
    result = deconvolve(problem, method="descent", scale="sum", generator=generator)
    assert error_up_to_scale(result.filters[0], result.signals[0], w, sharp) < most
    assert float(result.filters[0].sum()) == pytest.approx(1.0)
    # The scale keeps the brightness, up to what noise does to it.
    assert float(result.signals[0].mean()) == pytest.approx(
        float(sharp.mean()), rel=max(most, 1e-9)
    )
    # What was observed is far from that.
    delta = torch.zeros_like(w)
    delta[0, 0] = 1.0
    assert error_up_to_scale(delta, blurred, w, sharp) > 0.08 > most


def test_the_convex_programme_prefers_another_matrix_to_a_photograph(
    generator: torch.Generator,
) -> None:
    image, kernel = photograph(16), motion_blur(3)
    signal = wavelet_subspace(
        (16, 16), largest_wavelets(image, 30, wavelet="haar"), wavelet="haar"
    )
    sharp = signal.synthesise(signal.analyse(image))
    blur = SupportSubspace(indices=centred_support((16, 16), (3, 3)), shape=(16, 16))
    w = blur.synthesise(kernel.flatten())
    blurred = torch.fft.irfft2(torch.fft.rfft2(w) * torch.fft.rfft2(sharp), s=(16, 16))
    problem = convolution_problem(blurred, blur, signal)
    result = deconvolve(problem, rtol=1e-2, generator=generator)
    assert error_up_to_scale(result.filters[0], result.signals[0], w, sharp) < 1e-6
    truth = float(w.norm() * sharp.norm())
    assert result.bracket.upper.value < (1.0 - 1e-3) * truth
    assert result.rank > 1


def test_chords_are_freed_of_their_echoes(generator: torch.Generator) -> None:
    length, rate = 1024, 8000.0
    time = torch.arange(length, dtype=F64) / rate
    columns: list[Tensor] = []
    for onset, notes in ((0.0, (220.0, 277.2)), (0.05, (329.6, 440.0))):
        envelope = torch.exp(-12.0 * (time - onset)) * (time >= onset)
        for pitch in (n * harmonic for n in notes for harmonic in (1, 2, 3)):
            columns.append(envelope * torch.cos(2.0 * math.pi * pitch * time))
            columns.append(envelope * torch.sin(2.0 * math.pi * pitch * time))
    signal = MatrixSubspace(matrix=torch.stack(columns, 1))
    delays = torch.randperm(200, generator=generator)[:5].sort().values + 1
    places = torch.cat([torch.zeros(1, dtype=torch.int64), delays])
    echo = SupportSubspace(indices=places, shape=(length,))
    loudness = torch.rand(6, generator=generator, dtype=F64) * 0.5
    loudness[0] = 1.0
    played = torch.randn(signal.dimension, generator=generator, dtype=F64)
    w, sound = echo.synthesise(loudness), signal.synthesise(played)
    heard = torch.fft.irfft(torch.fft.rfft(w) * torch.fft.rfft(sound), n=length)
    problem = convolution_problem(heard, echo, signal)
    result = deconvolve(problem, method="descent", generator=generator)
    assert error_up_to_scale(result.filters[0], result.signals[0], w, sound) < 1e-6
    found = result.filter_coefficients[0] / result.filter_coefficients[0][0]
    assert torch.allclose(found, loudness, atol=1e-6)
    # The columns are far from orthonormal: coefficients are those of the given ones.
    back = signal.synthesise(result.signal_coefficients[0])
    assert torch.allclose(back, result.signals[0])
