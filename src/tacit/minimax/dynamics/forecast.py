r"""Whether a run will arrive, said before its first step, with reasons."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.cone import fit_cone
from tacit.minimax.descent_ascent import AbstractDescentAscent, AlternatingGDA
from tacit.minimax.dynamics.guarantee import (
    ConvergenceGuarantee,
    convergence_guarantee,
)
from tacit.minimax.dynamics.jacobian import (
    is_dense,
    jacobian_distance,
    jacobian_gram,
)
from tacit.minimax.dynamics.limits import check_stability
from tacit.minimax.dynamics.rates import linear_rate
from tacit.minimax.dynamics.spectrum import JacobianSpectrum, jacobian_spectrum
from tacit.minimax.dynamics.steps import best_steps
from tacit.minimax.matching import AbstractMatchingProblem

Verdict = Literal["impossible", "not expected", "expected", "guaranteed"]

# Changes of the Jacobian, over its smallest singular value, on the way to a solution:
# up to the first the start predicts the run; beyond the second, runs of the paper's
# game (m = 20) did not arrive within 6000 steps (measured, a rule of thumb).
_SMALL_CHANGE, _LARGE_CHANGE = 0.5, 4.5
_RANK = 1e-9  # smallest over largest singular value: below, directions are lost


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConvergencePrediction:
    r"""Whether a run will reach a saddle of value zero, and why.

    Parameters
    ----------
    verdict : {"impossible", "not expected", "expected", "guaranteed"}
        ``impossible``: proved that no such saddle exists. ``not expected``: the steps
        are unstable, the Jacobian at the start does not reach every direction, or it
        changes too much on the way. ``expected``: none of these; to first order the
        residual falls at ``rate``.
        ``guaranteed``: the sufficient condition of :func:`convergence_guarantee` holds.
    reasons : tuple of str
        One sentence each.
    saddle_exists : bool or None
        Whether a saddle of value zero exists; None if that is not known.
    rate : float
        Of the residual per step, for the Jacobian at the start; 1 or more if it does
        not fall.
    num_steps : int or None
        Steps until the residual is ``tolerance`` of that at the start, by the rate.
    solver : AbstractDescentAscent
        The method this is about.
    spectrum : JacobianSpectrum
        At the start.
    jacobian_change : float
        Relative to its smallest singular value, how much the Jacobian changes on the
        shortest way to a solution of the linearised problem, measured at its end. Up to
        about 1/2 the start predicts the run; around 2 a run takes twice the steps or
        more; beyond 4.5 it is not expected to arrive (seen on the paper's game).
        inf if there is no such way, NaN where the Jacobian is too large to be stored.
    guarantee : ConvergenceGuarantee or None
        If a bound on the Jacobian's change was given.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    saddle_exists: bool | None
    rate: float
    num_steps: int | None
    solver: AbstractDescentAscent
    spectrum: JacobianSpectrum
    jacobian_change: float
    guarantee: ConvergenceGuarantee | None


def predict_convergence(
    problem: AbstractMatchingProblem,
    start: tuple[Tensor, Tensor],
    *,
    solver: AbstractDescentAscent | None = None,
    tolerance: float = 1e-10,
    jacobian_change: float | Callable[[float], float] | None = None,
    generator: torch.Generator | None = None,
) -> ConvergencePrediction:
    r"""Say before a run whether descent-ascent reaches a saddle of value zero.

    Parameters
    ----------
    problem : AbstractMatchingProblem
        What is solved.
    start : tuple of Tensor
        Both players, without batch dimensions.
    solver : AbstractDescentAscent or None
        By default the alternating method with the best steps for the start.
    tolerance : float
        In (0, 1), of the residual relative to that at the start.
    jacobian_change : float, callable or None
        A Lipschitz constant of the Jacobian, or a bound on its change within a radius,
        for a guarantee.
    generator : torch.Generator or None
        For Lanczos, where the discriminator is too large for dense algebra.

    Returns
    -------
    ConvergencePrediction

    Raises
    ------
    InputError
        If ``tolerance`` is out of range, the Jacobian at the start is zero and no
        solver was given, or what ``jacobian_change`` asks for is not available.
    ShapeError
        If the start has batch dimensions.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(400, 20, 10, 50, generator=generator)
    >>> start = tacit.draw_start(game, generator=generator)
    >>> prediction = tacit.predict_convergence(game, start)
    >>> prediction.verdict, prediction.saddle_exists
    ('expected', True)
    """
    if not 0.0 < tolerance < 1.0:
        raise InputError(f"tolerance must be in (0, 1); got {tolerance}")
    if start[0].shape != problem.spec.min_shape:
        raise ShapeError(
            f"the start must have shape {problem.spec.min_shape}, without batch "
            f"dimensions; got {tuple(start[0].shape)}"
        )
    spectrum = jacobian_spectrum(problem, start[0], generator=generator)
    exists, why_exists = _existence(problem)
    plain = AlternatingGDA(min_step=1.0, max_step=1.0)
    used = best_steps(plain, spectrum).solver if solver is None else solver
    rate = float(linear_rate(used, spectrum))
    residual = problem.linearise(start[0]).residual
    change = _change_ahead(problem, start[0], residual, spectrum)
    trouble = _trouble(used, spectrum, change)
    verdict: Verdict = "expected" if trouble is None else "not expected"
    reasons = [why_exists, trouble or _outlook(rate, change)]
    guarantee = None
    if jacobian_change is not None:
        guarantee = convergence_guarantee(
            used,
            spectrum,
            residual_norm=float(residual.norm()),
            jacobian_change=jacobian_change,
            max_player_norm=float(start[1].norm()),
        )
        if guarantee.holds:
            verdict = "guaranteed"
            reasons.append(
                f"no step leaves a ball of radius {guarantee.radius:.3g} around the "
                "start, in which the Jacobian changes little enough: rate "
                f"{guarantee.rate:.4g} or better is proved, if that bound is"
            )
    if exists is False:
        verdict = "impossible"
    return ConvergencePrediction(
        verdict=verdict,
        reasons=tuple(reasons),
        saddle_exists=True if verdict == "guaranteed" else exists,
        rate=rate,
        num_steps=(
            math.ceil(math.log(tolerance) / math.log(rate))
            if 0.0 < rate < 1.0
            else None
        ),
        solver=used,
        spectrum=spectrum,
        jacobian_change=change,
        guarantee=guarantee,
    )


def _existence(problem: AbstractMatchingProblem) -> tuple[bool | None, str]:
    """Return whether a saddle of value zero exists, and how that is known."""
    cone = problem.reachable_cone
    if cone is None:
        return None, "it is not known what the generator can reach"
    fit = fit_cone(cone.columns, problem.target)
    if fit.lower_bound > 0.0:
        return False, (
            "no saddle of value zero exists: the target is outside the cone of all "
            f"outputs, every value is at least {fit.lower_bound:.4g}"
        )
    if cone.is_exact and fit.is_member:
        return True, "a saddle of value zero exists: the target is in the cone"
    return (
        None,
        "the target is in, or within rounding of, a cone that holds all outputs",
    )


def _trouble(
    solver: AbstractDescentAscent, spectrum: JacobianSpectrum, change: float
) -> str | None:
    """Return why the run is expected to fail, if it is."""
    if spectrum.smallest <= _RANK * spectrum.largest:
        return (
            "the Jacobian at the start lacks directions: its smallest singular value "
            f"is {spectrum.smallest:.3g} against a largest of {spectrum.largest:.3g}"
        )
    unstable = check_stability(solver, spectrum, refuse=False)
    if unstable is not None or not change > _LARGE_CHANGE:
        return unstable
    return (
        f"the Jacobian changes by {change:.2g} times its smallest singular value on "
        "the way to a solution: the start says nothing of the end, and such runs were "
        "seen to stall; more width helps"
    )


def _change_ahead(
    problem: AbstractMatchingProblem,
    min_player: Tensor,
    residual: Tensor,
    spectrum: JacobianSpectrum,
) -> float:
    """Return how far J moves on the way to theta - J^+ r, over its smallest value."""
    if not is_dense(problem, min_player):
        return math.nan
    if spectrum.smallest <= _RANK * spectrum.largest:
        return math.inf
    solved = torch.linalg.solve(jacobian_gram(problem, min_player), residual.double())
    step = problem.linearise(min_player).pull_back(solved.to(residual.dtype))
    moved = jacobian_distance(problem, min_player - step, min_player)
    return moved / spectrum.smallest


def _outlook(rate: float, change: float) -> str:
    """Say how far the start can be trusted."""
    ahead = f"the residual falls by a factor of {rate:.4g} a step at first"
    if math.isnan(change):
        return ahead
    if change <= _SMALL_CHANGE:
        return f"{ahead}, and the Jacobian hardly changes on the way"
    return (
        f"{ahead}, but the Jacobian changes by {change:.2g} times its smallest "
        "singular value on the way: the run will be slower; more width helps"
    )
