"""Other people's methods, as plain loops: what tacit is compared with in the same run.

All count one pass for the measurements of a matrix together with their adjoint.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from recovery_job import Found, Instance, Watch
from scipy.linalg import eigh
from scipy.sparse.linalg import svds
from torch import Tensor

from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.rank_one import RankOneMap
from tacit.recovery.maps.residual import residual_and_products
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.start import spectral_start

try:  # an optional peer
    import pymanopt
except ImportError:
    pymanopt = None

Array = NDArray[Any]
_MAX_STEPS = 2000


def _sparse(problem: RecoveryProblem, values: Tensor) -> sp.csr_matrix:
    entries = problem.linear_map
    if not isinstance(entries, EntriesMap):
        raise TypeError("this peer completes matrices")
    place = (entries.rows.numpy(), entries.columns.numpy())
    return sp.csr_matrix((values.numpy(), place), shape=entries.shape)


def als(instance: Instance, watch: Watch, generator: torch.Generator) -> Found:
    """Alternate exact least squares in the two factors, rank known, spectral start."""
    problem, rank = instance.problem, instance.rank
    data = _sparse(problem, problem.measurements)
    mask = _sparse(problem, torch.ones_like(problem.measurements))
    data_t, mask_t = data.T.tocsr(), mask.T.tocsr()
    size = min(data.shape)
    first = torch.randn(size, generator=generator, dtype=torch.float64).numpy()
    right = svds(data, k=rank, v0=first)[2].T
    for step in range(1, _MAX_STEPS):
        left = _solve_rows(mask, data, right)
        right = _solve_rows(mask_t, data_t, left)
        if watch.see(torch.from_numpy(left), torch.from_numpy(right), 2 * step):
            break
    return _found(left, right, 2 * step, watch)


def _solve_rows(mask: sp.csr_matrix, data: sp.csr_matrix, right: Array) -> Array:
    """Solve the normal equations of every row, all Gram matrices from one product."""
    rank = right.shape[1]
    i, j = np.triu_indices(rank)
    packed = mask @ (right[:, i] * right[:, j])
    grams = np.empty((mask.shape[0], rank, rank))
    grams[:, i, j] = packed
    grams[:, j, i] = packed
    diagonal = np.arange(rank)
    ridge = 1e-14 * np.trace(grams, axis1=1, axis2=2) + np.finfo(float).tiny
    grams[:, diagonal, diagonal] += ridge[:, None]
    return np.linalg.solve(grams, (data @ right)[..., None])[..., 0]


def soft_impute(centring: str) -> Callable[[Instance, Watch, torch.Generator], Found]:
    """Soft-impute over a path of penalties; the best by the entries nobody may see.

    ``centring`` is "none", "mean" or "lines" (mean, then rows and columns).
    """

    def run(instance: Instance, watch: Watch, generator: torch.Generator) -> Found:
        del generator
        problem = instance.problem
        data = _sparse(problem, problem.measurements).toarray()
        mask = _sparse(problem, torch.ones_like(problem.measurements)).toarray() > 0.0
        offset_left, offset_right = _centres(data, mask, centring)
        data = np.where(mask, data - offset_left @ offset_right.T, 0.0)
        top = math.sqrt(eigh(_gram(data), eigvals_only=True)[-1])
        state = (np.zeros_like(data), np.zeros_like(data))
        best = (math.inf, offset_left, offset_right, math.nan)
        num_passes = num_worse = 0
        for penalty in top * 0.75 ** np.arange(1, 41):
            current, left, right, count = _impute(data, mask, state[0], penalty)
            state = (current, state[0])
            num_passes += count
            left = np.concatenate([left, offset_left], -1)
            right = np.concatenate([right, offset_right], -1)
            lowest = watch.best
            pair = torch.from_numpy(left), torch.from_numpy(right)
            is_over = watch.see(*pair, num_passes)
            if watch.best < lowest:
                best, num_worse = (watch.best, left, right, penalty / top), 0
            else:
                num_worse += 1
            if is_over or num_worse == 3:
                break
        notes = {"penalty": best[3], "rank": best[1].shape[-1]}
        return _found(best[1], best[2], num_passes, watch, notes)

    return run


def _centres(data: Array, mask: Array, centring: str) -> tuple[Array, Array]:
    """Return factors of what is taken off before: means of rows and columns."""
    ones = (np.ones((data.shape[0], 1)), np.ones((data.shape[1], 1)))
    if centring == "none":
        return np.zeros((data.shape[0], 0)), np.zeros((data.shape[1], 0))
    mean = data[mask].mean()
    if centring == "mean":
        return mean * ones[0], ones[1]
    rows, columns = np.zeros((data.shape[0], 1)), np.zeros((1, data.shape[1]))
    counts = [np.maximum(mask.sum(axis, keepdims=True), 1) for axis in (1, 0)]
    for _ in range(20):
        rows = (mask * (data - mean - columns)).sum(1, keepdims=True) / counts[0]
        columns = (mask * (data - mean - rows)).sum(0, keepdims=True) / counts[1]
    left = np.concatenate([mean + rows, ones[0]], -1)
    return left, np.concatenate([ones[1], columns.T], -1)


def _gram(matrix: Array) -> Array:
    return (
        matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    )


def _impute(
    data: Array, mask: Array, start: Array, penalty: float
) -> tuple[Array, Array, Array, int]:
    """Run to convergence at one penalty, with momentum; one decomposition a step."""
    current = ahead = start
    momentum = 1.0
    num_steps = 0
    while num_steps < 400:
        num_steps += 1
        left, right = _shrink(np.where(mask, data, ahead), penalty)
        last, current = current, left @ right.T
        change = current - last
        if np.linalg.norm(change) <= 1e-5 * np.linalg.norm(current):
            break
        # Momentum is given up where it points uphill.
        uphill = np.vdot(ahead - current, change) > 0.0
        later = 1.0 if uphill else (1.0 + math.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = current if uphill else current + (momentum - 1.0) / later * change
        momentum = later
    return current, left, right, num_steps


def _shrink(matrix: Array, penalty: float) -> tuple[Array, Array]:
    """Return factors of the matrix with its singular values less the penalty."""
    is_tall = matrix.shape[0] >= matrix.shape[1]
    squares, vectors = eigh(_gram(matrix), subset_by_value=(penalty**2, np.inf))
    kept = 1.0 - penalty / np.sqrt(squares)
    if is_tall:
        return (matrix @ vectors) * kept, vectors
    return vectors * kept, matrix.T @ vectors


def wirtinger_flow(
    instance: Instance, watch: Watch, generator: torch.Generator
) -> Found:
    """Candes, Li and Soltanolkotabi (2015): spectral start, their step schedule."""
    problem = instance.problem
    linear_map = problem.linear_map
    if not isinstance(linear_map, RankOneMap):
        raise TypeError("Wirtinger flow takes rank-one measurements")
    size = linear_map.num_measurements
    # In their normalisation, y_i = |a_i^H x|^2 with entries of a_i from CN(0, 1).
    vectors = linear_map.left_vectors.numpy() * size**0.25
    y = problem.measurements.numpy().real * math.sqrt(size)
    columns = linear_map.in_shape[0]
    drawn = torch.randn(columns, generator=generator, dtype=torch.complex128)
    z = drawn.numpy()
    conjugates = vectors.conj()
    num_power = 50
    for _ in range(num_power):
        z = vectors.T @ (y * (conjugates @ z))
        z /= np.linalg.norm(z)
    norm = math.sqrt(y.mean())
    z *= norm
    for step in range(1, 20 * _MAX_STEPS):
        length = min(1.0 - math.exp(-step / 330.0), 0.2)
        products = conjugates @ z
        gradient = vectors.T @ ((np.abs(products) ** 2 - y) * products) / size
        z = z - length / norm**2 * gradient
        factor = torch.from_numpy(z[:, None])
        if watch.see(factor, factor, num_power + step):
            break
    return _found(z[:, None], z[:, None], num_power + step, watch)


class _EndedError(Exception):
    """Leaves PyManopt's loop."""


