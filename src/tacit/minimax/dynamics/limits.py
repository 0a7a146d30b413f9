r"""Which steps are stable, and where they stop being so.

For one singular value s, :math:`\lambda = s^2`, the methods with two numbers as state
have a quadratic characteristic polynomial :math:`z^2 + b z + c`, whose roots lie inside
the unit circle exactly if :math:`c < 1` and :math:`1 \pm b + c > 0` (Jury). With
generator step :math:`\eta` and discriminator step :math:`\mu`:

* simultaneous: :math:`b = \mu - 2`, :math:`c = 1 - \mu + \mu \eta \lambda`. For
  :math:`0 < \mu \le 2` stable exactly if :math:`\eta \lambda < 1`; for
  :math:`2 < \mu < 4` exactly if :math:`2 - 4 / \mu < \eta \lambda < 1` (a discriminator
  that overshoots is held by a generator that moves enough); never for
  :math:`\mu \ge 4`.
* alternating, discriminator first: :math:`b = \mu \eta \lambda + \mu - 2`,
  :math:`c = 1 - \mu`. Stable exactly if :math:`0 < \mu < 2` and
  :math:`\mu \eta \lambda < 4 - 2 \mu`. With n steps of the discriminator before each of
  the generator, :math:`\mu` is :math:`1 - (1 - \mu)^n` here (the residual stays what it
  is meanwhile).

For other methods the limit is found by bisection on the spectral radius.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, cast, final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SimultaneousGDA,
)
from tacit.minimax.dynamics.rates import all_modes, mode_rates
from tacit.minimax.dynamics.spectrum import JacobianSpectrum

Method = Literal["closed form", "bisection"]
SolverT = TypeVar("SolverT", bound=AbstractDescentAscent)

_ZERO = 1e-12  # relative to the largest singular value: below, it counts as zero
_MAX_MODES = 65  # singular values that a search looks at
_NUM_GRID = 160  # steps tried between 1e-8 and 1e2, times 1 / s^2
_NUM_HALVINGS = 50


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class StabilityLimit:
    """Which generator steps are stable for a given discriminator step.

    Stable means that every part of the error that the generator can reach vanishes, to
    first order.

    Parameters
    ----------
    lower, upper : float
        Steps strictly between are stable. Equal: none is.
    method : {"closed form", "bisection"}
        How it was found; by bisection to about 1e-12.
    reason : str
        What ends the stable range.

    Examples
    --------
    >>> import tacit, torch
    >>> values = torch.tensor([2.0, 1.0], dtype=torch.float64)
    >>> solver = tacit.SimultaneousGDA(min_step=0.1, max_step=1.0)
    >>> tacit.stability_limit(solver, values).upper
    0.25
    """

    lower: float
    upper: float
    method: Method
    reason: str


def with_steps(
    solver: SolverT, *, min_step: float | None = None, max_step: float | None = None
) -> SolverT:
    """Return the same method with other steps; what is None stays.

    Examples
    --------
    >>> import tacit
    >>> solver = tacit.SimultaneousGDA(min_step=0.1, max_step=1.0)
    >>> from tacit.minimax.dynamics.limits import with_steps
    >>> with_steps(solver, min_step=0.5).min_step
    0.5
    """
    # Every final solver is a dataclass, which the abstract class cannot say.
    return cast(
        "SolverT",
        replace(
            cast("Any", solver),
            min_step=solver.min_step if min_step is None else min_step,
            max_step=solver.max_step if max_step is None else max_step,
        ),
    )


def stability_limit(
    solver: AbstractDescentAscent, spectrum: JacobianSpectrum | Tensor
) -> StabilityLimit:
    """Return the range of generator steps that are stable at the solver's other values.

    Parameters
    ----------
    solver : AbstractDescentAscent
        Method and discriminator step; its generator step is not looked at.
    spectrum : JacobianSpectrum or Tensor of shape (*batch, count)
        Singular values; the range holds for all of a batch. Those below 1e-12 of the
        largest count as zero: nothing moves there.

    Returns
    -------
    StabilityLimit
        The first stable range, counted from zero.

    Raises
    ------
    InputError
        If every singular value is zero.

    Examples
    --------
    >>> import tacit, torch
    >>> values = torch.tensor([2.0, 1.0], dtype=torch.float64)
    >>> solver = tacit.AlternatingGDA(min_step=0.1, max_step=1.0)
    >>> tacit.stability_limit(solver, values).upper
    0.5
    """
    modes, has_zero = _moving_modes(spectrum)
    low, high = float(modes.amin()) ** 2, float(modes.amax()) ** 2
    if isinstance(solver, SimultaneousGDA):
        return _simultaneous_limit(solver.max_step, low, high, has_zero=has_zero)
    if isinstance(solver, AlternatingGDA):
        return _alternating_limit(effective_max_step(solver), high)
    return _searched_limit(solver, modes, has_zero=has_zero)


def check_stability(
    solver: AbstractDescentAscent,
    spectrum: JacobianSpectrum | Tensor,
    *,
    refuse: bool = True,
) -> str | None:
    """Refuse steps outside the stable range, or say what is wrong with them.

    Parameters
    ----------
    solver : AbstractDescentAscent
        Method and steps.
    spectrum : JacobianSpectrum or Tensor of shape (*batch, count)
        Singular values where the run will take place.
    refuse : bool
        Whether to raise; otherwise the text is returned.

    Returns
    -------
    str or None
        None if the steps are stable.

    Raises
    ------
    InputError
        If they are not, and ``refuse``; with the limit. Also if every singular value is
        zero.

    Examples
    --------
    >>> import tacit, torch
    >>> values = torch.tensor([2.0, 1.0], dtype=torch.float64)
    >>> tacit.check_stability(tacit.SimultaneousGDA(min_step=0.3, max_step=1.0), values)
    Traceback (most recent call last):
    ...
    tacit.errors.InputError: min_step must be below 0.25 with max_step 1; got 0.3: ...
    """
    limit = stability_limit(solver, spectrum)
    if limit.lower < solver.min_step < limit.upper:
        return None
    if limit.lower == limit.upper:
        text = (
            f"max_step {solver.max_step:.6g} is unstable with every min_step: "
            f"{limit.reason}; lower max_step"
        )
    else:
        above = f"above {limit.lower:.6g} and " if limit.lower > 0.0 else ""
        text = (
            f"min_step must be {above}below {limit.upper:.6g} with max_step "
            f"{solver.max_step:.6g}; got {solver.min_step:.6g}: {limit.reason}"
        )
    if refuse:
        raise InputError(text)
    return text


def effective_max_step(solver: AlternatingGDA) -> float:
    r"""Return :math:`1 - (1 - \mu)^n`: n discriminator steps taken as one.

    Examples
    --------
    >>> import tacit
    >>> from tacit.minimax.dynamics.limits import effective_max_step
    >>> effective_max_step(
    ...     tacit.AlternatingGDA(min_step=1.0, max_step=0.5, max_updates=2))
    0.75
    """
    return 1.0 - (1.0 - solver.max_step) ** solver.max_updates


def _moving_modes(spectrum: JacobianSpectrum | Tensor) -> tuple[Tensor, bool]:
    """Return the singular values that are not zero, and whether some are."""
    modes = all_modes(spectrum).reshape(-1).double()
    upper = None if isinstance(spectrum, Tensor) else spectrum.upper
    largest = max(float(modes.amax()), upper or 0.0)
    if largest == 0.0:
        raise InputError(
            "singular_values must not all be zero: no step moves the generator; "
            "start elsewhere"
        )
    moving = modes[modes > _ZERO * largest]
    # Lanczos knows the largest from below; a limit needs it from above.
    if upper is not None and upper > float(modes.amax()):
        moving = torch.cat((moving.new_tensor([upper]), moving))
    return moving, moving.numel() < modes.numel()


def _simultaneous_limit(
    max_step: float, low: float, high: float, *, has_zero: bool
) -> StabilityLimit:
    lower = max(0.0, 2.0 - 4.0 / max_step) / low if max_step > 0.0 else 0.0
    upper = 1.0 / high
    reason = "faster than the generator's largest singular value allows"
    if max_step <= 0.0 or max_step >= 4.0 or (has_zero and max_step >= 2.0):
        lower = upper = 0.0
        reason = "the discriminator's own steps overshoot"
    elif lower >= upper:
        lower = upper = 0.0
        reason = "no generator step holds it for all singular values"
    return StabilityLimit(lower=lower, upper=upper, method="closed form", reason=reason)


def _alternating_limit(max_step: float, high: float) -> StabilityLimit:
    if not 0.0 < max_step < 2.0:
        return StabilityLimit(
            lower=0.0,
            upper=0.0,
            method="closed form",
            reason="the discriminator's own steps overshoot from 2 on",
        )
    return StabilityLimit(
        lower=0.0,
        upper=(4.0 - 2.0 * max_step) / (max_step * high),
        method="closed form",
        reason="faster than the generator's largest singular value allows",
    )


def _searched_limit(
    solver: AbstractDescentAscent, modes: Tensor, *, has_zero: bool
) -> StabilityLimit:
    """Return the first range of stable steps, by a grid and bisection."""
    modes = thinned(modes, _MAX_MODES)
    zero = modes.new_zeros(1)

    def is_stable(min_step: float) -> bool:
        moved = with_steps(solver, min_step=min_step)
        if has_zero and float(mode_rates(moved, zero)) > 1.0 + 1e-9:
            return False
        return float(mode_rates(moved, modes).amax()) < 1.0

    scale = 1.0 / float(modes.amax()) ** 2
    grid = [scale * 10.0 ** (10.0 * i / _NUM_GRID - 8.0) for i in range(_NUM_GRID + 1)]
    stable = [is_stable(step) for step in grid]
    if not any(stable):
        return StabilityLimit(
            lower=0.0,
            upper=0.0,
            method="bisection",
            reason=_why_never(solver, zero),
        )
    first = stable.index(True)
    last = next((i for i in range(first, len(grid)) if not stable[i]), len(grid))
    lower = 0.0
    if first > 0:
        lower = _border(grid[first], grid[first - 1], is_stable)
    upper = math.inf
    if last < len(grid):
        upper = _border(grid[last - 1], grid[last], is_stable)
    return StabilityLimit(
        lower=lower,
        upper=upper,
        method="bisection",
        reason="the spectral radius of a step reaches 1",
    )


def _why_never(solver: AbstractDescentAscent, zero: Tensor) -> str:
    still = float(mode_rates(with_steps(solver, min_step=1e-12), zero))
    if still > 1.0 + 1e-6:
        return (
            f"the discriminator alone grows by a factor of {still:.4g} a step even if "
            "the generator stands still"
        )
    return "the spectral radius of a step is never below 1"


def _border(inside: float, outside: float, is_stable: Callable[[float], bool]) -> float:
    """Return where stability ends between two steps, from inside."""
    for _ in range(_NUM_HALVINGS):
        middle = (inside + outside) / 2.0
        if is_stable(middle):
            inside = middle
        else:
            outside = middle
    return inside


def thinned(modes: Tensor, count: int) -> Tensor:
    """Return at most ``count`` of the values, both extremes among them."""
    ordered = modes.sort().values
    if ordered.numel() <= count:
        return ordered
    places = torch.linspace(0, ordered.numel() - 1, count, dtype=torch.float64)
    return ordered[places.round().long()]
