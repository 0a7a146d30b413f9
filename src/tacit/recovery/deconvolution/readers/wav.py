r"""Recordings in ``.wav`` files, read and written as data of a known size."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers.observation import Observation

MAX_SAMPLES = 2 * 10**7
"""Most samples that are read, all channels together: seven minutes at 48 kHz."""

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_HEAD, _CHUNK, _FORMAT = struct.Struct("<4sI4s"), struct.Struct("<4sI"), "<HHIIHH"
_SHORTEST_FORMAT, _LONGEST_FORMAT = 16, 40  # bytes of a description
_TAG_AT = 24  # where an extensible description has the format of its samples
_MAX_CHUNKS, _MAX_CHANNELS, _MAX_RATE = 1000, 64, 10**6
_FLOATS = {32: "<f4", 64: "<f8"}
_PEAK = 32767  # largest 16-bit sample

Samples = npt.NDArray[Any]


def read_wav(path: Path) -> Observation:
    r"""Return the samples of an uncompressed ``.wav`` file.

    Parameters
    ----------
    path : Path
        PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64 bits; any number of channels
        up to 64.

    Returns
    -------
    Observation
        ``(num_channels, num_samples)``; integers are divided by full scale. ``step`` is
        that of the integers, and 0 for floats.

    Raises
    ------
    InputError
        If the file is damaged, claims more than it holds, has too many samples, is
        compressed, or a sample is not finite.
    OSError, struct.error
        If the file cannot be read.

    Examples
    --------
    >>> import torch
    >>> from pathlib import Path
    >>> from tacit.recovery.deconvolution.readers.wav import read_wav, wav_bytes
    >>> content, _ = wav_bytes(torch.tensor([0.0, 0.5, -0.25]), 8000)
    >>> _ = Path("three.wav").write_bytes(content)
    >>> read_wav(Path("three.wav")).values.tolist()
    [[0.0, 0.5, -0.25]]
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        riff, _, wave = _HEAD.unpack(_exactly(file, _HEAD.size))
        if (riff, wave) != (b"RIFF", b"WAVE"):
            raise InputError("it does not begin as a wav file does; save it as PCM wav")
        form: _Format | None = None
        for _ in range(_MAX_CHUNKS):
            name, length = _CHUNK.unpack(_exactly(file, _CHUNK.size))
            begin = file.tell()
            if length > size - begin:
                raise InputError(
                    f"its part {name.decode('ascii', 'replace')!r} claims {length} "
                    f"bytes where {size - begin} are left; it was cut off or never "
                    "finished: save it again"
                )
            if name == b"fmt ":
                form = _format(_exactly(file, min(length, _LONGEST_FORMAT)))
            elif name == b"data":
                if form is None:
                    raise InputError(
                        "its samples come before their description; save it again"
                    )
                return _observation(form, file, length)
            file.seek(begin + length + length % 2)
    raise InputError("it has no samples among its first parts; save it as PCM wav")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Format:
    """How samples are stored."""

    is_float: bool
    num_channels: int
    rate: int
    bits: int

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.num_channels * self.bits // 8


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise InputError("it ends too early; it was cut off: save it again")
    return content


def _format(content: bytes) -> _Format:
    if len(content) < _SHORTEST_FORMAT:
        raise InputError("its description of the samples is too short; save it again")
    tag, channels, rate, _, frame, bits = struct.unpack_from(_FORMAT, content)
    if tag == _EXTENSIBLE and len(content) >= _TAG_AT + 2:
        (tag,) = struct.unpack_from("<H", content, _TAG_AT)
    known = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
    if bits not in known.get(tag, ()):
        raise InputError(
            f"its samples are of format {tag} with {bits} bits; accepted are PCM of 8, "
            "16, 24 or 32 bits and floats of 32 or 64: convert it"
        )
    if not 1 <= channels <= _MAX_CHANNELS or not 1 <= rate <= _MAX_RATE:
        raise InputError(
            f"it claims {channels} channels at {rate} samples a second; at most "
            f"{_MAX_CHANNELS} at {_MAX_RATE} are read"
        )
    form = _Format(is_float=tag == _FLOAT, num_channels=channels, rate=rate, bits=bits)
    if frame != form.frame:
        raise InputError(
            f"its description is wrong: {channels} channels of {bits} bits take "
            f"{form.frame} bytes and not {frame}; save it again"
        )
    return form


def _observation(form: _Format, file: BinaryIO, length: int) -> Observation:
    if length % form.frame or not length:
        raise InputError(
            f"its samples take {length} bytes, which must be a positive multiple of "
            f"{form.frame}; it was cut off: save it again"
        )
    count = length // form.frame * form.num_channels
    if count > MAX_SAMPLES:
        raise InputError(f"it has {count} samples; at most {MAX_SAMPLES} are read")
    samples, step = _decoded(form, _exactly(file, length))
    if not np.isfinite(samples).all():
        raise InputError("it has samples that are not finite; cut them out")
    frames = samples.reshape(-1, form.num_channels)
    return Observation(
        values=torch.from_numpy(np.ascontiguousarray(frames.T)),
        kind="audio",
        step=step,
        rate=form.rate,
    )


def _decoded(form: _Format, content: bytes) -> tuple[Samples, float]:
    """Return samples in units of full scale, and the step between them."""
    if form.is_float:
        return np.frombuffer(content, _FLOATS[form.bits]).astype(np.float64), 0.0
    step = 2.0 ** (1 - form.bits)
    if form.bits == 8:  # the only one without a sign
        return (np.frombuffer(content, np.uint8) - 128.0) * step, step
    if form.bits == 24:
        # Put above eight zero bits, so that the sign is where numpy looks for it.
        wide = np.zeros((len(content) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0] * 2.0**-31, step
    return np.frombuffer(content, f"<i{form.bits // 8}") * step, step


def wav_bytes(samples: Tensor, rate: int) -> tuple[bytes, float]:
    r"""Return a ``.wav`` file of 16-bit PCM.

    Parameters
    ----------
    samples : Tensor, shape (num_samples,) or (num_channels, num_samples)
        Real, in units of full scale.
    rate : int
        Samples a second.

    Returns
    -------
    content : bytes
    gain : float
        What the samples were multiplied with: 1 if none exceeds full scale, else what
        brings the largest to it.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.readers.wav import wav_bytes
    >>> wav_bytes(torch.tensor([0.0, 2.0]), 8000)[1]
    0.5
    """
    frames = samples.to(torch.float64).reshape(-1, samples.shape[-1]).mT.numpy()
    peak = float(np.abs(frames).max(initial=0.0))
    gain = 1.0 if peak <= 1.0 else 1.0 / peak
    rounded = np.rint(np.clip(frames * gain * 2.0**15, -_PEAK, _PEAK))
    content = rounded.astype("<i2").tobytes()
    channels = frames.shape[1]
    form = struct.pack(
        _FORMAT, _PCM, channels, rate, 2 * channels * rate, 2 * channels, 16
    )
    parts = _part(b"fmt ", form) + _part(b"data", content)
    return _HEAD.pack(b"RIFF", 4 + len(parts), b"WAVE") + parts, gain


def _part(name: bytes, content: bytes) -> bytes:
    return _CHUNK.pack(name, len(content)) + content
