"""Best steps against grids over both steps, and the closed forms in words."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SimultaneousGDA,
)
from tacit.minimax.dynamics.limits import with_steps
from tacit.minimax.dynamics.rates import mode_rates
from tacit.minimax.dynamics.steps import best_steps
from tacit.minimax.extrapolation import Extragradient, OptimisticGradient

SIMULTANEOUS = SimultaneousGDA(min_step=1.0, max_step=1.0)
ALTERNATING = AlternatingGDA(min_step=1.0, max_step=1.0)
EXTRAGRADIENT = Extragradient(min_step=1.0, max_step=1.0)
OPTIMISTIC = OptimisticGradient(min_step=1.0, max_step=1.0)


def spread(kappa: float, scale: float = 1.0) -> Tensor:
    """Singular values with squares between scale / kappa and scale."""
    squares = torch.linspace(1 / kappa, 1.0, 9, dtype=torch.float64) * scale
    return squares.sqrt()


def best_on_grid(
    solver: AbstractDescentAscent, values: Tensor, max_steps: list[float]
) -> float:
    scale = float(values.amax()) ** 2
    return min(
        float(
            mode_rates(
                with_steps(solver, min_step=float(eta) / scale, max_step=mu), values
            ).amax()
        )
        for eta, mu in itertools.product(np.geomspace(1e-3, 6.0, 120), max_steps)
    )


@pytest.mark.parametrize("kappa", [1.5, 4.0, 30.0])
def test_alternating_is_the_heavy_ball(kappa: float) -> None:
    found = best_steps(ALTERNATING, spread(kappa, 3.0))
    q = (math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)
    assert found.rate == pytest.approx(q, rel=1e-6)
    grid = [float(mu) for mu in np.linspace(0.05, 1.95, 39)]
    assert best_on_grid(ALTERNATING, spread(kappa, 3.0), grid) >= found.rate - 1e-9


@pytest.mark.parametrize("kappa", [1.5, 4.0, 30.0])
def test_simultaneous_is_best_with_a_step_of_two(kappa: float) -> None:
    found = best_steps(SIMULTANEOUS, spread(kappa, 3.0))
    assert found.max_step == 2.0
    wanted = math.sqrt((kappa - 1) / (kappa + 1))
    assert found.rate == pytest.approx(wanted, rel=1e-9)
    grid = [float(mu) for mu in np.linspace(0.05, 3.95, 79)]
    assert best_on_grid(SIMULTANEOUS, spread(kappa, 3.0), grid) >= found.rate - 1e-9


@pytest.mark.parametrize("kappa", [1.0, 1.5, 4.0, 30.0])
@pytest.mark.parametrize("mu", [0.2, 1.0, 1.7, 2.0])
@pytest.mark.parametrize("solver", [SIMULTANEOUS, ALTERNATING])
def test_best_generator_step_for_a_given_discriminator(
    solver: AbstractDescentAscent, mu: float, kappa: float
) -> None:
    values = spread(kappa, 0.2)
    if solver is ALTERNATING and mu == 2.0:
        with pytest.raises(InputError, match="below 2 for alternating"):
            best_steps(solver, values, max_step=mu)
        return
    found = best_steps(solver, values, max_step=mu)
    assert found.max_step == mu
    # Where roots coincide they are computed to eps ** 0.5.
    assert best_on_grid(solver, values, [mu]) >= found.rate - 1e-7
    if solver is SIMULTANEOUS and mu == 1.0 and kappa > 1.0:
        assert found.rate == pytest.approx(kappa / (kappa + 1), rel=1e-9)


@pytest.mark.parametrize("updates", [2, 3])
def test_several_discriminator_steps_make_one_heavy_ball(updates: int) -> None:
    solver = AlternatingGDA(min_step=1.0, max_step=1.0, max_updates=updates)
    found = best_steps(solver, spread(4.0))
    assert found.rate == pytest.approx(1 / 3, rel=1e-6)
    given = best_steps(solver, spread(4.0), max_step=0.4)
    assert best_on_grid(solver, spread(4.0), [0.4]) >= given.rate - 1e-9


@pytest.mark.parametrize("solver", [EXTRAGRADIENT, OPTIMISTIC])
def test_search_is_as_good_as_a_grid(solver: AbstractDescentAscent) -> None:
    values = spread(4.0, 3.0)
    found = best_steps(solver, values)
    assert found.method == "search"
    grid = [float(mu) for mu in np.linspace(0.02, 1.5, 38)]
    assert found.rate <= best_on_grid(solver, values, grid) + 1e-3
    again = float(mode_rates(found.solver, values).amax())
    assert found.rate == pytest.approx(again, rel=1e-6)
    given = best_steps(solver, values, max_step=0.3)
    assert given.rate <= best_on_grid(solver, values, [0.3]) + 1e-6


def test_search_finds_a_step_that_solves_at_once() -> None:
    found = best_steps(EXTRAGRADIENT, spread(1.0), max_step=1.0)
    # sigma^2 - sigma + eta lambda = 0 and 1 - sigma + sigma^2 = 0 at eta lambda = 1.
    assert found.rate == pytest.approx(0.0, abs=1e-4)
    assert found.min_step == pytest.approx(1.0, rel=1e-4)


def test_widening_gives_up_rate_for_room() -> None:
    found = best_steps(ALTERNATING, spread(4.0), widening=1.2)
    wide = best_steps(ALTERNATING, spread(4.0 * 1.2**2, 1.2))
    assert found.min_step == pytest.approx(wide.min_step, rel=1e-12)
    assert found.rate == pytest.approx(wide.rate, rel=1e-6)
    one = best_steps(ALTERNATING, torch.tensor([1.0]).double(), widening=1.2)
    assert one.rate == pytest.approx((1.2 - 1) / (1.2 + 1), rel=1e-6)


def test_directions_that_never_move_are_left_out() -> None:
    still = torch.cat((spread(4.0), torch.zeros(2).double()))
    found, wanted = best_steps(ALTERNATING, still), best_steps(ALTERNATING, spread(4.0))
    assert found.min_step == pytest.approx(wanted.min_step, rel=1e-12)


def test_what_has_no_best_step_is_refused() -> None:
    with pytest.raises(InputError, match="must not all be zero"):
        best_steps(ALTERNATING, torch.zeros(3).double())
    with pytest.raises(InputError, match="no generator step is stable"):
        best_steps(OPTIMISTIC, spread(4.0), max_step=1.0)
    with pytest.raises(InputError, match="at most 2 for simultaneous"):
        best_steps(SIMULTANEOUS, spread(4.0), max_step=2.5)
    for widening in (0.5, math.nan, math.inf):
        with pytest.raises(InputError, match="widening"):
            best_steps(ALTERNATING, spread(4.0), widening=widening)
    for step in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="max_step"):
            best_steps(ALTERNATING, spread(4.0), max_step=step)
