"""Instances of blind deconvolution for every method, in NumPy alone."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Support = Literal["short", "sparse"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """y = (B h) (*) (C x) + e, circular, of length L; X = h x^T.

    ``places`` are the points of the grid where the filter may be non-zero (the columns
    of the identity that B has), ``signals`` is C, ``measured`` is y in time, and
    ``bound`` is the norm of the noise. h and x have norm one.

    Everything below is in the unitary Fourier domain, where entry l of the
    measurements of X is ``filter_rows[l] @ X @ signal_rows[l]``.
    """

    places: Array
    signals: Array
    measured: Array
    bound: float
    filter_truth: Array
    signal_truth: Array

    @property
    def is_real(self) -> bool:
        return not np.iscomplexobj(self.measured)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.places), self.signals.shape[1]

    @property
    def length(self) -> int:
        return len(self.measured)

    @cached_property
    def filter_rows(self) -> Array:
        points = np.arange(self.length)[:, None] * self.places
        turns = (points % self.length) / self.length
        return np.exp(-2j * math.pi * turns) / math.sqrt(self.length)

    @cached_property
    def signal_rows(self) -> Array:
        return np.fft.fft(self.signals, axis=0)

    @cached_property
    def observed(self) -> Array:
        return to_fourier(self.measured)

    def image(self, matrix: Array) -> Array:
        """Return the measurements of a matrix, in the Fourier domain."""
        return np.einsum("ln,ln->l", self.filter_rows @ matrix, self.signal_rows)

    def adjoint(self, vector: Array) -> Array:
        """Return A^*(q) of a vector in the Fourier domain; real if the data are."""
        scaled = self.filter_rows.conj() * vector[:, None]
        matrix = scaled.T @ self.signal_rows.conj()
        return matrix.real if self.is_real else matrix

    def error(self, left: Array, right: Array) -> float:
        """Return the relative error of ``left @ right^H`` against the truth."""
        first = np.concatenate([left, -self.filter_truth[:, None]], 1)
        second = np.concatenate([right, self.signal_truth.conj()[:, None]], 1)
        first, second = np.linalg.qr(first)[1], np.linalg.qr(second)[1]
        return float(np.linalg.norm(first @ second.conj().T))


def to_fourier(vector: Array) -> Array:
    return np.fft.fft(vector, norm="ortho")


def _unit(size: int, rng: np.random.Generator, *, is_real: bool) -> Array:
    drawn = _gaussian((size,), rng, is_real=is_real)
    return drawn / np.linalg.norm(drawn)


def _gaussian(
    shape: tuple[int, ...], rng: np.random.Generator, *, is_real: bool
) -> Array:
    """Draw entries of variance one."""
    if is_real:
        return rng.standard_normal(shape)
    pairs = rng.standard_normal((*shape, 2)) / math.sqrt(2.0)
    return pairs[..., 0] + 1j * pairs[..., 1]


def draw(
    sizes: tuple[int, int, int],
    *,
    seed: int,
    noise: float = 0.0,
    is_real: bool = False,
    support: Support = "short",
) -> Instance:
    """Draw an instance; ``sizes`` are K, N, L, ``noise`` is relative to the image.

    C has independent entries of variance 1/L. The filter's support are its first K
    points, or K points at random ("sparse").
    """
    rows, columns, length = sizes
    rng = np.random.default_rng([seed, rows, columns, length])
    signals = _gaussian((length, columns), rng, is_real=is_real) / math.sqrt(length)
    places = np.arange(rows)
    if support == "sparse":
        places = np.sort(rng.permutation(length)[:rows])
    filter_truth = _unit(rows, rng, is_real=is_real)
    signal_truth = _unit(columns, rng, is_real=is_real)
    kernel = np.zeros(length, filter_truth.dtype)
    kernel[places] = filter_truth
    spectrum = np.fft.fft(kernel) * np.fft.fft(signals @ signal_truth)
    image = np.fft.ifft(spectrum)
    image = image.real if is_real else image
    error = noise * np.linalg.norm(image) * _unit(length, rng, is_real=is_real)
    return Instance(
        places=places,
        signals=signals,
        measured=image + error,
        bound=float(np.linalg.norm(error)),
        filter_truth=filter_truth,
        signal_truth=signal_truth,
    )
