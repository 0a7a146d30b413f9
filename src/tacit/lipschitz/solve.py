"""The whole answer for one network: every bound, the bracket, and its certificate."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, final, get_args

from tacit.bracket import Bound, Bracket
from tacit.errors import InputError
from tacit.iterate import Observer
from tacit.lipschitz.certificate import Certificate
from tacit.lipschitz.closed_form.balancing import balance
from tacit.lipschitz.closed_form.elimination import eclipse_bound, elimination_bound
from tacit.lipschitz.closed_form.loop_transform import lip_lt_bound
from tacit.lipschitz.closed_form.products import product_bound
from tacit.lipschitz.lifted_bound import LiftedResult, lifted_bound
from tacit.lipschitz.network import Network
from tacit.lipschitz.pair import PairWitness
from tacit.lipschitz.problem import LipschitzProblem, Norm, margin
from tacit.lipschitz.reached.lower import search_lower
from tacit.lipschitz.reached.sweep import sweep
from tacit.rng import make_generator

Method = Literal["ascent", "sweep", "product", "lip_lt", "eclipse", "lifted"]
METHODS: tuple[Method, ...] = get_args(Method)
"""In the order they run: from the cheapest to the tightest."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LipschitzResult:
    """What is known of a network's Lipschitz constant.

    Parameters
    ----------
    problem : LipschitzProblem
        What was asked; with ``outputs`` its network is the margin network.
    digest : str
        Digest of the network as given.
    outputs : tuple of int or None
        ``(i, j)`` if the scalar ``f_i - f_j`` was bounded.
    bracket : Bracket
        The best bound of each side.
    bounds : tuple of Bound
        Every bound computed, with the seconds each took.
    lifted : LiftedResult or None
        Details of the lifted network's run.
    seconds : float
        Wall-clock time of the whole.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.network import chain
    >>> from tacit.lipschitz.solve import lipschitz_bracket
    >>> result = lipschitz_bracket(chain([(torch.eye(2), None, None)]))
    >>> result.outputs is None, len(result.pair.x), len(result.bounds) > 2
    (True, 2, True)
    """

    problem: LipschitzProblem = field(repr=False)
    digest: str
    outputs: tuple[int, int] | None
    bracket: Bracket
    bounds: tuple[Bound, ...]
    lifted: LiftedResult | None
    seconds: float

    @property
    def pair(self) -> PairWitness:
        """The two inputs whose difference quotient is the lower bound.

        Raises
        ------
        InputError
            If the lower bound carries none.
        """
        witness = self.bracket.lower.witness
        if not isinstance(witness, PairWitness):
            raise InputError("the lower bound of this result carries no pair of inputs")
        return witness

    def certificate(self) -> Certificate | None:
        """Return what multipliers prove, to be saved and verified elsewhere.

        Its upper side is that of the lifted network, also where the bracket has a
        smaller one (the exact sweep); None if no multipliers were accepted.
        """
        if self.lifted is None or self.lifted.bound is None:
            return None
        upper = self.lifted.bound
        return Certificate(
            digest=self.digest,
            norm=self.problem.norm,
            outputs=self.outputs,
            lower=self.bracket.lower.value,
            upper=upper.value,
            arithmetic=upper.arithmetic,
            failure_probability=upper.failure_probability,
            pair=(self.pair.x, self.pair.x_prime),
            witness=self.lifted.witness,
        )


