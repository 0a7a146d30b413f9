"""What descent on factors is known to do: plateaus, rates, balance."""

import math

import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.iterate import iterate
from tacit.recovery.back_projection import leading_eigenpairs
from tacit.recovery.descent.factored import FactoredDescent, FactoredState
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.start import small_start, spectral_start

Pair = tuple[Tensor, Tensor]


def relative_error(problem: RecoveryProblem, state: FactoredState) -> Tensor:
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    error = torch.linalg.matrix_norm(state.left @ state.right.mH - truth)
    return error / torch.linalg.matrix_norm(truth)


def curves(
    problem: RecoveryProblem, solver: FactoredDescent, start: Pair, num_steps: int
) -> Tensor:
    """Relative errors, shape (num_steps, ...)."""
    seen: list[Tensor] = []
    iterate(
        problem,
        solver,
        start,
        max_steps=num_steps,
        observers=[lambda _, state: seen.append(relative_error(problem, state))],
    )
    return torch.stack(seen)


@pytest.mark.parametrize(("size", "oversampling"), [(40, 6), (40, 12), (60, 12)])
def test_plateau_and_delay_follow_the_spectrum_of_the_back_projection(
    size: int, oversampling: int, generator: torch.Generator
) -> None:
    r"""Paper 4's method, rank one and fewer measurements than unknowns.

    The noise grows at the rate :math:`1 + \mu \lambda_2` while the signal comes up at
    :math:`1 + \mu \lambda_1`: the plateau is alpha^{2 (1 - rho)} to the accuracy 0.1 of
    the exponent asked for, a decade of alpha costs ln 10 / ln(1 + mu lambda_1) steps
    to within the one step that counting rounds off.
    """
    problem = planted_problem(
        (size, size),
        1,
        num_measurements=oversampling * size,
        is_symmetric=True,
        generator=generator,
    )
    values, _ = leading_eigenpairs(
        problem.linear_map, problem.measurements, 2, generator=generator
    )
    scales = torch.logspace(-3, -6, 4, dtype=torch.float64)
    start = small_start(problem, size // 2, scales, generator=generator)
    errors = curves(problem, FactoredDescent(step_size=0.25), start, 200)
    slope = float((errors[-1, 0] / errors[-1, 2]).log10()) / 2
    assert slope == pytest.approx(2 * (1 - float(values[1] / values[0])), abs=0.1)
    arrival = (errors > 0.5).sum(0).double()  # the error falls through 1/2 once
    delay = float(arrival[3] - arrival[0]) / 3
    assert delay == pytest.approx(
        math.log(10) / math.log1p(0.25 * float(values[0])), abs=1 / 3 + 0.1
    )


@pytest.mark.parametrize("is_symmetric", [False, True])
def test_with_as_many_columns_as_the_rank_convergence_is_linear_without_a_plateau(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    """Factor 1 - mu a step on a perfect isometry (equal singular values one).

    A map with restricted isometry constant delta changes that by at most mu delta or
    so; delta is about sqrt(dof / m) = 0.4 here, twice that is allowed.
    """
    problem = planted_problem(
        (30, 30), 2, oversampling=6.0, is_symmetric=is_symmetric, generator=generator
    )
    start = small_start(problem, 2, 1e-3, generator=generator)
    errors = curves(problem, FactoredDescent(step_size=0.25), start, 400)
    assert float(errors[-1]) <= 1e-12
    window = errors[(errors < 1e-4) & (errors > 1e-10)]
    rate = float((window[-1] / window[0]).log()) / (len(window) - 1)
    assert math.exp(rate) == pytest.approx(0.75, abs=0.25 * 0.8)
    # Linear: the rate of the first half of the window is that of the second.
    middle = len(window) // 2
    halves = [
        float((part[-1] / part[0]).log()) / (len(part) - 1)
        for part in (window[:middle], window[middle:])
    ]
    assert halves[0] == pytest.approx(halves[1], rel=0.25)


@pytest.mark.parametrize("condition_number", [1.0, 100.0])
@pytest.mark.parametrize(
    "solver",
    [
        FactoredDescent(step_size=0.5, metric="scaled"),
        FactoredDescent(step_size=0.5, metric="scaled", form="alternating"),
        FactoredDescent(step_size=0.5, metric="loss_damped", damping=0.01),
    ],
    ids=["ScaledGD", "APGD", "PrecGD"],
)
def test_the_speed_of_scaled_metrics_is_free_of_the_condition_number(
    solver: FactoredDescent, condition_number: float, generator: torch.Generator
) -> None:
    """A half each step on a perfect isometry, 60 steps give 2^-60; 1e-8 is far off."""
    problem = planted_problem(
        (24, 20),
        2,
        oversampling=8.0,
        condition_number=condition_number,
        generator=generator,
    )
    truth = problem.planted
    assert truth is not None
    start = (
        truth.left + 1e-3 * normal(generator, 24, 2),
        truth.right + 1e-3 * normal(generator, 20, 2),
    )
    assert float(curves(problem, solver, start, 60)[-1]) <= 1e-8


def test_plain_descent_is_not_free_of_it(generator: torch.Generator) -> None:
    """What the test above would not see if the metric were not there."""
    problem = planted_problem(
        (24, 20), 2, oversampling=8.0, condition_number=100.0, generator=generator
    )
    start = spectral_start(problem, 2, generator=generator)
    errors = curves(problem, FactoredDescent(step_size=0.5), start, 60)
    assert float(errors[-1]) >= 1e-4


def test_the_imbalance_that_remains_is_set_by_the_step(
    generator: torch.Generator,
) -> None:
    """Paper 2: from 1e-5 the sums of mu^2 over 1/mu steps leave O(mu), not O(alpha)."""
    problem = planted_problem((20, 16), 2, oversampling=4.0, generator=generator)
    start = small_start(problem, 10, 1e-5, generator=generator)
    floors: list[float] = []
    for step_size in (0.25, 0.05):
        solver = FactoredDescent(step_size=step_size)
        state = iterate(problem, solver, start, max_steps=round(60 / step_size)).state
        gram = state.left.mH @ state.left - state.right.mH @ state.right
        floors.append(float(torch.linalg.matrix_norm(gram)))
        assert 1e-5 <= floors[-1] <= step_size
    assert 2.5 <= floors[0] / floors[1] <= 10.0
