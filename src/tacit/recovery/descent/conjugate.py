r"""Preconditioned conjugate gradients on the factors, with exact line search.

The fast way to a matrix whose rank is known or bounded well: for condition numbers from
1 to 1000 some thirty steps reach six digits. From a tiny start with many more columns
than needed it converges to whatever interpolates the data: the implicit bias of plain
gradient descent is lost (``recover`` therefore reads the rank first).
"""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.iterate import AbstractSolver
from tacit.recovery.descent.line_search import best_step, quartic_coefficients
from tacit.recovery.descent.pairs import Pair, pair_inner, pair_plus
from tacit.recovery.maps.residual import transformed_line_terms
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.maps.transforms import (
    Transforms,
    measured,
    moved,
    products,
    transformed,
)
from tacit.recovery.problem import (
    RecoveryProblem,
    relative_errors,
    squares_and_errors,
)

# The residual is computed anew once it has fallen by this factor: what rounding left
# from larger residuals would else be seen.
_REFRESH = 1e-5
# Steps in a row that do not lower the loss, or, with a penalty, the least decrement: a
# penalised loss stays positive, and digits beyond those of its sum are of use.
_STALLED, _STALLED_WITH_PENALTY = 5, 50


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConjugateState:
    r"""A point of the iteration.

    Parameters
    ----------
    left, right : Tensor, shape (num_rows, rank) and (num_columns, rank)
        The factors; the same tensor in a symmetric problem.
    residual : Tensor, shape (num_measurements,)
        :math:`\mathcal{A}(L R^H) - y`, held-out measurements included.
    value : float
        :math:`\frac12 \sum_i w_i |r_i|^2`, and the penalty if there is one.
    train_error : float
        :math:`\|r\| / \|y\|` over the fitted measurements.
    held_out_error : float
        The same over those held out; NaN if there are none.
    decrement : float
        :math:`s \langle g, p \rangle / \text{value}` for gradient g, preconditioned
        gradient p and the length s of the last step: about twice the relative decrease
        still to be had. Infinite before the first step, unless g or the loss is zero.
    num_passes : int
        How often :math:`\mathcal{A}` and its adjoint were evaluated, each for whatever
        was batched into one pass over the measurements.
    """

    left: Tensor
    right: Tensor
    residual: Tensor
    value: float
    train_error: float
    held_out_error: float
    decrement: float
    num_passes: int
    num_stalled: int
    least_decrement: float
    refreshed_at: float
    transforms: Transforms
    # The gradient as a matrix, where the map is stored and it can be carried along.
    gradient: Tensor | None
    products: tuple[Tensor, Tensor]
    slope: float
    direction: tuple[Tensor, Tensor]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConjugateGradients(AbstractSolver[RecoveryProblem, ConjugateState]):
    r"""Minimise :math:`\frac12 \sum_i w_i |\mathcal{A}(L R^H)_i - y_i|^2`.

    With a penalty, :math:`\frac{\lambda}{2} (\|L\|_F^2 + \|R\|_F^2)` is added, which
    is :math:`\lambda \|X\|_*` at balanced factors: then any number of columns beyond
    the rank of the minimiser leads to it, and superfluous ones vanish.

    Nonlinear conjugate gradients (Polak and Ribiere, restarted when they point uphill)
    in the metric of ScaledGD: the gradient :math:`(G R, G^H L)` with
    :math:`G = \mathcal{A}^*(w \circ r)` becomes
    :math:`(G R (R^H R + \delta I)^{-1}, G^H L (L^H L + \delta I)^{-1})`, which makes
    the speed independent of the condition number. The step is the exact minimiser of
    the quartic along the direction. In symmetric problems :math:`L = R = U` and G is
    replaced by its Hermitian part.

    Parameters
    ----------
    rtol : float
        Converged once ``train_error`` is at most this.
    decrement_rtol : float
        Converged, too, once ``decrement`` is at most this: with noise the loss stays
        positive. Every critical point counts, the origin included.
    damping : float
        :math:`\delta = \text{damping} \cdot \|X\|_F \cdot` train error, besides a
        rounding-level amount: with more columns than the rank the metric would blow
        up noise. With a penalty, delta is the penalty.
    penalty : float
        :math:`\lambda`, at least 0, in the unit of :math:`\|\mathcal{A}^*(y)\|_2`.

    Notes
    -----
    A stored measurement matrix is read once a step: both terms of the line search and
    their adjoints come from one pass, and the next gradient is the old one plus theirs.
    Other maps compute two forward terms and one adjoint a step, from transforms of the
    factors that are carried along: a step transforms the direction alone. Besides, a
    step costs O((num_rows + num_columns) rank^2).

    References
    ----------
    Tong, Ma and Chi (2021), Accelerating ill-conditioned low-rank matrix estimation via
    scaled gradient descent (the metric). Mishra and Sepulchre (2014), R3MC (conjugate
    gradients in it for completion). Srebro, Rennie and Jaakkola (2004), Maximum-margin
    matrix factorization (the penalty on factors). The single pass with carried
    gradients, and the penalty as damping, are ours.

    Examples
    --------
    >>> import tacit
    >>> from tacit.iterate import iterate
    >>> from tacit.recovery.descent.conjugate import ConjugateGradients
    >>> from tacit.recovery.start import spectral_start
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((20, 15), 2, oversampling=4.0,
    ...     generator=generator)
    >>> start = spectral_start(problem, 2, generator=generator)
    >>> solution = iterate(problem, ConjugateGradients(), start, max_steps=100)
    >>> solution.state.train_error < 1e-9
    True
    """

    rtol: float = 1e-9
    decrement_rtol: float = 1e-12
    damping: float = 0.1
    penalty: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rtol", "decrement_rtol", "damping", "penalty"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise InputError(f"{name} must be a number of at least 0; got {value}")

    def init(self, problem: RecoveryProblem, start: Any) -> ConjugateState:
        left, right = start
        point = _measure(problem, left, right)
        return self._arrive(problem, None, point, math.inf, 1)

    def step(self, problem: RecoveryProblem, state: ConjugateState) -> ConjugateState:
        line = _line(problem, state)
        weights = None if problem.held_out is None else problem.weights
        quartic = quartic_coefficients(state.residual, *line.terms, weights)
        if self.penalty > 0.0:
            quartic = self._add_penalty(quartic, state)
        s = best_step(quartic)
        left = state.left + s * state.direction[0]
        right = left if problem.is_symmetric else state.right + s * state.direction[1]
        residual = state.residual + s * (line.terms[0] + s * line.terms[1])
        point = _Point(
            left=left,
            right=right,
            residual=residual,
            transforms=moved(state.transforms, s, line.transforms),
            gradient=line.gradient(state.gradient, s),
        )
        if relative_errors(problem, residual)[0] > _REFRESH * state.refreshed_at:
            return self._arrive(problem, state, point, s, state.num_passes + 1)
        point = _measure(problem, left, right)
        return self._arrive(problem, state, point, s, state.num_passes + 2)

    def status(self, problem: RecoveryProblem, state: ConjugateState) -> Status | None:
        if state.train_error <= self.rtol or state.decrement <= self.decrement_rtol:
            return Status.CONVERGED
        most = _STALLED if self.penalty == 0.0 else _STALLED_WITH_PENALTY
        return Status.STALLED if state.num_stalled >= most else None

    def _arrive(
        self,
        problem: RecoveryProblem,
        before: ConjugateState | None,
        point: "_Point",
        step_size: float,
        num_passes: int,
    ) -> ConjugateState:
        """Return the state at a point, with the direction to go from there."""
        squares, train_error, held_out_error = squares_and_errors(
            problem, point.residual
        )
        value = squares / 2.0
        gradients = _products(problem, point)
        if self.penalty > 0.0:
            factors = point.left, point.right
            value += self.penalty / 2.0 * pair_inner(factors, factors)
            gradients = pair_plus(gradients, self.penalty, factors)
        scaled = self._precondition(gradients, point, train_error)
        slope = pair_inner(gradients, scaled)
        decrement = step_size * slope / value if min(value, slope) > 0.0 else 0.0
        least = min(decrement, before.least_decrement) if before else math.inf
        is_stalled = before is not None and (
            decrement > least
            if self.penalty > 0.0
            else value >= before.value * (1.0 - 1e-12)
        )
        return ConjugateState(
            left=point.left,
            right=point.right,
            residual=point.residual,
            transforms=point.transforms,
            gradient=point.gradient,
            value=value,
            train_error=train_error,
            held_out_error=held_out_error,
            decrement=decrement,
            least_decrement=least,
            num_passes=num_passes,
            num_stalled=before.num_stalled + 1 if before and is_stalled else 0,
            refreshed_at=before.refreshed_at
            if before and train_error > _REFRESH * before.refreshed_at
            else train_error,
            products=gradients,
            slope=slope,
            direction=_direction(gradients, scaled, slope, before),
        )

    def _add_penalty(
        self, quartic: tuple[float, ...], state: ConjugateState
    ) -> tuple[float, ...]:
        """Add the penalty along the direction to twice the loss along it."""
        c0, c1, c2, c3, c4 = quartic
        factors, direction = (state.left, state.right), state.direction
        c1 += 2.0 * self.penalty * pair_inner(factors, direction)
        c2 += self.penalty * pair_inner(direction, direction)
        return c0, c1, c2, c3, c4

    def _precondition(
        self, products: Pair, point: "_Point", train_error: float
    ) -> Pair:
        if point.left is point.right:
            scaled = self._divide(products[0], point.right, train_error)
            return scaled, scaled
        return (
            self._divide(products[0], point.right, train_error),
            self._divide(products[1], point.left, train_error),
        )

    def _divide(self, product: Tensor, other: Tensor, train_error: float) -> Tensor:
        r"""Return :math:`P (F^H F + \delta I)^{-1}` for the other factor F."""
        gram = other.mH @ other
        shift = self.penalty
        if shift == 0.0:
            size = float(gram.diagonal().real.sum())
            floor = 10.0 * torch.finfo(gram.dtype).eps
            # A vanishing factor gets the plain gradient.
            shift = (self.damping * train_error + floor) * size or 1.0
        gram.diagonal().add_(shift)
        # Positive definite by the shift, so that nothing has to be checked.
        return torch.linalg.solve_ex(gram, product, left=False).result


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Point:
    """Factors, their transforms and residual, and the gradient if kept as a matrix."""

    left: Tensor
    right: Tensor
    residual: Tensor
    transforms: Transforms
    gradient: Tensor | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Line:
    """How everything changes along the direction, linearly and quadratically."""

    terms: tuple[Tensor, Tensor]
    transforms: Transforms
    adjoints: tuple[Tensor, Tensor] | None

    def gradient(self, before: Tensor | None, step: float) -> Tensor | None:
        """Return the gradient after a step, where it is kept as a matrix."""
        if before is None or self.adjoints is None:
            return None
        return before + step * (self.adjoints[0] + step * self.adjoints[1])


