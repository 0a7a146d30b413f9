"""From a network to a certified bound: lifted ascent, stopped on the certified gap."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound
from tacit.errors import InputError, Status
from tacit.iterate import Observer, iterate
from tacit.lipschitz import lift
from tacit.lipschitz.blocks import Blocks, dense_blocks
from tacit.lipschitz.certify import (
    UNDERFLOW,
    Multipliers,
    certify,
    input_factor,
    is_eliminable,
    scaled_norm,
    tightened,
)
from tacit.lipschitz.compose import prepend
from tacit.lipschitz.layers import Dense, Reshape
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import LipschitzProblem
from tacit.lipschitz.reduced_form import reduced_form

# Multipliers are inflated by 10 ** exponent until the checker accepts them.
_LEAST, _MOST, _STEPS = -10.0, -1.0, (1.0, 0.25)
_FIRST_CHECK, _CHECK_GROWTH = 20, 1.3
# A step that raises the value by less than this share of rtol counts as idle; one
# run for each, with more columns from run to run as long as they help.
_STALL_SHARES = (1e-5, 1e-6, 1e-7)
_QUICK_WORK = 5e9  # multiplications
# A trial of multipliers gives up sooner than the final check does.
_FAILURE_PROBABILITY, _TRIAL_STEPS, _FINAL_STEPS = 1e-9, 400, 1500


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LiftedResult:
    """Outcome of :func:`lifted_bound`.

    Parameters
    ----------
    bound : Bound or None
        The certified upper bound; None if no multipliers were accepted.
    lifted_value : float
        The best value of the lifted network; no multipliers can prove less than the
        largest value there is, so ``bound.value / lifted_value - 1`` bounds the loss.
    status : Status
        CONVERGED if that gap is at most ``rtol``.
    num_steps : int
        Forward-backward passes.
    search_rank : int
        Columns of the last run.
    amplitudes : tuple of float
        ``||z||_F`` at sites 0..L and of the output, at the last point, for an input of
        norm one: where the lifted worst case grows.
    witness : tuple of Multipliers
        What ``bound`` was certified from.
    """

    bound: Bound | None
    lifted_value: float
    status: Status
    num_steps: int
    search_rank: int
    amplitudes: tuple[float, ...] = ()
    witness: tuple[Multipliers, ...] = field(default=(), repr=False)

    @property
    def gap(self) -> float:
        """Relative certified gap; 0 for a bound of 0."""
        if self.bound is not None and self.bound.value == 0.0:
            return 0.0
        if self.bound is None or self.lifted_value <= 0.0:
            return math.inf
        return self.bound.value / self.lifted_value - 1.0


def lifted_bound(
    problem: LipschitzProblem,
    *,
    generator: torch.Generator,
    rtol: float | None = None,
    max_steps: int = 3000,
    search_rank: int | None = None,
    search_dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    observers: Sequence[Observer] = (),
) -> LiftedResult:
    """Search multipliers with the lifted network and certify what they prove.

    Parameters
    ----------
    problem : LipschitzProblem
        Network and input norm.
    generator : torch.Generator
        Draws the start, and the start of Lanczos where elimination does not fit.
    rtol : float or None
        Stop at this relative gap between the certified bound and the lifted value;
        None: 1e-4, or 1e-2 for networks of more than 10,000 neurons.
    max_steps : int
        Limit of forward-backward passes of one run.
    search_rank : int or None
        Columns; None: ``lift.default_search_rank``, doubled when the run stalls with
        the gap still open.
    search_dtype : torch.dtype
        Of the search only; the certificate is in float64.
    device : torch.device or str
        Of the search only.
    observers : sequence of callables
        See :func:`tacit.iterate.iterate`.

    Returns
    -------
    LiftedResult

    Raises
    ------
    InputError
        If ``search_rank`` is less than 1.

    Notes
    -----
    For l1 inputs one column of the identity is lifted at a time, beginning where the
    certified bound of the column is largest; multipliers found for one column bound all
    others too, so few columns need a run of their own. For large networks the
    multipliers of the l2 problem are used instead, valid since ``|x|_2 <= |x|_1``; the
    lifted value is then 0, as nothing is known about the gap.
    """
    if search_rank is not None and search_rank < 1:
        raise InputError(f"search_rank must be at least 1; got {search_rank}")
    search = _Search(
        generator=generator,
        rtol=default_rtol(problem.network) if rtol is None else rtol,
        max_steps=max_steps,
        search_rank=search_rank or lift.default_search_rank(problem.network),
        dtype=search_dtype,
        device=device,
        observers=tuple(observers),
    )
    is_quick = _is_quickly_eliminable(problem.network)
    blocks = dense_blocks(problem.network) if is_quick else None
    if problem.norm != "l1":
        return _certified(problem, _run(problem, search, blocks), blocks, generator)
    if blocks is not None:
        return _columnwise_bound(problem, search, blocks)
    plain = LipschitzProblem(network=problem.network)
    result = _certified(problem, _run(plain, search, None), None, generator)
    return replace(result, lifted_value=0.0)  # that of l2 says nothing about l1


def default_rtol(network: Network) -> float:
    """Return the gap at which a search stops unless told otherwise."""
    return 1e-4 if network.num_neurons <= 10_000 else 1e-2


def _is_quickly_eliminable(network: Network) -> bool:
    """Whether elimination takes about a second; else Lanczos tries multipliers out."""
    sizes = [math.prod(shape) for shape in network.site_shapes]
    return is_eliminable(network) and sum(size**3 for size in sizes) <= _QUICK_WORK


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """Settings that every run of one call shares."""

    generator: torch.Generator
    rtol: float
    max_steps: int
    search_rank: int
    dtype: torch.dtype
    device: torch.device | str
    observers: tuple[Observer, ...]
    enough: float = 0.0  # a squared bound at which there is no need to go on


@final
@dataclass(kw_only=True)
class _Found:
    """What the runs have found so far: the one mutable record of this file."""

    best: Multipliers | None = None
    squared_bound: float = math.inf
    lifted_value: float = 0.0
    exponent: float = -4.0
    status: Status = Status.MAX_STEPS
    num_steps: int = 0
    search_rank: int = 0
    next_check: float = _FIRST_CHECK
    amplitudes: tuple[float, ...] = ()

    def is_closed(self, search: "_Search") -> bool:
        goal = (self.lifted_value * (1.0 + search.rtol)) ** 2
        return self.squared_bound <= max(goal, search.enough, UNDERFLOW) < math.inf


Checker = Callable[[Multipliers], float]


def _certified(
    problem: LipschitzProblem,
    found: _Found,
    blocks: Blocks | None,
    generator: torch.Generator,
) -> LiftedResult:
    bound = None
    witness = () if found.best is None else (found.best,)
    if witness:
        # A fresh draw: the search chose the multipliers without seeing it.
        bound = certify(
            problem,
            witness,
            blocks=blocks,
            generator=generator,
            failure_probability=_FAILURE_PROBABILITY,
            max_steps=_FINAL_STEPS,
        )
    return _result(found, bound, witness)


def _result(
    found: _Found, bound: Bound | None, witness: tuple[Multipliers, ...]
) -> LiftedResult:
    return LiftedResult(
        bound=bound,
        lifted_value=found.lifted_value,
        status=found.status,
        num_steps=found.num_steps,
        search_rank=found.search_rank,
        amplitudes=found.amplitudes,
        witness=witness if bound is not None else (),
    )


def _run(problem: LipschitzProblem, search: _Search, blocks: Blocks | None) -> _Found:
    """Ascend until the gap closes, with more columns if the run stalls before."""
    network = problem.network.to(dtype=search.dtype, device=search.device)
    working = LipschitzProblem(network=network, norm=problem.norm)
    found = _Found(search_rank=search.search_rank)
    if search.enough > 0.0:
        found.next_check = _FIRST_CHECK / 4
    check = _checker(problem, search, blocks)

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
        is_closed = found.is_closed(search)
        found.status = Status.CONVERGED if is_closed else solution.status
        if found.status is not Status.STALLED or solution.state.value == 0.0:
            break
        # Stuck: at a local optimum that more columns leave, unless the last doubling
        # did not help; then only the multipliers still have to converge.
        if found.lifted_value > value_before * (1.0 + 0.1 * search.rtol):
            point = lift.widened(working, point, search.generator)
            found.search_rank = point.inputs.shape[0]
        found.next_check = _FIRST_CHECK
    found.amplitudes = lift.amplitudes(working, point)
    return found


def _checker(
    problem: LipschitzProblem, search: _Search, blocks: Blocks | None
) -> Checker:
    """Return the map from multipliers to the squared bound they prove, or infinity."""
    network = problem.network

    def by_elimination(part: Multipliers) -> float:
        reduced = reduced_form(network, part.neurons, blocks or {})
        if reduced is None:
            return math.inf
        return tightened(network, problem.norm, part.inputs, reduced)

    def by_lanczos(part: Multipliers) -> float:
        top = scaled_norm(
            network,
            part,
            generator=search.generator,
            max_steps=_TRIAL_STEPS,
            failure_probability=_FAILURE_PROBABILITY,
        )
        return input_factor(part.inputs, problem.norm) if top <= 1.0 else math.inf

    return by_lanczos if blocks is None else by_elimination


def _tighten(
    problem: LipschitzProblem,
    raw: Multipliers,
    found: _Found,
    check: Checker,
    search: _Search,
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


def _columnwise_bound(
    problem: LipschitzProblem, search: _Search, blocks: Blocks
) -> LiftedResult:
    """Bound the l1 constant: the largest of the constants of the columns."""
    network = problem.network
    size = network.num_inputs
    everything = _Found()
    upper = torch.full((size,), math.inf, dtype=torch.float64)
    witness: list[Multipliers] = []
    solved: set[int] = set()

    def cover(neurons: tuple[Tensor, ...]) -> None:
        diagonal = reduced_form(network, neurons, blocks, diagonal_only=True)
        if diagonal is not None:
            shared = torch.ones(network.in_shape, dtype=torch.float64)
            witness.append(Multipliers(neurons=neurons, inputs=shared))
            torch.minimum(upper, diagonal, out=upper)

    first = _run(LipschitzProblem(network=network), replace(search, rtol=1e-2), blocks)
    everything.num_steps += first.num_steps
    everything.status, everything.search_rank = first.status, first.search_rank
    if first.best is not None:
        cover(first.best.neurons)
    while True:
        column = int(upper.argmax())
        goal = max((everything.lifted_value * (1.0 + search.rtol)) ** 2, UNDERFLOW)
        is_over = column in solved or everything.status is Status.INTERRUPTED
        if float(upper[column]) <= goal or is_over:
            break
        narrow = {
            (t, s): block[:, column : column + 1] if s == 0 else block
            for (t, s), block in blocks.items()
        }
        # A column that is not the largest needs only a bound below the goal.
        found = _run(
            _column_problem(problem, column), replace(search, enough=goal), narrow
        )
        solved.add(column)
        everything.num_steps += found.num_steps
        everything.search_rank = found.search_rank
        everything.lifted_value = max(everything.lifted_value, found.lifted_value)
        if found.status is not Status.CONVERGED:
            everything.status = found.status
        if found.best is not None:
            cover(found.best.neurons)
    if float(upper.max()) <= goal:
        everything.status = Status.CONVERGED
    elif everything.status is Status.CONVERGED:
        everything.status = Status.STALLED
    bound = certify(problem, tuple(witness), blocks=blocks) if witness else None
    everything.amplitudes = first.amplitudes
    return _result(everything, bound, tuple(witness))


def _column_problem(problem: LipschitzProblem, column: int) -> LipschitzProblem:
    """Return the same network fed by one scalar, in one coordinate of its input."""
    network = problem.network
    direction = torch.zeros(network.num_inputs, 1, dtype=torch.float64)
    direction[column] = 1.0
    fed = prepend(
        network, (1,), Dense(weight=direction), Reshape(shape=network.in_shape)
    )
    return LipschitzProblem(network=fed)
