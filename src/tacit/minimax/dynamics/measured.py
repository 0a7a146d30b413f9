r"""The rate of a run that has taken place."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

_MIN_POINTS = 8  # of the part that is used
_ROUNDING = 1e-12  # relative to the largest length: below, rounding may stop a run


def measured_rate(
    lengths: Sequence[float] | Tensor, *, share: float = 0.5
) -> float | None:
    r"""Return the factor per step by which a decaying sequence shrinks at the end.

    Complex modes make lengths oscillate, with dips of any depth. What decays with the
    rate is the envelope: here the least concave function :math:`H(t) \ge \ln` of the
    lengths over the last part, of T steps. The rate is that of its chord over the
    middle half,

    .. math:: \exp \frac{H(3 T/4) - H(T/4)}{T/2},

    exact for :math:`c \rho^t`, and for :math:`c \rho^t |\cos(\omega t + \phi)|` up to
    the peaks that fall between two steps. (Ours.)

    Parameters
    ----------
    lengths : sequence of float or Tensor of shape (T,)
        Lengths of residuals or gradients, one a step, not squared. What comes after the
        last that is above 1e-12 of the largest is left out: it may be rounding.
    share : float
        The last part of the steps that is used.

    Returns
    -------
    float or None
        None if fewer than 8 steps are left, or none of them is positive and finite.

    Examples
    --------
    >>> import math, tacit
    >>> run = [0.9**t * abs(math.cos(t)) for t in range(200)]
    >>> abs(tacit.measured_rate(run) - 0.9) < 1e-3
    True
    """
    values = torch.as_tensor(lengths, dtype=torch.float64).reshape(-1).cpu()
    finite = values.isfinite()
    if not bool(finite.all()):
        values = values[: int(finite.int().argmin())]
    if values.numel() == 0:
        return None
    floor = _ROUNDING * float(values.amax())
    values = values[: int((values > floor).cumsum(0).argmax()) + 1]
    tail = values[int(values.numel() * (1.0 - share)) :]
    if tail.numel() < _MIN_POINTS or floor == 0.0:
        return None
    hull = _upper_hull(tail.clamp(min=floor * _ROUNDING).log().tolist())
    last = tail.numel() - 1
    rise = _at(hull, 0.75 * last) - _at(hull, 0.25 * last)
    return math.exp(rise / (0.5 * last))


def _upper_hull(heights: list[float]) -> list[tuple[int, float]]:
    """Return the corners of the least concave function above the points."""
    hull: list[tuple[int, float]] = []
    for place, height in enumerate(heights):
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2], hull[-1]
            if (y1 - y0) * (place - x0) > (height - y0) * (x1 - x0):
                break
            hull.pop()
        hull.append((place, height))
    return hull


def _at(hull: list[tuple[int, float]], place: float) -> float:
    """Return the height of the hull over ``place``."""
    for (x0, y0), (x1, y1) in pairwise(hull):
        if x0 <= place <= x1:
            return y0 + (y1 - y0) * (place - x0) / (x1 - x0)
    return hull[-1][1]
