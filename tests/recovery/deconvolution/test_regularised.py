import math
from dataclasses import replace

import pytest
import torch

from tacit.errors import InputError, ShapeError, Status
from tacit.iterate import iterate
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.regularised import (
    RegularisedDescent,
    RegularisedState,
    incoherent_start,
)
from tacit.recovery.deconvolution.scale import error_up_to_scale
from tacit.recovery.problem import Planted, RecoveryProblem

DTYPES = [torch.float64, torch.complex128]


def planted(problem: RecoveryProblem) -> Planted:
    assert problem.planted is not None
    return problem.planted


def error(
    problem: RecoveryProblem,
    state: RegularisedState,
    place: int = 0,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> float:
    truth = planted(problem)
    return error_up_to_scale(
        state.left[rows, 0],
        state.right[columns, 0].conj(),
        truth.left[rows, place],
        truth.right[columns, place].conj(),
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_truth_is_found_at_a_linear_rate(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(12, 10, 120, dtype=dtype, generator=generator)
    start = incoherent_start(problem, generator=generator)
    solution = iterate(problem, RegularisedDescent(), start, max_steps=300)
    assert solution.status is Status.CONVERGED
    assert error(problem, solution.state) < 1e-8
    # Between the first and the last fifth the logarithm of the value falls steadily.
    logs = [math.log(value) for value in solution.history]
    rate = (logs[-1] - logs[0]) / len(logs)
    middle = logs[len(logs) // 2] - logs[0]
    assert rate < -0.3
    assert middle < 0.25 * (logs[-1] - logs[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_step_descends_monotonically_to_the_truth(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(6, 5, 120, dtype=dtype, generator=generator)
    start = incoherent_start(problem, generator=generator)
    solver = RegularisedDescent(step_size=0.3)
    solution = iterate(problem, solver, start, max_steps=400)
    assert error(problem, solution.state) < 1e-8
    pairs = zip(solution.history, solution.history[1:], strict=False)
    assert all(after <= before for before, after in pairs)


def test_the_step_is_along_the_wirtinger_gradient(generator: torch.Generator) -> None:
    problem = planted_deconvolution(
        5, 4, 30, noise=0.5, dtype=torch.complex128, generator=generator
    )
    start = incoherent_start(problem, flatness_bound=0.4, generator=generator)
    start = replace(start, left=2.0 * start.left)  # out of where the penalty is zero
    solver = RegularisedDescent(step_size=0.1)
    state = solver.init(problem, start)
    left, right = (
        factor.clone().requires_grad_() for factor in (state.left, state.right)
    )
    image = problem.linear_map.apply_factors(left, right)
    loss = (image - problem.measurements).abs().square().sum()
    loss.backward()
    extra, *more = start.penalty.value_and_gradient(state.left, state.right)
    assert extra > 0.0
    assert state.value == pytest.approx(float(loss.detach()) + extra)
    after = solver.step(problem, state)
    size = 0.1 / start.penalty.scales[0]
    assert left.grad is not None
    assert right.grad is not None
    for moved, before, grad, added in zip(
        (after.left, after.right),
        (state.left, state.right),
        (left.grad, right.grad),
        more,
        strict=True,
    ):
        assert torch.allclose(moved, before - size * (grad / 2.0 + added))


def test_several_sources_and_channels_are_told_apart(
    generator: torch.Generator,
) -> None:
    problem = planted_deconvolution(
        6, 5, 90, num_channels=2, num_sources=2, generator=generator
    )
    start = incoherent_start(problem, generator=generator)
    solution = iterate(problem, RegularisedDescent(), start, max_steps=500)
    for place in range(2):
        rows = slice(12 * place, 12 * (place + 1))
        columns = slice(5 * place, 5 * (place + 1))
        assert error(problem, solution.state, place, rows, columns) < 1e-8


def test_the_start_is_the_papers(generator: torch.Generator) -> None:
    problem = planted_deconvolution(6, 5, 400, noise=0.1, generator=generator)
    start = incoherent_start(problem, generator=generator)
    matrix = problem.linear_map.adjoint_apply(problem.measurements)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    energy = float(problem.measurements.square().sum())
    d = energy / float(values[0])
    assert start.penalty.scales == pytest.approx((d,), rel=1e-6)
    assert start.penalty.flatness_bounds == pytest.approx(
        (6.0 * math.sqrt(400 / 11) / math.log(400),)
    )
    assert problem.noise_level is not None
    noise = problem.noise_level**2 * 400
    assert start.penalty.strength == pytest.approx(d**2 + 2.0 * noise)
    outer = start.left @ start.right.mH
    expected = d * left[:, :1] @ right[:1]
    assert torch.allclose(outer, expected, atol=1e-6)
    assert float(start.right.norm()) ** 2 == pytest.approx(d)


def test_the_start_is_projected_where_it_is_peaked(generator: torch.Generator) -> None:
    problem = planted_deconvolution(6, 5, 60, generator=generator)
    start = incoherent_start(problem, flatness_bound=0.5, generator=generator)
    (part,) = start.penalty.maps
    spectrum = torch.fft.fft(part.filters[0].synthesise(start.left[:, 0]))
    limit = 2.0 * math.sqrt(start.penalty.scales[0]) * 0.5
    assert float(spectrum.abs().max()) <= limit * (1.0 + 1e-12)


def test_noise_stops_the_descent_at_a_minimum(generator: torch.Generator) -> None:
    problem = planted_deconvolution(6, 5, 80, noise=0.1, generator=generator)
    start = incoherent_start(problem, generator=generator)
    solution = iterate(problem, RegularisedDescent(), start, max_steps=500)
    assert solution.status is Status.CONVERGED
    size = sum(float(g.norm()) for g in solution.state.gradients)
    assert size < 1e-5
    assert error(problem, solution.state) < 0.1


def test_wrong_arguments_are_refused(generator: torch.Generator) -> None:
    problem = planted_deconvolution(3, 3, 30, generator=generator)
    with pytest.raises(InputError, match="step_size must be"):
        RegularisedDescent(step_size=0.0)
    with pytest.raises(InputError, match="rtol must be"):
        RegularisedDescent(rtol=-1.0)
    with pytest.raises(InputError, match="starts from incoherent_start"):
        RegularisedDescent().init(problem, (1, 2))
    with pytest.raises(InputError, match="flatness_bound must be"):
        incoherent_start(problem, flatness_bound=0.0, generator=generator)
    zero = RecoveryProblem(
        linear_map=problem.linear_map, measurements=0.0 * problem.measurements
    )
    with pytest.raises(InputError, match="must not be zero"):
        incoherent_start(zero, generator=generator)
    batch = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements.expand(2, -1)
    )
    with pytest.raises(ShapeError, match="one problem"):
        incoherent_start(batch, generator=generator)
