"""How multipliers are tried out; what comes of it is in ``test_lifted_bound.py``."""

import math

import pytest
import torch

from cases import NETWORKS
from forms import proving_multipliers
from tacit.errors import Status
from tacit.lipschitz import lift
from tacit.lipschitz.blocks import dense_blocks
from tacit.lipschitz.certify import Multipliers, certify
from tacit.lipschitz.gap_search import Found, Search, _tighten, _trial, ascend
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.rng import make_generator

NETWORK = NETWORKS["relu-3-5-4-2"](make_generator(0))


def search_of(generator: torch.Generator, *, rtol: float = 1e-3) -> Search:
    return Search(
        generator=generator,
        rtol=rtol,
        max_steps=500,
        search_rank=6,
        dtype=torch.float64,
        device="cpu",
        observers=(),
    )


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_both_trials_accept_what_proves_a_bound_and_nothing_else(
    norm: Norm, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=NETWORK, norm=norm)
    search = search_of(generator)
    large = proving_multipliers(NETWORK)
    squared = certify(problem, (large,)).value ** 2
    share = squared / (NETWORK.num_inputs if norm == "linf" else 1)
    by_elimination = _trial(problem, search, dense_blocks(NETWORK))
    by_lanczos = _trial(problem, search, None)
    assert by_elimination(large) == pytest.approx(squared)
    for factor, is_accepted in ((1.001, True), (0.999, False), (0.6, False)):
        part = Multipliers(
            neurons=large.neurons, inputs=factor * share * torch.ones(3).double()
        )
        value = by_lanczos(part)
        assert value == pytest.approx(factor * squared if is_accepted else math.inf)
    small = tuple(1e-6 * m for m in large.neurons)
    part = Multipliers(neurons=small, inputs=squared * torch.ones(3).double())
    assert by_elimination(part) == by_lanczos(part) == math.inf


@pytest.mark.parametrize("best", [-9.0, -4.0, -2.5, -1.0])
@pytest.mark.parametrize("first", [-10.0, -4.0, -1.0])
def test_inflation_finds_the_least_amount_that_is_accepted(
    best: float, first: float, generator: torch.Generator
) -> None:
    """A made-up checker: nothing below the best amount, and more costs more."""
    problem = LipschitzProblem(network=NETWORK)
    raw = proving_multipliers(NETWORK)
    tried: list[tuple[float, Multipliers]] = []

    def check(part: Multipliers) -> float:
        ratio = float((part.neurons[-1] / raw.neurons[-1])[0])  # of depth one
        amount = ratio - 1.0
        value = 4.0 * (1.0 + amount) if amount >= 0.999 * 10.0**best else math.inf
        tried.append((value, part))
        return value

    found = Found(exponent=first)
    _tighten(problem, raw, found, check, search_of(generator))
    value, part = min(tried, key=lambda pair: pair[0])
    assert (found.squared_bound, found.best) == (value, part)
    # Within a quarter of a decade of the best exponent.
    assert 10.0**best * 0.99 <= value / 4.0 - 1.0 <= 10.0 ** (best + 0.26)
    # A second round starts where this one ended and is short.
    count = len(tried)
    _tighten(problem, raw, found, check, search_of(generator))
    assert len(tried) - count <= 7


def test_inflation_stops_where_the_gap_is_closed(generator: torch.Generator) -> None:
    problem = LipschitzProblem(network=NETWORK)
    raw = proving_multipliers(NETWORK)
    calls: list[Multipliers] = []

    def check(part: Multipliers) -> float:
        calls.append(part)
        return 4.0

    found = Found(lifted_value=2.0)
    _tighten(problem, raw, found, check, search_of(generator))
    assert len(calls) == 1
    assert found.is_closed(search_of(generator))


def test_what_is_never_accepted_leaves_nothing(generator: torch.Generator) -> None:
    found = Found()
    _tighten(
        LipschitzProblem(network=NETWORK),
        proving_multipliers(NETWORK),
        found,
        lambda _: math.inf,
        search_of(generator),
    )
    assert (found.best, found.squared_bound) == (None, math.inf)
    assert not found.is_closed(search_of(generator))


def test_the_search_ends_with_what_its_multipliers_prove(
    generator: torch.Generator,
) -> None:
    problem = LipschitzProblem(network=NETWORK)
    found = ascend(problem, search_of(generator), dense_blocks(NETWORK))
    assert found.status is Status.CONVERGED
    assert found.best is not None
    value = certify(problem, (found.best,)).value
    assert value == math.sqrt(found.squared_bound)
    assert found.lifted_value <= value <= found.lifted_value * (1.0 + 1e-3)
    assert len(found.amplitudes) == len(NETWORK.site_shapes)


def test_a_bound_that_is_enough_ends_the_search_early(
    generator: torch.Generator,
) -> None:
    """A column of an l1 problem that is not the largest is not worth more."""
    problem = LipschitzProblem(network=NETWORK)
    settings = search_of(generator, rtol=1e-9)
    optimum = ascend(problem, settings, dense_blocks(NETWORK)).squared_bound
    easy = Search(
        generator=generator,
        rtol=1e-9,
        max_steps=500,
        search_rank=lift.default_search_rank(NETWORK),
        dtype=torch.float64,
        device="cpu",
        observers=(),
        enough=2.0 * optimum,
    )
    found = ascend(problem, easy, dense_blocks(NETWORK))
    assert found.status is Status.CONVERGED
    assert found.num_steps <= 20
    assert optimum * (1.0 - 1e-9) <= found.squared_bound <= 2.0 * optimum
