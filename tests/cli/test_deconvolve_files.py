"""Filters and signals in files of the kind that the observation came in."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from deconvolution_answers import Answered, answered, planted_answer
from tacit.cli.deconvolve_files import answer_files, signal_file
from tacit.recovery.deconvolution.readers.read import KnownSubspaces, read_convolution


@pytest.fixture
def planted(tmp_path: Path, generator: torch.Generator) -> Answered:
    """Return an instance with its truth."""
    return planted_answer(tmp_path, generator)


def test_arrays_have_filters_signal_and_coefficients(planted: Answered) -> None:
    observed, result = planted
    files = answer_files(observed, result)
    assert (files.contents.keys(), files.notes) == ({"deconvolution.npz"}, ())
    assert [signal_file(kind) for kind in ("arrays", "audio", "image")] == [
        *(None, "signal.wav", "signal.png")
    ]
    with np.load(BytesIO(files.contents["deconvolution.npz"])) as stored:
        assert set(stored) == {"filters", "signal", "h", "x"}
        seen = np.fft.rfft(stored["filters"][0]) * np.fft.rfft(stored["signal"])
        np.testing.assert_allclose(np.fft.irfft(seen, 40), result.observation, 1e-9)


def test_a_recording_too_loud_is_turned_down(
    tmp_path: Path, generator: torch.Generator
) -> None:
    levels = np.random.default_rng(1).normal(size=30).astype(np.float32) * 50.0
    wavfile.write(tmp_path / "a.wav", 500, levels)
    np.savez(tmp_path / "c.npz", signal_support=np.arange(4))
    known = KnownSubspaces(filter_size=(2,), signal=tmp_path / "c.npz")
    observed, result = answered(
        read_convolution([tmp_path / "a.wav"], known), generator, 0.98
    )
    files = answer_files(observed, result)
    assert "or it would clip" in files.notes[0]
    rate, samples = wavfile.read(BytesIO(files.contents["signal.wav"]))
    assert (rate, np.abs(samples).max()) == (500, 32767)


def test_a_picture_is_of_the_observed_size(
    tmp_path: Path, generator: torch.Generator
) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (9, 11)).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    known = KnownSubspaces(filter_size=(2, 2), wavelet="haar", coefficients=5)
    observed, result = answered(
        read_convolution([tmp_path / "a.png"], known), generator, 0.98
    )
    files = answer_files(observed, result)
    picture = Image.open(BytesIO(files.contents["signal.png"]))
    assert picture.size == observed.observed.grid[::-1]
