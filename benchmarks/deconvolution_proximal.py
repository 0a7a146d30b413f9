"""Blind deconvolution by the primal-dual steps of PyProximal."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pylops
import pyproximal
from deconvolution_conic import Answer
from deconvolution_data import Array, Instance, to_fourier
from deconvolution_gap import Judge

TARGET = 1e-6
_EVERY = 10


class _Reached(Exception):  # noqa: N818
    """Ends a run of PyProximal, which stops at a number of steps only."""


class _Watch:
    """Judges every tenth point, off the clock."""

    def __init__(self, instance: Instance, budget: float) -> None:
        self.judge = Judge(instance)
        self.instance = instance
        self.budget = budget
        self.steps = 0
        self.seconds = 0.0
        self.gap = np.inf
        self.point: tuple[Array, list[Array]] | None = None
        self._began = time.process_time()

    def start(self) -> None:
        self._began = time.process_time()

    def see(self, entries: Array, dual: Array | None) -> None:
        self.steps += 1
        if self.steps % _EVERY:
            return
        self.seconds += time.process_time() - self._began
        matrix = entries.reshape(self.instance.shape)
        duals = [] if dual is None else [-_in_fourier(self.instance, dual)]
        self.gap = self.judge.gap(matrix, duals).relative
        self.point = (matrix.copy(), duals)
        if self.gap <= TARGET or self.seconds > self.budget:
            raise _Reached
        self.start()


def _in_fourier(instance: Instance, vector: Array) -> Array:
    return to_fourier(vector) if instance.is_real else vector


def _operator(instance: Instance) -> Any:
    """Take X row by row; complex data in the Fourier domain, real data in time."""
    shape, length = instance.shape, instance.length
    if not instance.is_real:
        return pylops.FunctionOperator(
            lambda entries: instance.image(entries.reshape(shape)),
            lambda vector: instance.adjoint(vector).reshape(-1),
            length,
            shape[0] * shape[1],
            dtype=np.complex128,
        )
    return pylops.FunctionOperator(
        lambda entries: (
            np.fft.ifft(instance.image(entries.reshape(shape)), norm="ortho").real
        ),
        lambda vector: instance.adjoint(to_fourier(vector)).reshape(-1),
        length,
        shape[0] * shape[1],
        dtype=np.float64,
    )


def _run(
    instance: Instance, budget: float, call: Callable[[_Watch, Any, Array, Any], None]
) -> Answer:
    began = time.process_time()
    operator = _operator(instance)
    unknowns = instance.shape[0] * instance.shape[1]
    start = np.zeros(unknowns, instance.measured.dtype)
    target = instance.measured if instance.is_real else instance.observed
    call_start = time.process_time()
    watch = _Watch(instance, budget)
    with contextlib.suppress(_Reached):
        call(watch, operator, start, target)
    matrix, duals = watch.point or (start.reshape(instance.shape), [])
    return Answer(
        matrix=matrix,
        duals=duals,
        seconds=watch.seconds,
        compile_seconds=call_start - began,
        notes=f"{watch.steps} steps",
    )


def solve_pdhg(instance: Instance, ratio: float, budget: float) -> Answer:
    """Chambolle-Pock with primal step ``ratio / ||A||`` and dual step .99 / that."""

    def call(watch: _Watch, operator: Any, start: Array, target: Array) -> None:
        norm = _norm(instance, watch)
        pyproximal.optimization.primaldual.PrimalDual(
            pyproximal.Nuclear(instance.shape),
            pyproximal.EuclideanBall(target, instance.bound),
            operator,
            start,
            tau=ratio / norm,
            mu=0.99 / (ratio * norm),
            niter=1_000_000,
            callback=watch.see,
            callbacky=True,
        )

    return _run(instance, budget, call)


def _norm(instance: Instance, watch: _Watch) -> float:
    """Return ||A|| by thirty power steps, on the clock."""
    rng = np.random.default_rng(0)
    watch.start()
    vector = rng.standard_normal(instance.length).astype(np.complex128)
    vector = to_fourier(vector.real)
    size = 0.0
    for _ in range(30):
        vector = instance.image(instance.adjoint(vector / np.linalg.norm(vector)))
        size = float(np.linalg.norm(vector))
    return 1.01 * np.sqrt(size)
