"""The picture of a deconvolution shows its numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tacit.recovery.deconvolution.deconvolve import deconvolve
from tacit.recovery.deconvolution.problem import convolution_problem
from tacit.recovery.subspaces.matrix import gaussian_subspace
from tacit.recovery.subspaces.support import SupportSubspace


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_signals_and_filters_are_drawn_as_they_are(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    short = SupportSubspace(indices=torch.tensor([0, 2]), shape=(4,), dtype=dtype)
    signal = gaussian_subspace((40,), 3, generator=generator, dtype=dtype)
    h = torch.tensor([1.0, -0.5], dtype=dtype)
    x = torch.randn(3, generator=generator, dtype=dtype)
    truth = signal.synthesise(x)
    spectrum = torch.fft.fft(short.synthesise(h), n=40) * torch.fft.fft(truth)
    observed = torch.fft.ifft(spectrum)
    observed = observed if dtype.is_complex else observed.real.contiguous()
    problem = convolution_problem(observed, short, signal)
    result = deconvolve(problem, method="convex", generator=generator)
    figures = result.plot(truth)
    assert figures.keys() == {"deconvolution"}
    FigureCanvasAgg(figures["deconvolution"]).draw()
    panels: dict[str, Any] = {axes.get_title().split("\n")[0]: axes
              for axes in figures["deconvolution"].axes}  # fmt: skip

    def size(values: torch.Tensor) -> Any:
        return (values.abs() if values.is_complex() else values).numpy()

    for title, wanted in (
        ("observed", observed),
        ("signal found", result.signals[0]),
        ("true signal", result.signals[0]),  # in the scale of what was found
    ):
        (line,) = panels[title].lines
        np.testing.assert_allclose(line.get_ydata(), size(wanted), atol=1e-4)
    points = panels["filters found"].lines[0]
    assert list(points.get_xdata()) == [0, 2]
    np.testing.assert_allclose(
        points.get_ydata(), size(result.filters[0])[[0, 2]], rtol=1e-12
    )
    (line,) = panels["singular values of the convex solution"].lines
    assert len(line.get_ydata()) == 1


def test_images_stand_side_by_side(generator: torch.Generator) -> None:
    kernel = SupportSubspace(indices=torch.arange(4), shape=(2, 2))
    scene = gaussian_subspace((6, 7), 3, generator=generator)
    observed = torch.rand(2, 5, 6, generator=generator, dtype=torch.float64)
    problem = convolution_problem(observed, (kernel, kernel), scene, boundary="valid")
    result = deconvolve(
        problem,
        noise_bound=0.95 * float(observed.norm()),
        method="convex",
        rtol=1e-2,
        max_steps=100,
        generator=generator,
    )
    figure = result.plot()["deconvolution"]
    FigureCanvasAgg(figure).draw()
    images: dict[str, Any] = {
        axes.get_title(): axes.images[0].get_array()
        for axes in figure.axes
        if axes.images
    }
    assert images.keys() == {
        *("observed (2 channels)", "signal found", "filters found (2 channels)")
    }
    shown = images["observed (2 channels)"]
    np.testing.assert_array_equal(shown[:, :6], observed[0])
    np.testing.assert_array_equal(shown[:, 7:], observed[1])
