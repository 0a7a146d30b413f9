import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import jacfwd, jacrev, jvp, linearize, vmap

from saddle_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.minimax.mean_matching import (
    MeanMatchingGame,
    draw_start,
    member,
    random_game,
)

BATCHES = pytest.mark.parametrize(
    ("batch", "more"), [((), ()), ((3,), ()), ((2, 2), ()), ((), (4,)), ((2,), (3,))]
)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def _game(generator: torch.Generator, *batch: int) -> MeanMatchingGame:
    return random_game(9, 3, 4, 7, batch=batch, generator=generator)


def _residual(game: MeanMatchingGame, weights: Tensor) -> Tensor:
    """The formula of the docstring, in torch's own operations."""
    hidden = torch.relu(weights @ game.latents.mT).mean(-1, keepdim=True)
    return (game.output_weights @ hidden).squeeze(-1) - game.target


def _by_torch(game: MeanMatchingGame) -> MeanMatchingGame:
    """The same game by torch alone: its data pretend to need a gradient."""
    data = game.output_weights.clone().requires_grad_()
    return dataclasses.replace(game, output_weights=data)


@BATCHES
@DTYPES
def test_kernels_agree_with_torch(
    batch: tuple[int, ...],
    more: tuple[int, ...],
    dtype: torch.dtype,
    generator: torch.Generator,
) -> None:
    game = random_game(9, 3, 4, 7, batch=batch, dtype=dtype, generator=generator)
    other = _by_torch(game)
    weights, direction = draw(generator, 2, *more, *batch, 9, 4, dtype=dtype)
    scores = draw(generator, *more, *batch, 3, dtype=dtype)
    atol = 100 * torch.finfo(dtype).eps
    ours, reference = game.linearise(weights), other.linearise(weights)
    assert ours.residual.grad_fn is None
    assert reference.residual.grad_fn is not None
    assert torch.allclose(ours.residual, reference.residual, atol=atol, rtol=0)
    pulled = reference.pull_back(scores)
    assert torch.allclose(ours.pull_back(scores), pulled, atol=atol, rtol=0)
    pushed = other.push_forward(weights, direction)
    assert torch.allclose(
        game.push_forward(weights, direction), pushed, atol=atol, rtol=0
    )


@BATCHES
def test_the_residual_is_the_formula(
    batch: tuple[int, ...], more: tuple[int, ...], generator: torch.Generator
) -> None:
    game = _game(generator, *batch)
    weights = draw(generator, *more, *batch, 9, 4)
    expected = _residual(game, weights)
    assert torch.allclose(game.linearise(weights).residual, expected, atol=1e-13)


def test_layouts_and_memory_do_not_matter(generator: torch.Generator) -> None:
    game = _game(generator)
    weights = draw(generator, 4, 9).mT
    strided = dataclasses.replace(
        game,
        output_weights=game.output_weights.mT.contiguous().mT,
        latents=draw(generator, 4, 7).mT.copy_(game.latents),
        target=torch.stack((game.target, game.target), -1)[:, 0],
    )
    expected = _residual(game, weights)
    assert torch.allclose(strided.linearise(weights).residual, expected, atol=1e-13)


# torch.func.linearize warns of its own graph.
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr:UserWarning")
def test_torch_transformations_see_through(generator: torch.Generator) -> None:
    game = _game(generator)
    weights, direction = draw(generator, 2, 9, 4)

    def ours(point: Tensor) -> Tensor:
        return game.linearise(point).residual

    def formula(point: Tensor) -> Tensor:
        return _residual(game, point)

    def push(unit: Tensor) -> Tensor:
        return game.push_forward(weights, unit)

    jacobian = jacrev(formula)(weights)
    pushed = torch.einsum("fjc,jc->f", jacobian, direction)
    for dense in (jacrev(ours)(weights), jacfwd(ours)(weights)):
        assert torch.allclose(dense, jacobian, atol=1e-13)
    assert torch.allclose(jvp(ours, (weights,), (direction,))[1], pushed, atol=1e-13)
    assert torch.allclose(linearize(ours, weights)[1](direction), pushed, atol=1e-13)
    with forward_ad.dual_level():
        result = ours(forward_ad.make_dual(weights, direction))
        tangent = forward_ad.unpack_dual(result).tangent
    assert tangent is not None
    assert torch.allclose(tangent, pushed, atol=1e-13)
    pull_back = game.linearise(weights).pull_back
    assert torch.allclose(vmap(pull_back)(torch.eye(3).double()), jacobian, atol=1e-13)
    units = torch.eye(36).double().reshape(36, 9, 4)
    columns = vmap(push)(units)
    assert torch.allclose(columns.mT.reshape(3, 9, 4), jacobian, atol=1e-13)


