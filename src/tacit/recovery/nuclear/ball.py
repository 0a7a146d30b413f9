r"""Exact projection onto the matrices whose measurements are close to the data."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.maps.gram import gram_multiple, measurement_gram
from tacit.recovery.problem import RecoveryProblem

_MAX_STEPS = 200  # of the secular equation; Newton needs about five
_RANK_RTOL = 1e-12  # eigenvalues below, relative to the largest and per row, are zero


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualBall:
    r"""The matrices that fit, and how to get there by the shortest way.

    .. math:: \{X : \|w \circ (\mathcal{A}(X) - y)\|_2 \le \tau\}

    over all matrices, also in a symmetric problem. With the eigendecomposition
    :math:`G = Q D Q^H` of the measurements' Gram matrix, restricted to those that are
    fitted, both maps below cost two products with Q and an equation in one unknown.

    Parameters
    ----------
    problem : RecoveryProblem
        A, y, w; without a batch.
    values : Tensor, shape (num_fitted,) or (1,)
        D, not negative, ascending; one number where G is a multiple of the identity.
    vectors : Tensor or None, shape (num_fitted, num_fitted)
        Q; None where G is a multiple of the identity.

    Notes
    -----
    Build it with :func:`residual_ball`. ``dataclasses.replace(ball, problem=...)`` is
    right for other measurements y of the same map and the same w.
    """

    problem: RecoveryProblem
    values: Tensor
    vectors: Tensor | None

    def project(self, matrix: Tensor, noise_bound: float) -> tuple[Tensor, Tensor]:
        r"""Return the nearest matrix of the ball, and its multiplier.

        .. math:: X = V - \mathcal{A}^*(s), \qquad s = \mu\, (I + \mu G)^{-1} r, \qquad
                  r = w \circ (\mathcal{A}(V) - y),

        with the one :math:`\mu` for which the residual of X, which is :math:`(I + \mu
        G)^{-1} r`, has norm :math:`\tau`; s = 0 where V is in the ball, and
        :math:`s = G^+ r` for :math:`\tau = 0`.

        Parameters
        ----------
        matrix : Tensor, shape (num_rows, num_columns)
            V.
        noise_bound : float
            :math:`\tau`, at least 0, in the unit of y.

        Returns
        -------
        matrix : Tensor, shape (num_rows, num_columns)
            X.
        multiplier : Tensor, shape (num_measurements,)
            s, 0 where measurements are held out.

        Raises
        ------
        InputError
            If no matrix fits that closely.
        """
        s = self.multiplier(self._residual(matrix), noise_bound)
        return matrix - self.problem.linear_map.adjoint_apply(s), s

    def proximal(self, matrix: Tensor, step: float) -> tuple[Tensor, Tensor]:
        r"""Return the proximal point of the least squares loss, and its multiplier.

        .. math:: \arg\min_X \tfrac12 \|X - V\|_F^2 + \tfrac{t}{2} \|w \circ
                  (\mathcal{A}(X) - y)\|_2^2 = V - \mathcal{A}^*(s), \qquad
                  s = t\, (I + t G)^{-1} r

        Parameters
        ----------
        matrix : Tensor, shape (num_rows, num_columns)
            V.
        step : float
            t, positive.

        Returns
        -------
        matrix : Tensor, shape (num_rows, num_columns)
        multiplier : Tensor, shape (num_measurements,)
            s: t times the residual of the point returned.
        """
        coefficients = self._analyse(self._residual(matrix))
        s = self._synthesise(step * coefficients / (1.0 + step * self.values))
        return matrix - self.problem.linear_map.adjoint_apply(s), s

    def multiplier(self, residual: Tensor, noise_bound: float) -> Tensor:
        r"""Return s with :math:`\|r - G s\| \le \tau` and the least :math:`s^H G s`.

        Parameters
        ----------
        residual : Tensor, shape (num_measurements,)
            r; entries held out are not read.
        noise_bound : float
            :math:`\tau`.

        Returns
        -------
        Tensor, shape (num_measurements,)

        Raises
        ------
        InputError
            If no s comes that close: the measurements are not attained.
        """
        coefficients = self._analyse(residual)
        sizes = (
            torch.view_as_real(coefficients).square().sum(-1)
            if (coefficients.is_complex())
            else coefficients.square()
        )
        total = float(sizes.sum())
        if total <= noise_bound * noise_bound:
            return torch.zeros_like(residual)
        self._require_fit(sizes, total, noise_bound)
        if noise_bound == 0.0:
            inverse = torch.where(
                self.values > self._cut, 1.0 / self.values.clamp_min(1e-300), 0.0
            )
            return self._synthesise(inverse * coefficients)
        step = secular_root(sizes, self.values, noise_bound)
        return self._synthesise(step * coefficients / (1.0 + step * self.values))

    @property
    def _cut(self) -> float:
        """Eigenvalues up to this count as zero."""
        return _RANK_RTOL * self.values.numel() * float(self.values[-1])

    def _require_fit(self, sizes: Tensor, total: float, noise_bound: float) -> None:
        """Refuse a ball that is empty but for rounding."""
        outside = float(sizes[(self.values <= self._cut).expand_as(sizes)].sum())
        scale = total + float(torch.linalg.vector_norm(self.problem.measurements)) ** 2
        least = math.sqrt(outside)
        if least > noise_bound + 1e-9 * math.sqrt(scale):
            raise InputError(
                f"the noise bound must be at least {least:.6g}, the distance from the "
                f"measurements to those of any matrix; got {noise_bound:.6g}; allow "
                "for more noise, or put a penalty instead of the bound"
            )

    def _residual(self, matrix: Tensor) -> Tensor:
        image = self.problem.linear_map.apply(matrix)
        return self.problem.weights * (image - self.problem.measurements)

    def _analyse(self, residual: Tensor) -> Tensor:
        """Return the coefficients of the fitted entries in the eigenbasis."""
        held_out = self.problem.held_out
        fitted = residual if held_out is None else residual[~held_out]
        return fitted if self.vectors is None else self.vectors.mH @ fitted

    def _synthesise(self, coefficients: Tensor) -> Tensor:
        q = self.vectors
        fitted = coefficients if q is None else q @ coefficients
        held_out = self.problem.held_out
        if held_out is None:
            return fitted
        whole = torch.zeros_like(self.problem.measurements)
        whole[~held_out] = fitted
        return whole


def residual_ball(problem: RecoveryProblem) -> ResidualBall:
    """Return the ball of a problem, ready for projections.

    Parameters
    ----------
    problem : RecoveryProblem
        Without a batch.

    Returns
    -------
    ResidualBall

    Notes
    -----
    One Hermitian eigendecomposition of the size of the fitted measurements m:
    ``O(m^3)`` time and ``O(m^2)`` memory; neither for entries and subsampled Fourier
    transforms.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.recovery.nuclear.ball import residual_ball
    >>> problem = tacit.planted_problem((6, 5), 1, oversampling=2.0,
    ...     generator=tacit.make_generator(0))
    >>> point, _ = residual_ball(problem).project(torch.zeros(6, 5).double(), 0.1)
    >>> residual = problem.linear_map.apply(point) - problem.measurements
    >>> round(float(torch.linalg.vector_norm(residual)), 12)
    0.1
    """
    multiple = gram_multiple(problem.linear_map)
    if multiple is not None:
        values = problem.weights.new_full((1,), multiple)
        return ResidualBall(problem=problem, values=values, vectors=None)
    gram = measurement_gram(problem.linear_map)
    if problem.held_out is not None:
        kept = ~problem.held_out
        gram = gram[kept][:, kept]
    values, vectors = torch.linalg.eigh(gram)
    return ResidualBall(problem=problem, values=values.clamp_min(0.0), vectors=vectors)


def secular_root(sizes: Tensor, values: Tensor, radius: float) -> float:
    r"""Solve :math:`\sum_i c_i^2 / (1 + \mu d_i)^2 = \tau^2` for :math:`\mu`.

    Newton's method on :math:`1 / \|\cdot\|`, which is concave and nearly linear in
    :math:`\mu`: from 0 it rises to the root without passing it. Rounding apart, that
    needs no safeguard.

    Parameters
    ----------
    sizes : Tensor, shape (size,)
        :math:`c_i^2`, with a sum above :math:`\tau^2`.
    values : Tensor, shape (size,) or (1,)
        :math:`d_i`, at least 0.
    radius : float
        :math:`\tau`, positive and above the root of the sum of the :math:`c_i^2` with
        :math:`d_i = 0`.

    Returns
    -------
    float
        :math:`\mu`; infinite where rounding leaves no root.
    """
    root = 0.0
    for _ in range(_MAX_STEPS):
        shrinkage = 1.0 / (1.0 + root * values)
        terms = sizes * shrinkage.square()
        size = math.sqrt(float(terms.sum()))
        slope = float((terms * values * shrinkage).sum())
        if size <= radius * (1.0 + 1e-14) or slope <= 0.0:
            break
        step = (1.0 / radius - 1.0 / size) * size**3 / slope
        if root + step <= root:
            break
        root += step
    return root
