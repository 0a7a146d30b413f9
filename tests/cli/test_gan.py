"""``tacit gan`` end to end: the answer, its files, Ctrl-C, and going on."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import SCRIPT, call, files_in, read_terminal, strict_json

Capture = pytest.CaptureFixture[str]

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng

KEYS = {
    *("width", "parameters", "scores", "steps", "converged", "predicted_rate"),
    *("measured_rate", "seconds", "version"),
    *("seed", "data", "features", "loss", "method", "outcome"),
}
FILES = {
    *("result.json", "samples.png", "scores.png", "scores.pdf"),
    *("losses.csv", "scores.csv"),
}
SMALL = ("--width", "2", "--batch-size", "16", "--evaluate-every", "4")


def test_digits_are_learnt_from_and_scored(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "run"
    outcome = call(capsys, "gan", "digits", *SMALL, "--steps", "8", "--out", out)
    assert outcome.code == 0, outcome
    names = {name for name in files_in(out) if not name.startswith(".")}
    assert names >= {*FILES, "checkpoint-00000008.npz", "samples-00000008.png"}
    result = strict_json(out / "result.json")
    assert result.keys() >= KEYS
    assert (result["width"], result["steps"], result["seed"]) == (2, 8, 0)
    assert (result["predicted_rate"], result["measured_rate"]) == (None, None)
    assert result["scores"].keys() >= {"frechet_test", "sliced_wasserstein_train"}
    assert result["data"]["shape"] == [1, 8, 8]
    assert result["features"]["digest"]
    assert result["architecture"] == "dcgan"
    with Image.open(out / "samples.png") as picture:
        # Eight by eight digits of 8 pixels, six times as large, with white between.
        assert 8 * 48 < picture.size[0] < 8 * 52
    text = " ".join(outcome.out.split())
    assert outcome.out.startswith("digits: 1438 samples of 1 x 8 x 8")
    assert f"parameters {result['parameters']} (generator" in text
    assert "Frechet distance" in text
    assert "FID" not in text
    assert max(map(len, outcome.out.splitlines()[1:-4])) <= 80
    assert outcome.err == ""


def test_parameters_are_counted_by_player(capsys: Capture, tmp_path: Path) -> None:
    counts: dict[str, tuple[int, int]] = {}
    for name, options in {
        "both": ("--width", "2"),
        "generator": ("--width", "2", "--generator-width", "3"),
        "discriminator": ("--width", "2", "--discriminator-width", "3"),
    }.items():
        target = tmp_path / f"{name}.json"
        options += ("--architecture", "mlp", "--latent-dim", "3", "--steps", "2")
        assert call(capsys, "gan", "gaussians", *options, "--json", target).code == 0
        result = strict_json(target)
        parts = result["generator_parameters"], result["discriminator_parameters"]
        assert result["parameters"] == sum(parts)
        assert result["width"] == (2 if name == "both" else None)
        counts[name] = parts
    # Two hidden layers: of k neurons on 3 latents to 2 numbers; of 2 numbers to one.
    assert counts["both"] == (4 * 2 + 3 * 2 + 3 * 2, 3 * 2 + 3 * 2 + 3)
    assert counts["generator"] == (4 * 3 + 4 * 3 + 4 * 2, counts["both"][1])
    assert counts["discriminator"] == (counts["both"][0], 3 * 3 + 4 * 3 + 4)


def test_nothing_is_written_unless_asked_for(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = call(capsys, "gan", "gaussians", "--width", "2", "--steps", "2")
    assert (outcome.code, "wrote" in outcome.out) == (0, False)
    assert files_in(tmp_path) == set()


def test_arrays_of_ones_own(capsys: Capture, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(40, 12, 12, 3), dtype="uint8")
    np.savez(tmp_path / "noise.npz", images=pixels)
    target = tmp_path / "r.json"
    options = ("--architecture", "resnet", "--loss", "wasserstein-gp", "--json", target)
    outcome = call(
        capsys, "gan", tmp_path / "noise.npz", *SMALL, "--steps", "2", *options
    )
    assert outcome.code == 0, outcome
    result = strict_json(target)
    assert result["data"]["shape"] == [3, 12, 12]
    assert result["features"] is None
    assert "frechet_train" not in result["scores"]


# Ctrl-C at a step of the training; the signal is a real one.
INTERRUPTED = """
import os, signal
from tacit.cli import gan_training as command
from tacit.cli.main import main
from tacit.minimax.gan.events import Evaluated

signal.signal(signal.SIGINT, signal.default_int_handler)
real = command.train_gan

def interrupt(event):
    if isinstance(event, Evaluated) and event.step == 4:
        os.kill(os.getpid(), signal.SIGINT)

def train(data, config, *, observers, **rest):
    return real(data, config, observers=(*observers, interrupt), **rest)

command.train_gan = train
main()
"""


def test_ctrl_c_keeps_what_was_trained_and_resume_goes_on(
    capsys: Capture, tmp_path: Path
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole.json"
    arguments = ["gan", "digits", *SMALL, "--seed", "3", "--steps", "8"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments, "--out", out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "stopped by Ctrl-C; --resume goes on" in " ".join(done.stdout.split())
    assert files_in(out) >= {*FILES, "checkpoint-00000004.npz"}
    result = strict_json(out / "result.json")
    assert (result["status"], result["steps"]) == ("interrupted", 4)
    assert call(capsys, *arguments, "--out", out, "--resume").code == 0
    assert call(capsys, *arguments, "--json", whole).code == 0
    resumed, uninterrupted = strict_json(out / "result.json"), strict_json(whole)
    assert resumed["steps"] == 8
    assert resumed["scores"] == uninterrupted["scores"]


def test_a_breakdown_is_named(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--architecture", "mlp", "--no-spectral-norm", "--learning-rate", "1e30")
    outcome = call(
        capsys, "gan", "digits", *SMALL, "--steps", "60", *options, "--out", out
    )
    assert outcome.code == 1, outcome
    assert outcome.err.startswith("note: the ")
    assert "broke down" in outcome.out
    result = strict_json(out / "result.json")
    assert (result["outcome"], result["status"]) == ("broke down", "non_finite")
    assert result["notes"]
    assert (out / "samples.png").exists()


def test_a_log_for_tensorboard(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--steps", "2", "--width", "2", "--tensorboard", "--out", out)
    assert call(capsys, "gan", "gaussians", *options).code == 0
    assert any("tfevents" in path.name for path in (out / "tensorboard").iterdir())


def test_a_person_who_watches_sees_steps_and_score() -> None:
    ours, theirs = pty.openpty()
    arguments = ["gan", "digits", *SMALL, "--steps", "8"]
    with subprocess.Popen(
        [SCRIPT, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(theirs)
        shown = read_terminal(ours)
    os.close(ours)
    assert process.returncode == 0
    assert "0/8" in shown
    assert "frechet test" in shown
