"""A recovered matrix in words and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tacit.cli.recover_report import describe, table_rows, to_json
from tacit.errors import Status
from tacit.recovery.held_out import HeldOutError, held_out_error
from tacit.recovery.history import History
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.readers.read import LabelledProblem, read_problem
from tacit.recovery.result import RecoveryResult

KEYS = {
    *("rank", "shape", "observed", "train_error", "holdout_error"),
    *("holdout_interval", "steps", "seconds", "method", "status", "version"),
}


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledProblem:
    """Return ones at five of nine places, two of them held out."""
    path = tmp_path / "ones.npz"
    np.savez(path, row=[0, 1, 2, 0, 1], column=[0, 1, 2, 1, 2], value=np.ones(5))
    return held(read_problem(path), 2)


def held(labelled: LabelledProblem, count: int) -> LabelledProblem:
    """Return the problem with the first measurements held out."""
    size = labelled.problem.measurements.shape[-1]
    problem = replace(labelled.problem, held_out=torch.arange(size) < count)
    return replace(labelled, problem=problem)


def result_of(
    problem: RecoveryProblem, status: Status = Status.CONVERGED
) -> RecoveryResult:
    """Return the matrix of 2 everywhere, as if something had found it."""
    rows, columns = problem.linear_map.in_shape
    left = 2.0 * torch.ones(rows, 1, dtype=problem.measurements.dtype)
    right = torch.ones(columns, 1, dtype=problem.measurements.dtype)
    errors: HeldOutError | None = held_out_error(problem, left, right)
    return RecoveryResult(
        left=left,
        right=right,
        train_error=1.0,
        held_out=errors,
        status=status,
        method="some method",
        reason="some reason",
        warnings=("take care",),
        num_steps=7,
        num_passes=15,
        seconds=0.25,
        history=History(
            phases=((0, "all"),),
            ranks=(1,),
            train_errors=(1.0,),
            held_out_errors=(1.0,),
        ),
        choices={"scale": float("inf"), "width": 3.0},
    )


def test_the_line_about_the_data_has_its_numbers(
    labelled: LabelledProblem, tmp_path: Path
) -> None:
    assert describe("ones.npz", labelled) == (
        "ones.npz: 3 x 3, 5 entries known (0.556 of all), 2 of them held out"
    )
    symmetric = read_problem(tmp_path / "ones.npz", is_symmetric=True)
    assert describe("x", symmetric) == (
        "x: symmetric 3 x 3, 5 entries known (0.833 of all), 0 of them held out"
    )
    path = tmp_path / "m.npz"
    np.savez(path, measurement_matrix=1j * np.ones((4, 2, 3)), measurements=np.ones(4))
    assert describe("x", read_problem(path)) == (
        "x: complex 2 x 3, 4 measurements, 0 of them held out"
    )


def test_the_table_has_the_answer_and_its_error_bar(labelled: LabelledProblem) -> None:
    result = result_of(labelled.problem, Status.MAX_STEPS)
    rows = dict(table_rows(result))
    assert result.held_out is not None
    low, high = result.held_out.interval
    assert rows == {
        "rank": "1",
        "error on what was fitted": "1",
        "error on what was held out": f"1   (95%: {low:.4g} to {high:.4g})",
        "method": "some method",
        "why": "some reason",
        "steps": "7 (15 passes over the measurements, 0.2 s)",
        "status": Status.MAX_STEPS.advice,
    }


def test_the_json_has_its_stable_keys(labelled: LabelledProblem) -> None:
    result = result_of(labelled.problem)
    content = to_json("ones.npz", labelled, result, seed=3)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content.keys() >= KEYS
    assert (content["rank"], content["shape"], content["observed"]) == (1, [3, 3], 5)
    assert (content["train_error"], content["holdout_error"]) == (1.0, 1.0)
    assert (content["steps"], content["seconds"], content["holdout"]) == (7, 0.25, 2)
    assert (content["status"], content["method"]) == ("converged", "some method")
    assert (content["warnings"], content["seed"]) == (["take care"], 3)
    assert content["choices"] == {"scale": None, "width": 3.0}
    assert content["kind"] == "entries"


def test_without_held_out_measurements_their_error_is_none(
    labelled: LabelledProblem,
) -> None:
    whole = replace(labelled, problem=replace(labelled.problem, held_out=None))
    result = result_of(whole.problem)
    assert result.held_out is None
    content = to_json("x", whole, result, seed=0)
    assert content["holdout_error"] is content["holdout_interval"] is None
    assert content["holdout"] == 0
    assert "error on what was held out" not in dict(table_rows(result))
