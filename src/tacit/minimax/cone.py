r"""How far a target is from a cone of non-negative combinations, with proofs.

A generator that ends in a fixed layer V after a non-negative activation reaches only
:math:`\{V h : h \ge 0\}`. The fit decides what is possible at all: a saddle of value
zero exists only if the target is in the cone, and otherwise the value of the game is at
least the distance.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.cone_bound import (
    Array,
    feasible_dual,
    normalised,
    normalised_columns,
    proved_bound,
)
from tacit.minimax.problem import check_data

Flags = NDArray[np.bool_]

# Squares must be float64 numbers.
_LARGEST_TARGET = 1e150
# Violation of the optimality conditions, relative to |v_j| |b|, beyond which the
# compiled solver is not believed: it has returned wrong answers (SciPy issue 25389).
_KKT_RTOL = 1e-10
_POSITIVE = 1e-12  # of a gradient, relative to |v_j| |b|


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConeFit:
    r"""The best fit of a target b by non-negative combinations of columns V.

    .. math:: \min_{h \ge 0} \tfrac12 \|V h - b\|^2

    Parameters
    ----------
    coefficients : Tensor, shape (num_columns,)
        h >= 0, float64 on the CPU as all tensors here: the witness that
        ``value`` is reached.
    residual : Tensor, shape (num_features,)
        V h - b.
    value : float
        :math:`\frac12 \|V h - b\|^2`, an upper bound of the minimum.
    lower_bound : float
        Proved lower bound of the minimum, rounding errors included; 0 where the target
        is in the cone, or nothing was proved.
    dual : Tensor, shape (num_features,), or None
        q with :math:`V^T q \ge 0` and :math:`\langle q, b \rangle < 0`, which proves
        the lower bound (Farkas); None where that is 0. Check it again with
        :func:`tacit.minimax.cone_bound.proved_bound`.
    relative_residual : float
        :math:`\|V h - b\| / \|b\|`; 0 for b = 0.
    rtol : float
        Up to which relative residual the target counts as a member.

    Examples
    --------
    >>> import tacit, torch
    >>> fit = tacit.fit_cone(torch.eye(2).double(), torch.tensor([3.0, -1.0]).double())
    >>> fit.coefficients, fit.value, fit.is_member
    (tensor([3., 0.], dtype=torch.float64), 0.5, False)
    >>> round(fit.lower_bound, 12)
    0.5
    """

    coefficients: Tensor
    residual: Tensor
    value: float
    lower_bound: float
    dual: Tensor | None
    relative_residual: float
    rtol: float

    @property
    def is_member(self) -> bool:
        """Whether the target is in the cone within ``rtol``, with h as witness."""
        return self.relative_residual <= self.rtol

    @property
    def is_decided(self) -> bool:
        """Whether it is known on which side the target is: h or q is the witness."""
        return self.is_member or self.lower_bound > 0.0


def fit_cone(columns: Tensor, target: Tensor, *, rtol: float = 1e-10) -> ConeFit:
    r"""Fit a target by non-negative combinations of columns.

    By the active set method of Lawson and Hanson as SciPy has it, on columns scaled to
    similar lengths. Its answer is not trusted: it is polished on its support, its
    optimality conditions are evaluated, and where they fail the fit is repeated by a
    slow and plain form of the method. The lower bound is proved independently.

    Parameters
    ----------
    columns : Tensor, shape (num_features, num_columns)
        V; any real floating point dtype, computed in float64.
    target : Tensor, shape (num_features,)
        b, of the same dtype and device, entries below 1e150 in size.
    rtol : float
        :math:`\|V h - b\| \le` ``rtol`` :math:`\|b\|` counts as a member of the cone.

    Returns
    -------
    ConeFit
        Its lower bound is tight up to rounding, unless the cone contains a line that is
        no pair of opposite columns: it may be 0 then.

    Raises
    ------
    ShapeError
        If the columns are no matrix, or have another length than the target. For a
        batch, fit one member at a time.
    InputError
        If an entry is not finite or too large, dtypes or devices differ, the
        coefficients are no float64 numbers, or ``rtol`` is out of range.

    Notes
    -----
    About k m operations for every positive coefficient, of which there are at most m.
    Columns that are parallel up to rounding, in opposite directions, span cones whose
    exact shape hangs on the last digits. No method in float64 finds the best fit then;
    the lower bound holds nevertheless.

    References
    ----------
    Lawson and Hanson (1974), Solving Least Squares Problems, chapter 23.

    Examples
    --------
    >>> import tacit, torch
    >>> V = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).double()
    >>> fit = tacit.fit_cone(V, torch.tensor([3.0, 1.0]).double())
    >>> fit.is_member, fit.lower_bound, [round(float(h), 9) for h in fit.coefficients]
    (True, 0.0, [2.0, 1.0])
    """
    matrix, vector = _checked(columns, target, rtol)
    scaled, powers = normalised_columns(matrix)
    goal, exponent = normalised(vector)
    with np.errstate(over="ignore"):
        h = np.ldexp(_solve(scaled, goal), exponent - powers)
    if not np.isfinite(h).all():
        raise InputError(
            "coefficients must be float64 numbers; the best ones overflow as columns "
            "and target have too different sizes; rescale one of them"
        )
    # The coefficients as returned, scaled back: powers of two, exact.
    residual = scaled @ np.ldexp(h, powers - exponent) - goal
    length, of_target = float(np.linalg.norm(residual)), float(np.linalg.norm(goal))
    dual = feasible_dual(scaled, goal, np.flatnonzero(h))
    bound = 0.0 if dual is None else proved_bound(matrix, vector, dual)
    return ConeFit(
        coefficients=torch.from_numpy(h),
        residual=torch.from_numpy(np.ldexp(residual, exponent)),
        value=float(np.ldexp(residual @ residual / 2.0, 2 * exponent)),
        lower_bound=bound,
        dual=None if dual is None or bound == 0.0 else torch.from_numpy(dual),
        relative_residual=length / of_target if of_target > 0.0 else 0.0,
        rtol=rtol,
    )


def _checked(columns: Tensor, target: Tensor, rtol: float) -> tuple[Array, Array]:
    check_data({"columns": columns, "target": target})
    if columns.ndim != 2 or 0 in columns.shape or target.shape != columns.shape[:1]:
        raise ShapeError(
            "columns must have shape (num_features, num_columns), each at least 1, and "
            f"target shape (num_features,); got {tuple(columns.shape)} and "
            f"{tuple(target.shape)}; fit one member of a batch at a time"
        )
    if not 0.0 <= rtol < 1.0:
        raise InputError(f"rtol must be in [0, 1); got {rtol}")
    matrix = columns.detach().to("cpu", torch.float64).numpy()
    vector = target.detach().to("cpu", torch.float64).numpy()
    largest = float(np.abs(vector).max())
    if largest > _LARGEST_TARGET:
        raise InputError(
            f"entries of target must be at most {_LARGEST_TARGET:g} in size, so that "
            f"their squares are float64 numbers; got {largest:g}; rescale it"
        )
    return matrix, vector


def _solve(columns: Array, target: Array) -> Array:
    """Return the best h >= 0, for scaled columns."""
    try:
        h = nnls(columns, target)[0]
    except RuntimeError:  # the iteration limit
        return _active_set(columns, target)
    h = _polished(columns, target, h)
    residual = columns @ h - target
    slopes = columns.T @ residual
    tolerance = _KKT_RTOL * float(np.linalg.norm(target)) * columns.shape[0] ** 0.5
    if bool((slopes >= -tolerance).all()) and bool((slopes[h > 0] <= tolerance).all()):
        return h
    other = _active_set(columns, target)
    is_better = np.linalg.norm(columns @ other - target) < np.linalg.norm(residual)
    return other if is_better else h


def _polished(columns: Array, target: Array, h: Array) -> Array:
    """Solve again on the support: the method updates a factorisation many times."""
    support = np.flatnonzero(h > 0.0)
    if support.size == 0 or support.size > target.shape[0]:
        return h
    basis, triangle = np.linalg.qr(columns[:, support])
    try:
        on_support = np.linalg.solve(triangle, basis.T @ target)
    except np.linalg.LinAlgError:
        return h
    if not bool((on_support > 0.0).all()):
        return h
    better = np.zeros_like(h)
    better[support] = on_support
    before = np.linalg.norm(columns @ h - target)
    return better if np.linalg.norm(columns @ better - target) <= before else h


def _active_set(columns: Array, target: Array) -> Array:
    """Lawson and Hanson's method by fresh least squares in every step."""
    num_columns = columns.shape[1]
    h = np.zeros(num_columns)
    is_passive = np.zeros(num_columns, dtype=bool)
    is_barred = np.zeros(num_columns, dtype=bool)
    tolerance = _POSITIVE * float(np.linalg.norm(target)) * columns.shape[0] ** 0.5
    for _ in range(3 * num_columns):
        gains = columns.T @ (target - columns @ h)
        gains[is_passive | is_barred] = -np.inf
        entering = int(np.argmax(gains))
        if gains[entering] <= tolerance:
            break
        before = float(np.linalg.norm(columns @ h - target))
        candidate, passive = _enter(columns, target, h, is_passive, entering)
        if float(np.linalg.norm(columns @ candidate - target)) < before:
            h, is_passive = candidate, passive
            is_barred[:] = False
        else:  # by rounding only; without this it may go round in circles
            is_barred[entering] = True
    return h


def _enter(
    columns: Array,
    target: Array,
    h: Array,
    is_passive: Flags,
    entering: int,
) -> tuple[Array, Flags]:
    """Let one more column in, and out all that become negative."""
    h, passive = h.copy(), is_passive.copy()
    passive[entering] = True
    while passive.any():
        goal = np.zeros_like(h)
        goal[passive] = np.linalg.lstsq(columns[:, passive], target, rcond=None)[0]
        falling = passive & (goal <= 0.0)
        if not falling.any():
            return goal, passive
        way = h[falling] - goal[falling]  # zero only where h and goal are
        fractions = np.where(way > 0.0, h[falling] / np.where(way > 0.0, way, 1.0), 0.0)
        h = h + float(fractions.min()) * (goal - h)
        leaving = falling.copy()
        leaving[falling] = fractions <= fractions.min()
        h[leaving] = 0.0
        passive &= ~leaving
    return h, passive
