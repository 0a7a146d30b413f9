r"""The Frechet distance of features, which is FID on Inception features.

Of the covariances :math:`S = A^T A` and :math:`T = B^T B`, the eigenvalues of
:math:`S T` are the squared singular values of :math:`A B^T`, apart from zeros. So
:math:`\mathrm{tr} (S T)^{1/2}` is the nuclear norm of that matrix: n x n' for centred
samples fewer than dimensions, never more than d x d.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.gan.scores.samples import checked_pair
from tacit.minimax.gan.scores.statistics import (
    FeatureStatistics,
    check_comparable,
    feature_statistics,
)

_LEAST = 2  # samples that a covariance takes


def frechet_distance(
    x: Tensor | FeatureStatistics, y: Tensor | FeatureStatistics
) -> float:
    r"""Return the Frechet distance between features, FID if they are Inception's.

    .. math:: d(x, y) = |\mu_x - \mu_y|^2 + \mathrm{tr}\, S_x + \mathrm{tr}\, S_y
              - 2\, \mathrm{tr}\, (S_x S_y)^{1/2}

    with means :math:`\mu` and covariances S over n - 1: the squared 2-Wasserstein
    distance of normal distributions with these means and covariances.

    Parameters
    ----------
    x, y : Tensor, shape (num_samples, dimension), or FeatureStatistics
        Statistics of the real side need to be computed once only.

    Returns
    -------
    float
        At least 0, in squared units of the features. Rounding errors are about
        1e-16 times the dimension times both traces.

    Raises
    ------
    ShapeError
        If these are no such matrices, of different dimensions, or of fewer than 2
        samples.
    InputError
        If they are not finite, statistics come from different extractors, or the
        distance overflows.

    Notes
    -----
    It is biased upwards, by about c / n with c depending on the generator: numbers at
    different n do not compare (Binkowski et al., 2018; Chong and Forsyth, 2020). See
    :func:`frechet_floor` and :func:`extrapolated_frechet`; :func:`kernel_distance` has
    no bias. Nothing is added to the covariances, which may be singular.

    References
    ----------
    Dowson and Landau (1982), The Frechet distance between multivariate normal
    distributions; Heusel et al. (2017). The root by a nuclear norm is ours.

    Examples
    --------
    >>> import tacit, torch
    >>> x = torch.tensor([[0.0], [2.0]])  # mean 1, variance 2
    >>> tacit.frechet_distance(x, x + 3.0)
    9.0
    """
    return frechet_from_statistics(_statistics(x), _statistics(y))


def frechet_from_statistics(a: FeatureStatistics, b: FeatureStatistics) -> float:
    r"""Return the Frechet distance of means and covariances computed before.

    .. math:: d(a, b) = |\mu_a - \mu_b|^2 + \|A\|_F^2 + \|B\|_F^2 - 2\, \|A B^T\|_* ,
              \quad S_a = A^T A, \; S_b = B^T B

    which is that of :func:`frechet_distance`, as the nuclear norm of :math:`A B^T` is
    :math:`\mathrm{tr}\, (S_a S_b)^{1/2}`.

    Parameters
    ----------
    a, b : FeatureStatistics
        See :func:`feature_statistics`.

    Returns
    -------
    float
        At least 0, in squared units of the features.

    Raises
    ------
    ShapeError
        If their dimensions differ.
    InputError
        If they come from different extractors, or the distance overflows.

    Notes
    -----
    O(d r_a r_b) time for factors of r_a and r_b rows, at most d = dimension each; no
    matrix larger than (r_a, r_b) is formed.

    References
    ----------
    Dowson and Landau (1982), as :func:`frechet_distance`; the nuclear norm is ours.

    Examples
    --------
    >>> import tacit, torch
    >>> real = tacit.feature_statistics(torch.tensor([[0.0], [2.0]]))
    >>> fake = tacit.feature_statistics(torch.tensor([[5.0], [7.0]]))
    >>> tacit.frechet_from_statistics(real, fake)
    25.0
    """
    check_comparable(a, b)
    shift = float((a.mean - b.mean).square().sum())
    sides = shift + a.total_variance + b.total_variance
    if not math.isfinite(sides):
        raise InputError(
            "squares of the features must be finite; the distance overflows: training "
            "has diverged, or features need scaling"
        )
    both = float(torch.linalg.svdvals(a.factor @ b.factor.T).sum())
    return max(sides - 2.0 * both, 0.0)


def frechet_floor(statistics: FeatureStatistics, num_real: int, num_fake: int) -> float:
    r"""Return what a perfect generator scores on average, as samples are finite.

    For two samples of n and m from one normal distribution with covariance S of
    eigenvalues :math:`\lambda_i`, to first order in 1/n and 1/m,

    .. math:: E\, d = \Big(\frac1n + \frac1m\Big) \sum_i \lambda_i + \frac12
        \Big(\frac1{n-1} + \frac1{m-1}\Big) \sum_{i,j}
        \frac{(1 + \delta_{ij})\, \lambda_i \lambda_j}{\lambda_i + \lambda_j} .

    Parameters
    ----------
    statistics : FeatureStatistics
        Of as many real samples as there are.
    num_real, num_fake : int
        n and m, of the samples that are scored; at least 2.

    Returns
    -------
    float
        In squared units of the features.

    Raises
    ------
    InputError
        If a number is below 2.

    Notes
    -----
    Good where n and m are several times the number of dimensions that matter; far too
    large where they are fewer. Features are not normal: with heavy tails the true floor
    is higher. Distances of real samples from real samples say it without either
    assumption.

    References
    ----------
    Ours: the second derivative of the Bures distance at S is :math:`\sum_{ij} E_{ij}^2
    / (2 (\lambda_i + \lambda_j))` along E, and the sample covariance of normal samples
    has entries of variance :math:`\lambda_i \lambda_j (1 + \delta_{ij}) / (n - 1)`.

    Examples
    --------
    >>> import tacit, torch
    >>> statistics = tacit.feature_statistics(torch.tensor([[0.0], [2.0]]))
    >>> tacit.frechet_floor(statistics, 101, 101)  # 2 (2 / 101) + (1 / 100)(2 * 4 / 4)
    0.0596...
    """
    if min(num_real, num_fake) < _LEAST:
        raise InputError(
            f"num_real and num_fake must be at least 2; got {num_real} and {num_fake}"
        )
    values = torch.linalg.svdvals(statistics.factor).square()
    values = values[values > 0.0]
    sums = values[:, None] + values[None, :]
    pairs = float((values[:, None] * values[None, :] / sums).sum())
    pairs += float((values / 2.0).sum())
    of_mean = (1.0 / num_real + 1.0 / num_fake) * float(values.sum())
    return of_mean + 0.5 * (1.0 / (num_real - 1) + 1.0 / (num_fake - 1)) * pairs


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FrechetExtrapolation:
    """A Frechet distance with the leading part of its bias taken out.

    Parameters
    ----------
    value : float
        ``2 * of_all - of_halves``; may be below 0 by chance.
    of_all : float
        The distance of all samples.
    of_halves : float
        The mean distance of halves.
    spread : float
        Standard deviation of ``value`` over the ways to split: how much of it is chance
        in splitting, which says nothing of chance in the samples.
    """

    value: float
    of_all: float
    of_halves: float
    spread: float


def extrapolated_frechet(
    x: Tensor, y: Tensor, *, num_splits: int = 4, generator: torch.Generator
) -> FrechetExtrapolation:
    r"""Return the Frechet distance extrapolated to infinitely many samples.

    With a bias of c / n the distances :math:`d_n` of all samples and :math:`d_{n/2}` of
    halves give :math:`d_\infty = 2 d_n - d_{n/2}`. Both x and y are split into two
    halves that share no sample, in several random ways, and distances are averaged.

    Parameters
    ----------
    x, y : Tensor, shape (num_samples, dimension)
        At least 4 each.
    num_splits : int
        Ways to split, at least 2.
    generator : torch.Generator
        Draws them.

    Returns
    -------
    FrechetExtrapolation

    Raises
    ------
    ShapeError
        As :func:`frechet_distance`, or if there are fewer than 4 samples.
    InputError
        As :func:`frechet_distance`, or if ``num_splits`` is too small.

    Notes
    -----
    Takes ``2 * num_splits + 1`` distances. Where samples are fewer than dimensions, the
    bias is not c / n, and some of it stays.

    References
    ----------
    Chong and Forsyth (2020), Effectively unbiased FID and inception score, who fit a
    line in 1 / n; two sizes and disjoint halves as in Quenouille (1956), Notes on bias
    in estimation.

    Examples
    --------
    >>> import tacit, torch
    >>> x = torch.arange(8.0)[:, None]
    >>> generator = torch.Generator().manual_seed(0)
    >>> found = tacit.extrapolated_frechet(x, x, generator=generator)
    >>> found.value < found.of_all < found.of_halves
    True
    """
    if num_splits < _LEAST:
        raise InputError(f"num_splits must be at least 2; got {num_splits}")
    x, y = checked_pair(x, y, at_least=2 * _LEAST)
    of_all = frechet_distance(x, y)
    halves: list[float] = []
    for _ in range(num_splits):
        x = x[torch.randperm(len(x), generator=generator)]
        y = y[torch.randperm(len(y), generator=generator)]
        pairs = zip(x.tensor_split(2), y.tensor_split(2), strict=True)
        halves.append(sum(frechet_distance(a, b) for a, b in pairs) / 2.0)
    found = torch.tensor(halves, dtype=torch.float64)
    of_halves = float(found.mean())
    return FrechetExtrapolation(
        value=2.0 * of_all - of_halves,
        of_all=of_all,
        of_halves=of_halves,
        spread=float(found.std()),
    )


def _statistics(samples: Tensor | FeatureStatistics) -> FeatureStatistics:
    if isinstance(samples, FeatureStatistics):
        return samples
    return feature_statistics(samples)
