"""Both players at a width: shapes, streams, counts, refusals."""

import copy
from typing import Any, get_args

import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.networks import Architecture, Gan, build_gan, num_parameters
from tacit.rng import make_generator

CASES = [
    *((name, (3,)) for name in ("one-hidden-layer", "mlp")),
    *((name, (1, 8, 8)) for name in get_args(Architecture)),
]


@pytest.mark.parametrize(("architecture", "shape"), CASES)
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_samples_and_scores_have_their_shapes(
    generator: torch.Generator,
    architecture: Architecture,
    shape: tuple[int, ...],
    spectral_norm: bool,
) -> None:
    gan = build_gan(
        architecture,
        data_shape=shape,
        width=3,
        latent_dim=6,
        spectral_norm=spectral_norm,
        generator=generator,
    )
    samples = gan.generator(torch.randn(5, 6, generator=generator))
    assert (samples.shape, samples.dtype) == ((5, *shape), torch.float32)
    if len(shape) == 3:
        assert samples.abs().max() <= 1.0
    scores = gan.discriminator(samples)
    assert scores.shape == (5,)
    scores.sum().backward()
    for module in (gan.generator, gan.discriminator):
        assert module.training
        assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize(("architecture", "shape"), CASES)
def test_a_seed_decides_both_players(
    architecture: Architecture, shape: tuple[int, ...]
) -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        gan = build_gan(
            architecture,
            data_shape=shape,
            width=2,
            spectral_norm=True,
            generator=make_generator(seed),
        )
        states = gan.generator.state_dict(), gan.discriminator.state_dict()
        return [value for state in states for value in state.values()]

    first, again, other = weights(0), weights(0), weights(1)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))
    assert all(value.isfinite().all() for value in first)


@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
def test_a_state_restores_a_player_in_training(architecture: Architecture) -> None:
    def fresh(seed: int) -> Gan:
        return build_gan(
            architecture,
            data_shape=(1, 8, 8),
            width=2,
            latent_dim=4,
            spectral_norm=True,
            generator=make_generator(seed),
        )

    one, two = fresh(0), fresh(1)
    z = torch.randn(5, 4, generator=make_generator(0, "z"))
    one.discriminator(one.generator(z))
    two.generator.load_state_dict(one.generator.state_dict())
    two.discriminator.load_state_dict(one.discriminator.state_dict())
    for _ in range(2):
        assert torch.equal(
            one.discriminator(one.generator(z)), two.discriminator(two.generator(z))
        )
    twin = copy.deepcopy(one.discriminator)
    assert torch.equal(twin(one.generator(z)), one.discriminator(one.generator(z)))


def test_a_width_of_one_player_leaves_the_other_alone() -> None:
    def counts(**widths: int) -> tuple[int, int]:
        gan = build_gan(
            "dcgan",
            data_shape=(1, 8, 8),
            width=widths.get("width"),
            generator_width=widths.get("generator_width"),
            discriminator_width=widths.get("discriminator_width"),
            generator=make_generator(0),
        )
        assert gan.num_parameters == sum(
            (gan.num_generator_parameters, gan.num_discriminator_parameters)
        )
        return gan.num_generator_parameters, gan.num_discriminator_parameters

    both = counts(width=4)
    wide_generator = counts(width=4, generator_width=8)
    wide_discriminator = counts(generator_width=4, discriminator_width=8)
    assert wide_generator[1] == both[1]
    assert wide_discriminator[0] == both[0]
    assert (wide_generator[0], wide_discriminator[1]) == counts(width=8)


def test_parameters_are_those_that_are_trained(generator: torch.Generator) -> None:
    gan = build_gan(
        "one-hidden-layer",
        data_shape=(5,),
        width=7,
        latent_dim=3,
        generator=generator,
    )
    assert gan.num_generator_parameters == 7 * 3
    assert gan.num_discriminator_parameters == (5 + 1) * 7 + (7 + 1)
    layer = torch.nn.Module()
    layer.register_parameter("fixed", torch.nn.Parameter(torch.zeros(4), False))
    assert num_parameters(layer) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 0}, "width must be a whole number of at least 1; got 0"),
        ({"width": True}, "got True"),
        ({"width": 2.5}, "got 2.5"),
        ({"generator_width": -1}, "generator_width must be .* got -1"),
        ({"width": None}, "got neither it nor width"),
        ({"width": None, "generator_width": 3}, "discriminator_width must be known"),
        ({"latent_dim": 0}, "latent_dim must be a whole number"),
        ({"architecture": "biggan"}, "one of one-hidden-layer, .*got 'biggan'"),
        ({"width": 10**6}, "lower the width"),
    ],
)
def test_bad_choices_are_refused(
    generator: torch.Generator, changes: dict[str, Any], words: str
) -> None:
    choices: dict[str, Any] = {
        "architecture": "mlp",
        "data_shape": (2,),
        "width": 4,
        "generator": generator,
        **changes,
    }
    with pytest.raises(InputError, match=words):
        build_gan(**choices)


@pytest.mark.parametrize("shape", [(), (8, 8), (0,), (1, 0, 8)])
def test_odd_shapes_are_refused(
    generator: torch.Generator, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ShapeError, match="of vectors or"):
        build_gan("mlp", data_shape=shape, width=4, generator=generator)


@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
def test_images_are_needed_for_convolutions(
    generator: torch.Generator, architecture: Architecture
) -> None:
    with pytest.raises(ShapeError, match="mlp or one-hidden-layer"):
        build_gan(architecture, data_shape=(2,), width=4, generator=generator)
