r"""The spectrum of the paper's generator at a random start, from its sizes alone.

With V of entries :math:`N(0, \sigma_v^2)`, latents :math:`z_i \sim N(0, \sigma_z^2
I_d)`, :math:`J J^T = V \operatorname{diag}(D_j) V^T` and :math:`D_j = \|M_j\|^2`,
:math:`M_j = \frac1n \sum_i 1[w_j^T z_i > 0]\, z_i`. The direction of w_j alone matters.

Along it M_j is :math:`\frac1n \sum_i g_i^+` with :math:`g_i` standard normal (for
:math:`\sigma_z = 1`), across it :math:`\frac1n \sum_i 1[g_i > 0]\, h_i` with
independent standard normal :math:`h_i` of d - 1 entries: in law

.. math:: D = \Big(\frac1n \sum_i g_i^+\Big)^2 + \frac{N}{n^2}\, \chi^2_{d-1},
          \qquad N = \#\{i : g_i > 0\},

whose first two moments are sums over coincidences of indices. The mean is
:math:`(d + (n - 1) / \pi) / (2 n)`.

All neurons share the latents. Given those, D has mean :math:`\frac1{n^2} (\frac12
\sum_i \|z_i\|^2 + \sum_{i \ne j} \kappa_{ij})`, :math:`\kappa_{ij} = z_i^T z_j (\pi -
\theta_{ij}) / (2 \pi)` with the angle :math:`\theta_{ij}`. Its variance over latents is
that of a U-statistic with projection :math:`E[\kappa_{ij} | z_i] = c_d \|z_i\| /
\sqrt{2 \pi}`, :math:`c_d = \Gamma(d/2) / (2 \sqrt\pi\, \Gamma((d+1)/2))` the mean
positive part of a coordinate on the sphere. What is left of the variance of D is
between neurons. (All ours.)
"""

import math
from dataclasses import dataclass
from typing import final

from scipy.integrate import quad

from tacit.errors import InputError, ShapeError

_TRACY_WIDOM_MEAN = -1.2065335745820  # of the real law, beta = 1


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class KernelLaw:
    r"""What the eigenvalues of :math:`J J^T` are at a random start.

    Parameters
    ----------
    mean : float
        Of every eigenvalue, and of the diagonal: :math:`k \sigma_v^2 \sigma_z^2 (d +
        (n - 1)/\pi) / (2 n)`. Exact.
    game_deviation : float
        Relative standard deviation from one draw of the latents to the next of the
        scale that all eigenvalues share. Exact.
    neuron_variance : float
        Relative variance of :math:`\|M_j\|^2` between neurons of one game, on average
        over games. Exact.
    smallest, largest : float
        Typical extreme eigenvalues of one game: edges of the Marchenko-Pastur law with
        :math:`k / (1 + \text{neuron\_variance})` columns, moved inside by the mean of
        the Tracy-Widom law. An approximation, within a few per cent from k = 4 m on.

    Examples
    --------
    >>> import tacit
    >>> law = tacit.kernel_law(width=400, num_features=20, latent_dim=10,
    ...     num_latents=50)
    >>> round(law.mean, 4), law.largest / law.smallest < 2.5
    (0.256, True)
    """

    mean: float
    game_deviation: float
    neuron_variance: float
    smallest: float
    largest: float


def kernel_law(
    *,
    width: int,
    num_features: int,
    latent_dim: int,
    num_latents: int,
    output_scale: float | None = None,
    latent_scale: float = 1.0,
) -> KernelLaw:
    r"""Return the law of the eigenvalues of :math:`J J^T` at a Gaussian start.

    Parameters
    ----------
    width, num_features, latent_dim, num_latents : int
        k, m, d and n, at least 1.
    output_scale : float or None
        :math:`\sigma_v`; ``width ** -0.5`` by default, as in ``random_game``.
    latent_scale : float
        :math:`\sigma_z`.

    Returns
    -------
    KernelLaw
        It does not depend on the scale of W: the generator's derivative is homogeneous
        of degree zero.

    Raises
    ------
    ShapeError
        If a size is below 1.
    InputError
        If a scale is not positive and finite.

    References
    ----------
    Johnstone (2001) for the largest and Ma (2012) for the smallest eigenvalue of a
    Wishart matrix; recalled, and compared with draws in the tests. The rest is ours.

    Examples
    --------
    >>> import tacit
    >>> law = tacit.kernel_law(width=50, num_features=20, latent_dim=1, num_latents=1,
    ...     output_scale=1.0)
    >>> law.mean  # half of the neurons, each with |z|^2 = 1 on average
    25.0
    """
    sizes = (width, num_features, latent_dim, num_latents)
    if min(sizes) < 1:
        raise ShapeError(
            "width, num_features, latent_dim and num_latents must be at least 1; got "
            f"{sizes}"
        )
    of_output = width**-0.5 if output_scale is None else output_scale
    for name, scale in (("output_scale", of_output), ("latent_scale", latent_scale)):
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(f"{name} must be positive and finite; got {scale}")
    first, second = _moments(latent_dim, num_latents)
    shared = _shared_variance(latent_dim, num_latents)
    neuron = max((second - first * first - shared) / first**2, 0.0)
    mean = width * (of_output * latent_scale) ** 2 * first
    smallest, largest = _extremes(width / (1.0 + neuron), num_features)
    return KernelLaw(
        mean=mean,
        game_deviation=math.sqrt(shared) / first,
        neuron_variance=neuron,
        smallest=mean * smallest,
        largest=mean * largest,
    )


