"""Brackets of games with a linear discriminator; cones are not believed."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from cone_cases import exact_minimum
from tacit.errors import CertificateError
from tacit.minimax.generators import (
    deep_relu_generator,
    draw_parameters,
    generator_problem,
)
from tacit.minimax.matching import MatchingProblem, ReachableCone
from tacit.minimax.matching_value import matching_value
from tacit.minimax.mean_matching import MeanMatchingGame, draw_start, random_game


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def plain_residual(game: MeanMatchingGame, weights: Tensor) -> Tensor:
    """The mean of the generator minus the target, as in the paper."""
    hidden = torch.relu(game.latents @ weights.mT)
    return (hidden @ game.output_weights.mT).mean(0) - game.target


def test_bracket_holds_the_exact_value(generator: torch.Generator) -> None:
    for width in (1, 2, 3, 5):
        game = random_game(width, 3, 2, 6, generator=generator)
        start, scores = draw_start(game, generator=generator)
        found = matching_value(game, start, scores)
        exact = exact_minimum(game.output_weights, game.target)
        assert Fraction(found.bracket.lower.value) <= exact
        assert found.bracket.upper.value >= float(exact) * (1 - 1e-12)
        assert found.bracket.upper.value <= float(exact) + 1e-12
        # The upper side is reached by a player, evaluated by the paper's formula.
        assert found.is_attained
        reached = plain_residual(game, found.attaining).square().sum() / 2
        assert float(reached) == pytest.approx(found.bracket.upper.value, abs=1e-14)


def test_quantities_at_a_point(generator: torch.Generator) -> None:
    game = random_game(8, 4, 3, 10, generator=generator)
    weights, _ = draw_start(game, generator=generator)
    scores = normal(generator, 4)
    found = matching_value(game, weights, scores)
    residual = plain_residual(game, weights)
    assert found.primal_value == pytest.approx(float(residual @ residual) / 2)
    assert found.max_player_distance == pytest.approx(float((scores - residual).norm()))
    slope, _ = game.gradients(weights, scores)
    assert found.min_gradient_norm == pytest.approx(float(slope.norm()))
    # Nothing that anybody reaches is below the bracket.
    for _ in range(50):
        other = plain_residual(game, 3 * normal(generator, 8, 3))
        assert float(other @ other) / 2 >= found.bracket.lower.value


def test_upper_side_is_the_point_itself_where_it_is_better(
    generator: torch.Generator,
) -> None:
    game = random_game(30, 4, 3, 10, generator=generator)
    weights, scores = draw_start(game, generator=generator)
    best = matching_value(game, weights, scores).attaining
    again = matching_value(game, best, scores)
    assert again.bracket.upper.value <= again.primal_value
    assert again.bracket.lower.value == 0.0


def test_single_precision_game(generator: torch.Generator) -> None:
    game = random_game(3, 6, 3, 10, dtype=torch.float32, generator=generator)
    weights, scores = draw_start(game, generator=generator)
    found = matching_value(game, weights, scores)
    relative = found.bracket.upper.value / found.bracket.lower.value - 1
    assert 0.0 <= relative < 1e-10


def test_zero_latents_reach_nothing_but_zero() -> None:
    game = MeanMatchingGame(
        output_weights=torch.eye(2).double(),
        latents=torch.zeros(3, 2).double(),
        target=torch.ones(2).double(),
    )
    found = matching_value(game, torch.ones(2, 2).double(), torch.ones(2).double())
    assert not found.is_exact
    assert (found.bracket.lower.value, found.bracket.upper.value) == (0.0, 1.0)


def test_deep_generator_is_bounded_by_its_last_layer(
    generator: torch.Generator,
) -> None:
    deep = deep_relu_generator(
        normal(generator, 6, 3), (5, 4), output_weights=normal(generator, 3, 2, 4)[0]
    )
    target = normal(generator, 9, 2)
    problem = generator_problem(deep, target)
    assert problem.reachable_cone is not None
    for _ in range(10):
        theta = 2 * draw_parameters(deep, generator=generator)
        found = matching_value(problem, theta, torch.zeros(2).double())
        exact = exact_minimum(problem.reachable_cone.columns, problem.target)
        assert Fraction(found.bracket.lower.value) <= exact
        assert found.bracket.upper.value <= found.primal_value


def test_without_a_cone_only_zero_is_known() -> None:
    problem = MatchingProblem(
        generator_function=torch.sin, min_shape=(2,), target=torch.tensor([0.5, 2.0])
    )
    found = matching_value(problem, torch.zeros(2), torch.zeros(2))
    assert found.cone is None
    assert found.bracket.lower.value == 0.0
    assert found.bracket.upper.value == found.primal_value == 2.125


def test_cone_stated_to_be_reached_without_a_witness() -> None:
    problem = MatchingProblem(
        generator_function=torch.square,
        min_shape=(2,),
        target=torch.tensor([4.0, -1.0]).double(),
        cone=ReachableCone(columns=torch.eye(2).double(), is_exact=True),
    )
    found = matching_value(problem, torch.ones(2).double(), torch.zeros(2).double())
    assert found.is_exact
    assert not found.is_attained
    assert found.bracket.upper.value == pytest.approx(0.5)
    assert found.bracket.lower.value == pytest.approx(0.5)


@pytest.mark.parametrize("target", [[-1.0, -1.0], [1.0, 1.0]])
def test_a_cone_that_does_not_hold_the_output_is_refused(target: list[float]) -> None:
    problem = MatchingProblem(
        generator_function=torch.sin,
        min_shape=(2,),
        target=torch.tensor(target).double(),
        cone=ReachableCone(columns=torch.eye(2).double(), is_exact=False),
    )
    inside, outside = torch.tensor([0.5, 0.5]), torch.tensor([-0.5, 0.5])
    scores = torch.zeros(2).double()
    assert matching_value(problem, inside.double(), scores).cone is not None
    with pytest.raises(CertificateError, match="away from it"):
        matching_value(problem, outside.double(), scores)
