"""Duality gaps against CVXPY, grids and closed forms; convexity is not believed."""

import math

import cvxpy as cp
import numpy as np
import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.duality_gap import (
    DualityGap,
    as_double,
    check_radii,
    check_single,
    gradient_gap,
    is_convex_concave,
    quadratic_gap,
)
from tacit.minimax.problem import FunctionProblem
from tacit.minimax.quadratic import (
    QuadraticGame,
    bilinear_game,
    random_quadratic_game,
    saddle_point,
)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def strong_game(generator: torch.Generator) -> QuadraticGame:
    return random_quadratic_game(
        4,
        3,
        curvature=(0.5, 4.0),
        coupling=(0.1, 2.0),
        concavity=(0.2, 3.0),
        generator=generator,
    )


def by_cvxpy(
    game: QuadraticGame, x: Tensor, y: Tensor, radii: tuple[float, float] | None
) -> float:
    """Both best responses as convex programs."""
    A, C = game.curvature.numpy(), game.concavity.numpy()
    B, p, q = game.coupling.numpy(), game.min_slope.numpy(), game.max_slope.numpy()
    x_hat, y_hat = x.numpy(), y.numpy()
    u, v = cp.Variable(x.numel()), cp.Variable(y.numel())
    low = cp.quad_form(u, A, assume_PSD=True) / 2 + u @ (B @ y_hat + p)
    low = low - y_hat @ C @ y_hat / 2 + q @ y_hat
    high = -cp.quad_form(v, C, assume_PSD=True) / 2 + v @ (B.T @ x_hat + q)
    high = high + x_hat @ A @ x_hat / 2 + p @ x_hat
    balls_u: list[cp.Constraint] = []
    balls_v: list[cp.Constraint] = []
    if radii is not None:
        balls_u.append(cp.norm(u - x_hat) <= radii[0])
        balls_v.append(cp.norm(v - y_hat) <= radii[1])
    lower = cp.Problem(cp.Minimize(low), balls_u).solve(solver=cp.CLARABEL)
    upper = cp.Problem(cp.Maximize(high), balls_v).solve(solver=cp.CLARABEL)
    assert isinstance(lower, float)
    assert isinstance(upper, float)
    return upper - lower


@pytest.mark.parametrize("radii", [None, (0.1, 0.2), (0.7, 50.0), (30.0, 0.05)])
def test_gap_agrees_with_two_convex_programs(
    radii: tuple[float, float] | None, generator: torch.Generator
) -> None:
    for _ in range(3):
        game = strong_game(generator)
        x, y = normal(generator, 4), normal(generator, 3)
        report = quadratic_gap(game, x, y, radii=radii)
        truth = by_cvxpy(game, x, y, radii)
        assert report.gap == pytest.approx(truth, rel=1e-6)
        assert report.upper - report.lower == pytest.approx(report.gap, rel=1e-12)
        assert report.value == float(game.value(x, y))


def test_gap_of_semidefinite_games_in_balls(generator: torch.Generator) -> None:
    for _ in range(3):
        full = strong_game(generator)
        flat = torch.diag(torch.tensor([2.0, 0.0, 0.0, 1.0]).double())
        game = QuadraticGame(
            curvature=flat,
            coupling=full.coupling,
            concavity=torch.zeros(3, 3).double(),
            min_slope=full.min_slope,
            max_slope=full.max_slope,
        )
        x, y = normal(generator, 4), normal(generator, 3)
        assert quadratic_gap(game, x, y).gap == math.inf
        report = quadratic_gap(game, x, y, radii=(0.5, 2.0))
        assert report.gap == pytest.approx(by_cvxpy(game, x, y, (0.5, 2.0)), rel=1e-5)
        # The linear part in closed form: R |g|.
        slope = float(game.gradients(x, y)[1].norm())
        assert report.max_gain == pytest.approx(2.0 * slope, rel=1e-12)


def test_gap_vanishes_exactly_at_the_saddle(generator: torch.Generator) -> None:
    game = strong_game(generator)
    x, y = saddle_point(game)
    value = float(game.value(x, y))
    assert quadratic_gap(game, x, y).gap <= 1e-24
    for _ in range(20):
        u, v = x + normal(generator, 4) / 10, y + normal(generator, 3) / 10
        report = quadratic_gap(game, u, v)
        assert report.gap > 0.0
        assert report.lower <= value <= report.upper
        nearby = quadratic_gap(game, u, v, radii=(0.01, 0.01))
        assert 0.0 < nearby.gap <= report.gap


def test_bilinear_gap_is_finite_only_at_saddles(generator: torch.Generator) -> None:
    game = bilinear_game(
        normal(generator, 3, 3),
        min_slope=normal(generator, 3),
        max_slope=normal(generator, 3),
    )
    x, y = saddle_point(game)
    assert quadratic_gap(game, x, y).gap == 0.0
    assert quadratic_gap(game, x + 1e-9, y).gap == math.inf
    assert quadratic_gap(game, x + 1e-9, y, radii=(1.0, 1.0)).gap < 1e-7


