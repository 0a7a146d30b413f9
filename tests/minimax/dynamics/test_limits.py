"""Stability limits: closed forms, bisection and runs beside each other."""

import math

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.iterate import iterate
from tacit.minimax.consensus import ConsensusOptimisation
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SimultaneousGDA,
)
from tacit.minimax.dynamics import limits
from tacit.minimax.dynamics.limits import (
    StabilityLimit,
    check_stability,
    stability_limit,
    thinned,
    with_steps,
)
from tacit.minimax.dynamics.rates import mode_rates
from tacit.minimax.dynamics.spectrum import JacobianSpectrum
from tacit.minimax.extrapolation import AlexGDA, Extragradient, OptimisticGradient
from tacit.minimax.matching import MatchingProblem

VALUES = torch.tensor([2.0, 1.5, 1.0, 0.7], dtype=torch.float64)

SOLVERS: dict[str, AbstractDescentAscent] = {
    "simultaneous": SimultaneousGDA(min_step=1.0, max_step=0.6),
    "simultaneous, long": SimultaneousGDA(min_step=1.0, max_step=1.7),
    "simultaneous, longest": SimultaneousGDA(min_step=1.0, max_step=2.0),
    "alternating": AlternatingGDA(min_step=1.0, max_step=0.6),
    "alternating, long": AlternatingGDA(min_step=1.0, max_step=1.7),
    "alternating, twice": AlternatingGDA(min_step=1.0, max_step=1.6, max_updates=2),
    "extragradient": Extragradient(min_step=1.0, max_step=0.6),
    "optimistic": OptimisticGradient(min_step=1.0, max_step=0.5),
    "alex": AlexGDA(min_step=1.0, max_step=0.3),
    "consensus": ConsensusOptimisation(min_step=1.0, max_step=0.3),
}


def searched(solver: AbstractDescentAscent, values: Tensor) -> StabilityLimit:
    return limits._searched_limit(solver, values, has_zero=False)


@pytest.mark.parametrize("name", SOLVERS)
def test_stability_ends_at_the_limit(name: str) -> None:
    solver = SOLVERS[name]
    found = stability_limit(solver, VALUES)
    assert found.lower == 0.0
    for share in (0.01, 0.3, 0.7, 0.999):
        inside = with_steps(solver, min_step=share * found.upper)
        assert float(mode_rates(inside, VALUES).amax()) < 1.0
        assert check_stability(inside, VALUES) is None
    outside = with_steps(solver, min_step=1.001 * found.upper)
    assert float(mode_rates(outside, VALUES).amax()) > 1.0
    with pytest.raises(InputError, match=f"below {found.upper:.6g} with max_step"):
        check_stability(outside, VALUES)
    text = check_stability(outside, VALUES, refuse=False)
    assert text is not None
    assert text.startswith("min_step must be below")


@pytest.mark.parametrize("name", SOLVERS)
def test_runs_diverge_at_the_stated_limit(name: str) -> None:
    problem = MatchingProblem(
        generator_function=lambda x: VALUES * x,
        min_shape=(4,),
        target=torch.ones(4).double(),
    )
    start = (torch.zeros(4).double(), torch.zeros(4).double())
    limit = stability_limit(SOLVERS[name], VALUES).upper

    def final(share: float) -> tuple[Status, float]:
        solver = with_steps(SOLVERS[name], min_step=share * limit)
        found = iterate(problem, solver, start, max_steps=3000)
        return found.status, found.history[-1] / max(found.history[:10])

    assert final(0.98)[1] < 1e-6
    assert final(1.02)[1] > 1e6


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 1.5, 1.9, 2.0])
def test_closed_forms_agree_with_bisection(mu: float) -> None:
    simultaneous = SimultaneousGDA(min_step=1.0, max_step=mu)
    found = stability_limit(simultaneous, VALUES)
    assert (found.method, found.upper) == ("closed form", 0.25)
    assert searched(simultaneous, VALUES).upper == pytest.approx(0.25, rel=1e-6)
    alternating = AlternatingGDA(min_step=1.0, max_step=mu)
    found = stability_limit(alternating, VALUES)
    if mu < 2.0:
        wanted = (4 - 2 * mu) / (mu * 4)
        assert found.upper == pytest.approx(wanted, rel=1e-12)
        assert searched(alternating, VALUES).upper == pytest.approx(wanted, rel=1e-6)
    else:
        assert found.upper == 0.0


