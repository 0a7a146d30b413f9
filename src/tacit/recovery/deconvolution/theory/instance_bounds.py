r"""Error bounds that hold for one instance whose truth is known.

Derivations, with every constant, are in ``docs/noise_regimes.md``.
"""

import math

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.prediction import Prediction
from tacit.recovery.deconvolution.theory.truth_certificate import (
    TruthCertificate,
    truth_coordinates,
)
from tacit.recovery.maps.linear_map import AbstractLinearMap

_DOC = "docs/noise_regimes.md"
_NUM_HALVINGS = 60


def guaranteed_error(
    certificate: TruthCertificate, noise_bound: float
) -> tuple[Prediction, ...]:
    r"""Return upper bounds on the error of the noise ball programme.

    For every e with :math:`\|e\| \le \tau` and every X with
    :math:`\|\mathcal{A}(X) - y\| \le \tau` and :math:`\|X\|_* \le \|X_0\|_*`, so for
    the optimum, with the certificate's numbers, d the size of :math:`X_0`:

    .. math::
        \text{linear:} \quad & \sqrt{(2 \tau / \sigma + \beta \eta)^2 + \eta^2}, \quad
        \eta = \frac{2 \tau (\|q\| + \gamma / \sigma)}{1 - \theta - \gamma \beta} \\
        \text{square root, } r = 1: \quad & \frac{\gamma d}{1 - \theta} +
        \sqrt{\Bigl(\frac{\gamma d}{1 - \theta}\Bigr)^2 +
        \frac{4\, \|q\|\, d\, \tau}{1 - \theta}} \\
        \text{trivial:} \quad & \|X_0\|_* + d \quad (r = 1: 2 d)

    Parameters
    ----------
    certificate : TruthCertificate
    noise_bound : float
        :math:`\tau \ge 0`.

    Returns
    -------
    tuple of Prediction
        The three bounds, in this order; the least of them holds. Infinite where the
        certificate does not give one.

    Raises
    ------
    InputError
        If the noise bound is negative or not finite.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.recovery.deconvolution.theory.instance_bounds import guaranteed_error
    >>> from tacit.recovery.deconvolution.theory.truth_certificate import (
    ...     truth_certificate)
    >>> gaussian = tacit.gaussian_map((3, 3), 40, generator=tacit.make_generator(0))
    >>> ones = torch.ones(3, 1, dtype=torch.float64)
    >>> bounds = guaranteed_error(truth_certificate(gaussian, ones, ones), 0.0)
    >>> bounds[0].value < 1e-12, round(bounds[2].value, 9)
    (True, 6.0)
    """
    if not 0.0 <= noise_bound < math.inf:
        raise InputError(f"noise_bound must be at least 0; got {noise_bound}")
    c = certificate
    twice, slack = 2.0 * noise_bound, 1.0 - c.off_tangent_norm
    linear = root = math.inf
    room = slack - c.tangent_defect * c.leakage
    if room > 0.0:
        rest = twice * (c.dual_size + c.tangent_defect / c.tangent_gain) / room
        linear = math.hypot(twice / c.tangent_gain + c.leakage * rest, rest)
    if slack > 0.0 and c.rank == 1:
        shift = c.tangent_defect * c.size / slack
        root = shift + math.sqrt(shift**2 + 2.0 * twice * c.dual_size * c.size / slack)
    trivial = (1.0 + math.sqrt(c.rank)) * c.size
    return tuple(
        Prediction(name=name, value=value, certainty="derived", source=_DOC, note=note)
        for name, value, note in (
            ("error, at most: linear with dimension factor", linear, "all noise"),
            ("error, at most: square root", root, "all noise; truth of rank one"),
            ("error, at most: trivial", trivial, "no certificate needed"),
        )
    )


