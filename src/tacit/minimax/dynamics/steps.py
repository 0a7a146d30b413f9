r"""The steps with the best worst rate over a spectrum.

Over the squared singular values in :math:`[\ell, L]`, :math:`\kappa = L / \ell`:

* alternating descent-ascent is the heavy ball on :math:`\frac12 \|r\|^2` with momentum
  :math:`1 - \mu` and step :math:`\mu \eta`, so Polyak's choice is best: :math:`1 - \mu
  = q^2`, :math:`\mu \eta = (2 / (\sqrt L + \sqrt \ell))^2`, rate :math:`q = (\sqrt
  \kappa - 1) / (\sqrt \kappa + 1)`. At a given :math:`\mu`: :math:`\eta = 2 (2 - \mu) /
  (\mu (\ell + L))`. With n discriminator steps for each of the generator,
  :math:`(1 - \mu)^n` takes the place of :math:`1 - \mu`.
* simultaneous, at a given :math:`\mu \le 2`: rate :math:`1 - p` with p the smaller root
  of :math:`(\kappa + 1) p^2 - (\kappa \mu + 2) p + \mu = 0` and :math:`\eta \ell = p (1
  - p / \mu)`, where the slow mode (real roots, at :math:`\ell`) and the fast one
  (complex, at L) are equally fast: :math:`\mu = 1` gives :math:`\kappa / (\kappa + 1)`.
  Over all :math:`\mu` the best is :math:`\mu = 2`, :math:`\eta = 1 / (\ell + L)`, rate
  :math:`\sqrt{(\kappa - 1) / (\kappa + 1)}`: there :math:`z^2 = 1 - 2 \eta \lambda`,
  gradient descent that moves at every other step.

Proof of the last: rate :math:`1 - p` needs :math:`\mu \eta L \le \mu - p (2 - p)`
(complex roots at L) and, for :math:`\mu \le 2`, :math:`\mu \eta \ell \ge p (\mu - p)`
(real roots at :math:`\ell`). Together :math:`\kappa p - 1 \le (\kappa p - 2 + p)\, p /
\mu`, whose right-hand side is negative where :math:`p < 2 / (\kappa + 1)` and then asks
for the largest :math:`\mu`; beyond, small :math:`\mu` would help, but real roots need
:math:`p \le \mu / 2`, at which it reads :math:`\kappa \le 1`. For :math:`\mu \ge 2` the
first condition stays, the second becomes :math:`\mu \eta \ell \ge (2 - p)(\mu - 2 +
p)`, and :math:`\mu\, (\kappa (2 - p) - 1) \le (2 - p) (\kappa (2 - p) - p)` asks for
the smallest. (All ours; Polyak 1964 for the heavy ball.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.descent_ascent import AlternatingGDA, SimultaneousGDA
from tacit.minimax.dynamics.limits import SolverT, thinned, with_steps
from tacit.minimax.dynamics.rates import all_modes, linear_rate, mode_rates
from tacit.minimax.dynamics.spectrum import JacobianSpectrum

_MAX_MODES = 33  # singular values that the search looks at
_NUM_GRID = 25  # steps tried on a line before it is refined
_NUM_GOLDEN = 30
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_MIN_RANGE = (-7.0, 2.0)  # ln of the generator's step, times L
_MAX_RANGE = (-5.0, 0.7)  # ln of the discriminator's step


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class BestSteps(Generic[SolverT]):
    """The best steps of a method for a spectrum.

    Parameters
    ----------
    solver : AbstractDescentAscent
        The method with these steps.
    rate : float
        Its worst rate over the spectrum.
    method : {"closed form", "search"}
        How they were found. A search may end a little beside the optimum.

    Examples
    --------
    >>> import tacit, torch
    >>> values = torch.tensor([2.0, 1.0], dtype=torch.float64)
    >>> best = tacit.best_steps(tacit.AlternatingGDA(min_step=0.1, max_step=1), values)
    >>> round(best.rate, 6), round(best.solver.max_step, 6)  # q = 1/3, 1 - q^2
    (0.333333, 0.888889)
    """

    solver: SolverT
    rate: float
    method: Literal["closed form", "search"]

    @property
    def min_step(self) -> float:
        """The generator's step."""
        return self.solver.min_step

    @property
    def max_step(self) -> float:
        """The discriminator's step."""
        return self.solver.max_step