def test_a_map_over_points_is_a_batch(generator: torch.Generator) -> None:
    game = _game(generator)
    points, scores = draw(generator, 5, 9, 4), draw(generator, 5, 3)
    for ours, batched in zip(
        vmap(game.gradients)(points, scores),
        game.gradients(points, scores),
        strict=True,
    ):
        assert torch.allclose(ours, batched, atol=1e-13)


def test_a_graph_is_recorded_where_one_is_asked_for(generator: torch.Generator) -> None:
    game = _game(generator)
    weights = draw(generator, 9, 4).requires_grad_()
    scores = draw(generator, 3).requires_grad_()
    value = game.value(weights, scores)
    for_min, for_max = torch.autograd.grad(value, (weights, scores))
    expected = game.gradients(weights.detach(), scores.detach())
    assert torch.allclose(for_min, expected[0], atol=1e-13)
    assert torch.allclose(for_max, expected[1], atol=1e-13)
    with torch.no_grad():
        assert not game.gradients(weights, scores)[0].requires_grad


def test_other_floating_types_are_left_to_torch(generator: torch.Generator) -> None:
    game = random_game(8, 2, 3, 4, dtype=torch.bfloat16, generator=generator)
    weights, _ = draw_start(game, generator=generator)
    residual = game.linearise(weights).residual
    assert residual.dtype == torch.bfloat16
    assert torch.allclose(residual, _residual(game, weights), atol=0.1)


def test_a_neuron_at_zero_does_not_move() -> None:
    game = MeanMatchingGame(
        output_weights=torch.ones(1, 2),
        latents=torch.tensor([[1.0], [-1.0]]),
        target=torch.zeros(1),
    )
    weights = torch.tensor([[0.0], [2.0]])
    residual, pull_back = game.linearise(weights)
    assert residual.tolist() == [1.0]
    assert pull_back(torch.ones(1)).tolist() == [[0.0], [0.5]]


def test_numbers_that_are_not_finite_come_through(generator: torch.Generator) -> None:
    game = _game(generator)
    weights = draw(generator, 9, 4)
    weights[2, 1] = float("nan")
    assert bool(game.linearise(weights).residual.isnan().all())


def test_every_combination_of_the_cone_is_reached(generator: torch.Generator) -> None:
    game = _game(generator)
    cone = game.reachable_cone
    assert cone.is_exact
    assert cone.columns is game.output_weights
    wanted = torch.rand(9, generator=generator, dtype=torch.float64)
    along = draw(generator, 4)
    unit_means = torch.relu(game.latents @ along).mean()
    weights = wanted.unsqueeze(-1) * along / unit_means
    output = game.linearise(weights).residual + game.target
    assert torch.allclose(output, game.output_weights @ wanted, atol=1e-12)


def test_no_point_is_better_than_non_negative_least_squares(
    generator: torch.Generator,
) -> None:
    game = random_game(4, 6, 3, 5, generator=generator)
    lowest = nnls(game.output_weights.numpy(), game.target.numpy())[1]
    weights = draw(generator, 500, 4, 3)
    lengths = torch.linalg.vector_norm(game.linearise(weights).residual, dim=-1)
    assert float(lengths.min()) >= lowest - 1e-12


