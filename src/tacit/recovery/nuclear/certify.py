r"""What a pair of factors and a dual vector prove about a nuclear norm programme.

Nothing here knows how they were found; all is recomputed from programme and numbers.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound, Bracket
from tacit.errors import InputError, ShapeError
from tacit.recovery.held_out import require_factors
from tacit.recovery.maps.linear_map import require_spec
from tacit.recovery.nuclear.primal import (
    Point,
    normalised,
    point_at,
    upper_fitting,
    upper_penalised,
)
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.repair import length
from tacit.recovery.nuclear.tangent import RANK_RTOL
from tacit.recovery.nuclear.uniqueness import Uniqueness, judge_uniqueness
from tacit.recovery.problem import inner
from tacit.recovery.projection_bound import bound_negative_part, bound_spectral_norm
from tacit.recovery.spectrum import factor_spectrum
from tacit.spectral import EPS, EigenvalueBound

_NORM_RTOL = 1e-8  # asked of Lanczos
_PROBES = 4


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NuclearCertificate:
    r"""What is known about a nuclear norm programme and :math:`\hat X = L R^H`.

    Parameters
    ----------
    value : Bracket
        Of the optimal value of the programme, in its own unit (of X under a noise
        bound; squared units of y with a penalty). ``lower.witness`` is the feasible
        dual vector that proves the lower side; ``upper.witness`` the multiple of X-hat
        that proves the upper one, or the matrix, if X-hat had to be corrected. Infinite
        where no matrix was found that fits; ``upper.method`` says why.
    infeasibility : float
        :math:`\max(0, \|w \circ r\| - \tau) / \|w \circ y\|` at X-hat, r its residual;
        0 with a penalty. (Not divided if the measurements fitted are zero.)
    train_error : float
        :math:`\|w \circ r\| / \|w \circ y\|`, likewise.
    dual_norm : EigenvalueBound
        Of :math:`\|\mathcal{A}^*(q)\|_2` for the dual vector as given, its held-out
        part dropped; in a symmetric problem of the largest eigenvalue of the Hermitian
        part.
    rank : int
        Number of singular values of X-hat above 1e-6 of the largest.
    uniqueness : Uniqueness or None
        What is proved about other minimisers; None if it was not asked for.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((8, 6), 1, oversampling=3.0,
    ...     generator=generator)
    >>> found = tacit.minimise_nuclear_norm(problem, generator=generator)
    >>> found.certificate.gap < 1e-6, found.certificate.uniqueness.is_unique
    (True, True)
    """

    value: Bracket
    infeasibility: float
    train_error: float
    dual_norm: EigenvalueBound
    rank: int
    uniqueness: Uniqueness | None

    @property
    def gap(self) -> float:
        """Width of the bracket; infinite if no matrix was found that fits."""
        upper = self.value.upper.value
        return upper - self.value.lower.value if math.isfinite(upper) else math.inf

    @property
    def relative_gap(self) -> float:
        """Width of the bracket relative to its upper side; infinite if that is."""
        upper = self.value.upper.value
        if math.isinf(upper):
            return math.inf
        return self.gap / upper if upper > 0.0 else 0.0


def certify_nuclear(
    program: NuclearProgram,
    left: Tensor,
    right: Tensor,
    dual: Tensor,
    *,
    failure_probability: float = 1e-9,
    generator: torch.Generator,
    with_uniqueness: bool = True,
) -> NuclearCertificate:
    r"""Bracket the optimal value of a nuclear norm programme.

    The bracket holds for **any** finite factors and dual vector; good ones make it
    narrow. For every vector q on the measurements fitted and every X that fits,
    :math:`\|X\|_* \ge \operatorname{Re} \langle \mathcal{A}^*(q), X \rangle` if
    :math:`s(q) = \|\mathcal{A}^*(q)\|_2 \le 1` (symmetric: the largest eigenvalue of
    its Hermitian part), so

    .. math:: \|X\|_* \ge \operatorname{Re} \langle q, y \rangle - \tau \|q\|, \qquad
              \tfrac12 \|w \circ (\mathcal{A}(X) - y)\|^2 + \lambda \|X\|_* \ge
              \operatorname{Re} \langle q, y \rangle - \tfrac12 \|q\|^2 \quad \text{if}
              \quad s(q) \le \lambda.

    The lower side is that of the best positive multiple of the dual vector: divided by
    an upper bound on its s in the first form, the multiple :math:`\min(\lambda / s,\,
    b)` of the unit vector with :math:`b = \operatorname{Re} \langle q, y \rangle` in
    the second. If s is not positive and b exceeds :math:`\tau`, nothing fits, and the
    lower side is infinite.

    The upper side is the objective of X-hat or of its best multiple; under a noise
    bound these must fit, and otherwise X-hat is corrected first, see
    :func:`~tacit.recovery.nuclear.repair.repaired`.

    Parameters
    ----------
    program : NuclearProgram
        In double precision.
    left, right : Tensor, shapes (num_rows, k) and (num_columns, k)
        Factors of X-hat; the same in a symmetric problem.
    dual : Tensor, shape (num_measurements,)
        q, of any length; at an optimum a positive multiple of :math:`-r` where the
        noise bound or the penalty is positive.
    failure_probability : float
        In (0, 1): of Lanczos over its random start, for matrices too large to factor.
    generator : torch.Generator
        Draws that start, and probes of the size of the map.
    with_uniqueness : bool
        Whether to judge uniqueness too, which costs a dense factorisation.

    Returns
    -------
    NuclearCertificate

    Raises
    ------
    InputError
        If a number is not finite, the map is not in double precision, or sizes are
        outside of what float64 can square.
    ShapeError
        If a shape does not fit.

    Notes
    -----
    In floating point, "fits" means: within the noise bound and 1e-13 of the
    measurements, and what such a violation can change along the correction and the dual
    vector is added. Nothing bounds that for exact measurements of semidefinite matrices
    in general, where the optimal value need not be a Lipschitz function of them: there
    the upper side holds for measurements within 1e-13 of those given.

    The map is applied a few times for a multiple of X-hat. A correction takes the Gram
    matrix of the measurements (up to 4096 of them) or a few dozen applications to full
    matrices.

    References
    ----------
    Recht, Fazel and Parrilo (2010), Guaranteed minimum-rank solutions of linear matrix
    equations via nuclear norm minimization, section 2.4 (the dual); the multiples and
    the correction are ours.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.nuclear.certify import certify_nuclear
    >>> from tacit.recovery.nuclear.program import NuclearProgram
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((6, 5), 1, oversampling=2.0, noise=0.1,
    ...     generator=generator)
    >>> size = float(problem.measurements.norm())
    >>> program = NuclearProgram(problem=problem, noise_bound=0.3 * size)
    >>> truth = problem.planted
    >>> report = certify_nuclear(program, truth.left, truth.right,
    ...     -program.residual(truth.left, truth.right), generator=generator)
    >>> report.rank, 0.0 <= report.value.lower.value < report.value.upper.value < 1.0
    (1, True)
    """
    problem = program.problem
    require_factors(problem, left, right)
    _require_dual(program, dual)
    point = point_at(program, left, right)
    direction, size = _unit(problem.weights * dual)
    slope = _slope(program, direction, left, right, failure_probability, generator)
    lower = _lower(program, direction, slope, point.measurements, generator)
    if program.penalty is None:
        upper = upper_fitting(program, point, lower)
    else:
        upper = upper_penalised(point, program.penalty)
    value = Bracket(lower=lower, upper=upper)
    unit = length(point.measurements) or 1.0
    misfit = point.misfit(point.scale)
    uniqueness = None
    if with_uniqueness:
        uniqueness = _uniqueness(program, point, value, failure_probability, generator)
    allowed = math.inf if program.noise_bound is None else program.noise_bound
    return NuclearCertificate(
        value=value,
        infeasibility=max(0.0, misfit - allowed) / unit,
        train_error=misfit / unit,
        dual_norm=EigenvalueBound(
            value=size * slope.value,
            upper=size * slope.upper,
            failure_probability=slope.failure_probability,
            num_steps=slope.num_steps,
        ),
        rank=_rank(point),
        uniqueness=uniqueness,
    )


def _uniqueness(
    program: NuclearProgram,
    point: Point,
    value: Bracket,
    failure_probability: float,
    generator: torch.Generator,
) -> Uniqueness:
    root = math.sqrt(point.scale)
    dual = value.lower.witness
    return judge_uniqueness(
        program,
        root * point.left,
        root * point.right,
        dual if isinstance(dual, Tensor) else torch.zeros_like(point.measurements),
        value,
        failure_probability=failure_probability,
        generator=generator,
    )


def _require_dual(program: NuclearProgram, dual: Tensor) -> None:
    problem = program.problem
    require_spec(problem.linear_map, "dual", dual)
    if dual.shape != problem.measurements.shape:
        raise ShapeError(
            f"dual must have shape {tuple(problem.measurements.shape)} as the "
            f"measurements have; got {tuple(dual.shape)}"
        )
    if not bool(torch.isfinite(dual).all()):
        raise InputError("dual has entries that are not finite; rescale the problem")


def _unit(vector: Tensor) -> tuple[Tensor, float]:
    """Return a vector of length one and the length, at any scale; zero stays zero."""
    vector, largest = normalised(vector)
    size = length(vector)
    return (vector / size, size * largest) if size > 0.0 else (vector, 0.0)


def _rank(point: Point) -> int:
    values = factor_spectrum(point.left, point.right)
    if values.numel() == 0 or float(values[0]) * point.scale == 0.0:
        return 0
    return int((values > RANK_RTOL * values[0]).sum())


def _slope(
    program: NuclearProgram,
    direction: Tensor,
    left: Tensor,
    right: Tensor,
    failure_probability: float,
    generator: torch.Generator,
) -> EigenvalueBound:
    r"""Bound the norm of :math:`\mathcal{A}^*(q)`, or its largest eigenvalue."""
    problem = program.problem
    linear_map = problem.linear_map
    if problem.is_symmetric:
        return bound_negative_part(
            linear_map,
            -direction,
            failure_probability=failure_probability,
            generator=generator,
            rtol=_NORM_RTOL,
            known=left,
        )
    return bound_spectral_norm(
        linear_map,
        direction,
        failure_probability=failure_probability,
        generator=generator,
        rtol=_NORM_RTOL,
        known=(left, right),
    )


def _rounding(program: NuclearProgram, generator: torch.Generator) -> float:
    r"""Return what rounding may add to :math:`\mathcal{A}^*(q)` for a unit vector q.

    A few units in the last place of the map's Frobenius norm, which Gaussian matrices
    of rank one show: :math:`\mathbb{E} \|\mathcal{A}(u v^H)\|^2 = \|\mathcal{A}\|_F^2`.
    """
    spec = program.problem.linear_map.spec

    def draw(size: int) -> Tensor:
        drawn = torch.randn(_PROBES, size, 1, generator=generator, dtype=spec.dtype)
        return drawn.to(spec.device)

    rows, columns = spec.in_shape
    images = program.problem.linear_map.apply_factors(draw(rows), draw(columns))
    return 16.0 * EPS * length(images) / math.sqrt(_PROBES)


def _lower(
    program: NuclearProgram,
    direction: Tensor,
    slope: EigenvalueBound,
    measurements: Tensor,
    generator: torch.Generator,
) -> Bound:
    """Return the dual value of the best multiple of a unit vector."""
    steepest = slope.upper + _rounding(program, generator)
    along = float(inner(direction, measurements))
    along -= 2.0 * (len(direction) + 2) * EPS * length(measurements)
    if program.penalty is None:
        along -= program.noise_bound or 0.0
    multiple = 0.0
    if along > 0.0 and length(direction) > 0.0:
        # The longest multiple that is feasible; all are if the slope is not positive.
        multiple = (program.penalty or 1.0) / steepest if steepest > 0.0 else math.inf
    if program.penalty is not None and along > 0.0:
        multiple = min(multiple, along)
        value = multiple * along - multiple * multiple / 2.0
    else:
        value = multiple * along if multiple > 0.0 else 0.0
    risk = slope.failure_probability
    return Bound(
        value=max(0.0, value),
        side="lower",
        method="dual value of the best multiple of the dual vector",
        arithmetic="probabilistic" if risk > 0.0 else "float",
        failure_probability=risk,
        witness=multiple * direction if math.isfinite(multiple) else direction,
    )
