"""``tacit deconvolve`` end to end: the answer, its files, and Ctrl-C."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from scipy.signal import convolve

from commands import call, files_in, strict_json

Capture = pytest.CaptureFixture[str]

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng

KEYS = {
    *("value", "lower", "upper", "gap", "infeasibility", "coherence", "rank"),
    *("seconds", "method", "status", "version"),
}
EXAMPLES = Path(__file__).parents[2] / "examples" / "signals"
FIGURES = {"deconvolution.png", "deconvolution.pdf"}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Return a random instance of 4 and 5 unknowns in 80 measurements, noiseless."""
    draw = np.random.default_rng(0)
    b = np.linalg.qr(draw.normal(size=(80, 4)))[0]
    c = draw.normal(size=(80, 5)) / np.sqrt(80)
    h, x = draw.normal(size=4), draw.normal(size=5)
    y = np.fft.irfft(np.fft.rfft(b @ h) * np.fft.rfft(c @ x), 80)
    np.savez(tmp_path / "p.npz", y=y, B=b, C=c, h=h, x=x)
    return tmp_path / "p.npz"


def test_a_planted_instance_is_found_and_certified(
    capsys: Capture, planted: Path
) -> None:
    out = planted.parent / "result"
    outcome = call(capsys, "deconvolve", planted, "--out", out)
    assert outcome.code == 0, outcome
    assert files_in(out) == {"deconvolution.npz", "result.json", *FIGURES}
    result = strict_json(out / "result.json")
    assert result.keys() >= KEYS
    assert result["error"] < 1e-6
    assert result["gap"] < 1e-6
    assert result["lower"] <= result["upper"]
    with np.load(planted) as truth, np.load(out / "deconvolution.npz") as found:
        lifted = np.outer(truth["h"], truth["x"])
        np.testing.assert_allclose(np.outer(found["h"], found["x"]), lifted, atol=1e-5)
        norm = np.linalg.norm(truth["h"]) * np.linalg.norm(truth["C"] @ truth["x"])
        np.testing.assert_allclose(np.linalg.norm(found["filters"]), 1.0)
        np.testing.assert_allclose(found["signal"].shape, (80,))
    # The nuclear norm of the truth, in orthonormal coordinates.
    np.testing.assert_allclose(result["value"], norm, rtol=1e-5)
    assert outcome.out.startswith("p.npz: 1 channel of 80 (circular convolution)")
    assert f"rank {result['rank']}" in " ".join(outcome.out.split())
    assert max(map(len, outcome.out.splitlines()[1:-4])) <= 80


def test_nothing_is_written_unless_asked_for(capsys: Capture, planted: Path) -> None:
    outcome = call(capsys, "deconvolve", planted)
    assert (outcome.code, "wrote" in outcome.out) == (0, False)
    assert files_in(planted.parent) == {"p.npz"}


def test_noise_is_a_part_of_the_observation(capsys: Capture, planted: Path) -> None:
    target = planted.with_name("r.json")
    options = ("--noise", "0.1", "--scale", "balanced", "--json", target)
    outcome = call(capsys, "deconvolve", planted, *options)
    assert outcome.code == 0
    result = strict_json(target)
    np.testing.assert_allclose(result["noise"], 0.1, rtol=1e-12)
    assert (result["noise_source"], result["scale"]) == ("--noise", "balanced")
    exact = planted.with_name("e.json")
    call(capsys, "deconvolve", planted, "--json", exact)
    assert result["value"] < strict_json(exact)["value"]