def lipschitz_bracket(
    network: Network,
    *,
    norm: Norm = "l2",
    outputs: tuple[int, int] | None = None,
    methods: Sequence[Method] = METHODS,
    seed: int = 0,
    rtol: float | None = None,
    max_steps: int = 3000,
    search_rank: int | None = None,
    on_method: Callable[[Method], None] | None = None,
    observers: Sequence[Observer] = (),
) -> LipschitzResult:
    r"""Bracket the Lipschitz constant of a network.

    .. math:: \sup_{x \ne x'} \|f(x) - f(x')\|_2 / \|x - x'\|

    Parameters
    ----------
    network : Network
        From ``read_network``, ``from_module``, ``random_network`` or ``chain``.
    norm : {"l2", "linf", "l1"}
        Norm of the input difference.
    outputs : tuple of int or None
        ``(i, j)``: bound the scalar ``f_i - f_j`` instead, outputs flattened.
    methods : sequence of str
        Any of ``METHODS``; those that do not apply to the network are passed over.
    seed : int
        Of all random draws.
    rtol : float or None
        Relative certified gap at which the lifted network's search stops; None: 1e-4,
        or 1e-2 for networks of more than 10,000 neurons.
    max_steps : int
        Limit of its forward-backward passes.
    search_rank : int or None
        Its number of columns; None: chosen from the number of neurons.
    on_method : callable or None
        Called with the name of each method as it starts (for a progress bar).
    observers : sequence of callables
        Observers of the lifted network's iteration.

    Returns
    -------
    LipschitzResult

    Raises
    ------
    InputError
        If the norm, an output or a method is unknown, or a side is left empty.
    BracketError
        If a lower bound exceeds an upper one: a bug.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.network import chain
    >>> from tacit.lipschitz.layers import Activation
    >>> from tacit.lipschitz.solve import lipschitz_bracket
    >>> relu = Activation(kind="relu")
    >>> net = chain([(torch.eye(2), None, relu), (torch.ones(1, 2), None, None)])
    >>> result = lipschitz_bracket(net)
    >>> round(result.bracket.lower.value, 6), round(result.bracket.upper.value, 6)
    (1.414214, 1.414214)
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise InputError(
            f"methods must be among {', '.join(METHODS)}; got {', '.join(unknown)}"
        )
    started = time.perf_counter()
    asked = network if outputs is None else margin(network, *outputs)
    problem = LipschitzProblem(network=asked, norm=norm)
    lifted: list[LiftedResult] = []

    def run_lifted() -> list[Bound | None]:
        generator = make_generator(seed, "lifted")
        lifted.append(
            lifted_bound(
                problem,
                generator=generator,
                rtol=rtol,
                max_steps=max_steps,
                search_rank=search_rank,
                observers=observers,
            )
        )
        return [lifted[0].bound]

    runs = {**_plain_runs(problem, seed), "lifted": run_lifted}
    bounds: list[Bound] = []
    for method in METHODS:
        if method in methods:
            if on_method is not None:
                on_method(method)
            bounds += _timed(runs[method])
    return LipschitzResult(
        problem=problem,
        digest=network.digest,
        outputs=outputs,
        bracket=_best(bounds),
        bounds=tuple(bounds),
        lifted=lifted[0] if lifted else None,
        seconds=time.perf_counter() - started,
    )


Run = Callable[[], Sequence[Bound | None]]


def _plain_runs(problem: LipschitzProblem, seed: int) -> dict[Method, Run]:
    """Return what each method but the lifted network does."""

    @cache  # two methods want it; formed once, by the first that runs
    def balanced() -> LipschitzProblem:
        generator = make_generator(seed, "balance")
        return replace(problem, network=balance(problem.network, generator=generator))

    return {
        "ascent": lambda: [
            search_lower(problem, generator=make_generator(seed, "lower"))
        ],
        "sweep": lambda: _swept(problem),
        "product": lambda: _rescaled(product_bound, problem, balanced()),
        "lip_lt": lambda: _rescaled(lip_lt_bound, problem, balanced()),
        "eclipse": lambda: [eclipse_bound(problem), elimination_bound(problem)],
    }


def _timed(run: Run) -> list[Bound]:
    """Return the bounds that a run found, each with the seconds of the run."""
    begun = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - begun
    return [replace(bound, seconds=seconds) for bound in found if bound is not None]


def _rescaled(
    method: Callable[[LipschitzProblem], Bound | None],
    problem: LipschitzProblem,
    balanced: LipschitzProblem,
) -> list[Bound]:
    """Return the better of a bound as it is and after rescaling the neurons.

    The rescaled network is another function but has the same set of Jacobians under
    slope constraints, which is all that these bounds use.
    """
    found = [b for b in (method(problem), method(balanced)) if b is not None]
    return [min(found, key=lambda bound: bound.value)] if found else []


def _swept(problem: LipschitzProblem) -> list[Bound]:
    if problem.network.num_inputs != 2:
        return []
    try:
        answer = sweep(problem)
    except InputError:  # biases, smooth activations, or angles too close to order
        return []
    return [answer.lower, answer.upper]


def _best(bounds: Sequence[Bound]) -> Bracket:
    lowers = [bound for bound in bounds if bound.side == "lower"]
    uppers = [bound for bound in bounds if bound.side == "upper"]
    if not lowers or not uppers:
        missing = "upper" if lowers else "lower"
        raise InputError(
            f"the chosen methods gave no {missing} bound; add one that does"
        )
    return Bracket(
        lower=max(lowers, key=lambda bound: bound.value),
        upper=min(uppers, key=lambda bound: bound.value),
    )
