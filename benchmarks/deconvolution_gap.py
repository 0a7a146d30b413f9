"""How far a point is from optimal, from the data alone: one judge for all methods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from deconvolution_data import Array, Instance
from scipy.optimize import brentq
from scipy.sparse.linalg import LinearOperator, cg


@final
@dataclass(frozen=True, kw_only=True)
class Gap:
    """Values of a feasible matrix and of a feasible dual vector.

    ``infeasibility`` is how far the matrix was from feasible before it was moved, in
    the norm of its measurements, relative to those of y.
    """

    primal: float
    dual: float
    infeasibility: float

    @property
    def relative(self) -> float:
        return (self.primal - self.dual) / self.primal


@final
@dataclass(frozen=True, eq=False)
class Judge:
    """Moves matrices to the nearest feasible point, and dual vectors into their ball.

    One Hermitian eigendecomposition of A A^*, of size L; beyond ``largest`` conjugate
    gradients instead, which move the residual straight to the edge of its ball.
    """

    instance: Instance
    largest: int = 1500

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        of = self.instance
        gram = (of.filter_rows @ of.filter_rows.conj().T) * (
            of.signal_rows @ of.signal_rows.conj().T
        )
        return np.linalg.eigh(gram)

    def nearest(self, matrix: Array) -> Array:
        """Return the nearest matrix whose residual has at most the norm allowed."""
        of = self.instance
        residual = of.image(matrix) - of.observed
        size = float(np.linalg.norm(residual))
        if size <= of.bound:
            return matrix
        if of.length > self.largest:
            wanted = residual * (of.bound / size)
            return matrix - of.adjoint(self._solve(residual - wanted))
        values, vectors = self._spectrum
        parts = vectors.conj().T @ residual
        if of.bound == 0.0:
            return matrix - of.adjoint(vectors @ (parts / values))

        def excess(logarithm: float) -> float:
            left = np.linalg.norm(parts / (1.0 + math.exp(logarithm) * values))
            return float(left) / of.bound - 1.0

        largest = math.log((1.0 + 2.0 * size / of.bound) / values[0])
        weight = math.exp(brentq(excess, -60.0, largest, xtol=1e-13))
        return matrix - of.adjoint(vectors @ (weight * parts / (1.0 + weight * values)))

    def _solve(self, target: Array) -> Array:
        of = self.instance
        operator = LinearOperator(
            (of.length, of.length),
            matvec=lambda vector: of.image(of.adjoint(vector)),
            dtype=np.complex128,
        )
        return cg(operator, target, rtol=1e-10, maxiter=200)[0]

    def dual_value(self, vector: Array) -> float:
        """Return the dual value of a vector (Fourier domain), scaled by the best."""
        of = self.instance
        gain = float(np.vdot(vector, of.observed).real)
        gain -= of.bound * float(np.linalg.norm(vector))
        norm = float(np.linalg.norm(of.adjoint(vector), 2))
        return max(gain, 0.0) / norm if norm > 0.0 else 0.0

    def gap(self, matrix: Array, duals: Sequence[Array]) -> Gap:
        """Judge a matrix with the best of the dual vectors, or with its residual."""
        of = self.instance
        residual = of.observed - of.image(matrix)
        excess = max(float(np.linalg.norm(residual)) - of.bound, 0.0)
        feasible = self.nearest(matrix)
        candidates = [*duals, residual]
        if of.bound > 0.0:
            candidates.append(of.observed - of.image(feasible))
        return Gap(
            primal=float(np.linalg.norm(feasible, "nuc")),
            dual=max(self.dual_value(vector) for vector in candidates),
            infeasibility=excess / float(np.linalg.norm(of.observed)),
        )
