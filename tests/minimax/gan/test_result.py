"""Samples and pictures of a trained GAN."""

import pytest
import torch

from gan_runs import IMAGES, images
from tacit.errors import InputError
from tacit.minimax.gan.result import TrainedGenerator, generate
from tacit.minimax.gan.train import train_gan
from tacit.rng import make_generator


class Doubled(torch.nn.Module):
    """A generator whose samples are known."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return (self.scale * latents).unsqueeze(1)


def test_samples_made_in_parts_are_those_made_at_once(
    generator: torch.Generator,
) -> None:
    latents = torch.randn(600, 3, generator=generator)
    samples = generate(Doubled(), latents, (1, 3))
    assert torch.equal(samples, 2.0 * latents.unsqueeze(1))
    assert not samples.requires_grad


def test_a_stream_decides_the_samples() -> None:
    trained = TrainedGenerator(module=Doubled(), latent_dim=3, shape=(1, 3), step=1)
    expected = 2.0 * torch.randn(5, 3, generator=make_generator(4)).unsqueeze(1)
    assert torch.equal(trained.sample(5, generator=make_generator(4)), expected)
    assert trained.sample(0, generator=make_generator(4)).shape == (0, 1, 3)
    with pytest.raises(InputError, match="num_samples must be at least 0; got -1"):
        trained.sample(-1, generator=make_generator(4))


def test_a_result_says_what_it_knows() -> None:
    result = train_gan(images(), IMAGES)
    assert result.scores == dict(result.history.scores[-1].values)
    assert result.converged is False
    assert result.num_parameters == sum(
        p.numel()
        for m in (result.gan.generator, result.gan.discriminator)
        for p in m.parameters()
        if p.requires_grad
    )
    assert result.seconds > 0.0
    assert result.folder is None
    assert result.sample(2, generator=make_generator(0)).abs().max() <= 1.0
    assert len(result.plot().axes) == 3
