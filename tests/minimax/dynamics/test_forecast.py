"""What is said before a run against what the run does."""

import math
import statistics

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError, Status
from tacit.iterate import iterate
from tacit.minimax.descent_ascent import (
    AlternatingGDA,
    SimultaneousGDA,
)
from tacit.minimax.dynamics import jacobian as jacobian_module
from tacit.minimax.dynamics.forecast import predict_convergence
from tacit.minimax.dynamics.measured import measured_rate
from tacit.minimax.dynamics.rates import linear_rate
from tacit.minimax.dynamics.spectrum import jacobian_spectrum
from tacit.minimax.matching import MatchingProblem
from tacit.minimax.mean_matching import MeanMatchingGame, draw_start, random_game


@pytest.mark.parametrize("c", [0.1, 0.25, 0.5])
def test_rate_at_the_start_is_near_that_of_the_run(
    c: float, generator: torch.Generator
) -> None:
    of_first: list[float] = []
    of_last: list[float] = []
    for _ in range(7):
        game = random_game(400, 20, 10, 50, generator=generator)
        start = draw_start(game, generator=generator)
        spectrum = jacobian_spectrum(game, start[0])
        solver = SimultaneousGDA(
            min_step=c / spectrum.largest**2, max_step=1.0, atol=1e-12
        )
        prediction = predict_convergence(game, start, solver=solver)
        assert (prediction.verdict, prediction.saddle_exists) == ("expected", True)
        found = iterate(game, solver, start, max_steps=2000)
        assert found.status is Status.CONVERGED
        measured = measured_rate([math.sqrt(value) for value in found.history])
        assert measured is not None
        last = float(
            linear_rate(solver, jacobian_spectrum(game, found.state.min_player))
        )
        of_last.append(measured / last - 1)
        of_first.append(math.log(measured) / math.log(prediction.rate) - 1)
    # A start with little of the slowest mode is faster than its rate for long.
    assert abs(statistics.median(of_last)) < 0.01
    # The start is off by what the Jacobian moves: some ten per cent at k = 20 m.
    assert abs(statistics.median(of_first)) < 0.2


def test_number_of_steps_is_about_right(generator: torch.Generator) -> None:
    game = random_game(2000, 5, 10, 50, generator=generator)
    start = draw_start(game, generator=generator)
    prediction = predict_convergence(game, start, tolerance=1e-8)
    assert prediction.num_steps is not None
    first = float(game.linearise(start[0]).residual.norm())
    found = iterate(game, prediction.solver, start, max_steps=prediction.num_steps)
    last = float(game.linearise(found.state.min_player).residual.norm())
    assert 1e-11 < last / first < 1e-5


def test_no_saddle_is_a_proof(generator: torch.Generator) -> None:
    for _ in range(10):
        game = random_game(10, 12, 3, 9, generator=generator)
        start = draw_start(game, generator=generator)
        found = predict_convergence(
            game, start, solver=AlternatingGDA(min_step=1e-3, max_step=1.0)
        )
        # Fewer columns than entries: a Gaussian target is outside of their span.
        assert (found.verdict, found.saddle_exists) == ("impossible", False)
        assert "at least" in found.reasons[0]


def test_narrow_games_are_not_expected_to_arrive(generator: torch.Generator) -> None:
    seen = 0
    for _ in range(30):
        game = random_game(34, 20, 10, 50, generator=generator)
        found = predict_convergence(game, draw_start(game, generator=generator))
        if found.saddle_exists:
            seen += 1
            assert found.verdict == "not expected"
            assert "more width helps" in found.reasons[1]
    assert seen > 0


def test_unstable_steps_are_named(generator: torch.Generator) -> None:
    game = random_game(200, 5, 4, 20, generator=generator)
    start = draw_start(game, generator=generator)
    found = predict_convergence(
        game, start, solver=SimultaneousGDA(min_step=1e3, max_step=1.0)
    )
    assert found.verdict == "not expected"
    assert "min_step must be below" in found.reasons[1]
    assert found.rate > 1.0
    assert found.num_steps is None


