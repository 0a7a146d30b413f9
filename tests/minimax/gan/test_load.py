"""Resumed runs equal uninterrupted ones, and generators come out of checkpoints."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_runs import (
    IMAGES,
    SMALL,
    StopAt,
    assert_same_checkpoint,
    images,
    newest,
    vectors,
)
from tacit.errors import InputError, Status
from tacit.minimax.gan.checkpoint import checkpoint_paths
from tacit.minimax.gan.events import Evaluated, Progressed, Saved
from tacit.minimax.gan.load import load_generator
from tacit.minimax.gan.train import train_gan
from tacit.rng import make_generator

CASES: dict[str, dict[str, Any]] = {
    "adam": {},
    "simultaneous": {"order": "simultaneous"},
    "extra-adam": {"method": "extra-adam"},
    "optimistic-adam": {"method": "optimistic-adam"},
    "minimax": {"loss": "minimax"},
    "gradient penalty": {"loss": "wasserstein-gp"},
    "dcgan, gradient penalty": {"architecture": "dcgan", "loss": "wasserstein-gp"},
    "dcgan, batch norm": {"architecture": "dcgan", "spectral_norm": False},
    "several discriminator steps": {"discriminator_steps": 3, "loss": "hinge"},
    "extra-adam, several": {"discriminator_steps": 2, "method": "extra-adam"},
    "no average": {"ema_decay": 0.0},
    "one-hidden-layer": {"architecture": "one-hidden-layer"},
    "dcgan": {"architecture": "dcgan"},
    "dcgan, extra-adam": {"architecture": "dcgan", "method": "extra-adam"},
    "resnet": {"architecture": "resnet"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop", [StopAt(Progressed, 4), StopAt(Saved, 5)])
def test_a_resumed_run_is_bit_equal(case: str, stop: StopAt, tmp_path: Path) -> None:
    config = replace(SMALL, width=2, **CASES[case])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = train_gan(images(), config, out=whole)
    first = train_gan(images(), config, out=parts, observers=[stop])
    assert first.status == Status.INTERRUPTED
    second = train_gan(images(), config, out=parts, resume=True)
    assert_same_checkpoint(newest(whole), newest(parts))
    for name in ("losses.csv", "scores.csv"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    one, two = (r.sample(5, generator=make_generator(3)) for r in (expected, second))
    assert torch.equal(one, two)
    assert expected.scores == second.scores


@pytest.mark.parametrize("at", [StopAt(Evaluated, 6), StopAt(Progressed, 8)])
def test_what_was_due_when_it_was_stopped_is_done(at: StopAt, tmp_path: Path) -> None:
    """Scores of a step that was interrupted between its score and its checkpoint."""
    config = replace(SMALL, evaluate_every=2, checkpoint_every=2)
    train_gan(vectors(), config, out=tmp_path / "whole")
    train_gan(vectors(), config, out=tmp_path / "parts", observers=[at])
    train_gan(vectors(), config, out=tmp_path / "parts", resume=True)
    assert_same_checkpoint(newest(tmp_path / "whole"), newest(tmp_path / "parts"))


def test_a_longer_run_equals_one_of_that_length(tmp_path: Path) -> None:
    longer = replace(SMALL, num_steps=17)
    train_gan(vectors(), longer, out=tmp_path / "whole")
    for num_steps in (0, 7, 7, 17):  # 7 steps twice: nothing is left to do
        config = replace(SMALL, num_steps=num_steps)
        result = train_gan(vectors(), config, out=tmp_path / "parts", resume=True)
        assert result.num_steps == num_steps
    assert_same_checkpoint(newest(tmp_path / "whole"), newest(tmp_path / "parts"))


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    tmp_path: Path,
) -> None:
    train_gan(vectors(), SMALL, out=tmp_path / "whole")
    parts = tmp_path / "parts"
    train_gan(vectors(), replace(SMALL, num_steps=11), out=parts)
    path = checkpoint_paths(parts)[0]
    path.write_bytes(path.read_bytes()[:-100])
    result = train_gan(vectors(), SMALL, out=parts, resume=True)
    assert path.name in result.notes[0]
    one, two = newest(tmp_path / "whole"), newest(parts)
    assert one.arrays.keys() == two.arrays.keys()
    for name, array in one.arrays.items():
        assert array.tobytes() == two.arrays[name].tobytes(), name


def test_if_all_are_damaged_it_says_so(tmp_path: Path) -> None:
    train_gan(vectors(), SMALL, out=tmp_path)
    for path in checkpoint_paths(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint in .* delete them"):
        train_gan(vectors(), SMALL, out=tmp_path, resume=True)


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    train_gan(vectors(), SMALL, out=tmp_path)
    for config, words in (
        (replace(SMALL, width=5), "width was 4 and is 5"),
        (replace(SMALL, num_steps=3), "at least the 12 steps"),
    ):
        with pytest.raises(InputError, match=words):
            train_gan(vectors(), config, out=tmp_path, resume=True)
    with pytest.raises(InputError, match="the data's digest was"):
        train_gan(vectors(24), SMALL, out=tmp_path, resume=True)


# Killed by force

KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
from gan_runs import IMAGES, images
from tacit.minimax.gan.train import train_gan

folder, num_steps, fatal = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
replaces = 0
whole_replace = Path.replace

def replace_or_die(self, target):
    global replaces
    replaces += "checkpoint" in Path(target).name
    if replaces == fatal:
        os.kill(os.getpid(), signal.SIGKILL)  # written, not yet in its place
    return whole_replace(self, target)

Path.replace = replace_or_die
config = replace(IMAGES, num_steps=num_steps, checkpoint_every=2)
train_gan(images(), config, out=folder, resume=True)
"""


