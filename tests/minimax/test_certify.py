"""Saddles are certified, nothing else is; by every way there is."""

import math

import pytest
import torch
from torch import Tensor

from saddle_cases import SADDLES
from tacit.errors import CertificateError, InputError, ShapeError
from tacit.minimax import certify, local_optimality
from tacit.minimax.certify import certify_saddle
from tacit.minimax.matching import MatchingProblem, ReachableCone
from tacit.minimax.mean_matching import (
    MeanMatchingGame,
    draw_start,
    member,
    random_game,
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


def optimum(game: MeanMatchingGame) -> tuple[Tensor, Tensor]:
    """Weights that reach the best fit of the cone, by projected gradient descent."""
    V, b = game.output_weights, game.target
    h = torch.zeros(V.shape[1]).double()
    step = 1.0 / float(torch.linalg.matrix_norm(V, 2)) ** 2
    momentum = h
    for t in range(1, 20_000):
        moved = torch.relu(momentum - step * V.mT @ (V @ momentum - b))
        momentum = moved + (t - 1) / (t + 2) * (moved - h)
        h = moved
    u = game.latents[0]
    weights = torch.outer(h / torch.relu(game.latents @ u).mean(), u)
    return weights, V @ h - b


def quadratic(generator: torch.Generator, low: float = 0.5) -> QuadraticGame:
    return random_quadratic_game(
        4,
        3,
        curvature=(low, 4.0),
        coupling=(1.5, 2.0),
        concavity=(0.2, 3.0),
        generator=generator,
    )


@pytest.mark.parametrize(
    ("width", "outcome"), [(3, "positive-value saddle"), (40, "zero-value saddle")]
)
def test_saddles_of_the_game_are_certified(
    width: int, outcome: str, generator: torch.Generator
) -> None:
    game = random_game(width, 6, 3, 12, generator=generator)
    weights, scores = optimum(game)
    certificate = certify_saddle(game, weights, scores)
    assert certificate.outcome == outcome
    assert certificate.kind == "global, by non-negative least squares"
    assert certificate.is_global
    assert 0.0 <= certificate.gap <= 1e-8
    assert certificate.primal_value == pytest.approx(float(scores @ scores) / 2)
    assert certificate.value == pytest.approx(float(game.value(weights, scores)))
    assert certificate.cone is not None
    assert certificate.cone.is_member is (width == 40)


@pytest.mark.parametrize("width", [3, 40])
def test_other_points_of_the_game_are_not(
    width: int, generator: torch.Generator
) -> None:
    drawn = random_game(width, 6, 3, 12, generator=generator)
    side = (drawn.output_weights[:, 0] @ drawn.target).sign()
    game = MeanMatchingGame(  # one whose best generator is not zero
        output_weights=drawn.output_weights,
        latents=drawn.latents,
        target=drawn.target * side,
    )
    weights, scores = optimum(game)
    b = float(game.target.norm())
    tried = [
        (weights + 0.1 * normal(generator, width, 3), scores),
        (weights, scores + 0.01 * normal(generator, 6)),
        (0.5 * weights, scores),
        (weights, 0 * scores + 1e-3 * b),
        # Dead neurons: every gradient of the minimising player vanishes.
        (torch.zeros(width, 3).double(), -game.target),
        draw_start(game, generator=generator),
    ]
    for x, y in tried:
        certificate = certify_saddle(game, x, y)
        assert certificate.outcome == "not converged"
        assert certificate.gap > 0.0
        # Nor does a best response make a saddle of a bad point.
        residual = game.linearise(x).residual
        if float(residual.square().sum()) > float(scores.square().sum()) + 1e-3 * b * b:
            assert not certify_saddle(game, x, residual).is_saddle


def test_a_target_on_the_cone_up_to_rounding_has_value_zero(
    generator: torch.Generator,
) -> None:
    drawn = random_game(3, 6, 3, 12, generator=generator)
    h = torch.ones(3).double()
    beside = 1e-11 * normal(generator, 6)
    game = MeanMatchingGame(
        output_weights=drawn.output_weights,
        latents=drawn.latents,
        target=drawn.output_weights @ h + beside,
    )
    weights, scores = optimum(game)
    certificate = certify_saddle(game, weights, scores)
    assert certificate.outcome == "zero-value saddle"
    assert 0.0 < certificate.bracket.lower.value < 1e-20


def test_gap_is_that_of_both_players(generator: torch.Generator) -> None:
    game = random_game(3, 6, 3, 12, generator=generator)
    best = float(optimum(game)[1].square().sum()) / 2
    x, y = draw_start(game, generator=generator)
    y = y + normal(generator, 6)
    residual = game.linearise(x).residual
    expected = float(residual.square().sum() + (y - residual).square().sum()) / 2 - best
    assert certify_saddle(game, x, y).gap == pytest.approx(expected, rel=1e-6)


def test_tolerances_decide(generator: torch.Generator) -> None:
    game = random_game(40, 6, 3, 12, generator=generator)
    weights, _ = optimum(game)
    weights = weights * (1 + 1e-3)  # the residual is 1e-3 b
    scores = game.linearise(weights).residual
    length = float(game.target.norm())
    assert certify_saddle(game, weights, scores).outcome == "not converged"
    assert certify_saddle(game, weights, scores, rtol=1.01e-3).is_saddle
    atol = 1.01e-3 * length
    assert certify_saddle(game, weights, scores, rtol=0.0, atol=atol).is_saddle
    loss = 1.01 * (10 * length) ** 2 / 2
    assert certify_saddle(game, weights, scores, reference_loss=loss).is_saddle


def test_batches_are_certified_one_by_one(generator: torch.Generator) -> None:
    games = random_game(4, 3, 2, 5, batch=(2,), generator=generator)
    weights, scores = draw_start(games, generator=generator)
    with pytest.raises(InputError, match="one member at a time"):
        certify_saddle(games, weights, scores)
    one = certify_saddle(member(games, 1), weights[1], scores[1])
    assert one.outcome == "not converged"


@pytest.mark.parametrize("name", SADDLES)
def test_random_points_of_every_kind_of_problem(
    name: str, generator: torch.Generator
) -> None:
    problem, x, y = SADDLES[name](generator)
    if x.ndim > len(problem.spec.min_shape):
        with pytest.raises(InputError, match="one member at a time"):
            certify_saddle(problem, x, y)
        return
    certificate = certify_saddle(problem, x, y)
    assert certificate.outcome == "not converged"
    assert certificate.value == pytest.approx(float(problem.value(x, y)))
    slopes = [float(slope.norm()) for slope in problem.gradients(x, y)]
    assert certificate.min_gradient_norm == pytest.approx(slopes[0])
    assert certificate.max_gradient_norm == pytest.approx(slopes[1])


def test_bounds_where_the_cone_is_larger() -> None:
    def problem(target: list[float]) -> MatchingProblem:
        return MatchingProblem(
            generator_function=torch.exp,
            min_shape=(2,),
            target=torch.tensor(target).double(),
            cone=ReachableCone(columns=torch.eye(2).double(), is_exact=False),
        )

    x = torch.tensor([0.0, -40.0]).double()
    positive = certify_saddle(
        problem([1.0, -2.0]), x, torch.tensor([0.0, 2.0]).double()
    )
    assert positive.outcome == "positive-value saddle"
    assert positive.kind == "global, by a bound"
    zero = certify_saddle(problem([1.0, math.exp(-40)]), x, torch.zeros(2).double())
    assert zero.outcome == "zero-value saddle"


def test_local_certificate_where_no_bound_decides(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On an ellipse the nearest point is a minimum, the farthest a maximum.
    problem = MatchingProblem(
        generator_function=lambda x: torch.stack((x.sin(), 2 * x.cos())),
        min_shape=(),
        target=torch.tensor([0.0, 3.0]).double(),
    )
    x = torch.zeros(()).double()
    y = problem.linearise(x).residual
    certificate = certify_saddle(problem, x, y)
    assert certificate.outcome == "local Nash"
    assert certificate.kind == "local second-order"
    assert not certificate.is_global
    assert certificate.bracket.lower.value == 0.0
    # A minimum of the residual that x would leave if y stayed.
    curve = MatchingProblem(
        generator_function=lambda x: torch.stack((5 * x, x**2)),
        min_shape=(),
        target=torch.tensor([0.0, 3.0]).double(),
    )
    vertex = certify_saddle(curve, x, curve.linearise(x).residual)
    assert vertex.outcome == "local minimax"
    # A maximum of the residual is stationary, and no solution.
    x = x + math.pi
    top = certify_saddle(problem, x, problem.linearise(x).residual)
    assert top.outcome == "not converged"
    assert top.local is not None
    assert top.local.classification == "stationary, not minimax"
    away = certify_saddle(problem, x + 1, problem.linearise(x + 1).residual)
    assert away.outcome == "not converged"
    monkeypatch.setattr(certify, "DENSE_SIZE", 1)
    assert certify_saddle(problem, x, problem.linearise(x).residual).local is None


def test_saddles_of_convex_concave_games(generator: torch.Generator) -> None:
    game = quadratic(generator)
    x, y = saddle_point(game)
    certificate = certify_saddle(game, x, y)
    assert certificate.outcome == "saddle"
    assert certificate.kind == "duality gap"
    assert certificate.bracket.lower.value <= float(game.value(x, y))
    assert certificate.bracket.upper.value >= float(game.value(x, y))
    for _ in range(20):
        u, v = x + 0.1 * normal(generator, 4), y + 0.1 * normal(generator, 3)
        away = certify_saddle(game, u, v)
        assert away.outcome == "not converged"
        assert away.bracket.lower.value <= float(game.value(x, y))
        assert away.bracket.upper.value >= float(game.value(x, y))
        assert away.primal_value == away.bracket.upper.value
    scale = certify_saddle(game, x + 1e-2, y, reference_loss=1e7)
    assert scale.outcome == "saddle"
    assert scale.tolerance == pytest.approx(1e-8 * 1e7)


def test_bilinear_games_by_a_restricted_gap(generator: torch.Generator) -> None:
    game = bilinear_game(normal(generator, 3, 3), min_slope=normal(generator, 3))
    x, y = saddle_point(game)
    exact = certify_saddle(game, x, y)
    assert (exact.outcome, exact.kind) == ("saddle", "duality gap")
    near = certify_saddle(game, x + 1e-7, y)
    assert (near.outcome, near.kind) == ("saddle", "restricted duality gap")
    assert near.primal_value is None
    away = certify_saddle(game, x + 1.0, y + 1.0)
    assert (away.outcome, away.kind) == ("not converged", "restricted duality gap")
    chosen = certify_saddle(game, x + 1.0, y, radii=(2.0, 3.0))
    assert chosen.duality_gap is not None
    assert chosen.duality_gap.radii == (2.0, 3.0)
    slopes = game.gradients(x + 1.0, y)
    expected = 2.0 * float(slopes[0].norm()) + 3.0 * float(slopes[1].norm())
    assert chosen.gap == pytest.approx(expected)


def test_games_that_are_not_convex_get_a_local_certificate(
    generator: torch.Generator,
) -> None:
    game = quadratic(generator, low=-0.1)
    x, y = saddle_point(game)
    certificate = certify_saddle(game, x, y)
    assert certificate.kind == "local second-order"
    assert certificate.outcome == "local minimax"
    assert certificate.gap == math.inf
    assert certificate.bracket.lower.value == -math.inf
    assert not certify_saddle(game, x + 0.1, y).is_saddle


def test_moduli_of_a_function(generator: torch.Generator) -> None:
    problem = FunctionProblem(
        function=lambda x, y: (
            (x**2).sum() + x.logsumexp(0) + x @ y - 2 * (y**2).sum() - y.cosh().sum()
        ),
        min_shape=(3,),
        max_shape=(3,),
    )
    # A root of both gradients by Newton's method, which knows nothing of the package.
    z = torch.zeros(6).double()

    def slopes(z: Tensor) -> Tensor:
        x, y = z[:3], z[3:]
        for_min = 2 * x + x.softmax(0) + y
        return torch.cat((for_min, x - 4 * y - y.sinh()))

    for _ in range(20):
        jacobian = torch.autograd.functional.jacobian(slopes, z)
        z = z - torch.linalg.solve(jacobian, slopes(z))
    x, y = z[:3], z[3:]
    certificate = certify_saddle(problem, x, y, moduli=(2.0, 5.0))
    assert (certificate.outcome, certificate.kind) == ("saddle", "duality gap")
    value = float(problem.value(x, y))
    for _ in range(10):
        u, v = x + 0.1 * normal(generator, 3), y + 0.1 * normal(generator, 3)
        away = certify_saddle(problem, u, v, moduli=(2.0, 5.0))
        assert away.outcome == "not converged"
        assert away.bracket.lower.value <= value <= away.bracket.upper.value
    with pytest.raises(CertificateError, match="at the point itself"):
        certify_saddle(problem, x, y, moduli=(3.5, 5.0))
    assert certify_saddle(problem, x, y).outcome == "local Nash"
    merely = certify_saddle(problem, x + 1e-7, y, moduli=(0.0, 0.0))
    assert (merely.outcome, merely.kind) == ("saddle", "restricted duality gap")


def test_moduli_of_a_large_function(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certify, "DENSE_SIZE", 4)
    monkeypatch.setattr(local_optimality, "DENSE_SIZE", 4)
    problem = FunctionProblem(
        function=lambda x, y: x @ x + x @ y - y @ y, min_shape=(9,), max_shape=(9,)
    )
    zero = torch.zeros(9).double()
    certificate = certify_saddle(
        problem, zero, zero, moduli=(2.0, 2.0), generator=generator
    )
    assert certificate.outcome == "saddle"
    moved = certify_saddle(
        problem, zero + 1.0, zero, moduli=(2.0, 2.0), generator=generator
    )
    assert moved.outcome == "not converged"


def test_bad_input_is_refused(generator: torch.Generator) -> None:
    game = random_game(4, 3, 2, 5, generator=generator)
    W, d = draw_start(game, generator=generator)
    convex, curved = quadratic(generator), quadratic(generator, low=-1.0)
    x, y = normal(generator, 4), normal(generator, 3)
    with pytest.raises(InputError, match="min_player must be finite"):
        certify_saddle(game, W * math.nan, d)
    with pytest.raises(ShapeError, match="max_player"):
        certify_saddle(game, W, d[:2])
    with pytest.raises(InputError, match="min_player must be"):
        certify_saddle(game, W.float(), d)
    with pytest.raises(InputError, match="left out for a linear discriminator"):
        certify_saddle(game, W, d, radii=(1.0, 1.0))
    with pytest.raises(InputError, match="rtol must be in"):
        certify_saddle(game, W, d, rtol=-0.1)
    with pytest.raises(InputError, match="reference_loss"):
        certify_saddle(game, W, d, reference_loss=math.inf)
    with pytest.raises(InputError, match="quadratic game"):
        certify_saddle(convex, x, y, moduli=(1.0, 1.0))
    with pytest.raises(InputError, match="unless the problem is convex-concave"):
        certify_saddle(curved, x, y, radii=(1.0, 1.0))
    with pytest.raises(InputError, match="radii must be two positive"):
        certify_saddle(convex, x, y, radii=(1.0, -1.0))
