"""What all methods share, and the plain ones against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from saddle_cases import SADDLES, draw
from solver_cases import SOLVER_NAMES, solvers
from tacit.errors import InputError, ShapeError, Status
from tacit.iterate import iterate
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SaddleState,
    SimultaneousGDA,
)
from tacit.minimax.mean_matching import draw_start, random_game
from tacit.minimax.quadratic import QuadraticGame, random_quadratic_game, saddle_point


def _scalar_game(a: float, s: float, c: float) -> QuadraticGame:
    one, zero = torch.ones(1, 1).double(), torch.zeros(1).double()
    return QuadraticGame(
        curvature=a * one,
        coupling=s * one,
        concavity=c * one,
        min_slope=zero,
        max_slope=zero,
    )


def _vector(state: SaddleState) -> Tensor:
    parts = (state.min_player, state.max_player, *state.memory)
    return torch.cat([part.reshape(-1) for part in parts])


def _numerical_matrix(solver: AbstractDescentAscent, game: QuadraticGame) -> Tensor:
    """Return the matrix that takes states to states, by fitting it to runs."""
    generator = torch.Generator().manual_seed(5)
    before: list[Tensor] = []
    after: list[Tensor] = []
    for _ in range(8):
        start = (draw(generator, 1), draw(generator, 1))
        # From the second step on the memory has its final form.
        state = solver.step(game, solver.init(game, start))
        for _ in range(2):
            before.append(_vector(state))
            state = solver.step(game, state)
            after.append(_vector(state))
    solved = torch.linalg.lstsq(torch.stack(before), torch.stack(after))
    return solved.solution.mT


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("game", [(0.0, 1.3, 1.0), (0.5, 0.7, 0.2), (0.0, 2.0, 0.0)])
def test_a_step_on_a_quadratic_game_is_its_transition(
    name: str, game: tuple[float, float, float]
) -> None:
    solver = solvers(0.3, 0.4)[name]
    numbers = [torch.tensor(value, dtype=torch.float64) for value in game]
    found = _numerical_matrix(solver, _scalar_game(*game))
    assert torch.allclose(solver.transition(*numbers), found, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_transitions_of_a_batch_are_those_of_its_members(name: str) -> None:
    solver = solvers(0.3, 0.4)[name]
    a, s = torch.tensor([0.1, 0.2]).double(), torch.tensor([[1.0], [2.0], [0.3]])
    many = solver.transition(a, s.double(), torch.ones(()).double())
    assert many.shape[:2] == (3, 2)
    one = solver.transition(a[1], s[2, 0].double(), torch.ones(()).double())
    assert torch.equal(many[2, 1], one)


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("case", SADDLES)
def test_a_batch_runs_like_its_members(
    name: str, case: str, generator: torch.Generator
) -> None:
    problem, x, y = SADDLES[case](generator)
    is_single = x.dtype == torch.float32
    if x.ndim > len(problem.spec.min_shape):
        # A batch of data belongs to the problem: nothing to compare one by one.
        pairs = (x, y)
    else:
        pairs = (torch.stack((x, -x)), torch.stack((y, y + 1)))
        solver = solvers(0.05, 0.1)[name]
        state = solver.init(problem, pairs)
        alone = [solver.init(problem, (pairs[0][i], pairs[1][i])) for i in range(2)]
        for _ in range(3):
            state = solver.step(problem, state)
            alone = [solver.step(problem, own) for own in alone]
        tolerance = 1e-4 if is_single else 1e-11
        for i in range(2):
            assert torch.allclose(
                state.min_player[i], alone[i].min_player, rtol=tolerance, atol=tolerance
            )
    solver = solvers(0.05, 0.1)[name]
    after = solver.step(problem, solver.init(problem, pairs))
    assert after.min_player.shape == pairs[0].shape
    assert math.isfinite(after.value)


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_the_state_before_a_step_is_not_changed(
    name: str, generator: torch.Generator
) -> None:
    game = random_game(7, 3, 4, 6, generator=generator)
    x, y = draw_start(game, generator=generator)
    kept = (x.clone(), y.clone())
    solver = solvers(0.1, 0.5)[name]
    state = solver.step(game, solver.init(game, (x, y)))
    second = state.min_player.clone()
    solver.step(game, state)
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])
    assert torch.equal(state.min_player, second)


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_every_method_finds_the_saddle_of_a_curved_game(
    name: str, generator: torch.Generator
) -> None:
    game = random_quadratic_game(
        4,
        3,
        curvature=(0.5, 1.0),
        coupling=(0.2, 1.0),
        concavity=(0.5, 1.0),
        generator=generator,
    )
    x, y = saddle_point(game)
    solver = solvers(0.05, 0.05, atol=1e-12)[name]
    found = iterate(game, solver, (x + 1, y - 1), max_steps=5000)
    assert found.status is Status.CONVERGED
    assert torch.allclose(found.state.min_player, x, atol=1e-9)
    assert torch.allclose(found.state.max_player, y, atol=1e-9)


def test_the_value_is_the_squared_length_of_both_gradients(
    generator: torch.Generator,
) -> None:
    game = random_game(7, 3, 4, 6, generator=generator)
    x, y = draw(generator, 7, 4), draw(generator, 3)
    state = SimultaneousGDA(min_step=0.1, max_step=0.1).step(
        game, SimultaneousGDA(min_step=1, max_step=1).init(game, (x, y))
    )
    down, up = game.gradients(x, y)
    assert state.value == pytest.approx(float((down**2).sum() + (up**2).sum()))


# Exactly where theory puts the limits: just inside and just outside.


def _radius(solver: AbstractDescentAscent, lam: float) -> float:
    values = (0.0, lam**0.5, 1.0)
    matrix = solver.transition(*(torch.tensor(v).double() for v in values))
    return float(torch.linalg.eigvals(matrix).abs().max())


def _largest_root(coefficients: list[float]) -> float:
    companion = torch.zeros(2, 2, dtype=torch.complex128)
    companion[0] = torch.tensor([-coefficients[1], -coefficients[2]])
    companion[1, 0] = 1.0
    return float(torch.linalg.eigvals(companion).abs().max())


@pytest.mark.parametrize("eta", [0.05, 0.25, 0.6, 0.99])
@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 1.9])
@pytest.mark.parametrize("lam", [0.3, 1.0])
def test_rates_are_roots_of_the_polynomials(eta: float, mu: float, lam: float) -> None:
    simultaneous = _radius(SimultaneousGDA(min_step=eta, max_step=mu), lam)
    roots = _largest_root([1.0, -(2 - mu), 1 - mu + mu * eta * lam])
    assert simultaneous == pytest.approx(roots, abs=1e-6)
    if mu == 1.0:
        under = 1 / 4 - eta * lam
        closed = 0.5 + under**0.5 if under >= 0 else (1 - (1 - eta * lam)) ** 0.5
        assert simultaneous == pytest.approx(closed, abs=1e-6)
    alternating = _radius(AlternatingGDA(min_step=eta, max_step=mu), lam)
    roots = _largest_root([1.0, -(2 - mu - mu * eta * lam), 1 - mu])
    assert alternating == pytest.approx(roots, abs=1e-6)


@pytest.mark.parametrize("mu", [0.2, 1.0, 1.8])
@pytest.mark.parametrize(("factor", "is_stable"), [(0.99, True), (1.01, False)])
def test_runs_diverge_from_the_stated_limits_on(
    mu: float, factor: float, is_stable: bool
) -> None:
    lam = 1.7
    game = _scalar_game(0.0, lam**0.5, 1.0)
    start = (torch.ones(1).double(), torch.zeros(1).double())
    for solver in (
        SimultaneousGDA(min_step=factor / lam, max_step=mu),
        AlternatingGDA(min_step=factor * (4 - 2 * mu) / (mu * lam), max_step=mu),
    ):
        run = iterate(game, solver, start, max_steps=20_000)
        assert (run.state.value < 1e-6) == is_stable
        assert (run.state.value > 1e6) != is_stable
        if not is_stable:
            assert run.status is Status.DIVERGED


def test_alternating_with_a_full_step_is_gradient_descent(
    generator: torch.Generator,
) -> None:
    game = random_game(30, 5, 4, 9, generator=generator)
    W, y = draw_start(game, generator=generator)
    solver = AlternatingGDA(min_step=0.7, max_step=1.0)
    state = solver.init(game, (W, y))
    own = W.clone()
    for _ in range(20):
        state = solver.step(game, state)
        own = own.requires_grad_()
        output = game.output_weights @ torch.relu(own @ game.latents.mT).mean(-1)
        loss = (output - game.target).square().sum() / 2
        (slope,) = torch.autograd.grad(loss, own)
        own = (own - 0.7 * slope).detach()
    assert torch.allclose(state.min_player, own, rtol=0, atol=1e-12)


def test_alternating_is_the_heavy_ball(generator: torch.Generator) -> None:
    """On a linear generator, where the Jacobian does not change."""
    matrix, target = draw(generator, 4, 6), draw(generator, 4)
    game = QuadraticGame(
        curvature=torch.zeros(6, 6).double(),
        coupling=matrix.mT,
        concavity=torch.eye(4).double(),
        min_slope=torch.zeros(6).double(),
        max_slope=-target,
    )
    mu, eta = 0.6, 0.05
    solver = AlternatingGDA(min_step=eta, max_step=mu)
    x = draw(generator, 6)
    state = solver.init(game, (x, torch.zeros(4).double()))
    before, now = x, x
    for _ in range(30):
        state = solver.step(game, state)
        pull = matrix.mT @ (matrix @ now - target)
        before, now = now, now + (1 - mu) * (now - before) - mu * eta * pull
    assert torch.allclose(state.min_player, now, rtol=0, atol=1e-12)


def test_more_updates_come_closer_to_the_best_response(
    generator: torch.Generator,
) -> None:
    game = random_game(30, 5, 4, 9, generator=generator)
    start = draw_start(game, generator=generator)
    solver = AlternatingGDA(min_step=0.1, max_step=0.5, max_updates=60)
    state = solver.step(game, solver.init(game, start))
    residual = game.linearise(start[0]).residual
    assert torch.allclose(state.max_player, residual, atol=1e-12)


# Refusals


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("steps", [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)])
def test_steps_must_be_positive(name: str, steps: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"(min|max)_step must be positive"):
        _ = solvers(*steps)[name]


def test_other_parameters_are_checked() -> None:
    with pytest.raises(InputError, match="max_updates must be at least 1; got 0"):
        AlternatingGDA(min_step=1, max_step=1, max_updates=0)
    with pytest.raises(InputError, match="atol must be at least 0"):
        SimultaneousGDA(min_step=1, max_step=1, atol=-1.0)


def test_a_start_of_another_shape_is_refused(generator: torch.Generator) -> None:
    game = random_game(7, 3, 4, 6, generator=generator)
    with pytest.raises(ShapeError, match="min_player must have shape"):
        SimultaneousGDA(min_step=1, max_step=1).init(
            game, (torch.zeros(7, 5).double(), torch.zeros(3).double())
        )


def test_a_start_that_is_not_finite_is_refused(generator: torch.Generator) -> None:
    game = random_game(7, 3, 4, 6, generator=generator)
    x, y = draw_start(game, generator=generator)
    y[1] = math.nan
    with pytest.raises(InputError, match="start must be finite"):
        SimultaneousGDA(min_step=1, max_step=1).init(game, (x, y))
