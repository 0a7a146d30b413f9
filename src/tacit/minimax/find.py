r"""The front door: a saddle of a problem, how it was found and what is known of it.

The default for problems with a linear discriminator is alternating descent-ascent with
the best steps for the Jacobian at the start. That method is the heavy ball on the
squared residual (``dynamics/steps.py``), so these steps have the accelerated rate; on
the paper's game it needs fewer gradients to a given residual than every other method
here, each with its own best steps (``benchmarks/minimax.py --cases methods``).
Jacobians move on the way, hence an interval wider than the spectrum at the start. For
all other problems it is extragradient with half of the largest step that keeps it
stable on every monotone problem with the same Lipschitz constant.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError, Status
from tacit.iterate import Observer, iterate
from tacit.minimax.certify import certify_saddle
from tacit.minimax.cone import fit_cone
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SaddleState,
)
from tacit.minimax.dynamics.limits import check_stability, with_steps
from tacit.minimax.dynamics.measured import measured_rate
from tacit.minimax.dynamics.rates import linear_rate, linearised_game, local_rate
from tacit.minimax.dynamics.spectrum import JacobianSpectrum, jacobian_spectrum
from tacit.minimax.dynamics.steps import best_steps
from tacit.minimax.extrapolation import Extragradient
from tacit.minimax.matching import AbstractMatchingProblem
from tacit.minimax.problem import AbstractSaddleProblem, check_players
from tacit.minimax.result import SaddleResult

Start = tuple[Tensor, Tensor]

# How far the squared singular values may move from those at the start.
_WIDENING = 1.5
_EVERY = 10  # steps between two looks at the residual
_PATIENCE = 600  # steps without progress after which a run has stalled
_PROGRESS = 1e-3  # what counts as progress, relative
_MAX_HALVINGS = 14
_MAX_LINEARISED = 1024  # entries of both players
# What shorter steps may mend.
_GO_ON = {Status.DIVERGED, Status.NON_FINITE, Status.STALLED}


@final
class _Watch:
    """Ends a run at a small enough residual, and where none becomes smaller.

    Keeps the best point, from which shorter steps may go on.
    """

    def __init__(
        self, loss: Callable[[Tensor, Tensor], float], goal: float, start: Start
    ) -> None:
        self._loss, self._goal = loss, goal
        self._last_progress = 0
        self.best, self.best_loss = start, math.inf

    def __call__(self, step: int, state: SaddleState) -> Status | None:
        if step % _EVERY:
            return None
        loss = self._loss(state.min_player, state.max_player)
        if loss < self.best_loss * (1.0 - _PROGRESS):
            self._last_progress = step
        if loss < self.best_loss:
            self.best, self.best_loss = (state.min_player, state.max_player), loss
        if loss <= self._goal:
            return Status.CONVERGED
        if step - self._last_progress >= max(_PATIENCE, step // 4):
            return Status.STALLED
        return None


def find_saddle(
    problem: AbstractSaddleProblem,
    start: Start,
    *,
    solver: AbstractDescentAscent | None = None,
    rtol: float = 1e-10,
    max_steps: int = 20_000,
    observers: Sequence[Observer] = (),
    generator: torch.Generator | None = None,
) -> SaddleResult:
    r"""Run descent-ascent from a point, and certify where it ends.

    Parameters
    ----------
    problem : AbstractSaddleProblem
        What is played.
    start : pair of Tensor
        Both players, without batch dimensions.
    solver : AbstractDescentAscent or None
        Method and steps, run exactly as given. By default alternating descent-ascent
        with the best steps for the spectrum at the start; if it runs away or stalls, it
        goes on from the best point by gradient descent on the residual, with steps that
        are halved wherever it stalls again; in the end the discriminator takes its best
        response. Problems without a linear discriminator get extragradient.
    rtol : float
        The run ends when the residual :math:`\|g(\theta) - b\|` is at most ``rtol``
        times that at the start, or, where a lower bound shows that this is impossible,
        when the value is within ``rtol ** 0.5`` of the bound, relative to the value at
        the start. Other problems: the same of the gradients' length.
    max_steps : int
        Upper limit of steps in all.
    observers : sequence of callables
        As for :func:`tacit.iterate.iterate`.
    generator : torch.Generator or None
        Draws starts of Lanczos, for problems too large for dense algebra.

    Returns
    -------
    SaddleResult

    Raises
    ------
    InputError
        If steps of a given solver are outside the stable range at the start (the text
        has the limit), the start is not finite, or an option is out of range.
    ShapeError
        If a player has another shape, or batch dimensions.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(60, num_features=5, latent_dim=3, num_latents=12,
    ...     generator=generator)
    >>> result = tacit.find_saddle(game, tacit.draw_start(game, generator=generator))
    >>> result.status.name, result.certificate.outcome
    ('CONVERGED', 'zero-value saddle')
    >>> abs(result.measured_rate - result.predicted_rate) < 0.1
    True
    """
    begin = perf_counter()
    _check(problem, start, rtol, max_steps)
    if isinstance(problem, AbstractMatchingProblem):
        task = _matching_task(problem, start, rtol, generator)
    else:
        task = _general_task(problem, start, rtol)
    if solver is None:
        run = _run_plan(problem, task, start, max_steps, observers)
        run = replace(run, point=task.settle(*run.point))
    else:
        if task.spectrum is not None and task.spectrum.largest > 0.0:
            check_stability(solver, task.spectrum)
        run = _run_once(problem, task, solver, start, max_steps, observers)
    min_player, max_player = run.point
    certificate = certify_saddle(problem, min_player, max_player, generator=generator)
    return SaddleResult(
        min_player=min_player,
        max_player=max_player,
        certificate=certificate,
        solver=run.solver,
        reason="as given" if solver is not None else run.reason,
        status=run.status,
        num_steps=len(run.values),
        predicted_rate=task.rate(run.solver, run.point),
        predicted_rate_at_start=task.rate(run.solver, start),
        measured_rate=measured_rate([math.sqrt(x) for x in run.values[-run.last :]]),
        history=tuple(math.sqrt(value) for value in run.values),
        seconds=perf_counter() - begin,
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """What the loop has to know of a problem.

    ``loss`` of a point falls to ``goal``; ``plan`` gives the solvers to try, each from
    the best point so far; ``rate`` is what the linearisation at a point predicts;
    ``settle`` gives the best response of the maximising player, where it is known.
    """

    loss: Callable[[Tensor, Tensor], float]
    goal: float
    plan: Callable[[], Iterator[tuple[AbstractDescentAscent, str]]]
    rate: Callable[[AbstractDescentAscent, Start], float | None]
    settle: Callable[[Tensor, Tensor], Start]
    spectrum: JacobianSpectrum | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    point: Start
    best: Start
    best_loss: float
    solver: AbstractDescentAscent
    reason: str
    status: Status
    values: tuple[float, ...]
    last: int  # steps of the last phase


def _matching_task(
    problem: AbstractMatchingProblem,
    start: Start,
    rtol: float,
    generator: torch.Generator | None,
) -> _Task:
    """Go for a residual of zero, or for the proved lower bound of the value."""

    def loss(min_player: Tensor, _: Tensor) -> float:
        return float(problem.linearise(min_player).residual.square().sum()) / 2.0

    at_start = loss(*start)
    cone = problem.reachable_cone
    bound = 0.0 if cone is None else fit_cone(cone.columns, problem.target).lower_bound
    spectrum = jacobian_spectrum(problem, start[0], generator=generator)

    def plan() -> Iterator[tuple[AbstractDescentAscent, str]]:
        if spectrum.largest == 0.0:
            return
        plain = AlternatingGDA(min_step=1.0 / spectrum.largest**2, max_step=1.0)
        if bound == 0.0 and spectrum.smallest > 0.0:
            best = best_steps(plain, spectrum, widening=_WIDENING)
            yield (
                best.solver,
                "alternating steps that are best for the Jacobian at the start",
            )
        for halvings in range(_MAX_HALVINGS):
            factor = 0.5**halvings
            yield (
                with_steps(plain, min_step=factor * plain.min_step),
                "gradient descent on the residual (alternating, max_step = 1), "
                f"steps halved {halvings} times",
            )

    def rate(solver: AbstractDescentAscent, point: Start) -> float | None:
        here = jacobian_spectrum(problem, point[0], generator=generator)
        return float(linear_rate(solver, here)) if here.largest > 0.0 else None

    return _Task(
        loss=loss,
        goal=max(
            rtol * rtol * at_start, bound + (rtol**0.5 * at_start if bound else 0)
        ),
        plan=plan,
        rate=rate,
        settle=lambda min_player, _: (
            min_player,
            problem.linearise(min_player).residual,
        ),
        spectrum=spectrum,
    )


def _general_task(problem: AbstractSaddleProblem, start: Start, rtol: float) -> _Task:
    """Go for gradients of zero."""

    def loss(min_player: Tensor, max_player: Tensor) -> float:
        for_min, for_max = problem.gradients(min_player, max_player)
        return float(for_min.square().sum() + for_max.square().sum())

    is_small = start[0].numel() + start[1].numel() <= _MAX_LINEARISED

    def plan() -> Iterator[tuple[AbstractDescentAscent, str]]:
        if not is_small:
            raise InputError(
                "solver must be given for players of more than "
                f"{_MAX_LINEARISED} entries without a linear discriminator; pass, for "
                "example, Extragradient(min_step=..., max_step=...)"
            )
        steepest = _operator_norm(problem, start)
        step = 0.5 / steepest if steepest > 0.0 else 1.0
        for halvings in range(_MAX_HALVINGS):
            yield (
                Extragradient(
                    min_step=step * 0.5**halvings, max_step=step * 0.5**halvings
                ),
                "extragradient with half of the inverse Lipschitz constant of the "
                f"gradients at the start, halved {halvings} times",
            )

    def rate(solver: AbstractDescentAscent, point: Start) -> float | None:
        if not is_small:
            return None
        return local_rate(solver, linearised_game(problem, *point)).rate

    return _Task(
        loss=loss,
        goal=rtol * rtol * loss(*start),
        plan=plan,
        rate=rate,
        settle=lambda min_player, max_player: (min_player, max_player),
        spectrum=None,
    )


def _operator_norm(problem: AbstractSaddleProblem, point: Start) -> float:
    """Return the local Lipschitz constant of both gradients together."""
    game = linearised_game(problem, *point)
    upper = torch.cat((game.curvature, game.coupling), -1)
    lower = torch.cat((game.coupling.mT, -game.concavity), -1)
    return float(torch.linalg.matrix_norm(torch.cat((upper, lower), -2), 2))


def _run_once(
    problem: AbstractSaddleProblem,
    task: _Task,
    solver: AbstractDescentAscent,
    start: Start,
    max_steps: int,
    observers: Sequence[Observer],
) -> _Run:
    watch = _Watch(task.loss, task.goal, start)
    found = iterate(
        problem, solver, start, max_steps=max_steps, observers=(watch, *observers)
    )
    return _Run(
        point=(found.state.min_player, found.state.max_player),
        best=watch.best,
        best_loss=watch.best_loss,
        solver=solver,
        reason="",
        status=found.status,
        values=found.history,
        last=found.num_steps,
    )


def _run_plan(
    problem: AbstractSaddleProblem,
    task: _Task,
    start: Start,
    max_steps: int,
    observers: Sequence[Observer],
) -> _Run:
    """Run the planned solvers one after the other, each from the best point so far."""
    still = _Run(
        point=start,
        best=start,
        best_loss=task.loss(*start),
        solver=AlternatingGDA(min_step=1.0, max_step=1.0),
        reason="no step: the start is as good as asked for",
        status=Status.CONVERGED,
        values=(),
        last=0,
    )
    if still.best_loss <= task.goal:
        return still
    run = replace(
        still,
        reason="no step: every neuron is inactive, nothing moves the generator",
        status=Status.STALLED,
    )
    for solver, reason in task.plan():
        left = max_steps - len(run.values)
        own = _run_once(problem, task, solver, run.best, left, observers)
        is_better = own.best_loss < run.best_loss
        goes_on = own.status in _GO_ON and own.last < left
        run = _Run(
            # Where the goal was not reached the best point is the answer.
            point=own.point if own.status is Status.CONVERGED else own.best,
            best=own.best if is_better else run.best,
            best_loss=min(own.best_loss, run.best_loss),
            solver=solver,
            reason=reason,
            status=own.status,
            values=(*run.values, *own.values),
            last=own.last,
        )
        if not goes_on:
            break
    return run


def _check(
    problem: AbstractSaddleProblem, start: Start, rtol: float, max_steps: int
) -> None:
    min_player, max_player = start
    check_players(problem.spec, min_player, max_player)
    if min_player.ndim > len(problem.spec.min_shape):
        raise ShapeError(
            "start must have no batch dimensions; got players of shapes "
            f"{tuple(min_player.shape)} and {tuple(max_player.shape)}; take one member "
            "of the batch, or run a solver with tacit.iterate.iterate"
        )
    if not bool(min_player.isfinite().all() and max_player.isfinite().all()):
        raise InputError("start must be finite; look for NaN where it was made")
    if not 0.0 < rtol < 1.0:
        raise InputError(f"rtol must be in (0, 1); got {rtol}")
    if max_steps < 1:
        raise InputError(f"max_steps must be at least 1; got {max_steps}")