def test_lost_directions_are_named(generator: torch.Generator) -> None:
    # Two parameters cannot steer three features.
    matrix = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    problem = MatchingProblem(
        generator_function=lambda x: matrix @ x,
        min_shape=(2,),
        target=torch.ones(3).double(),
    )
    start = (torch.zeros(2).double(), torch.zeros(3).double())
    found = predict_convergence(problem, start)
    assert (found.verdict, found.saddle_exists) == ("not expected", None)
    assert "lacks directions" in found.reasons[1]
    assert found.jacobian_change == math.inf


def test_change_ahead_is_that_of_the_linearised_solution(
    generator: torch.Generator,
) -> None:
    matrix = torch.randn(2, 3, generator=generator, dtype=torch.float64)

    def curved(x: Tensor) -> Tensor:
        return matrix @ x + (matrix @ x) ** 2 / 10

    problem = MatchingProblem(
        generator_function=curved,
        min_shape=(3,),
        target=torch.tensor([0.1, -0.2]).double(),
    )
    x = torch.zeros(3).double()
    found = predict_convergence(problem, (x, torch.zeros(2).double()))
    step = torch.linalg.lstsq(matrix, problem.target).solution
    after = matrix + torch.diag(matrix @ step / 5) @ matrix
    change = float(torch.linalg.matrix_norm(after - matrix, 2))
    smallest = float(torch.linalg.svdvals(matrix)[-1])
    assert found.jacobian_change == pytest.approx(change / smallest, rel=1e-9)


def test_a_small_change_is_a_guarantee(generator: torch.Generator) -> None:
    matrix = torch.linalg.qr(torch.randn(4, 4, generator=generator).double())[0]

    def shaken(x: Tensor) -> Tensor:
        return matrix @ x + 1e-3 * torch.sin(x)

    problem = MatchingProblem(
        generator_function=shaken,
        min_shape=(4,),
        target=torch.full((4,), 0.1).double(),
    )
    start = (torch.zeros(4).double(), torch.zeros(4).double())
    found = predict_convergence(
        problem,
        start,
        solver=AlternatingGDA(min_step=0.7, max_step=1.0),
        jacobian_change=1e-3,
    )
    assert (found.verdict, found.saddle_exists) == ("guaranteed", True)
    assert found.guarantee is not None
    assert found.guarantee.rate < 0.5
    without = predict_convergence(
        problem, start, solver=AlternatingGDA(min_step=0.7, max_step=1.0)
    )
    assert (without.verdict, without.saddle_exists) == ("expected", None)
    assert without.guarantee is None


def test_large_problems_are_judged_without_their_jacobian(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = torch.linalg.qr(torch.randn(4, 4, generator=generator).double())[0]

    def rotated(x: Tensor) -> Tensor:
        return matrix @ x

    problem = MatchingProblem(
        generator_function=rotated,
        min_shape=(4,),
        target=torch.ones(4).double(),
    )
    monkeypatch.setattr(jacobian_module, "DENSE_ENTRIES", 3)
    start = (torch.zeros(4).double(), torch.zeros(4).double())
    solver = AlternatingGDA(min_step=0.5, max_step=1.0)
    found = predict_convergence(problem, start, solver=solver)
    assert found.verdict == "expected"
    assert math.isnan(found.jacobian_change)
    assert found.rate == pytest.approx(0.5, rel=1e-6)


def test_target_on_a_cone_that_may_not_be_filled(generator: torch.Generator) -> None:
    # All latents zero: nothing but 0 is reached, so the cone is not exact.
    game = MeanMatchingGame(
        output_weights=torch.eye(2).double(),
        latents=torch.zeros(3, 2).double(),
        target=torch.ones(2).double(),
    )
    start = draw_start(game, generator=generator)
    solver = AlternatingGDA(min_step=0.5, max_step=1.0)
    found = predict_convergence(game, start, solver=solver)
    assert (found.verdict, found.saddle_exists) == ("not expected", None)


def test_bad_questions_are_refused(generator: torch.Generator) -> None:
    game = random_game(8, 2, 3, 5, batch=(2,), generator=generator)
    start = draw_start(game, generator=generator)
    with pytest.raises(ShapeError, match="batch"):
        predict_convergence(game, start)
    single = random_game(8, 2, 3, 5, generator=generator)
    for tolerance in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="tolerance"):
            predict_convergence(
                single, draw_start(single, generator=generator), tolerance=tolerance
            )
