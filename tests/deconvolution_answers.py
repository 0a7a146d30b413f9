"""Answers of small deconvolutions, for the tests of what is made of them."""

from pathlib import Path

import numpy as np
import torch

from tacit.recovery.deconvolution.deconvolve import deconvolve
from tacit.recovery.deconvolution.readers.read import (
    ObservedConvolution,
    read_convolution,
)
from tacit.recovery.deconvolution.result import DeconvolutionResult

Answered = tuple[ObservedConvolution, DeconvolutionResult]


def answered(
    observed: ObservedConvolution, generator: torch.Generator, part: float = 0.2
) -> Answered:
    """Return a problem and a rough answer."""
    result = deconvolve(
        observed.problem,
        noise_bound=part * float(observed.problem.measurements.norm()),
        method="convex",
        rtol=1e-2,
        max_steps=100,
        generator=generator,
    )
    return observed, result


def planted_answer(tmp_path: Path, generator: torch.Generator) -> Answered:
    """Return an instance with its truth."""
    draw = np.random.default_rng(0)
    b, c = draw.normal(size=(40, 2)), draw.normal(size=(40, 3))
    h, x = draw.normal(size=2), draw.normal(size=3)
    y = np.fft.irfft(np.fft.rfft(b @ h) * np.fft.rfft(c @ x), 40)
    np.savez(tmp_path / "p.npz", y=y, B=b, C=c, h=h, x=x)
    return answered(read_convolution([tmp_path / "p.npz"]), generator)