def _measure(problem: RecoveryProblem, left: Tensor, right: Tensor) -> _Point:
    """Compute the residual at a point from the measurements."""
    right = left if problem.is_symmetric else right
    linear_map, y = problem.linear_map, problem.measurements
    transforms = transformed(linear_map, left, right)
    gradient: Tensor | None = None
    if isinstance(linear_map, StoredMap):
        packed = linear_map.pack(left @ right.mH)[None]
        residuals, gradients = linear_map.fused_pass(packed, y[None], problem.weights)
        residual, gradient = residuals[0], linear_map.unpack(gradients[0])
    else:
        residual = measured(linear_map, transforms, transforms) - y
    return _Point(
        left=left,
        right=right,
        residual=residual,
        transforms=transforms,
        gradient=gradient,
    )


def _line(problem: RecoveryProblem, state: ConjugateState) -> _Line:
    """Look along the direction: one pass over a stored matrix, or two applications."""
    linear_map = problem.linear_map
    (left, right), (d_left, d_right) = (state.left, state.right), state.direction
    direction = transformed(linear_map, d_left, d_right)
    if not isinstance(linear_map, StoredMap):
        terms = transformed_line_terms(linear_map, state.transforms, direction)
        return _Line(terms=terms, transforms=direction, adjoints=None)
    first = left @ d_right.mH + d_left @ right.mH
    packed = linear_map.pack(torch.stack([first, d_left @ d_right.mH]))
    nothing = torch.zeros_like(state.residual).expand(2, -1)
    terms, adjoints = linear_map.fused_pass(packed, nothing, problem.weights)
    matrices = linear_map.unpack(adjoints)
    return _Line(
        terms=(terms[0], terms[1]),
        transforms=direction,
        adjoints=(matrices[0], matrices[1]),
    )


def _products(problem: RecoveryProblem, point: _Point) -> Pair:
    """Return the gradient with respect to both factors."""
    if point.gradient is not None:
        gradient = point.gradient
        found = gradient @ point.right, gradient.mH @ point.left
    else:
        weighted = problem.fitted(point.residual)
        found = products(problem.linear_map, weighted, point.transforms)
    if problem.is_symmetric:
        mean = (found[0] + found[1]) / 2.0
        return mean, mean
    return found


def _direction(
    products: Pair, scaled: Pair, slope: float, before: ConjugateState | None
) -> Pair:
    """Return minus the scaled gradient, plus what Polak and Ribiere keep of before."""
    downhill = -scaled[0], -scaled[1]
    if before is None:
        return downhill
    last, kept = before.slope, pair_inner(before.products, scaled)
    beta = (slope - kept) / last if last > 0.0 else 0.0
    if not beta > 0.0:
        return downhill
    first = downhill[0] + beta * before.direction[0]
    second = (
        first
        if products[0] is products[1]
        else (downhill[1] + beta * before.direction[1])
    )
    is_uphill = pair_inner(products, (first, second)) >= 0.0
    return downhill if is_uphill else (first, second)