def pymanopt_cg(
    instance: Instance, watch: Watch, generator: torch.Generator
) -> Found | None:
    """PyManopt's conjugate gradients on the matrices of the true rank, spectral start.

    It is given our passes for cost and gradient, one for both at a point, and for
    completion a sparse gradient; None where it is not installed.
    """
    if pymanopt is None:
        return None
    problem = instance.problem
    solver = _Psd(instance, watch) if problem.is_symmetric else _Fixed(instance, watch)
    left, right = spectral_start(problem, instance.rank, generator=generator)
    optimizer = pymanopt.optimizers.ConjugateGradient(
        verbosity=0,
        max_iterations=_MAX_STEPS,
        min_gradient_norm=1e-15,
        min_step_size=1e-18,
        max_time=watch.budget,
    )
    start = solver.point(left, right)
    with contextlib.suppress(_EndedError):
        optimizer.run(solver.problem(), initial_point=start)
    return _found(*solver.factors, solver.num_passes, watch)


class _Psd:
    """Symmetric sensing: the loss of Y Y^T on PyManopt's quotient manifold."""

    def __init__(self, instance: Instance, watch: Watch) -> None:
        self.instance = instance
        self.watch = watch
        size = instance.problem.linear_map.in_shape[0]
        self.manifold = pymanopt.manifolds.PSDFixedRank(size, instance.rank)
        self.num_passes = 0
        self.factors: tuple[Array, Array] = (np.zeros((0, 0)), np.zeros((0, 0)))
        self._at: Array | None = None
        self._value: tuple[float, Array] = (math.nan, np.zeros(0))

    def point(self, left: Tensor, right: Tensor) -> Array:
        del right
        return left.numpy()

    def _evaluate(self, y: Array) -> tuple[float, Array]:
        if self._at is None or not np.array_equal(self._at, y):
            problem = self.instance.problem
            factor = torch.from_numpy(np.ascontiguousarray(y))
            residual, product, _ = residual_and_products(
                problem.linear_map,
                factor,
                factor,
                problem.measurements,
                problem.weights,
            )
            loss = 0.25 * float(residual.square().sum())
            self._at, self._value = y.copy(), (loss, product.numpy())
            self.num_passes += 1
        return self._value

    def problem(self) -> Any:
        @pymanopt.function.numpy(self.manifold)
        def cost(y: Array) -> float:
            return self._evaluate(y)[0]

        @pymanopt.function.numpy(self.manifold)
        def gradient(y: Array) -> Array:
            product = self._evaluate(y)[1]
            self.factors = (y, y)
            factor = torch.from_numpy(np.ascontiguousarray(y))
            if self.watch.see(factor, factor, self.num_passes):
                raise _EndedError
            return product

        return pymanopt.Problem(self.manifold, cost, euclidean_gradient=gradient)


