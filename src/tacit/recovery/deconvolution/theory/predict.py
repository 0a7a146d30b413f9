r"""What theory says beforehand about blind deconvolution by the nuclear norm.

Sizes K x N of the lifted matrix, L measurements, a Gaussian subspace of signals, so
that the mean of A*A is the identity. Numbers are complex in a complex problem and real
in a real one; L, K and N count them alike. What is ``derived`` here is derived in
``docs/noise_regimes.md``; statements of the literature have unknown constants, and
their values are *scalings with constant one*, never thresholds. For one instance with
known truth, ``instance_bounds`` proves bounds with all constants.
"""

import math
from dataclasses import dataclass
from typing import Literal, final

from tacit.prediction import Certainty, Prediction
from tacit.recovery.deconvolution.theory.arguments import checked_sizes, require
from tacit.recovery.deconvolution.theory.published import ARR, JKS, KKS, KS, LLSW, LS
from tacit.recovery.deconvolution.theory.statistical_dimension import (
    statistical_dimension,
)

Regime = Literal[
    "linear with dimension factor", "square root", "dimension-free linear", "saturated"
]

_DOC = "docs/noise_regimes.md"
_ONE = "scaling with constant one; the constant is not known"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseRegime:
    """Which law the worst noise of a given size follows, by theory.

    Parameters
    ----------
    name : {"linear with dimension factor", "square root", "dimension-free linear", \
"saturated"}
        Of the regime that the noise bound is in, by the crossovers.
    error : Prediction
        The law's value there.
    laws : tuple of Prediction
        The four laws at this noise bound, in the order of the names.
    crossovers : tuple of Prediction
        Noise bounds at which the second, the third and the fourth regime begin,
        increasing; equal ones leave no room for the regime between them.
    """

    name: Regime
    error: Prediction
    laws: tuple[Prediction, ...]
    crossovers: tuple[Prediction, ...]


def noise_regime(
    shape: tuple[int, int],
    num_measurements: int,
    *,
    noise_bound: float,
    size: float = 1.0,
    filter_flatness: float = 1.0,
) -> NoiseRegime:
    r"""Return the law that the worst noise with :math:`\|e\| \le \tau` follows.

    With :math:`d = \|X_0\|_F`, :math:`\Delta = \max(1, \sqrt{KN / L})` and
    :math:`\alpha = \mu_h \log L \sqrt{(K + N) / L}`:

    .. math::
        \tau \lesssim d / \Delta^2: \quad & \|\hat X - X_0\|_F \sim \Delta\, \tau \\
        d / \Delta^2 \lesssim \tau \lesssim \alpha d: \quad & \sim \sqrt{\tau d} \\
        \alpha d \lesssim \tau \lesssim d: \quad & \sim (L / (K + N))^{1/3}\, \tau \\
        d \lesssim \tau: \quad & \le 2 d

    Parameters
    ----------
    shape : tuple of int
        ``(K, N)``.
    num_measurements : int
        L.
    noise_bound : float
        :math:`\tau \ge 0`.
    size : float
        d > 0, in the unit of X; the unit of :math:`\tau` is the same, as the map keeps
        sizes on average.
    filter_flatness : float
        :math:`\mu_h^2 \ge 1`, ``filter_flatness`` of a ``Coherence``.

    Returns
    -------
    NoiseRegime

    Raises
    ------
    ShapeError
        If a size is not positive.
    InputError
        If a number is out of range.

    Notes
    -----
    Where each comes from. *Linear with dimension factor*: bound and matching
    construction, Krahmer and Stoeger (recalled). *Square root*: derived for every
    instance with a dual certificate, :math:`\|\hat X - X_0\|_F \le 2 \sqrt{\|q\| d
    \tau / (1 - \theta)}`; Kostin, Krahmer and Stoeger state the scaling (published).
    *Dimension-free linear*: Krahmer and Stoeger (recalled); with constants one it is
    weaker than the square root, which by itself gives :math:`\alpha^{-1/2} \tau` there.
    At laboratory sizes :math:`\alpha > 1`, and the regime is empty. *Saturated*:
    derived. Worst noise; random noise stays linear, see
    :func:`~tacit.recovery.deconvolution.theory.random_noise.random_noise`.

    Examples
    --------
    >>> from tacit.recovery.deconvolution.theory.predict import noise_regime
    >>> regime = noise_regime((20, 20), 200, noise_bound=0.6)
    >>> regime.name, [round(point.value, 2) for point in regime.crossovers]
    ('square root', [0.5, 1.0, 1.0])
    """
    rows, columns = checked_sizes(shape, num_measurements)
    require(0.0 <= noise_bound < math.inf, "noise_bound", "at least 0", noise_bound)
    require(0.0 < size < math.inf, "size", "positive", size)
    require(
        1.0 <= filter_flatness < math.inf,
        "filter_flatness",
        "at least 1",
        filter_flatness,
    )
    factor = max(1.0, math.sqrt(rows * columns / num_measurements))
    oversampling = num_measurements / (rows + columns)
    alpha = math.sqrt(filter_flatness / oversampling) * math.log(num_measurements)
    first = size / factor**2
    third = size
    second = min(max(alpha * size, first), third)
    laws = (
        _law(
            "linear with dimension factor", factor * noise_bound, "recalled", KS, _ONE
        ),
        _law(
            "square root",
            math.sqrt(noise_bound * size),
            "published",
            KKS,
            f"{_ONE}; derived with constant where a dual certificate exists: {_DOC}",
        ),
        _law(
            "dimension-free linear",
            oversampling ** (1.0 / 3.0) * noise_bound,
            "recalled",
            KS,
            _ONE,
        ),
        _law("saturated", 2.0 * size, "derived", _DOC, "an upper bound for all noise"),
    )
    crossovers = (
        _crossover("second", first, "derived", _DOC, f"where laws meet; {_ONE}"),
        _crossover("third", second, "recalled", KS, f"{_ONE}; at most the size of X"),
        _crossover("fourth", third, "derived", _DOC, f"where laws meet; {_ONE}"),
    )
    place = sum(noise_bound > point.value for point in crossovers)
    names: tuple[Regime, ...] = (
        "linear with dimension factor",
        "square root",
        "dimension-free linear",
        "saturated",
    )
    return NoiseRegime(
        name=names[place], error=laws[place], laws=laws, crossovers=crossovers
    )


