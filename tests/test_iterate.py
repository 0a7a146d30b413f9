import math
from dataclasses import dataclass
from typing import Any, final

import pytest

from tacit.errors import Status
from tacit.iterate import AbstractSolver, iterate


@final
@dataclass(frozen=True, kw_only=True)
class _Root:
    """State of Heron's iteration for a square root."""

    x: float
    change: float

    @property
    def value(self) -> float:
        return self.x


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Heron(AbstractSolver[float, _Root]):
    """x <- (x + a / x) / 2, until the change is at most ``rtol`` of x."""

    rtol: float

    def init(self, problem: float, start: Any) -> _Root:
        return _Root(x=float(start), change=math.inf)

    def step(self, problem: float, state: _Root) -> _Root:
        x = (state.x + problem / state.x) / 2.0
        return _Root(x=x, change=abs(x - state.x))

    def status(self, problem: float, state: _Root) -> Status | None:
        return Status.CONVERGED if state.change <= self.rtol * state.x else None


class _Record:
    """An observer that writes down what it sees and answers at one step."""

    def __init__(self, at: int = 0, answer: Status | None = None) -> None:
        self.seen: list[tuple[int, float]] = []
        self.at, self.answer = at, answer

    def __call__(self, step: int, state: _Root) -> Status | None:
        self.seen.append((step, state.x))
        return self.answer if step == self.at else None


def test_the_root_of_two_is_found_with_its_history() -> None:
    solution = iterate(2.0, _Heron(rtol=1e-15), 1.0, max_steps=50)
    assert solution.status is Status.CONVERGED
    assert solution.state.x == pytest.approx(math.sqrt(2.0), rel=4 * 2.0**-53)
    # By hand: 3/2, 17/12, 577/408.
    assert solution.history[:3] == pytest.approx((3 / 2, 17 / 12, 577 / 408), rel=1e-15)
    assert solution.num_steps == len(solution.history) < 50
    assert solution.history[-1] == solution.state.value
    assert solution.bracket is None


@pytest.mark.parametrize("max_steps", [0, 1, 3])
def test_the_step_limit_is_kept_and_reported(max_steps: int) -> None:
    solution = iterate(2.0, _Heron(rtol=0.0), 1.0, max_steps=max_steps)
    assert solution.status is Status.MAX_STEPS
    assert solution.num_steps == max_steps
    assert len(solution.history) == max_steps


def test_no_step_leaves_the_start() -> None:
    solution = iterate(2.0, _Heron(rtol=0.0), 7.0, max_steps=0)
    assert solution.state == _Root(x=7.0, change=math.inf)


def test_convergence_in_the_last_step_allowed_counts() -> None:
    needed = iterate(2.0, _Heron(rtol=1e-6), 1.0, max_steps=50).num_steps
    solution = iterate(2.0, _Heron(rtol=1e-6), 1.0, max_steps=needed)
    assert solution.status is Status.CONVERGED


def test_going_on_from_a_state_is_the_same_as_never_having_stopped() -> None:
    whole = iterate(2.0, _Heron(rtol=0.0), 1.0, max_steps=4)
    first = iterate(2.0, _Heron(rtol=0.0), 1.0, max_steps=2)
    second = iterate(2.0, _Heron(rtol=0.0), first.state.x, max_steps=2)
    assert first.history + second.history == whole.history


def test_every_observer_sees_every_step_in_order() -> None:
    first, second = _Record(), _Record()
    solution = iterate(
        2.0, _Heron(rtol=1e-6), 1.0, max_steps=50, observers=(first, second)
    )
    assert first.seen == second.seen == list(enumerate(solution.history, start=1))


def test_an_observer_ends_the_run_and_the_others_see_that_step() -> None:
    ends, watches = _Record(at=2, answer=Status.STALLED), _Record()
    solution = iterate(
        2.0, _Heron(rtol=0.0), 1.0, max_steps=50, observers=(ends, watches)
    )
    assert solution.status is Status.STALLED
    assert solution.num_steps == 2
    assert [step for step, _ in watches.seen] == [1, 2]


def test_the_first_verdict_counts() -> None:
    stalls = _Record(at=1, answer=Status.STALLED)
    converges = _Record(at=1, answer=Status.CONVERGED)
    both = iterate(
        2.0, _Heron(rtol=0.0), 1.0, max_steps=5, observers=(stalls, converges)
    )
    assert both.status is Status.STALLED
    own = iterate(2.0, _Heron(rtol=math.inf), 1.0, max_steps=5, observers=(stalls,))
    assert own.status is Status.CONVERGED


@pytest.mark.parametrize("problem", [math.inf, math.nan])
def test_a_value_that_is_not_finite_ends_the_run(problem: float) -> None:
    solution = iterate(problem, _Heron(rtol=math.inf), 1.0, max_steps=5)
    assert solution.status is Status.NON_FINITE
    assert solution.num_steps == 1
    assert "rescale" in solution.status.advice


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Interrupted(AbstractSolver[float, _Root]):
    """Heron's iteration with a person who loses patience in the step after ``x``."""

    x: float

    def init(self, problem: float, start: Any) -> _Root:
        return _Heron(rtol=0.0).init(problem, start)

    def step(self, problem: float, state: _Root) -> _Root:
        if state.x == self.x:
            raise KeyboardInterrupt
        return _Heron(rtol=0.0).step(problem, state)

    def status(self, problem: float, state: _Root) -> Status | None:
        return None


def test_an_interrupted_run_keeps_its_last_whole_step() -> None:
    solution = iterate(2.0, _Interrupted(x=1.5), 1.0, max_steps=50)
    assert solution.status is Status.INTERRUPTED
    assert solution.state.x == 1.5
    assert solution.history == (1.5,)
    assert solution.num_steps == 1


def test_an_interruption_in_the_first_step_leaves_the_start() -> None:
    solution = iterate(2.0, _Interrupted(x=1.0), 1.0, max_steps=50)
    assert solution.status is Status.INTERRUPTED
    assert (solution.state.x, solution.history) == (1.0, ())


def test_an_incomplete_solver_cannot_be_built() -> None:
    class _NoStatus(AbstractSolver[float, _Root]):
        def init(self, problem: float, start: Any) -> _Root:
            return _Root(x=0.0, change=0.0)

        def step(self, problem: float, state: _Root) -> _Root:
            return state

    with pytest.raises(TypeError, match="status"):
        _NoStatus()  # pyright: ignore[reportAbstractUsage]
