r"""Worst noise by gradient ascent through the solver.

Where the optimum :math:`\hat X(e)` has rank r with strict complementarity it is a
smooth function of the noise, and solves the optimality system of
:mod:`~tacit.recovery.adversary.optimality`. For a change :math:`\delta e` of the noise
its tangent :math:`\xi` and the change :math:`\delta \mu` of the multiplier obey

.. math::

    H \xi + \delta\mu\, a &= \mu\, \mathcal{A}_T^*(\delta e) \\
    \langle a, \xi \rangle &= \langle r, \delta e \rangle,

with real inner products, :math:`\mathcal{A}_T` the map on the tangent space, r the
residual and :math:`a = \mathcal{A}_T^*(r)`: the first line is the derivative of the
gradient, the second that of :math:`\|r\|^2 = \tau^2`. The derivative of
:math:`f = \tfrac12 \|\hat X - X_0\|_F^2` is :math:`\langle d, \xi \rangle` with d the
tangential part of :math:`\hat X - X_0`. Let :math:`(p, \nu)` solve the adjoint system,
which is the same one as it is symmetric,

.. math:: H p + \nu a = d, \qquad \langle a, p \rangle = 0.

Then :math:`\langle d, \xi \rangle = \langle p, H \xi \rangle + \nu \langle a, \xi
\rangle = \langle p, \mu \mathcal{A}_T^*(\delta e) - \delta\mu\, a \rangle + \nu \langle
r, \delta e \rangle`, so

.. math:: \nabla f = \mu\, \mathcal{A}(p) + \nu\, r .

Derived here; tests compare with differences of refined solutions.
"""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.iterate import AbstractSolver
from tacit.recovery.adversary.optimality import RankSystem, as_real
from tacit.recovery.adversary.target import Answer, NoiseTarget, solve_for_noise

_LONGEST = 8.0  # step over noise bound: nearly the direction of the gradient itself
_SHORTEST = 1e-3
_SHORTER = 0.25
MAX_GAP = 1e-6  # relative, of an answer that counts
_NUM_SMALL_GAINS = 2


def error_gradient(system: RankSystem, truth: Tensor) -> Tensor:
    r"""Return the gradient of half the squared error with respect to the noise.

    Parameters
    ----------
    system : RankSystem
        At the optimum.
    truth : Tensor, shape (num_rows, num_columns)
        :math:`X_0`.

    Returns
    -------
    Tensor, shape (num_measurements,)
        g with :math:`\delta f = \mathrm{Re} \langle g, \delta e \rangle`; not finite
        where the optimum is no smooth function of the noise.
    """
    tangent = as_real(system.pull(system.matrix - truth))
    p, nu = system.solve(tangent, 0.0)
    return system.multiplier * (system.images @ p) + nu * system.residual


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AscentState:
    """Where the ascent is.

    Parameters
    ----------
    noise : Tensor, shape (num_measurements,)
    answer : Answer
        The programme's optimum for it.
    step_size : float
        Of the last step taken, over the noise bound.
    num_small_gains : int
        Steps in turn that gained less than the tolerance.
    has_stalled : bool
        Whether no step size gained anything.
    num_solves : int
        Programmes solved so far.
    """

    noise: Tensor
    answer: Answer
    step_size: float
    num_small_gains: int
    has_stalled: bool
    num_solves: int

    @property
    def value(self) -> float:
        """The error."""
        return self.answer.error


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseAscent(AbstractSolver[NoiseTarget, AscentState]):
    r"""Projected gradient ascent of the error over the noises of bounded length.

    A step goes to the projection of :math:`e + s \tau g / \|g\|` on the ball of radius
    tau. The longest s comes first, which nearly replaces e by the direction of the
    gradient; it is quartered until the error of the solved programme grows.

    Parameters
    ----------
    rtol : float
        Ends after two steps in turn that gain less, relative to the error.
    """

    rtol: float = 1e-5

    def init(self, problem: NoiseTarget, start: Tensor) -> AscentState:
        noise = problem.into_ball(start)
        return AscentState(
            noise=noise,
            answer=solve_for_noise(problem, noise),
            step_size=_LONGEST,
            num_small_gains=0,
            has_stalled=False,
            num_solves=1,
        )

    def step(self, problem: NoiseTarget, state: AscentState) -> AscentState:
        system = state.answer.system
        stalled = replace(state, step_size=0.0, has_stalled=True)
        if system is None:  # the optimum is zero, or no smooth function of the noise
            return stalled
        gradient = error_gradient(system, problem.truth)
        length = float(torch.linalg.vector_norm(gradient))
        if not 0.0 < length < math.inf:
            return stalled
        direction = gradient * (problem.noise_bound / length)
        size, solves = _LONGEST, state.num_solves
        while size >= _SHORTEST:
            noise = problem.into_ball(state.noise + size * direction)
            answer = solve_for_noise(problem, noise, state.answer)
            solves += 1
            if answer.error > state.value and answer.relative_gap <= MAX_GAP:
                is_small = answer.error <= state.value * (1.0 + self.rtol)
                return AscentState(
                    noise=noise,
                    answer=answer,
                    step_size=size,
                    num_small_gains=state.num_small_gains + 1 if is_small else 0,
                    has_stalled=False,
                    num_solves=solves,
                )
            size *= _SHORTER
        return replace(stalled, num_solves=solves)

    def status(self, problem: NoiseTarget, state: AscentState) -> Status | None:
        if state.num_small_gains >= _NUM_SMALL_GAINS:
            return Status.CONVERGED
        return Status.STALLED if state.has_stalled else None