def test_without_latents_that_differ_from_zero_the_cone_is_no_promise() -> None:
    game = MeanMatchingGame(
        output_weights=torch.ones(2, 1, 3),
        latents=torch.stack((torch.zeros(4, 2), torch.ones(4, 2))),
        target=torch.zeros(2, 1),
    )
    assert not game.reachable_cone.is_exact
    assert member(game, 1).reachable_cone.is_exact


@pytest.mark.parametrize("batch", [(), (2,)])
def test_draws_have_the_scales_asked_for(
    batch: tuple[int, ...], generator: torch.Generator
) -> None:
    game = random_game(
        2000, 20, 10, 2000, latent_scale=3.0, batch=batch, generator=generator
    )
    weights, scores = draw_start(game, weight_scale=0.5, generator=generator)
    for tensor, scale in (
        (game.output_weights, 2000**-0.5),
        (game.latents, 3.0),
        (weights, 0.5),
    ):
        # 20,000 numbers or more: five standard errors of their deviation.
        assert abs(float(tensor.std()) / scale - 1.0) < 0.025
        assert abs(float(tensor.mean())) < 5 * scale / math.sqrt(tensor.numel())
    assert weights.shape == (*batch, 2000, 10)
    assert scores.shape == (*batch, 20)
    assert not bool(scores.any())
    wide = random_game(50, 20, 5, 5, output_scale=2.0, generator=generator)
    assert abs(float(wide.output_weights.std()) / 2.0 - 1.0) < 0.12


def test_the_mean_eigenvalue_is_the_derived_one(generator: torch.Generator) -> None:
    # E |mean of active latents|^2 = (d + (n - 1) / pi) / (2 n): trace of J J^T.
    width, latent_dim, num_latents = 4000, 10, 50
    game = random_game(
        width, 1, latent_dim, num_latents, batch=(8,), generator=generator
    )
    weights, _ = draw_start(game, generator=generator)
    pulled = game.linearise(weights).pull_back(torch.ones(8, 1).double())
    measured = float(pulled.square().sum((-1, -2)).mean())
    derived = (latent_dim + (num_latents - 1) / math.pi) / (2 * num_latents)
    assert abs(measured / derived - 1.0) < 0.15


def test_the_same_seed_draws_the_same_game() -> None:
    def build() -> tuple[MeanMatchingGame, Tensor]:
        stream = torch.Generator().manual_seed(5)
        game = _game(stream, 2)
        return game, draw_start(game, generator=stream)[0]

    (first, start), (second, again) = build(), build()
    assert torch.equal(first.output_weights, second.output_weights)
    assert torch.equal(first.target, second.target)
    assert torch.equal(start, again)


def test_a_target_may_be_shared_or_given_for_each_game(
    generator: torch.Generator,
) -> None:
    shared = torch.tensor([1.0, 2.0, 3.0])
    game = random_game(9, 3, 4, 7, batch=(2,), target=shared, generator=generator)
    assert game.target.tolist() == [[1.0, 2.0, 3.0]] * 2
    assert game.target.dtype == torch.float64
    each = draw(generator, 2, 3)
    game = random_game(9, 3, 4, 7, batch=(2,), target=each, generator=generator)
    assert torch.equal(game.target, each)
    with pytest.raises(ShapeError, match=r"target must have shape \(3,\) or \(2, 3\)"):
        random_game(
            9, 3, 4, 7, batch=(2,), target=torch.zeros(3, 3), generator=generator
        )


@pytest.mark.parametrize("index", [0, -1, (1, 2), (0,)])
def test_a_member_is_one_game_of_the_batch(
    index: int | tuple[int, ...], generator: torch.Generator
) -> None:
    game = _game(generator, 2, 3)
    weights = draw(generator, 2, 3, 9, 4)
    one = member(game, index)
    alone = one.linearise(weights[index]).residual
    assert torch.allclose(game.linearise(weights).residual[index], alone, atol=1e-14)


