"""Both players: made from named streams, and put back bit by bit."""

from dataclasses import replace

import pytest
import torch

from gan_runs import IMAGES, SMALL, assert_same_arrays, images, vectors
from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.players import (
    Players,
    encode_players,
    make_gan,
    make_players,
    restore_players,
)
from tacit.minimax.gan.step import take_step
from tacit.rng import make_generator

CPU = torch.device("cpu")


def players(seed: int = 0) -> Players:
    return make_players(replace(IMAGES, seed=seed), images().train, CPU)


def test_a_seed_gives_the_same_players_and_another_seed_others() -> None:
    one, two, other = (encode_players(players(seed)) for seed in (0, 0, 1))
    assert_same_arrays(one, two)
    for prefix in ("discriminator/", "generator/", "stream/latents"):
        names = [name for name in one if name.startswith(prefix)]
        assert any(one[n].tobytes() != other[n].tobytes() for n in names)


def test_streams_do_not_depend_on_one_another() -> None:
    some = players()
    expected = torch.randn(5, IMAGES.latent_dim, generator=make_generator(0, "latents"))
    some.draw_real()
    assert torch.equal(some.draw_latents(), expected)


def test_restored_players_take_the_same_steps() -> None:
    one, other = players(), players(seed=1)
    for _ in range(3):
        take_step(one)
    restore_players(other, encode_players(one))
    for _ in range(3):
        first, second = take_step(one), take_step(other)
        assert torch.equal(torch.stack(first), torch.stack(second))
    assert_same_arrays(encode_players(one), encode_players(other))


@pytest.mark.parametrize(
    "name", ["generator/", "average/", "stream/latents", "stream/batches"]
)
def test_a_checkpoint_that_lacks_something_is_refused(name: str) -> None:
    arrays = dict(encode_players(players()))
    del arrays[next(key for key in arrays if key.startswith(name))]
    with pytest.raises(InputError, match=name):
        restore_players(players(), arrays)


def test_a_stream_of_batches_that_is_none_is_refused() -> None:
    arrays = dict(encode_players(players()))
    arrays["stream/batches"] = arrays["stream/batches"][:7]
    with pytest.raises(InputError, match="stream/batches is no state"):
        restore_players(players(), arrays)


def test_two_time_scales_are_two_rates() -> None:
    config = replace(SMALL, learning_rate=1e-4, discriminator_learning_rate=3e-4)
    some = make_players(config, vectors().train, CPU)
    assert some.generator_optimiser.param_groups[0]["lr"] == 1e-4
    assert some.discriminator_optimiser.param_groups[0]["lr"] == 3e-4
    assert some.generator_optimiser.param_groups[0]["betas"] == (0.5, 0.999)


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(InputError, match="batch_size must be at most"):
        make_players(replace(SMALL, batch_size=24), vectors(23).train, CPU)


def test_samples_that_the_architecture_cannot_make_are_refused() -> None:
    with pytest.raises(ShapeError):
        make_gan(IMAGES, (2,), CPU)
