"""The record of a run against quantities formed afresh."""

import math
from itertools import pairwise

import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.iterate import iterate
from tacit.minimax.descent_ascent import AlternatingGDA, SaddleState
from tacit.minimax.dynamics.jacobian import jacobian
from tacit.minimax.dynamics.path import PathRecorder
from tacit.minimax.dynamics.rates import linear_rate
from tacit.minimax.matching import MatchingProblem
from tacit.minimax.mean_matching import draw_start, random_game


def test_record_is_what_dense_algebra_says(generator: torch.Generator) -> None:
    game = random_game(40, 4, 3, 12, generator=generator)
    start = draw_start(game, generator=generator)
    solver = AlternatingGDA(min_step=1.0, max_step=0.8)
    recorder = PathRecorder(game, start[0], solver=solver, every=3)
    states: list[SaddleState] = []
    iterate(
        game,
        solver,
        start,
        max_steps=10,
        observers=[recorder, lambda _, state: states.append(state)],
    )
    path = recorder.path()
    assert path.steps.tolist() == [0, 3, 6, 9]
    points = [start[0], *(state.min_player for state in states)]
    first = jacobian(game, points[0])
    for row, step in enumerate(path.steps.tolist()):
        W, J = points[step], jacobian(game, points[step])
        values = torch.linalg.svdvals(J)
        way = sum(float((b - a).norm()) for a, b in pairwise(points[: step + 1]))
        hidden = torch.relu(game.latents @ W.mT).mean(0)
        residual = game.output_weights @ hidden - game.target
        wanted = {
            "residual": float(residual.norm()),
            "distance": float((W - points[0]).norm()),
            "path_length": way,
            "smallest": float(values[-1]),
            "largest": float(values[0]),
            "change": float(torch.linalg.matrix_norm(J - first, 2)),
            "rate": float(linear_rate(solver, values)),
        }
        for name, value in wanted.items():
            found = float(getattr(path, name)[row])
            assert found == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert bool((path.distance <= path.path_length + 1e-12).all())


def test_radius_uses_the_constant_that_was_seen(generator: torch.Generator) -> None:
    # J = diag(1 + x): constant 1, and the run sees it along one axis.
    problem = MatchingProblem(
        generator_function=lambda x: x + x * x / 2,
        min_shape=(3,),
        target=torch.tensor([0.2, 0.0, 0.0]).double(),
    )
    start = (torch.zeros(3).double(), torch.zeros(3).double())
    recorder = PathRecorder(problem, start[0], every=1)
    solver = AlternatingGDA(min_step=0.5, max_step=1.0)
    iterate(problem, solver, start, max_steps=30, observers=[recorder])
    path = recorder.path()
    assert path.measured_lipschitz == pytest.approx(1.0, rel=1e-9)
    assert path.radius() == pytest.approx(0.5, rel=1e-9)
    assert path.radius(2.0) == pytest.approx(0.25, rel=1e-9)
    assert path.stayed_regular
    assert bool(path.rate.isnan().all())
    # To solve x + x^2 / 2 = 0.2 it moves by sqrt(1.4) - 1, straight.
    assert float(path.path_length[-1]) == pytest.approx(math.sqrt(1.4) - 1, rel=1e-6)


def test_a_relu_jacobian_has_no_constant(generator: torch.Generator) -> None:
    # One latent, one neuron: the Jacobian jumps by v z where the neuron turns off.
    game = random_game(1, 1, 1, 1, generator=generator)
    sign = torch.sign(game.latents[0])
    quotients: list[float] = []
    for distance in (1e-2, 1e-4):
        recorder = PathRecorder(game, (sign * distance / 2).reshape(1, 1), every=1)
        moved = SaddleState(
            min_player=(-sign * distance / 2).reshape(1, 1),
            max_player=game.target,
            value=1.0,
        )
        recorder(1, moved)
        path = recorder.path()
        quotients.append(path.measured_lipschitz)
        assert not path.stayed_regular
    assert quotients[1] == pytest.approx(100 * quotients[0], rel=1e-9)


def test_a_run_that_does_not_move_has_no_constant() -> None:
    problem = MatchingProblem(
        generator_function=lambda x: x, min_shape=(2,), target=torch.ones(2).double()
    )
    path = PathRecorder(problem, torch.ones(2).double()).path()
    assert path.measured_lipschitz == 0.0
    assert path.radius() == math.inf


def test_what_cannot_be_followed_is_refused(generator: torch.Generator) -> None:
    game = random_game(5, 2, 2, 3, batch=(2,), generator=generator)
    weights, _ = draw_start(game, generator=generator)
    with pytest.raises(ShapeError, match="batch"):
        PathRecorder(game, weights)
    single = random_game(5, 2, 2, 3, generator=generator)
    with pytest.raises(InputError, match="every"):
        PathRecorder(single, draw_start(single, generator=generator)[0], every=0)
