"""The picture of a recovered matrix shows its numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from commands import files_in
from tacit.cli import recover_figure as module
from tacit.cli.recover_figure import (
    draw_recovery,
    figure_paths,
    recovery_figure,
    singular_values,
)
from tacit.errors import Status
from tacit.recovery.completion.problem import completion_problem
from tacit.recovery.history import History
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.result import RecoveryResult


def factors(
    generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return factors of a 6 x 5 matrix of rank 2."""
    left = torch.randn(6, 2, generator=generator, dtype=dtype)
    return left, torch.randn(5, 2, generator=generator, dtype=dtype)


def result_of(left: torch.Tensor, right: torch.Tensor) -> RecoveryResult:
    """Return a result with these factors."""
    return RecoveryResult(
        left=left,
        right=right,
        train_error=0.125,
        held_out=None,
        status=Status.CONVERGED,
        method="m",
        reason="r",
        warnings=(),
        num_steps=1,
        num_passes=1,
        seconds=0.0,
        history=History(
            phases=((0, "all"),),
            ranks=(2,),
            train_errors=(0.5,),
            held_out_errors=(1.0,),
        ),
    )


def completion(matrix: torch.Tensor, *, is_symmetric: bool = False) -> RecoveryProblem:
    """Return the problem of a matrix of which every second entry is known."""
    rows, columns = torch.nonzero(torch.ones_like(matrix.real), as_tuple=True)
    kept = (rows + columns) % 2 == 0
    rows, columns = rows[kept], columns[kept]
    problem = completion_problem(
        rows,
        columns,
        matrix[rows, columns],
        (matrix.shape[0], matrix.shape[1]),
        is_symmetric=is_symmetric,
    )
    held_out = torch.zeros(problem.measurements.shape[-1], dtype=torch.bool)
    held_out[:3] = True
    return replace(problem, held_out=held_out)


def drawn(figure: Figure) -> dict[str, Any]:
    """Return the panels by their titles' first word; the figure is really drawn."""
    FigureCanvasAgg(figure).draw()
    return {axes.get_title().split(":")[0].split()[0]: axes
            for axes in figure.axes if axes.get_title()}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_completion_is_shown_with_and_without_holes(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    left, right = factors(generator, dtype)
    truth = left @ right.mH
    figure = recovery_figure("a $ title", completion(truth), result_of(left, right))
    panels = drawn(figure)
    assert panels.keys() == {"given", "recovered", "relative", "singular"}
    size = truth.abs() if dtype.is_complex else truth
    (image,) = panels["recovered"].images
    np.testing.assert_allclose(image.get_array().filled(np.nan), size)
    (image,) = panels["given"].images
    holes = np.ma.getmaskarray(image.get_array())
    assert holes.tolist() == [[(i + j) % 2 == 1 for j in range(5)] for i in range(6)]
    shown = np.ma.getdata(image.get_array())
    np.testing.assert_allclose(shown[~holes], size.numpy()[~holes])
    assert image.get_clim() == (size.numpy()[~holes].min(), size.numpy()[~holes].max())
    assert figure.get_suptitle() == "a $ title"


def test_a_symmetric_matrix_is_shown_with_both_halves(
    generator: torch.Generator,
) -> None:
    left, _ = factors(generator)
    truth = left @ left.T
    problem = completion(truth, is_symmetric=True)
    panels = drawn(recovery_figure("t", problem, result_of(left, left)))
    (image,) = panels["given"].images
    shown = image.get_array().filled(np.nan)
    np.testing.assert_array_equal(shown, shown.T)
    assert np.isnan(shown).sum() == 18


def test_measured_and_fitted_values_are_set_against_each_other(
    generator: torch.Generator,
) -> None:
    left, right = factors(generator)
    problem = completion(left @ right.T)
    panels = drawn(recovery_figure("t", problem, result_of(2.0 * left, right)))
    fitted, held_out = panels["relative"].collections
    assert [c.get_label() for c in (fitted, held_out)] == ["fitted", "held out"]
    points = np.concatenate([held_out.get_offsets(), fitted.get_offsets()])
    assert len(held_out.get_offsets()) == 3
    np.testing.assert_allclose(points[:, 0], problem.measurements)
    np.testing.assert_allclose(points[:, 1], 2.0 * points[:, 0])
    assert panels["relative"].get_title() == "relative error 0.125 fitted"


def test_singular_values_are_those_of_the_matrix(generator: torch.Generator) -> None:
    left, right = factors(generator, torch.complex128)
    wanted = np.linalg.svd((left @ right.mH).numpy(), compute_uv=False)[:2]
    np.testing.assert_allclose(singular_values(left, right), wanted, rtol=1e-12)
    panels = drawn(
        recovery_figure("t", completion(left @ right.mH), result_of(left, right))
    )
    (line,) = panels["singular"].lines
    np.testing.assert_allclose(line.get_ydata(), wanted, rtol=1e-12)
    assert panels["singular"].get_yscale() == "log"


def test_measurements_have_one_image_and_large_matrices_none(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = factors(generator)
    linear_map: StoredMap = gaussian_map((6, 5), 20, generator=generator)
    problem = RecoveryProblem(
        linear_map=linear_map, measurements=linear_map.apply(left @ right.T)
    )
    result = result_of(left, right)
    panels = drawn(recovery_figure("t", problem, result))
    assert panels.keys() == {"recovered", "relative", "singular"}
    monkeypatch.setattr(module, "MAX_SIDE", 5)
    for some in (problem, completion(left @ right.T)):
        panels = drawn(recovery_figure("t", some, result))
        assert panels.keys() == {"relative", "singular"}


def test_a_narrow_matrix_and_a_zero_matrix_are_drawn(
    generator: torch.Generator,
) -> None:
    left = torch.zeros(30, 1, dtype=torch.float64)
    right = torch.zeros(3, 1, dtype=torch.float64)
    ones = torch.ones(30, 3, dtype=torch.float64)
    panels = drawn(recovery_figure("t", completion(ones), result_of(left, right)))
    assert panels["given"].get_aspect() == "auto"
    assert panels["singular"].get_yscale() == "linear"


def test_many_points_are_thinned(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_POINTS", 4)
    left, right = factors(generator)
    panels = drawn(
        recovery_figure("t", completion(left @ right.T), result_of(left, right))
    )
    fitted, held_out = panels["relative"].collections
    assert (len(fitted.get_offsets()), len(held_out.get_offsets())) == (4, 3)


def test_every_figure_is_written_as_png_and_pdf(
    generator: torch.Generator, tmp_path: Path
) -> None:
    left, right = factors(generator)
    problem = completion(left @ right.T)
    paths = draw_recovery("t" * 200, problem, result_of(left, right), tmp_path)
    assert paths == [
        path
        for name in ("recovery", "convergence")
        for path in figure_paths(tmp_path, name)
    ]
    assert files_in(tmp_path) == {path.name for path in paths}
    assert imread(tmp_path / "recovery.png").shape[2] == 4
