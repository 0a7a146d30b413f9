"""Scores of the averaged generator, always at the same latents and the same data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.gan.averaging import MovingAverage
from tacit.minimax.gan.config import TrainingConfig
from tacit.minimax.gan.data.coverage import mode_coverage
from tacit.minimax.gan.data.dataset import AbstractDataset, GanData
from tacit.minimax.gan.data.gaussians import GaussianMixture
from tacit.minimax.gan.features.interface import AbstractFeatures
from tacit.minimax.gan.grid import to_pixels
from tacit.minimax.gan.result import generate
from tacit.minimax.gan.scores.frechet import frechet_distance
from tacit.minimax.gan.scores.kernel import kernel_distance
from tacit.minimax.gan.scores.sliced_wasserstein import sliced_wasserstein
from tacit.minimax.gan.scores.statistics import FeatureStatistics, feature_statistics
from tacit.rng import make_generator

_CHUNK = 256  # samples whose features are taken at once
_SHOWN = 64  # samples in a picture
_SHOWN_VECTORS = 1000
_NUM_PROJECTIONS = 128
_IMAGE_DIMENSIONS = 3


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Reference:
    """Real samples that generated ones are compared with."""

    split: str
    flat: Tensor
    features: Tensor | None
    statistics: FeatureStatistics | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluator:
    """What stays the same from score to score.

    Parameters
    ----------
    shape : tuple of int
        Of one sample.
    latents : tuple of Tensor, each of shape (batch_size, latent_dim)
        On the device; the last may be shorter, but has at least 2 rows.
    references : tuple
        Real samples, flat and as features, of each split.
    features : AbstractFeatures or None
        What images are scored on.
    mixture : GaussianMixture or None
        The distribution, where it is known.
    shown_real : Tensor, shape (n, *shape)
        Real samples for pictures.
    seed : int
        Names the stream of projections.
    """

    shape: tuple[int, ...]
    latents: tuple[Tensor, ...]
    references: tuple[_Reference, ...]
    features: AbstractFeatures | None
    mixture: GaussianMixture | None
    shown_real: Tensor
    seed: int

    @property
    def score_name(self) -> str:
        """The score by which a run is said to have come to rest."""
        has_features = self.references[-1].features is not None
        kind = "frechet" if has_features else "sliced_wasserstein"
        return f"{kind}_{self.references[-1].split}"


def make_evaluator(
    data: GanData,
    config: TrainingConfig,
    features: AbstractFeatures | None,
    device: torch.device,
) -> Evaluator:
    """Draw the latents and real samples of all scores, from streams of their own.

    Parameters
    ----------
    data : GanData
        At most ``num_score_samples`` of each split are taken.
    config : TrainingConfig
    features : AbstractFeatures or None
        For images.
    device : torch.device
        Of the generator.

    Raises
    ------
    InputError
        If features are given for vectors, or the data are not finite.
    """
    shape = data.train.shape
    if features is not None and len(shape) != _IMAGE_DIMENSIONS:
        raise InputError(
            f"features are for images; samples of shape {shape} are their own: leave "
            "features out"
        )
    stream = make_generator(config.seed, "score")
    splits: list[tuple[str, AbstractDataset]] = [("train", data.train)]
    if data.test is not None:
        splits.append(("test", data.test))
    drawn = [
        (split, _draw(dataset, config.num_score_samples, stream))
        for split, dataset in splits
    ]
    references = tuple(
        _Reference(
            split=split,
            flat=samples.flatten(1),
            features=own,
            statistics=None if own is None else feature_statistics(own),
        )
        for split, samples, own in (
            (split, samples, _features_of(samples, features))
            for split, samples in drawn
        )
    )
    latents = evaluation_latents(config, config.num_score_samples, device)
    shown = _SHOWN if len(shape) == _IMAGE_DIMENSIONS else _SHOWN_VECTORS
    return Evaluator(
        shape=shape,
        latents=latents,
        references=references,
        features=features,
        mixture=data.mixture,
        shown_real=drawn[0][1][:shown].clone(),
        seed=config.seed,
    )


def evaluation_latents(
    config: TrainingConfig, num_latents: int, device: torch.device
) -> tuple[Tensor, ...]:
    """Return the latents of all scores, in batches.

    Parameters
    ----------
    config : TrainingConfig
    num_latents : int
        At least 2.
    device : torch.device

    Returns
    -------
    tuple of Tensor
        Of ``batch_size`` rows each; a rest of one row joins the batch before.
    """
    latents = torch.randn(
        num_latents,
        config.latent_dim,
        generator=make_generator(config.seed, "evaluation"),
    ).to(device)
    count = num_latents // config.batch_size * config.batch_size
    if num_latents - count == 1 and count:
        count -= config.batch_size
    whole = latents[:count].split(config.batch_size) if count else ()
    rest = (latents[count:],) if count < num_latents else ()
    return (*whole, *rest)


def evaluate(
    evaluator: Evaluator, average: MovingAverage
) -> tuple[dict[str, float], Tensor]:
    """Score the averaged generator.

    Parameters
    ----------
    evaluator : Evaluator
    average : MovingAverage
        Its statistics are recomputed; nothing that training depends on changes.

    Returns
    -------
    scores : dict of str to float
        ``frechet_train``, ``kernel_train`` (of features; for vectors of the samples
        themselves), ``sliced_wasserstein_train`` (of the samples), the same with
        ``_test`` if data are held out, ``variance_ratio`` (total variance of samples
        over that of training data), and of a known mixture ``modes_found`` and
        ``high_quality``.
    samples : Tensor, shape (n, *shape)
        The first ones, for a picture.
    """
    module = average.finish(evaluator.latents)
    samples = generate(module, torch.cat(evaluator.latents), evaluator.shape)
    flat, features = samples.flatten(1), _features_of(samples, evaluator.features)
    statistics = None if features is None else feature_statistics(features)
    scores: dict[str, float] = {}
    for reference in evaluator.references:
        if statistics is not None and reference.statistics is not None:
            frechet = frechet_distance(reference.statistics, statistics)
            scores[f"frechet_{reference.split}"] = frechet
        scores.update(_distances(evaluator, reference, flat, features))
    real_variance = _total_variance(evaluator.references[0].flat)
    scores["variance_ratio"] = _total_variance(flat) / max(real_variance, 1e-30)
    if evaluator.mixture is not None:
        coverage = mode_coverage(evaluator.mixture, samples)
        scores["modes_found"] = float(coverage.num_found)
        scores["high_quality"] = coverage.high_quality
    return scores, samples[: len(evaluator.shown_real)].clone()


def _distances(
    evaluator: Evaluator, reference: _Reference, flat: Tensor, features: Tensor | None
) -> Mapping[str, float]:
    scores: dict[str, float] = {}
    if features is not None and reference.features is not None:
        kernel = kernel_distance(reference.features, features)
        scores[f"kernel_{reference.split}"] = kernel.value
    # The same projections every time, so that curves are smooth.
    scores[f"sliced_wasserstein_{reference.split}"] = sliced_wasserstein(
        reference.flat,
        flat,
        num_projections=_NUM_PROJECTIONS,
        generator=make_generator(evaluator.seed, "projections"),
    )
    return scores


def _draw(dataset: AbstractDataset, num: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(dataset.num_samples, generator=generator)[:num]
    parts = [dataset.batch(part).cpu() for part in order.split(_CHUNK)]
    samples = torch.cat(parts)
    if not bool(samples.isfinite().all()):
        raise InputError(
            f"the samples of {dataset.name} must be finite; some are NaN or infinite: "
            "clean them"
        )
    return samples


def _features_of(samples: Tensor, features: AbstractFeatures | None) -> Tensor | None:
    if samples.ndim == 1 + _IMAGE_DIMENSIONS and features is None:
        return None
    if features is None:
        return samples.flatten(1)
    parts: Sequence[Tensor] = [
        features.extract(to_pixels(part)) for part in samples.split(_CHUNK)
    ]
    return torch.cat(list(parts))


def _total_variance(flat: Tensor) -> float:
    return float(flat.double().var(dim=0, correction=0).sum())
