r"""What random noise does to blind deconvolution, and how large its map is.

Derivations are in ``docs/noise_regimes.md``. Numbers are complex in a complex problem
and real in a real one; L, K and N count them alike.
"""

import math

from tacit.prediction import Prediction
from tacit.recovery.deconvolution.theory.arguments import checked_sizes, require
from tacit.recovery.deconvolution.theory.published import CFWY
from tacit.recovery.deconvolution.theory.statistical_dimension import (
    subdifferential_distance,
)

_DOC = "docs/noise_regimes.md"


def random_noise(
    shape: tuple[int, int],
    num_measurements: int,
    *,
    noise_bound: float,
    rank: int = 1,
    num_sources: int = 1,
) -> tuple[Prediction, ...]:
    r"""Return what small random noise of norm :math:`\tau` does to first order.

    Of :math:`\min \|X\|_*` subject to :math:`\|\mathcal{A}(X) - y\| \le \tau =
    \|e\|`, with the D of ``subdifferential_distance`` in ``statistical_dimension``
    (times the number of sources):

    .. math:: \|\hat X - X_0\|_F \approx \tau \sqrt{\frac{D(\lambda)}{L -
        D(\lambda)}}, \qquad \lambda = \operatorname*{arg\,min}_{D(\lambda) < L}
        \frac{\sqrt{L} - \sqrt{L - D(\lambda)}}{\lambda}

    The optimum's rank is r plus the number of singular values of a Gaussian matrix of
    size (K - r) x (N - r) above that :math:`\lambda`: more than r. The best fit of the
    true rank errs by :math:`\tau \sqrt{p / (L - p)}`, p = r (K + N - r).

    Parameters
    ----------
    shape : tuple of int
        ``(K, N)``, of every source.
    num_measurements : int
        L.
    noise_bound : float
        :math:`\tau \ge 0`, in the unit of X.
    rank : int
        r, of every source.
    num_sources : int
        S.

    Returns
    -------
    tuple of Prediction
        Error of the programme; rank of its optimum; error of the best fit of the true
        rank. Infinite errors where the programme (or any method) does not recover.

    Raises
    ------
    ShapeError
        If a size is not positive.
    InputError
        If a number is out of range.

    Notes
    -----
    Derived for Gaussian maps, in the limit of large sizes and small noise. Measured
    (``docs/noise_regimes.md``): Gaussian maps follow it to a few per cent from K = N =
    10 on; convolutions err more, by 5 to 25 per cent at L = 5 (K + N) and by 30 close
    to the transition. For noise of standard deviation :math:`\sigma = \tau /
    \sqrt{L}` and many measurements it is :math:`\sigma \sqrt{K + N}` times a constant
    between 1 and 2: the law of Chen, Fan, Wang and Yan.

    Examples
    --------
    >>> from tacit.recovery.deconvolution.theory.random_noise import random_noise
    >>> error, rank, fit = random_noise((20, 20), 200, noise_bound=0.05)
    >>> round(error.value, 3), round(rank.value, 1), round(fit.value, 3)
    (0.045, 3.0, 0.025)
    """
    rows, columns = checked_sizes(shape, num_measurements)
    require(0.0 <= noise_bound < math.inf, "noise_bound", "at least 0", noise_bound)
    require(num_sources >= 1, "num_sources", "at least 1", num_sources)
    distance = subdifferential_distance(shape, rank)
    total = num_measurements
    values = num_sources * distance.values
    error, optimal_rank = math.inf, math.nan
    if float(values.min()) < total:
        left = (total - values).clamp(min=0.0)
        slope = (math.sqrt(total) - left.sqrt()) / distance.scales
        slope = slope.masked_fill(values >= total, math.inf)
        best = int(slope.argmin())
        through = float(values[best])
        error = noise_bound * math.sqrt(through / (total - through))
        optimal_rank = num_sources * (rank + float(distance.counts[best]))
    free = num_sources * rank * (rows + columns - rank)
    fit = noise_bound * math.sqrt(free / (total - free)) if free < total else math.inf
    note = (
        "first order, Gaussian maps, by a comparison theorem that is recalled; "
        "approximate for convolutions"
    )
    return (
        Prediction(
            name="error under random noise, nuclear norm",
            value=error,
            certainty="derived",
            source=_DOC,
            note=f"{note}; order of magnitude: {CFWY}",
        ),
        Prediction(
            name="rank of the noisy optimum",
            value=optimal_rank,
            certainty="derived",
            source=_DOC,
            note=note,
        ),
        Prediction(
            name="error under random noise, best fit of the true rank",
            value=fit,
            certainty="derived",
            source=_DOC,
            note=f"{note}; exact for an instance: least_squares_error",
        ),
    )


def norm_bound(
    shape: tuple[int, int],
    num_measurements: int,
    *,
    filter_max: float = 1.0,
    is_complex: bool = False,
    failure_probability: float = 1e-9,
) -> Prediction:
    r"""Return an upper bound on the norm of the convolution map, before it is drawn.

    For orthonormal B and a Gaussian C with entries of variance 1/L, with probability at
    least :math:`1 - \epsilon`

    .. math:: \|\mathcal{A}\| \le \mu_{\max} \sqrt{K / L}\, (\sqrt{L} + \sqrt{N} + t),
        \qquad t = \sqrt{\ln (1 / \epsilon)} \text{ (real: } \sqrt{2 \ln (1 /
        \epsilon)} \text{)}

    and surely :math:`\|\mathcal{A}\| \ge \|\mathcal{A}\|_F / \sqrt{\min(L, KN)}`, whose
    mean square is :math:`\max(1, KN / L)`.

    Raises
    ------
    ShapeError
        If a size is not positive.
    InputError
        If a number is out of range.

    Notes
    -----
    The Gram matrix is the Hadamard product of :math:`\hat B \hat B^H` and the conjugate
    of :math:`\hat C \hat C^H`, both positive semidefinite; Schur: its norm is at most
    the largest diagonal entry of the first times the norm of the second, which is that
    of a Gaussian matrix (Davidson and Szarek; complex: Haagerup and Thorbjoernsen).

    Examples
    --------
    >>> from tacit.recovery.deconvolution.theory.random_noise import norm_bound
    >>> round(norm_bound((20, 20), 200, failure_probability=0.01).value, 2)
    6.85
    """
    rows, columns = checked_sizes(shape, num_measurements)
    require(
        1.0 <= filter_max < math.inf,
        "filter_max",
        "at least 1",
        filter_max,
    )
    require(
        0.0 < failure_probability < 1.0,
        "failure_probability",
        "in (0, 1)",
        failure_probability,
    )
    tail = math.log(1.0 / failure_probability) * (1.0 if is_complex else 2.0)
    edge = math.sqrt(num_measurements) + math.sqrt(columns) + math.sqrt(tail)
    return Prediction(
        name="norm of the map, at most",
        value=math.sqrt(filter_max * rows / num_measurements) * edge,
        certainty="derived",
        source="docstring of norm_bound",
        note="circular convolution, orthonormal filters, Gaussian signals",
        failure_probability=failure_probability,
    )
