r"""What a dual vector proves about all minimisers: is there one, and how near."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bracket
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.repair import length
from tacit.recovery.nuclear.tangent import TangentSpace, map_norm, tangent_space
from tacit.recovery.problem import inner
from tacit.spectral import EPS

# With exact measurements, a point that misses them by more than this part is not
# taken for a point of the programme.
_CLOSE = 1e-6
_LARGEST = 1e100
_ROUNDING = 64.0 * EPS


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Uniqueness:
    r"""What a dual vector proves about all minimisers.

    Let :math:`\bar X = U S V^H` be X-hat without its singular values below 1e-6 of the
    largest, T the tangent space :math:`\{U B^H + C V^H\}` of the matrices of its rank,
    and :math:`Y = \mathcal{A}^*(q)` (divided by the penalty, if there is one).

    Parameters
    ----------
    is_unique : bool or None
        True if proved, None if not decided; False is never claimed.
    tangent_margin : float
        :math:`\gamma`, at most the smallest singular value of :math:`w \circ
        \mathcal{A}` on T; infinite if T is zero, NaN if not computed.
    face_margin : float
        :math:`\phi`, the same on the matrices :math:`U M V^H` with a Hermitian M.
    off_tangent : float
        :math:`\theta`, at least :math:`\|P_{T^\perp} Y\|_2` (symmetric: its largest
        eigenvalue); NaN if not computed.
    certificate_error : float
        :math:`\varepsilon`, at least :math:`\|P_T Y - U V^H\|_F`; NaN likewise.
    map_norm : float
        :math:`\beta`, at least the norm of :math:`w \circ \mathcal{A}` (from the
        Frobenius norm); NaN likewise.
    minimiser_distance : float
        At least :math:`\|X - \hat X\|_F` for every minimiser X of the programme;
        infinite if nothing is proved.
    statement : str
        What is proved, as a sentence.

    Notes
    -----
    For every X and :math:`H = X - \bar X`, with a subgradient :math:`U V^H + W` of the
    nuclear norm at :math:`\bar X` for which :math:`\langle W, H \rangle` is the nuclear
    norm of :math:`H_\perp = P_{T^\perp} H`,

    .. math:: \|X\|_* - \|\bar X\|_* \ge \operatorname{Re} \langle q, \mathcal{A}(H)
              \rangle + (1 - \theta) \|H_\perp\|_* - \varepsilon \|H_T\|_F, \qquad
              \gamma \|H_T\|_F \le \|\mathcal{A}(H)\| + \beta \|H_\perp\|_F.

    (i) If :math:`\mathcal{A}(H) = 0`, :math:`\theta < 1` and :math:`\varepsilon \beta <
    (1 - \theta) \gamma`, then :math:`\|X\|_* > \|\bar X\|_*` unless H = 0.

    (ii) If X is a minimiser, :math:`\|\mathcal{A}(H)\| \le \eta` and
    :math:`\|X\|_* - \|\bar X\|_* - \operatorname{Re} \langle q, \mathcal{A}(H) \rangle
    \le \kappa`, then

    .. math:: \|H_T\|_F \le \frac{\eta + \beta \kappa / (1 - \theta)}{\gamma -
              \beta \varepsilon / (1 - \theta)} =: h, \qquad
              \|H_\perp\|_* \le \frac{\kappa + \varepsilon h}{1 - \theta}.

    (iii) Under a positive noise bound or a penalty all minimisers have one residual
    and there is one optimal dual vector :math:`q^*`, a negative multiple of it; the
    duality gap g bounds how far q is from it: :math:`\|q - q^*\| \le \sqrt{2 g}` with
    a penalty, since the dual objective is strongly concave, and :math:`\|\hat q -
    \hat q^*\|^2 \le 2 g / (\tau \|q\|)` for the directions under a noise bound. So
    :math:`\|Y - Y^*\|_2 \le \Delta`. Minimisers are :math:`U_1 M V_1^H` with singular
    vectors of the singular value 1 of :math:`Y^*` and a Hermitian M. With

    .. math:: s = (\varepsilon + \Delta) / (1 - \theta),

    unit vectors in the ranges of :math:`U_1` and :math:`V_1` are within s of those of U
    and V, and :math:`\|U^H U_1 - V^H V_1\|_2 \le s`. So a minimiser X, and a difference
    D of two, is at most :math:`\sqrt 3 s` times its size from a :math:`U M V^H` with a
    Hermitian M, and :math:`\|D_\perp\|_F \le s^2 \|D\|_F`. Since
    :math:`\mathcal{A}(D) = 0`, there is one minimiser if

    .. math:: \sqrt 3 s \beta < \phi \sqrt{1 - 3 s^2} \quad \text{or} \quad
              s^2 \beta < \gamma \sqrt{1 - s^4},

    and with :math:`\|X\|_* \le N` every one has :math:`\|H\|_F \le (\eta + \sqrt 3 s
    \beta N) / \phi + \sqrt 3 s N`.

    References
    ----------
    (i) is the argument of Candes and Recht (2009), Exact matrix completion via convex
    optimization, Lemma 3.1, and of Gross (2011) for inexact certificates; the
    constants and (iii) are ours.
    """

    is_unique: bool | None
    tangent_margin: float
    face_margin: float
    off_tangent: float
    certificate_error: float
    map_norm: float
    minimiser_distance: float
    statement: str


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Nearness:
    r"""How far minimisers can be, before the tangent space is looked at.

    ``first_order`` is kappa, ``measured`` is eta and ``dual`` is Delta of the notes.
    """

    first_order: float
    measured: float
    dual: float


def judge_uniqueness(
    program: NuclearProgram,
    left: Tensor,
    right: Tensor,
    dual: Tensor,
    value: Bracket,
    *,
    failure_probability: float,
    generator: torch.Generator,
) -> Uniqueness:
    r"""Judge what a feasible dual vector proves about the minimisers.

    Parameters
    ----------
    program : NuclearProgram
        In double precision.
    left, right : Tensor, shapes (num_rows, k) and (num_columns, k)
        Factors of X-hat.
    dual : Tensor, shape (num_measurements,)
        Feasible: 0 where held out, and :math:`\|\mathcal{A}^*(q)\|_2` at most 1 or the
        penalty, up to rounding.
    value : Bracket
        Of the optimal value; its lower side proved by ``dual``.
    failure_probability : float
        In (0, 1): of Lanczos over its random start, for the norm of a large map.
    generator : torch.Generator
        Draws that start.

    Returns
    -------
    Uniqueness
        Not decided where the tangent space has more than 2000 real dimensions.
    """
    if value.upper.value == 0.0 and program.penalty is None:
        return _only_zero(length(left) * length(right))
    if math.isinf(value.upper.value):
        return _undecided("no matrix was found that fits")
    if not length(left) * length(right) < _LARGEST:
        return _undecided("the point is too large for float64")
    space = tangent_space(program, left, right)
    if space is None:
        return _undecided("the tangent space is too large for a dense factorisation")
    beta = map_norm(
        program, failure_probability=failure_probability, generator=generator
    )
    matrix = program.problem.linear_map.adjoint_apply(dual / (program.penalty or 1.0))
    theta, epsilon, top, norm = space.split(matrix)
    residual = program.residual(space.left, space.right)
    near = _nearness(program, space, residual, dual, value, beta, (top, norm))
    slope = 1.0 - theta
    distance = _distance(space, near, beta, epsilon, slope)
    sine = (epsilon + near.dual) / slope if slope > 0.0 else math.inf
    size_bound = value.upper.value / (program.penalty or 1.0)
    distance = min(distance, _face_distance(space, near, beta, sine, size_bound))
    is_exact = program.noise_bound == 0.0
    if is_exact:
        size = length(program.problem.weights * program.problem.measurements)
        is_unique = (
            slope > 0.0
            and epsilon * beta < slope * space.margin
            and length(residual) <= _CLOSE * size
        )
    else:
        is_unique = _is_alone(space, beta, sine)
    return Uniqueness(
        is_unique=True if is_unique else None,
        tangent_margin=space.margin,
        face_margin=space.face_margin,
        off_tangent=theta,
        certificate_error=epsilon,
        map_norm=beta,
        minimiser_distance=distance,
        statement=_statement(
            distance,
            length(residual),
            space.nuclear_norm,
            is_unique=is_unique,
            is_exact=is_exact,
        ),
    )


def _only_zero(size: float) -> Uniqueness:
    return Uniqueness(
        is_unique=True,
        tangent_margin=math.inf,
        face_margin=math.inf,
        off_tangent=0.0,
        certificate_error=0.0,
        map_norm=math.nan,
        minimiser_distance=size,
        statement="zero fits, and no other matrix has so small a nuclear norm",
    )


def _undecided(reason: str) -> Uniqueness:
    return Uniqueness(
        is_unique=None,
        tangent_margin=math.nan,
        face_margin=math.nan,
        off_tangent=math.nan,
        certificate_error=math.nan,
        map_norm=math.nan,
        minimiser_distance=math.inf,
        statement=f"not decided: {reason}",
    )


def _is_alone(space: TangentSpace, beta: float, sine: float) -> bool:
    """Part (iii) of the notes."""
    if not sine < 1.0:
        return False
    if math.isinf(space.margin):  # nothing belongs to the singular value 1
        return True
    square = sine * sine
    is_face_seen = 3.0 * square < 1.0 and (
        math.sqrt(3.0) * sine * beta < space.face_margin * math.sqrt(1.0 - 3.0 * square)
    )
    return is_face_seen or (
        square * beta < space.margin * math.sqrt(1.0 - square * square)
    )


def _face_distance(
    space: TangentSpace, near: _Nearness, beta: float, sine: float, size: float
) -> float:
    """End of part (iii) of the notes, and what X-hat has beyond X-bar."""
    beyond = math.sqrt(3.0) * sine * size
    if not (sine < 1.0 and math.isfinite(beyond) and space.face_margin > 0.0):
        return math.inf
    inside = (near.measured + beta * beyond) / space.face_margin
    return inside + beyond + space.tail


def _distance(
    space: TangentSpace, near: _Nearness, beta: float, epsilon: float, slope: float
) -> float:
    """Part (ii) of the notes, and what X-hat has beyond X-bar."""
    if not (slope > 0.0 and beta * epsilon < slope * space.margin):
        return math.inf
    along = 0.0
    if math.isfinite(space.margin):
        along = (near.measured + beta * near.first_order / slope) / (
            space.margin - beta * epsilon / slope
        )
    return math.hypot(along, (near.first_order + epsilon * along) / slope) + space.tail


def _nearness(
    program: NuclearProgram,
    space: TangentSpace,
    residual: Tensor,
    dual: Tensor,
    value: Bracket,
    beta: float,
    norms: tuple[float, float],
) -> _Nearness:
    misfit, size = length(residual), length(dual)
    gap = value.upper.value - value.lower.value
    if program.penalty is not None:
        away = math.sqrt(2.0 * max(0.0, gap))
        error = length(residual + dual)
        measured = away + error
        first = min(error * error / 2.0, error * measured) / program.penalty
        return _Nearness(
            first_order=first, measured=measured, dual=beta * away / program.penalty
        )
    noise_bound = program.noise_bound or 0.0
    data = length(program.problem.weights * program.problem.measurements)
    first = value.upper.value - space.nuclear_norm
    first += float(inner(dual, residual)) + noise_bound * size
    first += _ROUNDING * (value.upper.value + size * (data + noise_bound))
    first = max(0.0, first)
    measured = noise_bound + misfit
    if noise_bound == 0.0 or size == 0.0 or not value.lower.value > 0.0:
        return _Nearness(first_order=first, measured=measured, dual=math.inf)
    turned = math.sqrt(2.0 * max(0.0, gap) / (noise_bound * size))
    close = noise_bound * turned + length(residual + noise_bound / size * dual)
    dual_error = math.inf
    if _is_strictly_feasible(program, space, residual):
        dual_error = _dual_error(beta * size * turned, *norms)
    return _Nearness(first_order=first, measured=min(measured, close), dual=dual_error)


def _dual_error(change: float, top: float, norm: float) -> float:
    r"""Bound :math:`\|Y - Y^*\|` where the directions of q and q* differ a little.

    ``change`` bounds the norm of :math:`\mathcal{A}^*(q - \|q\| \hat q^*)`. The scale
    of q* is such that the norm (largest eigenvalue) of Y* is 1; that of Y is ``top``.
    """
    if not change < top:
        return math.inf
    return (change + norm * (abs(1.0 - top) + change)) / (top - change)


def _is_strictly_feasible(
    program: NuclearProgram, space: TangentSpace, residual: Tensor
) -> bool:
    """Whether a multiple of X-bar is inside the noise ball, as strong duality needs."""
    problem = program.problem
    image = problem.weights * problem.linear_map.apply_factors(space.left, space.right)
    energy = float(inner(image, image))
    along = float(inner(image, residual))
    best = residual - along / energy * image if energy > 0.0 else residual
    return length(best) < (1.0 - 1e-9) * (program.noise_bound or 0.0)


def _statement(
    distance: float, misfit: float, norm: float, *, is_unique: bool, is_exact: bool
) -> str:
    near = (
        f"every minimiser is within {distance:.2e} (Frobenius) of the point"
        if math.isfinite(distance)
        else "how far minimisers are is not bounded"
    )
    if not is_unique:
        return f"uniqueness is not decided; {near}"
    if not is_exact:
        return f"there is one minimiser; {near}"
    return (
        f"the point is the only matrix of nuclear norm at most {norm:.6g} that gives "
        f"exactly its measurements, which miss those given by {misfit:.1e}; {near}, "
        "and so is a truth that fits exactly and has no larger nuclear norm"
    )
