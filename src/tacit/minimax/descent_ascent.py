r"""Descent-ascent as solvers of full-batch saddle problems: simultaneous, alternating.

Two time scales are two step sizes: ``max_step`` much larger than ``min_step``.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.linalg import vector_norm

from tacit.errors import InputError, Status
from tacit.iterate import AbstractSolver
from tacit.minimax.problem import AbstractSaddleProblem, check_players

# A squared gradient this far above that of the first step is not a detour.
_RUNAWAY = 1e12


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SaddleState:
    """Where a method stands.

    Parameters
    ----------
    min_player, max_player : Tensor
        x and y, with batch dimensions first.
    value : float
        Squared length of both gradients together, summed over the batch, as the last
        step evaluated them (before it moved, or in the middle of its moves); inf before
        the first step.
    memory : tuple of Tensor
        What the method carries along besides.
    first_value : float
        ``value`` of the first step; inf before it.
    """

    min_player: Tensor
    max_player: Tensor
    value: float
    memory: tuple[Tensor, ...] = ()
    first_value: float = math.inf


class AbstractDescentAscent(AbstractSolver[AbstractSaddleProblem, SaddleState]):
    r"""A method that moves x down and y up by gradients.

    The start is a pair ``(min_player, max_player)``. A run has converged when
    ``value``, the squared length of both gradients, is at most ``atol ** 2``, and has
    diverged when it is 1e12 times that of the first step.

    On the quadratic game :math:`f(x, y) = \tfrac12 a x^2 + s x y - \tfrac12 c y^2` a
    step is linear in the state; ``transition`` is its matrix. A matching problem near a
    solution is one such game with a = 0 and c = 1 for every singular value s of the
    Jacobian.

    Examples
    --------
    >>> import tacit
    >>> isinstance(tacit.SimultaneousGDA(min_step=0.1, max_step=1.0),
    ...     tacit.AbstractDescentAscent)
    True
    """

    min_step: float
    max_step: float
    atol: float

    @abstractmethod
    def transition(
        self, curvature: Tensor, coupling: Tensor, concavity: Tensor
    ) -> Tensor:
        """Return the matrix of a step for numbers a, s, c, shape ``(*batch, p, p)``.

        It acts on x, y and the entries of ``memory``, in this order.
        """

    def init(self, problem: AbstractSaddleProblem, start: Any) -> SaddleState:
        """Return the state at ``start``, a pair of players, before any step.

        Raises
        ------
        InputError
            If an entry is not finite, or dtype or device are not the problem's.
        ShapeError
            If a player has another shape than the problem says.
        """
        min_player, max_player = start
        check_players(problem.spec, min_player, max_player)
        if not bool(min_player.isfinite().all() and max_player.isfinite().all()):
            raise InputError("start must be finite; look for NaN where it was made")
        return SaddleState(min_player=min_player, max_player=max_player, value=math.inf)

    def status(
        self, problem: AbstractSaddleProblem, state: SaddleState
    ) -> Status | None:
        if state.value <= self.atol**2:
            return Status.CONVERGED
        if state.value > _RUNAWAY * state.first_value:
            return Status.DIVERGED
        return None


def check_steps(solver: AbstractDescentAscent) -> None:
    """Refuse steps that are not positive, and a negative tolerance.

    Raises
    ------
    InputError
        If a step is not positive and finite, or ``atol`` is negative.
    """
    for name, step in (("min_step", solver.min_step), ("max_step", solver.max_step)):
        if not 0.0 < step < math.inf:
            raise InputError(f"{name} must be positive and finite; got {step}")
    if not solver.atol >= 0.0:
        raise InputError(f"atol must be at least 0; got {solver.atol}")


def squared_length(for_min: Tensor, for_max: Tensor) -> float:
    """Return the sum of the squares of both gradients."""
    down, up = float(vector_norm(for_min)), float(vector_norm(for_max))
    # Products: a power of a float raises where it overflows.
    return down * down + up * up


def first_of(state: SaddleState, value: float) -> float:
    """Return ``first_value`` of the state that follows ``state``."""
    return value if math.isinf(state.first_value) else state.first_value


def stacked(rows: tuple[tuple[Tensor, ...], ...]) -> Tensor:
    """Return a batch of matrices from their entries."""
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SimultaneousGDA(AbstractDescentAscent):
    r"""The plain method of the paper: both players step from the same point.

    .. math:: x^+ = x - \eta\, \nabla_x f(x, y), \qquad y^+ = y + \mu\, \nabla_y f(x, y)

    One gradient of each player a step. On a matching problem a singular value s is
    stable for :math:`\mu \le 2` exactly if :math:`\eta s^2 < 1`, and its rate is the
    largest root of :math:`z^2 - (2 - \mu) z + 1 - \mu + \mu \eta s^2`.

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
    Balaji et al. (2021), section 2: with equal steps for both players.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.iterate import iterate
    >>> game = tacit.FunctionProblem(function=lambda x, y: x * y - y * y / 2 + x * x,
    ...     min_shape=(), max_shape=())
    >>> start = (torch.ones(()).double(), torch.zeros(()).double())
    >>> solver = tacit.SimultaneousGDA(min_step=0.3, max_step=0.3, atol=1e-8)
    >>> iterate(game, solver, start, max_steps=200).status.name
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
        eta, mu = self.min_step, self.max_step
        return stacked(((1 - eta * a, -eta * s), (mu * s, 1 - mu * c)))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AlternatingGDA(AbstractDescentAscent):
    r"""The maximising player moves first, the other one sees where it went.

    .. math:: y^+ = y + \mu\, \nabla_y f(x, y), \qquad
              x^+ = x - \eta\, \nabla_x f(x, y^+)

    One gradient of each player a step; on a matching problem they share one forward
    pass, as x is the same. There it is the heavy ball on half the squared residual with
    step :math:`\mu \eta` and momentum :math:`1 - \mu`, and gradient descent where
    :math:`\mu = 1`; a singular value s is stable exactly if :math:`\mu \eta s^2 < 4 - 2
    \mu`, at the rate of the largest root of :math:`z^2 - (2 - \mu - \mu \eta s^2) z + 1
    - \mu`. (Ours.)

    Parameters
    ----------
    min_step, max_step : float
        :math:`\eta` and :math:`\mu`, positive.
    max_updates : int
        Steps of the maximising player before each of the other one.
    atol : float
        Length of both gradients at which a run has converged.

    Raises
    ------
    InputError
        If a step is not positive, or ``max_updates`` below 1.

    References
    ----------
    Lee, Cho and Yun, Fundamental benefit of alternating updates in minimax
    optimization, ICML 2024: faster than simultaneous steps on strongly
    convex-concave problems (with the minimising player first).

    Examples
    --------
    >>> import tacit
    >>> from tacit.iterate import iterate
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(100, 5, 4, 12, generator=generator)
    >>> start = tacit.draw_start(game, generator=generator)
    >>> solver = tacit.AlternatingGDA(min_step=2.0, max_step=1.0, atol=1e-10)
    >>> iterate(game, solver, start, max_steps=500).status.name
    'CONVERGED'
    """

    min_step: float
    max_step: float
    max_updates: int = 1
    atol: float = 0.0

    def __post_init__(self) -> None:
        check_steps(self)
        if self.max_updates < 1:
            raise InputError(f"max_updates must be at least 1; got {self.max_updates}")

    def step(self, problem: AbstractSaddleProblem, state: SaddleState) -> SaddleState:
        x, y = state.min_player, state.max_player
        fixed = problem.fix_min_player(x)
        for_max = fixed.max_gradient(y)
        y = torch.add(y, for_max, alpha=self.max_step)
        for _ in range(self.max_updates - 1):
            y = torch.add(y, fixed.max_gradient(y), alpha=self.max_step)
        for_min = fixed.min_gradient(y)
        value = squared_length(for_min, for_max)
        return SaddleState(
            min_player=torch.add(x, for_min, alpha=-self.min_step),
            max_player=y,
            value=value,
            first_value=first_of(state, value),
        )

    def transition(
        self, curvature: Tensor, coupling: Tensor, concavity: Tensor
    ) -> Tensor:
        a, s, c = torch.broadcast_tensors(curvature, coupling, concavity)
        eta, mu = self.min_step, self.max_step
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        ascent = stacked(((one, zero), (mu * s, 1 - mu * c)))
        descent = stacked(((1 - eta * a, -eta * s), (zero, one)))
        return descent @ torch.linalg.matrix_power(ascent, self.max_updates)
