"""A trained GAN in words and as JSON."""

import math
from importlib.metadata import version

import torch

from tacit.errors import Status
from tacit.minimax.gan.data.dataset import GanData
from tacit.minimax.gan.features.inception import INCEPTION_DIGEST
from tacit.minimax.gan.features.interface import AbstractFeatures
from tacit.minimax.gan.result import GanResult

_KINDS = {
    "frechet": "Frechet distance",
    "kernel": "kernel distance",
    "sliced_wasserstein": "sliced Wasserstein",
    "variance_ratio": "variance ratio",
    "modes_found": "modes found",
    "high_quality": "on a mode",
}
_ADVICE = {
    Status.CONVERGED: "all steps were taken, and the score has come to rest",
    Status.MAX_STEPS: "all steps were taken; --resume with more --steps goes on",
    Status.INTERRUPTED: "stopped by Ctrl-C; --resume goes on where it stopped",
    Status.NON_FINITE: "broke down: a loss or a weight overflowed; the samples are "
    "those of the last score",
}
_SPLITS = ("train", "test")


def describe(data: GanData, result: GanResult) -> str:
    """Return what was trained on what, in one line."""
    shape = " x ".join(map(str, data.train.shape))
    config = result.config
    return (
        f"{data.name}: {data.train.num_samples} samples of {shape} ({data.split}); "
        f"{config.architecture}, {config.loss} loss, {config.method}"
    )


def table_rows(
    result: GanResult, features: AbstractFeatures | None
) -> list[tuple[str, str]]:
    """Return the lines of the answer: what it is, and its value."""
    gan = result.gan
    return [
        ("width", _widths(result)),
        (
            "parameters",
            f"{gan.num_parameters} (generator {gan.num_generator_parameters}, "
            f"discriminator {gan.num_discriminator_parameters})",
        ),
        *_score_rows(result, features),
        ("scored on", _scored_on(result, features)),
        ("converged", _convergence(result)),
        ("predicted rate", "none is defined for networks and batches"),
        ("measured rate", "none is defined for networks and batches"),
        ("steps", f"{result.num_steps} ({result.seconds:.1f} s)"),
        ("status", advice(result)),
    ]


def _widths(result: GanResult) -> str:
    ours, theirs = result.gan.generator_width, result.gan.discriminator_width
    if ours == theirs:
        return f"{ours} (both players)"
    return f"generator {ours}, discriminator {theirs}"


def _score_rows(
    result: GanResult, features: AbstractFeatures | None
) -> list[tuple[str, str]]:
    """Return one row for each kind of score, against training and held-out data."""
    rows: dict[str, list[str]] = {}
    for name, value in result.scores.items():
        kind, _, split = name.rpartition("_")
        if split not in _SPLITS:
            kind, split = name, ""
        text = f"{value:.6g}"
        if split:
            text += " (training data)" if split == "train" else " (held-out data)"
        rows.setdefault(score_title(kind, features), []).append(text)
    if not rows:
        return [("scores", "none: the run ended before the first")]
    return [(title, ", ".join(texts)) for title, texts in rows.items()]


def is_inception(features: AbstractFeatures | None) -> bool:
    """Return whether these are the features that FID is defined by."""
    return features is not None and features.digest == INCEPTION_DIGEST


def score_title(kind: str, features: AbstractFeatures | None) -> str:
    """Return what a score is called; FID and KID only on the known Inception weights.

    Parameters
    ----------
    kind : str
        As in the scores' keys, without the split.
    features : AbstractFeatures or None
        What images were scored on.
    """
    if is_inception(features):
        return {"frechet": "FID", "kernel": "KID"}.get(kind, _KINDS.get(kind, kind))
    return _KINDS.get(kind, kind.replace("_", " "))


def _scored_on(result: GanResult, features: AbstractFeatures | None) -> str:
    count = result.config.num_score_samples
    if features is None:
        what = "the samples themselves"
    else:
        what = f"features of {features.name}"
    return f"{count} samples, {what}"


def _convergence(result: GanResult) -> str:
    plateau = result.plateau
    if result.is_collapsed:
        return "no: the samples are nearly all alike"
    if not math.isfinite(plateau.change):
        return "not known: too few scores; lower --evaluate-every or raise --steps"
    change = f"{result.score_name.replace('_', ' ')} changed by {plateau.change:.3g}"
    error = plateau.standard_error
    if math.isfinite(error):
        change += f" +- {error:.2g}"
    answer = "yes" if result.converged else "no"
    return f"{answer}: {change} around {plateau.level:.4g} in the last quarter"


def to_json(
    data: GanData,
    result: GanResult,
    features: AbstractFeatures | None,
    *,
    device: str,
) -> dict[str, object]:
    """Return the machine-readable result; its keys are stable.

    A number that is not finite becomes None.
    """
    gan, plateau = result.gan, result.plateau
    same = gan.generator_width == gan.discriminator_width
    return {
        "width": gan.generator_width if same else None,
        "generator_width": gan.generator_width,
        "discriminator_width": gan.discriminator_width,
        "parameters": gan.num_parameters,
        "generator_parameters": gan.num_generator_parameters,
        "discriminator_parameters": gan.num_discriminator_parameters,
        "scores": {name: finite(value) for name, value in result.scores.items()},
        "score_name": result.score_name,
        "steps": result.num_steps,
        "converged": result.converged,
        "outcome": _outcome(result),
        "status": result.status.name.lower(),
        "advice": advice(result),
        "plateau": {
            "level": finite(plateau.level),
            "change": finite(plateau.change),
            "standard_error": finite(plateau.standard_error),
        },
        # Defined for full-batch saddle problems, such as mean-matching.
        "predicted_rate": None,
        "measured_rate": None,
        "loss": result.config.loss,
        "method": result.config.method,
        "architecture": result.config.architecture,
        "seed": result.config.seed,
        "settings": result.config.as_header(),
        "data": {
            "name": data.name,
            "digest": data.digest,
            "digest_of": data.digest_of,
            "shape": list(data.train.shape),
            "train_samples": data.train.num_samples,
            "test_samples": 0 if data.test is None else data.test.num_samples,
            "split": data.split,
        },
        "features": None
        if features is None
        else {
            "name": features.name,
            "digest": features.digest,
            "dimension": features.dimension,
            "preprocess": features.preprocess,
            "is_inception": is_inception(features),
        },
        "notes": list(result.notes),
        "device": device,
        "seconds": result.seconds,
        "version": version("tacit"),
        "torch": torch.__version__,
    }


def advice(result: GanResult) -> str:
    """Return what to know, or to do next, after a run that ended like this."""
    return _ADVICE.get(result.status, result.status.advice)


def _outcome(result: GanResult) -> str:
    if result.status is Status.NON_FINITE:
        return "broke down"
    if result.is_collapsed:
        return "collapsed"
    return "score at rest" if result.converged else "not converged"


def finite(value: float | None) -> float | None:
    """Return a number as JSON holds it."""
    return value if value is not None and math.isfinite(value) else None