def test_the_example_recording_loses_its_echoes(
    capsys: Capture, tmp_path: Path
) -> None:
    options = ("--filter-support", EXAMPLES / "walls.npz")
    options += ("--signal-basis", EXAMPLES / "score.npz", "--rtol", "1e-2")
    options += ("--max-steps", "300")
    outcome = call(capsys, "deconvolve", EXAMPLES / "echo.wav", *options,
                   "--out", tmp_path)  # fmt: skip
    assert outcome.code == 0, outcome
    assert files_in(tmp_path) == {
        *("deconvolution.npz", "result.json", "signal.wav"),
        *FIGURES,
    }
    _, dry = wavfile.read(EXAMPLES / "dry.wav")
    with wave.open(str(tmp_path / "signal.wav")) as file:
        assert file.getframerate() == 8000
    _, found = wavfile.read(tmp_path / "signal.wav")
    cosine = dry @ found.astype(float) / np.linalg.norm(dry) / np.linalg.norm(found)
    assert np.sqrt(max(0.0, 1.0 - cosine**2)) < 2e-3
    # And the quantised recording is explained to its last bit.
    result = strict_json(tmp_path / "result.json")
    assert result["misfit"] <= result["noise"]
    assert result["rate"] == 8000


def test_two_pictures_give_a_sharper_one(capsys: Capture, tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    scene = draw.uniform(0.1, 0.9, (12, 14))
    files: list[Path] = []
    for number in range(2):
        kernel = draw.uniform(0.0, 1.0, (2, 2))
        blurred = convolve(scene, kernel / kernel.sum(), mode="valid")
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(np.rint(65535 * blurred).astype(np.uint16)).save(files[-1])
    out = tmp_path / "result"
    outcome = call(capsys, "deconvolve", *files, "--kernel-size", "2", "--out", out)
    assert outcome.code == 0, outcome
    assert files_in(out) == {
        *("deconvolution.npz", "result.json", "signal.png"),
        *FIGURES,
    }
    sharp = np.asarray(Image.open(out / "signal.png")) / 255.0
    before = np.asarray(Image.open(files[0])) / 65535.0
    wanted = scene[:-1, :-1]
    assert sharp.shape == before.shape == wanted.shape
    error = np.linalg.norm(sharp - wanted) / np.linalg.norm(before - wanted)
    assert error < 0.2
    assert strict_json(out / "result.json")["scale"] == "sum"


# Ctrl-C at a step of the search; the signal is a real one.
INTERRUPTED = """
import os, signal
from tacit.cli import deconvolve as command
from tacit.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)
real = command.deconvolve_problem

def interrupt(step, state):
    if step == 5:
        os.kill(os.getpid(), signal.SIGINT)

def solve(problem, *, observers, **rest):
    return real(problem, observers=(*observers, interrupt), **rest)

command.deconvolve_problem = solve
main()
"""


def test_ctrl_c_keeps_what_was_found(planted: Path) -> None:
    out = planted.parent / "result"
    arguments = ["deconvolve", planted, "--noise", "0.05", "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "stopped by Ctrl-C" in done.stdout
    assert files_in(out) == {"deconvolution.npz", "result.json", *FIGURES}
    assert strict_json(out / "result.json")["status"] == "interrupted"


def test_a_photograph_of_known_wavelets_gets_sharper(
    capsys: Capture, tmp_path: Path
) -> None:
    """As Ahmed, Recht and Romberg have it: short kernel, known wavelets."""
    arguments = [
        *("deconvolve", EXAMPLES / "shaken-1.png", "--kernel-size", "5"),
        *("--signal-basis", EXAMPLES / "scene-wavelets.npz", "--noise", "0.01"),
        *("--out", tmp_path / "sharp"),
    ]
    outcome = call(capsys, *arguments)
    assert outcome.code == 0, outcome
    result = strict_json(tmp_path / "sharp" / "result.json")
    assert result["gap"] <= 1e-4
    assert result["unique"] in (True, None)

    def grey(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.asarray(Image.open(path), dtype=np.float64)

    def error(picture: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        scene = grey(EXAMPLES / "scene.png")[2:-2, 2:-2]
        return float(np.sqrt(np.mean((picture - scene) ** 2)))

    before = error(grey(EXAMPLES / "shaken-1.png"))
    after = error(grey(tmp_path / "sharp" / "signal.png"))
    assert after < 0.3 * before
