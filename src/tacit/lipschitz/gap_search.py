"""The lifted ascent with its multipliers tried out until the certified gap closes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch

from tacit.errors import Status
from tacit.iterate import Observer, iterate
from tacit.lipschitz import lift
from tacit.lipschitz.blocks import Blocks
from tacit.lipschitz.certify import (
    UNDERFLOW,
    Multipliers,
    input_factor,
    scaled_norm,
    tightened,
)
from tacit.lipschitz.problem import LipschitzProblem
from tacit.lipschitz.reduced_form import reduced_form

# Multipliers are inflated by 10 ** exponent until the checker accepts them.
_LEAST, _MOST, _STEPS = -10.0, -1.0, (1.0, 0.25)
_FIRST_CHECK, _CHECK_GROWTH = 20, 1.3
# A step that raises the value by less than this share of rtol counts as idle; one
# run for each, with more columns from run to run as long as they help.
_STALL_SHARES = (1e-5, 1e-6, 1e-7)
# A trial of multipliers gives up sooner than the final check does.
FAILURE_PROBABILITY, _TRIAL_STEPS = 1e-9, 400


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """Settings that every run of one call shares."""

    generator: torch.Generator
    rtol: float
    max_steps: int
    search_rank: int
    dtype: torch.dtype
    device: torch.device | str
    observers: tuple[Observer, ...]
    enough: float = 0.0  # a squared bound at which there is no need to go on
    trial: Callable[[Multipliers], float] | None = None  # None: of the problem itself


@final
@dataclass(kw_only=True)
class Found:
    """What the runs have found so far: the one mutable record of the search."""

    best: Multipliers | None = None
    squared_bound: float = math.inf
    lifted_value: float = 0.0
    exponent: float = -4.0
    status: Status = Status.MAX_STEPS
    num_steps: int = 0
    search_rank: int = 0
    next_check: float = _FIRST_CHECK
    amplitudes: tuple[float, ...] = ()
    point: lift.LiftedPoint | None = None

    def is_closed(self, search: "Search") -> bool:
        """Whether the bound is within ``rtol`` of the lifted value, or good enough."""
        goal = (self.lifted_value * (1.0 + search.rtol)) ** 2
        return self.squared_bound <= max(goal, search.enough, UNDERFLOW) < math.inf


Checker = Callable[[Multipliers], float]


def ascend(problem: LipschitzProblem, search: Search, blocks: Blocks | None) -> Found:
    """Ascend until the gap closes, with more columns if the run stalls before."""
    network = problem.network.to(dtype=search.dtype, device=search.device)
    working = LipschitzProblem(network=network, norm=problem.norm)
    found = Found(search_rank=search.search_rank)
    if search.enough > 0.0:
        found.next_check = _FIRST_CHECK / 4
    check = search.trial or _trial(problem, search, blocks)

    def close_gap(step: int, state: lift.LiftedState) -> Status | None:
        found.lifted_value = max(found.lifted_value, math.sqrt(state.best_value))
        is_idle = state.num_idle_steps >= lift.STALL_STEPS or state.value == 0.0
        if step < found.next_check and not is_idle:
            return None
        found.next_check = max(step + 10, step * _CHECK_GROWTH)
        _tighten(problem, lift.multipliers(problem, state), found, check, search)
        return Status.CONVERGED if found.is_closed(search) else None

    point = lift.random_start(working, search.search_rank, search.generator)
    point = lift.converted(point, dtype=search.dtype, device=search.device)
    observers = (close_gap, *search.observers)
    for share in _STALL_SHARES:
        value_before = found.lifted_value
        solution = iterate(
            working,
            lift.LiftedAscent(stall_rtol=share * search.rtol),
            point,
            max_steps=search.max_steps,
            observers=observers,
        )
        point = solution.state.point
        found.num_steps += solution.num_steps
        if solution.status in (Status.MAX_STEPS, Status.INTERRUPTED):
            raw = lift.multipliers(problem, solution.state)
            _tighten(problem, raw, found, check, search)
        found.status = solution.status
        if found.is_closed(search) and found.status is not Status.INTERRUPTED:
            found.status = Status.CONVERGED
        if found.status is not Status.STALLED:
            break
        # Stuck: at a local optimum that more columns leave, unless the last doubling
        # did not help; then only the multipliers still have to converge.
        is_higher = found.lifted_value > value_before * (1.0 + 0.1 * search.rtol)
        if is_higher or solution.state.value == 0.0:
            point = lift.widened(working, point, search.generator)
            found.search_rank = point.inputs.shape[0]
        found.next_check = _FIRST_CHECK
    found.amplitudes, found.point = lift.amplitudes(working, point), point
    return found


def elimination_trial(problem: LipschitzProblem, blocks: Blocks) -> Checker:
    """Return the map from multipliers to the squared bound elimination proves."""
    network = problem.network

    def by_elimination(part: Multipliers) -> float:
        reduced = reduced_form(network, part.neurons, blocks)
        if reduced is None:
            return math.inf
        return tightened(network, problem.norm, part.inputs, reduced)

    return by_elimination


def _trial(problem: LipschitzProblem, search: Search, blocks: Blocks | None) -> Checker:
    """Return the map from multipliers to the squared bound they prove, or infinity."""
    if blocks is not None:
        return elimination_trial(problem, blocks)
    network = problem.network

    def by_lanczos(part: Multipliers) -> float:
        top = scaled_norm(
            network,
            part,
            generator=search.generator,
            max_steps=_TRIAL_STEPS,
            failure_probability=FAILURE_PROBABILITY,
        )
        return input_factor(part.inputs, problem.norm) if top <= 1.0 else math.inf

    return by_lanczos


def _tighten(
    problem: LipschitzProblem,
    raw: Multipliers,
    found: Found,
    check: Checker,
    search: Search,
) -> None:
    """Inflate ``raw`` by the amount that proves most; keep the best of all checks.

    Too little and the form is indefinite, too much and the bound grows: amounts are
    tried from the last best one, in factors of 10 and then of 10^(1/4), until the
    gap closes.
    """

    def attempt(exponent: float) -> float:
        part = lift.inflated(problem.network, raw, 10.0**exponent)
        value = check(part)
        if value < found.squared_bound:
            found.squared_bound, found.best = value, part
        return value

    exponent = found.exponent
    value = attempt(exponent)
    direction = 1.0 if math.isinf(value) else -1.0
    for step in _STEPS:
        while _LEAST <= exponent + direction * step <= _MOST:
            if found.is_closed(search):
                break
            other = attempt(exponent + direction * step)
            if direction < 0.0 and other > value:
                break
            exponent, value = exponent + direction * step, other
            if direction > 0.0 and math.isfinite(value):
                break
        if math.isinf(value):
            break
        direction = -1.0
    found.exponent = exponent
