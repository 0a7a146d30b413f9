"""The one loop that runs every solver."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, final

from tacit.bracket import Bracket
from tacit.errors import Status


class HasValue(Protocol):
    """What the loop needs to know of a solver's state."""

    @property
    def value(self) -> float:
        """The objective at the current point."""
        ...


ProblemT = TypeVar("ProblemT")
StateT = TypeVar("StateT", bound=HasValue)

# Called after every step with (step, state); a returned Status ends the loop.
Observer = Callable[[int, Any], Status | None]


class AbstractSolver(ABC, Generic[ProblemT, StateT]):
    """A frozen configuration; everything that changes lives in the state it returns."""

    @abstractmethod
    def init(self, problem: ProblemT, start: Any) -> StateT:
        """Return the state at ``start`` before any step."""

    @abstractmethod
    def step(self, problem: ProblemT, state: StateT) -> StateT:
        """Return the state after one step; ``state`` itself is not changed."""

    @abstractmethod
    def status(self, problem: ProblemT, state: StateT) -> Status | None:
        """Return how the run ended, or None to go on."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Solution(Generic[StateT]):
    """What a solver found.

    Parameters
    ----------
    state : StateT
        The last state.
    status : Status
        Why the run ended, with advice.
    num_steps : int
        Steps taken.
    history : tuple of float
        The objective after each step.
    bracket : Bracket or None
        The certified answer, once a certifier has seen the point.
    """

    state: StateT
    status: Status
    num_steps: int
    history: tuple[float, ...]
    bracket: Bracket | None = None


def iterate(
    problem: ProblemT,
    solver: AbstractSolver[ProblemT, StateT],
    start: Any,
    *,
    max_steps: int,
    observers: Sequence[Observer] = (),
) -> Solution[StateT]:
    """Run ``solver`` from ``start`` until it, an observer or ``max_steps`` ends it.

    Parameters
    ----------
    problem : ProblemT
        What is solved.
    solver : AbstractSolver
        How.
    start : object
        The point (or seed of one) that ``solver.init`` accepts.
    max_steps : int
        Upper limit of steps, at least 0.
    observers : sequence of callables
        Each is called as ``observer(step, state)`` after every step, in order; the
        first Status returned ends the run. Progress bars, histories, checkpoints and
        early stopping are observers.

    Returns
    -------
    Solution
        The last state and how it was reached. After Ctrl-C the status is INTERRUPTED
        and the state that of the last whole step.
    """
    state = solver.init(problem, start)
    history: list[float] = []
    status: Status | None = None
    try:
        for step in range(1, max_steps + 1):
            state = solver.step(problem, state)
            history.append(state.value)
            status = solver.status(problem, state)
            if not math.isfinite(state.value):
                status = Status.NON_FINITE
            for observer in observers:
                # Every observer sees every step, also the last one.
                verdict = observer(step, state)
                status = status or verdict
            if status is not None:
                break
    except KeyboardInterrupt:
        # The state is that of the last whole step: still worth certifying.
        status = Status.INTERRUPTED
    return Solution(
        state=state,
        status=status or Status.MAX_STEPS,
        num_steps=len(history),
        history=tuple(history),
    )
