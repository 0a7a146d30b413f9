"""Published methods for blind deconvolution, written again for real data."""

import math

import numpy as np
import torch
from deconvolution_data import Array, Instance
from deconvolution_ours import problem_of
from scipy.optimize import minimize

from tacit.iterate import iterate
from tacit.recovery.deconvolution.regularised import (
    RegularisedDescent,
    incoherent_start,
)
from tacit.rng import make_generator

# The settings of the code released with Ahmed, Recht and Romberg (2014) for their
# figure 3. Those of its inner solver, L-BFGS, are that solver's defaults (recalled).
_RANK = 4
_OUTER = 25
_SIGMA = 1e4
_FEASIBLE = 1e-8
_IMPROVED = 0.25
_RAISE = 10.0
_STUCK = 1e-3
_PATIENCE = 6
_INNER = {"maxiter": 500, "maxfun": 50_000, "maxcor": 100, "gtol": 1e-5, "ftol": 1e-9}


class _Lagrangian:
    r"""``|Z|^2 + |H|^2 - 2 Re<y, d> + sigma |d|^2`` with ``d = (fft(w) - fft(y)) / L``.

    Z are signals and H filters, four of each; spectra are kept for half of the
    frequencies, ``weights`` counts the others.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.length = instance.length
        self.rows, self.columns = instance.shape
        self.target = np.fft.rfft(instance.measured) / self.length
        self.weights = np.full(len(self.target), 2.0)
        self.weights[0] = 1.0
        if self.length % 2 == 0:
            self.weights[-1] = 1.0
        self.multiplier = np.zeros_like(self.target)
        self.sigma = _SIGMA

    def split(self, point: Array) -> tuple[Array, Array]:
        cut = self.columns * _RANK
        return point[:cut].reshape(-1, _RANK), point[cut:].reshape(-1, _RANK)

    def spectra(self, point: Array) -> tuple[Array, Array]:
        signals, filters = self.split(point)
        kernels = np.zeros((self.length, _RANK))
        kernels[self.instance.places] = filters
        waves = self.instance.signals @ signals
        return np.fft.rfft(waves, axis=0), np.fft.rfft(kernels, axis=0)

    def deviation(self, point: Array) -> Array:
        waves, kernels = self.spectra(point)
        return (waves * kernels).sum(1) / self.length - self.target

    def squares(self, deviation: Array) -> float:
        return float(self.weights @ np.abs(deviation) ** 2)

    def __call__(self, point: Array) -> tuple[float, Array]:
        waves, kernels = self.spectra(point)
        deviation = (waves * kernels).sum(1) / self.length - self.target
        linear = self.weights @ (self.multiplier.conj() * deviation).real
        value = float(point @ point) - 2.0 * float(linear)
        value += self.sigma * self.squares(deviation)
        pull = (self.multiplier - self.sigma * deviation)[:, None]
        to_signals = np.fft.irfft(pull * kernels.conj(), self.length, axis=0)
        to_filters = np.fft.irfft(pull * waves.conj(), self.length, axis=0)
        back = np.concatenate(
            [
                (self.instance.signals.T @ to_signals).reshape(-1),
                to_filters[self.instance.places].reshape(-1),
            ]
        )
        return value, 2.0 * (point - back)


def multipliers(instance: Instance, seed: int) -> tuple[Array, Array]:
    """Factors of rank four by the method of multipliers; (left, right) of the best one.

    Ahmed, Recht and Romberg (2014), as in their released code, L-BFGS by SciPy.
    """
    lagrangian = _Lagrangian(instance)
    rng = np.random.default_rng(seed)
    point = 1e-2 * rng.standard_normal(sum(instance.shape) * _RANK)
    length = instance.length
    # The first comparison is with the deviation in time, as in their code.
    before = now = length * lagrangian.squares(lagrangian.deviation(point))
    patience = 0
    for _ in range(_OUTER):
        found = minimize(lagrangian, point, jac=True, method="L-BFGS-B", options=_INNER)
        point = found.x
        deviation = lagrangian.deviation(point)
        last, now = now, lagrangian.squares(deviation)
        is_stuck = abs(last - now) < _STUCK * last
        patience = patience + 1 if is_stuck else 0
        if patience > _PATIENCE or math.sqrt(now / length) < _FEASIBLE:
            break
        if now < _IMPROVED * before:
            lagrangian.multiplier = lagrangian.multiplier - lagrangian.sigma * deviation
            before = now
        else:
            lagrangian.sigma *= _RAISE
    signals, filters = lagrangian.split(point)
    return _leading(filters, signals)


def _leading(left: Array, right: Array) -> tuple[Array, Array]:
    """Return the leading singular pair of ``left @ right^H``."""
    first, upper = np.linalg.qr(left)
    second, lower = np.linalg.qr(right)
    u, sizes, vh = np.linalg.svd(upper @ lower.conj().T)
    return first @ u[:, :1] * sizes[0], second @ vh[:1].conj().T


def regularised_descent(
    instance: Instance, max_steps: int = 3000
) -> tuple[Array, Array]:
    """Li, Ling, Strohmer and Wei (2019): spectral start, penalty, descent.

    The penalty's strength is that of their experiments, d^2 / 100.
    """
    problem = problem_of(instance)
    start = incoherent_start(problem, generator=make_generator(0))
    strength = max(start.penalty.scales) ** 2 / 100.0
    start = incoherent_start(problem, strength=strength, generator=make_generator(0))
    with torch.no_grad():
        solution = iterate(problem, RegularisedDescent(), start, max_steps=max_steps)
    state = solution.state
    return state.left.numpy(), state.right.numpy()
