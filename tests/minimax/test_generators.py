import pytest
import torch
from scipy.optimize import nnls
from torch import nn

from saddle_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.minimax.generators import (
    deep_relu_generator,
    draw_parameters,
    generator_problem,
    module_generator,
)
from tacit.minimax.mean_matching import draw_start, random_game
from tacit.minimax.random_features import random_features


def _module(generator: torch.Generator) -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(draw(generator, *parameter.shape))
    return module.eval()


@pytest.mark.parametrize("is_output_trained", [False, True])
def test_a_deep_generator_is_its_layers(
    is_output_trained: bool, generator: torch.Generator
) -> None:
    latents = draw(generator, 6, 3)
    first, second, last = (draw(generator, *s) for s in ((5, 3), (4, 5), (2, 4)))
    layers = {"hidden1": first, "hidden2": second}
    if is_output_trained:
        deep = deep_relu_generator(latents, (5, 4), sample_dim=2)
        layers["output"] = last
    else:
        deep = deep_relu_generator(latents, (5, 4), output_weights=last)
    samples = deep.function(deep.packing.pack(layers))
    for i in range(6):
        hidden = (second @ (first @ latents[i]).clamp(min=0)).clamp(min=0)
        assert torch.allclose(samples[i], last @ hidden, atol=1e-12)
    assert (deep.cone is None) == is_output_trained


def test_one_hidden_layer_is_the_mean_matching_game(generator: torch.Generator) -> None:
    game = random_game(7, 3, 4, 6, generator=generator)
    weights, _ = draw_start(game, generator=generator)
    deep = deep_relu_generator(game.latents, (7,), output_weights=game.output_weights)
    problem = generator_problem(deep, game.target.unsqueeze(0))
    theta, scores = weights.flatten(), draw(generator, 3)
    assert torch.allclose(
        problem.linearise(theta).residual, game.linearise(weights).residual, atol=1e-13
    )
    for ours, closed in zip(
        problem.gradients(theta, scores), game.gradients(weights, scores), strict=True
    ):
        assert torch.allclose(ours, closed.flatten(), atol=1e-13)


def test_a_deep_generator_reaches_its_whole_cone(generator: torch.Generator) -> None:
    deep = deep_relu_generator(
        draw(generator, 6, 3), (5, 4), output_weights=draw(generator, 2, 4)
    )
    assert deep.cone is not None
    assert deep.cone.is_exact
    layers = deep.packing.unpack(draw_parameters(deep, generator=generator))
    first = layers["hidden1"]
    means = torch.relu(deep.latents @ first.mT).mean(0)
    wanted = torch.rand(4, generator=generator, dtype=torch.float64)
    # Every last row is a multiple of the means, which are not negative.
    layers["hidden2"] = wanted.unsqueeze(-1) * means / means.square().sum()
    mean = deep.function(deep.packing.pack(layers)).mean(0)
    assert torch.allclose(mean, deep.cone.columns @ wanted, atol=1e-12)


def test_a_deep_generator_never_leaves_its_cone(generator: torch.Generator) -> None:
    deep = deep_relu_generator(
        draw(generator, 6, 3), (5, 4), output_weights=draw(generator, 7, 4)
    )
    problem = generator_problem(deep, draw(generator, 9, 7))
    assert deep.cone is not None
    assert problem.reachable_cone is deep.cone
    columns = deep.cone.columns.numpy()
    lowest = nnls(columns, problem.target.numpy())[1]
    theta = draw_parameters(deep, batch=(300,), generator=generator)
    outputs = problem.linearise(theta).residual + problem.target
    for output in outputs[:20]:
        assert nnls(columns, output.numpy())[1] < 1e-10
    lengths = torch.linalg.vector_norm(outputs - problem.target, dim=-1)
    assert float(lengths.min()) >= lowest - 1e-12


def test_latents_of_zeros_make_no_promise() -> None:
    deep = deep_relu_generator(torch.zeros(2, 3), (4,), output_weights=torch.ones(1, 4))
    assert deep.cone is not None
    assert not deep.cone.is_exact


