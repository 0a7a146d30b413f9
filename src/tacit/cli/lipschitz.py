"""``tacit lipschitz``: bracket the Lipschitz constant of a network."""

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tacit.cli.figure import draw_bracket
from tacit.cli.inputs import parse_integers, parse_pair, parse_shape
from tacit.errors import InputError, Status
from tacit.lipschitz.certificate import save_certificate
from tacit.lipschitz.ensemble import random_network
from tacit.lipschitz.lift import LiftedState
from tacit.lipschitz.network import Network
from tacit.lipschitz.predict import (
    Prediction,
    ensemble_bound,
    high_probability_bound,
    typical_scale,
)
from tacit.lipschitz.problem import Norm
from tacit.lipschitz.read import read_network
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


def lipschitz(
    model: Path | None = None,
    *,
    norm: Norm = "l2",
    margin: str | None = None,
    random: Annotated[str | None, Parameter(name="--random")] = None,
    input_shape: Annotated[str | None, Parameter(name="--input-shape")] = None,
    rtol: float = 1e-4,
    max_steps: Annotated[int, Parameter(name="--max-steps")] = 3000,
    seed: int = 0,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    out: Path | None = None,
) -> int:
    """Bracket how far a network's output can move when its input moves.

    Prints every bound found and the bracket: a value reached at a pair of inputs, and a
    certified bound above it. The output is measured in l2.

    Example: `tacit lipschitz model.onnx --norm linf --margin 3,5 --out result`

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
        can prove.
    max_steps
        Limit of forward-backward passes of the search.
    seed
        Of all random draws.
    json_file
        Write the result as JSON; the certificate goes beside it unless --out is given.
    out
        Folder for figure (bracket.png, bracket.pdf), result.json and certificate.npz.
    """
    if not 0.0 < rtol < math.inf or max_steps < 1:
        raise InputError(
            f"--rtol and --max-steps must be positive; got {rtol}, {max_steps}"
        )
    network, title, predictions = _subject(model, random, input_shape, seed, norm)
    for folder in (out, json_file.parent if json_file else None):
        _make_folder(folder)
    result = _solve(
        network, norm=norm, margin=margin, rtol=rtol, max_steps=max_steps, seed=seed
    )
    console = Console(highlight=False)
    _print(console, title, result, predictions)
    _write(console, title, result, predictions, json_file=json_file, out=out)
    status = result.lifted.status if result.lifted else None
    return INTERRUPTED if status is Status.INTERRUPTED else 0


def _subject(
    model: Path | None,
    random: str | None,
    input_shape: str | None,
    seed: int,
    norm: Norm,
) -> tuple[Network, str, tuple[Prediction, ...]]:
    if (model is None) == (random is None):
        raise InputError(
            "give one network: a MODEL file (.onnx or .pt2), or --random d,N,L; got "
            f"{'neither' if model is None else 'both'}"
        )
    if model is not None:
        return read_network(model, in_shape=parse_shape(input_shape)), model.name, ()
    sizes = parse_integers(random or "", option="--random", example="10,100,2", least=1)
    if len(sizes) != 3:
        raise InputError(f"--random takes d,N,L, as in 10,100,2; got {random!r}")
    num_inputs, width, num_layers = sizes
    if width * max(width, num_inputs) * num_layers > 10**9:
        raise InputError(
            f"--random {random} asks for more than 1e9 weights; take a smaller one"
        )
    network = random_network(
        num_inputs, width, num_layers, generator=make_generator(seed, "network")
    )
    title = f"random ReLU network, d={num_inputs}, N={width}, L={num_layers}"
    predictions = (
        typical_scale(num_inputs, {"l2": 2.0, "linf": math.inf, "l1": 1.0}[norm]),
        high_probability_bound(network, norm=norm),
        ensemble_bound(num_inputs, width, num_layers, norm=norm),
    )
    return network, title, predictions


def _make_folder(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror}; name another folder"
        ) from None


def _solve(
    network: Network,
    *,
    norm: Norm,
    margin: str | None,
    rtol: float,
    max_steps: int,
    seed: int,
) -> LipschitzResult:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def on_method(method: Method) -> None:
            progress.update(task, description=_TITLES[method])

        def on_step(step: int, state: LiftedState) -> None:
            if step % 10 == 0:
                value = math.sqrt(state.best_value)
                progress.update(
                    task, description=f"lifted network, step {step}, value {value:.6g}"
                )

        return lipschitz_bracket(
            network,
            norm=norm,
            outputs=parse_pair(margin),
            seed=seed,
            rtol=rtol,
            max_steps=max_steps,
            on_method=on_method,
            observers=(on_step,),
        )


