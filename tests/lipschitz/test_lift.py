"""The lifted network: what it computes, how it climbs, and what it proves."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cases import NETWORKS, RELU, normal, random_chain
from forms import proving_multipliers
from oracles import form_of, gradients, lipsdp_value_graph
from tacit.errors import Status
from tacit.iterate import iterate
from tacit.lipschitz import lift
from tacit.lipschitz.certify import Multipliers, certify
from tacit.lipschitz.lift import LiftedAscent, LiftedPoint, LiftedState
from tacit.lipschitz.network import Network, chain, run
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.rng import make_generator

CASES = {name: build(make_generator(0, name)) for name, build in NETWORKS.items()}
SOLVER = LiftedAscent()
NORMS: tuple[Norm, ...] = ("l2", "linf")


def start(
    problem: LipschitzProblem, rank: int, generator: torch.Generator
) -> LiftedState:
    return SOLVER.init(problem, lift.random_start(problem, rank, generator))


def assert_feasible(
    problem: LipschitzProblem, point: LiftedPoint, rank: int, *, may_vanish: bool
) -> None:
    """Unit vectors everywhere; zero is allowed where nothing reads a neuron."""
    shapes = problem.network.site_shapes[:-1]
    tensors = [point.inputs, *point.directions]
    assert [tuple(t.shape) for t in tensors] == [(rank, *shape) for shape in shapes]
    if problem.norm == "l2":
        assert float(torch.linalg.vector_norm(tensors.pop(0))) == pytest.approx(1.0)
    for tensor in tensors:
        length = torch.linalg.vector_norm(tensor, dim=0)
        ones = torch.ones_like(length)
        expected = torch.where(length == 0.0, 0.0, ones) if may_vanish else ones
        torch.testing.assert_close(length, expected)


# Points


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["conv2d", "residual", "one-input", "linear"])
def test_starts_and_widened_points_are_feasible(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=CASES[name], norm=norm)
    point = lift.random_start(problem, 5, generator)
    assert_feasible(problem, point, 5, may_vanish=False)
    wide = lift.widened(problem, point, generator)
    assert_feasible(problem, wide, 10, may_vanish=False)
    values = [SOLVER.init(problem, p).value for p in (point, wide)]
    assert values[1] == pytest.approx(values[0], rel=0.05)
    assert bool((wide.inputs[5:] != 0.0).all())


def test_a_start_depends_on_its_generator_alone() -> None:
    problem = LipschitzProblem(network=CASES["residual"])
    first, again, other = (
        lift.random_start(problem, 3, make_generator(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first.inputs, again.inputs)
    assert all(map(torch.equal, first.directions, again.directions))
    assert not torch.equal(first.inputs, other.inputs)


def test_a_point_is_converted_as_a_whole(generator: torch.Generator) -> None:
    problem = LipschitzProblem(network=CASES["residual"])
    point = lift.random_start(problem, 3, generator)
    low = lift.converted(point, dtype=torch.float32, device="cpu")
    assert {t.dtype for t in (low.inputs, *low.directions)} == {torch.float32}
    torch.testing.assert_close(low.inputs.double(), point.inputs, rtol=1e-6, atol=1e-7)
    working = LipschitzProblem(network=problem.network.to(dtype=torch.float32))
    state = SOLVER.step(working, SOLVER.init(working, low))
    assert state.point.inputs.dtype == torch.float32
    assert state.value == pytest.approx(
        SOLVER.step(problem, SOLVER.init(problem, point)).value, rel=1e-4
    )
    # What is handed to the checker is in float64 all the same.
    part = lift.multipliers(problem, state)
    assert {t.dtype for t in (part.inputs, *part.neurons)} == {torch.float64}


@pytest.mark.parametrize(
    ("sizes", "rank"),
    [((1, 1), 3), ((2, 3, 1), 4), ((2, 49, 1), 11), ((2, 999, 1), 24)],
)
def test_the_default_rank_is_that_of_generic_programmes(
    sizes: tuple[int, ...], rank: int, generator: torch.Generator
) -> None:
    network = random_chain(generator, sizes)
    assert lift.default_search_rank(network) == rank
    if rank < 24:
        # A solution of this rank exists: k (k + 1) / 2 exceeds the constraints.
        assert rank * (rank + 1) / 2 > network.num_neurons + 1


# Values


@pytest.mark.parametrize("name", CASES)
def test_one_column_with_signs_is_a_slope_pattern(
    name: str, generator: torch.Generator
) -> None:
    """With u = +-1 and one column, z is the largest or the smallest slope times y."""
    network = CASES[name]
    form = form_of(network)
    x = normal(generator, 1, *network.in_shape)
    x = x / x.norm()
    signs = [torch.sign(normal(generator, 1, *s)) for s in network.site_shapes[1:-1]]
    point = LiftedPoint(inputs=x, directions=tuple(signs))
    problem = LipschitzProblem(network=network)
    value = SOLVER.init(problem, point).value
    # r |y| u is r y for u = sign(y): the slopes follow from a run.
    chosen: list[Tensor] = []

    def activate(site: int, y: Tensor) -> Tensor:
        low, high = network.activations[site - 1].slopes
        is_high = torch.sign(y) * signs[site - 1] > 0.0
        slope = torch.full_like(y, low).masked_fill(is_high, high)
        chosen.append(slope.reshape(-1))
        return slope * y

    run(network, x, activate, shift=False)
    pattern = torch.cat([*chosen, torch.zeros(0)]).numpy()[None]
    moved = form.output @ gradients(form, pattern)[0] @ x.reshape(-1).numpy()
    assert value == pytest.approx(float(moved @ moved), rel=1e-9, abs=1e-300)
    sizes = lift.amplitudes(problem, point)
    assert len(sizes) == len(network.site_shapes)
    assert sizes[0] == pytest.approx(1.0)
    assert sizes[-1] ** 2 == pytest.approx(value, rel=1e-12)
    stack = gradients(form, pattern)[0] @ x.reshape(-1).numpy()
    for size, begin, end in zip(
        sizes[1:-1], form.starts[:-1], form.starts[1:], strict=True
    ):
        expected = float(np.linalg.norm(stack[begin:end]))
        assert size == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", CASES)
def test_no_point_exceeds_what_is_certified(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    """Weak duality, with multipliers that have nothing to do with the search."""
    problem = LipschitzProblem(network=CASES[name], norm=norm)
    certified = certify(problem, (proving_multipliers(problem.network),)).value
    for rank in (1, 2, 6):
        state = start(problem, rank, generator)
        for _ in range(15):
            assert math.sqrt(state.value) <= certified * (1.0 + 1e-9)
            state = SOLVER.step(problem, state)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", CASES)
def test_without_momentum_every_step_climbs(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=CASES[name], norm=norm)
    state = start(problem, 4, generator)
    state = SOLVER.step(problem, state)  # evaluates the start itself
    for _ in range(20):
        before = state.value
        state = SOLVER.step(problem, replace(state, momentum=0.0))
        assert state.value >= before * (1.0 - 1e-12)
        if before > 0.0:
            assert_feasible(problem, state.point, 4, may_vanish=True)


@pytest.mark.parametrize("name", ["relu-2-4-4-4-1-unbiased", "concat", "batch-norm"])
def test_momentum_grows_until_the_value_falls(
    name: str, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=CASES[name])
    state = start(problem, 6, generator)
    assert (state.momentum, state.num_idle_steps) == (0.0, 0)
    num_restarts, largest = 0, 0.0
    for _ in range(150):
        after = SOLVER.step(problem, state)
        if after.value < state.value:
            assert after.momentum == 0.0
            num_restarts += 1
        else:
            grown = min(state.momentum + 0.03, 0.98)
            assert after.momentum == pytest.approx(grown)
        assert after.best_value == max(after.value, state.best_value)
        has_risen = after.value > state.best_value * (1.0 + SOLVER.stall_rtol)
        idle = 0 if has_risen else state.num_idle_steps + 1
        assert after.num_idle_steps == idle
        assert after.previous is state.point
        largest = max(largest, after.momentum)
        state = after
    assert num_restarts >= 1
    assert largest >= 0.3


def test_the_momentum_is_capped(generator: torch.Generator) -> None:
    problem = LipschitzProblem(network=CASES["concat"])
    state = start(problem, 6, generator)
    state = SOLVER.step(problem, state)
    high = replace(state, momentum=0.97, value=0.0)  # a value that cannot fall
    assert SOLVER.step(problem, high).momentum == 0.98


# Optima

SMALL = [
    "relu-3-5-4-2",
    "tanh-2-4-3-1",
    "sigmoid-2-4-3-1",
    "gelu-2-4-3-1",
    "leaky_relu-2-4-3-1",
    "leaky-above-one",
    "leaky-negative",
    "abs-2-4-3-1",
    "residual",
    "concat",
    "conv1d",
    "linear",
    "ends-in-activation",
]


def climb(problem: LipschitzProblem, generator: torch.Generator) -> LiftedState:
    rank = lift.default_search_rank(problem.network)
    point = lift.random_start(problem, rank, generator)
    solver = LiftedAscent(stall_rtol=1e-15)
    solution = iterate(problem, solver, point, max_steps=3000)
    assert solution.status in {Status.STALLED, Status.MAX_STEPS}
    # Settle: a last step from a point that momentum has not pushed.
    return solver.step(problem, replace(solution.state, momentum=0.0))


@pytest.mark.oracle
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", SMALL)
def test_the_ascent_ends_at_the_optimum_of_the_semidefinite_programme(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=CASES[name], norm=norm)
    state = climb(problem, generator)
    optimum, _, _ = lipsdp_value_graph(problem.network, norm)
    assert math.sqrt(state.best_value) == pytest.approx(optimum, rel=1e-6)
    # Strong duality: the multipliers read off there prove nearly the same.
    part = lift.multipliers(problem, state)
    part = lift.inflated(problem.network, part, 1e-5)
    bound = certify(problem, (part,))
    assert optimum * (1.0 - 1e-6) <= bound.value <= optimum * (1.0 + 1e-3)


@pytest.mark.parametrize("name", ["relu-3-5-4-2", "residual", "leaky-negative"])
def test_a_fixed_point_is_stationary_on_its_balls(
    name: str, generator: torch.Generator
) -> None:
    network = CASES[name]
    problem = LipschitzProblem(network=network)
    state = climb(problem, generator)
    again = SOLVER.step(problem, replace(state, momentum=0.0))
    pairs = zip(
        (state.point.inputs, *state.point.directions),
        (again.point.inputs, *again.point.directions),
        strict=True,
    )
    for old, new in pairs:
        torch.testing.assert_close(old, new, rtol=0.0, atol=1e-3)
    # Every neuron is on the sphere (z - a y)(b y - z) = 0 summed over the columns.
    found: list[Tensor] = []

    def activate(site: int, y: Tensor) -> Tensor:
        activation = network.activations[site - 1]
        low, high = activation.slopes
        length = torch.linalg.vector_norm(y, dim=0)
        direction = state.point.directions[site - 1]
        z = activation.center * y + activation.radius * length * direction
        found.append(((z - low * y) * (high * y - z)).sum(0) / length.square())
        return z

    output = run(network, state.point.inputs, activate, shift=False)
    for slack in found:
        torch.testing.assert_close(slack, torch.zeros_like(slack), rtol=0, atol=1e-12)
    value = float(output.square().sum())
    assert value == pytest.approx(again.value, rel=1e-12)


# Multipliers


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", CASES)
def test_multipliers_are_positive_numbers_anywhere(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=CASES[name], norm=norm)
    state = start(problem, 3, generator)
    for _ in range(4):
        part = lift.multipliers(problem, state)
        shapes = [tuple(m.shape) for m in (part.inputs, *part.neurons)]
        assert shapes == list(problem.network.site_shapes[:-1])
        for tensor in (part.inputs, *part.neurons):
            assert bool((tensor > 0.0).all())
            assert bool(torch.isfinite(tensor).all())
        state = SOLVER.step(problem, state)


def test_multipliers_of_one_neuron_by_hand() -> None:
    # f(x) = 3 relu(2 x): y = 2, F = 9 z^2, G = 18 z and z = y at the optimum u = 1.
    two, three = (torch.tensor([[v]], dtype=torch.float64) for v in (2.0, 3.0))
    problem = LipschitzProblem(network=chain([(two, None, RELU), (three, None, None)]))
    one = torch.ones(1, 1, dtype=torch.float64)
    state = SOLVER.init(problem, LiftedPoint(inputs=one, directions=(one,)))
    assert state.value == 36.0
    part = lift.multipliers(problem, state)
    assert part.neurons[0].tolist() == [pytest.approx(36.0 / (2.0 * 0.5 * 2.0))]
    assert part.inputs.tolist() == [36.0]
    # lambda (z - 0)(y - z) <= 0 for the lift: Q = 36 x^2 - 18 z (2 x - z) - 9 z^2
    # = 9 (2 x - z)^2, a square, so nothing smaller is proved and nothing is lost.
    inflated = lift.inflated(problem.network, part, 1e-6)
    assert certify(problem, (inflated,)).value == pytest.approx(6.0, rel=1e-5)


@pytest.mark.parametrize("amount", [1e-6, 0.5])
def test_inflation_grows_with_the_depth(amount: float) -> None:
    for name in ("relu-2-4-4-4-1-unbiased", "residual", "concat", "linear"):
        network = CASES[name]
        shapes = network.site_shapes[:-1]
        ones = [torch.ones(shape, dtype=torch.float64) for shape in shapes]
        part = Multipliers(neurons=tuple(ones[1:]), inputs=ones[0])
        inflated = lift.inflated(network, part, amount)
        count = len(network.activations)
        # Both activations of the concatenation are followed by one more each.
        depths = [2, 2, 1] if name == "concat" else list(range(count, 0, -1))
        for neurons, depth in zip(inflated.neurons, depths, strict=True):
            expected = torch.full_like(neurons, (1.0 + amount) ** depth)
            torch.testing.assert_close(neurons, expected, rtol=1e-14, atol=0.0)
        deepest = (1.0 + amount) ** (max(depths, default=0) + 1)
        torch.testing.assert_close(inflated.inputs, deepest * ones[0])


# Ends


def stalled_after(network: Network, generator: torch.Generator) -> int:
    problem = LipschitzProblem(network=network)
    point = lift.random_start(problem, 3, generator)
    solution = iterate(problem, SOLVER, point, max_steps=5000)
    assert solution.status is Status.STALLED
    return solution.num_steps


def test_a_function_that_is_zero_stalls_at_once(generator: torch.Generator) -> None:
    assert stalled_after(CASES["zero"], generator) == 1


def test_the_ascent_stalls_after_idle_steps_only(generator: torch.Generator) -> None:
    # Linear and orthogonal: every point is optimal.
    q, _ = torch.linalg.qr(normal(generator, 3, 3))
    assert stalled_after(chain([(q, None, None)]), generator) <= lift.STALL_STEPS + 1
    assert stalled_after(CASES["residual"], generator) > lift.STALL_STEPS + 10
    state = start(LipschitzProblem(network=CASES["residual"]), 3, generator)
    problem = LipschitzProblem(network=CASES["residual"])
    for idle, status in ((59, None), (60, Status.STALLED)):
        assert SOLVER.status(problem, replace(state, num_idle_steps=idle)) is status
