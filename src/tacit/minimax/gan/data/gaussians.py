r"""Mixtures of Gaussians: samples, densities, the best discriminator."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError

_MAX_SAMPLES = 10**8


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianMixture:
    r"""Gaussians of one standard deviation around given means.

    .. math:: p(x) = \sum_{j=1}^{k} w_j (2 \pi s^2)^{-d/2}
        \exp\Bigl(-\frac{\|x - m_j\|^2}{2 s^2}\Bigr)

    Parameters
    ----------
    means : Tensor, shape (num_modes, dimension)
        m, float64 on the CPU.
    standard_deviation : float
        s, in the unit of the means.
    weights : Tensor, shape (num_modes,), optional
        w, positive and of sum 1; by default all equal.

    Raises
    ------
    ShapeError
        If shapes disagree.
    InputError
        If a number is not finite, or no distribution results.

    Examples
    --------
    >>> import tacit
    >>> mixture = tacit.ring_mixture()
    >>> mixture.num_modes, mixture.dimension
    (8, 2)
    """

    means: Tensor
    standard_deviation: float
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise ShapeError(
                "means must have shape (num_modes, dimension); got "
                f"{tuple(self.means.shape)}"
            )
        if self.means.dtype != torch.float64 or not bool(self.means.isfinite().all()):
            raise InputError(f"means must be finite float64; got {self.means.dtype}")
        if not 0.0 < self.standard_deviation < math.inf:
            raise InputError(
                "standard_deviation must be positive and finite; got "
                f"{self.standard_deviation}"
            )
        if self.weights is None:
            return
        if self.weights.shape != self.means.shape[:1]:
            raise ShapeError(
                f"there must be one weight for each of {self.num_modes} modes; got "
                f"shape {tuple(self.weights.shape)}"
            )
        total = float(self.weights.sum())
        if not bool((self.weights > 0.0).all()) or not abs(total - 1.0) < 1e-9:
            raise InputError(
                f"weights must be positive and of sum 1; got sum {total}: divide by it"
            )

    @property
    def num_modes(self) -> int:
        """How many Gaussians there are."""
        return self.means.shape[0]

    @property
    def dimension(self) -> int:
        """Length of a sample."""
        return self.means.shape[1]


def ring_mixture(
    num_modes: int = 8, *, radius: float = 2.0, standard_deviation: float = 0.02
) -> GaussianMixture:
    r"""Return equal Gaussians on a circle, the first one at ``(radius, 0)``.

    Parameters
    ----------
    num_modes : int
    radius : float
    standard_deviation : float
        The defaults are those of the paper.

    Returns
    -------
    GaussianMixture

    Raises
    ------
    InputError
        If there is no mode, or a size is not positive.

    References
    ----------
    Metz, Poole, Pfau and Sohl-Dickstein (2017), Unrolled generative adversarial
    networks, appendix on 2D Gaussians (recalled).

    Examples
    --------
    >>> import tacit
    >>> tacit.ring_mixture(4).means.round(decimals=6).abs().tolist()
    [[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0]]
    """
    if num_modes < 1 or not 0.0 < radius < math.inf:
        raise InputError(
            "a ring must have at least 1 mode and a positive radius; got "
            f"{num_modes} and {radius}"
        )
    angles = torch.arange(num_modes, dtype=torch.float64) * (2.0 * math.pi / num_modes)
    means = radius * torch.stack((angles.cos(), angles.sin()), dim=1)
    return GaussianMixture(means=means, standard_deviation=standard_deviation)


def grid_mixture(
    side: int = 5, *, spacing: float = 2.0, standard_deviation: float = 0.05
) -> GaussianMixture:
    r"""Return ``side * side`` equal Gaussians on a square grid around zero.

    Parameters
    ----------
    side : int
    spacing : float
        Between neighbours; the defaults are those of the paper, means from -4 to 4.
    standard_deviation : float

    Returns
    -------
    GaussianMixture

    Raises
    ------
    InputError
        If there is no mode, or a size is not positive.

    References
    ----------
    Srivastava, Valkov, Russell, Gutmann and Sutton (2017), VEEGAN, section 5.1
    (recalled).

    Examples
    --------
    >>> import tacit
    >>> tacit.grid_mixture(2).means.tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    if side < 1 or not 0.0 < spacing < math.inf:
        raise InputError(
            "a grid must have at least 1 mode a side and a positive spacing; got "
            f"{side} and {spacing}"
        )
    line = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2.0) * spacing
    return GaussianMixture(
        means=torch.cartesian_prod(line, line).reshape(-1, 2),
        standard_deviation=standard_deviation,
    )


