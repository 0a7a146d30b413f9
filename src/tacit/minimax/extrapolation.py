r"""Descent-ascent that looks ahead: extragradient, optimistic gradient, Alex-GDA.

In all of them F(z) = (grad_x f, -grad_y f) is the operator at z = (x, y), and S scales
its parts by the steps :math:`\eta` and :math:`\mu`.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    SaddleState,
    check_steps,
    first_of,
    squared_length,
    stacked,
)
from tacit.minimax.problem import AbstractSaddleProblem


def _scaled_operator(
    solver: AbstractDescentAscent, a: Tensor, s: Tensor, c: Tensor
) -> Tensor:
    """Return S M, the scaled Jacobian of F on the scalar quadratic game."""
    eta, mu = solver.min_step, solver.max_step
    return stacked(((eta * a, eta * s), (-mu * s, mu * c)))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Extragradient(AbstractDescentAscent):
    r"""Step with the gradients of a point ahead.

    .. math:: \bar z = z - S F(z), \qquad z^+ = z - S F(\bar z)

    Two gradients of each player a step. With M the Jacobian of F and :math:`\sigma` the
    eigenvalues of S M, those of a step are :math:`1 - \sigma + \sigma^2`; on a
    matching problem :math:`\sigma^2 - \mu \sigma + \mu \eta s^2 = 0`. On bilinear games
    it is stable exactly for :math:`\mu \eta s^2 < 1`.

    Parameters
    ----------
    min_step, max_step : float
        :math:`\eta` and :math:`\mu`, positive.
    atol : float
        Length of both gradients at which a run has converged.

    Raises
    ------
    InputError
        If a step is not positive.

    References
    ----------
    Korpelevich, The extragradient method for finding saddle points, 1976.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.iterate import iterate
    >>> game = tacit.bilinear_game(torch.eye(2).double())
    >>> start = (torch.ones(2).double(), torch.zeros(2).double())
    >>> solver = tacit.Extragradient(min_step=0.5, max_step=0.5, atol=1e-8)
    >>> iterate(game, solver, start, max_steps=500).status.name
    'CONVERGED'
    """

    min_step: float
    max_step: float
    atol: float = 0.0

    def __post_init__(self) -> None:
        check_steps(self)

    def step(self, problem: AbstractSaddleProblem, state: SaddleState) -> SaddleState:
        x, y = state.min_player, state.max_player
        for_min, for_max = problem.gradients(x, y)
        value = squared_length(for_min, for_max)
        for_min, for_max = problem.gradients(
            torch.add(x, for_min, alpha=-self.min_step),
            torch.add(y, for_max, alpha=self.max_step),
        )
        return SaddleState(
            min_player=torch.add(x, for_min, alpha=-self.min_step),
            max_player=torch.add(y, for_max, alpha=self.max_step),
            value=value,
            first_value=first_of(state, value),
        )

    def transition(
        self, curvature: Tensor, coupling: Tensor, concavity: Tensor
    ) -> Tensor:
        a, s, c = torch.broadcast_tensors(curvature, coupling, concavity)
        scaled = _scaled_operator(self, a, s, c)
        one = torch.eye(2, dtype=scaled.dtype, device=scaled.device)
        return one - scaled + scaled @ scaled


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class OptimisticGradient(AbstractDescentAscent):
    r"""Correct the step by the one before.

    .. math:: z^+ = z - 2 S F(z) + S F(z^-)

    One gradient of each player a step; the first step is plain. With :math:`\sigma` the
    eigenvalues of S M, those of a step solve :math:`\zeta^2 - (1 - 2 \sigma) \zeta -
    \sigma = 0`. On a matching problem the discriminator alone (s = 0, :math:`\sigma =
    \mu`) already needs :math:`\mu < 2/3`. On bilinear games it is stable exactly for
    :math:`\mu \eta s^2 < 1/3`.

    Parameters
    ----------
    min_step, max_step : float
        :math:`\eta` and :math:`\mu`, positive.
    atol : float
        Length of both gradients at which a run has converged.

    Raises
    ------
    InputError
        If a step is not positive.

    References
    ----------
    Popov 1980; Daskalakis, Ilyas, Syrgkanis and Zeng, Training GANs with optimism, ICLR
    2018.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.iterate import iterate
    >>> game = tacit.bilinear_game(torch.eye(2).double())
    >>> start = (torch.ones(2).double(), torch.zeros(2).double())
    >>> solver = tacit.OptimisticGradient(min_step=0.3, max_step=0.3, atol=1e-8)
    >>> iterate(game, solver, start, max_steps=1000).status.name
    'CONVERGED'
    """

    min_step: float
    max_step: float
    atol: float = 0.0

    def __post_init__(self) -> None:
        check_steps(self)

    def step(self, problem: AbstractSaddleProblem, state: SaddleState) -> SaddleState:
        x, y = state.min_player, state.max_player
        for_min, for_max = problem.gradients(x, y)
        value = squared_length(for_min, for_max)
        last_min, last_max = state.memory or (for_min, for_max)
        x = torch.add(x, for_min, alpha=-2.0 * self.min_step)
        y = torch.add(y, for_max, alpha=2.0 * self.max_step)
        return SaddleState(
            # Both are new tensors: the second summand goes in place.
            min_player=x.add_(last_min, alpha=self.min_step),
            max_player=y.add_(last_max, alpha=-self.max_step),
            value=value,
            memory=(for_min, for_max),
            first_value=first_of(state, value),
        )

    def transition(
        self, curvature: Tensor, coupling: Tensor, concavity: Tensor
    ) -> Tensor:
        a, s, c = torch.broadcast_tensors(curvature, coupling, concavity)
        eta, mu = self.min_step, self.max_step
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        return stacked(
            (
                (1 - 2 * eta * a, -2 * eta * s, eta * one, zero),
                (2 * mu * s, 1 - 2 * mu * c, zero, -mu * one),
                (a, s, zero, zero),
                (s, -c, zero, zero),
            )
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AlexGDA(AbstractDescentAscent):
    r"""Alternating steps with gradients at extrapolated players.

    .. math:: x^+ = x - \eta\, \nabla_x f(x, \tilde y), \qquad
              \tilde x = x^+ + (\gamma - 1) (x^+ - x)

    .. math:: y^+ = y + \mu\, \nabla_y f(\tilde x, y), \qquad
              \tilde y^+ = y^+ + (\delta - 1) (y^+ - y)

    with :math:`\tilde y = y` at the start. One gradient of each player a step, the
    minimising player first, as in the source. :math:`\gamma = \delta = 1` are
    alternating steps in that order (:class:`AlternatingGDA` has the other one),
    :math:`\gamma = 0, \delta = 1` simultaneous ones.

    On the scalar game with numbers a, s, c the eigenvalues of a step are the roots of
    :math:`z (z - 1 + \eta a)(z - 1 + \mu c) + \mu \eta s^2 (1 + \gamma (z - 1))(1 +
    \delta (z - 1))`. On bilinear games it is stable exactly for :math:`\mu \eta s^2 <
    4 / (2 \delta - 1)` if :math:`\gamma = 1 < \delta`, and below 4/9 if both are 2.
    (Ours.)

    Parameters
    ----------
    min_step, max_step : float
        :math:`\eta` and :math:`\mu`, positive.
    min_extrapolation, max_extrapolation : float
        :math:`\gamma` and :math:`\delta`, at least 0. For values above 1 the source
        proves the complexity of extragradient, and convergence on bilinear games.
    atol : float
        Length of both gradients at which a run has converged.

    Raises
    ------
    InputError
        If a step is not positive, or an extrapolation is negative.

    References
    ----------
    Lee, Cho and Yun, Fundamental benefit of alternating updates in minimax
    optimization, ICML 2024. The update agrees with the authors' published training
    loop, where the discriminator is the first player.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.iterate import iterate
    >>> game = tacit.bilinear_game(torch.eye(2).double())
    >>> start = (torch.ones(2).double(), torch.zeros(2).double())
    >>> solver = tacit.AlexGDA(min_step=0.4, max_step=0.4, atol=1e-8)
    >>> iterate(game, solver, start, max_steps=500).status.name
    'CONVERGED'
    """

    min_step: float
    max_step: float
    min_extrapolation: float = 2.0
    max_extrapolation: float = 2.0
    atol: float = 0.0

    def __post_init__(self) -> None:
        check_steps(self)
        if not min(self.min_extrapolation, self.max_extrapolation) >= 0.0:
            raise InputError(
                "extrapolations must be at least 0; got "
                f"{self.min_extrapolation} and {self.max_extrapolation}"
            )

    def step(self, problem: AbstractSaddleProblem, state: SaddleState) -> SaddleState:
        x, y = state.min_player, state.max_player
        (ahead,) = state.memory or (y,)
        for_min = problem.fix_min_player(x).min_gradient(ahead)
        moved = torch.add(x, for_min, alpha=-self.min_step)
        looked = torch.lerp(x, moved, self.min_extrapolation)
        for_max = problem.fix_min_player(looked).max_gradient(y)
        raised = torch.add(y, for_max, alpha=self.max_step)
        value = squared_length(for_min, for_max)
        return SaddleState(
            min_player=moved,
            max_player=raised,
            value=value,
            memory=(torch.lerp(y, raised, self.max_extrapolation),),
            first_value=first_of(state, value),
        )

    def transition(
        self, curvature: Tensor, coupling: Tensor, concavity: Tensor
    ) -> Tensor:
        a, s, c = torch.broadcast_tensors(curvature, coupling, concavity)
        eta, mu = self.min_step, self.max_step
        gamma, delta = self.min_extrapolation, self.max_extrapolation
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        # As functions of (x, y, y~): the move of x, where y looks, the move of y.
        move = torch.stack((-eta * a, zero, -eta * s), -1)
        looked = torch.stack((one, zero, zero), -1) + gamma * move
        climb = mu * (s.unsqueeze(-1) * looked - torch.stack((zero, c, zero), -1))
        x = torch.stack((one, zero, zero), -1) + move
        y = torch.stack((zero, one, zero), -1)
        return torch.stack((x, y + climb, y + delta * climb), -2)
