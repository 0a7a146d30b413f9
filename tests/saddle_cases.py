"""Small saddle problems of every kind, each with a point: batched ones have a batch.

``SADDLES`` maps a name to a builder that takes a generator; a test in
``minimax/test_problem.py`` holds that every final problem occurs.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tacit.minimax.generators import (
    deep_relu_generator,
    draw_parameters,
    generator_problem,
)
from tacit.minimax.mean_matching import draw_start, random_game
from tacit.minimax.problem import AbstractSaddleProblem, FunctionProblem
from tacit.minimax.quadratic import bilinear_game, random_quadratic_game
from tacit.minimax.random_features import random_features

SaddleCase = tuple[AbstractSaddleProblem, Tensor, Tensor]
SaddleBuilder = Callable[[torch.Generator], SaddleCase]


def draw(
    generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Standard normal entries, drawn in double precision."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _wave(x: Tensor, y: Tensor) -> Tensor:
    return (x.sin() @ y).sum() + (x**4).sum() / 4 - (y**2).sum() / 2


def _function(*batch: int) -> SaddleBuilder:
    def build(generator: torch.Generator) -> SaddleCase:
        problem = FunctionProblem(function=_wave, min_shape=(3, 2), max_shape=(2,))
        return problem, draw(generator, *batch, 3, 2), draw(generator, *batch, 2)

    return build


def _number(generator: torch.Generator) -> SaddleCase:
    problem = FunctionProblem(
        function=lambda x, y: x * y + x**2 - y**2, min_shape=(), max_shape=()
    )
    return problem, draw(generator), draw(generator)


def _mean_matching(
    *batch: int, more: tuple[int, ...] = (), dtype: torch.dtype = torch.float64
) -> SaddleBuilder:
    def build(generator: torch.Generator) -> SaddleCase:
        game = random_game(7, 3, 4, 6, batch=batch, dtype=dtype, generator=generator)
        weights, scores = draw_start(game, generator=generator)
        weights = weights + draw(generator, *more, *weights.shape, dtype=dtype)
        scores = scores + draw(generator, *more, *scores.shape, dtype=dtype)
        return game, weights, scores

    return build


def _quadratic(*batch: int, more: tuple[int, ...] = ()) -> SaddleBuilder:
    def build(generator: torch.Generator) -> SaddleCase:
        game = random_quadratic_game(
            4,
            3,
            curvature=(1.0, 5.0),
            coupling=(0.5, 3.0),
            concavity=(0.5, 2.0),
            batch=batch,
            generator=generator,
        )
        x, y = draw(generator, *more, *batch, 4), draw(generator, *more, *batch, 3)
        return game, x, y

    return build


def _bilinear(generator: torch.Generator) -> SaddleCase:
    game = bilinear_game(draw(generator, 3, 3))
    return game, draw(generator, 3), draw(generator, 3)


def _deep(*batch: int) -> SaddleBuilder:
    def build(generator: torch.Generator) -> SaddleCase:
        deep = deep_relu_generator(
            draw(generator, 6, 3), (5, 4), output_weights=draw(generator, 2, 4)
        )
        problem = generator_problem(deep, draw(generator, 9, 2))
        theta = draw_parameters(deep, batch=batch, generator=generator)
        return problem, theta, draw(generator, *batch, 2)

    return build


def _features(generator: torch.Generator) -> SaddleCase:
    deep = deep_relu_generator(draw(generator, 6, 3), (5,), sample_dim=2)
    features = random_features("fourier", 4, 2, generator=generator)
    problem = generator_problem(deep, draw(generator, 9, 2), features=features)
    theta = draw_parameters(deep, batch=(3,), generator=generator)
    return problem, theta, draw(generator, 3, 4)


SADDLES: dict[str, SaddleBuilder] = {
    "function": _function(),
    "function of numbers": _number,
    "function, batch": _function(2, 3),
    "mean matching": _mean_matching(),
    "mean matching, batch": _mean_matching(3),
    "mean matching, many starts": _mean_matching(2, more=(3,)),
    "mean matching, float32": _mean_matching(2, dtype=torch.float32),
    "quadratic": _quadratic(),
    "quadratic, batch": _quadratic(3),
    "quadratic, many starts": _quadratic(2, more=(3,)),
    "bilinear": _bilinear,
    "deep generator": _deep(),
    "deep generator, batch": _deep(3),
    "random features, batch": _features,
}