def test_overshooting_discriminator_is_held_within_a_window() -> None:
    # 2 - 4 / mu < eta lambda < 1, for all lambda: mu = 2.5 and lambda in [2.25, 4].
    values = VALUES[:2]
    solver = SimultaneousGDA(min_step=0.2, max_step=2.5)
    found = stability_limit(solver, values)
    assert (found.lower, found.upper) == pytest.approx((0.4 / 2.25, 0.25))
    by_search = searched(solver, values)
    assert by_search.lower == pytest.approx(found.lower, rel=1e-6)
    assert by_search.upper == pytest.approx(found.upper, rel=1e-6)
    assert check_stability(solver, values) is None
    with pytest.raises(InputError, match="above 0\\.177778 and below 0\\.25"):
        check_stability(with_steps(solver, min_step=0.1), values)
    # A wider spectrum leaves no window, a direction that never moves neither.
    assert stability_limit(solver, VALUES).upper == 0.0
    still = torch.cat((values, torch.zeros(1).double()))
    assert stability_limit(solver, still).upper == 0.0
    assert stability_limit(with_steps(solver, max_step=4.0), values).upper == 0.0


def test_optimistic_steps_need_a_slow_discriminator() -> None:
    # Without a generator z^2 - (1 - 2 mu) z - mu = 0 has a root below -1 from 2 / 3 on:
    # short steps of the generator, or directions that it never moves, do not help.
    still = torch.cat((VALUES, torch.zeros(1).double()))
    for mu in (0.3, 0.6, 0.66):
        solver = OptimisticGradient(min_step=1.0, max_step=mu)
        assert stability_limit(solver, still).lower == 0.0
        assert stability_limit(solver, still).upper > 0.0
    for mu in (0.67, 0.7, 1.0):
        solver = OptimisticGradient(min_step=1.0, max_step=mu)
        assert stability_limit(solver, still).upper == 0.0
        for values in (VALUES, still):
            with pytest.raises(InputError, match=r"unstable with every|must be above"):
                check_stability(with_steps(solver, min_step=1e-3), values)


def test_optimistic_steps_beyond_two_thirds_have_a_window() -> None:
    # At mu = 0.7 the smaller root of s^2 - 0.7 s + 0.7 x must exceed 0.7 - 2 / 3.
    solver = OptimisticGradient(min_step=1.0, max_step=0.7)
    found = stability_limit(solver, VALUES)
    wanted = (0.7 - 2 / 3) * (2 / 3) / 0.7 / 0.7**2
    assert found.lower == pytest.approx(wanted, rel=1e-6)


def test_directions_that_never_move_do_not_count() -> None:
    still = torch.cat((VALUES, torch.zeros(2).double()))
    for name in ("simultaneous", "alternating", "extragradient", "alex"):
        found = stability_limit(SOLVERS[name], still)
        wanted = stability_limit(SOLVERS[name], VALUES)
        assert found.upper == pytest.approx(wanted.upper, rel=1e-9)
    with pytest.raises(InputError, match="must not all be zero"):
        stability_limit(SOLVERS["simultaneous"], torch.zeros(3).double())


def test_limit_uses_the_bound_where_the_largest_is_known_from_below() -> None:
    spectrum = JacobianSpectrum(
        singular_values=torch.tensor([2.0, 1.0]).double(),
        is_complete=False,
        lower=0.9,
        upper=2.5,
        failure_probability=1e-6,
    )
    found = stability_limit(SOLVERS["simultaneous"], spectrum)
    assert found.upper == 1 / 2.5**2
    slower = stability_limit(SOLVERS["extragradient"], spectrum)
    alone = stability_limit(SOLVERS["extragradient"], torch.tensor([2.5]).double())
    assert slower.upper <= alone.upper * (1 + 1e-9)


def test_one_range_for_a_whole_batch() -> None:
    batch = torch.stack((VALUES, 2 * VALUES))
    assert stability_limit(SOLVERS["simultaneous"], batch).upper == 1 / 16


def test_steps_are_replaced_and_the_rest_stays() -> None:
    solver = AlexGDA(min_step=0.1, max_step=0.2, min_extrapolation=1.5, atol=1e-3)
    moved = with_steps(solver, max_step=0.3)
    assert (moved.min_step, moved.max_step) == (0.1, 0.3)
    assert (moved.min_extrapolation, moved.atol) == (1.5, 1e-3)


def test_thinning_keeps_the_extremes() -> None:
    values = torch.linspace(3.0, 1.0, 1000, dtype=torch.float64)
    few = thinned(values, 9)
    assert (len(few), float(few[0]), float(few[-1])) == (9, 1.0, 3.0)
    assert math.isclose(float(thinned(values[:4], 9)[-1]), 3.0)