def test_nonconvex_games_are_recognised(generator: torch.Generator) -> None:
    for curvature, concavity, expected in (
        ((0.0, 1.0), (0.0, 1.0), True),
        ((1e-3, 1.0), (1e-3, 1.0), True),
        ((-1e-6, 1.0), (1.0, 2.0), False),
        ((1.0, 2.0), (-1e-6, 1.0), False),
    ):
        game = random_quadratic_game(
            6,
            5,
            curvature=curvature,
            coupling=(0.0, 1.0),
            concavity=concavity,
            generator=generator,
        )
        assert is_convex_concave(game) is expected
        if not expected:
            with pytest.raises(InputError, match="convex-concave"):
                quadratic_gap(game, torch.zeros(6).double(), torch.zeros(5).double())


def test_single_precision_game_is_judged_at_its_precision(
    generator: torch.Generator,
) -> None:
    game = random_quadratic_game(
        6,
        5,
        curvature=(0.0, 1.0),
        coupling=(0.5, 1.0),
        concavity=(1.0, 1.0),
        generator=generator,
        dtype=torch.float32,
    )
    # Rounding to float32 makes the zero eigenvalue one of its size, of either sign.
    assert is_convex_concave(game)
    x, y = torch.ones(6), torch.ones(5)
    report = quadratic_gap(game, x, y, radii=(1.0, 1.0))
    exact = as_double(game)
    shifted = QuadraticGame(
        curvature=exact.curvature + 1e-6 * torch.eye(6).double(),
        coupling=exact.coupling,
        concavity=exact.concavity,
        min_slope=exact.min_slope,
        max_slope=exact.max_slope,
    )
    double = quadratic_gap(shifted, x.double(), y.double(), radii=(1.0, 1.0))
    assert report.gap == pytest.approx(double.gap, rel=1e-5)


def test_gradient_gap_bounds_the_gap(generator: torch.Generator) -> None:
    for _ in range(20):
        game = strong_game(generator)
        x, y = normal(generator, 4), normal(generator, 3)
        for radii in (None, (0.3, 0.4)):
            exact = quadratic_gap(game, x, y, radii=radii)
            bound = gradient_gap(game, x, y, moduli=(0.5, 0.2), radii=radii)
            assert bound.min_gain >= exact.min_gain * (1 - 1e-12)
            assert bound.max_gain >= exact.max_gain * (1 - 1e-12)


def test_gradient_gap_is_tight_for_equal_curvatures() -> None:
    problem = FunctionProblem(
        function=lambda x, y: (x @ x) - 2 * (y @ y), min_shape=(2,), max_shape=(3,)
    )
    x, y = torch.ones(2).double(), torch.ones(3).double()
    report = gradient_gap(problem, x, y, moduli=(2.0, 4.0))
    assert report.gap == pytest.approx(2.0 + 6.0)
    assert (report.lower, report.upper) == (pytest.approx(-6.0), pytest.approx(2.0))
    # In balls smaller than the way to the optimum, on a grid of radii.
    ball = gradient_gap(problem, x, y, moduli=(2.0, 4.0), radii=(0.5, 0.25))
    t, s = np.linspace(0, 0.5, 1001), np.linspace(0, 0.25, 1001)
    by_grid = (2 * np.sqrt(2) * t - t**2).max(), (4 * np.sqrt(3) * s - 2 * s**2).max()
    assert (ball.min_gain, ball.max_gain) == pytest.approx(by_grid)


def test_gradient_gap_without_curvature() -> None:
    problem = FunctionProblem(function=lambda x, y: x * y, min_shape=(), max_shape=())
    zero, one = torch.zeros(()).double(), torch.ones(()).double()
    assert gradient_gap(problem, one, zero, moduli=(0.0, 0.0)).gap == math.inf
    assert gradient_gap(problem, zero, zero, moduli=(0.0, 0.0)).gap == 0.0
    assert (
        gradient_gap(problem, one, zero, moduli=(0.0, 0.0), radii=(2.0, 3.0)).gap == 3
    )


def test_bad_input_is_refused(generator: torch.Generator) -> None:
    game = strong_game(generator)
    x, y = normal(generator, 4), normal(generator, 3)
    with pytest.raises(InputError, match="moduli must be two finite numbers"):
        gradient_gap(game, x, y, moduli=(-1.0, 1.0))
    with pytest.raises(InputError, match="radii must be two positive"):
        quadratic_gap(game, x, y, radii=(0.0, 1.0))
    with pytest.raises(InputError, match="one member at a time"):
        quadratic_gap(game, x.expand(2, 4), y.expand(2, 3))
    with pytest.raises(ShapeError):
        quadratic_gap(game, y, x)
    with pytest.raises(InputError, match="max_player must be finite"):
        check_single(game, x, y * math.nan)
    batch = random_quadratic_game(
        2,
        2,
        curvature=(1.0, 1.0),
        coupling=(1.0, 1.0),
        concavity=(1.0, 1.0),
        batch=(3,),
        generator=generator,
    )
    with pytest.raises(InputError, match="a batch"):
        check_single(batch, normal(generator, 3, 2), normal(generator, 3, 2))
    check_radii(None)
    gap = DualityGap(value=1.0, min_gain=0.5, max_gain=math.inf, radii=None)
    assert (gap.gap, gap.lower, gap.upper) == (math.inf, 0.5, math.inf)
