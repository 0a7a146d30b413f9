"""The optimum by both routes, as an interior point method finds it, and its proof."""

import math
from typing import Any

import pytest
import torch

from nuclear_cases import FORMS, KINDS, optimum, small_program
from tacit.errors import InputError, ShapeError, Status
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.nuclear.minimise import (
    Route,
    minimise_nuclear_norm,
    noise_bound_of,
)
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.result import NuclearResult
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.rng import make_generator

ORACLE = 2e-6  # relative, of the interior point method


def solve(
    program: NuclearProgram, route: Route | None = None, **options: Any
) -> NuclearResult:
    return minimise_nuclear_norm(
        program.problem,
        noise_bound=program.noise_bound,
        penalty=program.penalty,
        route=route,
        generator=make_generator(0),
        **options,
    )


@pytest.mark.parametrize("part_held_out", [0.0, 0.2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_optimum_is_that_of_an_interior_point_method(
    kind: str, form: str, part_held_out: float
) -> None:
    program = small_program(kind, form, 3, part_held_out=part_held_out)
    expected = optimum(program)
    assert expected is not None
    result = solve(program)
    value = result.certificate.value
    slack = ORACLE * max(abs(expected.value), 0.1)
    assert value.lower.value <= expected.value + slack
    assert value.upper.value >= expected.value - slack
    assert value.upper.value - value.lower.value <= 3e-6 * value.upper.value + 1e-12
    assert result.status is Status.CONVERGED


@pytest.mark.parametrize("form", ["exact", "much noise", "penalty"])
@pytest.mark.parametrize("kind", ["rectangular", "complex", "symmetric", "hermitian"])
def test_both_routes_lead_to_one_value(kind: str, form: str) -> None:
    program = small_program(kind, form, 5)
    first, second = (
        solve(program, route).certificate.value for route in ("factors", "splitting")
    )
    assert first.upper.value == pytest.approx(second.upper.value, rel=3e-6)
    assert first.lower.value == pytest.approx(second.lower.value, rel=3e-6)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_deconvolution_in_a_size_of_its_own(
    noise: float, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        12, 12, 100, noise=noise, dtype=torch.complex128, generator=generator
    )
    truth = problem.planted
    assert truth is not None
    clean = problem.linear_map.apply_factors(truth.left, truth.right)
    bound = noise * float(torch.linalg.vector_norm(clean)) * (1.0 + 1e-12)
    result = minimise_nuclear_norm(problem, noise_bound=bound, generator=generator)
    certificate = result.certificate
    assert certificate.relative_gap <= 1e-6
    assert certificate.infeasibility <= 1e-12
    norm = float(torch.linalg.svdvals(truth.left @ truth.right.mH).sum())
    assert certificate.value.lower.value <= norm * (1.0 + 1e-12)
    error = torch.linalg.matrix_norm(result.matrix() - truth.left @ truth.right.mH)
    assert float(error) <= (1e-9 if noise == 0.0 else 2.0 * noise * norm)
    assert result.method.startswith("overparameterised factors")


def test_exact_measurements_too_few_for_the_planted_matrix(
    generator: torch.Generator,
) -> None:
    """The optimum then is another matrix, of higher rank, and proved all the same."""
    problem = planted_deconvolution(14, 14, 40, generator=generator)
    result = minimise_nuclear_norm(problem, noise_bound=0.0, generator=generator)
    truth = problem.planted
    assert truth is not None
    norm = float(torch.linalg.svdvals(truth.left @ truth.right.mH).sum())
    assert result.rank > 1
    assert result.certificate.value.upper.value < 0.99 * norm
    assert result.certificate.relative_gap <= 1e-6


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_any_unit_will_do(scale: float, generator: torch.Generator) -> None:
    problem = planted_problem(
        (9, 7), 2, oversampling=2.0, noise=0.1, generator=generator
    )
    scaled = RecoveryProblem(
        linear_map=problem.linear_map, measurements=scale * problem.measurements
    )
    values = [
        minimise_nuclear_norm(
            p, noise_bound=bound, generator=make_generator(0)
        ).certificate.value
        for p, bound in ((problem, 0.2), (scaled, 0.2 * scale))
    ]
    assert values[1].upper.value == pytest.approx(
        scale * values[0].upper.value, rel=1e-5
    )
    assert values[1].lower.value == pytest.approx(
        scale * values[0].lower.value, rel=1e-5
    )


def test_measurements_within_the_noise_bound_need_no_matrix(
    generator: torch.Generator,
) -> None:
    problem = planted_problem((6, 5), 1, oversampling=2.0, generator=generator)
    size = float(torch.linalg.vector_norm(problem.measurements))
    result = minimise_nuclear_norm(problem, noise_bound=size, generator=generator)
    assert (result.rank, result.num_steps) == (0, 0)
    assert result.certificate.value.upper.value == 0.0


def test_the_noise_level_sets_the_bound(generator: torch.Generator) -> None:
    problem = planted_problem((6, 5), 1, num_measurements=50, generator=generator)
    noisy = RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=problem.measurements,
        noise_level=0.1,
    )
    assert noise_bound_of(problem) == 0.0
    assert noise_bound_of(noisy) == pytest.approx(0.1 * math.sqrt(50.0 + 30.0))
    part = hold_out(noisy, 0.5, generator=generator)
    assert noise_bound_of(part) == pytest.approx(0.1 * math.sqrt(25.0 + 3 * 50**0.5))
    result = minimise_nuclear_norm(noisy, generator=generator)
    assert result.program.noise_bound == noise_bound_of(noisy)


@pytest.mark.parametrize("route", ["factors", "splitting"])
def test_an_interrupted_run_still_has_a_bracket(
    route: Route, generator: torch.Generator
) -> None:
    program = small_program("rectangular", "little noise", 1)

    def interrupt(step: int, state: object) -> None:
        if step == 5:
            raise KeyboardInterrupt

    result = solve(program, route, observers=(interrupt,))
    expected = optimum(program)
    assert expected is not None
    value = result.certificate.value
    assert result.status is Status.INTERRUPTED
    assert value.lower.value <= expected.value <= value.upper.value


def test_too_few_steps_are_said(generator: torch.Generator) -> None:
    program = small_program("rectangular", "little noise", 1)
    result = solve(program, "factors", max_steps=6)
    assert result.status is Status.MAX_STEPS
    assert result.num_steps <= 6 + 1


def test_phases_and_steps_are_told(generator: torch.Generator) -> None:
    program = small_program("rectangular", "exact", 1)
    seen: list[int] = [0]
    phases: list[str] = []

    def watch(step: int, state: object) -> None:
        seen.append(step)

    result = solve(
        program,
        observers=(watch,),
        on_phase=phases.append,
    )
    assert phases == [result.method]
    assert len(result.history.ranks) == len(seen) - 1
    assert set(result.plot()) == {"convergence"}


def test_what_cannot_be_solved_is_refused(generator: torch.Generator) -> None:
    problem = planted_problem((6, 5), 1, oversampling=2.0, generator=generator)
    single = planted_problem(
        (6, 5), 1, oversampling=2.0, dtype=torch.float32, generator=generator
    )
    batch = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements.expand(2, -1)
    )
    refused: list[tuple[RecoveryProblem, dict[str, Any], str]] = [
        (single, {}, "double precision"),
        (problem, {"noise_bound": -1.0}, "noise_bound"),
        (problem, {"noise_bound": 1.0, "penalty": 1.0}, "either"),
        (problem, {"penalty": 0.0}, "penalty"),
        (problem, {"route": "other"}, "route"),
        (problem, {"rtol": 0.0}, "rtol"),
        (problem, {"max_steps": 0}, "max_steps"),
    ]
    for task, options, text in refused:
        with pytest.raises(InputError, match=text):
            minimise_nuclear_norm(task, generator=generator, **options)
    with pytest.raises(ShapeError, match="batch"):
        minimise_nuclear_norm(batch, generator=generator)


def test_the_splitting_refuses_what_is_too_large(generator: torch.Generator) -> None:
    problem = planted_deconvolution(3, 3, 4096, generator=generator)
    with pytest.raises(InputError, match="at most 4000"):
        minimise_nuclear_norm(problem, route="splitting", generator=generator)
