import math

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.lipschitz.ensemble import BIAS_NAMES, BiasName, random_network
from tacit.lipschitz.layers import Dense, Shift
from tacit.lipschitz.network import Network, run
from tacit.rng import make_generator


def _weights(network: Network) -> list[Tensor]:
    layers = [node.layer for node in network.nodes]
    return [layer.weight for layer in layers if isinstance(layer, Dense)]


def _biases(network: Network) -> list[Tensor]:
    layers = [node.layer for node in network.nodes]
    return [layer.offset for layer in layers if isinstance(layer, Shift)]


def _squared_gradients(network: Network, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(run(network, x).sum(), x)
    return gradient.square().sum(1)


def test_shapes_and_scales_of_the_weights() -> None:
    network = random_network(300, 200, 3, generator=make_generator(0))
    first, second, third, last = _weights(network)
    assert [tuple(w.shape) for w in (first, second, third, last)] == [
        (200, 300),
        (200, 200),
        (200, 200),
        (1, 200),
    ]
    for weight, variance in ((first, 0.01), (second, 0.01), (third, 0.01), (last, 1.0)):
        count = weight.numel()
        # Five standard errors of a mean and of a variance of Gaussians.
        assert abs(float(weight.mean())) < 5 * math.sqrt(variance / count)
        spread = float(weight.square().mean())
        assert abs(spread / variance - 1) < 5 * math.sqrt(2 / count)
    assert _biases(network) == []


@pytest.mark.parametrize("bias", BIAS_NAMES)
@pytest.mark.parametrize(
    ("num_inputs", "width", "num_layers"), [(3, 20, 1), (6, 40, 3)]
)
def test_mean_squared_gradient_is_the_number_of_inputs(
    num_inputs: int, width: int, num_layers: int, bias: BiasName
) -> None:
    x = torch.ones(1, num_inputs, dtype=torch.float64)
    draws = torch.cat(
        [
            _squared_gradients(
                random_network(
                    num_inputs,
                    width,
                    num_layers,
                    generator=make_generator(seed, bias),
                    bias=bias,
                ),
                x,
            )
            for seed in range(250)
        ]
    )
    error = float(draws.std()) / math.sqrt(draws.numel())
    assert abs(float(draws.mean()) - num_inputs) < 4.5 * error
    # The test can tell d from d (1 +- 0.5): it is not vacuous.
    assert error < num_inputs / 9


@pytest.mark.parametrize(
    ("bias", "second_moment"),
    [("gaussian", 1.0), ("uniform", 1.0 / 3.0), ("rademacher", 1.0)],
)
def test_bias_laws_have_their_moments(bias: BiasName, second_moment: float) -> None:
    network = random_network(1, 4000, 1, generator=make_generator(1), bias=bias)
    draw = _biases(network)[0]
    assert abs(float(draw.mean())) < 5 * math.sqrt(second_moment / 4000)
    assert float(draw.square().mean()) == pytest.approx(second_moment, rel=0.12)


def test_student_t_law_has_its_quartiles() -> None:
    network = random_network(
        1, 4000, 1, generator=make_generator(1), bias="student_t", bias_scale=2.0
    )
    inside = (_biases(network)[0].abs() < 2.0 * 0.7648923).double().mean()
    assert float(inside) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(4000))


def test_own_bias_law_is_used_and_its_shape_checked() -> None:
    def law(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.full(shape, 0.25)

    network = random_network(2, 3, 2, generator=make_generator(0), bias=law)
    assert all(bool((bias == 0.25).all()) for bias in _biases(network))
    with pytest.raises(ShapeError, match="shape"):
        random_network(
            2, 3, 2, generator=make_generator(0), bias=lambda shape, _: torch.zeros(7)
        )


def test_same_seed_same_network_and_weights_shared_between_bias_laws() -> None:
    before = torch.random.get_rng_state()
    drawn = {
        bias: [
            random_network(4, 9, 2, generator=make_generator(3), bias=bias)
            for _ in range(2)
        ]
        for bias in BIAS_NAMES
    }
    assert torch.equal(before, torch.random.get_rng_state())
    for first, second in drawn.values():
        assert first.digest == second.digest
        for own, other in zip(_weights(first), _weights(drawn["zero"][0]), strict=True):
            assert torch.equal(own, other)
    other = random_network(4, 9, 2, generator=make_generator(4))
    assert other.digest != drawn["zero"][0].digest


def test_bad_arguments_are_refused() -> None:
    generator = make_generator(0)
    for sizes in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(InputError, match="at least 1"):
            random_network(*sizes, generator=generator)
    with pytest.raises(InputError, match="bias must be one of"):
        random_network(1, 1, 1, generator=generator, bias="cauchy")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="bias_scale"):
        random_network(1, 1, 1, generator=generator, bias_scale=math.inf)
