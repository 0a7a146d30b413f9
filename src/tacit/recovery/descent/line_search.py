r"""The exact line search of factored least squares.

Along a direction of the factors the residual is a quadratic polynomial of the step, so
the loss is a quartic: its minimum is found without another look at the measurements.
"""

import math

import numpy as np
import torch
from torch import Tensor

_NEGLIGIBLE = 1e-15
_SMALL_LEADING = 1e-3
_NEWTON_STEPS = 8


def quartic_coefficients(
    residual: Tensor, linear: Tensor, quadratic: Tensor, weights: Tensor | None = None
) -> tuple[float, ...]:
    r"""Return :math:`c_0, \dots, c_4` of :math:`\sum_i w_i |r_i + s a_i + s^2 b_i|^2`.

    Parameters
    ----------
    residual, linear, quadratic : Tensor, shape (num_measurements,)
        r, a and b.
    weights : Tensor or None, shape (num_measurements,)
        w, real; None for ones.

    Returns
    -------
    tuple of five floats
    """
    terms = torch.stack((residual, linear, quadratic))
    weighted = terms if weights is None else weights * terms
    products = (weighted.conj() @ terms.mT).real.tolist()
    (rr, ra, rb), (_, aa, ab), (_, _, bb) = products
    return rr, 2.0 * ra, aa + 2.0 * rb, 2.0 * ab, bb


def best_step(coefficients: tuple[float, ...]) -> float:
    r"""Return the s >= 0 at which a quartic that falls at 0 is smallest.

    Parameters
    ----------
    coefficients : tuple of five floats
        :math:`c_0, \dots, c_4` with :math:`c_1 \le 0` and :math:`c_4 \ge 0`.

    Returns
    -------
    float
        The best of the non-negative critical points; 0 if there is none.

    Notes
    -----
    The roots of the derivative come from the cubic formula, made accurate by Newton's
    method. The variable is scaled so that the derivative's coefficients have the same
    order of magnitude: near convergence, or from a tiny start, they otherwise span more
    than sixteen digits.

    Examples
    --------
    >>> from tacit.recovery.descent.line_search import best_step
    >>> round(best_step((1.0, -2.0, 1.0, 0.0, 0.0)), 12)    # (1 - s)^2
    1.0
    """
    _, c1, c2, c3, c4 = coefficients
    # The smallest of the steps at which a higher term balances the slope.
    scale = math.inf
    for power, c in ((1, 2.0 * abs(c2)), (2, 3.0 * abs(c3)), (3, 4.0 * abs(c4))):
        if c > 0.0 and c1 < 0.0:
            scale = min(scale, (-c1 / c) ** (1.0 / power))
    if not 0.0 < scale < math.inf:
        return 0.0
    derivative = (4.0 * c4 * scale**3, 3.0 * c3 * scale**2, 2.0 * c2 * scale, c1)
    largest = max(map(abs, derivative))
    if not math.isfinite(sum(derivative)) or largest == 0.0:
        return 0.0
    roots = cubic_roots(*(c / largest for c in derivative))
    best, lowest = 0.0, 0.0
    for root in roots:
        s = root * scale
        if s <= 0.0:
            continue
        change = s * (c1 + s * (c2 + s * (c3 + s * c4)))
        if change < lowest:
            best, lowest = s, change
    return best


def cubic_roots(a: float, b: float, c: float, d: float) -> list[float]:
    r"""Return the real roots of :math:`a x^3 + b x^2 + c x + d`.

    Parameters
    ----------
    a, b, c, d : float
        Not all zero, the largest of about 1 in size.

    Returns
    -------
    list of float
        A double root may be missing, or there twice.

    Notes
    -----
    By the cubic formula and Newton's method. With a small leading coefficient the
    formula cancels, and the companion matrix is asked: fifty times the work.

    Examples
    --------
    >>> from tacit.recovery.descent.line_search import cubic_roots
    >>> sorted(round(x, 12) for x in cubic_roots(1.0, -6.0, 11.0, -6.0))
    [1.0, 2.0, 3.0]
    """
    if abs(a) < _SMALL_LEADING:
        coefficients = np.array([a, b, c, d])
        coefficients[np.abs(coefficients) < _NEGLIGIBLE] = 0.0
        found = np.roots(coefficients)
        # A double root may come out with a small imaginary part.
        real = np.abs(found.imag) <= 1e-6 * np.abs(found)
        roots: list[float] = found.real[real].tolist()
    else:
        roots = _cubic_formula(a, b, c, d)
    return [_polished(x, a, b, c, d) for x in roots]


def _cubic_formula(a: float, b: float, c: float, d: float) -> list[float]:
    # x = t - shift turns it into t^3 + 3 p t + 2 q.
    shift = b / (3.0 * a)
    p = c / (3.0 * a) - shift * shift
    q = shift**3 + (d - c * shift) / (2.0 * a)
    inside = q * q + p * p * p
    if inside > 0.0:
        first = math.cbrt(-q - math.copysign(math.sqrt(inside), q))
        return [first - p / first - shift] if first != 0.0 else [-shift]
    size = 2.0 * math.sqrt(max(-p, 0.0))
    ratio = -q / (-p) ** 1.5 if p < 0.0 else 1.0
    angle = math.acos(min(max(ratio, -1.0), 1.0)) / 3.0
    third = 2.0 * math.pi / 3.0
    return [size * math.cos(angle + k * third) - shift for k in range(3)]


def _polished(x: float, a: float, b: float, c: float, d: float) -> float:
    """Take Newton steps as long as they make the cubic smaller."""
    value = ((a * x + b) * x + c) * x + d
    for _ in range(_NEWTON_STEPS):
        slope = (3.0 * a * x + 2.0 * b) * x + c
        if slope == 0.0 or value == 0.0:
            break
        better = x - value / slope
        found = ((a * better + b) * better + c) * better + d
        if not abs(found) < abs(value):
            break
        x, value = better, found
    return x
