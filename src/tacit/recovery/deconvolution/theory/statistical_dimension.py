r"""How large a cone or a noisy estimate of a nuclear norm programme is, on average.

For Gaussian maps these numbers decide when the programme recovers a low-rank matrix and
how much random noise it lets through; see ``docs/noise_regimes.md``.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError

_BIG = 1e100  # Laguerre functions are rescaled where they pass this


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubdifferentialDistance:
    r"""Mean squared distance of a Gaussian matrix to the scaled subdifferential.

    .. math:: D(\lambda) = \mathbb{E} \operatorname{dist}^2(G,
        \lambda\, \partial \|X_0\|_*) = p + \lambda^2 r + \mathbb{E} \sum_i
        (s_i - \lambda)_+^2, \qquad p = r (K + N - r)

    with G of size K x N and independent entries with :math:`\mathbb{E}|G_{kn}|^2 = 1`,
    r the rank of :math:`X_0` and :math:`s_i` the singular values of a Gaussian matrix
    of size (K - r) x (N - r).

    Parameters
    ----------
    scales : Tensor, shape (num_scales,)
        :math:`\lambda > 0`, increasing.
    values : Tensor, shape (num_scales,)
        :math:`D(\lambda)`.
    counts : Tensor, shape (num_scales,)
        Mean number of the :math:`s_i` above :math:`\lambda`.
    """

    scales: Tensor
    values: Tensor
    counts: Tensor


def subdifferential_distance(
    shape: tuple[int, int], rank: int = 1
) -> SubdifferentialDistance:
    r"""Return :math:`D(\lambda)` of rank r in K x N matrices, on a grid.

    The mean is exact for complex Gaussian matrices: their squared singular values have
    the density

    .. math:: \sum_{k < n} \frac{k!}{(k + a)!}\, x^a e^{-x} L_k^{(a)}(x)^2, \qquad
        n = \min(K, N) - r, \quad a = |K - N|

    (Laguerre unitary ensemble). For real ones it is an approximation: the two agree to
    first order in the size, and D of size 10 differs by two to three per cent.

    Parameters
    ----------
    shape : tuple of int
        ``(K, N)``.
    rank : int
        r, in 1..min(K, N).

    Returns
    -------
    SubdifferentialDistance

    Raises
    ------
    ShapeError
        If a size is not positive.
    InputError
        If the rank is out of range.

    Notes
    -----
    Time ``O(min(K, N)^2)``: some seconds at 2000.

    Examples
    --------
    >>> from tacit.recovery.deconvolution.theory.statistical_dimension import (
    ...     subdifferential_distance)
    >>> distance = subdifferential_distance((1, 1))
    >>> bool((distance.values - 1.0 - distance.scales**2).abs().max() < 1e-12)
    True
    """
    rows, columns = shape
    if min(rows, columns) < 1:
        raise ShapeError(f"shape must be positive; got {shape}")
    if not 1 <= rank <= min(rows, columns):
        raise InputError(
            f"rank must be in 1..min(shape) = {min(rows, columns)}; got {rank}"
        )
    count, excess = min(rows, columns) - rank, abs(rows - columns)
    top = math.sqrt(rows) + math.sqrt(columns) + 6.0
    num = 4 * min(rows, columns) + 2000
    step = top / num
    scales = (torch.arange(num, dtype=torch.float64) + 0.5) * step
    masses = 2.0 * scales * _wishart_density(scales * scales, count, excess) * step
    # Sums over s > lambda of 1, s and s^2, lambda on the grid of s itself.
    tails = torch.stack([masses, masses * scales, masses * scales * scales])
    zeroth, first, second = tails.flip(-1).cumsum(-1).flip(-1)
    soft = second - 2.0 * scales * first + scales * scales * zeroth
    free = rank * (rows + columns - rank)
    return SubdifferentialDistance(
        scales=scales,
        values=free + rank * scales * scales + soft.clamp(min=0.0),
        counts=zeroth - masses / 2.0,
    )


def statistical_dimension(shape: tuple[int, int], rank: int = 1) -> float:
    r"""Return :math:`\delta = \min_\lambda D(\lambda)`, the size of the descent cone.

    It bounds the statistical dimension of the cone of directions along which the
    nuclear norm does not grow at a matrix of rank r from above, and is close to it. A
    Gaussian map of L measurements (counted like the entries: real or complex) recovers
    such a matrix with high probability if L is above :math:`\delta` by a few
    :math:`\sqrt{KN}`, and fails if it is as much below.

    Raises
    ------
    ShapeError, InputError
        As :func:`subdifferential_distance`.

    References
    ----------
    Amelunxen, Lotz, McCoy and Tropp (2014), "Living on the edge", arXiv:1303.6672
    (recalled: transition at the statistical dimension, and its bound by the distance).

    Examples
    --------
    >>> from tacit.recovery.deconvolution.theory.statistical_dimension import (
    ...     statistical_dimension)
    >>> round(statistical_dimension((20, 20)))
    81
    """
    return float(subdifferential_distance(shape, rank).values.min())


def _wishart_density(points: Tensor, count: int, excess: int) -> Tensor:
    """Return the sum of the first ``count`` squared orthonormal Laguerre functions.

    Forward recurrence, started at 1 with the logarithm of the first function kept
    aside: far from the bulk that function underflows, but later ones do not.
    """
    total = torch.zeros_like(points)
    previous, current = torch.zeros_like(points), torch.ones_like(points)
    level = (excess * points.log() - points - math.lgamma(excess + 1.0)) / 2.0
    for k in range(count):
        total += current * current * (2.0 * level).exp()
        following = (points - (2 * k + excess + 1)) * current
        following -= math.sqrt(k * (k + excess)) * previous
        following /= math.sqrt((k + 1) * (k + 1 + excess))
        previous, current = current, following
        if k % 8 == 0:
            large = current.abs() > _BIG
            scale = torch.ones_like(points).masked_fill_(large, 1.0 / _BIG)
            previous, current = previous * scale, current * scale
            level = level - scale.log()
    return total
