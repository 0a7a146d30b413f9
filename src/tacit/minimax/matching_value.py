r"""Between which numbers the value of a game with a linear discriminator lies.

The value of the minimising player is :math:`\frac12 \|g(\theta) - b\|^2`. If every
g(theta) is a non-negative combination of columns V, its minimum is at least that of
:math:`\frac12 \|V h - b\|^2` over h >= 0, and equal to it if every combination is
reached.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound, Bracket
from tacit.errors import CertificateError
from tacit.minimax.cone import ConeFit, fit_cone
from tacit.minimax.matching import AbstractMatchingProblem, ReachableCone
from tacit.minimax.mean_matching import MeanMatchingGame

# Rounding of a generator's output, in units of eps, relative to |b| + |r|: sums of up
# to thousands of terms in a few layers.
_ROUNDING = 1e4


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class MatchingValue:
    r"""The value of the game at a point, and between which numbers the best one lies.

    Parameters
    ----------
    primal_value : float
        :math:`\frac12 \|g(\theta) - b\|^2`, the best that y can reach at theta.
    bracket : Bracket
        Of the smallest of these over theta. The lower side includes rounding errors;
        its witness is the fit of the cone.
    is_exact : bool
        Whether the reachable set is a cone, so that both sides agree up to rounding.
    cone : ConeFit or None
        The fit behind the lower side; None where no cone is known (then it is 0).
    attaining : Tensor
        Theta that reaches the upper side, where ``is_attained``.
    is_attained : bool
        Whether ``attaining`` was evaluated to reach it. If not, only the statement that
        the whole cone is reached says so.
    min_gradient_norm : float
        :math:`\|J^T y\|`.
    max_player_distance : float
        :math:`\|y - r\|`: of y from its best response, and of its gradient.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.minimax.matching_value import matching_value
    >>> problem = tacit.MatchingProblem(generator_function=torch.exp, min_shape=(1,),
    ...     target=torch.tensor([-1.0]), cone=tacit.ReachableCone(
    ...     columns=torch.ones(1, 1), is_exact=False))
    >>> found = matching_value(problem, torch.zeros(1), torch.tensor([2.0]))
    >>> found.primal_value, round(found.bracket.lower.value, 9)
    (2.0, 0.5)
    """

    primal_value: float
    bracket: Bracket
    is_exact: bool
    cone: ConeFit | None
    attaining: Tensor
    is_attained: bool
    min_gradient_norm: float
    max_player_distance: float


def matching_value(
    problem: AbstractMatchingProblem, min_player: Tensor, max_player: Tensor
) -> MatchingValue:
    r"""Evaluate one point, and bound what any other one can reach.

    Parameters
    ----------
    problem : AbstractMatchingProblem
        Without batch dimensions. Bounds are computed in float64; the residual in the
        dtype of the problem, except for a :class:`MeanMatchingGame`.
    min_player, max_player : Tensor
        theta and y, without batch dimensions.

    Returns
    -------
    MatchingValue

    Raises
    ------
    CertificateError
        If g(theta) is not in the cone that the problem states.
    """
    problem, theta, y = _as_double(problem, min_player, max_player)
    residual, pull_back = problem.linearise(theta)
    slope = pull_back(y)
    eps = torch.finfo(residual.dtype).eps
    r = residual.detach().double()
    length = float(r.norm())
    primal = float(r @ r) / 2.0
    cone = problem.reachable_cone
    fit = None if cone is None else fit_cone(cone.columns, problem.target)
    attaining, is_attained, upper = min_player, True, primal
    if cone is not None and fit is not None:
        rounding = _ROUNDING * eps * (length + float(problem.target.double().norm()))
        _check_cone(problem, cone, residual, rounding)
        if cone.is_exact and fit.value < primal:
            upper, is_attained = fit.value, False
            weights = _weights(problem, fit)
            if weights is not None:
                attaining, is_attained = weights, True
                upper = float(problem.linearise(weights).residual.square().sum()) / 2.0
        # A crossing that rounding of the generator explains; any other is an error.
        if length + rounding >= math.sqrt(2.0 * fit.lower_bound):
            upper = max(upper, fit.lower_bound)
    return MatchingValue(
        primal_value=primal,
        bracket=_bracket(fit, upper, attaining if is_attained else None),
        is_exact=cone is not None and cone.is_exact,
        cone=fit,
        attaining=attaining,
        is_attained=is_attained,
        min_gradient_norm=float(slope.detach().double().norm()),
        max_player_distance=float((y.double() - r).norm()),
    )


def _as_double(
    problem: AbstractMatchingProblem, min_player: Tensor, max_player: Tensor
) -> tuple[AbstractMatchingProblem, Tensor, Tensor]:
    """Return the paper's game in float64: every float32 number is one of float64."""
    if not isinstance(problem, MeanMatchingGame):
        return problem, min_player, max_player
    game = MeanMatchingGame(
        output_weights=problem.output_weights.double(),
        latents=problem.latents.double(),
        target=problem.target.double(),
    )
    return game, min_player.double(), max_player.double()


def _check_cone(
    problem: AbstractMatchingProblem,
    cone: ReachableCone,
    residual: Tensor,
    rounding: float,
) -> None:
    """Refuse a cone that does not hold the generator's output at the point."""
    if isinstance(problem, MeanMatchingGame):  # holds by its definition
        return
    output = residual.detach() + problem.target
    outside = fit_cone(cone.columns, output)
    distance = math.sqrt(2.0 * outside.lower_bound)
    if distance > rounding:
        raise CertificateError(
            "the cone of the problem must hold everything that its generator reaches; "
            f"its output at the point is {distance:.6g} away from it; correct the "
            "columns or leave the cone out"
        )


def _weights(problem: AbstractMatchingProblem, fit: ConeFit) -> Tensor | None:
    r"""Return hidden weights whose mean outputs are the coefficients of a fit.

    With one direction u for all neurons and :math:`c = \frac1n \sum_i \mathrm{relu}(u^T
    z_i) > 0`, the rows are :math:`w_j = (h_j / c)\, u`. The longest latent is such a u.
    """
    if not isinstance(problem, MeanMatchingGame):
        return None
    latents = problem.latents
    longest = latents[int(latents.square().sum(-1).argmax())]
    direction = longest / longest.abs().max()
    mean = torch.relu(latents @ direction).mean()
    coefficients = fit.coefficients.to(latents)
    return (coefficients / mean).unsqueeze(-1) * direction


def _bracket(fit: ConeFit | None, upper: float, witness: Tensor | None) -> Bracket:
    lower = Bound(value=0.0, side="lower", method="squares are not negative")
    if fit is not None:
        lower = Bound(
            value=fit.lower_bound,
            side="lower",
            method="non-negative least squares, dual vector",
            arithmetic="verified",
            witness=fit,
        )
    return Bracket(
        lower=lower,
        upper=Bound(
            value=upper,
            side="upper",
            method=(
                "value of a minimising player"
                if witness is not None
                else "non-negative least squares, whole cone reached as stated"
            ),
            witness=witness,
        ),
    )
