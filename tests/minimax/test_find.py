"""The front door, on problems whose answer is known otherwise."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor

from saddle_cases import draw
from tacit.errors import InputError, ShapeError, Status
from tacit.minimax.descent_ascent import AlternatingGDA, SaddleState, SimultaneousGDA
from tacit.minimax.find import find_saddle
from tacit.minimax.generators import (
    deep_relu_generator,
    draw_parameters,
    generator_problem,
)
from tacit.minimax.matching import MatchingProblem
from tacit.minimax.mean_matching import MeanMatchingGame, draw_start, random_game
from tacit.minimax.problem import FunctionProblem
from tacit.minimax.quadratic import bilinear_game, random_quadratic_game, saddle_point


def _game(width: int, generator: torch.Generator) -> tuple[MeanMatchingGame, Tensor]:
    game = random_game(width, 10, 5, 20, generator=generator)
    return game, draw_start(game, generator=generator)[0]


@pytest.mark.parametrize("width", [60, 200])
def test_a_wide_generator_reaches_value_zero_at_the_predicted_rate(
    width: int, generator: torch.Generator
) -> None:
    game, W = _game(width, generator)
    result = find_saddle(game, (W, torch.zeros(10).double()))
    assert result.status is Status.CONVERGED
    assert result.certificate.outcome == "zero-value saddle"
    assert result.is_saddle
    hidden = torch.relu(result.min_player @ game.latents.mT).mean(-1)
    error = (game.output_weights @ hidden - game.target).norm()
    assert error < 1e-8 * game.target.norm()
    assert result.num_steps == len(result.history) < 200
    assert result.predicted_rate is not None
    assert result.measured_rate == pytest.approx(result.predicted_rate, abs=0.1)


def test_a_narrow_generator_settles_at_the_least_possible_value(
    generator: torch.Generator,
) -> None:
    game, W = _game(5, generator)
    result = find_saddle(game, (W, torch.zeros(10).double()))
    assert result.certificate.outcome == "positive-value saddle"
    least = nnls(game.output_weights.numpy(), game.target.numpy())[1] ** 2 / 2
    bracket = result.certificate.bracket
    assert bracket is not None
    assert bracket.lower.value <= least * (1 + 1e-9)
    assert least <= bracket.upper.value * (1 + 1e-9)
    assert result.certificate.primal_value == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("max_steps", [1, 7, 25])
def test_a_given_solver_runs_exactly_as_given(
    max_steps: int, generator: torch.Generator
) -> None:
    game, W = _game(60, generator)
    start = (W, torch.zeros(10).double())
    solver = SimultaneousGDA(min_step=0.2, max_step=1.0)
    result = find_saddle(game, start, solver=solver, max_steps=max_steps)
    state = solver.init(game, start)
    for _ in range(max_steps):
        state = solver.step(game, state)
    assert torch.equal(result.min_player, state.min_player)
    assert torch.equal(result.max_player, state.max_player)
    assert result.status is Status.MAX_STEPS
    assert result.solver is solver
    assert result.certificate.outcome == "not converged"


def test_unstable_steps_are_refused_with_the_limit(generator: torch.Generator) -> None:
    game, W = _game(60, generator)

    def output(weights: Tensor) -> Tensor:
        return game.output_weights @ torch.relu(weights @ game.latents.mT).mean(-1)

    jacobian: Tensor = torch.func.jacrev(output)(W)
    limit = 1.0 / float(torch.linalg.matrix_norm(jacobian.reshape(10, -1), 2)) ** 2
    solver = SimultaneousGDA(min_step=1.01 * limit, max_step=1.0)
    with pytest.raises(InputError, match=f"min_step must be below {limit:.6g}"):
        find_saddle(game, (W, torch.zeros(10).double()), solver=solver)
    stable = SimultaneousGDA(min_step=0.99 * limit, max_step=1.0)
    find_saddle(game, (W, torch.zeros(10).double()), solver=stable, max_steps=3)


def test_a_deep_generator(generator: torch.Generator) -> None:
    latents = draw(generator, 20, 4)
    deep = deep_relu_generator(
        latents, (40, 40), output_weights=draw(generator, 6, 40) / 40**0.5
    )
    problem = generator_problem(deep, draw(generator, 1, 6))
    theta = draw_parameters(deep, generator=generator)
    result = find_saddle(problem, (theta, torch.zeros(6).double()))
    assert result.certificate.outcome == "zero-value saddle"


def test_a_curved_game(generator: torch.Generator) -> None:
    game = random_quadratic_game(
        4,
        3,
        curvature=(0.1, 2.0),
        coupling=(0.5, 3.0),
        concavity=(0.1, 2.0),
        generator=generator,
    )
    x, y = saddle_point(game)
    result = find_saddle(game, (torch.zeros(4).double(), torch.zeros(3).double()))
    assert result.certificate.outcome == "saddle"
    assert torch.allclose(result.min_player, x, atol=1e-7)
    assert torch.allclose(result.max_player, y, atol=1e-7)
    assert result.measured_rate == pytest.approx(result.predicted_rate, abs=0.02)


def test_a_bilinear_game_spirals_in_at_the_predicted_rate() -> None:
    game = bilinear_game(torch.diag(torch.tensor([1.0, 2.0])).double())
    start = (torch.ones(2).double(), torch.zeros(2).double())
    result = find_saddle(game, start)
    assert result.status is Status.CONVERGED
    assert result.min_player.norm() + result.max_player.norm() < 1e-8
    assert result.measured_rate == pytest.approx(result.predicted_rate, abs=0.01)


def test_a_function_without_structure_gets_a_local_certificate() -> None:
    game = FunctionProblem(
        function=lambda x, y: x.sin() @ y + (x @ x - y @ y) / 2,
        min_shape=(3,),
        max_shape=(3,),
    )
    start = (torch.ones(3).double(), torch.zeros(3).double())
    result = find_saddle(game, start)
    assert result.certificate.outcome == "local Nash"
    assert result.min_player.norm() < 1e-8


def test_nothing_moves_a_generator_without_a_slope() -> None:
    """All neurons see negative inputs only: the Jacobian is zero."""
    game = MeanMatchingGame(
        output_weights=torch.eye(2).double(),
        latents=torch.ones(3, 1).double(),
        target=torch.ones(2).double(),
    )
    result = find_saddle(game, (-torch.ones(2, 1).double(), torch.zeros(2).double()))
    assert result.status is Status.STALLED
    assert result.certificate.outcome == "not converged"
    assert result.num_steps == 0
    assert "inactive" in result.reason


def test_a_start_that_is_good_enough_is_kept() -> None:
    game = MeanMatchingGame(
        output_weights=torch.eye(2).double(),
        latents=torch.ones(3, 1).double(),
        target=torch.ones(2).double(),
    )
    result = find_saddle(game, (torch.ones(2, 1).double(), torch.zeros(2).double()))
    assert (result.status, result.num_steps) == (Status.CONVERGED, 0)
    assert result.certificate.outcome == "zero-value saddle"
    assert result.measured_rate is None


def test_steps_that_run_away_are_shortened() -> None:
    """At the start the slope is 3 e^-4, near the solution 3: steps are far too long."""
    problem = MatchingProblem(
        generator_function=lambda t: (3 * t).exp() / 3 + t,
        min_shape=(1,),
        target=torch.tensor([3.0]).double(),
    )
    start = (torch.tensor([-4.0]).double(), torch.zeros(1).double())
    result = find_saddle(problem, start)
    assert result.certificate.outcome == "zero-value saddle"
    assert "halved" in result.reason


def test_observers_see_every_step_and_can_end_a_run(
    generator: torch.Generator,
) -> None:
    game, W = _game(60, generator)
    seen: list[int] = []

    def stop(step: int, state: SaddleState) -> Status | None:
        seen.append(step)
        return Status.INTERRUPTED if step == 12 else None

    result = find_saddle(game, (W, torch.zeros(10).double()), observers=(stop,))
    assert result.status is Status.INTERRUPTED
    assert seen == list(range(1, 13))


def test_an_unbounded_game_is_reported_as_divergent() -> None:
    game = FunctionProblem(
        function=lambda x, y: -(x @ x) / 2 + (y @ y) / 2, min_shape=(1,), max_shape=(1,)
    )
    start = (torch.ones(1).double(), torch.ones(1).double())
    result = find_saddle(game, start, max_steps=3000)
    assert result.status in {Status.DIVERGED, Status.MAX_STEPS, Status.NON_FINITE}
    assert result.certificate.outcome == "not converged"


# Refusals


def test_bad_requests_are_refused(generator: torch.Generator) -> None:
    game, W = _game(7, generator)
    d = torch.zeros(10).double()
    with pytest.raises(ShapeError, match="start must have no batch dimensions"):
        find_saddle(game, (W[None], d[None]))
    with pytest.raises(ShapeError, match="max_player must have shape"):
        find_saddle(game, (W, d[:3]))
    with pytest.raises(InputError, match="start must be finite"):
        find_saddle(game, (W * float("nan"), d))
    with pytest.raises(InputError, match="rtol must be in"):
        find_saddle(game, (W, d), rtol=0.0)
    with pytest.raises(InputError, match="max_steps must be at least 1; got 0"):
        find_saddle(game, (W, d), max_steps=0)


def test_large_problems_without_structure_need_a_solver() -> None:
    game = FunctionProblem(
        function=lambda x, y: (x * y).sum() + (x @ x - y @ y) / 2,
        min_shape=(600,),
        max_shape=(600,),
    )
    start = (torch.ones(600).double(), torch.zeros(600).double())
    with pytest.raises(InputError, match="solver must be given"):
        find_saddle(game, start)
    solver = AlternatingGDA(min_step=0.3, max_step=0.3)
    result = find_saddle(game, start, solver=solver, generator=generator_of(3))
    assert result.status is Status.CONVERGED
    assert result.predicted_rate is None


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_certificate_and_the_search_agree_with_numpy(
    generator: torch.Generator,
) -> None:
    """Over widths around twice the features: converged only where a saddle exists."""
    for width in (8, 20, 24, 40):
        game, W = _game(width, generator)
        result = find_saddle(game, (W, torch.zeros(10).double()), max_steps=4000)
        least = nnls(game.output_weights.numpy(), game.target.numpy())[1]
        exists = bool(least < 1e-9 * np.linalg.norm(game.target.numpy()))
        if result.certificate.outcome == "zero-value saddle":
            assert exists
        if result.certificate.outcome == "positive-value saddle":
            assert not exists
