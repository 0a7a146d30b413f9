"""Methods that look ahead, against their definitions written out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from saddle_cases import draw
from tacit.errors import InputError, Status
from tacit.iterate import iterate
from tacit.minimax.descent_ascent import SimultaneousGDA
from tacit.minimax.extrapolation import AlexGDA, Extragradient, OptimisticGradient
from tacit.minimax.problem import FunctionProblem
from tacit.minimax.quadratic import bilinear_game


def _value(x: Tensor, y: Tensor) -> Tensor:
    return (x.sin() * y).sum() + (x**2).sum() / 3 - (y**4).sum() / 4


GAME = FunctionProblem(function=_value, min_shape=(3,), max_shape=(3,))


def _slopes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    down, up = torch.autograd.grad(_value(x, y), (x, y))
    return down, up


def test_extragradient_steps_from_here_with_gradients_from_there(
    generator: torch.Generator,
) -> None:
    x, y = draw(generator, 3), draw(generator, 3)
    solver = Extragradient(min_step=0.2, max_step=0.1)
    state = solver.step(GAME, solver.init(GAME, (x, y)))
    down, up = _slopes(x, y)
    down, up = _slopes(x - 0.2 * down, y + 0.1 * up)
    assert torch.allclose(state.min_player, x - 0.2 * down)
    assert torch.allclose(state.max_player, y + 0.1 * up)


def test_the_optimistic_method_corrects_by_the_last_gradients(
    generator: torch.Generator,
) -> None:
    x, y = draw(generator, 3), draw(generator, 3)
    solver = OptimisticGradient(min_step=0.2, max_step=0.1)
    state = solver.init(GAME, (x, y))
    last = _slopes(x, y)
    for _ in range(4):
        state = solver.step(GAME, state)
        down, up = _slopes(x, y)
        x = x - 0.4 * down + 0.2 * last[0]
        y = y + 0.2 * up - 0.1 * last[1]
        last = (down, up)
        assert torch.allclose(state.min_player, x)
        assert torch.allclose(state.max_player, y)


def test_alex_extrapolates_both_players(generator: torch.Generator) -> None:
    x, y = draw(generator, 3), draw(generator, 3)
    solver = AlexGDA(
        min_step=0.2, max_step=0.1, min_extrapolation=1.5, max_extrapolation=3.0
    )
    state = solver.init(GAME, (x, y))
    ahead = y
    for _ in range(4):
        state = solver.step(GAME, state)
        moved = x - 0.2 * _slopes(x, ahead)[0]
        raised = y + 0.1 * _slopes(moved + 0.5 * (moved - x), y)[1]
        ahead = raised + 2.0 * (raised - y)
        x, y = moved, raised
        assert torch.allclose(state.min_player, x)
        assert torch.allclose(state.max_player, y)


def test_alex_without_extrapolation_is_simultaneous(generator: torch.Generator) -> None:
    start = (draw(generator, 3), draw(generator, 3))
    alex = AlexGDA(
        min_step=0.2, max_step=0.1, min_extrapolation=0.0, max_extrapolation=1.0
    )
    plain = SimultaneousGDA(min_step=0.2, max_step=0.1)
    one = iterate(GAME, alex, start, max_steps=5).state
    two = iterate(GAME, plain, start, max_steps=5).state
    assert torch.allclose(one.min_player, two.min_player)
    assert torch.allclose(one.max_player, two.max_player)


@pytest.mark.parametrize(
    "solver",
    [
        Extragradient(min_step=0.5, max_step=0.5, atol=1e-9),
        OptimisticGradient(min_step=0.3, max_step=0.3, atol=1e-9),
        AlexGDA(min_step=0.3, max_step=0.3, atol=1e-9),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_bilinear_games_converge_unlike_with_plain_steps(
    solver: Extragradient, generator: torch.Generator
) -> None:
    matrix = torch.linalg.qr(draw(generator, 3, 3)).Q
    game = bilinear_game(matrix)
    start = (draw(generator, 3), draw(generator, 3))
    assert iterate(game, solver, start, max_steps=2000).status is Status.CONVERGED
    plain = SimultaneousGDA(min_step=0.3, max_step=0.3)
    run = iterate(game, plain, start, max_steps=2000)
    assert run.status is Status.DIVERGED


@pytest.mark.parametrize(("mu", "is_stable"), [(0.66, True), (0.67, False)])
def test_the_optimistic_discriminator_needs_a_step_below_two_thirds(
    mu: float, is_stable: bool
) -> None:
    solver = OptimisticGradient(min_step=1e-6, max_step=mu)
    numbers = (torch.zeros(()), torch.tensor(0.01), torch.ones(()))
    matrix = solver.transition(*(number.double() for number in numbers))
    assert (float(torch.linalg.eigvals(matrix).abs().max()) < 1.0) == is_stable


@pytest.mark.parametrize("eta", [0.1, 0.7])
@pytest.mark.parametrize("mu", [0.2, 0.6])
@pytest.mark.parametrize("lam", [0.2, 1.3])
def test_eigenvalues_follow_from_those_of_the_scaled_operator(
    eta: float, mu: float, lam: float
) -> None:
    """Of the operator: s^2 - mu s + mu eta lam = 0."""
    numbers = [torch.tensor(v).double() for v in (0.0, lam**0.5, 1.0)]
    half = torch.tensor(mu * mu / 4 - mu * eta * lam, dtype=torch.complex128).sqrt()
    sigma = torch.stack((mu / 2 + half, mu / 2 - half))
    ahead = Extragradient(min_step=eta, max_step=mu).transition(*numbers)
    wanted = float((1 - sigma + sigma**2).abs().max())
    assert float(torch.linalg.eigvals(ahead).abs().max()) == pytest.approx(wanted)
    split = ((1 - 2 * sigma) ** 2 / 4 + sigma).sqrt()
    roots = torch.cat(((1 - 2 * sigma) / 2 + split, (1 - 2 * sigma) / 2 - split))
    behind = OptimisticGradient(min_step=eta, max_step=mu).transition(*numbers)
    wanted = float(roots.abs().max())
    assert float(torch.linalg.eigvals(behind).abs().max()) == pytest.approx(wanted)


def test_a_negative_extrapolation_is_refused() -> None:
    with pytest.raises(InputError, match="extrapolations must be at least 0"):
        AlexGDA(min_step=0.1, max_step=0.1, min_extrapolation=-1.0)


@pytest.mark.parametrize("numbers", [(0.0, 1.3, 1.0), (0.5, 0.7, 0.2), (0.0, 2.0, 0.0)])
@pytest.mark.parametrize(("gamma", "delta"), [(2.0, 2.0), (1.0, 1.5), (0.5, 3.0)])
def test_eigenvalues_of_alex_are_roots_of_its_polynomial(
    numbers: tuple[float, float, float], gamma: float, delta: float
) -> None:
    a, s, c = (torch.tensor(number, dtype=torch.float64) for number in numbers)
    solver = AlexGDA(
        min_step=0.3, max_step=0.4, min_extrapolation=gamma, max_extrapolation=delta
    )
    z = torch.linalg.eigvals(solver.transition(a, s, c))
    w = z - 1
    product = z * (w + 0.3 * a) * (w + 0.4 * c)
    turned = 0.12 * s * s * (1 + gamma * w) * (1 + delta * w)
    assert torch.allclose(product, -turned, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("limit", "kind"),
    [
        (1.0, Extragradient(min_step=1.0, max_step=1.0)),
        (1.0 / 3.0, OptimisticGradient(min_step=1.0, max_step=1.0)),
        (4.0 / 9.0, AlexGDA(min_step=1.0, max_step=1.0)),
        (
            2.0,
            AlexGDA(
                min_step=1.0,
                max_step=1.0,
                min_extrapolation=1.0,
                max_extrapolation=1.5,
            ),
        ),
    ],
    ids=["extragradient", "optimistic", "alex", "alex of one player"],
)
@pytest.mark.parametrize(("factor", "is_stable"), [(0.98, True), (1.02, False)])
def test_on_a_bilinear_game_runs_diverge_from_the_stated_limits_on(
    limit: float,
    kind: Extragradient | OptimisticGradient | AlexGDA,
    factor: float,
    is_stable: bool,
) -> None:
    s, mu = 1.3, 0.7
    game = bilinear_game(torch.tensor([[s]], dtype=torch.float64))
    solver = replace(kind, min_step=factor * limit / (mu * s * s), max_step=mu)
    start = (torch.ones(1).double(), torch.zeros(1).double())
    run = iterate(game, solver, start, max_steps=3000)
    if is_stable:
        assert run.state.value < 1e-12
    else:
        assert run.status is Status.DIVERGED
