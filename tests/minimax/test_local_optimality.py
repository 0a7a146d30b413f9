"""Classes of points against their definitions on grids, and dense against Lanczos."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from saddle_cases import SADDLES
from tacit.errors import InputError
from tacit.minimax import local_optimality as module
from tacit.minimax.local_optimality import local_optimality, second_derivatives
from tacit.minimax.problem import FunctionProblem
from tacit.minimax.quadratic import random_quadratic_game, saddle_point

ZERO = torch.zeros(()).double()


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def scalar_problem(a: float, b: float, c: float) -> FunctionProblem:
    """f = a x^2 / 2 + b x y - c y^2 / 2 and something of fourth order."""
    return FunctionProblem(
        function=lambda x, y: (
            a * x**2 / 2 + b * x * y - c * y**2 / 2 + x**4 * y**2 - x**2 * y**4
        ),
        min_shape=(),
        max_shape=(),
    )


def classes_on_a_grid(a: float, b: float, c: float) -> tuple[bool, bool]:
    """Whether the origin is local Nash and local minimax, by definition."""
    delta = 1e-2
    reach = 10 * delta  # h(delta)
    x, y = np.linspace(-delta, delta, 201), np.linspace(-reach, reach, 4001)

    def f(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return a * x**2 / 2 + b * x * y - c * y**2 / 2 + x**4 * y**2 - x**2 * y**4

    is_max = bool((f(np.zeros(1), y) <= 1e-15).all())
    is_nash = is_max and bool((f(x, np.zeros(1)) >= -1e-15).all())
    best = f(x[:, None], y[None]).max(1)
    return is_nash, is_max and bool((best >= -1e-15).all())


def test_classes_agree_with_their_definitions(generator: torch.Generator) -> None:
    seen: set[str] = set()
    for _ in range(150):
        a, b, c = (2 * normal(generator, 3)).tolist()
        if min(abs(a), abs(c), abs(a + b * b / c)) < 0.05 or abs(b / c) > 8:
            continue
        found = local_optimality(scalar_problem(a, b, c), ZERO, ZERO).classification
        expected = {
            (True, True): "local Nash",
            (False, True): "local minimax",
            (False, False): "stationary, not minimax",
        }[classes_on_a_grid(a, b, c)]
        assert found == expected
        seen.add(found)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("a", "b", "c"), [(1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (-1.0, 1.0, 1.0)]
)
def test_degenerate_curvatures_are_undecided(a: float, b: float, c: float) -> None:
    report = local_optimality(scalar_problem(a, b, c), ZERO, ZERO)
    assert report.classification == "stationary, undecided"


def test_moved_points_are_not_stationary(generator: torch.Generator) -> None:
    game = random_quadratic_game(
        4,
        3,
        curvature=(-1.0, 2.0),
        coupling=(1.5, 3.0),
        concavity=(0.5, 1.0),
        generator=generator,
    )
    x, y = saddle_point(game)
    at_point = local_optimality(game, x, y, rtol=1e-6)
    assert at_point.classification != "not stationary"
    for _ in range(10):
        away = local_optimality(game, x + 1e-2 * normal(generator, 4), y, rtol=1e-6)
        assert away.classification == "not stationary"
        assert away.min_curvature == pytest.approx(at_point.min_curvature)


def test_curvatures_of_a_quadratic_game(generator: torch.Generator) -> None:
    game = random_quadratic_game(
        5,
        4,
        curvature=(-1.0, 2.0),
        coupling=(0.5, 3.0),
        concavity=(0.5, 1.5),
        generator=generator,
    )
    x, y = saddle_point(game)
    report = local_optimality(game, x, y)
    schur = game.curvature + game.coupling @ torch.linalg.solve(
        game.concavity, game.coupling.mT
    )
    assert report.min_curvature == pytest.approx(-1.0)
    assert report.max_curvature == pytest.approx(-0.5)
    assert report.schur_curvature == pytest.approx(
        float(torch.linalg.eigvalsh(schur)[0])
    )


@pytest.mark.parametrize(
    "name", ["function", "mean matching", "deep generator", "quadratic", "bilinear"]
)
def test_second_derivatives_by_differences(
    name: str, generator: torch.Generator
) -> None:
    problem, x, y = SADDLES[name](generator)
    x, y = x.double(), y.double()
    matrix = second_derivatives(problem, x, y)
    split, step = x.numel(), 1e-6

    def gradients(z: Tensor) -> Tensor:
        parts = problem.gradients(
            z[:split].reshape(x.shape), z[split:].reshape(y.shape)
        )
        return torch.cat([part.reshape(-1) for part in parts])

    z = torch.cat((x.reshape(-1), y.reshape(-1)))
    for _ in range(5):
        u = normal(generator, z.numel())
        u /= u.norm()
        by_difference = (gradients(z + step * u) - gradients(z - step * u)) / (2 * step)
        assert torch.allclose(
            matrix @ u, by_difference, atol=1e-7 * (1 + float(matrix.norm()))
        )


@pytest.mark.parametrize(
    ("curvature", "concavity"),
    [((0.5, 2.0), (0.5, 1.0)), ((-1.0, 2.0), (0.5, 1.0)), ((1.0, 2.0), (-0.5, 1.0))],
)
def test_lanczos_agrees_with_dense(
    curvature: tuple[float, float],
    concavity: tuple[float, float],
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = random_quadratic_game(
        40,
        30,
        curvature=curvature,
        coupling=(0.5, 3.0),
        concavity=concavity,
        generator=generator,
    )
    x, y = saddle_point(game)
    dense = local_optimality(game, x, y)
    monkeypatch.setattr(module, "DENSE_SIZE", 10)
    large = local_optimality(game, x, y, generator=generator)
    assert large.classification == dense.classification
    slack = 1e-3 * dense.hessian_norm
    assert large.hessian_norm == pytest.approx(dense.hessian_norm, rel=1e-3)
    assert large.min_curvature == pytest.approx(dense.min_curvature, abs=slack)
    assert large.max_curvature == pytest.approx(dense.max_curvature, abs=slack)
    assert 0.0 < large.failure_probability < 1e-8
    if large.classification == "local minimax":
        assert large.schur_curvature == pytest.approx(dense.schur_curvature, abs=0.05)
    monkeypatch.setattr(module, "_LARGEST_SCHUR", 10)
    without = local_optimality(game, x, y, generator=generator)
    assert without.schur_curvature is None
    assert without.classification in {dense.classification, "stationary, undecided"}


def test_large_flat_function(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DENSE_SIZE", 1)
    problem = FunctionProblem(
        function=lambda x, y: 0 * (x.sum() + y.sum()), min_shape=(2,), max_shape=(2,)
    )
    zero = torch.zeros(2).double()
    report = local_optimality(problem, zero, zero, generator=generator)
    assert report.classification == "stationary, undecided"
    assert report.hessian_norm == 0.0


def test_single_precision(generator: torch.Generator) -> None:
    problem = FunctionProblem(
        function=lambda x, y: x @ x + (x * y).sum() - y @ y,
        min_shape=(3,),
        max_shape=(3,),
        dtype=torch.float32,
    )
    report = local_optimality(problem, torch.zeros(3), torch.zeros(3))
    assert report.classification == "local Nash"
    assert report.curvature_tolerance == pytest.approx(1e-4 * report.hessian_norm)


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = scalar_problem(1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="rtol must be in"):
        local_optimality(problem, ZERO, ZERO, rtol=1.0)
    with pytest.raises(InputError, match="must be finite"):
        local_optimality(problem, ZERO * math.nan, ZERO)
    with pytest.raises(InputError, match="one member at a time"):
        local_optimality(problem, ZERO.expand(2), ZERO.expand(2))
    monkeypatch.setattr(module, "DENSE_SIZE", 1)
    with pytest.raises(InputError, match="generator must be given"):
        local_optimality(problem, ZERO, ZERO)