def test_starts_keep_the_size_of_the_signal(generator: torch.Generator) -> None:
    latents = draw(generator, 1, 400)
    deep = deep_relu_generator(latents, (400, 400, 400), sample_dim=400)
    theta = draw_parameters(deep, batch=(3,), generator=generator)
    ratios = [
        float(deep.function(one).square().mean() / latents.square().mean())
        for one in theta
    ]
    # The output layer has no ReLU behind it: its default gain doubles the square.
    assert 1.2 < sum(ratios) / 3 < 3.0
    entries = deep.packing.unpack(theta)["hidden2"]
    assert abs(float(entries.std()) - (2 / 400) ** 0.5) < 1e-3
    louder = draw_parameters(deep, gain=8.0, generator=generator)
    assert abs(float(louder.std()) - (8 / 400) ** 0.5) < 1e-3


def test_starts_take_the_dtype_of_the_generator(generator: torch.Generator) -> None:
    deep = deep_relu_generator(torch.ones(2, 3), (4,), sample_dim=2)
    assert draw_parameters(deep, generator=generator).dtype == torch.float32


@pytest.mark.global_rng
def test_a_module_is_called_with_the_parameters_given(
    generator: torch.Generator,
) -> None:
    module, latents = _module(generator), draw(generator, 6, 3)
    made = module_generator(module, latents)
    theta = made.packing.pack(dict(module.named_parameters())).detach()
    assert torch.equal(made.function(theta), module(latents))
    other = draw(generator, *theta.shape)
    expected = module(latents).clone()
    samples = made.function(other)
    assert not torch.allclose(samples, expected)
    assert torch.equal(module(latents), expected)
    names = made.packing.unpack(other)
    hidden = torch.tanh(latents @ names["0.weight"].mT + names["0.bias"])
    expected = hidden @ names["2.weight"].mT + names["2.bias"]
    assert torch.allclose(samples, expected, atol=1e-12)


@pytest.mark.global_rng
def test_parameters_that_need_no_gradient_stay(generator: torch.Generator) -> None:
    module, latents = _module(generator), draw(generator, 6, 3)
    module.get_submodule("2").requires_grad_(requires_grad=False)
    made = module_generator(module, latents)
    assert list(made.packing.shapes) == ["0.weight", "0.bias"]
    before = made.function(torch.zeros(made.packing.size).double())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    again = made.function(torch.zeros(made.packing.size).double())
    assert torch.equal(before, again)
    assert bool(before.any())


@pytest.mark.global_rng
def test_the_jacobian_of_a_module_is_that_of_autograd(
    generator: torch.Generator,
) -> None:
    module, latents = _module(generator), draw(generator, 6, 3)
    made = module_generator(module, latents)
    problem = generator_problem(made, draw(generator, 8, 4))
    theta = made.packing.pack(dict(module.named_parameters())).detach()
    scores = draw(generator, 4)
    loss = module(latents).mean(0) @ scores
    expected = torch.autograd.grad(loss, list(module.parameters()))
    pulled = problem.linearise(theta).pull_back(scores)
    assert torch.allclose(pulled, torch.cat([g.flatten() for g in expected]))
    thetas = torch.stack((theta, 2 * theta))
    batched = problem.linearise(thetas).residual
    assert torch.allclose(batched[1], problem.linearise(thetas[1]).residual)


@pytest.mark.global_rng
def test_pictures_are_flattened(generator: torch.Generator) -> None:
    module = nn.Sequential(nn.Linear(2, 8), nn.Unflatten(1, (2, 2, 2))).eval()
    made = module_generator(module, torch.ones(3, 2))
    theta = made.packing.pack(dict(module.named_parameters())).detach()
    assert made.function(theta).shape == (3, 8)
    problem = generator_problem(made, torch.zeros(5, 2, 2, 2))
    residual = problem.linearise(theta).residual
    assert torch.allclose(residual, made.function(theta).mean(0))


@pytest.mark.global_rng
def test_modules_that_are_no_fixed_function_are_refused(
    generator: torch.Generator,
) -> None:
    module, latents = _module(generator), draw(generator, 6, 3)
    with pytest.raises(InputError, match=r"must be torch\.float32"):
        module_generator(module, latents.float())
    module.get_submodule("1").train()
    with pytest.raises(InputError, match="must be in evaluation mode"):
        module_generator(module, latents)
    with pytest.raises(InputError, match="got none to train"):
        module_generator(nn.Tanh().eval(), latents)
    with pytest.raises(ShapeError, match="latents must have shape"):
        module_generator(module.eval(), latents[:0])


