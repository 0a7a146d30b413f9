"""``tacit deconvolve``: filters and a signal from their convolution."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import torch
from cyclopts import Parameter
from rich.console import Console

from tacit.cli.deconvolve_files import FIGURES, answer_files, signal_file
from tacit.cli.deconvolve_report import describe, table_rows, to_json
from tacit.cli.inputs import Integer, parse_size
from tacit.cli.places import json_bytes, result_places, save_figure
from tacit.cli.terminal import open_console, print_rows, watching_solver
from tacit.errors import InputError, Status
from tacit.io import write_bytes
from tacit.recovery.deconvolution.deconvolve import Method
from tacit.recovery.deconvolution.deconvolve import deconvolve as deconvolve_problem
from tacit.recovery.deconvolution.readers.read import (
    KnownSubspaces,
    ObservedConvolution,
    read_convolution,
)
from tacit.recovery.deconvolution.result import DeconvolutionResult
from tacit.recovery.deconvolution.scale import Scale
from tacit.recovery.maps.convolution_grid import Boundary
from tacit.rng import make_generator

INTERRUPTED = 130
# A picture has thousands of unknowns, and eight bits.
_RTOL, _PICTURE_RTOL = 1e-6, 1e-4


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """What is asked, and where the answer goes."""

    title: str
    observed: ObservedConvolution
    noise_bound: float
    noise_source: str
    results: tuple[Path, ...]
    out: Path | None
    seed: int


def deconvolve(
    file: Path,
    /,
    *more: Path,
    kernel_size: Annotated[str | None, Parameter(name="--kernel-size")] = None,
    taps: Integer | None = None,
    filter_support: Annotated[Path | None, Parameter(name="--filter-support")] = None,
    signal_basis: Annotated[Path | None, Parameter(name="--signal-basis")] = None,
    wavelet: str = "haar",
    coefficients: Integer | None = None,
    boundary: Boundary | None = None,
    noise: float | None = None,
    method: Method | None = None,
    scale: Scale | None = None,
    rtol: float | None = None,
    max_steps: Annotated[Integer, Parameter(name="--max-steps")] = 2000,
    seed: Integer = 0,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    out: Path | None = None,
) -> int:
    """Find the filters and the signal behind their convolution.

    Parameters
    ----------
    file
        Arrays y, B, C (.npz), a recording (.wav), or a picture (.png, .jpg, .tif).
    more
        Further recordings or pictures of the same signal, each with its own filter.
    kernel_size
        Pictures: size of the blurring kernels, such as 7 or 5x9 (rows x columns).
    taps
        Recordings: the channel's response has this many samples.
    filter_support
        Instead of a size: an .npz file with filter_support (True where a filter may
        differ from zero, or a list of delays) or B (basis of filters).
    signal_basis
        An .npz file with what is known of the signal: C (basis), signal_support,
        signal_modes, signal_wavelets (and wavelet), or onset, frequency, decay of the
        tones of a score. One recording alone needs it.
    wavelet
        A single picture is made of wavelets of this name.
    coefficients
        How many: those that are largest in the observed picture; by default a sixth of
        the number of pixels. Of several pictures the scene may be any unless this is
        given.
    boundary
        What was seen of the convolution: by default full for recordings, valid for
        pictures.
    noise
        Size of the noise relative to the observation; by default what the file says
        (.npz), else the errors of rounding to 8, 16, 24 bits.
    method
        convex (nuclear norm) or descent (regularised, non-convex). By default convex;
        for circular convolution the descent first, which may be enough.
    scale
        Which of all (a h, x / a): unit (filters have norm 1), sum (they add up to 1,
        the default for pictures), balanced (filters and signal have equal norms).
    rtol
        Stop at this relative duality gap; by default 1e-6, for pictures 1e-4.
    max_steps
        Limit of steps of the method.
    seed
        Of all random draws.
    json_file
        Write the result as JSON.
    out
        Folder for deconvolution.npz, signal.wav or signal.png, figure and result.json.
    """
    _check_options(noise, rtol, max_steps, taps)
    if kernel_size is not None and taps is not None:
        raise InputError("give --kernel-size (pictures) or --taps (recordings)")
    size = (taps,) if taps is not None else parse_size(kernel_size)
    known = KnownSubspaces(
        filters=filter_support,
        filter_size=size,
        signal=signal_basis,
        wavelet=wavelet,
        coefficients=coefficients,
        boundary=boundary,
    )
    inputs = [file, *more]
    with warnings.catch_warnings():
        # Pillow warns of what it then refuses, or can do without.
        warnings.simplefilter("ignore")
        observed = read_convolution(inputs, known)
    kind = observed.observed.kind
    known_files = [path for path in (filter_support, signal_basis) if path is not None]
    task = _Task(
        title=", ".join(path.name for path in inputs),
        observed=observed,
        noise_bound=_noise_bound(observed, noise),
        noise_source=observed.noise_source if noise is None else "--noise",
        results=result_places(
            json_file,
            out,
            others=[] if out is None else _other_files(out, kind),
            inputs=[*inputs, *known_files],
        ),
        out=out,
        seed=seed,
    )
    return _answer(
        task,
        method=method or (None if observed.boundary == "circular" else "convex"),
        scale=scale or ("sum" if kind == "image" else "unit"),
        rtol=rtol or (_PICTURE_RTOL if kind == "image" else _RTOL),
        max_steps=max_steps,
    )


def _check_options(
    noise: float | None, rtol: float | None, max_steps: int, taps: int | None
) -> None:
    if noise is not None and not 0.0 <= noise < 1.0:
        raise InputError(f"--noise must be in [0, 1), a part of |y|; got {noise}")
    if rtol is not None and not 0.0 < rtol < 1.0:
        raise InputError(f"--rtol must be in (0, 1); got {rtol}")
    if max_steps < 1:
        raise InputError(f"--max-steps must be at least 1; got {max_steps}")
    if taps is not None and taps < 1:
        raise InputError(f"--taps must be at least 1; got {taps}")


def _noise_bound(observed: ObservedConvolution, noise: float | None) -> float:
    if noise is None:
        return observed.noise_bound
    return noise * float(torch.linalg.vector_norm(observed.problem.measurements))


def _other_files(out: Path, kind: str) -> list[Path]:
    names = ["deconvolution.npz", signal_file(kind), *FIGURES]
    return [out / name for name in names if name is not None]


def _answer(
    task: _Task, *, method: Method | None, scale: Scale, rtol: float, max_steps: int
) -> int:
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    for note in task.observed.notes:
        errors.print(f"note: {note}", markup=False)
    result = _solve(task, method=method, scale=scale, rtol=rtol, max_steps=max_steps)
    for warning in result.warnings:
        errors.print(f"warning: {warning}", markup=False)
    console = open_console()
    written: list[Path] = []
    try:
        _print(console, task, result)
    finally:
        # Also if the reader of a pipe has gone: the files were asked for.
        written = _write(task, result)
    for path in written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
    return INTERRUPTED if result.status is Status.INTERRUPTED else 0


def _solve(
    task: _Task, *, method: Method | None, scale: Scale, rtol: float, max_steps: int
) -> DeconvolutionResult:
    with watching_solver() as (on_phase, on_step):
        return deconvolve_problem(
            task.observed.problem,
            noise_bound=task.noise_bound,
            method=method,
            # A fit would follow what the subspace lacks of the truth.
            refine=task.observed.is_exact_subspace or method == "descent",
            scale=scale,
            rtol=rtol,
            max_steps=max_steps,
            observers=(on_step,),
            on_phase=on_phase,
            generator=make_generator(task.seed, "deconvolve"),
        )


def _print(console: Console, task: _Task, result: DeconvolutionResult) -> None:
    line = describe(task.title, task.observed)
    console.print(line, markup=False, soft_wrap=True)
    print_rows(console, table_rows(task.observed, result, task.noise_source))


def _write(task: _Task, result: DeconvolutionResult) -> list[Path]:
    content = to_json(
        task.title,
        task.observed,
        result,
        noise_source=task.noise_source,
        seed=task.seed,
    )
    written: list[Path] = []
    try:
        if task.out is not None:
            files = answer_files(task.observed, result)
            content["notes"] = [*task.observed.notes, *files.notes]
            for name, what in files.contents.items():
                write_bytes(task.out / name, what)
                written.append(task.out / name)
        for path in task.results:
            write_bytes(path, json_bytes(content))
            written.append(path)
        if task.out is not None:
            truth = task.observed.true_signal()
            figures = result.plot(truth)
            paths = [task.out / name for name in FIGURES]
            written += save_figure(figures["deconvolution"], paths)
    except OSError as error:
        raise InputError(
            f"cannot write the result: {error.strerror}; name another place"
        ) from None
    return written
