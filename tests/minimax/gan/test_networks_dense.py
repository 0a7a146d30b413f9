"""Players of dense layers, against their formulas written out."""

import torch
from torch.nn import functional

from tacit.minimax.gan.networks_dense import (
    dense_discriminator,
    mlp_generator,
    one_hidden_layer_generator,
)


def test_the_papers_generator_is_its_formula(generator: torch.Generator) -> None:
    network = one_hidden_layer_generator((6,), 9, 4, generator=generator)
    (hidden,) = network.parameters()
    (fixed,) = network.buffers()
    assert (hidden.shape, fixed.shape) == ((9, 4), (6, 9))
    z = torch.randn(5, 4, generator=generator)
    torch.testing.assert_close(network(z), (z @ hidden.T).clamp(min=0.0) @ fixed.T)


def test_only_the_hidden_layer_of_the_papers_generator_is_trained(
    generator: torch.Generator,
) -> None:
    network = one_hidden_layer_generator((1, 2, 3), 9, 4, generator=generator)
    samples = network(torch.randn(5, 4, generator=generator))
    assert samples.shape == (5, 1, 2, 3)
    samples.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    assert not any(buffer.requires_grad for buffer in network.buffers())
    assert set(dict(network.named_buffers())) <= set(network.state_dict())


def test_its_samples_have_variance_one_at_every_width(
    generator: torch.Generator,
) -> None:
    for width in (4, 1000):
        draws = [
            one_hidden_layer_generator((50,), width, 8, generator=generator)(
                torch.randn(50, 8, generator=generator)
            )
            for _ in range(40)
        ]
        assert abs(float(torch.stack(draws).detach().var()) - 1.0) < 0.15


def test_the_mlp_is_its_formula(generator: torch.Generator) -> None:
    network = mlp_generator((2, 3, 3), 7, 4, generator=generator)
    w1, b1, w2, b2, w3, b3 = network.parameters()
    assert (w1.shape, w2.shape, w3.shape) == ((7, 4), (7, 7), (18, 7))
    with torch.no_grad():
        for bias in (b1, b2, b3):
            bias.normal_(generator=generator)
    z = torch.randn(5, 4, generator=generator)
    y = functional.relu(functional.relu(z @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    torch.testing.assert_close(network(z), torch.tanh(y).view(5, 2, 3, 3))


def test_the_discriminator_is_its_formula(generator: torch.Generator) -> None:
    network = dense_discriminator(
        (2, 3), 7, num_hidden=1, spectral_norm=False, generator=generator
    )
    w1, b1, w2, b2 = network.parameters()
    with torch.no_grad():
        for bias in (b1, b2):
            bias.normal_(generator=generator)
    x = torch.randn(5, 2, 3, generator=generator)
    y = x.flatten(1) @ w1.T + b1
    expected = torch.where(y > 0.0, y, 0.2 * y) @ w2[0] + b2
    torch.testing.assert_close(network(x), expected)


def test_a_spectral_norm_makes_the_discriminator_lipschitz(
    generator: torch.Generator,
) -> None:
    network = dense_discriminator((8,), 16, spectral_norm=True, generator=generator)
    for _ in range(100):
        network(torch.zeros(1, 8))
    x = (3.0 * torch.randn(200, 8, generator=generator)).requires_grad_()
    (slopes,) = torch.autograd.grad(network(x).sum(), x)
    lengths = torch.linalg.vector_norm(slopes, dim=1)
    assert 0.05 < float(lengths.max()) <= 1.0 + 1e-5
