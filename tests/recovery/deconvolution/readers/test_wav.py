"""Recordings: every format as the standard library and SciPy write it, and damages."""

import io
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers import wav as module
from tacit.recovery.deconvolution.readers.wav import read_wav, wav_bytes


def pcm(width: int, frames: bytes, channels: int = 1, rate: int = 8000) -> bytes:
    """Return a file as the standard library writes it."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)
    return buffer.getvalue()


def saved(folder: Path, content: bytes) -> Path:
    """Write a file."""
    path = folder / "a.wav"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_integers_of_every_width_are_parts_of_full_scale(
    tmp_path: Path, width: int
) -> None:
    half = 1 << (8 * width - 1)
    levels = [0, half // 2, -half, half - 1, -1]
    if width == 1:
        frames = bytes(level + half for level in levels)
    else:
        frames = b"".join(
            level.to_bytes(width, "little", signed=True) for level in levels
        )
    observed = read_wav(saved(tmp_path, pcm(width, frames)))
    assert observed.values.tolist() == [[level / half for level in levels]]
    assert (observed.step, observed.rate, observed.kind) == (1 / half, 8000, "audio")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32])
def test_channels_are_those_that_scipy_wrote(
    tmp_path: Path, dtype: type[np.generic]
) -> None:
    samples: Any = np.arange(-3, 9).reshape(6, 2).astype(dtype)
    wavfile.write(tmp_path / "a.wav", 22050, samples)
    observed = read_wav(tmp_path / "a.wav")
    unit = 2.0 ** -(8 * samples.itemsize - 1) if samples.dtype.kind == "i" else 1.0
    np.testing.assert_array_equal(observed.values, samples.T * unit)
    assert observed.step == (unit if samples.dtype.kind == "i" else 0.0)


def test_other_parts_are_passed_over_also_of_odd_length(tmp_path: Path) -> None:
    plain = pcm(2, struct.pack("<2h", 1, -2))
    note = struct.pack("<4sI", b"LIST", 3) + b"abc\0"
    content = plain[:12] + note + plain[12:]
    assert read_wav(saved(tmp_path, content)).values.shape == (1, 2)


def test_an_extensible_description_is_read(tmp_path: Path) -> None:
    tag = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 16000, 2, 16, 22, 16, 4)
    tag += struct.pack("<H", 1) + bytes(14)
    parts = struct.pack("<4sI", b"fmt ", len(tag)) + tag
    parts += struct.pack("<4sIhh", b"data", 4, 1, -1)
    content = struct.pack("<4sI4s", b"RIFF", 4 + len(parts), b"WAVE") + parts
    assert read_wav(saved(tmp_path, content)).values.tolist() == [[2**-15, -(2**-15)]]


def broken(at: int, form: str, value: int) -> bytes:
    """Return a file of four samples with one number of its head changed."""
    content = bytearray(pcm(2, bytes(8)))
    struct.pack_into(form, content, at, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pcm(2, bytes(8))[:50], "claims 8 bytes where 6 are left"),
        (broken(40, "<I", 0xFFFFFFFF), "claims 4294967295 bytes where 8 are left"),
        (broken(40, "<I", 7), "must be a positive multiple of 2"),
        (broken(40, "<I", 0), "must be a positive multiple of 2"),
        (broken(20, "<H", 6), "of format 6 with 16 bits"),
        (broken(34, "<H", 12), "of format 1 with 12 bits"),
        (broken(22, "<H", 0), "claims 0 channels"),
        (broken(22, "<H", 65), "claims 65 channels"),
        (broken(24, "<I", 0), "at 0 samples a second"),
        (broken(32, "<H", 3), "take 2 bytes and not 3"),
        (broken(16, "<I", 4), "too short"),
        (broken(36, "<I", 0), "ends too early"),
        (pcm(2, bytes(8))[:36], "ends too early"),
        (b"RIFF", "ends too early"),
        (b"OggS" + bytes(60), "does not begin as a wav file"),
        (
            pcm(2, bytes(8))[:12] + struct.pack("<4sI", b"data", 0) + bytes(9),
            "before their description",
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_wav(saved(tmp_path, content))


def test_too_many_samples_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLES", 3)
    monkeypatch.setattr(module, "_decoded", None)
    with pytest.raises(InputError, match="4 samples; at most 3"):
        read_wav(saved(tmp_path, pcm(2, bytes(8))))


def test_samples_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 8000, np.array([0.0, np.nan], dtype=np.float32))
    with pytest.raises(InputError, match="not finite"):
        read_wav(tmp_path / "a.wav")


def test_what_is_written_is_read_by_scipy_and_never_clips(tmp_path: Path) -> None:
    content, gain = wav_bytes(torch.tensor([[0.5, -1.0], [0.25, 0.0]]), 8000)
    rate, samples = wavfile.read(saved(tmp_path, content))
    assert (rate, gain) == (8000, 1.0)
    assert samples.tolist() == [[16384, 8192], [-32767, 0]]
    content, gain = wav_bytes(torch.tensor([4.0, -2.0]), 8000)
    _, samples = wavfile.read(saved(tmp_path, content))
    assert (samples.tolist(), gain) == ([32767, -16384], 0.25)