def _print(
    console: Console,
    title: str,
    result: LipschitzResult,
    predictions: tuple[Prediction, ...],
) -> None:
    network = result.problem.network
    subject = "f" if result.outputs is None else "f[{}] - f[{}]".format(*result.outputs)
    console.print(
        f"{title}: {network.num_inputs} inputs, {network.num_outputs} outputs, "
        f"{network.num_neurons} neurons, {network.num_parameters} parameters",
        markup=False,
    )
    table = Table(title=None)
    for name, justify in (
        ("method", "left"),
        ("side", "left"),
        ("value", "right"),
        ("how known", "left"),
        ("seconds", "right"),
    ):
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for bound in sorted(result.bounds, key=lambda bound: bound.value):
        known = bound.arithmetic
        if bound.failure_probability:
            known += f", fails with probability {bound.failure_probability:.0e}"
        if bound.side == "lower":
            known = f"reached by a pair of inputs, {known}"
        table.add_row(
            bound.method,
            bound.side,
            f"{bound.value:.7g}",
            known,
            f"{bound.seconds:.2f}",
        )
    for prediction in predictions:
        table.add_row(
            prediction.name,
            "predicted",
            f"{prediction.value:.7g}",
            prediction.certainty,
            "",
        )
    console.print(table)
    bracket = result.bracket
    console.print(
        f"{bracket.lower.value:.7g} <= Lip({subject}, {result.problem.norm}) <= "
        f"{bracket.upper.value:.7g}   (ratio {bracket.ratio:.4f}, {result.seconds:.1f} s)",
        markup=False,
    )
    if result.lifted is None or result.lifted.bound is None:
        console.print("no multipliers were accepted: the bound has no certificate file")
    elif result.lifted.status is not Status.CONVERGED:
        console.print(
            f"the certified gap is {result.lifted.gap:.1e}: {result.lifted.status.advice}"
        )


def _write(
    console: Console,
    title: str,
    result: LipschitzResult,
    predictions: tuple[Prediction, ...],
    *,
    json_file: Path | None,
    out: Path | None,
) -> None:
    targets = [
        path for path in (json_file, out / "result.json" if out else None) if path
    ]
    if not targets:
        return
    if out is not None:
        certificate_path = out / "certificate.npz"
    else:
        certificate_path = targets[0].with_suffix(".certificate.npz")
    try:
        certificate = result.certificate()
        written: list[Path] = []
        if certificate is not None:
            save_certificate(certificate, certificate_path)
            written.append(certificate_path)
        witness = str(certificate_path) if certificate is not None else None
        text = json.dumps(to_json(title, result, predictions, witness), indent=2)
        for target in targets:
            target.write_text(text + "\n", encoding="utf-8")
            written.append(target)
        if out is not None:
            written += draw_bracket(title, result, predictions, out)
    except OSError as error:
        raise InputError(
            f"cannot write the result: {error}; name another place"
        ) from None
    for path in written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)


def to_json(
    title: str,
    result: LipschitzResult,
    predictions: tuple[Prediction, ...],
    witness: str | None,
) -> dict[str, object]:
    """Return the machine-readable result; its keys are stable."""
    bracket, network = result.bracket, result.problem.network
    return {
        "lower": bracket.lower.value,
        "upper": bracket.upper.value,
        "ratio": bracket.ratio if math.isfinite(bracket.ratio) else None,
        "norm": result.problem.norm,
        "scope": "global",
        "arithmetic": bracket.upper.arithmetic,
        "failure_probability": bracket.upper.failure_probability,
        "margin": result.outputs,
        "methods": [
            {
                "name": bound.method,
                "side": bound.side,
                "value": bound.value,
                "seconds": bound.seconds,
                "arithmetic": bound.arithmetic,
            }
            for bound in result.bounds
        ],
        "predictions": [
            {
                "name": p.name,
                "value": p.value,
                "certainty": p.certainty,
                "source": p.source,
            }
            for p in predictions
        ],
        "witness": witness,
        "network": {
            "name": title,
            "digest": result.digest,
            "inputs": network.num_inputs,
            "outputs": network.num_outputs,
            "neurons": network.num_neurons,
            "parameters": network.num_parameters,
        },
        "seconds": result.seconds,
        "version": version("tacit"),
        "torch": torch.__version__,
    }
