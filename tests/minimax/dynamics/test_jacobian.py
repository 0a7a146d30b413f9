"""Jacobians against torch.autograd on formulas written here."""

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.dynamics import jacobian as jacobian_module
from tacit.minimax.dynamics.jacobian import (
    active_means,
    is_dense,
    jacobian,
    jacobian_distance,
    jacobian_gram,
)
from tacit.minimax.matching import MatchingProblem
from tacit.minimax.mean_matching import (
    MeanMatchingGame,
    draw_start,
    member,
    random_game,
)


def by_autograd(game: MeanMatchingGame, weights: Tensor) -> Tensor:
    """Dense Jacobian of the mean output, parameters flattened."""

    def output(flat: Tensor) -> Tensor:
        hidden = torch.relu(game.latents @ flat.reshape(weights.shape).mT)
        return game.output_weights @ hidden.mean(0)

    found = torch.autograd.functional.jacobian(output, weights.reshape(-1))
    assert isinstance(found, Tensor)
    return found


def smooth(generator: torch.Generator, *, features: int, size: int) -> MatchingProblem:
    matrix = torch.randn(features, size, generator=generator, dtype=torch.float64)
    return MatchingProblem(
        generator_function=lambda x: torch.tanh(matrix @ x) + (matrix @ x) ** 2,
        min_shape=(size,),
        target=torch.zeros(features, dtype=torch.float64),
    )


def point(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_jacobian_of_the_game_is_that_of_autograd(generator: torch.Generator) -> None:
    game = random_game(9, 4, 3, 7, generator=generator)
    weights, _ = draw_start(game, generator=generator)
    wanted = by_autograd(game, weights)
    torch.testing.assert_close(jacobian(game, weights), wanted)
    torch.testing.assert_close(jacobian_gram(game, weights), wanted @ wanted.mT)


def test_a_batch_is_its_members(generator: torch.Generator) -> None:
    game = random_game(6, 3, 2, 5, batch=(2, 3), generator=generator)
    weights, _ = draw_start(game, generator=generator)
    dense, gram = jacobian(game, weights), jacobian_gram(game, weights)
    for i in range(2):
        for j in range(3):
            own = by_autograd(member(game, (i, j)), weights[i, j])
            torch.testing.assert_close(dense[i, j], own)
            torch.testing.assert_close(gram[i, j], own @ own.mT)


@pytest.mark.parametrize("chunk", [1, 10, 10**6])
def test_any_generator_by_chunks(
    chunk: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jacobian_module, "_CHUNK_ENTRIES", chunk)
    problem = smooth(generator, features=5, size=4)
    x = point(generator, 4)
    wanted = torch.autograd.functional.jacobian(problem.generator_function, x)
    assert isinstance(wanted, Tensor)
    torch.testing.assert_close(jacobian(problem, x), wanted)
    batch = torch.stack((x, point(generator, 4)))
    torch.testing.assert_close(jacobian(problem, batch)[0], wanted)


def test_gram_without_a_stored_jacobian(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = smooth(generator, features=5, size=4)
    x = point(generator, 2, 4)
    rows = jacobian(problem, x)
    monkeypatch.setattr(jacobian_module, "DENSE_ENTRIES", 3)
    assert not is_dense(problem, x)
    torch.testing.assert_close(jacobian_gram(problem, x), rows @ rows.mT)
    with pytest.raises(InputError, match="at most 3 entries; got 5 x 4"):
        jacobian_distance(problem, x[0], x[1])


def test_distance_is_the_spectral_norm_of_the_difference(
    generator: torch.Generator,
) -> None:
    game = random_game(9, 4, 3, 7, generator=generator)
    one, _ = draw_start(game, generator=generator)
    two, _ = draw_start(game, generator=generator)
    moved = by_autograd(game, one) - by_autograd(game, two)
    wanted = float(torch.linalg.matrix_norm(moved, 2))
    assert jacobian_distance(game, one, two) == pytest.approx(wanted, rel=1e-12)
    problem = smooth(generator, features=5, size=4)
    x, y = point(generator, 4), point(generator, 4)
    moved = jacobian(problem, x) - jacobian(problem, y)
    wanted = float(torch.linalg.matrix_norm(moved, 2))
    assert jacobian_distance(problem, x, y) == pytest.approx(wanted, rel=1e-12)


def test_active_means_count_who_is_active(generator: torch.Generator) -> None:
    game = random_game(6, 3, 2, 5, generator=generator)
    weights, _ = draw_start(game, generator=generator)
    for row, mean in zip(weights, active_means(game, weights), strict=True):
        wanted = sum(z for z in game.latents if float(row @ z) > 0) / 5
        torch.testing.assert_close(mean, torch.as_tensor(wanted) + torch.zeros(2))


def test_a_player_that_does_not_fit_is_refused(generator: torch.Generator) -> None:
    game = random_game(6, 3, 2, 5, generator=generator)
    for function in (jacobian, jacobian_gram):
        with pytest.raises(ShapeError, match="min_player"):
            function(game, point(generator, 5, 2))