@pytest.mark.parametrize("kind", ["relu", "fourier"])
def test_features_are_matched_on_average(kind: str, generator: torch.Generator) -> None:
    deep = deep_relu_generator(
        draw(generator, 6, 3), (5,), output_weights=draw(generator, 2, 5)
    )
    data = draw(generator, 9, 2)
    features = random_features(
        "relu" if kind == "relu" else "fourier", 11, 2, generator=generator
    )
    problem = generator_problem(deep, data, features=features)
    theta = draw_parameters(deep, generator=generator)
    ours = features.apply(deep.function(theta)).sum(0) / 6
    expected = ours - features.apply(data).sum(0) / 9
    assert torch.allclose(problem.linearise(theta).residual, expected, atol=1e-13)
    assert problem.reachable_cone is None
    assert problem.spec.max_shape == (11,)


def test_the_value_with_fourier_features_is_a_discrepancy(
    generator: torch.Generator,
) -> None:
    deep = deep_relu_generator(draw(generator, 5, 3), (4,), sample_dim=2)
    data = draw(generator, 7, 2)
    features = random_features("fourier", 200_000, 2, generator=generator)
    problem = generator_problem(deep, data, features=features)
    theta = draw_parameters(deep, generator=generator)
    residual = problem.linearise(theta).residual
    points = torch.cat((deep.function(theta), data))
    kernel = torch.exp(-torch.cdist(points, points).square() / 2)
    weights = torch.cat((torch.full((5,), 1 / 5), torch.full((7,), -1 / 7))).double()
    discrepancy = float(weights @ kernel @ weights)
    value = float(problem.value(theta, residual))
    assert abs(2 * value - discrepancy) < 0.02


def test_layers_that_do_not_fit_are_refused() -> None:
    latents = torch.ones(6, 3)
    with pytest.raises(InputError, match="got neither"):
        deep_relu_generator(latents, (4,))
    with pytest.raises(InputError, match="got both"):
        deep_relu_generator(
            latents, (4,), output_weights=torch.ones(2, 4), sample_dim=2
        )
    for widths in ((), (4, 0)):
        with pytest.raises(ShapeError, match="must be at least 1"):
            deep_relu_generator(latents, widths, sample_dim=2)
    with pytest.raises(ShapeError, match="must be at least 1"):
        deep_relu_generator(latents, (4,), sample_dim=0)
    with pytest.raises(
        ShapeError, match=r"output_weights must have shape \(sample_dim"
    ):
        deep_relu_generator(latents, (4,), output_weights=torch.ones(2, 5))
    with pytest.raises(ShapeError, match="latents must have shape"):
        deep_relu_generator(latents[0], (4,), sample_dim=2)
    with pytest.raises(InputError, match="latents must be finite"):
        deep_relu_generator(latents / 0, (4,), sample_dim=2)
    with pytest.raises(InputError, match=r"output_weights must be torch\.float"):
        deep_relu_generator(latents, (4,), output_weights=torch.ones(2, 4).double())


@pytest.mark.global_rng
def test_starts_that_cannot_be_drawn_are_refused(generator: torch.Generator) -> None:
    deep = deep_relu_generator(torch.ones(2, 3), (4,), sample_dim=2)
    for gain in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="gain must be positive"):
            draw_parameters(deep, gain=gain, generator=generator)
    made = module_generator(_module(generator), draw(generator, 6, 3))
    with pytest.raises(InputError, match=r"only matrices are drawn; 0\.bias"):
        draw_parameters(made, generator=generator)


def test_data_that_do_not_fit_are_refused(generator: torch.Generator) -> None:
    deep = deep_relu_generator(torch.ones(2, 3), (4,), sample_dim=2)
    with pytest.raises(ShapeError, match="data must have shape"):
        generator_problem(deep, torch.ones(2))
    with pytest.raises(ShapeError, match="data must be samples of size 2"):
        generator_problem(deep, torch.ones(5, 3))
    with pytest.raises(InputError, match="data must be finite"):
        generator_problem(deep, torch.full((5, 2), float("nan")))
    with pytest.raises(InputError, match=r"latents must be torch\.float64"):
        generator_problem(deep, torch.ones(5, 2).double())
    features = random_features("relu", 3, 3, generator=generator, dtype=torch.float32)
    with pytest.raises(ShapeError, match="features must be of samples of size 2"):
        generator_problem(deep, torch.ones(5, 2), features=features)
    features = random_features("relu", 3, 2, generator=generator)
    with pytest.raises(InputError, match=r"weights must be torch\.float32"):
        generator_problem(deep, torch.ones(5, 2), features=features)
