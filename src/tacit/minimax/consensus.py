r"""Consensus optimisation: both players agree to make the gradients small as well."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.func import jvp

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


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConsensusOptimisation(AbstractDescentAscent):
    r"""Simultaneous steps that descend on the squared gradients too.

    .. math:: z^+ = z - S \bigl( F(z) + \gamma\, M(z)^T F(z) \bigr)

    with F(z) = (grad_x f, -grad_y f), M its Jacobian, :math:`M^T F` the gradient of
    :math:`\tfrac12 \|F\|^2`, and S the steps :math:`\eta, \mu`. As :math:`M^T F` is the
    matrix of second derivatives times the gradients (grad_x f, grad_y f), one forward
    derivative of the gradients gives it: the cost of about two gradients of each player
    more. With :math:`\gamma = 0` it is :class:`SimultaneousGDA`. On bilinear games with
    equal steps it is stable exactly for :math:`\eta < 2 \gamma / (\gamma^2 s^2 + 1)`
    (ours).

    Parameters
    ----------
    min_step, max_step : float
        :math:`\eta` and :math:`\mu`, positive.
    consensus : float
        :math:`\gamma`, at least 0.
    atol : float
        Length of both gradients at which a run has converged.

    Raises
    ------
    InputError
        If a step is not positive, or ``consensus`` negative.

    References
    ----------
    Mescheder, Nowozin and Geiger, The numerics of GANs, NeurIPS 2017, algorithm 2.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.iterate import iterate
    >>> game = tacit.bilinear_game(torch.eye(2).double())
    >>> start = (torch.ones(2).double(), torch.zeros(2).double())
    >>> solver = tacit.ConsensusOptimisation(min_step=0.3, max_step=0.3, atol=1e-8)
    >>> iterate(game, solver, start, max_steps=500).status.name
    'CONVERGED'
    """

    min_step: float
    max_step: float
    consensus: float = 1.0
    atol: float = 0.0

    def __post_init__(self) -> None:
        check_steps(self)
        if not self.consensus >= 0.0:
            raise InputError(f"consensus must be at least 0; got {self.consensus}")

    def step(self, problem: AbstractSaddleProblem, state: SaddleState) -> SaddleState:
        x, y = state.min_player, state.max_player
        for_min, for_max = problem.gradients(x, y)
        along = jvp(problem.gradients, (x, y), (for_min, for_max))[1]
        value = squared_length(for_min, for_max)
        down = torch.add(for_min, along[0], alpha=self.consensus)
        up = torch.add(for_max, along[1], alpha=-self.consensus)
        return SaddleState(
            min_player=torch.add(x, down, alpha=-self.min_step),
            max_player=torch.add(y, up, alpha=self.max_step),
            value=value,
            first_value=first_of(state, value),
        )

    def transition(
        self, curvature: Tensor, coupling: Tensor, concavity: Tensor
    ) -> Tensor:
        a, s, c = torch.broadcast_tensors(curvature, coupling, concavity)
        eta, mu, gamma = self.min_step, self.max_step, self.consensus
        square, mixed = a * a + s * s, s * (a - c)
        return stacked(
            (
                (1 - eta * (a + gamma * square), -eta * (s + gamma * mixed)),
                (
                    mu * (s - gamma * mixed),
                    1 - mu * (c + gamma * (s * s + c * c)),
                ),
            )
        )
