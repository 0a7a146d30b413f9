"""Measured numbers against their definitions on dense matrices."""

import math

import pytest
import torch
from torch import Tensor

from cases import normal
from recovery_cases import COMPLEX, draw
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.trajectory.snapshot import (
    known_signal,
    measure_errors,
    measure_factors,
    widest_gap,
)
from tacit.recovery.trajectory.split import principal_angles, split_factor


def planted(
    generator: torch.Generator, *, is_symmetric: bool, dtype: torch.dtype
) -> RecoveryProblem:
    shape = (9, 9) if is_symmetric else (9, 7)
    return planted_problem(
        shape,
        2,
        oversampling=2.0,
        condition_number=3.0,
        is_symmetric=is_symmetric,
        dtype=dtype,
        generator=generator,
    )


def factors(
    problem: RecoveryProblem, width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    rows, columns = problem.linear_map.in_shape
    dtype = problem.linear_map.spec.dtype
    left = draw(generator, rows, width, dtype=dtype)
    if problem.is_symmetric:
        return left, left
    return left, draw(generator, columns, width, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("width", [3, 9, 12])
def test_every_number_is_that_of_its_definition(
    width: int, is_symmetric: bool, dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted(generator, is_symmetric=is_symmetric, dtype=dtype)
    left, right = factors(problem, width, generator)
    signal = known_signal(problem)
    assert signal is not None
    found = measure_factors(left, right, signal, 2)

    stacked, basis = left, signal.left
    if not is_symmetric:
        stacked = torch.cat((left, right)) / math.sqrt(2.0)
        basis = torch.cat((signal.left, signal.right)) / math.sqrt(2.0)
    u, s, _ = torch.linalg.svd(stacked, full_matrices=False)
    signal_part, noise_part = split_factor(stacked, basis)
    truth = signal.left * signal.values.to(dtype) @ signal.right.mH
    gram = left.mH @ left - right.mH @ right
    head = signal.left.mH @ left, signal.right.mH @ right
    norm = torch.linalg.matrix_norm
    expected = {
        "spectrum": s,
        "effective_rank": s.square().sum() ** 2 / s.pow(4).sum(),
        "alignment": principal_angles(u[:, :2], basis)[-1].sin(),
        "signal": torch.linalg.svdvals(signal_part)[1],
        "noise": torch.linalg.svdvals(noise_part)[0],
        "test_error": norm(left @ right.mH - truth) / norm(truth),
        "imbalance": norm(gram, ord=2),
        "coupling": norm(head[0] - head[1]) / norm(head[0] + head[1]),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value.double(), rtol=1e-9, atol=1e-12, msg=name
        )


def test_a_batch_is_measured_member_by_member(generator: torch.Generator) -> None:
    problem = planted(generator, is_symmetric=False, dtype=torch.float64)
    signal = known_signal(problem)
    left, right = normal(generator, 2, 3, 9, 4), normal(generator, 2, 3, 7, 4)
    found = measure_factors(left, right, signal, 2)
    for i in range(2):
        for j in range(3):
            single = measure_factors(left[i, j], right[i, j], signal, 2)
            for name, value in single.items():
                torch.testing.assert_close(found[name][i, j], value)


def test_without_the_truth_its_curves_are_unknown(generator: torch.Generator) -> None:
    left = normal(generator, 8, 3)
    found = measure_factors(left, left, None, 2)
    unknown = {name for name, value in found.items() if bool(value.isnan().any())}
    assert unknown == {"test_error", "alignment", "signal", "noise", "coupling"}
    torch.testing.assert_close(found["spectrum"], torch.linalg.svdvals(left))


def test_fewer_leading_directions_than_planted_leave_the_rest_to_noise(
    generator: torch.Generator,
) -> None:
    problem = planted(generator, is_symmetric=True, dtype=torch.float64)
    signal = known_signal(problem)
    assert signal is not None
    exact = signal.left * signal.values.sqrt()
    found = measure_factors(exact, exact, signal, 1)
    assert float(found["signal"]) == pytest.approx(1.0)
    assert float(found["noise"]) == pytest.approx(math.sqrt(1.0 / 3.0))
    assert float(found["test_error"]) < 1e-14
    assert float(found["alignment"]) < 1e-14


def test_singular_values_far_below_the_root_of_the_rounding_unit_are_seen(
    generator: torch.Generator,
) -> None:
    q = torch.linalg.qr(normal(generator, 20, 2))[0]
    left = q * torch.tensor([1.0, 1e-12], dtype=torch.float64)
    spectrum = measure_factors(left, left, None, None)["spectrum"]
    assert float(spectrum[1]) == pytest.approx(1e-12, rel=1e-3)


def test_errors_are_over_the_fitted_and_the_held_out_part(
    generator: torch.Generator,
) -> None:
    gaussian = gaussian_map((4, 3), 10, generator=generator)
    y = normal(generator, 2, 10)
    problem = RecoveryProblem(linear_map=gaussian, measurements=y)
    residual = normal(generator, 2, 10)
    found = measure_errors(problem, residual)
    torch.testing.assert_close(
        found["train_error"], residual.norm(dim=1) / y.norm(dim=1)
    )
    assert bool(found["held_out_error"].isnan())
    problem = hold_out(problem, 0.3, generator=generator)
    assert problem.held_out is not None
    for name, mask in (
        ("train_error", ~problem.held_out),
        ("held_out_error", problem.held_out),
    ):
        expected = residual[:, mask].norm(dim=1) / y[:, mask].norm(dim=1)
        torch.testing.assert_close(measure_errors(problem, residual)[name], expected)


def test_the_known_signal_is_a_singular_value_decomposition(
    generator: torch.Generator,
) -> None:
    problem = planted(generator, is_symmetric=False, dtype=COMPLEX)
    signal = known_signal(problem)
    assert signal is not None
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    rebuilt = signal.left * signal.values.to(COMPLEX) @ signal.right.mH
    torch.testing.assert_close(rebuilt, truth)
    for basis in (signal.left, signal.right):
        torch.testing.assert_close(basis.mH @ basis, torch.eye(2, dtype=COMPLEX))
    bare = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements
    )
    assert known_signal(bare) is None


@pytest.mark.parametrize(
    ("spectrum", "rank"),
    [
        ([1.0, 0.8, 1e-5, 2e-6], 2),
        ([1.0, 1e-3, 1e-9], 2),
        ([1.0, 0.5, 0.2], 3),
        ([1.0, 0.0, 0.0], 1),
        ([1.0, 0.9, 1e-30, 1e-300], 2),
        ([3.0], 1),
        ([0.0, 0.0], 2),
    ],
)
def test_the_rank_is_read_at_the_widest_gap(spectrum: list[float], rank: int) -> None:
    assert widest_gap(torch.tensor(spectrum, dtype=torch.float64)) == rank