def recovery_thresholds(
    shape: tuple[int, int],
    *,
    filter_flatness: float = 1.0,
    filter_max: float = 1.0,
    num_sources: int = 1,
) -> list[Prediction]:
    r"""Return how many measurements exact recovery takes, by count and by theory.

    Parameters
    ----------
    shape : tuple of int
        ``(K, N)``, of every source.
    filter_flatness : float
        :math:`\mu_h^2 \ge 1`.
    filter_max : float
        :math:`\mu_{\max}^2 \ge 1`.
    num_sources : int
        S.

    Returns
    -------
    list of Prediction
        In this order: the count :math:`S (K + N - 1)`, necessary for every method; the
        measurements at which the nuclear norm recovers through a Gaussian map,
        :math:`S \delta`; then conditions of the literature with constant one: for one
        source :math:`L / \log^3 L = \max(\mu_{\max}^2 K, \mu_h^2 N)` (nuclear norm),
        :math:`L / \log^2 L = \mu_h^2 (K + N)` (nuclear norm, all filters at once) and
        :math:`L / \log^2 L = \mu_h^2 \max(K, N)` (regularised descent); for several
        :math:`L / \log^3 L = S \max(\mu_{\max}^2 K, \mu_h^2 N)` and :math:`L / \log^2
        L = S^2 \mu_h^2 \max(K, N)`.

    Raises
    ------
    ShapeError
        If a size is not positive.
    InputError
        If a number is out of range.

    Notes
    -----
    Only the first two are to be compared with an experiment. :math:`\delta` is the
    statistical dimension, between K + N and 3 (K + N): 2.0 (K + N) at K = N = 20, 2.7
    at 500, and 3 in the limit. Convolutions were measured to take 5 to 15 per cent more
    than it (``docs/noise_regimes.md``).

    Examples
    --------
    >>> from tacit.recovery.deconvolution.theory.predict import recovery_thresholds
    >>> count, gaussian, *_ = recovery_thresholds((20, 20))
    >>> count.value, round(gaussian.value), gaussian.certainty
    (39.0, 81, 'derived')
    """
    rows, columns = checked_sizes(shape, 1)
    require(
        1.0 <= filter_flatness < math.inf,
        "filter_flatness",
        "at least 1",
        filter_flatness,
    )
    require(
        1.0 <= filter_max < math.inf,
        "filter_max",
        "at least 1",
        filter_max,
    )
    require(num_sources >= 1, "num_sources", "at least 1", num_sources)
    larger = filter_flatness * max(rows, columns)
    incoherent = max(filter_max * rows, filter_flatness * columns)
    counted = [
        Prediction(
            name="measurements, at least: as many as unknowns",
            value=float(num_sources * (rows + columns - 1)),
            certainty="derived",
            source=_DOC,
            note="complex: necessary for every method; real: for almost all instances",
        ),
        Prediction(
            name="measurements at which the nuclear norm recovers",
            value=num_sources * statistical_dimension(shape),
            certainty="derived",
            source=_DOC,
            note=(
                "half of the draws of a Gaussian map, by a theorem that is recalled; "
                "somewhat more for convolutions"
            ),
        ),
    ]
    if num_sources == 1:
        return [
            *counted,
            _threshold("nuclear norm", incoherent, 3, ARR),
            _threshold(
                "nuclear norm, all filters", filter_flatness * (rows + columns), 2, KS
            ),
            _threshold("regularised descent", larger, 2, LLSW),
        ]
    return [
        *counted,
        _threshold("nuclear norm, demixing", num_sources * incoherent, 3, JKS),
        _threshold("regularised descent, demixing", num_sources**2 * larger, 2, LS),
    ]


def _law(
    regime: Regime, value: float, certainty: Certainty, source: str, note: str
) -> Prediction:
    return Prediction(
        name=f"error under the worst noise: {regime}",
        value=value,
        certainty=certainty,
        source=source,
        note=note,
    )


def _crossover(
    ordinal: str, value: float, certainty: Certainty, source: str, note: str
) -> Prediction:
    return Prediction(
        name=f"noise bound where the {ordinal} regime begins",
        value=value,
        certainty=certainty,
        source=source,
        note=note,
    )


def _threshold(method: str, target: float, power: int, source: str) -> Prediction:
    return Prediction(
        name=f"measurements that suffice: {method}",
        value=_solve(target, power),
        certainty="recalled",
        source=source,
        note=f"L / log^{power} L reaches {target:g}; {_ONE}",
    )


def _solve(target: float, power: int) -> float:
    """Return the L >= exp(power) at which L / log(L)^power reaches a target."""
    low = high = math.exp(power)
    while high / math.log(high) ** power < target:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        reached = middle / math.log(middle) ** power >= target
        low, high = (low, middle) if reached else (middle, high)
    return high
