"""The result record."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.errors import InputError, Status
from tacit.iterate import iterate
from tacit.recovery.descent.factored import FactoredDescent
from tacit.recovery.history import History
from tacit.recovery.planted import planted_problem
from tacit.recovery.result import RecoveryResult
from tacit.recovery.trajectory.recorder import TrajectoryRecorder


def make_result(left: Tensor, right: Tensor, **changes: Any) -> RecoveryResult:
    given: dict[str, Any] = {
        "left": left,
        "right": right,
        "train_error": 0.5,
        "held_out": None,
        "status": Status.CONVERGED,
        "method": "none",
        "reason": "a test",
        "warnings": (),
        "num_steps": 2,
        "num_passes": 4,
        "seconds": 0.0,
        "history": History(
            phases=((0, "descent"),),
            ranks=(3, 3),
            train_errors=(1.0, 0.5),
            held_out_errors=(1.0, 0.6),
        ),
        **changes,
    }
    return RecoveryResult(**given)


def complex_factors(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    left = torch.randn(5, 3, generator=generator, dtype=torch.complex128)
    return left, torch.randn(4, 3, generator=generator, dtype=torch.complex128)


def test_rank_and_matrix_are_those_of_the_factors(generator: torch.Generator) -> None:
    left, right = complex_factors(generator)
    result = make_result(left, right)
    expected = torch.zeros(5, 4, dtype=torch.complex128)
    for k in range(3):
        expected += torch.outer(left[:, k], right[:, k].conj())
    assert result.rank == 3
    torch.testing.assert_close(result.matrix(), expected)
    assert dict(result.choices) == {}
    assert result.trajectory is None


def test_entries_are_those_of_the_matrix(generator: torch.Generator) -> None:
    result = make_result(*complex_factors(generator))
    rows, columns = torch.tensor([4, 0, 2, 4]), torch.tensor([0, 3, 1, 0])
    expected = result.matrix()[rows, columns]
    torch.testing.assert_close(result.entries(rows, columns), expected)
    none = torch.empty(0, dtype=torch.int64)
    assert result.entries(none, none).shape == (0,)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([0, 5], [0, 0], r"rows must be in 0\.\.4; got 0\.\.5"),
        ([-1, 2], [0, 0], r"rows must be in 0\.\.4; got -1\.\.2"),
        ([0, 1], [1, 4], r"columns must be in 0\.\.3; got 1\.\.4"),
    ],
)
def test_entries_outside_are_refused(
    rows: list[int], columns: list[int], message: str, generator: torch.Generator
) -> None:
    result = make_result(*complex_factors(generator))
    with pytest.raises(InputError, match=message):
        result.entries(torch.tensor(rows), torch.tensor(columns))


def test_a_run_without_small_start_has_one_figure(generator: torch.Generator) -> None:
    factor = normal(generator, 5, 3)
    assert set(make_result(factor, factor).plot()) == {"convergence"}


def test_a_small_start_has_figures_of_its_own(generator: torch.Generator) -> None:
    problem = planted_problem((6, 5), 1, oversampling=4.0, generator=generator)
    start = (1e-3 * normal(generator, 6, 2), 1e-3 * normal(generator, 5, 2))
    recorder = TrajectoryRecorder(problem, start, step_size=0.2, init_scale=1e-3)
    solver = FactoredDescent(step_size=0.2)
    iterate(problem, solver, start, max_steps=5, observers=(recorder,))
    result = make_result(*start, trajectory=recorder.trajectory())
    assert set(result.plot()) == {"convergence", "phases", "spectrum"}


def test_two_results_do_not_share_their_choices(generator: torch.Generator) -> None:
    factor = normal(generator, 2, 1)
    first, second = make_result(factor, factor), make_result(factor, factor)
    assert first.choices is not second.choices
