"""Training: what it tells and writes, how it breaks down, what it refuses."""

import math
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_runs import IMAGES, SMALL, StopAt, images, newest, table_of, vectors
from tacit.errors import InputError, ShapeError, Status
from tacit.minimax.gan import step as step_module
from tacit.minimax.gan import train as train_module
from tacit.minimax.gan.data.dataset import ArrayDataset, GanData
from tacit.minimax.gan.events import (
    Ended,
    Evaluated,
    Noted,
    Progressed,
    Saved,
    Started,
    TrainingEvent,
)
from tacit.minimax.gan.health import Breakdown
from tacit.minimax.gan.players import Players
from tacit.minimax.gan.train import train_gan
from tacit.rng import make_generator

FAST = replace(SMALL, log_every=1, evaluate_every=1000, checkpoint_every=1000)


def test_events_come_in_order(tmp_path: Path) -> None:
    events: list[TrainingEvent] = []
    result = train_gan(vectors(), SMALL, out=tmp_path, observers=[events.append])
    assert [(type(event), event.step) for event in events] == [
        (Started, 0),
        (Progressed, 4),
        (Saved, 5),
        (Evaluated, 6),
        (Progressed, 8),
        (Saved, 10),
        (Progressed, 12),
        (Evaluated, 12),
        (Saved, 12),
        (Ended, 12),
    ]
    first, last = events[0], events[-1]
    assert isinstance(first, Started)
    assert first.num_parameters == result.num_parameters
    assert isinstance(last, Ended)
    assert last.status == result.status == Status.MAX_STEPS


def test_what_is_written_is_what_is_returned(tmp_path: Path) -> None:
    result = train_gan(vectors(), replace(SMALL, num_steps=13), out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        ".lock",
        "checkpoint-00000010.npz",
        "checkpoint-00000013.npz",
        "losses.csv",
        "samples-00000006.png",
        "samples-00000012.png",
        "samples-00000013.png",
        "scores.csv",
    }
    assert table_of(tmp_path / "losses.csv") == [
        [p.step, p.discriminator, p.generator] for p in result.history.losses
    ]
    assert [p.step for p in result.history.losses] == [4, 8, 12, 13]
    assert table_of(tmp_path / "scores.csv") == [
        [p.step, *p.values.values()] for p in result.history.scores
    ]
    assert [p.step for p in result.history.scores] == [6, 12, 13]
    assert newest(tmp_path).step == 13


def test_two_runs_of_a_seed_are_bit_equal_and_of_two_seeds_are_not() -> None:
    samples = [
        train_gan(images(), replace(IMAGES, seed=seed)).sample(
            3, generator=make_generator(1)
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])


def test_losses_are_means_over_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []

    def watched(players: Players) -> tuple[torch.Tensor, torch.Tensor]:
        losses = step_module.take_step(players)
        seen.append((float(losses[0]), float(losses[1])))
        return losses

    monkeypatch.setattr(train_module, "take_step", watched)
    result = train_gan(vectors(), replace(SMALL, num_steps=10))
    parts = (seen[0:4], seen[4:8], seen[8:10])
    for point, part in zip(result.history.losses, parts, strict=True):
        for column, found in enumerate((point.discriminator, point.generator)):
            mean = math.fsum(losses[column] for losses in part) / len(part)
            assert found == pytest.approx(mean, rel=1e-12)


def test_no_steps_are_a_result_too() -> None:
    result = train_gan(vectors(), replace(SMALL, num_steps=0))
    assert (result.num_steps, result.status) == (0, Status.MAX_STEPS)
    assert set(result.scores) >= {"frechet_train", "variance_ratio"}


def test_a_level_score_is_called_converged() -> None:
    still = replace(
        FAST, learning_rate=1e-12, num_steps=30, evaluate_every=1, ema_decay=0.0
    )
    result = train_gan(vectors(), still)
    assert result.status == Status.CONVERGED
    assert result.converged
    assert result.score_name == "frechet_test"
    assert result.plateau.num_points == 7


def test_a_collapsed_generator_is_not_called_converged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def collapsed(*_: object) -> tuple[dict[str, float], torch.Tensor]:
        return {"variance_ratio": 0.001, "frechet_test": 1.0}, torch.zeros(4, 2)

    monkeypatch.setattr(train_module, "evaluate", collapsed)
    result = train_gan(vectors(), replace(FAST, num_steps=30, evaluate_every=1))
    assert result.plateau.is_reached
    assert result.is_collapsed
    assert not result.converged
    assert result.status == Status.MAX_STEPS


# Breakdown


def spoiled(at: int, player: int) -> Any:
    """Return a step that gives a bad loss at some step, and spoils the player."""
    count = 0

    def step(players: Players) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal count
        count += 1
        losses = list(step_module.take_step(players))
        if count == at:
            losses[player] = torch.tensor(math.nan)
            networks = (players.gan.discriminator, players.gan.generator)
            with torch.no_grad():
                next(networks[player].parameters()).fill_(math.nan)
        return losses[0], losses[1]

    return step


