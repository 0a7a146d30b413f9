r"""Which modes of a mixture samples reach, and how well."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.data.gaussians import GaussianMixture, check_points

_CHUNK = 2**22  # distances that are held at a time


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ModeCoverage:
    """Which modes samples reach, and how many samples belong to one.

    Parameters
    ----------
    counts : tuple of int
        Samples close to each mode.
    num_samples : int
    radius : float
        What counts as close, in standard deviations.
    high_quality : float
        Share of samples that are close to a mode.
    high_quality_of_truth : float
        The share that samples of a single Gaussian have; less than 1. For modes far
        apart it is that of the mixture.

    Examples
    --------
    >>> import tacit
    >>> ring = tacit.ring_mixture()
    >>> tacit.mode_coverage(ring, ring.means[:3]).num_found
    3
    """

    counts: tuple[int, ...]
    num_samples: int
    radius: float
    high_quality: float
    high_quality_of_truth: float

    @property
    def num_found(self) -> int:
        """Modes that at least one sample is close to."""
        return sum(count > 0 for count in self.counts)

    @property
    def num_modes(self) -> int:
        """Modes that there are."""
        return len(self.counts)


def mode_coverage(
    mixture: GaussianMixture, samples: Tensor, *, radius: float = 3.0
) -> ModeCoverage:
    r"""Count the modes that samples reach.

    A sample is of high quality if it is within ``radius`` standard deviations of its
    nearest mode, which then is found.

    Parameters
    ----------
    mixture : GaussianMixture
    samples : Tensor, shape (num_samples, dimension)
        Real, on the CPU. Those that are not finite are of no quality.
    radius : float
        In standard deviations.

    Returns
    -------
    ModeCoverage

    Raises
    ------
    ShapeError
        If samples have another shape, or there are none.
    InputError
        If the radius is not positive.

    References
    ----------
    Srivastava et al. (2017), VEEGAN, section 5.1, with radius 3 (recalled). The share
    of the truth is the chi-squared distribution function, :math:`P(d/2, r^2/2)` with
    the regularised lower incomplete gamma function P.

    Examples
    --------
    >>> import tacit
    >>> ring = tacit.ring_mixture()
    >>> samples, _ = tacit.draw_samples(ring, 1000, generator=tacit.make_generator(0))
    >>> found = tacit.mode_coverage(ring, samples)
    >>> found.num_found, round(found.high_quality_of_truth, 4)
    (8, 0.9889)
    """
    check_points(mixture, samples)
    if samples.ndim != 2 or not samples.shape[0]:
        raise ShapeError(
            "samples must have shape (num_samples, dimension) and be at least 1; got "
            f"{tuple(samples.shape)}"
        )
    if not 0.0 < radius < math.inf:
        raise InputError(f"radius must be positive and finite; got {radius}")
    counts = torch.zeros(mixture.num_modes, dtype=torch.int64)
    reach = radius * mixture.standard_deviation
    for part in samples.to(torch.float64).split(max(_CHUNK // mixture.num_modes, 1)):
        distances = torch.cdist(
            part, mixture.means, compute_mode="donot_use_mm_for_euclid_dist"
        )
        nearest, modes = distances.min(dim=1)
        # False for NaN, so that diverged samples find nothing.
        counts += modes[nearest <= reach].bincount(minlength=mixture.num_modes)
    half = torch.tensor((mixture.dimension / 2.0, radius**2 / 2.0), dtype=torch.float64)
    return ModeCoverage(
        counts=tuple(counts.tolist()),
        num_samples=samples.shape[0],
        radius=radius,
        high_quality=int(counts.sum()) / samples.shape[0],
        high_quality_of_truth=float(torch.special.gammainc(half[0], half[1])),
    )
