"""The linear view of a run against runs."""

import math

import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.iterate import iterate
from tacit.minimax.consensus import ConsensusOptimisation
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SaddleState,
    SimultaneousGDA,
)
from tacit.minimax.dynamics.history import linear_history
from tacit.minimax.dynamics.measured import measured_rate
from tacit.minimax.dynamics.spectrum import jacobian_spectrum
from tacit.minimax.extrapolation import AlexGDA, Extragradient, OptimisticGradient
from tacit.minimax.matching import AbstractMatchingProblem, MatchingProblem
from tacit.minimax.mean_matching import draw_start, random_game

SOLVERS: dict[str, AbstractDescentAscent] = {
    "simultaneous": SimultaneousGDA(min_step=0.05, max_step=0.7),
    "alternating": AlternatingGDA(min_step=0.05, max_step=0.8, max_updates=2),
    "extragradient": Extragradient(min_step=0.05, max_step=0.5),
    "optimistic": OptimisticGradient(min_step=0.05, max_step=0.4),
    "alex": AlexGDA(min_step=0.05, max_step=0.3),
    "consensus": ConsensusOptimisation(min_step=0.05, max_step=0.2),
}


def run(
    problem: AbstractMatchingProblem,
    solver: AbstractDescentAscent,
    start: tuple[torch.Tensor, torch.Tensor],
    max_steps: int,
) -> tuple[list[SaddleState], list[float]]:
    states: list[SaddleState] = []
    iterate(
        problem,
        solver,
        start,
        max_steps=max_steps,
        observers=[lambda _, state: states.append(state)],
    )
    lengths = [
        float(problem.linearise(state.min_player).residual.norm()) for state in states
    ]
    return states, lengths


@pytest.mark.parametrize("name", SOLVERS)
def test_linear_generators_are_followed_exactly(
    name: str, generator: torch.Generator
) -> None:
    # Three parameters for four features: one direction never moves.
    matrix = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    target = torch.randn(4, generator=generator, dtype=torch.float64)
    problem = MatchingProblem(
        generator_function=lambda x: matrix @ x, min_shape=(3,), target=target
    )
    # Along that direction d starts where it would settle.
    y = matrix @ torch.randn(3, generator=generator, dtype=torch.float64)
    start = (torch.randn(3, generator=generator, dtype=torch.float64), y)
    found = linear_history(SOLVERS[name], problem, start, num_steps=25)
    _, lengths = run(problem, SOLVERS[name], start, 25)
    wanted = [float(problem.linearise(start[0]).residual.norm()), *lengths]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize("c", [0.1, 0.25, 0.5, 0.75])
def test_wide_games_are_followed_within_half_a_per_cent_of_the_log_rate(
    c: float, generator: torch.Generator
) -> None:
    for width in (400, 1000):
        game = random_game(width, 20, 10, 50, generator=generator)
        start = draw_start(game, generator=generator)
        largest = jacobian_spectrum(game, start[0]).largest
        solver = SimultaneousGDA(min_step=c / largest**2, max_step=1.0, atol=1e-12)
        states, lengths = run(game, solver, start, 2000)
        middle = len(states) // 2
        here = states[middle]
        predicted = linear_history(
            solver,
            game,
            (here.min_player, here.max_player),
            num_steps=len(states) - 1 - middle,
            jacobian_at=states[-1].min_player,
        )
        a = measured_rate(lengths[middle:], share=1.0)
        b = measured_rate(predicted, share=1.0)
        assert a is not None
        assert b is not None
        assert math.log(a) / math.log(b) == pytest.approx(1.0, abs=0.005)


def test_a_generator_that_never_moves_keeps_its_residual() -> None:
    problem = MatchingProblem(
        generator_function=lambda x: 0.0 * x,
        min_shape=(2,),
        target=torch.tensor([3.0, 4.0]).double(),
    )
    start = (torch.zeros(2).double(), torch.zeros(2).double())
    found = linear_history(SOLVERS["simultaneous"], problem, start, num_steps=2)
    assert found.tolist() == [5.0, 5.0, 5.0]


def test_what_cannot_be_followed_is_refused(generator: torch.Generator) -> None:
    game = random_game(5, 2, 2, 3, batch=(2,), generator=generator)
    start = draw_start(game, generator=generator)
    with pytest.raises(ShapeError, match="no batch dimensions"):
        linear_history(SOLVERS["simultaneous"], game, start, num_steps=1)
    single = random_game(5, 2, 2, 3, generator=generator)
    start = draw_start(single, generator=generator)
    with pytest.raises(InputError, match="num_steps"):
        linear_history(SOLVERS["simultaneous"], single, start, num_steps=-1)
