import math
from dataclasses import replace

import pytest
import torch

from tacit.bracket import Bound, Bracket
from tacit.errors import Status
from tacit.recovery.deconvolution.coordinates import in_orthonormal_coordinates
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.routes import (
    Task,
    by_descent,
    by_either,
    by_programme,
    with_better_point,
)
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import RecoveryProblem


def task_of(problem: RecoveryProblem, bound: float, generator: torch.Generator) -> Task:
    phases: list[str] = []
    lifted = in_orthonormal_coordinates(problem)
    return Task(
        program=NuclearProgram(problem=lifted.problem, noise_bound=bound),
        lifted=lifted,
        refine=True,
        rtol=1e-6,
        max_steps=5000,
        observers=(),
        announce=phases.append,
        generator=generator,
    )


def test_either_is_content_with_a_proved_descent(generator: torch.Generator) -> None:
    problem = planted_deconvolution(6, 5, 60, generator=generator)
    found = by_either(task_of(problem, 0.0, generator))
    assert found.method == "regularised descent, then least squares"
    assert "proves" in found.reason
    assert found.certificate.relative_gap < 1e-6


def test_either_solves_the_programme_with_noise(generator: torch.Generator) -> None:
    problem = planted_deconvolution(6, 5, 60, noise=0.1, generator=generator)
    bound = 0.1 * float(problem.measurements.norm())
    task = task_of(problem, bound, generator)
    found, convex = by_either(task), by_programme(task, "asked for")
    assert found.certificate.relative_gap < 1e-6
    assert found.method.startswith("nuclear norm by")
    assert task.misfit(found.fit.column) <= task.misfit(convex.fit.column) * (1 + 1e-6)
    assert found.num_steps > convex.num_steps


def test_a_point_worse_than_the_fit_is_replaced_by_it(
    generator: torch.Generator,
) -> None:
    problem = planted_deconvolution(6, 5, 60, generator=generator)
    task = task_of(problem, 0.0, generator)
    good = by_programme(task, "asked for")
    assert with_better_point(task, good) is good
    nothing = Bound(value=math.inf, side="upper", method="no matrix that fits")
    bracket = Bracket(lower=good.certificate.value.lower, upper=nothing)
    certificate = replace(good.certificate, value=bracket)
    bad = replace(good, left=2.0 * good.left, certificate=certificate)
    found = with_better_point(task, bad)
    assert found.certificate.relative_gap < 1e-6
    assert torch.allclose(found.left @ found.right.mH, good.left @ good.right.mH)


@pytest.mark.parametrize("num_sources", [1, 2])
def test_the_descents_point_is_on_the_edge_of_the_ball(
    num_sources: int, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        6, 5, 120, noise=0.1, num_sources=num_sources, generator=generator
    )
    bound = 0.15 * float(problem.measurements.norm())
    task = task_of(problem, bound, generator)
    found = by_descent(task)
    residual = task.program.residual(found.left, found.right)
    assert float(torch.linalg.vector_norm(residual)) == pytest.approx(bound)
    assert found.left.shape[1] == num_sources
    assert found.status is Status.CONVERGED
    assert found.certificate.value.lower.value < found.certificate.value.upper.value