def best_steps(
    solver: SolverT,
    spectrum: JacobianSpectrum | Tensor,
    *,
    max_step: float | None = None,
    widening: float = 1.0,
) -> BestSteps[SolverT]:
    r"""Return the steps with the smallest worst rate over a spectrum.

    Parameters
    ----------
    solver : AbstractDescentAscent
        The method; its steps are not looked at, other settings stay.
    spectrum : JacobianSpectrum or Tensor of shape (*batch, count)
        Singular values; one choice of steps for a whole batch.
    max_step : float or None
        Keep the discriminator at this step, and choose the generator's alone.
    widening : float
        At least 1. Squared singular values are taken to lie in :math:`[\ell / w, w L]`:
        room for a Jacobian that moves during the run. ``rate`` is that of the wider
        interval.

    Returns
    -------
    BestSteps

    Raises
    ------
    InputError
        If every singular value, or after the choice of ``max_step`` no step, is of use,
        or ``widening`` is below 1.

    Notes
    -----
    Singular values of zero are left out: no step moves the error there.

    Examples
    --------
    >>> import tacit, torch
    >>> values = torch.tensor([2.0, 1.0], dtype=torch.float64)
    >>> simultaneous = tacit.SimultaneousGDA(min_step=0.1, max_step=1.0)
    >>> best = tacit.best_steps(simultaneous, values, max_step=1.0)
    >>> round(best.rate, 6), round(best.min_step, 6)  # kappa / (kappa + 1), kappa = 4
    (0.8, 0.16)
    """
    if not (math.isfinite(widening) and widening >= 1.0):
        raise InputError(f"widening must be at least 1 and finite; got {widening}")
    if max_step is not None and not (math.isfinite(max_step) and max_step > 0.0):
        raise InputError(f"max_step must be positive and finite; got {max_step}")
    modes = all_modes(spectrum).reshape(-1).double()
    largest = float(modes.amax())
    if largest == 0.0:
        raise InputError(
            "singular_values must not all be zero: no step moves the generator; "
            "start elsewhere"
        )
    modes = thinned(modes[modes > 1e-12 * largest], _MAX_MODES)
    root = math.sqrt(widening)
    modes = torch.cat((modes[:1] / root, modes, modes[-1:] * root))
    low, high = float(modes[0]) ** 2, float(modes[-1]) ** 2
    if isinstance(solver, AlternatingGDA):
        steps = _alternating(low, high, max_step, solver.max_updates)
    elif isinstance(solver, SimultaneousGDA):
        steps = _simultaneous(low, high, max_step)
    else:
        return _searched(solver, modes, max_step)
    if not steps[0] > 0.0:
        raise InputError(
            f"max_step must be at most 2 for simultaneous and below 2 for alternating "
            f"steps; got {max_step}; lower it"
        )
    found = with_steps(solver, min_step=steps[0], max_step=steps[1])
    return BestSteps(
        solver=found, rate=float(linear_rate(found, modes)), method="closed form"
    )


def _alternating(
    low: float, high: float, max_step: float | None, num_updates: int
) -> tuple[float, float]:
    """Return both steps; several discriminator steps count as one longer one."""
    if max_step is not None:
        if max_step >= 2.0:
            return 0.0, max_step
        mu = 1.0 - (1.0 - max_step) ** num_updates
        return 2.0 * (2.0 - mu) / (mu * (low + high)), max_step
    slow, fast = math.sqrt(low), math.sqrt(high)
    rate = (fast - slow) / (fast + slow)
    eta = (2.0 / (fast + slow)) ** 2 / (1.0 - rate * rate)
    return eta, 1.0 - rate ** (2.0 / num_updates)


def _simultaneous(
    low: float, high: float, max_step: float | None
) -> tuple[float, float]:
    if max_step is None:
        return 1.0 / (low + high), 2.0
    if max_step > 2.0:
        return 0.0, max_step
    kappa = high / low
    linear = kappa * max_step + 2.0
    root = math.sqrt(max(linear * linear - 4.0 * (kappa + 1.0) * max_step, 0.0))
    p = 2.0 * max_step / (linear + root)  # the smaller root, without cancellation
    return p * (1.0 - p / max_step) / low, max_step


def _searched(
    solver: SolverT, modes: Tensor, max_step: float | None
) -> BestSteps[SolverT]:
    """Minimise the worst rate over logarithms of the steps."""
    scale = -2.0 * math.log(float(modes[-1]))

    def rate(min_log: float, max_log: float) -> float:
        candidate = with_steps(
            solver, min_step=math.exp(min_log + scale), max_step=math.exp(max_log)
        )
        value = float(mode_rates(candidate, modes).amax())
        return value if math.isfinite(value) else math.inf

    def over_min(max_log: float, count: int) -> tuple[float, float]:
        return _minimum(lambda log: rate(log, max_log), *_MIN_RANGE, count=count)

    if max_step is not None:
        max_log = math.log(max_step)
    else:
        max_log, _ = _minimum(
            lambda log: over_min(log, _NUM_GRID)[1], *_MAX_RANGE, count=_NUM_GRID
        )
    min_log, value = over_min(max_log, 4 * _NUM_GRID)
    if not value < 1.0:
        raise InputError(
            f"no generator step is stable with max_step {math.exp(max_log):.6g}; "
            "lower max_step, or let it be chosen"
        )
    found = with_steps(
        solver, min_step=math.exp(min_log + scale), max_step=math.exp(max_log)
    )
    return BestSteps(solver=found, rate=value, method="search")


def _minimum(
    function: Callable[[float], float], low: float, high: float, *, count: int
) -> tuple[float, float]:
    """Return a minimiser and the minimum: a grid, then golden section at its best."""
    width = (high - low) / count
    grid = [low + width * i for i in range(count + 1)]
    values = [function(x) for x in grid]
    best = min(range(count + 1), key=values.__getitem__)
    a, b = max(low, grid[best] - width), min(high, grid[best] + width)
    found = (values[best], grid[best])
    left, right = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    at_left, at_right = function(left), function(right)
    for _ in range(_NUM_GOLDEN):
        found = min(found, (at_left, left), (at_right, right))
        if at_left <= at_right:
            b, right, at_right = right, left, at_left
            left = b - _GOLDEN * (b - a)
            at_left = function(left)
        else:
            a, left, at_left = left, right, at_right
            right = a + _GOLDEN * (b - a)
            at_right = function(right)
    return found[1], found[0]
