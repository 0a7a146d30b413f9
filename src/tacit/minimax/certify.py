r"""How sure it is that a point is a saddle.

Nothing here knows how the point was found; all is recomputed from problem and players.
What can be proved depends on the problem, and the certificate says which it was.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from tacit.bracket import Bound, Bracket
from tacit.errors import CertificateError, InputError
from tacit.minimax.certificate import Kind, Outcome, SaddleCertificate
from tacit.minimax.duality_gap import (
    DualityGap,
    Radii,
    as_double,
    check_radii,
    check_single,
    gradient_gap,
    is_convex_concave,
    quadratic_gap,
)
from tacit.minimax.local_optimality import (
    DENSE_SIZE,
    LocalOptimality,
    local_optimality,
    second_derivatives,
)
from tacit.minimax.matching import AbstractMatchingProblem
from tacit.minimax.matching_value import MatchingValue, matching_value
from tacit.minimax.problem import AbstractSaddleProblem
from tacit.minimax.quadratic import QuadraticGame

# How far a modulus may exceed the curvature at the point, relative to the largest.
_MODULUS_RTOL = 1e-6


def certify_saddle(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    *,
    rtol: float = 1e-4,
    atol: float = 0.0,
    reference_loss: float | None = None,
    moduli: tuple[float, float] | None = None,
    radii: Radii | None = None,
    generator: torch.Generator | None = None,
) -> SaddleCertificate:
    r"""Say what a point of a saddle problem is, and prove it.

    * **Linear discriminator** (:class:`AbstractMatchingProblem`), with residual r,
      target b and proved distance :math:`\delta \ge 0` of b from everything reachable:
      the point is a saddle if :math:`\|r\| - \delta` and :math:`\|y - r\|` are at most
      :math:`\mathrm{rtol} \|b\| + \mathrm{atol}`; its value is positive if
      :math:`\delta > 0` (and b farther than 1e-10 of its length from the cone). Where
      the reachable set is a cone, this is a saddle against every move of either player:
      in the coefficients the game is convex-concave.
    * **Convex-concave** (a :class:`QuadraticGame` whose eigenvalues show it, or any
      problem with ``moduli``), with L the norm of the second derivatives at z = (x, y):
      a saddle if the duality gap is at most :math:`\frac12 L (\mathrm{rtol} \max(1,
      \|z\|))^2 + \mathrm{atol}`. Where the gap is infinite since a player's curvature
      vanishes, or ``radii`` are given, the gap is restricted to balls of radii
      :math:`R_x, R_y` around the point and compared with :math:`L\, \mathrm{rtol}
      \max(1, \|z\|) (R_x + R_y) + \mathrm{atol}`.
    * **Else** by :func:`local_optimality`, also for linear discriminators that no bound
      decides.

    Near a saddle of positive value descent-ascent chatters at the kinks of a ReLU, at a
    relative gap of about 1e-3 of its step: what accuracy counts is the caller's choice.

    Parameters
    ----------
    problem : AbstractSaddleProblem
        What is played.
    min_player, max_player : Tensor
        x and y, without batch dimensions.
    rtol : float
        Relative accuracy of first order quantities: residuals, distances. Gaps are of
        second order.
    atol : float
        Absolute accuracy: in the unit of b (linear discriminator), of f (gaps) or of
        the gradients (local).
    reference_loss : float or None
        Replaces the loss of doing nothing, :math:`\frac12 \|b\|^2`, for a linear
        discriminator, and the scale above for gaps (rtol times it for a restricted gap,
        rtol squared times it otherwise); for example the loss at the start.
    moduli : (float, float) or None
        The caller's word that f is everywhere :math:`\mu_x`-strongly convex in x and
        :math:`\mu_y`-strongly concave in y, for problems whose convexity cannot be
        computed. Checked at the point itself if it has at most 1024 entries.
    radii : (float, float) or None
        Of the balls for a restricted gap. By default :math:`\max(1, \|x\|)` and
        :math:`\max(1, \|y\|)` where the gap is infinite.
    generator : torch.Generator or None
        Draws starts of Lanczos for more than 1024 entries. Without one, problems of
        that size with a linear discriminator get no local certificate.

    Returns
    -------
    SaddleCertificate

    Raises
    ------
    InputError
        If the players form a batch, are not finite or of another dtype or device, an
        option is out of range, ``moduli`` or ``radii`` are given for a problem that has
        no use for them, or a generator is missing.
    ShapeError
        If a player has another shape.
    CertificateError
        If the problem's word is refuted: its cone does not hold what the generator
        reaches at the point, or its curvature there is below ``moduli``.

    References
    ----------
    :func:`fit_cone`, :func:`quadratic_gap`, :func:`gradient_gap` and
    :func:`local_optimality` have the proofs.

    Examples
    --------
    >>> import tacit
    >>> game = tacit.random_quadratic_game(3, 2, curvature=(1.0, 3.0),
    ...     coupling=(0.0, 2.0), concavity=(1.0, 2.0),
    ...     generator=tacit.make_generator(0))
    >>> x, y = tacit.saddle_point(game)
    >>> tacit.certify_saddle(game, x, y).outcome
    'saddle'
    >>> tacit.certify_saddle(game, x + 0.1, y).outcome
    'not converged'
    """
    check_single(problem, min_player, max_player)
    _check_options(rtol, atol, reference_loss, radii)
    if isinstance(problem, AbstractMatchingProblem):
        if moduli is not None or radii is not None:
            raise InputError(
                "moduli and radii must be left out for a linear discriminator: its "
                "certificate does not use them"
            )
        length = float(problem.target.double().norm())
        if reference_loss is not None:
            length = math.sqrt(2.0 * reference_loss)
        return _certify_matching(
            problem, min_player, max_player, rtol, rtol * length + atol, generator
        )
    gap: Callable[..., DualityGap]
    if moduli is not None:
        _check_moduli(problem, min_player, max_player, moduli)
        gap = partial(gradient_gap, problem, min_player, max_player, moduli=moduli)
    elif isinstance(problem, QuadraticGame) and is_convex_concave(problem):
        gap = partial(quadratic_gap, problem, min_player, max_player)
    elif radii is not None:
        raise InputError(
            "radii must be left out unless the problem is convex-concave; pass moduli "
            "if it is"
        )
    else:
        return _certify_local(problem, min_player, max_player, rtol, atol, generator)
    report = gap(radii=radii)
    if math.isinf(report.gap):
        sizes = (float(p.double().norm()) for p in (min_player, max_player))
        for_min, for_max = (max(1.0, size) for size in sizes)
        report = gap(radii=(for_min, for_max))
    if reference_loss is None:
        scale = _scale(problem, min_player, max_player, rtol, generator)
    else:
        scale = (rtol * reference_loss, rtol * rtol * reference_loss)
    return _certify_gap(problem, min_player, max_player, report, scale, atol)


def _check_options(
    rtol: float, atol: float, reference_loss: float | None, radii: Radii | None
) -> None:
    if not (0.0 <= rtol < 1.0 and 0.0 <= atol < math.inf):
        raise InputError(
            f"rtol must be in [0, 1) and atol not negative; got {rtol} and {atol}"
        )
    if reference_loss is not None and not 0.0 <= reference_loss < math.inf:
        raise InputError(
            f"reference_loss must be finite and not negative; got {reference_loss}"
        )
    check_radii(radii)


def _certify_matching(
    problem: AbstractMatchingProblem,
    min_player: Tensor,
    max_player: Tensor,
    rtol: float,
    tolerance: float,
    generator: torch.Generator | None,
) -> SaddleCertificate:
    """Compare the residual with its proved minimum, the scores with the residual."""
    found = matching_value(problem, min_player, max_player)
    shortest = math.sqrt(2.0 * found.bracket.lower.value)
    excess = math.sqrt(2.0 * found.primal_value) - shortest
    is_close = found.max_player_distance <= tolerance
    outcome: Outcome = "not converged"
    kind: Kind = "global, by a bound"
    if found.is_exact:
        kind = "global, by non-negative least squares"
    local = None
    if is_close and excess <= tolerance:
        is_reached = found.cone is None or found.cone.is_member
        is_positive = shortest > 0.0 and not is_reached
        outcome = "positive-value saddle" if is_positive else "zero-value saddle"
    elif is_close and not found.is_exact:
        local = _local_or_none(problem, min_player, max_player, rtol, generator)
        if local is not None and _local_outcome(local) != "not converged":
            kind, outcome = "local second-order", _local_outcome(local)
    return _matching_certificate(found, outcome, kind, tolerance, local)


def _matching_certificate(
    found: MatchingValue,
    outcome: Outcome,
    kind: Kind,
    tolerance: float,
    local: LocalOptimality | None,
) -> SaddleCertificate:
    distance = found.max_player_distance
    return SaddleCertificate(
        outcome=outcome,
        kind=kind,
        bracket=found.bracket,
        gap=max(found.primal_value - found.bracket.lower.value, 0.0)
        + distance * distance / 2.0,
        tolerance=tolerance,
        value=found.primal_value - distance * distance / 2.0,
        primal_value=found.primal_value,
        min_gradient_norm=found.min_gradient_norm,
        max_gradient_norm=distance,
        max_player_distance=distance,
        cone=found.cone,
        attaining=found.attaining,
        local=local,
    )


def _local_or_none(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    rtol: float,
    generator: torch.Generator | None,
) -> LocalOptimality | None:
    is_large = min_player.numel() + max_player.numel() > DENSE_SIZE
    if is_large and generator is None:
        return None
    return local_optimality(
        problem, min_player, max_player, rtol=rtol, generator=generator
    )


def _local_outcome(report: LocalOptimality) -> Outcome:
    if report.classification == "local Nash":
        return "local Nash"
    if report.classification == "local minimax":
        return "local minimax"
    return "not converged"


def _certify_local(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    rtol: float,
    atol: float,
    generator: torch.Generator | None,
) -> SaddleCertificate:
    report = local_optimality(
        problem, min_player, max_player, rtol=rtol, atol=atol, generator=generator
    )
    nothing = "nothing global is known"
    return SaddleCertificate(
        outcome=_local_outcome(report),
        kind="local second-order",
        bracket=Bracket(
            lower=Bound(value=-math.inf, side="lower", method=nothing),
            upper=Bound(value=math.inf, side="upper", method=nothing),
        ),
        gap=math.inf,
        tolerance=report.gradient_tolerance,
        value=float(problem.value(min_player, max_player)),
        primal_value=None,
        min_gradient_norm=report.min_gradient_norm,
        max_gradient_norm=report.max_gradient_norm,
        local=report,
    )


def _check_moduli(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    moduli: tuple[float, float],
) -> None:
    """Refuse moduli that the second derivatives at the point contradict."""
    if isinstance(problem, QuadraticGame):
        raise InputError(
            "moduli must be left out for a quadratic game: its eigenvalues are computed"
        )
    split, total = min_player.numel(), min_player.numel() + max_player.numel()
    if total > DENSE_SIZE:
        return
    matrix = second_derivatives(problem, min_player, max_player)
    slack = _MODULUS_RTOL * float(matrix.abs().max())
    lowest = (
        float(torch.linalg.eigvalsh(matrix[:split, :split])[0]),
        float(torch.linalg.eigvalsh(-matrix[split:, split:])[0]),
    )
    if any(low < mu - slack for low, mu in zip(lowest, moduli, strict=True)):
        raise CertificateError(
            f"moduli {moduli} must be at most the smallest curvatures of f in x and -f "
            f"in y everywhere; at the point itself they are {lowest[0]:.6g} and "
            f"{lowest[1]:.6g}; lower them, or leave them out for a local certificate"
        )


def _scale(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    rtol: float,
    generator: torch.Generator | None,
) -> tuple[float, float]:
    """Return L e and L e^2 / 2 for the displacement e = rtol * max(1, |z|)."""
    if isinstance(problem, QuadraticGame):
        game = as_double(problem)
        upper = torch.cat((game.curvature, game.coupling), -1)
        lower = torch.cat((game.coupling.mT, -game.concavity), -1)
        values = torch.linalg.eigvalsh(torch.cat((upper, lower), -2))
        steepest = float(values.abs().max())
    else:
        steepest = local_optimality(
            problem, min_player, max_player, generator=generator
        ).hessian_norm
    size = math.hypot(
        float(min_player.double().norm()), float(max_player.double().norm())
    )
    moved = rtol * max(1.0, size)
    return steepest * moved, steepest * moved * moved / 2.0


def _certify_gap(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    report: DualityGap,
    scale: tuple[float, float],
    atol: float,
) -> SaddleCertificate:
    for_min, for_max = problem.gradients(min_player, max_player)
    radii = report.radii
    tolerance = (scale[1] if radii is None else scale[0] * sum(radii)) + atol
    method = "duality gap" if radii is None else "duality gap in balls"
    is_attained = radii is None and math.isfinite(report.max_gain)
    return SaddleCertificate(
        outcome="saddle" if report.gap <= tolerance else "not converged",
        kind="duality gap" if radii is None else "restricted duality gap",
        bracket=Bracket(
            lower=Bound(
                value=report.lower, side="lower", method=method, witness=max_player
            ),
            upper=Bound(
                value=report.upper, side="upper", method=method, witness=min_player
            ),
        ),
        gap=report.gap,
        tolerance=tolerance,
        value=report.value,
        primal_value=report.upper if is_attained else None,
        min_gradient_norm=float(for_min.double().norm()),
        max_gradient_norm=float(for_max.double().norm()),
        duality_gap=report,
    )
