r"""How far a factored matrix is from the best fit, by convex duality.

Nothing here knows how the factors were found; all is recomputed from problem and point.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound, Bracket
from tacit.errors import InputError
from tacit.recovery.back_projection import leading_eigenpairs, leading_triplets
from tacit.recovery.held_out import require_factors
from tacit.recovery.identifiability import identifiability_warnings
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.projection_bound import bound_negative_part, bound_spectral_norm
from tacit.recovery.spectrum import nuclear_norm_bound
from tacit.spectral import EPS, EigenvalueBound

# Up to this size of a square matrix the identity is formed.
_LARGEST_IDENTITY = 4096


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Optimality:
    r"""What is known about the fit of :math:`\hat X = L R^H`.

    With :math:`f(Z) = \frac12 \sum_i w_i |\mathcal{A}(Z)_i - y_i|^2` over the
    measurements fitted (the same for symmetric problems), :math:`G =
    \mathcal{A}^*(w \circ r)` its gradient at :math:`\hat X`, and
    :math:`\|\cdot\|_*` the nuclear norm, which is the trace for the positive
    semidefinite matrices of a symmetric problem.

    Parameters
    ----------
    loss : Bracket
        Of the smallest f(Z) over **all** matrices (positive semidefinite ones in a
        symmetric problem), whatever their rank, with :math:`\|Z\|_* \le`
        ``norm_bound``. Its upper side is reached by a multiple of X-hat.
    norm_bound : float
        In the unit of X.
    train_error : float
        :math:`\|r\| / \|y\|` over the measurements fitted.
    stationarity : float
        :math:`\|(G R, G^H L)\|_F` over the same for :math:`\mathcal{A}^*(w \circ y)`
        in place of G: how far the factors are from a critical point; 0 at one, 1 for
        factors near zero.
    escape : EigenvalueBound
        Of :math:`\|G\|_2`; symmetric: of :math:`-\lambda_{\min}(G)`. Where it is 0 (or
        negative) and the factors are critical, X-hat is a global minimum.
    directions : tuple of Tensor
        Unit columns :math:`u_j`, :math:`v_j` (the same tensor in a symmetric problem)
        along which f falls fastest; where the rank should grow.
    gains : tuple of float
        :math:`\max_t f(\hat X) - f(\hat X + t u_j v_j^H)`, t positive, for every j; 0
        where f does not fall.
    warnings : tuple of str
        Why the measurements cannot determine a matrix whose rank is the width of the
        factors; empty if nothing was found.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.certify import certify
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((8, 8), 1, oversampling=3.0, noise=0.1,
    ...     is_symmetric=True, generator=generator)
    >>> truth = problem.planted.left
    >>> report = certify(problem, truth, truth, generator=generator)
    >>> round(report.norm_bound, 12), report.gap > 0.0, report.gains[0] > 0.0
    (1.0, True, True)
    """

    loss: Bracket
    norm_bound: float
    train_error: float
    stationarity: float
    escape: EigenvalueBound
    directions: tuple[Tensor, Tensor]
    gains: tuple[float, ...]
    warnings: tuple[str, ...]

    @property
    def gap(self) -> float:
        """At most this much of the loss could be saved within ``norm_bound``."""
        return self.loss.upper.value - self.loss.lower.value


def certify(
    problem: RecoveryProblem,
    left: Tensor,
    right: Tensor,
    *,
    norm_bound: float | None = None,
    num_directions: int = 1,
    failure_probability: float = 1e-9,
    generator: torch.Generator,
) -> Optimality:
    r"""Bracket the smallest loss over all matrices, of any rank, within a norm.

    For every vector q on the measurements fitted and every Z with
    :math:`\|Z\|_* \le \tau`, Fenchel's and Hoelder's inequalities give

    .. math:: f(Z) \ge \operatorname{Re} \langle q, \mathcal{A}(Z) - y \rangle
              - \tfrac12 \|q\|^2
              \ge -\tau s(q) - \operatorname{Re} \langle q, y \rangle
              - \tfrac12 \|q\|^2,

    with :math:`s(q) = \|\mathcal{A}^*(q)\|_2`, or :math:`\max(0, -\lambda_{\min})` of
    its Hermitian part if Z is positive semidefinite. For :math:`q = t\, (w \circ r)`
    the best :math:`t \ge 0` has a closed form,

    .. math:: f(Z) \ge \frac{\max(0, b)^2}{2 \|w \circ r\|^2}, \quad
              b = -\operatorname{Re} \langle w \circ r, y \rangle - \tau\,
              s(w \circ r),

    which holds at any point, critical or not, and is tight at a global minimum.

    Parameters
    ----------
    problem : RecoveryProblem
        In double precision, without a batch.
    left : Tensor, shape (num_rows, k)
    right : Tensor, shape (num_columns, k)
        The same values as ``left`` in a symmetric problem.
    norm_bound : float or None
        tau, by default the nuclear norm of the point: the bracket then says how much
        better a matrix *no larger* can fit. ``math.inf`` asks about all matrices. The
        lower side is then 0, except in a symmetric problem: if G is not positive
        semidefinite, the multiple of :math:`\mathcal{A}(I)` is added to q that makes
        it so, where :math:`\mathcal{A}^* \mathcal{A}(I)` is positive definite.
    num_directions : int
        How many directions to return, 1 to ``min(num_rows, num_columns)``.
    failure_probability : float
        In (0, 1), of Lanczos where the matrix is too large for a dense factorisation;
        the lower side then is ``probabilistic``.
    generator : torch.Generator
        Draws random starts of Lanczos and of the directions.

    Returns
    -------
    Optimality

    Raises
    ------
    InputError
        If the map is in single precision, a factor is not finite, or an argument is out
        of range.
    ShapeError
        If the factors do not fit the problem, or there is a batch.

    Notes
    -----
    The inner product with y and the norm of the point are widened by their rounding
    errors; those of the map itself are not included. A small gap says that no *fit* is
    much better, not that the matrix is the truth: for that, hold out measurements.

    References
    ----------
    Fenchel duality as in Rockafellar (1970), Convex Analysis, section 31; the closed
    form in t is ours.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.certify import certify
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((8, 6), 2, oversampling=2.0,
    ...     generator=generator)
    >>> truth = problem.planted
    >>> report = certify(problem, truth.left[:, :1], truth.right[:, :1],
    ...     generator=generator)
    >>> 0.0 == report.loss.lower.value < report.loss.upper.value, report.warnings
    (True, ())
    """
    require_factors(problem, left, right)
    nuclear_norm = nuclear_norm_bound(left, right)
    if norm_bound is None:
        norm_bound = nuclear_norm
    if not norm_bound >= 0.0:
        raise InputError(
            f"norm_bound must be at least 0, or None for that of the point; got "
            f"{norm_bound}"
        )
    weights = problem.weights
    image = problem.linear_map.apply_factors(left, right)
    dual = weights * (image - problem.measurements)
    escape = _bound_escape(problem, dual, failure_probability / 2.0, generator)
    image, measurements = weights * image, weights * problem.measurements
    size = _norm(measurements)
    feasible, slope, risk = dual, max(0.0, escape.upper), escape.failure_probability
    if problem.is_symmetric and slope > 0.0 and math.isinf(norm_bound):
        feasible, slope, more_risk = _into_cone(
            problem, dual, slope, failure_probability / 2.0, generator
        )
        risk += more_risk
    directions, gains = _escape_directions(problem, dual, num_directions, generator)
    return Optimality(
        loss=Bracket(
            lower=_lower(
                feasible,
                measurements,
                slope * norm_bound if slope > 0.0 else 0.0,
                rounded=_norm(image) + size,
                failure_probability=risk,
            ),
            upper=_upper(image, measurements, norm_bound, nuclear_norm),
        ),
        norm_bound=norm_bound,
        train_error=_norm(dual) / size if size > 0.0 else math.nan,
        stationarity=_stationarity(problem, dual, measurements, left, right),
        escape=escape,
        directions=directions,
        gains=gains,
        warnings=identifiability_warnings(problem, left.shape[1]),
    )


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))


def _bound_escape(
    problem: RecoveryProblem,
    dual: Tensor,
    failure_probability: float,
    generator: torch.Generator,
) -> EigenvalueBound:
    bound = bound_negative_part if problem.is_symmetric else bound_spectral_norm
    return bound(
        problem.linear_map,
        dual,
        failure_probability=failure_probability,
        generator=generator,
    )


def _into_cone(
    problem: RecoveryProblem,
    dual: Tensor,
    slope: float,
    failure_probability: float,
    generator: torch.Generator,
) -> tuple[Tensor, float, float]:
    """Add what makes the back-projection positive semidefinite, if the map has that.

    Returns the vector, what is left of the slope, and the failure probability spent.
    """
    size = problem.linear_map.in_shape[0]
    if size > _LARGEST_IDENTITY:
        return dual, slope, 0.0
    spec = problem.linear_map.spec
    identity = torch.eye(size, dtype=spec.dtype, device=spec.device)
    lift = problem.weights * problem.linear_map.apply(identity)
    found = _bound_escape(problem, lift, failure_probability, generator)
    if found.upper >= 0.0:
        return dual, slope, 0.0
    return dual + slope / -found.upper * lift, 0.0, found.failure_probability


def _lower(
    dual: Tensor,
    measurements: Tensor,
    penalty: float,
    *,
    rounded: float,
    failure_probability: float,
) -> Bound:
    """Return the dual value of the best multiple of a vector.

    ``rounded`` is the size of what was subtracted to get the vector.
    """
    length = _norm(dual)
    inner = float(torch.vdot(dual, measurements).real)
    inner += 2.0 * (len(dual) + 2) * EPS * length * rounded
    excess = max(0.0, -inner - penalty)
    scale = excess / length**2 if length > 0.0 else 0.0
    return Bound(
        value=scale * excess / 2.0,
        side="lower",
        method="Fenchel dual at a multiple of the residual",
        arithmetic="probabilistic" if failure_probability > 0.0 else "float",
        failure_probability=failure_probability,
        witness=scale * dual,
    )


def _upper(
    image: Tensor, measurements: Tensor, norm_bound: float, nuclear_norm: float
) -> Bound:
    """Return the loss of the best multiple of the point within the norm."""
    energy = _norm(image) ** 2
    best = float(torch.vdot(image, measurements).real) / energy if energy > 0.0 else 0.0
    largest = norm_bound / nuclear_norm if nuclear_norm > 0.0 else 0.0
    candidates = (min(max(best, 0.0), largest), min(1.0, largest))
    losses = [_norm(scale * image - measurements) ** 2 / 2.0 for scale in candidates]
    chosen = min(range(len(losses)), key=losses.__getitem__)
    return Bound(
        value=losses[chosen],
        side="upper",
        method="loss of the point times a number",
        witness=candidates[chosen],
    )


def _stationarity(
    problem: RecoveryProblem,
    dual: Tensor,
    measurements: Tensor,
    left: Tensor,
    right: Tensor,
) -> float:
    def size(vector: Tensor) -> float:
        products = problem.linear_map.adjoint_times(vector, left, right)
        if problem.is_symmetric:
            return _norm(products[0] + products[1])
        return math.hypot(*map(_norm, products))

    scale = size(measurements)
    return size(dual) / scale if scale > 0.0 else math.nan


def _escape_directions(
    problem: RecoveryProblem, dual: Tensor, number: int, generator: torch.Generator
) -> tuple[tuple[Tensor, Tensor], tuple[float, ...]]:
    """Return the leading part of the negative gradient and what each column saves."""
    linear_map = problem.linear_map
    if problem.is_symmetric:
        values, left = leading_eigenpairs(
            linear_map, -dual, number, generator=generator
        )
        right = left
    else:
        left, values, right = leading_triplets(
            linear_map, -dual, number, generator=generator
        )
    # A batch of matrices of rank one.
    images = linear_map.apply_factors(left.T[..., None], right.T[..., None])
    energies = (problem.weights * images).abs().square().sum(-1)
    gains = [
        value**2 / (2.0 * energy) if value > 0.0 and energy > 0.0 else 0.0
        for value, energy in zip(values.tolist(), energies.tolist(), strict=True)
    ]
    return (left, right), tuple(gains)
