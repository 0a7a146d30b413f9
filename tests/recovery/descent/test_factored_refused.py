"""What descent on factors does not accept."""

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.recovery.descent.factored import FactoredDescent
from tacit.recovery.planted import planted_problem
from tacit.recovery.start import small_start


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size": 0.0}, r"step_size must be a positive number; got 0\.0"),
        ({"step_size": math.nan}, r"step_size must be a positive number; got nan"),
        ({"step_size": 1.0, "metric": "newton"}, r"metric must be one of"),
        ({"step_size": 1.0, "damping": 1.0}, r"damping must be left at 0"),
        (
            {"step_size": 1.0, "form": "both"},
            r"simultaneous or alternating; got 'both'",
        ),
        ({"step_size": 1.0, "rtol": -1.0}, r"rtol must be a number of at least 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    build = cast(Callable[..., FactoredDescent], FactoredDescent)
    with pytest.raises(InputError, match=message):
        build(**options)


def test_a_start_that_does_not_fit_is_refused(generator: torch.Generator) -> None:
    problem = planted_problem((6, 5), 1, oversampling=2.0, generator=generator)
    solver = FactoredDescent(step_size=0.1)
    left, right = small_start(problem, 2, 0.1, generator=generator)
    for start in ((right, left), (left, right[:, :1]), (left[:, :0], right[:, :0])):
        with pytest.raises(ShapeError, match=r"\(\.\.\., 6, k\) and \(\.\.\., 5, k\)"):
            solver.init(problem, start)
    with pytest.raises(InputError, match=r"left of the start must be torch\.float64"):
        solver.init(problem, (left.float(), right))
    with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\), .* must broadcast"):
        solver.init(problem, (left.expand(2, -1, -1), right.expand(3, -1, -1)))


def test_a_symmetric_problem_takes_one_factor(generator: torch.Generator) -> None:
    problem = planted_problem(
        (5, 5), 1, oversampling=2.0, is_symmetric=True, generator=generator
    )
    left, _ = small_start(problem, 2, 0.1, generator=generator)
    solver = FactoredDescent(step_size=0.1)
    with pytest.raises(InputError, match=r"has one factor but left and right"):
        solver.init(problem, (left, left + 1.0))
    state = solver.init(problem, (left, left.clone()))
    assert state.right is state.left
    alternating = FactoredDescent(step_size=0.1, form="alternating")
    with pytest.raises(InputError, match=r"needs two factors"):
        alternating.init(problem, (left, left))