def _moments(d: int, n: int) -> tuple[float, float]:
    """Return E D and E D^2 for latents of unit variance."""
    # Moments of the positive part of a standard normal variable.
    m1, m2 = 1.0 / math.sqrt(2.0 * math.pi), 0.5
    m3, m4 = math.sqrt(2.0 / math.pi), 1.5
    two, three, four = (
        n * (n - 1),
        n * (n - 1) * (n - 2),
        n * (n - 1) * (n - 2) * (n - 3),
    )
    along = n * m4 + 4 * two * m3 * m1 + 3 * two * m2**2 + 6 * three * m2 * m1**2
    along += four * m1**4
    mixed = n * m2 + two * m2 / 2 + 2 * two * m1**2 + three * m1**2 / 2
    count = n * (n + 1) / 4
    second = (along + 2 * (d - 1) * mixed + (d * d - 1) * count) / n**4
    return (d + (n - 1) / math.pi) / (2 * n), second


def _shared_variance(d: int, n: int) -> float:
    """Return the variance over latents of E[D | latents], for unit variance."""
    length = math.sqrt(2.0) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
    cube = length * (d + 1)  # E |z|^3
    positive = math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / (
        2.0 * math.sqrt(math.pi)
    )
    slope = positive / math.sqrt(2.0 * math.pi)  # of the projection, in |z|
    of_projection = slope**2 * (d - length**2)
    of_pair = d * d * _squared_angle(d) / (4 * math.pi**2) - 1 / (4 * math.pi**2)
    diagonal = n * d / 2.0
    crossed = 2.0 * n * (n - 1) * slope * (cube - d * length)
    pairs = 2.0 * n * (n - 1) * of_pair + 4.0 * n * (n - 1) * (n - 2) * of_projection
    return max(diagonal + crossed + pairs, 0.0) / n**4


def _squared_angle(d: int) -> float:
    r"""Return E cos^2 t (pi - t)^2 for the angle t between two directions."""
    if d == 1:
        return math.pi**2 / 2.0
    # The part odd around pi/2 drops out; E cos^2 t = 1 / d.
    log_norm = math.lgamma(d / 2) - math.lgamma((d - 1) / 2) - math.log(math.pi) / 2
    norm = math.exp(log_norm)  # of the density sin^(d-2)

    def integrand(phi: float) -> float:
        return math.sin(phi) ** 2 * math.cos(phi) ** (d - 2) * phi * phi

    half, _ = quad(integrand, 0.0, math.pi / 2, epsabs=0.0, epsrel=1e-10, limit=200)
    return math.pi**2 / (4 * d) + 2.0 * norm * half


def _extremes(columns: float, rows: int) -> tuple[float, float]:
    """Return typical extreme eigenvalues of a Wishart matrix of unit mean."""
    wide, tall = math.sqrt(columns), math.sqrt(rows)
    shift = _TRACY_WIDOM_MEAN * (wide + tall) * (1 / wide + 1 / tall) ** (1 / 3)
    largest = (wide + tall) ** 2 + shift
    if columns <= rows:
        return 0.0, largest / columns
    shift = _TRACY_WIDOM_MEAN * (wide - tall) * (1 / tall - 1 / wide) ** (1 / 3)
    return ((wide - tall) ** 2 - shift) / columns, largest / columns