@pytest.mark.parametrize("index", [2, -3, (0, 3), (0, 0, 0)])
def test_a_member_that_is_not_there_is_refused(
    index: int | tuple[int, ...], generator: torch.Generator
) -> None:
    with pytest.raises(ShapeError, match="index must name a game"):
        member(_game(generator, 2, 3), index)


@pytest.mark.parametrize(
    "sizes", [(0, 3, 4, 7), (9, 0, 4, 7), (9, 3, 0, 7), (9, 3, 4, 0)]
)
def test_sizes_below_one_are_refused(
    sizes: tuple[int, int, int, int], generator: torch.Generator
) -> None:
    with pytest.raises(ShapeError, match="must be at least 1"):
        random_game(*sizes, generator=generator)
    with pytest.raises(ShapeError, match="must be at least 1"):
        random_game(9, 3, 4, 7, batch=(0,), generator=generator)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_that_are_not_positive_are_refused(
    scale: float, generator: torch.Generator
) -> None:
    with pytest.raises(InputError, match="output_scale must be positive"):
        random_game(9, 3, 4, 7, output_scale=scale, generator=generator)
    with pytest.raises(InputError, match="latent_scale must be positive"):
        random_game(9, 3, 4, 7, latent_scale=scale, generator=generator)
    with pytest.raises(InputError, match="weight_scale must be positive"):
        draw_start(_game(generator), weight_scale=scale, generator=generator)


GOOD = {"output_weights": (2, 3, 9), "latents": (2, 7, 4), "target": (2, 3)}


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        ("output_weights", (9,), "output_weights must have shape"),
        ("latents", (7,), "latents"),
        ("latents", (7, 4), "latents must begin with"),
        ("latents", (2, 0, 4), "must be at least 1"),
        ("latents", (2, 7, 0), "must be at least 1"),
        ("output_weights", (2, 3, 0), "must be at least 1"),
        ("target", (2, 4), r"target must have shape \(2, 3\)"),
        ("target", (3,), r"target must have shape \(2, 3\)"),
    ],
)
def test_data_that_do_not_fit_are_refused(
    name: str, shape: tuple[int, ...], match: str
) -> None:
    data = {key: torch.zeros(size) for key, size in (GOOD | {name: shape}).items()}
    with pytest.raises(ShapeError, match=match):
        MeanMatchingGame(**data)


@pytest.mark.parametrize("name", GOOD)
def test_data_that_are_not_finite_are_refused(name: str) -> None:
    data = {key: torch.zeros(size) for key, size in GOOD.items()}
    data[name][0, 0] = float("nan")
    with pytest.raises(InputError, match=f"{name} must be finite"):
        MeanMatchingGame(**data)
    data[name] = torch.zeros(GOOD[name]).double()
    with pytest.raises(InputError, match="convert one of them"):
        MeanMatchingGame(**data)


@pytest.mark.parametrize("shape", [(9, 4), (3, 9, 4), (2, 9, 3), (9,), (1, 9, 4)])
def test_weights_that_do_not_fit_are_refused(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    game = _game(generator, 2)
    with pytest.raises(ShapeError, match="min_player must have shape"):
        game.linearise(torch.zeros(shape).double())
    with pytest.raises(InputError, match="min_player must be"):
        game.push_forward(torch.zeros(2, 9, 4), torch.zeros(2, 9, 4))


def test_scores_and_directions_that_do_not_fit_are_refused(
    generator: torch.Generator,
) -> None:
    game = _game(generator, 2)
    weights = draw(generator, 2, 9, 4)
    with pytest.raises(ShapeError, match="max_player must have shape"):
        game.linearise(weights).pull_back(torch.zeros(3).double())
    with pytest.raises(ShapeError, match="direction must have shape"):
        game.push_forward(weights, weights[0])


def test_numbers_of_numpy_are_no_trap(generator: torch.Generator) -> None:
    weights = torch.from_numpy(np.ones((9, 4)))
    game = _game(generator)
    residual = game.linearise(weights).residual
    assert torch.allclose(residual, _residual(game, weights), atol=1e-13)
