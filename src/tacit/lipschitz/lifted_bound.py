"""From a network to a certified bound: lifted ascent, stopped on the certified gap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound
from tacit.errors import CertificateError, InputError, Status
from tacit.iterate import Observer
from tacit.lipschitz import lift
from tacit.lipschitz.blocks import Blocks, dense_blocks
from tacit.lipschitz.certify import (
    UNDERFLOW,
    Multipliers,
    certify,
    is_eliminable,
)
from tacit.lipschitz.compose import prepend
from tacit.lipschitz.gap_search import (
    FAILURE_PROBABILITY,
    Found,
    Search,
    ascend,
    elimination_trial,
)
from tacit.lipschitz.layers import Dense, Reshape, Scale
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import LipschitzProblem
from tacit.lipschitz.reduced_form import reduced_form

_QUICK_WORK = 5e9  # multiplications
_FINAL_TRIES, _RETRY_AMOUNT = 3, 1e-4
_LEAK = 1e-3  # how much the other entries move where one alone reaches too little


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
        """Relative certified gap; 0 for a bound of 0 up to underflow."""
        if self.bound is not None and self.bound.value**2 <= 2.0 * UNDERFLOW:
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
        If ``search_rank``, ``rtol`` or ``max_steps`` is not positive.

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
    if (rtol is not None and not rtol > 0.0) or max_steps < 1:
        raise InputError(
            f"rtol and max_steps must be positive; got {rtol} and {max_steps}"
        )
    search = Search(
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
        return _certified(problem, ascend(problem, search, blocks), blocks, generator)
    if blocks is not None:
        return _columnwise_bound(problem, search, blocks)
    plain = LipschitzProblem(network=problem.network)
    result = _certified(problem, ascend(plain, search, None), None, generator)
    return replace(result, lifted_value=0.0)  # that of l2 says nothing about l1


def default_rtol(network: Network) -> float:
    """Return the gap at which a search stops unless told otherwise."""
    return 1e-4 if network.num_neurons <= 10_000 else 1e-2


def _is_quickly_eliminable(network: Network) -> bool:
    """Whether elimination takes about a second; else Lanczos tries multipliers out."""
    sizes = [math.prod(shape) for shape in network.site_shapes]
    return is_eliminable(network) and sum(size**3 for size in sizes) <= _QUICK_WORK


def _certified(
    problem: LipschitzProblem,
    found: Found,
    blocks: Blocks | None,
    generator: torch.Generator,
) -> LiftedResult:
    best = found.best
    for _ in range(_FINAL_TRIES):
        if best is None:
            break
        try:
            # A fresh draw: the search chose the multipliers without seeing it.
            bound = certify(
                problem,
                (best,),
                blocks=blocks,
                generator=generator,
                failure_probability=FAILURE_PROBABILITY,
            )
        except CertificateError:  # an unlucky draw, or rounding at the very edge
            best = lift.inflated(problem.network, best, _RETRY_AMOUNT)
        else:
            return _result(found, bound, (best,))
    return _result(found, None, ())


def _result(
    found: Found, bound: Bound | None, witness: tuple[Multipliers, ...]
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


def _columnwise_bound(
    problem: LipschitzProblem, search: Search, blocks: Blocks
) -> LiftedResult:
    """Bound the l1 constant: the largest of the constants of the columns."""
    network = problem.network
    size = network.num_inputs
    everything = Found()
    upper = torch.full((size,), math.inf, dtype=torch.float64)
    witness: list[Multipliers] = []
    solved: set[int] = set()

    def cover(neurons: tuple[Tensor, ...]) -> None:
        diagonal = reduced_form(network, neurons, blocks, diagonal_only=True)
        if diagonal is not None:
            shared = torch.ones(network.in_shape, dtype=torch.float64)
            witness.append(Multipliers(neurons=neurons, inputs=shared))
            torch.minimum(upper, diagonal, out=upper)

    first = ascend(
        LipschitzProblem(network=network), replace(search, rtol=1e-2), blocks
    )
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
        # A column that is not the largest needs only a bound below the goal.
        settings = replace(search, enough=goal)
        found = _ascend_column(problem, column, settings, blocks)
        solved.add(column)
        everything.num_steps += found.num_steps
        everything.search_rank = found.search_rank
        everything.lifted_value = max(everything.lifted_value, found.lifted_value)
        if found.status is not Status.CONVERGED:
            everything.status = found.status
        if found.best is not None:
            cover(found.best.neurons)
    if float(upper.max()) <= goal < math.inf:
        everything.status = Status.CONVERGED
    elif everything.status is Status.CONVERGED:
        everything.status = Status.STALLED
    bound = certify(problem, tuple(witness), blocks=blocks) if witness else None
    everything.amplitudes = first.amplitudes
    return _result(everything, bound, tuple(witness))


def _ascend_column(
    problem: LipschitzProblem, column: int, search: Search, blocks: Blocks
) -> Found:
    """Search multipliers for changes of one input entry only."""
    network = problem.network
    narrow = {
        (t, s): block[:, column : column + 1] if s == 0 else block
        for (t, s), block in blocks.items()
    }
    fed = _fed_by(problem, column)
    if all(bool((block != 0.0).all()) for (_, s), block in narrow.items() if s == 0):
        return ascend(fed, search, narrow)

    of_column = elimination_trial(fed, narrow)
    alone = torch.ones(1, dtype=torch.float64)

    def trial(part: Multipliers) -> float:
        return of_column(replace(part, inputs=alone))

    # Neurons that the entry does not reach would have no multipliers: all others are
    # moved a little too. What is tried and certified is the column alone.
    factor = torch.full(network.in_shape, _LEAK, dtype=torch.float64)
    factor.view(-1)[column] = 1.0
    leaky = prepend(network, network.in_shape, Scale(factor=factor))
    found = ascend(LipschitzProblem(network=leaky), replace(search, trial=trial), None)
    if found.point is not None:
        # The value of the column alone, at the directions found.
        entry = found.point.inputs.flatten(1)[:, column : column + 1]
        length = torch.linalg.vector_norm(entry).clamp_min(1e-300)
        point = lift.LiftedPoint(
            inputs=entry / length, directions=found.point.directions
        )
        found.lifted_value = lift.amplitudes(
            fed, lift.converted(point, dtype=torch.float64, device="cpu")
        )[-1]
    return found


def _fed_by(problem: LipschitzProblem, column: int) -> LipschitzProblem:
    """Return the same network fed by one scalar, in one coordinate of its input."""
    network = problem.network
    direction = torch.zeros(network.num_inputs, 1, dtype=torch.float64)
    direction[column] = 1.0
    fed = prepend(
        network, (1,), Dense(weight=direction), Reshape(shape=network.in_shape)
    )
    return LipschitzProblem(network=fed)
