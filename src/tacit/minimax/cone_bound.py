r"""Proved lower bounds of the distance between a vector and a cone.

A vector q with :math:`V^T q \ge 0` proves, for every :math:`h \ge 0`,

.. math:: \tfrac12 \|V h - b\|^2 \ge
          \frac{\max(0, -\langle q, b \rangle)^2}{2 \|q\|^2}

because :math:`\langle q, V h - b \rangle \ge -\langle q, b \rangle`. A solver gives a q
that satisfies this up to rounding only; here it is moved inside and then checked with
every rounding error of the check itself included.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
# Above every error that underflow can leave in a sum of products of entries below 1.
_TINY = 2.0**-1000
_ROUNDS = 3
_NEARLY_ACTIVE = 1e6  # how many times the largest violation a margin may be
_LARGEST = float(np.finfo(np.float64).max)


def proved_bound(columns: Array, target: Array, dual: Array) -> float:
    r"""Return a lower bound of :math:`\frac12 \|V h - b\|^2` over h >= 0.

    It never exceeds the truth, whatever ``dual`` is: 0 unless :math:`V^T q \ge 0` and
    :math:`\langle q, b \rangle < 0` hold with the rounding errors of all products
    included (:math:`\gamma_n = n \epsilon` per product of length n, in any order of
    summation) and those of underflow. Where columns occur with both signs, so that the
    cone contains lines, q stands for its projection off them, which is near. Columns,
    target and dual are first scaled by powers of two, which is exact and does not move
    the cone.

    Parameters
    ----------
    columns : ndarray, shape (num_features, num_columns)
        V, finite, float64.
    target : ndarray, shape (num_features,)
        b, finite.
    dual : ndarray, shape (num_features,)
        q, in any unit.

    Returns
    -------
    float
        In squared units of b.

    References
    ----------
    Higham (2002), Accuracy and Stability of Numerical Algorithms, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from tacit.minimax.cone_bound import proved_bound
    >>> b = np.array([3.0, -1.0])
    >>> round(proved_bound(np.eye(2), b, np.array([1e-12, 1.0])), 9)
    0.5
    >>> proved_bound(np.eye(2), b, np.array([-1e-12, 1.0]))
    0.0
    """
    if not np.isfinite(dual).all():
        return 0.0
    scaled, powers = normalised_columns(columns)
    if not np.array_equal(np.ldexp(scaled, powers), columns):
        return 0.0  # entries of one column more than 2 ** 1000 apart
    b, exponent = normalised(target)
    q, _ = normalised(dual)
    distance = _feasible_within(scaled, q)
    if distance is None:
        return 0.0
    n = target.shape[0] + 2
    allowance = n * _EPS * float(np.abs(q) @ np.abs(b)) + n * _TINY
    moved = 2.0 * distance * float(np.linalg.norm(b))
    descent = -float(q @ b) - 2.0 * allowance - moved
    if descent <= 0.0:
        return 0.0
    length = float(q @ q) * (1.0 + n * _EPS)  # a projection of q is not longer
    bound = descent * descent / (2.0 * length) * (1.0 - 8.0 * _EPS)
    return _unscaled_down(bound, 2 * exponent)


def feasible_dual(
    columns: Array, target: Array, support: NDArray[np.intp]
) -> Array | None:
    r"""Return a vector near the residual of a fit that ``proved_bound`` accepts.

    The residual r of least squares on the supporting columns has :math:`V_S^T r = 0` up
    to rounding. It is moved by a multiple of the vector with :math:`V_S^T q_0 = 1`, and
    if that is not enough (dependent columns) by the shortest move that satisfies all
    nearly active inequalities, which is again a non-negative least squares problem.
    Lines of the cone are projected out before.

    Parameters
    ----------
    columns, target : ndarray
        V and b, scaled as by :func:`normalised_columns` and :func:`normalised`.
    support : ndarray of int
        S, the columns with positive coefficients.

    Returns
    -------
    ndarray, shape (num_features,), or None
        q; None where b is in the cone up to rounding or no such vector was found.

    References
    ----------
    Lawson and Hanson (1974), Solving Least Squares Problems, chapter 23, algorithm LDP.
    """
    q = _repaired(columns, target, support, 0.0)
    if q is not None:
        return q
    is_line, lines = _lines(columns)
    if not is_line.any():
        return None
    basis = np.linalg.qr(lines)[0]

    def off_lines(x: Array) -> Array:
        for _ in range(2):
            x = x - basis @ (basis.T @ x)
        return x

    rest = off_lines(columns[:, ~is_line])
    own = np.flatnonzero(np.isin(np.flatnonzero(~is_line), support))
    singular = float(np.linalg.svd(lines, compute_uv=False)[-1])
    slack = 64 * target.shape[0] ** 2 * _EPS / max(singular, _EPS)
    q = _repaired(rest, off_lines(target), own, slack)
    if q is None:
        return None
    q = off_lines(q)
    return q if _feasible_within(columns, q) is not None else None


def _repaired(
    columns: Array, target: Array, support: NDArray[np.intp], slack: float
) -> Array | None:
    r"""Return q with :math:`V^T q` at least ``slack * |q|``, rounding included."""
    q = -target
    inner = np.zeros_like(target)
    if support.size:
        basis, inner = _span_and_inner(columns[:, support])
        for _ in range(2):  # once more: the first pass leaves errors of size |b|
            q = q - basis @ (basis.T @ q)
    m = target.shape[0]
    size = float(np.linalg.norm(q))
    if size <= 16 * m * _EPS * float(np.linalg.norm(target)):
        return None
    floor = slack * size
    if support.size:
        needed = 4.0 * _allowance(columns, q) + 2.0 * floor
        excess = float(np.max(needed[support] - (columns.T @ q)[support]))
        q = q + max(excess, 0.0) * inner
    for _ in range(_ROUNDS):
        if bool((margins(columns, q) >= floor).all()):
            return q
        step = _shortest_move(columns, q, 2.0 * floor)
        if step is None:
            return None
        q = q + step
    return q if bool((margins(columns, q) >= floor).all()) else None


def margins(columns: Array, dual: Array) -> Array:
    r"""Return lower bounds of the entries of :math:`V^T q`, rounding included.

    Those of zero columns, which ask for nothing, are infinite. Entries are below 1 in
    size, see :func:`normalised_columns`.
    """
    lower = columns.T @ dual - _allowance(columns, dual)
    return np.where((columns != 0.0).any(0), lower, np.inf)


def _feasible_within(columns: Array, dual: Array) -> float | None:
    r"""Return a distance from q within which some q' has :math:`V^T q' \ge 0`.

    0 if q has. Where a column and its negative are both there, q' must be orthogonal to
    it, which no float64 vector is exactly: q' is the projection of q off all such lines
    E (independent ones), at distance at most :math:`\|E^T q\| /
    \sigma_{\min}(E)`, and the other inequalities must hold with that margin. None
    where this proves nothing.
    """
    lowest = margins(columns, dual)
    if bool((lowest >= 0.0).all()):
        return 0.0
    is_line, lines = _lines(columns)
    if not is_line.any() or lines.shape[1] > lines.shape[0]:
        return None
    m = lines.shape[0]
    values = np.linalg.svd(lines, compute_uv=False)
    # The computed singular values are those of E + F, |F| <= p(m) eps |E|.
    smallest = float(values[-1]) - 16.0 * m * _EPS * float(values[0])
    if smallest <= 0.0:
        return None
    products = np.abs(lines.T @ dual) + _allowance(lines, dual)
    distance = 2.0 * float(np.linalg.norm(products)) / smallest
    longest = m**0.5  # of a column: entries are below 1
    is_met = lowest[~is_line] >= 2.0 * longest * distance
    return distance if bool(is_met.all()) else None


def _lines(columns: Array) -> tuple[NDArray[np.bool_], Array]:
    """Return which columns have an exact negative, and one of every such pair.

    Up to powers of two, and to any factor for columns along one coordinate.
    """
    plain = columns + 0.0  # no negative zeros
    is_along_one = (columns != 0.0).sum(0) == 1
    plain[:, is_along_one] = np.sign(columns[:, is_along_one]) + 0.0
    keys = [column.tobytes() for column in np.ascontiguousarray(plain.T)]
    opposite = [column.tobytes() for column in np.ascontiguousarray(0.0 - plain.T)]
    known = set(keys)
    is_line = np.array([key in known for key in opposite])
    is_line &= (columns != 0.0).any(0)
    chosen: dict[bytes, int] = {}
    for j in np.flatnonzero(is_line):
        chosen.setdefault(min(keys[j], opposite[j]), int(j))
    return is_line, columns[:, list(chosen.values())]


def normalised(vector: Array) -> tuple[Array, int]:
    """Return a vector times a power of two, largest entry in [1/2, 1), and the power.

    ``vector == ldexp(scaled, power)``, up to entries that underflow.
    """
    power = int(np.frexp(np.abs(vector).max())[1])
    return np.ldexp(vector, -power), power


def normalised_columns(columns: Array) -> tuple[Array, NDArray[np.intc]]:
    """Return every column as :func:`normalised` does, and the powers."""
    powers = np.frexp(np.abs(columns).max(0))[1]
    return np.ldexp(columns, -powers), powers


def _allowance(columns: Array, dual: Array) -> Array:
    """Return a bound of the rounding error of ``columns.T @ dual``, computed."""
    n = columns.shape[0] + 2
    return 2.0 * n * _EPS * (np.abs(columns).T @ np.abs(dual)) + n * _TINY


def _span_and_inner(columns: Array) -> tuple[Array, Array]:
    """Return an orthonormal basis of the span, and a vector with products 1.

    Dependent columns may have no such vector: then the best in least squares.
    """
    basis: Array
    basis, triangle = np.linalg.qr(columns)
    pivots = np.abs(triangle.diagonal())
    noise = 8 * max(columns.shape) * _EPS * float(pivots.max())
    ones = np.ones(columns.shape[1])
    if columns.shape[1] <= columns.shape[0] and float(pivots.min()) > noise:
        inner: Array = basis @ np.linalg.solve(triangle.T, ones)
        return basis, inner
    left, values, right = np.linalg.svd(columns, full_matrices=False)
    rank = int((values > 8 * max(columns.shape) * _EPS * values[0]).sum())
    span: Array = left[:, :rank]
    return span, span @ ((right[:rank] @ ones) / values[:rank])


def _shortest_move(columns: Array, dual: Array, floor: float) -> Array | None:
    """Return the shortest x so that q + x meets the nearly active inequalities."""
    lacking = 4.0 * _allowance(columns, dual) + floor - columns.T @ dual
    lacking = np.where((columns != 0.0).any(0), lacking, -np.inf)
    worst = float(lacking.max())
    near = lacking > -_NEARLY_ACTIVE * worst
    wanted = lacking[near] / worst
    system = np.vstack((columns[:, near], wanted))
    unit = np.zeros(system.shape[0])
    unit[-1] = 1.0
    try:
        weights = nnls(system, unit)[0]
    except RuntimeError:  # did not settle; nothing is proved then
        return None
    residual = system @ weights - unit
    if residual[-1] >= -_EPS:  # no such move: the cone contains a line
        return None
    step = worst * (residual[:-1] / -residual[-1])
    return step if np.isfinite(step).all() else None


def _unscaled_down(value: float, power: int) -> float:
    """Return at most ``value * 2 ** power``, for a positive value."""
    try:
        unscaled = math.ldexp(value, power)
    except OverflowError:
        return _LARGEST
    # Subnormal results are rounded; all others are exact.
    return unscaled if unscaled > 1e-300 else max(math.nextafter(unscaled, 0.0), 0.0)
