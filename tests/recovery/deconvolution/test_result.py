import pytest
import torch

from tacit.recovery.deconvolution.coherence import flatness
from tacit.recovery.deconvolution.deconvolve import deconvolve
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.problem import source_maps


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_its_parts_agree_with_one_another(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        5, 4, 50, noise=0.1, num_channels=2, dtype=dtype, generator=generator
    )
    bound = 0.12 * float(problem.measurements.norm())
    result = deconvolve(problem, noise_bound=bound, generator=generator)
    (part,) = source_maps(problem.linear_map)
    spectrum = torch.fft.fft(result.signals[0])
    observed = torch.cat(
        [torch.fft.ifft(torch.fft.fft(kernel) * spectrum) for kernel in result.filters]
    )
    observed = observed if dtype.is_complex else observed.real
    assert torch.allclose(observed, result.observation)
    misfit = float((observed - problem.measurements).norm())
    assert result.misfit == pytest.approx(misfit)
    assert result.relative_misfit == pytest.approx(
        misfit / float(problem.measurements.norm())
    )
    pairs = zip(part.filters, result.filter_coefficients, result.filters, strict=True)
    assert all(torch.allclose(b.synthesise(h), w) for b, h, w in pairs)
    back = part.signal.synthesise(result.signal_coefficients[0])
    assert torch.allclose(back, result.signals[0])
    assert result.noise_bound == bound
    assert result.bracket is result.certificate.value
    assert result.rank == result.certificate.rank
    values = torch.linalg.svdvals(result.left @ result.right.mH)
    count = len(result.spectra[0])
    assert torch.allclose(result.spectra[0], values[:count])
    squares = values.square()
    assert result.energy == pytest.approx(float(squares[0] / squares.sum()))
    assert [c.filter_flatness for c in result.coherence] == pytest.approx(
        [flatness(kernel) for kernel in result.filters]
    )