@pytest.mark.parametrize(("player", "name"), [(0, "discriminator"), (1, "generator")])
def test_a_breakdown_names_player_and_step_and_keeps_what_was_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, player: int, name: str
) -> None:
    monkeypatch.setattr(train_module, "take_step", spoiled(7, player))
    events: list[TrainingEvent] = []
    result = train_gan(vectors(), SMALL, out=tmp_path, observers=[events.append])
    assert result.status == Status.NON_FINITE
    assert f"the {name}'s loss became nan at step 7" in result.notes[-1]
    assert result.num_steps == 8  # where losses were looked at
    assert newest(tmp_path).step == 5  # nothing bad was saved
    assert result.generator.step == 6  # as last scored
    assert bool(result.sample(4, generator=make_generator(0)).isfinite().all())
    assert any(isinstance(event, Noted) for event in events)
    # The same run goes on from the last whole step, and now to its end.
    monkeypatch.setattr(train_module, "take_step", step_module.take_step)
    again = train_gan(vectors(), SMALL, out=tmp_path, resume=True)
    assert (again.num_steps, again.status) == (12, Status.MAX_STEPS)
    assert again.notes == ()


def test_a_rate_beyond_reason_ends_in_a_named_breakdown() -> None:
    wild = replace(
        FAST, learning_rate=1e30, num_steps=50, loss="hinge", spectral_norm=False
    )
    result = train_gan(vectors(), wild)
    assert result.status == Status.NON_FINITE
    assert result.num_steps < 50
    assert "lower the learning rate" in result.notes[-1]


def test_parameters_are_looked_at_before_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(*_: object) -> Breakdown:
        return Breakdown(step=4, player="generator", what="parameters were not finite")

    monkeypatch.setattr(train_module, "bad_parameters", bad)
    result = train_gan(vectors(), SMALL, out=tmp_path)
    assert result.status == Status.NON_FINITE
    assert not list(tmp_path.glob("checkpoint*"))


# Signs


def constant_step(discriminator: float) -> Any:
    def step(players: Players) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(discriminator), torch.tensor(5.0)

    return step


@pytest.mark.parametrize(("loss", "told"), [("hinge", 1), ("wasserstein-gp", 0)])
def test_a_discriminator_at_zero_is_noted_once(
    monkeypatch: pytest.MonkeyPatch, loss: Any, told: int
) -> None:
    monkeypatch.setattr(train_module, "take_step", constant_step(1e-5))
    result = train_gan(vectors(), replace(FAST, num_steps=15, loss=loss))
    notes = [note for note in result.notes if "discriminator's loss" in note]
    assert len(notes) == told


def test_samples_that_all_look_alike_are_noted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ratios = iter((0.5, 0.0, 0.0))

    def collapsed(*_: object) -> tuple[dict[str, float], torch.Tensor]:
        return {"variance_ratio": next(ratios), "frechet_test": 1.0}, torch.zeros(4, 2)

    monkeypatch.setattr(train_module, "evaluate", collapsed)
    result = train_gan(vectors(), replace(SMALL, evaluate_every=4))
    assert [note.startswith("at step 8") for note in result.notes] == [True]


# Ctrl-C


def test_ctrl_c_ends_the_step_and_leaves_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def step(players: Players) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal count
        count += 1
        if count == 7:
            signal.raise_signal(signal.SIGINT)  # in the middle of a step
        return step_module.take_step(players)

    monkeypatch.setattr(train_module, "take_step", step)
    result = train_gan(vectors(), SMALL, out=tmp_path)
    assert (result.status, result.num_steps) == (Status.INTERRUPTED, 7)
    assert newest(tmp_path).step == 7
    assert result.sample(2, generator=make_generator(0)).shape == (2, 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_from_an_observer_is_taken_as_ctrl_c() -> None:
    result = train_gan(vectors(), SMALL, observers=[StopAt(Progressed, 4)])
    assert (result.status, result.num_steps) == (Status.INTERRUPTED, 4)
    assert result.scores == {}


def test_a_second_ctrl_c_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def step(players: Players) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal count
        count += 1
        if count == 7:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return step_module.take_step(players)

    monkeypatch.setattr(train_module, "take_step", step)
    with pytest.raises(KeyboardInterrupt):
        train_gan(vectors(), SMALL, out=tmp_path)
    assert newest(tmp_path).step == 5


def test_an_interrupt_within_a_step_saves_no_half_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(players: Players) -> tuple[torch.Tensor, torch.Tensor]:
        raise KeyboardInterrupt  # as somebody else's handler would

    monkeypatch.setattr(train_module, "take_step", step)
    with pytest.raises(KeyboardInterrupt):
        train_gan(vectors(), SMALL, out=tmp_path)
    assert not list(tmp_path.glob("checkpoint*"))


# Refusals


def test_a_run_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    train_gan(vectors(), SMALL, out=tmp_path)
    with pytest.raises(InputError, match="holds a run already"):
        train_gan(vectors(), SMALL, out=tmp_path)


def test_nan_in_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        ArrayDataset(name="bad", samples=torch.full((9, 2), torch.nan))


def test_an_architecture_of_images_makes_no_vectors() -> None:
    with pytest.raises(ShapeError, match=r"got samples of shape \(2,\)"):
        train_gan(vectors(), replace(IMAGES, num_steps=1))


def test_the_global_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    train_gan(images(), IMAGES)
    assert torch.equal(torch.get_rng_state(), before)


def data_of(samples: Sequence[Sequence[float]]) -> GanData:
    dataset = ArrayDataset(name="few", samples=torch.tensor(samples))
    return GanData(name="few", train=dataset, test=None, digest="few")


def test_data_without_any_variance_can_be_trained_on() -> None:
    result = train_gan(data_of([[1.0, 2.0]] * 8), SMALL)
    assert all(math.isfinite(value) for value in result.scores.values())