class _Fixed:
    """Completion on the embedded manifold, the gradient as a sparse matrix."""

    def __init__(self, instance: Instance, watch: Watch) -> None:
        self.instance = instance
        self.watch = watch
        rows, columns = instance.problem.linear_map.in_shape
        self.manifold = pymanopt.manifolds.FixedRankEmbedded(
            rows, columns, instance.rank
        )
        self.num_passes = 0
        self.factors: tuple[Array, Array] = (np.zeros((0, 0)), np.zeros((0, 0)))
        self._pattern = _sparse(instance.problem, instance.problem.measurements)

    def point(self, left: Tensor, right: Tensor) -> Any:
        # Singular vectors and values: both factors have orthogonal columns.
        sizes = torch.linalg.vector_norm(left, dim=0)
        s = sizes * torch.linalg.vector_norm(right, dim=0)
        vt = (right / torch.linalg.vector_norm(right, dim=0)).T
        u = (left / sizes).numpy()
        return (u, s.numpy(), vt.contiguous().numpy())

    def _residual(self, u: Array, s: Array, vt: Array) -> Tensor:
        problem = self.instance.problem
        self.factors = (u * s, np.ascontiguousarray(vt.T))
        pair = (torch.from_numpy(factor) for factor in self.factors)
        return problem.linear_map.apply_factors(*pair) - problem.measurements

    def problem(self) -> Any:
        @pymanopt.function.numpy(self.manifold)
        def cost(u: Array, s: Array, vt: Array) -> float:
            self.num_passes += 1
            return 0.5 * float(self._residual(u, s, vt).square().sum())

        @pymanopt.function.numpy(self.manifold)
        def gradient(u: Array, s: Array, vt: Array) -> Any:
            residual = self._residual(u, s, vt)
            left, right = (torch.from_numpy(factor) for factor in self.factors)
            if self.watch.see(left, right, self.num_passes):
                raise _EndedError
            self._pattern.data[:] = residual.numpy()
            return self.manifold.projection((u, s, vt), self._pattern)

        return pymanopt.Problem(self.manifold, cost, riemannian_gradient=gradient)


def _found(
    left: Array,
    right: Array,
    num_passes: int,
    watch: Watch,
    notes: dict[str, Any] | None = None,
) -> Found:
    return Found(
        left=torch.from_numpy(np.ascontiguousarray(left)),
        right=torch.from_numpy(np.ascontiguousarray(right)),
        num_passes=num_passes,
        status="reached" if watch.reached else "ended",
        notes=notes or {},
    )
