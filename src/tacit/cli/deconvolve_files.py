"""Filters and signals in files of the kind that the observation came in."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from tacit.recovery.deconvolution.readers.images import png_bytes
from tacit.recovery.deconvolution.readers.pictures import aligned
from tacit.recovery.deconvolution.readers.read import ObservedConvolution
from tacit.recovery.deconvolution.readers.wav import wav_bytes
from tacit.recovery.deconvolution.result import DeconvolutionResult

ARRAYS = "deconvolution.npz"
FIGURES = ("deconvolution.png", "deconvolution.pdf")
_SIGNALS = {"audio": "signal.wav", "image": "signal.png"}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerFiles:
    """What to write, by name, and what a person should know about it."""

    contents: Mapping[str, bytes]
    notes: tuple[str, ...] = ()


def signal_file(kind: str) -> str | None:
    """Return the name of the signal's own file; None for arrays."""
    return _SIGNALS.get(kind)


def answer_files(
    observed: ObservedConvolution, result: DeconvolutionResult
) -> AnswerFiles:
    """Return the files of an answer.

    ``deconvolution.npz`` has ``filters`` (num_channels, *grid), ``signal`` (*grid), the
    coefficients ``h`` (all channels, one after the other) and ``x``, and, of a
    recording, its ``rate``. A recording's signal is also a 16-bit wav file, a picture's
    an 8-bit png file of the observed part.
    """
    signal = result.signals[0]
    arrays: dict[str, npt.NDArray[Any]] = {
        "filters": torch.stack(list(result.filters)).cpu().numpy(),
        "signal": signal.cpu().numpy(),
        "h": torch.cat(list(result.filter_coefficients)).cpu().numpy(),
        "x": result.signal_coefficients[0].cpu().numpy(),
    }
    kind, notes = observed.observed.kind, list[str]()
    contents: dict[str, bytes] = {}
    if kind == "audio":
        rate = observed.observed.rate or 1
        arrays["rate"] = np.array(rate)
        contents["signal.wav"], gain = wav_bytes(signal, rate)
        if gain < 1.0:
            notes.append(f"signal.wav is the signal times {gain:.4g}, or it would clip")
    if kind == "image":
        kernel = tuple(result.filters[0].shape)
        shape = observed.observed.grid
        picture = aligned(signal, kernel, observed.boundary, shape)
        contents["signal.png"], num_cut = png_bytes(picture)
        if num_cut:
            notes.append(
                f"{num_cut} pixels of signal.png are cut at black or white; the arrays "
                "have them whole"
            )
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    contents[ARRAYS] = buffer.getvalue()
    return AnswerFiles(contents=contents, notes=tuple(notes))
