"""Rates against runs of the solvers, closed forms and dense linear algebra."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.iterate import iterate
from tacit.minimax.consensus import ConsensusOptimisation
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SaddleState,
    SimultaneousGDA,
)
from tacit.minimax.dynamics.rates import (
    all_modes,
    iteration_matrix,
    linear_rate,
    linearised_game,
    local_rate,
    mode_rates,
)
from tacit.minimax.dynamics.spectrum import JacobianSpectrum, jacobian_spectrum
from tacit.minimax.extrapolation import AlexGDA, Extragradient, OptimisticGradient
from tacit.minimax.mean_matching import draw_start, random_game
from tacit.minimax.problem import FunctionProblem
from tacit.minimax.quadratic import QuadraticGame, random_quadratic_game

SOLVERS: dict[str, AbstractDescentAscent] = {
    "simultaneous": SimultaneousGDA(min_step=0.2, max_step=0.7),
    "alternating": AlternatingGDA(min_step=0.3, max_step=0.8),
    "alternating, three updates": AlternatingGDA(
        min_step=0.3, max_step=0.4, max_updates=3
    ),
    "extragradient": Extragradient(min_step=0.3, max_step=0.5),
    "optimistic": OptimisticGradient(min_step=0.1, max_step=0.4),
    "alex": AlexGDA(min_step=0.1, max_step=0.3),
    "consensus": ConsensusOptimisation(min_step=0.1, max_step=0.2),
}


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def scalar_game(a: float, s: float, c: float) -> QuadraticGame:
    return QuadraticGame(
        curvature=numbers(a).reshape(1, 1),
        coupling=numbers(s).reshape(1, 1),
        concavity=numbers(c).reshape(1, 1),
        min_slope=numbers(0.0),
        max_slope=numbers(0.0),
    )


def rate_of_run(
    solver: AbstractDescentAscent, game: QuadraticGame, start: tuple[Tensor, Tensor]
) -> float:
    """Slope of ln length over a long run; dips of complex modes average out."""
    lengths: list[float] = []

    def watch(_: int, state: SaddleState) -> None:
        lengths.append(math.sqrt(state.value))

    iterate(game, solver, start, max_steps=800, observers=[watch])
    logs = np.log([length for length in lengths if length > 1e-140][100:])
    slope, _ = np.polyfit(np.arange(len(logs)), logs, 1)
    return math.exp(float(slope))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("s", [0.5, 1.3])
def test_rate_of_a_mode_is_that_of_a_run(name: str, s: float) -> None:
    start = (numbers(1.0), numbers(0.3))
    wanted = rate_of_run(SOLVERS[name], scalar_game(0.0, s, 1.0), start)
    found = float(mode_rates(SOLVERS[name], numbers(s))[0])
    assert found == pytest.approx(wanted, rel=5e-4)


@pytest.mark.parametrize("mu", [0.3, 1.0, 1.7])
def test_simultaneous_formula(mu: float) -> None:
    # z^2 - (2 - mu) z + 1 - mu + mu x: real up to x = mu / 4, then complex.
    moved = torch.linspace(0.01, 1.2, 40, dtype=torch.float64)
    inner = (mu * mu / 4 - mu * moved).clamp(min=0).sqrt()
    real = abs(1 - mu / 2) + inner
    spiral = (1 - mu + mu * moved).clamp(min=0).sqrt()
    wanted = torch.where(moved <= mu / 4, real, spiral)
    found = mode_rates(SimultaneousGDA(min_step=0.25, max_step=mu), 2 * moved.sqrt())
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=0.0)


@pytest.mark.parametrize("mu", [0.3, 1.0, 1.7])
def test_alternating_formula(mu: float) -> None:
    moved = torch.linspace(0.01, 2.0, 40, dtype=torch.float64)
    b, c = 2 - mu - mu * moved, 1 - mu
    inner = b * b - 4 * c
    real = (b.abs() + inner.clamp(min=0).sqrt()) / 2
    wanted = torch.where(inner >= 0, real, torch.full_like(b, abs(c) ** 0.5))
    found = mode_rates(AlternatingGDA(min_step=0.25, max_step=mu), 2 * moved.sqrt())
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


def test_extragradient_formula() -> None:
    eta, mu, s = 0.3, 0.5, 1.1
    roots = torch.sqrt(
        torch.complex(numbers(mu * mu / 4 - mu * eta * s * s), numbers(0))
    )
    sigma = torch.cat((mu / 2 + roots, mu / 2 - roots))
    wanted = float((1 - sigma + sigma**2).abs().amax())
    found = mode_rates(Extragradient(min_step=eta, max_step=mu), numbers(s))
    assert float(found[0]) == pytest.approx(wanted, rel=1e-12)


def test_slowest_mode_decides_for_each_member_of_a_batch() -> None:
    solver = SimultaneousGDA(min_step=0.25, max_step=1.0)
    values = torch.stack((numbers(1.0, 0.5), numbers(0.9, 0.1)))
    found = linear_rate(solver, values)
    wanted = [float(mode_rates(solver, row).amax()) for row in values]
    assert found.tolist() == wanted


def test_between_two_known_extremes_all_values_are_possible() -> None:
    spectrum = JacobianSpectrum(singular_values=numbers(2.0, 0.5), is_complete=False)
    modes = all_modes(spectrum)
    assert (float(modes.min()), float(modes.max())) == (0.5, 2.0)
    assert len(modes) > 20
    assert all_modes(numbers(2.0, 0.5)).tolist() == [2.0, 0.5]


@pytest.mark.parametrize("name", SOLVERS)
def test_step_matrix_has_the_eigenvalues_of_the_transition(name: str) -> None:
    for a, s, c in ((0.0, 1.3, 1.0), (0.4, 0.7, 0.2)):
        matrix = iteration_matrix(SOLVERS[name], scalar_game(a, s, c))
        wanted = SOLVERS[name].transition(numbers(a), numbers(s), numbers(c))[0]
        torch.testing.assert_close(matrix, wanted)


@pytest.mark.parametrize("name", SOLVERS)
def test_local_rate_of_full_matrices_is_that_of_a_run(
    name: str, generator: torch.Generator
) -> None:
    game = random_quadratic_game(
        3,
        2,
        curvature=(0.2, 1.0),
        coupling=(0.3, 1.0),
        concavity=(0.4, 1.0),
        generator=generator,
    )
    level = QuadraticGame(
        curvature=game.curvature,
        coupling=game.coupling,
        concavity=game.concavity,
        min_slope=torch.zeros(3).double(),
        max_slope=torch.zeros(2).double(),
    )
    start = (
        torch.randn(3, generator=generator, dtype=torch.float64),
        torch.randn(2, generator=generator, dtype=torch.float64),
    )
    found = local_rate(SOLVERS[name], game)
    assert found.num_neutral == 0
    assert found.rate == pytest.approx(
        rate_of_run(SOLVERS[name], level, start), rel=1e-3
    )


def test_linearised_game_is_the_second_derivative(generator: torch.Generator) -> None:
    matrix = torch.randn(3, 2, generator=generator, dtype=torch.float64)

    def value(x: Tensor, y: Tensor) -> Tensor:
        return (x.sin() @ matrix) @ y + (x**3).sum() - (y**4).sum() / 4

    problem = FunctionProblem(function=value, min_shape=(3,), max_shape=(2,))
    x, y = numbers(0.3, -1.0, 2.0), numbers(0.5, -0.7)
    game = linearised_game(problem, x, y)
    curvature = torch.diag(6 * x - x.sin() * (matrix @ y))
    torch.testing.assert_close(game.curvature, curvature)
    torch.testing.assert_close(game.coupling, x.cos().unsqueeze(-1) * matrix)
    torch.testing.assert_close(game.concavity, torch.diag(3 * y**2))
    torch.testing.assert_close(game.min_slope, x.cos() * (matrix @ y) + 3 * x**2)
    torch.testing.assert_close(game.max_slope, x.sin() @ matrix - y**3)


def test_matching_problem_seen_as_a_general_one(generator: torch.Generator) -> None:
    game = random_game(12, 3, 2, 6, generator=generator)
    weights, _ = draw_start(game, generator=generator)
    # At d = 0 the second derivative is the Jacobian alone: 24 - 3 directions are flat.
    whole = linearised_game(game, weights, torch.zeros(3).double())
    solver = SimultaneousGDA(min_step=0.5, max_step=0.8)
    found = local_rate(solver, whole)
    assert found.num_neutral == 21
    wanted = float(linear_rate(solver, jacobian_spectrum(game, weights)))
    assert found.rate == pytest.approx(wanted, rel=1e-9)
    assert found.eigenvalues.numel() == 27


def test_nothing_moves_in_an_empty_game() -> None:
    found = local_rate(SOLVERS["simultaneous"], scalar_game(0.0, 0.0, 0.0))
    assert (found.rate, found.num_neutral) == (0.0, 2)


def test_points_that_cannot_be_linearised_are_refused(
    generator: torch.Generator,
) -> None:
    problem = FunctionProblem(
        function=lambda x, y: x @ x - y @ y, min_shape=(5000,), max_shape=(2,)
    )
    x, y = torch.zeros(5000).double(), torch.zeros(2).double()
    with pytest.raises(InputError, match="at most 4096 entries"):
        linearised_game(problem, x, y)
    with pytest.raises(ShapeError, match="without"):
        linearised_game(problem, torch.zeros(2, 5000).double(), y)
    batch = random_quadratic_game(
        2,
        2,
        curvature=(1.0, 2.0),
        coupling=(1.0, 2.0),
        concavity=(1.0, 2.0),
        batch=(3,),
        generator=generator,
    )
    with pytest.raises(ShapeError, match="no batch dimensions"):
        local_rate(SOLVERS["simultaneous"], batch)