def least_squares_error(
    linear_map: AbstractLinearMap, left: Tensor, right: Tensor, *, noise_level: float
) -> Prediction:
    r"""Return the error of the best rank-r fit under small random noise.

    With :math:`\mathcal{A}_T` the map on the tangent space of the truth, the least
    squares fit of rank r moves by :math:`\mathcal{A}_T^+ e` to first order, so

    .. math:: (\mathbb{E} \|\hat X - X_0\|_F^2)^{1/2} = \sigma
        \sqrt{\operatorname{tr} (\mathcal{A}_T^* \mathcal{A}_T)^{-1}} ,

    which for Gaussian noise is also the Cramer-Rao bound of estimates that are unbiased
    near the truth.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    left, right : Tensor, shape (num_rows, r) and (num_columns, r)
    noise_level : float
        :math:`\sigma`: independent entries of e, :math:`\mathbb{E}|e_i|^2 =
        \sigma^2`; circular, if complex.

    Raises
    ------
    ShapeError, InputError
        As :func:`truth_certificate`, or if the noise level is negative.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.recovery.deconvolution.theory.instance_bounds import (
    ...     least_squares_error)
    >>> gaussian = tacit.gaussian_map((3, 3), 900, generator=tacit.make_generator(0))
    >>> ones = torch.ones(3, 1, dtype=torch.float64)
    >>> error = least_squares_error(gaussian, ones, ones, noise_level=0.1)
    >>> abs(error.value - 0.1 * 5**0.5) < 0.01
    True
    """
    if not 0.0 <= noise_level < math.inf:
        raise InputError(f"noise_level must be at least 0; got {noise_level}")
    tangent = truth_coordinates(linear_map, left, right).tangent
    gains = torch.linalg.svdvals(tangent)
    if tangent.shape[0] < tangent.shape[1] or float(gains[-1]) < 1e-12 * gains[0]:
        value = math.inf
    else:
        value = noise_level * float(torch.linalg.vector_norm(1.0 / gains))
    return Prediction(
        name="error of the best fit of the true rank, root mean square",
        value=value,
        certainty="derived",
        source="docstring of least_squares_error",
        note="exact to first order in the noise; infinite where T is not seen",
    )


def competitor_distance(
    linear_map: AbstractLinearMap,
    left: Tensor,
    right: Tensor,
    direction: Tensor,
    *,
    noise_bound: float,
) -> Prediction:
    r"""Return how far along a direction a competitor can be that noise cannot refute.

    The largest :math:`t \|D\|_F` with :math:`\|X_0 + t D\|_* \le \|X_0\|_*` and
    :math:`\|\mathcal{A}(t D)\| \le 2 \tau`. For the noise :math:`e = \mathcal{A}(t D) /
    2` both :math:`X_0` and :math:`X_0 + t D` fit within :math:`\tau`, and the
    competitor has the smaller nuclear norm; so no bound on the error of *all* such X
    (like those of :func:`guaranteed_error`) can be below this number, and no method
    can be closer than half of it to both.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    left, right : Tensor, shape (num_rows, r) and (num_columns, r)
        The truth.
    direction : Tensor, shape (num_rows, num_columns)
        D, not zero.
    noise_bound : float
        :math:`\tau \ge 0`.

    Returns
    -------
    Prediction
        0 if D leaves the descent cone.

    Raises
    ------
    InputError
        If the direction is zero or not finite, or the noise bound negative.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.recovery.deconvolution.theory.instance_bounds import (
    ...     competitor_distance)
    >>> gaussian = tacit.gaussian_map((3, 3), 40, generator=tacit.make_generator(0))
    >>> ones = torch.ones(3, 1, dtype=torch.float64)
    >>> far = competitor_distance(gaussian, ones, ones, -ones @ ones.mH,
    ...     noise_bound=1e3)
    >>> round(far.value, 9)
    6.0
    """
    length = float(torch.linalg.vector_norm(direction))
    if not 0.0 < length < math.inf or not 0.0 <= noise_bound < math.inf:
        raise InputError(
            "direction must be finite and not zero and noise_bound at least 0; got "
            f"norm {length} and noise_bound {noise_bound}"
        )
    truth = left @ right.mH
    unit = direction / length
    limit = float(torch.linalg.svdvals(truth).sum())
    seen = float(torch.linalg.vector_norm(linear_map.apply(unit)))

    def is_admitted(distance: float) -> bool:
        return float(torch.linalg.svdvals(truth + distance * unit).sum()) <= limit

    # No competitor is farther than the sum of both nuclear norms.
    high = min(2.0 * limit, 2.0 * noise_bound / seen if seen else math.inf)
    low = high if is_admitted(high) else 0.0
    for _ in range(_NUM_HALVINGS):  # what is admitted is an interval, by convexity
        middle = (low + high) / 2.0
        low, high = (middle, high) if is_admitted(middle) else (low, middle)
    return Prediction(
        name="distance of a competitor that the noise cannot refute",
        value=low,
        certainty="derived",
        source="docstring of competitor_distance",
        note="up to rounding of the nuclear norm",
    )
