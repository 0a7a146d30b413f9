"""A result in words, as a table and as JSON."""

import math
from importlib.metadata import version

import torch
from rich import box
from rich.markup import escape
from rich.table import Table

from tacit.bracket import Bound
from tacit.cli.terminal import TABLE_WIDTH
from tacit.errors import Status
from tacit.lipschitz.network import Network
from tacit.lipschitz.predict import Prediction
from tacit.lipschitz.solve import LipschitzResult

_METHOD_WIDTH = 28
# Two bounds closer than this look the same in a table of seven digits.
_VISIBLE = 1e-6


def describe(result: LipschitzResult) -> str:
    """Return what was bounded: ``f``, or the margin ``f[i] - f[j]``."""
    return "f" if result.outputs is None else "f[{}] - f[{}]".format(*result.outputs)


def make_table(result: LipschitzResult, predictions: tuple[Prediction, ...]) -> Table:
    """Return every bound, smallest first, and the predictions; fits 80 columns."""
    rows = [_row(bound) for bound in sorted(result.bounds, key=lambda b: b.value)]
    rows += [
        (
            prediction.name,
            "predicted",
            f"{prediction.value:.7g}",
            prediction.certainty + _failing(prediction.failure_probability),
            "",
        )
        for prediction in predictions
    ]
    heads = ("method", "side", "value", "how known", "seconds")
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    # Long words are broken where there is no room for them, and never left out.
    widths[0] = min(widths[0], _METHOD_WIDTH)
    room = TABLE_WIDTH - 3 * (len(heads) - 1) - sum(widths) + widths[3]
    widths[3] = min(widths[3], room)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head, width in zip(heads, widths, strict=True):
        is_number = head in ("value", "seconds")
        table.add_column(
            head,
            justify="right" if is_number else "left",
            overflow="fold",
            width=width,
        )
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _row(bound: Bound) -> tuple[str, str, str, str, str]:
    known = "reached" if bound.side == "lower" else "proved"
    return (
        bound.method,
        bound.side,
        f"{bound.value:.7g}",
        f"{known}, {bound.arithmetic}" + _failing(bound.failure_probability),
        "" if bound.seconds is None else f"{bound.seconds:.2f}",
    )


def _failing(probability: float) -> str:
    return f", risk {probability:.0e}" if probability else ""


def notes(result: LipschitzResult) -> list[str]:
    """Return what a reader of the bracket should know besides."""
    lifted = result.lifted
    if lifted is None or lifted.bound is None:
        return ["no multipliers were accepted: the bound has no certificate file"]
    found: list[str] = []
    upper = result.bracket.upper
    if upper.value * (1.0 + _VISIBLE) < lifted.bound.value:
        found.append(
            f"a certificate file proves {lifted.bound.value:.7g}; for the smaller "
            f"bound ({upper.method}) there is none"
        )
    if lifted.status is not Status.CONVERGED:
        gap = f"{lifted.gap:.1e}" if math.isfinite(lifted.gap) else "not known"
        found.append(f"the certified gap is {gap}: {lifted.status.advice}")
    return found


def to_json(
    network: Network,
    title: str,
    result: LipschitzResult,
    predictions: tuple[Prediction, ...],
    witness: str | None,
) -> dict[str, object]:
    """Return the machine-readable result; its keys are stable.

    A number that is not finite becomes None. ``network`` is the one given, of which
    ``result`` may bound a margin.
    """
    bracket = result.bracket
    proved = result.lifted.bound if result.lifted else None
    return {
        "lower": _finite(bracket.lower.value),
        "upper": _finite(bracket.upper.value),
        "ratio": _finite(bracket.ratio),
        "norm": result.problem.norm,
        "scope": "global",
        "arithmetic": bracket.upper.arithmetic,
        "failure_probability": bracket.upper.failure_probability,
        "margin": result.outputs,
        "methods": [
            {
                "name": bound.method,
                "side": bound.side,
                "value": _finite(bound.value),
                "seconds": bound.seconds,
                "arithmetic": bound.arithmetic,
            }
            for bound in result.bounds
        ],
        "predictions": [
            {
                "name": p.name,
                "value": _finite(p.value),
                "certainty": p.certainty,
                "failure_probability": p.failure_probability,
                "source": p.source,
                "note": p.note,
            }
            for p in predictions
        ],
        "witness": witness,
        "witness_upper": None if proved is None else _finite(proved.value),
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