def start(folder: Path, num_steps: int, fatal: int = -1) -> subprocess.Popen[bytes]:
    paths = [str(Path(__file__).parents[2]), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    arguments = [str(folder), str(num_steps), str(fatal)]
    return subprocess.Popen([sys.executable, "-c", KILLED, *arguments], env=environment)


def test_killed_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    assert start(parts, 12, fatal=3).wait() == -signal.SIGKILL
    assert list(parts.glob(".*.tmp"))  # what it left half done
    assert newest(parts).step == 4
    config = replace(IMAGES, checkpoint_every=2)
    train_gan(images(), config, out=parts, resume=True)
    train_gan(images(), config, out=whole)
    assert not list(parts.glob(".*.tmp"))
    assert_same_checkpoint(newest(whole), newest(parts))


def test_killed_at_any_moment(tmp_path: Path) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    config = replace(IMAGES, checkpoint_every=2, num_steps=10**6)
    for wanted in (40, 90):
        process = start(parts, config.num_steps)
        deadline = time.monotonic() + 60.0
        # Watched by its files; when the signal comes within a step is up to chance.
        while process.poll() is None and time.monotonic() < deadline:
            steps = [int(p.stem.rpartition("-")[2]) for p in checkpoint_paths(parts)]
            if max(steps, default=0) >= wanted:
                break
            time.sleep(0.003)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    last = newest(parts).step
    assert last >= 90
    config = replace(config, num_steps=last + 5)
    train_gan(images(), config, out=parts, resume=True)
    train_gan(images(), config, out=whole)
    assert_same_checkpoint(newest(whole), newest(parts))


# Loading


@pytest.mark.parametrize("config", [SMALL, IMAGES])
def test_a_loaded_generator_gives_the_samples_of_the_result(
    config: Any, tmp_path: Path
) -> None:
    data = images() if config is IMAGES else vectors()
    result = train_gan(data, config, out=tmp_path)
    expected = result.sample(7, generator=make_generator(1))
    for path in (tmp_path, checkpoint_paths(tmp_path)[0]):
        loaded = load_generator(path)
        assert loaded.step == 12
        assert torch.equal(loaded.sample(7, generator=make_generator(1)), expected)
    assert load_generator(checkpoint_paths(tmp_path)[1]).step == 10


def test_nothing_to_load_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="has no checkpoint"):
            load_generator(path)
    other = tmp_path / "other.npz"
    other.write_bytes(b"hello")
    with pytest.raises(InputError, match="not a file of named arrays"):
        load_generator(other)
