r"""The exact line search of factored least squares.

Along a direction of the factors the residual is a quadratic polynomial of the step, so
the loss is a quartic: its minimum is found without another look at the measurements.
"""

import math

import numpy as np
import torch
from torch import Tensor

from tacit.recovery.problem import inner


def quartic_coefficients(
    residual: Tensor, linear: Tensor, quadratic: Tensor, weights: Tensor
) -> tuple[float, ...]:
    r"""Return :math:`c_0, \dots, c_4` of :math:`\sum_i w_i |r_i + s a_i + s^2 b_i|^2`.

    Parameters
    ----------
    residual, linear, quadratic : Tensor, shape (num_measurements,)
        r, a and b.
    weights : Tensor, shape (num_measurements,)
        w, real.

    Returns
    -------
    tuple of five floats
    """
    r, a, b = (weights * vector for vector in (residual, linear, quadratic))
    rr, ra, rb = inner(r, residual), inner(r, linear), inner(r, quadratic)
    aa, ab, bb = inner(a, linear), inner(a, quadratic), inner(b, quadratic)
    rr, ra, rb, aa, ab, bb = torch.stack([rr, ra, rb, aa, ab, bb]).tolist()
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
    The roots of the derivative come from a companion matrix. The variable is scaled so
    that the derivative's coefficients have the same order of magnitude: near
    convergence, or from a tiny start, they otherwise span more than sixteen digits.

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
    derivative = np.array(
        [4.0 * c4 * scale**3, 3.0 * c3 * scale**2, 2.0 * c2 * scale, c1]
    )
    if not np.isfinite(derivative).all():
        return 0.0
    roots = np.roots(derivative / np.abs(derivative).max())
    # A double root may come out with a small imaginary part.
    real = roots.real[np.abs(roots.imag) <= 1e-6 * np.abs(roots)]
    best, lowest = 0.0, 0.0
    for root in real[real > 0.0]:
        s = float(root) * scale
        change = s * (c1 + s * (c2 + s * (c3 + s * c4)))
        if change < lowest:
            best, lowest = s, change
    return best