def draw_samples(
    mixture: GaussianMixture, num_samples: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Draw independent samples.

    Parameters
    ----------
    mixture : GaussianMixture
    num_samples : int
    generator : torch.Generator
        A CPU stream.

    Returns
    -------
    samples : Tensor, shape (num_samples, dimension)
        float32.
    modes : Tensor, shape (num_samples,)
        int64: the Gaussian of each.

    Raises
    ------
    InputError
        If the number is below 1 or too large to be held.

    Examples
    --------
    >>> import tacit
    >>> samples, modes = tacit.draw_samples(
    ...     tacit.ring_mixture(), 100, generator=tacit.make_generator(0))
    >>> samples.shape, modes.shape
    (torch.Size([100, 2]), torch.Size([100]))
    """
    if not 1 <= num_samples <= _MAX_SAMPLES:
        raise InputError(f"num_samples must be in 1..{_MAX_SAMPLES}; got {num_samples}")
    if mixture.weights is None:
        modes = torch.randint(
            mixture.num_modes, (num_samples,), generator=generator, dtype=torch.int64
        )
    else:
        modes = torch.multinomial(
            mixture.weights, num_samples, replacement=True, generator=generator
        )
    shape = (num_samples, mixture.dimension)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    samples = mixture.means[modes] + mixture.standard_deviation * noise
    return samples.to(torch.float32), modes


def log_density(mixture: GaussianMixture, points: Tensor) -> Tensor:
    r"""Return :math:`\log p(x)` in float64.

    Parameters
    ----------
    mixture : GaussianMixture
    points : Tensor, shape (..., dimension)
        Real, on the CPU.

    Returns
    -------
    Tensor, shape (...)

    Raises
    ------
    ShapeError
        If the points have another dimension.

    Notes
    -----
    Summed in logarithms, so that points far from all modes have their finite value.
    O(num_points * num_modes) time and memory.

    Examples
    --------
    >>> import tacit, torch
    >>> one = tacit.ring_mixture(1, standard_deviation=1.0)
    >>> round(float(tacit.log_density(one, torch.tensor([2.0, 0.0]))), 6)  # 1 / (2 pi)
    -1.837877
    """
    check_points(mixture, points)
    deviation = mixture.standard_deviation
    squares = (points.to(torch.float64)[..., None, :] - mixture.means).square().sum(-1)
    exponents = squares / (-2.0 * deviation**2)
    if mixture.weights is None:
        total = exponents.logsumexp(-1) - math.log(mixture.num_modes)
    else:
        total = (exponents + mixture.weights.log()).logsumexp(-1)
    return total - 0.5 * mixture.dimension * math.log(2.0 * math.pi * deviation**2)


def optimal_scores(
    real: GaussianMixture, fake: GaussianMixture, points: Tensor
) -> Tensor:
    r"""Return what the best discriminator answers, before the sigmoid.

    .. math:: s(x) = \log p(x) - \log q(x), \qquad
        \frac{1}{1 + e^{-s(x)}} = \frac{p(x)}{p(x) + q(x)}

    It maximises :math:`E_p \log \sigma(s(x)) + E_q \log (1 - \sigma(s(x)))` over all
    functions s.

    Parameters
    ----------
    real, fake : GaussianMixture
        Of densities p and q.
    points : Tensor, shape (..., dimension)

    Returns
    -------
    Tensor, shape (...)
        float64.

    Raises
    ------
    ShapeError
        If the points have another dimension than a mixture.

    References
    ----------
    Goodfellow et al. (2014), Generative adversarial nets, Proposition 1 (recalled).

    Examples
    --------
    >>> import tacit, torch
    >>> ring = tacit.ring_mixture()
    >>> float(tacit.optimal_scores(ring, ring, torch.tensor([0.3, 0.4])))
    0.0
    """
    return log_density(real, points) - log_density(fake, points)


def check_points(mixture: GaussianMixture, points: Tensor) -> None:
    """Refuse points of another dimension than the mixture.

    Raises
    ------
    ShapeError
        If they are.
    """
    if not points.ndim or points.shape[-1] != mixture.dimension:
        raise ShapeError(
            f"points must have {mixture.dimension} coordinates in the last axis; got "
            f"shape {tuple(points.shape)}"
        )
