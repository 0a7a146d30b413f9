"""Settings that are chosen where no option was given."""

import pytest

from tacit.cli.gan_options import (
    GameOptions,
    TrainingOptions,
    check_counts,
    check_options,
    given,
    make_config,
)
from tacit.errors import InputError
from tacit.minimax.gan.config import TrainingConfig


def _config(
    options: TrainingOptions,
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    width: int | None = None,
) -> TrainingConfig:
    return make_config(
        options,
        data_shape=data_shape,
        width=width,
        method=None,
        num_steps=None,
        latent_dim=None,
        seed=7,
    )


def test_the_architecture_fits_the_data() -> None:
    assert _config(TrainingOptions()).architecture == "dcgan"
    assert _config(TrainingOptions(), data_shape=(2,)).architecture == "mlp"
    options = TrainingOptions(architecture="resnet")
    assert _config(options).architecture == "resnet"


def test_what_is_given_is_taken_and_the_rest_is_usual() -> None:
    options = TrainingOptions(
        loss="hinge", order="simultaneous", learning_rate=1e-3, generator_width=3
    )
    config = _config(options, width=5)
    assert (config.loss, config.order, config.seed) == ("hinge", "simultaneous", 7)
    assert (config.width, config.generator_width) == (5, 3)
    assert config.learning_rate == 1e-3
    plain = TrainingConfig()
    assert config.num_steps == plain.num_steps
    assert config.batch_size == plain.batch_size
    assert config.discriminator_width is None


def test_what_was_given_is_named_as_on_the_command_line() -> None:
    assert given(TrainingOptions()) == given(GameOptions()) == []
    options = TrainingOptions(batch_size=3, spectral_norm=False, tensorboard=True)
    names = ["--batch-size", "--spectral-norm", "--tensorboard"]
    assert given(options) == names
    assert given(GameOptions(num_latents=0)) == ["--num-latents"]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_rates_are_refused_by_the_options_name(rate: float) -> None:
    with pytest.raises(InputError, match="--learning-rate must be positive"):
        check_options(TrainingOptions(learning_rate=rate))


def test_counts_are_refused_by_the_options_name() -> None:
    check_options(TrainingOptions())
    check_options(TrainingOptions(batch_size=2, discriminator_steps=1))
    with pytest.raises(InputError, match="--batch-size must be at least 2; got 1"):
        check_options(TrainingOptions(batch_size=1))
    with pytest.raises(InputError, match="--discriminator-steps must be at least 1"):
        check_options(TrainingOptions(discriminator_steps=0))
    with pytest.raises(InputError, match="--some-count must be at least 1; got -1"):
        check_counts({"other": None, "fine": 1, "some_count": -1})
