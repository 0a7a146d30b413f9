"""What ``tacit deconvolve`` refuses: files, options, and places to write to."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from archives import trap
from commands import assert_refused, call, files_in

Capture = pytest.CaptureFixture[str]

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Return an observation of two taps and two coefficients."""
    path = tmp_path / "a.npz"
    np.savez(path, y=np.arange(1.0, 11.0), filter_size=2, C=np.eye(10, 2))
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npz", b"", "is empty"),
        ("a.npz", b"no archive", "cannot be read as an archive"),
        ("a.wav", b"no sound", "ends too early"),
        ("a.png", b"no picture", "cannot be read as a PNG picture"),
        ("a.jpg", b"no picture", "cannot be read as a JPEG picture"),
        ("a.tif", b"II*\x00\xff\xff\xff\xff", "cannot be read as a TIFF picture"),
        ("a.mp3", b"ID3", "unknown suffix '.mp3'"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    capsys: Capture, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(call(capsys, "deconvolve", path), words)
    assert files_in(tmp_path) == {name}


def test_a_pickle_is_never_loaded(capsys: Capture, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    (tmp_path / "a.npz").write_bytes(trap(folder))
    assert_refused(call(capsys, "deconvolve", tmp_path / "a.npz"), "a.npz")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--noise", "1"], "--noise must be in [0, 1)"),
        (["--noise", "nan"], "--noise must be in [0, 1)"),
        (["--rtol", "0"], "--rtol must be in (0, 1)"),
        (["--max-steps", "0"], "--max-steps must be at least 1"),
        (["--taps", "0"], "--taps must be at least 1"),
        (["--taps", "2", "--kernel-size", "2"], "--kernel-size (pictures) or --taps"),
        (["--kernel-size", "0"], "--kernel-size takes one or two positive sizes"),
        (["--kernel-size", "3x3x3"], "--kernel-size takes one or two positive sizes"),
        (["--kernel-size", "x"], "--kernel-size takes one or two positive sizes"),
        (["--kernel-size", "3"], "must say itself what is known"),
        (["--boundary", "open"], "boundary"),
        (["--method", "magic"], "method"),
    ],
)
def test_a_bad_option_is_refused(
    capsys: Capture, arrays: Path, options: list[str], words: str
) -> None:
    outcome = call(capsys, "deconvolve", arrays, *options)
    assert outcome.code == 2, outcome
    assert words in outcome.err
    assert files_in(arrays.parent) == {"a.npz"}


def test_inputs_are_never_overwritten(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "signal.png"
    Image.effect_noise((20, 20), 50.0).save(path)
    before = path.read_bytes()
    options = ("--kernel-size", "3", "--wavelet", "haar", "--out", tmp_path)
    outcome = call(capsys, "deconvolve", path, *options)
    assert_refused(outcome, "would be overwritten")
    options = ("--kernel-size", "3", "--wavelet", "haar", "--json", path)
    assert_refused(call(capsys, "deconvolve", path, *options), "would be overwritten")
    assert path.read_bytes() == before


def test_silence_is_refused(capsys: Capture, arrays: Path) -> None:
    np.savez(arrays, y=np.zeros(10), filter_size=2, C=np.eye(10, 2))
    assert_refused(call(capsys, "deconvolve", arrays), "the observation is zero")
