"""Settings: what is refused, and what comes back from a checkpoint."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from tacit.errors import InputError
from tacit.minimax.gan.config import TrainingConfig, config_from_header, differences

ODD = TrainingConfig(width=3, betas=(0.0, 0.9), discriminator_learning_rate=4e-4)

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"width": 0}, "width must be a whole number of at least 1; got 0"),
    ({"width": 2.5}, "width must be a whole number"),
    ({"width": True}, "width must be a whole number"),
    ({"generator_width": 0}, "generator_width"),
    ({"discriminator_width": -1}, "discriminator_width"),
    ({"latent_dim": 0}, "latent_dim"),
    ({"batch_size": 1}, "batch_size must be a whole number of at least 2"),
    ({"num_steps": -1}, "num_steps"),
    ({"log_every": 0}, "log_every"),
    ({"evaluate_every": 0}, "evaluate_every"),
    ({"checkpoint_every": 0}, "checkpoint_every"),
    ({"num_score_samples": 1}, "num_score_samples"),
    ({"discriminator_steps": 0}, "discriminator_steps"),
    ({"learning_rate": 0.0}, "learning_rate must be positive"),
    ({"learning_rate": float("nan")}, "learning_rate must be positive"),
    ({"discriminator_learning_rate": -1.0}, "discriminator_learning_rate"),
    ({"penalty_weight": -1.0}, "penalty_weight"),
    ({"betas": (0.5, 1.0)}, "betas"),
    ({"betas": (0.5,)}, "betas"),
    ({"ema_decay": 1.0}, "ema_decay"),
    ({"loss": "cross-entropy"}, "loss must be one of minimax"),
    ({"method": "sgd"}, "method must be one of adam"),
    ({"order": "random"}, "order must be one of alternating"),
    ({"architecture": "unet"}, "architecture must be one of one-hidden-layer"),
]


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_a_setting_out_of_range_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(ODD, **change)


def test_settings_survive_json() -> None:
    header = json.loads(json.dumps(ODD.as_header()))
    assert config_from_header(header) == ODD
    assert config_from_header(header).betas == (0.0, 0.9)


def test_every_setting_is_compared_but_the_number_of_steps() -> None:
    changes: dict[str, Any] = {
        "architecture": "mlp", "generator_width": 7, "discriminator_width": 7,
        "spectral_norm": True, "loss": "hinge", "method": "extra-adam",
        "order": "simultaneous", "betas": (0.1, 0.2),
        "discriminator_learning_rate": 1.0, "ema_decay": 0.5,
    }  # fmt: skip
    for field in fields(TrainingConfig):
        old = getattr(ODD, field.name)
        new = changes[field.name] if field.name in changes else old + 1
        odd = differences(ODD, replace(ODD, **{field.name: new}))
        assert len(odd) == (field.name != "num_steps")
        assert all(text.startswith(f"{field.name} was ") for text in odd)


@pytest.mark.parametrize("change", [{"width": None}, {"betas": 3}, {"num_steps": "9"}])
def test_settings_of_a_damaged_header_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        config_from_header({**ODD.as_header(), **change})


def test_settings_of_another_version_are_refused_by_name() -> None:
    header = ODD.as_header()
    del header["seed"]
    with pytest.raises(InputError, match="momentum, seed differ"):
        config_from_header({**header, "momentum": 0.9})


@pytest.mark.parametrize(
    ("loss", "chosen", "found"),
    [
        ("hinge", None, True),
        ("wasserstein-gp", None, False),
        ("wasserstein-gp", True, True),
        ("hinge", False, False),
    ],
)
def test_a_penalty_stands_in_for_the_spectral_norm(
    loss: Any, chosen: bool | None, found: bool
) -> None:
    config = TrainingConfig(loss=loss, spectral_norm=chosen)
    assert config.has_spectral_norm is found


def test_one_rate_serves_both_players_unless_two_are_given() -> None:
    assert TrainingConfig(learning_rate=1e-3).discriminator_rate == 1e-3
    assert ODD.discriminator_rate == 4e-4
