"""``tacit lipschitz``: bracket the Lipschitz constant of a network."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

from cyclopts import Parameter
from rich.console import Console

from tacit.cli.figure import FIGURES, draw_bracket
from tacit.cli.inputs import Integer, parse_pair, parse_random, parse_shape
from tacit.cli.places import json_bytes, result_places
from tacit.cli.report import describe, make_table, notes, to_json
from tacit.cli.terminal import open_console, watching
from tacit.errors import InputError, Status
from tacit.io import write_bytes
from tacit.lipschitz.certificate import save_certificate
from tacit.lipschitz.ensemble import random_network
from tacit.lipschitz.layers import Shape
from tacit.lipschitz.lift import LiftedState
from tacit.lipschitz.network import Network
from tacit.lipschitz.predict import (
    Prediction,
    ensemble_bound,
    high_probability_bound,
    typical_scale,
)
from tacit.lipschitz.problem import Norm
from tacit.lipschitz.readers.read import read_network
from tacit.lipschitz.solve import LipschitzResult, Method, lipschitz_bracket
from tacit.rng import make_generator

INTERRUPTED = 130
_TITLES: dict[Method, str] = {
    "ascent": "searching a pair of inputs",
    "sweep": "sweeping all directions",
    "product": "product of layer norms",
    "lip_lt": "loop transformation",
    "eclipse": "closed-form elimination",
    "lifted": "lifted network",
}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Subject:
    """What is bounded, its name for people, and what theory says beforehand."""

    network: Network
    title: str
    predictions: tuple[Prediction, ...] = ()


def lipschitz(
    model: Path | None = None,
    /,
    *,
    norm: Norm = "l2",
    margin: str | None = None,
    random: str | None = None,
    input_shape: Annotated[str | None, Parameter(name="--input-shape")] = None,
    rtol: float | None = None,
    max_steps: Annotated[Integer, Parameter(name="--max-steps")] = 3000,
    seed: Integer = 0,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    out: Path | None = None,
) -> int:
    """Bracket how far a network's output can move when its input moves.

    Parameters
    ----------
    model
        The network: an .onnx file, or a .pt2 file saved by torch.export.save.
    norm
        Norm of the input change.
    margin
        Two outputs i,j: bound the scalar f_i - f_j, as robustness needs it.
    random
        Instead of a model: d,N,L draws a random ReLU network with d inputs and L hidden
        layers of N neurons (weights N(0, 2/N), output N(0, 1), no bias).
    input_shape
        Sizes of one input sample, such as 3,32,32, where the file leaves them open.
    rtol
        Stop at this relative gap between the certified bound and what any multipliers
        can prove; by default 1e-4, or 1e-2 beyond 10,000 neurons.
    max_steps
        Limit of forward-backward passes of the search.
    seed
        Of all random draws.
    json_file
        Write the result as JSON; the certificate goes beside it unless --out is given.
    out
        Folder for figure (bracket.png, bracket.pdf), result.json and certificate.npz.
    """
    if rtol is not None and not 0.0 < rtol < math.inf:
        raise InputError(f"--rtol must be a positive number; got {rtol}")
    if max_steps < 1:
        raise InputError(f"--max-steps must be at least 1; got {max_steps}")
    pair = parse_pair(margin)
    shape = parse_shape(input_shape)
    subject = _subject(model, random, shape, seed, norm)
    if pair is not None and subject.network.num_outputs < 2:
        raise InputError(
            "--margin needs two outputs, the network has one; leave it out"
        )
    files = _files(model, json_file, out)
    result = _solve(
        subject.network,
        norm=norm,
        outputs=pair,
        rtol=rtol,
        max_steps=max_steps,
        seed=seed,
    )
    console = open_console()
    written: list[Path] = []
    try:
        _print(console, subject, result)
    finally:
        # Also if the reader of a pipe has gone: the files were asked for.
        if files is not None:
            written = _write(files, subject, result)
    for path in written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
    status = result.lifted.status if result.lifted else None
    return INTERRUPTED if status is Status.INTERRUPTED else 0


def _subject(
    model: Path | None,
    random: str | None,
    input_shape: Shape | None,
    seed: int,
    norm: Norm,
) -> _Subject:
    if (model is None) == (random is None):
        raise InputError(
            "give one network: a MODEL file (.onnx or .pt2), or --random d,N,L; got "
            f"{'neither' if model is None else 'both'}"
        )
    if model is not None:
        network = read_network(model, in_shape=input_shape)
        return _Subject(network=network, title=model.name)
    if input_shape is not None:
        raise InputError("--input-shape is for a MODEL file; leave it out")
    num_inputs, width, num_layers = parse_random(random or "")
    network = random_network(
        num_inputs, width, num_layers, generator=make_generator(seed, "network")
    )
    return _Subject(
        network=network,
        title=f"random ReLU network, d={num_inputs}, N={width}, L={num_layers}",
        predictions=(
            typical_scale(num_inputs, {"l2": 2.0, "linf": math.inf, "l1": 1.0}[norm]),
            high_probability_bound(network, norm=norm),
            ensemble_bound(num_inputs, width, num_layers, norm=norm),
        ),
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Files:
    """Where the result goes."""

    certificate: Path
    results: tuple[Path, ...]
    figures: Path | None


def _files(
    model: Path | None, json_file: Path | None, out: Path | None
) -> _Files | None:
    """Return the places to write to; made and checked before the long work begins."""
    if out is not None:
        certificate = out / "certificate.npz"
    elif json_file is not None:
        certificate = json_file.parent / f"{json_file.stem}.certificate.npz"
    else:
        return None
    results = result_places(
        json_file,
        out,
        others=[certificate, *([out / name for name in FIGURES] if out else [])],
        inputs=[] if model is None else [model],
    )
    return _Files(certificate=certificate, results=results, figures=out)


def _solve(
    network: Network,
    *,
    norm: Norm,
    outputs: tuple[int, int] | None,
    rtol: float | None,
    max_steps: int,
    seed: int,
) -> LipschitzResult:
    with watching() as show:

        def on_method(method: Method) -> None:
            show(_TITLES[method])

        def on_step(step: int, state: LiftedState) -> None:
            if step % 10 == 0:
                value = math.sqrt(max(state.best_value, 0.0))
                show(f"lifted network, step {step}, value {value:.6g}")

        return lipschitz_bracket(
            network,
            norm=norm,
            outputs=outputs,
            seed=seed,
            rtol=rtol,
            max_steps=max_steps,
            on_method=on_method,
            observers=(on_step,),
        )


def _print(console: Console, subject: _Subject, result: LipschitzResult) -> None:
    network = subject.network
    counts = (
        (network.num_inputs, "input"),
        (network.num_outputs, "output"),
        (network.num_neurons, "neuron"),
        (network.num_parameters, "parameter"),
    )
    sizes = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts)
    console.print(f"{subject.title}: {sizes}", markup=False, soft_wrap=True)
    console.print(make_table(result, subject.predictions))
    bracket = result.bracket
    console.print(
        f"{bracket.lower.value:.7g} <= Lip({describe(result)}, {result.problem.norm}) "
        f"<= {bracket.upper.value:.7g}   "
        f"(ratio {bracket.ratio:.4f}, {result.seconds:.1f} s)",
        markup=False,
        soft_wrap=True,
    )
    for note in notes(result):
        console.print(note, markup=False, soft_wrap=True)


def _write(files: _Files, subject: _Subject, result: LipschitzResult) -> list[Path]:
    written: list[Path] = []
    try:
        certificate = result.certificate()
        if certificate is not None:
            save_certificate(certificate, files.certificate)
            written.append(files.certificate)
        witness = str(files.certificate) if certificate is not None else None
        content = to_json(
            subject.network, subject.title, result, subject.predictions, witness
        )
        for path in files.results:
            write_bytes(path, json_bytes(content))
            written.append(path)
        if files.figures is not None:
            written += draw_bracket(
                subject.title, result, subject.predictions, files.figures
            )
    except OSError as error:
        raise InputError(
            f"cannot write the result: {error.strerror}; name another place"
        ) from None
    return written
