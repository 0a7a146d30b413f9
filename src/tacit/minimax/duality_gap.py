r"""The duality gap of convex-concave games: how far a point is from a saddle.

.. math:: \max_{y'} f(x, y') - \min_{x'} f(x', y) \ge 0

with equality exactly at the saddles. Both parts are computed as gains over f(x, y), so
that nothing cancels near a saddle.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.problem import AbstractSaddleProblem, check_players
from tacit.minimax.quadratic import QuadraticGame

Radii = tuple[float, float]

_NUM_HALVINGS = 200  # of the interval of a multiplier; ends at adjacent numbers


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DualityGap:
    r"""What each player could gain alone, the other one staying where it is.

    Parameters
    ----------
    value : float
        f(x, y).
    min_gain : float
        At least :math:`f(x, y) - \min_{x'} f(x', y)`, not negative, may be inf.
    max_gain : float
        At least :math:`\max_{y'} f(x, y') - f(x, y)`, likewise.
    radii : (float, float) or None
        If given, x' and y' are no farther from x and y than this.

    Examples
    --------
    >>> from tacit.minimax.duality_gap import DualityGap
    >>> gap = DualityGap(value=1.0, min_gain=0.5, max_gain=0.25, radii=None)
    >>> gap.gap, gap.lower, gap.upper
    (0.75, 0.5, 1.25)
    """

    value: float
    min_gain: float
    max_gain: float
    radii: Radii | None

    @property
    def gap(self) -> float:
        """The duality gap, or an upper bound of it."""
        return self.min_gain + self.max_gain

    @property
    def lower(self) -> float:
        """At most the value of the game (with ``radii``: restricted to the balls)."""
        return self.value - self.min_gain

    @property
    def upper(self) -> float:
        """At least the value of the game (with ``radii``: restricted to the balls)."""
        return self.value + self.max_gain


def quadratic_gap(
    game: QuadraticGame,
    min_player: Tensor,
    max_player: Tensor,
    *,
    radii: Radii | None = None,
) -> DualityGap:
    r"""Return the duality gap of a convex-concave quadratic game.

    With the gradients :math:`g_x = A x + B y + p` and :math:`g_y = B^T x - C y + q`,

    .. math:: \max_{y'} f(x, y') - f(x, y) = \tfrac12 g_y^T C^+ g_y , \qquad
              f(x, y) - \min_{x'} f(x', y) = \tfrac12 g_x^T A^+ g_x

    where g is in the range of the matrix, up to rounding, and infinite elsewhere. In a
    ball of radius R around the point the gain is :math:`\min_{\nu \ge 0} \frac12 g^T
    (C + \nu)^{-1} g + \frac12 \nu R^2`, in a bilinear game :math:`R \|g\|`.

    Parameters
    ----------
    game : QuadraticGame
        Without batch dimensions; computed in float64.
    min_player, max_player : Tensor
        x and y.
    radii : (float, float) or None
        Of the balls around x and y, positive. A restricted gap is zero exactly at the
        saddles too.

    Returns
    -------
    DualityGap

    Raises
    ------
    InputError
        If the eigenvalues of A or C show that the game is not convex-concave, a radius
        is not positive, or dtype or device of a player differ.
    ShapeError
        If a player has another shape, or batch dimensions.

    References
    ----------
    Derived here: the maximum of a concave quadratic function; for the ball, duality of
    the trust region problem (More and Sorensen, 1983, recalled).

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.minimax.duality_gap import quadratic_gap
    >>> one = torch.ones(1, 1).double()
    >>> game = tacit.QuadraticGame(curvature=2 * one, coupling=one, concavity=one,
    ...     min_slope=torch.zeros(1).double(), max_slope=torch.zeros(1).double())
    >>> x, y = torch.tensor([1.0]).double(), torch.tensor([0.0]).double()
    >>> quadratic_gap(game, x, y).gap  # (2 x)^2 / 4 + x^2 / 2
    1.5
    """
    check_single(game, min_player, max_player)
    check_radii(radii)
    if not is_convex_concave(game):
        raise InputError(
            "the game must be convex-concave: curvature and concavity positive "
            "semidefinite; an eigenvalue is negative; use certify_saddle, which falls "
            "back on a local certificate"
        )
    exact = as_double(game)
    x, y = min_player.double(), max_player.double()
    for_min, for_max = exact.gradients(x, y)
    eps = torch.finfo(game.coupling.dtype).eps
    noise = 4 * (x.numel() + y.numel()) * torch.finfo(torch.float64).eps
    sizes = (
        exact.curvature.abs() @ x.abs()
        + exact.coupling.abs() @ y.abs()
        + exact.min_slope.abs(),
        exact.coupling.abs().mT @ x.abs()
        + exact.concavity.abs() @ y.abs()
        + exact.max_slope.abs(),
    )
    ball_x, ball_y = radii if radii is not None else (math.inf, math.inf)
    return DualityGap(
        value=float(exact.value(x, y)),
        min_gain=_gain(
            exact.curvature, for_min, ball_x, eps, noise * float(sizes[0].norm())
        ),
        max_gain=_gain(
            exact.concavity, for_max, ball_y, eps, noise * float(sizes[1].norm())
        ),
        radii=radii,
    )


def gradient_gap(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    *,
    moduli: tuple[float, float],
    radii: Radii | None = None,
) -> DualityGap:
    r"""Return an upper bound of the duality gap from the gradients alone.

    If f is :math:`\mu`-strongly convex in x, with gradient g there, then :math:`f(x, y)
    - f(x', y) \le \|g\| t - \frac{\mu}{2} t^2` for every x' at distance t, hence

    .. math:: \max_{y'} f(x, y') - \min_{x'} f(x', y) \le
              \frac{\|\nabla_x f\|^2}{2 \mu_x} + \frac{\|\nabla_y f\|^2}{2 \mu_y} ,

    and the largest of the parabola over t <= R in a ball.

    Parameters
    ----------
    problem : AbstractSaddleProblem
        Any; that it is convex-concave is the caller's word.
    min_player, max_player : Tensor
        x and y, without batch dimensions.
    moduli : (float, float)
        :math:`\mu_x, \mu_y \ge 0`; with 0 and no radius the gap is infinite unless the
        gradient vanishes.
    radii : (float, float) or None
        Of balls around x and y, positive.

    Returns
    -------
    DualityGap

    Raises
    ------
    InputError
        If a modulus is negative or a radius not positive, or dtype or device of a
        player differ.
    ShapeError
        If a player has another shape, or batch dimensions.

    References
    ----------
    Nesterov (2018), Lectures on Convex Optimization, section 2.1.3 (recalled); the
    parabola above is the proof.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.minimax.duality_gap import gradient_gap
    >>> problem = tacit.FunctionProblem(function=lambda x, y: x**2 + x * y - y**2,
    ...     min_shape=(), max_shape=())
    >>> one, zero = torch.ones(()).double(), torch.zeros(()).double()
    >>> gradient_gap(problem, one, zero, moduli=(2.0, 2.0)).gap  # 2^2 / 4 + 1 / 4
    1.25
    """
    check_single(problem, min_player, max_player)
    check_radii(radii)
    if not all(math.isfinite(mu) and mu >= 0.0 for mu in moduli):
        raise InputError(
            f"moduli must be two finite numbers, not negative; got {moduli}"
        )
    for_min, for_max = problem.gradients(min_player, max_player)
    balls = radii if radii is not None else (math.inf, math.inf)
    gains = [
        _parabola(float(torch.linalg.vector_norm(slope.double())), mu, ball)
        for slope, mu, ball in zip((for_min, for_max), moduli, balls, strict=True)
    ]
    return DualityGap(
        value=float(problem.value(min_player, max_player)),
        min_gain=gains[0],
        max_gain=gains[1],
        radii=radii,
    )


def is_convex_concave(game: QuadraticGame) -> bool:
    """Whether A and C are positive semidefinite, by eigenvalues, up to rounding.

    An eigenvalue may be negative by the rounding error of the entries and of the
    eigensolver, ``4 * size * eps`` of the largest.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.minimax.duality_gap import is_convex_concave
    >>> is_convex_concave(tacit.bilinear_game(torch.ones(2, 3)))
    True
    """
    eps = torch.finfo(game.coupling.dtype).eps
    for matrix in (game.curvature, game.concavity):
        values = torch.linalg.eigvalsh(matrix.double())
        if float(values[0]) < -_rounding(values, eps):
            return False
    return True


def as_double(game: QuadraticGame) -> QuadraticGame:
    """Return the same game in float64: every float32 number is one of float64."""
    curvature, concavity = game.curvature.double(), game.concavity.double()
    return QuadraticGame(
        curvature=(curvature + curvature.mT) / 2,
        coupling=game.coupling.double(),
        concavity=(concavity + concavity.mT) / 2,
        min_slope=game.min_slope.double(),
        max_slope=game.max_slope.double(),
    )


def check_single(
    problem: AbstractSaddleProblem, min_player: Tensor, max_player: Tensor
) -> None:
    """Refuse players that are not one finite point of one problem.

    Raises
    ------
    ShapeError
        If a player has another shape.
    InputError
        If there are batch dimensions, an entry is not finite, or dtype or device
        differ.
    """
    spec = problem.spec
    is_batch = isinstance(problem, QuadraticGame) and problem.coupling.ndim > 2
    check_players(spec, min_player, max_player)
    if is_batch or min_player.ndim > len(spec.min_shape):
        raise InputError(
            "a certificate is of one point of one problem; got players of shapes "
            f"{tuple(min_player.shape)} and {tuple(max_player.shape)}, a batch; go "
            "through it one member at a time (tacit.minimax.mean_matching.member "
            "takes one game out of a batch of games)"
        )
    for name, player in (("min_player", min_player), ("max_player", max_player)):
        if not bool(player.isfinite().all()):
            raise InputError(
                f"{name} must be finite; got an entry that is not; the run diverged, "
                "shorten its steps"
            )


def check_radii(radii: Radii | None) -> None:
    """Refuse radii that are not positive and finite.

    Raises
    ------
    InputError
        If one is not.
    """
    if radii is not None and not all(math.isfinite(r) and r > 0.0 for r in radii):
        raise InputError(f"radii must be two positive finite numbers; got {radii}")


def _rounding(values: Tensor, eps: float) -> float:
    return 4.0 * values.numel() * eps * float(values.abs().max())


def _gain(
    matrix: Tensor, slope: Tensor, radius: float, eps: float, noise: float
) -> float:
    r"""Return :math:`\max_{|u| \le R} g^T u - \frac12 u^T M u` for M >= 0."""
    values, vectors = torch.linalg.eigh(matrix)
    values = torch.where(values > _rounding(values, eps), values, 0.0)
    parts = (vectors.mT @ slope).square()
    is_flat = values == 0.0
    curved = parts[~is_flat] / values[~is_flat]
    if float(parts[is_flat].sum()) <= noise * noise:
        length = float((curved / values[~is_flat]).sum())
        if length <= radius * radius:
            return float(curved.sum()) / 2.0
    if math.isinf(radius):
        return math.inf
    low, high = 0.0, float(slope.norm()) / radius
    for _ in range(_NUM_HALVINGS):
        nu = (low + high) / 2.0
        if nu in {low, high}:
            break
        is_outside = float((parts / (values + nu).square()).sum()) > radius * radius
        low, high = (nu, high) if is_outside else (low, nu)
    # Any positive multiplier gives an upper bound; this one the smallest.
    return (float((parts / (values + high)).sum()) + high * radius * radius) / 2.0


def _parabola(slope: float, modulus: float, radius: float) -> float:
    """Return the largest ``slope * t - modulus * t**2 / 2`` over 0 <= t <= radius."""
    if slope == 0.0:
        return 0.0
    if modulus > 0.0 and slope <= modulus * radius:
        return slope * slope / (2.0 * modulus)
    if math.isinf(radius):
        return math.inf
    return slope * radius - modulus * radius * radius / 2.0
