"""A recovered matrix in words and as JSON."""

import math
from importlib.metadata import version

import torch

from tacit.recovery.readers.read import LabelledProblem
from tacit.recovery.result import RecoveryResult


def describe(title: str, labelled: LabelledProblem) -> str:
    """Return what is asked, in one line."""
    problem = labelled.problem
    rows, columns = problem.linear_map.in_shape
    count = problem.measurements.shape[-1]
    what = "measurements"
    if labelled.is_completion:
        total = rows * (rows + 1) // 2 if problem.is_symmetric else rows * columns
        what = f"entries known ({count / total:.3g} of all)"
    held_out = 0 if problem.held_out is None else int(problem.held_out.sum())
    kind = " symmetric" if problem.is_symmetric else ""
    kind += " complex" if problem.measurements.is_complex() else ""
    held = f"{held_out} of them held out"
    return f"{title}:{kind} {rows} x {columns}, {count} {what}, {held}"


def table_rows(result: RecoveryResult) -> list[tuple[str, str]]:
    """Return the lines of the answer: what it is, and its value."""
    rows = [
        ("rank", str(result.rank)),
        ("error on what was fitted", f"{result.train_error:.4g}"),
    ]
    if result.held_out is not None:
        low, high = result.held_out.interval
        rows.append(
            (
                "error on what was held out",
                f"{result.held_out.value:.4g}   ({result.held_out.confidence:.0%}: "
                f"{low:.4g} to {high:.4g})",
            )
        )
    rows += [
        ("method", result.method),
        ("why", result.reason),
        (
            "steps",
            f"{result.num_steps} ({result.num_passes} passes over the measurements, "
            f"{result.seconds:.1f} s)",
        ),
        ("status", result.status.advice),
    ]
    return rows


def to_json(
    title: str,
    labelled: LabelledProblem,
    result: RecoveryResult,
    *,
    seed: int,
) -> dict[str, object]:
    """Return the machine-readable result; its keys are stable.

    A number that is not finite becomes None.
    """
    problem, held_out = labelled.problem, result.held_out
    return {
        "rank": result.rank,
        "shape": list(problem.linear_map.in_shape),
        "observed": problem.measurements.shape[-1],
        "train_error": _finite(result.train_error),
        "holdout_error": None if held_out is None else _finite(held_out.value),
        "holdout_interval": (
            None if held_out is None else [_finite(end) for end in held_out.interval]
        ),
        "steps": result.num_steps,
        "seconds": result.seconds,
        "method": result.method,
        "status": result.status.name.lower(),
        "version": version("tacit"),
        "advice": result.status.advice,
        "reason": result.reason,
        "warnings": list(result.warnings),
        "notes": list(labelled.notes),
        "choices": {name: _finite(v) for name, v in result.choices.items()},
        "passes": result.num_passes,
        "holdout": 0 if held_out is None else held_out.num_held_out,
        "holdout_confidence": None if held_out is None else held_out.confidence,
        "holdout_assumptions": None if held_out is None else held_out.assumptions,
        "kind": "entries" if labelled.is_completion else "measurements",
        "symmetric": problem.is_symmetric,
        "complex": problem.measurements.is_complex(),
        "file": title,
        "seed": seed,
        "torch": torch.__version__,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
