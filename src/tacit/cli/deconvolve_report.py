"""A deconvolution in words and as JSON."""

import math
from importlib.metadata import version

import torch

from tacit.recovery.deconvolution.readers.read import ObservedConvolution
from tacit.recovery.deconvolution.result import DeconvolutionResult
from tacit.recovery.deconvolution.scale import error_up_to_scale

_SCALES = {
    "unit": "filters have norm 1",
    "sum": "filters add up to 1 on average",
    "balanced": "filters and signal have one norm",
}


def describe(title: str, observed: ObservedConvolution) -> str:
    """Return what is asked, in one line."""
    rows, columns = observed.problem.linear_map.in_shape
    shape = " x ".join(map(str, observed.observed.grid))
    count = observed.observed.num_channels
    kind = "complex " if observed.observed.values.is_complex() else ""
    channels = "1 channel" if count == 1 else f"{count} channels"
    return (
        f"{title}: {kind}{channels} of {shape} ({observed.boundary} convolution); "
        f"unknown are {rows} coefficients of filters and {columns} of the signal"
    )


def table_rows(
    observed: ObservedConvolution, result: DeconvolutionResult, noise_source: str
) -> list[tuple[str, str]]:
    """Return the lines of the answer: what it is, and its value."""
    certificate, size = result.certificate, _size(observed)
    low, high = result.bracket.lower.value, result.bracket.upper.value
    failing = result.bracket.lower.failure_probability
    rows = [
        (
            "unexplained",
            f"{result.relative_misfit:.3g} of the observation; noise bound "
            f"{result.noise_bound / size:.3g} ({noise_source})",
        ),
        (
            "least nuclear norm",
            f"{low:.9g} to {high:.9g} (certified"
            + (f", risk {failing:.0e})" if failing else ")"),
        ),
        ("relative gap", f"{certificate.relative_gap:.1e}"),
        ("infeasibility", f"{certificate.infeasibility:.1e}"),
        ("one solution", _uniqueness(result)),
        ("rank", f"{result.rank}; one filter and signal hold {result.energy:.4%}"),
        ("coherence", _coherence(result)),
        ("scale", _SCALES[result.scale]),
        ("method", result.method),
        ("why", result.reason),
        ("steps", f"{result.num_steps} ({result.seconds:.1f} s)"),
        ("status", result.status.advice),
    ]
    if (error := planted_error(observed, result)) is not None:
        rows.insert(1, ("error", f"{error:.3g} of the truth in the file"))
    return rows


def _uniqueness(result: DeconvolutionResult) -> str:
    proof = result.certificate.uniqueness
    return "not decided" if proof is None else proof.statement


def _coherence(result: DeconvolutionResult) -> str:
    """Return the worst of all channels."""
    found = result.coherence
    subspace = max(part.filter_max for part in found)
    text = f"mu_max^2 {subspace:.3g}"
    flat = [p.filter_flatness for p in found if p.filter_flatness is not None]
    if flat:
        text += f", mu_h^2 {max(flat):.3g}"
    return text + f", of the signal's subspace {found[0].signal_max:.3g}"


def planted_error(
    observed: ObservedConvolution, result: DeconvolutionResult
) -> float | None:
    """Return the relative error of h x^T, if the file has the truth."""
    if observed.truth is None:
        return None
    h, x = observed.truth
    found = torch.cat(list(result.filter_coefficients))
    return error_up_to_scale(found, result.signal_coefficients[0], h, x)


def to_json(
    title: str,
    observed: ObservedConvolution,
    result: DeconvolutionResult,
    *,
    noise_source: str,
    seed: int,
) -> dict[str, object]:
    """Return the machine-readable result; its keys are stable.

    ``gap`` and ``infeasibility`` are relative: to the upper side of the bracket, and to
    the norm of the observation, as are ``misfit`` and ``noise``. A number that is not
    finite becomes None.
    """
    certificate, bracket = result.certificate, result.bracket
    proof = certificate.uniqueness
    error = planted_error(observed, result)
    return {
        "value": _finite(bracket.upper.value),
        "lower": _finite(bracket.lower.value),
        "upper": _finite(bracket.upper.value),
        "gap": _finite(certificate.relative_gap),
        "infeasibility": _finite(certificate.infeasibility),
        "coherence": [
            {
                "mu_max_squared": _finite(part.filter_max),
                "mu_h_squared": _number(part.filter_flatness),
                "signal_mu_max_squared": _finite(part.signal_max),
                "signal_flatness": _number(part.signal_flatness),
            }
            for part in result.coherence
        ],
        "rank": result.rank,
        "seconds": result.seconds,
        "method": result.method,
        "status": result.status.name.lower(),
        "version": version("tacit"),
        "arithmetic": bracket.lower.arithmetic,
        "failure_probability": bracket.lower.failure_probability,
        "unique": None if proof is None else proof.is_unique,
        "misfit": _finite(result.relative_misfit),
        "noise": _finite(result.noise_bound / _size(observed)),
        "noise_bound": _finite(result.noise_bound),
        "noise_source": noise_source,
        "energy": _finite(result.energy),
        "error": None if error is None else _finite(error),
        "scale": result.scale,
        "steps": result.num_steps,
        "advice": result.status.advice,
        "reason": result.reason,
        "warnings": list(result.warnings),
        "notes": list(observed.notes),
        "kind": observed.observed.kind,
        "complex": observed.observed.values.is_complex(),
        "channels": observed.observed.num_channels,
        "shape": list(observed.observed.grid),
        "filter_shape": list(result.filters[0].shape),
        "signal_shape": list(result.signals[0].shape),
        "unknowns": list(observed.problem.linear_map.in_shape),
        "measurements": observed.problem.measurements.shape[-1],
        "boundary": observed.boundary,
        "rate": observed.observed.rate,
        "file": title,
        "seed": seed,
        "torch": torch.__version__,
    }


def _size(observed: ObservedConvolution) -> float:
    return float(torch.linalg.vector_norm(observed.problem.measurements))


def _number(value: float | None) -> float | None:
    return None if value is None else _finite(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
