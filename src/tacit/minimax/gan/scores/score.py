"""All distances between features of real and of generated images, by their names."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.gan.features.inception import INCEPTION_DIGEST
from tacit.minimax.gan.features.interface import AbstractFeatures
from tacit.minimax.gan.scores.frechet import frechet_distance, frechet_floor
from tacit.minimax.gan.scores.kernel import KernelDistance, kernel_distance
from tacit.minimax.gan.scores.statistics import FeatureStatistics, feature_statistics


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureScores:
    """Distances between features of real and of generated samples.

    Parameters
    ----------
    frechet : float
        See :func:`frechet_distance`; biased upwards.
    frechet_floor : float
        What two such samples of one normal distribution score on average; see
        :func:`frechet_floor`. Not to be subtracted.
    kernel : KernelDistance
        See :func:`kernel_distance`; unbiased, with a standard error.
    num_real, num_fake : int
        Samples.
    features : str
        Name of the extractor.
    digest : str or None
        SHA-256 of its weights.
    preprocess : str
        What it does to pixels.
    """

    frechet: float
    frechet_floor: float
    kernel: KernelDistance
    num_real: int
    num_fake: int
    features: str
    digest: str | None
    preprocess: str

    @property
    def frechet_name(self) -> str:
        """``"FID"`` on the known Inception weights alone, else ``"FD[features]"``."""
        return score_name("frechet", self.features, self.digest)

    @property
    def kernel_name(self) -> str:
        """``"KID"`` on the known Inception weights alone, else ``"KD[features]"``."""
        return score_name("kernel", self.features, self.digest)

    def __str__(self) -> str:
        kernel = self.kernel
        return (
            f"{self.frechet_name} {self.frechet:.6g} (floor about "
            f"{self.frechet_floor:.3g}), {self.kernel_name} {kernel.value:.4g} +- "
            f"{kernel.standard_error:.2g}, of {self.num_real} real and "
            f"{self.num_fake} generated samples"
        )


def is_inception(digest: str | None) -> bool:
    """Return whether a digest is that of the weights FID and KID are defined by."""
    return digest == INCEPTION_DIGEST


def score_name(kind: str, features: str, digest: str | None) -> str:
    """Return what a distance is called.

    Parameters
    ----------
    kind : {"frechet", "kernel"}
    features : str
        Name of the extractor.
    digest : str or None
        Of its weights.

    Raises
    ------
    InputError
        If there is no such distance.

    Examples
    --------
    >>> from tacit.minimax.gan.scores.score import score_name
    >>> score_name("frechet", "digits classifier", None)
    'FD[digits classifier]'
    """
    names = {"frechet": ("FID", "FD"), "kernel": ("KID", "KD")}
    if kind not in names:
        raise InputError(f"kind must be 'frechet' or 'kernel'; got {kind!r}")
    known, other = names[kind]
    return known if is_inception(digest) else f"{other}[{features}]"


def score_features(
    real: Tensor,
    fake: Tensor,
    *,
    features: AbstractFeatures | None = None,
    statistics: FeatureStatistics | None = None,
) -> FeatureScores:
    """Return all distances between features of real and of generated samples.

    Parameters
    ----------
    real, fake : Tensor, shape (num_samples, dimension)
        At least 3 each.
    features : AbstractFeatures or None
        What they are from, for the record; None: the samples themselves.
    statistics : FeatureStatistics or None
        Of the real side, if they are known.

    Returns
    -------
    FeatureScores

    Raises
    ------
    ShapeError
        As :func:`frechet_distance` and :func:`kernel_distance`.
    InputError
        Likewise, or if statistics are of another number of samples.

    Examples
    --------
    >>> import tacit, torch
    >>> x = torch.tensor([[0.0], [1.0], [2.0]])
    >>> scores = tacit.score_features(x, x + 2.0)
    >>> scores.frechet_name, scores.frechet
    ('FD[samples]', 4.0)
    """
    digest = None if features is None else features.digest
    if statistics is None:
        statistics = feature_statistics(real, digest=digest)
    elif statistics.count != len(real):
        raise InputError(
            f"statistics must be those of the {len(real)} real samples; they are of "
            f"{statistics.count}"
        )
    generated = feature_statistics(fake, digest=digest)
    return FeatureScores(
        frechet=frechet_distance(statistics, generated),
        frechet_floor=frechet_floor(statistics, len(real), len(fake)),
        kernel=kernel_distance(real, fake),
        num_real=len(real),
        num_fake=len(fake),
        features="samples" if features is None else features.name,
        digest=digest,
        preprocess="none" if features is None else features.preprocess,
    )
