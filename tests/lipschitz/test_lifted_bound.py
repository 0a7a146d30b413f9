"""The certified bound of the lifted network: how tight, and how a run may end."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from cases import NETWORKS, RELU, normal, random_chain
from oracles import form_of, gradients, lipsdp_value_graph, operator_norms
from tacit.bracket import Bound
from tacit.errors import CertificateError, InputError, Status
from tacit.lipschitz import certify as certify_module
from tacit.lipschitz import lifted_bound as lifted_bound_module
from tacit.lipschitz.certify import Multipliers, certify
from tacit.lipschitz.layers import Add, Dense, Layer
from tacit.lipschitz.lift import LiftedState
from tacit.lipschitz.lifted_bound import LiftedResult, default_rtol, lifted_bound
from tacit.lipschitz.network import Network, chain, make_network
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.rng import make_generator

CASES = {name: build(make_generator(0, name)) for name, build in NETWORKS.items()}
# Neither of these two has a best bound that is a positive float64 by a wide margin.
USUAL = [name for name in CASES if name not in {"zero", "only-shift"}]


def some_pattern(network: Network, norm: Norm) -> float:
    """The largest ``||J||`` over some slope patterns: no bound may be below it."""
    form = form_of(network)
    draw = np.random.default_rng(0)
    slopes = [draw.choice(s, 200) for s in form.neuron_slopes]
    stacked = np.stack(slopes, axis=1) if slopes else np.zeros((1, 0))
    jacobians = form.output @ gradients(form, stacked)
    if norm == "linf":
        signs = draw.choice([-1.0, 1.0], (network.num_inputs, 32))
        return float(np.linalg.norm(jacobians @ signs, axis=1).max())
    return float(operator_norms(jacobians, norm).max())


def bound_of(result: LiftedResult) -> float:
    assert result.bound is not None
    return result.bound.value


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", USUAL)
def test_the_gap_is_closed(name: str, norm: Norm, generator: torch.Generator) -> None:
    network = CASES[name]
    problem = LipschitzProblem(network=network, norm=norm)
    result = lifted_bound(problem, generator=generator, rtol=1e-3)
    assert result.status is Status.CONVERGED
    assert result.gap <= 1e-3 * (1.0 + 1e-9)
    assert result.gap == bound_of(result) / result.lifted_value - 1.0
    assert result.gap >= -1e-12  # weak duality
    assert bound_of(result) >= some_pattern(network, norm) * (1.0 - 1e-11)
    assert result.num_steps >= 1
    assert len(result.amplitudes) == len(network.site_shapes)
    # The witness proves the value to somebody who starts from nothing.
    assert certify(problem, result.witness).value == bound_of(result)
    assert result.bound is not None
    assert result.bound.witness == result.witness
    assert result.bound.arithmetic == "float"


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["relu-3-5-4-2", "gelu-2-4-3-1", "residual", "dead"])
def test_l1_is_the_largest_column_of_the_semidefinite_programme(
    name: str, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=CASES[name], norm="l1")
    result = lifted_bound(problem, generator=generator, rtol=1e-5)
    optimum, _, _ = lipsdp_value_graph(CASES[name], "l1")
    assert result.status is Status.CONVERGED
    assert result.lifted_value <= optimum * (1.0 + 1e-6)
    assert optimum * (1.0 - 1e-6) <= bound_of(result) <= optimum * (1.0 + 2e-5)


def test_l1_solves_few_columns(generator: torch.Generator) -> None:
    """Multipliers of one column cover the others where that one is much larger."""
    weight = normal(generator, 6, 30) * 0.01
    weight[:, 17] = 1.0
    network = chain([(weight, None, RELU), (normal(generator, 2, 6), None, None)])
    steps: list[int] = []
    result = lifted_bound(
        LipschitzProblem(network=network, norm="l1"),
        generator=generator,
        observers=[lambda step, _: steps.append(step)],
    )
    assert result.status is Status.CONVERGED
    assert steps.count(1) == 2  # a run for l2 and one for column 17
    assert result.num_steps == len(steps)


# Closed forms


def test_linear_networks_are_solved(generator: torch.Generator) -> None:
    first, second = normal(generator, 5, 4), normal(generator, 3, 5)
    product = (second @ first).numpy()
    network = chain([(first, None, None), (second, None, None)])
    truth = {
        "l2": float(np.linalg.norm(product, 2)),
        "l1": float(np.linalg.norm(product, axis=0).max()),
    }
    for norm, value in truth.items():
        problem = LipschitzProblem(network=network, norm=norm)  # type: ignore[arg-type]
        result = lifted_bound(problem, generator=generator, rtol=1e-9)
        assert bound_of(result) == pytest.approx(value, rel=1e-9)
    row = chain([(first[:1], None, None)])
    problem = LipschitzProblem(network=row, norm="linf")
    result = lifted_bound(problem, generator=generator, rtol=1e-9)
    value = float(first[0].abs().sum())
    assert bound_of(result) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["zero", "only-shift"])
def test_networks_without_gain_or_without_weights(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    result = lifted_bound(
        LipschitzProblem(network=CASES[name], norm=norm), generator=generator
    )
    assert result.status is Status.CONVERGED
    if name == "zero":
        assert 0.0 <= bound_of(result) <= 1e-140
        assert (result.lifted_value, result.gap) == (0.0, 0.0)
    else:
        truth = math.sqrt(2.0) if norm == "linf" else 1.0
        assert bound_of(result) == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_a_branch_that_never_moves_costs_nothing(
    norm: Norm, generator: torch.Generator
) -> None:
    direct, leaving = normal(generator, 2, 2), normal(generator, 2, 3)
    layers: list[tuple[Layer, tuple[int, ...]]] = [
        (Dense(weight=torch.zeros(3, 2)), (0,)),
        (RELU, (1,)),
        (Dense(weight=leaving), (2,)),
        (Dense(weight=direct), (0,)),
        (Add(), (3, 4)),
    ]
    problem = LipschitzProblem(network=make_network((2,), layers), norm=norm)
    alone = LipschitzProblem(network=chain([(direct, None, None)]), norm=norm)
    values = [
        bound_of(lifted_bound(p, generator=generator, rtol=1e-6))
        for p in (problem, alone)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


# Width


@pytest.mark.oracle
def test_too_few_columns_are_doubled(generator: torch.Generator) -> None:
    network = CASES["relu-3-5-4-2"]
    optimum, _, _ = lipsdp_value_graph(network)
    ranks: list[int] = []
    for _ in range(5):
        result = lifted_bound(
            LipschitzProblem(network=network), generator=generator, search_rank=1
        )
        ranks.append(result.search_rank)
        assert bound_of(result) >= optimum * (1.0 - 1e-6)
        if result.status is Status.CONVERGED:
            assert bound_of(result) <= optimum * (1.0 + 2e-4)
        else:
            assert result.status is Status.STALLED
    assert max(ranks) in {2, 4, 8}


@pytest.mark.parametrize("rank", [0, -3])
def test_no_column_at_all_is_refused(rank: int, generator: torch.Generator) -> None:
    problem = LipschitzProblem(network=CASES["concat"])
    with pytest.raises(InputError, match=rf"at least 1; got {rank}"):
        lifted_bound(problem, generator=generator, search_rank=rank)


# Ends


@pytest.mark.parametrize("norm", NORMS)
def test_few_steps_give_a_looser_bound_and_say_so(
    norm: Norm, generator: torch.Generator
) -> None:
    network = CASES["trained-deep"]
    problem = LipschitzProblem(network=network, norm=norm)
    result = lifted_bound(problem, generator=generator, max_steps=4, rtol=1e-7)
    assert result.status is Status.MAX_STEPS
    assert result.gap > 1e-7
    assert bound_of(result) >= some_pattern(network, norm) * (1.0 - 1e-11)
    best = lifted_bound(problem, generator=generator, rtol=1e-5)
    assert bound_of(best) < bound_of(result)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("when", [1, 7])
def test_an_interrupted_run_returns_a_valid_bound(
    when: int, norm: Norm, generator: torch.Generator
) -> None:
    network = CASES["relu-3-5-4-2"]
    calls: list[int] = []

    def stop(step: int, _: LiftedState) -> None:
        calls.append(step)
        if len(calls) == when:
            raise KeyboardInterrupt

    problem = LipschitzProblem(network=network, norm=norm)
    result = lifted_bound(problem, generator=generator, rtol=1e-9, observers=[stop])
    assert result.status is Status.INTERRUPTED
    assert len(calls) == when  # no other run begins
    if when > 1:
        assert bound_of(result) >= some_pattern(network, norm) * (1.0 - 1e-11)


def test_l1_stops_when_it_is_interrupted_between_columns(
    generator: torch.Generator,
) -> None:
    network = random_chain(generator, (5, 6, 2))
    steps: list[int] = []

    def stop(step: int, _: LiftedState) -> None:
        steps.append(step)
        if steps.count(1) == 2:  # the first column, after the run for l2
            raise KeyboardInterrupt

    problem = LipschitzProblem(network=network, norm="l1")
    result = lifted_bound(problem, generator=generator, rtol=1e-9, observers=[stop])
    assert result.status is Status.INTERRUPTED
    assert steps.count(1) == 2
    assert bound_of(result) >= some_pattern(network, "l1") * (1.0 - 1e-11)


def test_an_observer_may_end_the_run(generator: torch.Generator) -> None:
    problem = LipschitzProblem(network=CASES["trained-deep"])
    result = lifted_bound(
        problem,
        generator=generator,
        rtol=1e-12,
        observers=[lambda step, _: Status.MAX_STEPS if step == 30 else None],
    )
    assert (result.status, result.num_steps) == (Status.MAX_STEPS, 30)


@pytest.mark.parametrize("norm", NORMS)
def test_an_overflow_proves_nothing(norm: Norm, generator: torch.Generator) -> None:
    weight = torch.full((2, 2), 1e170, dtype=torch.float64)
    for activation in (RELU, None):
        network = chain([(weight, None, activation), (weight, None, None)])
        problem = LipschitzProblem(network=network, norm=norm)
        result = lifted_bound(problem, generator=generator)
        assert result.status is Status.NON_FINITE
        assert (result.bound, result.witness, result.gap) == (None, (), math.inf)


# Precision, repetition, size


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["relu-3-5-4-2", "residual", "conv2d"])
def test_a_search_in_float32_is_certified_in_float64(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=CASES[name], norm=norm)
    low = lifted_bound(
        problem, generator=generator, rtol=1e-3, search_dtype=torch.float32
    )
    high = lifted_bound(problem, generator=generator, rtol=1e-5)
    assert low.status is Status.CONVERGED
    # At most one step of float32 below the best bound there is.
    assert bound_of(low) >= high.lifted_value
    assert bound_of(low) <= bound_of(high) * (1.0 + 2e-3)
    for part in low.witness:
        assert {m.dtype for m in (part.inputs, *part.neurons)} == {torch.float64}
    assert certify(problem, low.witness).value == bound_of(low)


@pytest.mark.parametrize("norm", NORMS)
def test_a_run_depends_on_its_generator_alone(norm: Norm) -> None:
    problem = LipschitzProblem(network=CASES["conv1d"], norm=norm)
    with torch.no_grad():
        first = lifted_bound(problem, generator=make_generator(0), max_steps=40)
    again = lifted_bound(problem, generator=make_generator(0), max_steps=40)
    other = lifted_bound(problem, generator=make_generator(1), max_steps=40)
    assert bound_of(first) == bound_of(again) != bound_of(other)
    assert first.amplitudes == again.amplitudes


def test_the_gap_asked_for_depends_on_the_size() -> None:
    assert default_rtol(CASES["conv1d"]) == 1e-4
    row, column = torch.ones(10_001, 1), torch.ones(1, 10_001)
    assert default_rtol(chain([(row, None, RELU), (column, None, None)])) == 1e-2
    assert default_rtol(chain([(row[1:], None, RELU)])) == 1e-4


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["relu-3-5-4-2", "residual", "gelu-2-4-3-1"])
def test_what_elimination_cannot_hold_is_probabilistic(
    name: str, norm: Norm, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = LipschitzProblem(network=CASES[name], norm=norm)
    # For l1 inputs the bound for l2 is used.
    twin: Norm = "l2" if norm == "l1" else norm
    exact = lifted_bound(
        LipschitzProblem(network=CASES[name], norm=twin), generator=generator
    )
    monkeypatch.setattr(certify_module, "MAX_BLOCK_ENTRIES", 0)
    result = lifted_bound(problem, generator=generator, rtol=1e-3)
    assert result.bound is not None
    assert result.status is Status.CONVERGED
    assert result.bound.arithmetic == "probabilistic"
    assert result.bound.failure_probability == 1e-9
    assert "Lanczos" in result.bound.method
    assert exact.lifted_value * (1.0 - 1e-4) <= result.bound.value
    assert result.bound.value <= bound_of(exact) * (1.0 + 2e-3)
    if norm == "l1":
        assert (result.lifted_value, result.gap) == (0.0, math.inf)
    else:
        assert result.gap <= 1e-3 * (1.0 + 1e-9)
    # Another draw accepts the witness, too.
    again = certify(problem, result.witness, generator=make_generator(9))
    assert again.value == result.bound.value


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_where_elimination_is_slow_it_only_has_the_last_word(
    norm: Norm, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = LipschitzProblem(network=CASES["relu-3-5-4-2"], norm=norm)
    monkeypatch.setattr(lifted_bound_module, "_QUICK_WORK", 0)
    result = lifted_bound(problem, generator=generator, rtol=1e-3)
    assert result.bound is not None
    assert (result.bound.arithmetic, result.status) == ("float", Status.CONVERGED)
    assert result.gap <= 1e-3


@pytest.mark.parametrize("num_failures", [1, 3])
def test_multipliers_refused_at_the_end_are_raised_a_little(
    num_failures: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unlucky last draw of Lanczos costs a share of the bound, not the run."""
    calls: list[Multipliers] = []

    def unlucky(
        problem: LipschitzProblem, witness: tuple[Multipliers], **_: Any
    ) -> Bound:
        calls.append(witness[0])
        if len(calls) <= num_failures:
            raise CertificateError("an unlucky draw")
        return certify(problem, witness)

    monkeypatch.setattr(lifted_bound_module, "certify", unlucky)
    problem = LipschitzProblem(network=CASES["residual"])
    result = lifted_bound(problem, generator=generator)
    for before, after in itertools.pairwise(calls):
        assert bool((after.inputs > before.inputs).all())
    if num_failures == 3:
        assert (len(calls), result.bound, result.witness) == (3, None, ())
    else:
        assert result.witness == (calls[1],)
        assert bound_of(result) == certify(problem, (calls[1],)).value
        assert 0.0 < result.gap <= 2e-3
