"""DCGAN at a width, against the same layers written in plain PyTorch."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from tacit.errors import ShapeError
from tacit.minimax.gan.networks_dcgan import (
    dcgan_discriminator,
    dcgan_generator,
    find_doublings,
)


@pytest.mark.parametrize(
    ("size", "base", "times"),
    [
        *((8, 2, 2), (12, 3, 2), (16, 4, 2), (20, 5, 2), (28, 7, 2), (32, 4, 3)),
        *((40, 5, 3), (56, 7, 3), (64, 4, 4), (96, 6, 4), (128, 4, 5), (256, 4, 6)),
    ],
)
def test_sizes_are_reached_by_doubling(size: int, base: int, times: int) -> None:
    doublings = find_doublings((3, size, size))
    assert doublings == ((base, base), times)
    assert doublings.area == base * base


def test_sides_may_differ(generator: torch.Generator) -> None:
    assert find_doublings((3, 64, 48)) == ((8, 6), 3)
    network = dcgan_generator((3, 64, 48), 1, 4, generator=generator)
    assert network(torch.zeros(2, 4)).shape == (2, 3, 64, 48)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 30, 30), (3, 218, 178), (1, 9, 9)])
def test_sizes_that_cannot_be_reached_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"doubled from 4 to 7.*resize to a size such"):
        find_doublings(shape)


def test_the_advice_can_be_followed() -> None:
    with pytest.raises(ShapeError, match="a size such as 28, 32") as caught:
        find_doublings((1, 30, 30))
    assert "30 x 30" in str(caught.value)
    with pytest.raises(ShapeError, match="a size such as 160, 192"):
        find_doublings((3, 218, 178))
    for size in (28, 32, 160, 192):
        find_doublings((3, size, size))


def test_vectors_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(ShapeError, match=r"make images.*\(2,\).*mlp"):
        dcgan_generator((2,), 4, 8, generator=generator)


@pytest.mark.global_rng
def test_the_generator_is_radfords(generator: torch.Generator) -> None:
    k, d = 3, 5
    network = dcgan_generator((2, 32, 32), k, d, generator=generator)
    blocks: list[nn.Module] = []
    for before, after, stride, padding in (
        (d, 4 * k, 1, 0),
        (4 * k, 2 * k, 2, 1),
        (2 * k, k, 2, 1),
    ):
        blocks += [
            nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    plain = nn.Sequential(*blocks, nn.ConvTranspose2d(k, 2, 4, 2, 1), nn.Tanh())
    own, theirs = list(network.parameters()), list(plain.parameters())
    assert len(own) == len(theirs)
    with torch.no_grad():
        for ours, copy in zip(own, theirs, strict=True):
            ours.normal_(generator=generator)
            # The dense layer is a transposed convolution of a single pixel.
            copy.copy_(ours.T.reshape(copy.shape) if ours.ndim == 2 else ours)
    z = torch.randn(7, d, generator=generator)
    torch.testing.assert_close(network(z), plain(z.view(7, d, 1, 1)))


@pytest.mark.global_rng
@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_discriminator_is_radfords(
    generator: torch.Generator, batch_norm: bool
) -> None:
    k = 3
    network = dcgan_discriminator(
        (2, 32, 32), k, spectral_norm=False, batch_norm=batch_norm, generator=generator
    )
    layers: list[nn.Module] = [nn.Conv2d(2, k, 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after in ((k, 2 * k), (2 * k, 4 * k)):
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(0.2))
    plain = nn.Sequential(*layers, nn.Conv2d(4 * k, 1, 4))
    with torch.no_grad():
        for own, copy in zip(network.parameters(), plain.parameters(), strict=True):
            own.normal_(generator=generator)
            copy.copy_(own.reshape(copy.shape))
    x = torch.randn(7, 2, 32, 32, generator=generator)
    torch.testing.assert_close(network(x), plain(x).flatten(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "multiples"),
    [
        (8, [2, 1]),
        (32, [4, 2, 1]),
        (64, [8, 4, 2, 1]),
        (128, [8, 8, 4, 2, 1]),
    ],
)
def test_channels_are_multiples_of_the_width(
    generator: torch.Generator, size: int, multiples: list[int]
) -> None:
    for k in (1, 3):
        network = dcgan_generator((3, size, size), k, 4, generator=generator)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert [norm.num_features // k for norm in norms] == multiples
        critic = dcgan_discriminator(
            (3, size, size),
            k,
            spectral_norm=True,
            batch_norm=True,
            generator=generator,
        )
        layers = [m for m in critic.modules() if isinstance(m, nn.Conv2d)]
        assert [c.out_channels // k for c in layers] == multiples[::-1]


def test_a_spectral_norm_replaces_batch_norm(generator: torch.Generator) -> None:
    network = dcgan_discriminator(
        (1, 8, 8), 2, spectral_norm=True, batch_norm=True, generator=generator
    )
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    state: OrderedDict[str, torch.Tensor] = OrderedDict(network.state_dict())
    assert sum(name.endswith("original") for name in state) == 3
    # Samples do not influence each other.
    network.eval()
    x = torch.randn(6, 1, 8, 8, generator=generator)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]))


def test_narrow_networks_do_not_begin_blind(generator: torch.Generator) -> None:
    # The scale of samples and scores at the start hardly depends on the width.
    for k in (2, 32):
        samples = dcgan_generator((1, 8, 8), k, 16, generator=generator)(
            torch.randn(64, 16, generator=generator)
        )
        assert 0.2 < float(samples.detach().std()) < 0.8
        for batch_norm in (False, True):
            critic = dcgan_discriminator(
                (1, 8, 8),
                k,
                spectral_norm=False,
                batch_norm=batch_norm,
                generator=generator,
            )
            x = torch.randn(64, 1, 8, 8, generator=generator)
            assert 0.1 < float(critic(x).detach().std()) < 3.0
