"""What every case of the recovery benchmark is given, and how a solve is watched."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.recovery.problem import RecoveryProblem

Record = dict[str, Any]
ErrorOf = Callable[[Tensor, Tensor], float]

TARGET = 1e-6


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """Settings of one worker: ``budget`` is the CPU time after which peers give up."""

    seed: int
    is_small: bool
    threads: int
    budget: float


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """A problem, and how far factors are from what is known of its answer.

    ``rank`` is the planted one, for methods that have to be told; 0 if there is none.
    """

    problem: RecoveryProblem
    error_of: ErrorOf
    rank: int = 0

    @property
    def has_truth(self) -> bool:
        return self.problem.planted is not None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a method returns."""

    left: Tensor
    right: Tensor
    num_passes: int
    status: str
    notes: Record = field(default_factory=dict[str, Any])


def planted_error(problem: RecoveryProblem) -> ErrorOf:
    """Return the relative Frobenius error over the whole matrix, on factors alone."""
    planted = problem.planted
    if planted is None:
        raise ValueError("the problem has no planted truth")
    size = _product_norm(planted.left, planted.right)

    def error_of(left: Tensor, right: Tensor) -> float:
        if not bool(torch.isfinite(left).all() & torch.isfinite(right).all()):
            return math.inf
        first = torch.cat([left, -planted.left], -1)
        return _product_norm(first, torch.cat([right, planted.right], -1)) / size

    return error_of


def _product_norm(left: Tensor, right: Tensor) -> float:
    first, second = torch.linalg.qr(left).R, torch.linalg.qr(right).R
    return float(torch.linalg.matrix_norm(first @ second.mH))


def entries_error(
    rows: Tensor, columns: Tensor, values: Tensor, mean: float
) -> ErrorOf:
    """Return the error on entries that no method sees, relative to that of the mean."""
    size = float(torch.linalg.vector_norm(values - mean))

    def error_of(left: Tensor, right: Tensor) -> float:
        found = torch.linalg.vecdot(right[columns], left[rows])
        return float(torch.linalg.vector_norm(found - values)) / size

    return error_of


@final
class Watch:
    """Sees every step, off the clock: error against the truth, passes, seconds.

    As an observer of ``iterate`` it adds the passes of successive runs up. ``ends``
    stops a run at the target or when the budget is spent (for peers without a stopping
    rule of their own).
    """

    def __init__(
        self, error_of: ErrorOf, *, budget: float, target: float = TARGET
    ) -> None:
        self.error_of = error_of
        self.budget = budget
        self.target = target
        self.ends = False
        self.reached: Record = {}
        self.best = math.inf
        self.num_steps = 0
        self._cpu = self._seconds = 0.0
        self._before = self._last = 0
        self._cpu_start = self._start = math.nan

    def begin(self) -> None:
        self._cpu_start, self._start = time.process_time(), time.perf_counter()

    def pause(self) -> None:
        self._cpu += time.process_time() - self._cpu_start
        self._seconds += time.perf_counter() - self._start

    def see(self, left: Tensor, right: Tensor, num_passes: int) -> bool:
        """Note a point; return whether a peer's loop should end."""
        self.pause()
        self.num_steps += 1
        error = self.error_of(left, right)
        self.best = min(self.best, error)
        if error <= self.target and not self.reached:
            self.reached = {
                "passes_to": num_passes,
                "cpu_to": self._cpu,
                "seconds_to": self._seconds,
            }
        is_over = bool(self.reached) or self._cpu > self.budget
        self.begin()
        return is_over or not math.isfinite(error)

    def __call__(self, step: int, state: Any) -> Status | None:
        if step == 1:
            self._before += self._last
        self._last = state.num_passes
        is_over = self.see(state.left, state.right, self._before + self._last)
        if not (self.ends and is_over):
            return None
        return Status.CONVERGED if self.reached else Status.MAX_STEPS

    def times(self) -> Record:
        return {"cpu_seconds": self._cpu, "seconds": self._seconds}
