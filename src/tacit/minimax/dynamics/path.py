r"""A run as a linear time-varying system: its path, and what its Jacobian does."""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError, Status
from tacit.minimax.descent_ascent import AbstractDescentAscent, SaddleState
from tacit.minimax.dynamics.jacobian import jacobian_distance
from tacit.minimax.dynamics.rates import linear_rate
from tacit.minimax.dynamics.spectrum import jacobian_spectrum
from tacit.minimax.matching import AbstractMatchingProblem


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DynamicsPath:
    r"""What a run did; float64 on the CPU. T is the number of recorded steps.

    Parameters
    ----------
    steps : Tensor, shape (T,)
        Step numbers, int64; 0 is the start.
    residual : Tensor, shape (T,)
        :math:`\|g(\theta_t) - b\|`.
    distance : Tensor, shape (T,)
        :math:`\|\theta_t - \theta_0\|`.
    path_length : Tensor, shape (T,)
        :math:`\sum_{s < t} \|\theta_{s+1} - \theta_s\|`, over every step.
    smallest, largest : Tensor, shape (T,)
        Extreme singular values of :math:`J(\theta_t)`.
    change : Tensor, shape (T,)
        :math:`\|J(\theta_t) - J(\theta_0)\|_2`.
    rate : Tensor, shape (T,)
        The solver's rate for the spectrum at that step; NaN if no solver was named.
    """

    steps: Tensor
    residual: Tensor
    distance: Tensor
    path_length: Tensor
    smallest: Tensor
    largest: Tensor
    change: Tensor
    rate: Tensor

    @property
    def measured_lipschitz(self) -> float:
        r"""Largest :math:`\|J_t - J_0\| / \|\theta_t - \theta_0\|` that was seen.

        A lower bound on the Jacobian's Lipschitz constant. A ReLU network has none: its
        Jacobian jumps, and this number grows without bound as the distance shrinks.
        """
        quotients = self.change / self.distance
        seen = quotients[self.distance > 0]
        return float(seen.amax()) if seen.numel() else 0.0

    def radius(self, lipschitz: float | None = None) -> float:
        r"""Return :math:`\sigma_{\min}(J_0) / (2 L)`, by default with the L measured.

        Within it the smallest singular value keeps half its size if L is a Lipschitz
        constant of the Jacobian there.
        """
        constant = self.measured_lipschitz if lipschitz is None else lipschitz
        if constant == 0.0:
            return math.inf
        return float(self.smallest[0]) / (2.0 * constant)

    @property
    def stayed_regular(self) -> bool:
        """Whether the Jacobian kept half of its smallest singular value throughout."""
        return bool((self.smallest >= self.smallest[0] / 2).all())


@final
class PathRecorder:
    """Observer that records the path of a matching problem and its Jacobian.

    Parameters
    ----------
    problem : AbstractMatchingProblem
        What is solved.
    min_player : Tensor, shape min_shape
        The start, without batch dimensions.
    solver : AbstractDescentAscent or None
        For the rate at every recorded step.
    every : int
        Steps between two records; distances are followed at every step.

    Raises
    ------
    ShapeError
        If the start has batch dimensions.
    InputError
        If ``every`` is below 1.

    Examples
    --------
    >>> import tacit
    >>> from tacit.iterate import iterate
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(200, 5, 4, 20, generator=generator)
    >>> start = tacit.draw_start(game, generator=generator)
    >>> solver = tacit.SimultaneousGDA(min_step=0.5, max_step=1.0)
    >>> recorder = tacit.PathRecorder(game, start[0], solver=solver, every=10)
    >>> _ = iterate(game, solver, start, max_steps=40, observers=[recorder])
    >>> path = recorder.path()
    >>> path.steps.tolist(), path.stayed_regular
    ([0, 10, 20, 30, 40], True)
    """

    def __init__(
        self,
        problem: AbstractMatchingProblem,
        min_player: Tensor,
        *,
        solver: AbstractDescentAscent | None = None,
        every: int = 10,
    ) -> None:
        if min_player.shape != problem.spec.min_shape:
            raise ShapeError(
                f"the start must have shape {problem.spec.min_shape}, without batch "
                f"dimensions; got {tuple(min_player.shape)}"
            )
        if every < 1:
            raise InputError(f"every must be at least 1; got {every}")
        self._problem = problem
        self._solver = solver
        self._every = every
        self._start = min_player
        self._last = min_player
        self._length = 0.0
        self._rows: list[tuple[float, ...]] = []
        self._record(0, min_player)

    def __call__(self, step: int, state: SaddleState) -> Status | None:
        """Follow the run; never ends it."""
        moved = state.min_player - self._last
        self._length += float(torch.linalg.vector_norm(moved))
        self._last = state.min_player
        if step % self._every == 0:
            self._record(step, state.min_player)
        return None

    def path(self) -> DynamicsPath:
        """Return what has been recorded so far."""
        table: Any = torch.tensor(self._rows, dtype=torch.float64).mT
        steps, residual, distance, length, smallest, largest, change, rate = table
        return DynamicsPath(
            steps=steps.long(),
            residual=residual,
            distance=distance,
            path_length=length,
            smallest=smallest,
            largest=largest,
            change=change,
            rate=rate,
        )

    def _record(self, step: int, min_player: Tensor) -> None:
        residual = self._problem.linearise(min_player).residual
        spectrum = jacobian_spectrum(self._problem, min_player)
        rate = math.nan
        if self._solver is not None:
            rate = float(linear_rate(self._solver, spectrum))
        distance = torch.linalg.vector_norm(min_player - self._start)
        self._rows.append(
            (
                float(step),
                float(torch.linalg.vector_norm(residual)),
                float(distance),
                self._length,
                spectrum.smallest,
                spectrum.largest,
                jacobian_distance(self._problem, min_player, self._start),
                rate,
            )
        )
