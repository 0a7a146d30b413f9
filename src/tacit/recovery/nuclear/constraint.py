r"""The constraint of the splitting: measurements, residual and their linear system."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.maps.gram import gram_multiple, measurement_gram
from tacit.recovery.nuclear.ball import ResidualBall, residual_ball
from tacit.recovery.nuclear.program import NuclearProgram

_SCALE = 0.15  # c^2 over the mean of the Gram matrix's eigenvalues; measured
_SINGULAR = 1e-13
_REFINEMENTS = 4
_WELL_CONDITIONED = 1e4


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Constraint:
    r"""Pairs (X, r') with :math:`w \circ (\mathcal{A}(X) - y) = c r'`.

    Parameters
    ----------
    program : NuclearProgram
    measurements : Tensor, shape (num_measurements,)
        :math:`w \circ y`.
    scale : float
        c; 0 for an exact fit.
    multiple : float or None
        :math:`d + c^2` where :math:`G = d\, I`.
    factor : Tensor or None
        Lower Cholesky factor of :math:`G + c^2 I`; held-out measurements are decoupled.
    inverse : Tensor or None
        Of the same, in place of the factor where its condition allows that: a product
        is faster than two triangular solves.
    ball : ResidualBall or None
        Of an exact fit with a singular G.
    """

    program: NuclearProgram
    measurements: Tensor
    scale: float
    multiple: float | None
    factor: Tensor | None
    inverse: Tensor | None
    ball: ResidualBall | None

    def solve(self, vector: Tensor) -> Tensor:
        r"""Return :math:`(G + c^2 I)^{-1} v` for v that is 0 where held out."""
        if self.multiple is not None:
            return vector / self.multiple
        if self.inverse is not None:
            return self.inverse @ vector
        if self.factor is not None:
            return torch.cholesky_solve(vector[:, None], self.factor)[:, 0]
        if self.ball is None:
            return vector
        return self.ball.multiplier(vector, 0.0)

    def undamped(self, vector: Tensor) -> Tensor:
        r"""Return about :math:`G^{-1} v`, by repeated solves with :math:`G + c^2 I`."""
        solution = total = self.solve(vector)
        if self.scale > 0.0:
            square = self.scale * self.scale
            for _ in range(_REFINEMENTS):
                solution = square * self.solve(solution)
                total = total + solution
        return total

    def image_of_factors(self, left: Tensor, right: Tensor) -> Tensor:
        r"""Return :math:`w \circ \mathcal{A}(L R^H)`."""
        if left.shape[-1] == 0:
            return torch.zeros_like(self.measurements)
        inner = self.program.problem
        image = inner.linear_map.apply_factors(left, right)
        return inner.fitted(image)

    def adjoint(self, vector: Tensor) -> Tensor:
        r"""Return :math:`\mathcal{A}^*(v)`."""
        return self.program.problem.linear_map.adjoint_apply(vector)

    def shrink_residual(self, small: Tensor, gamma: float) -> Tensor:
        """Return the proximal point of h for the scaled residual r'."""
        if self.program.penalty is not None:
            return small / (1.0 + gamma * self.scale * self.scale)
        if self.scale == 0.0:
            return torch.zeros_like(small)
        size = self.scale * float(torch.linalg.vector_norm(small))
        radius = self.program.noise_bound or 0.0
        return small if size <= radius else small * (radius / size)


def constraint(program: NuclearProgram) -> Constraint:
    """Factorise a programme's Gram matrix.

    Parameters
    ----------
    program : NuclearProgram

    Returns
    -------
    Constraint

    Raises
    ------
    InputError
        If more measurements are fitted than there are matrix entries, or the Gram
        matrix is singular and the fit exact, and no matrix fits.
    """
    inner = program.problem
    y = inner.weights * inner.measurements
    is_exact = program.noise_bound == 0.0
    multiple = gram_multiple(inner.linear_map)
    factor = ball = None
    scale = 0.0
    if multiple is not None:
        scale = 0.0 if is_exact else math.sqrt(_SCALE * multiple)
        multiple = multiple + scale * scale
    else:
        gram = _fitted_gram(program)
        fitted = float(inner.weights.sum(dtype=torch.float64))
        mean = float(gram.diagonal().real.sum()) / fitted
        if mean <= 0.0:
            raise InputError(
                "every measurement is zero for all matrices; check the map"
            )
        if not is_exact:
            scale = math.sqrt(_SCALE * mean)
        gram.diagonal().add_(scale * scale)
        gram.diagonal().add_((1.0 - inner.weights) * mean)
        factor, ball = _factorised(program, gram)
    inverse: Tensor | None = None
    if factor is not None and _condition(factor) <= _WELL_CONDITIONED:
        inverse, factor = torch.cholesky_inverse(factor), None
    return Constraint(
        program=program,
        measurements=y,
        scale=scale,
        multiple=multiple,
        factor=factor,
        inverse=inverse,
        ball=ball,
    )


def _condition(factor: Tensor) -> float:
    """Return a lower bound on the condition of a factorised matrix, seldom far off."""
    pivots = factor.diagonal().real
    return (float(pivots.max()) / float(pivots.min())) ** 2


def _fitted_gram(program: NuclearProgram) -> Tensor:
    gram = measurement_gram(program.problem.linear_map)
    if program.problem.held_out is not None:
        weights = program.problem.weights
        gram.mul_(weights[:, None]).mul_(weights)
    return gram


def _factorised(
    program: NuclearProgram, gram: Tensor
) -> tuple[Tensor | None, ResidualBall | None]:
    """Return the Cholesky factor, or the ball if a pseudo-inverse is needed.

    Raises
    ------
    InputError
        If no matrix fits.
    """
    inner = program.problem
    rows, columns = inner.linear_map.in_shape
    is_exact = program.noise_bound == 0.0
    is_tall = float(inner.weights.sum(dtype=torch.float64)) > rows * columns
    factor, failure = torch.linalg.cholesky_ex(gram)
    most = 1.0 / (_SINGULAR * gram.shape[0])
    is_singular = int(failure) != 0 or _condition(factor) >= most
    if program.noise_bound is None or not (is_tall or (is_exact and is_singular)):
        return factor, None
    ball = residual_ball(inner)
    y = inner.weights * inner.measurements
    ball.multiplier(y, program.noise_bound)  # refuses what no matrix fits
    return (None, ball) if is_exact else (factor, None)
