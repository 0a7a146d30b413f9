"""Gradient descent from small random starts: plateau errors and their power law."""

import time

import torch
from machine import peak_gb
from recovery_job import Job, Record

from tacit.iterate import iterate
from tacit.recovery.descent.factored import FactoredDescent, FactoredState
from tacit.recovery.planted import planted_problem
from tacit.recovery.predict import plateau_exponent
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.stages import observed_stages, planted_stages
from tacit.recovery.start import small_start
from tacit.rng import make_generator

_STEP_SIZE = 0.25
_NUM_STEPS = 170
_NUM_STARTS = 2
_SCALES = torch.logspace(-2.0, -4.0, 9, dtype=torch.float64)
_SHOWN = (0, 4, 8)  # 1e-2, 1e-3, 1e-4


def paper_problem(
    generator: torch.Generator, *, is_small: bool, dtype: torch.dtype = torch.float64
) -> tuple[RecoveryProblem, int]:
    """Return the setting of paper 4, m = 10 n r measurements, and the search rank."""
    size, rank, width = (40, 1, 30) if is_small else (200, 5, 150)
    problem = planted_problem(
        (size, size),
        rank,
        num_measurements=10 * size * rank,
        is_symmetric=True,
        dtype=dtype,
        generator=generator,
    )
    return problem, width


def _relative_errors(problem: RecoveryProblem, state: FactoredState) -> torch.Tensor:
    planted = problem.planted
    if planted is None:
        raise ValueError("the problem has no planted truth")
    truth = planted.left @ planted.right.mH
    norm = torch.linalg.matrix_norm
    return norm(state.left @ state.right.mH - truth) / norm(truth)


def plateaus(job: Job) -> list[Record]:
    """One batch over scales and starts; slopes beside what the spectrum predicts.

    ``slope`` is the least squares fit of ln(error) against ln(scale), all starts;
    ``expected`` is ``2 (1 - rho)``; ``local`` adds the term of finite scales, at the
    geometric mean of those fitted.
    """
    generator = make_generator(job.seed, "paper4")
    problem, width = paper_problem(generator, is_small=job.is_small)
    start = small_start(
        problem, width, _SCALES, generator=generator, num_starts=_NUM_STARTS
    )
    begun, cpu_begun = time.perf_counter(), time.process_time()
    solver = FactoredDescent(step_size=_STEP_SIZE)
    solution = iterate(problem, solver, start, max_steps=_NUM_STEPS)
    times = {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu_begun,
        "peak_gb": peak_gb(),
    }
    errors = _relative_errors(problem, solution.state)
    records = [
        {
            "setting": f"init scale {float(_SCALES[place]):.0e}",
            "error": float(errors[place].mean()),
            "low": float(errors[place].min()),
            "high": float(errors[place].max()),
            "num_steps": solution.num_steps,
            "status": solution.status.name.lower(),
        }
        for place in _SHOWN
    ]
    logs = _SCALES.log()[:, None].expand_as(errors)
    slope = _slope(logs, errors.log())
    for name, stages in (
        ("from the data", observed_stages(problem, generator=generator)),
        ("from the truth", planted_stages(problem, generator=generator)),
    ):
        middle = float(logs.mean().exp())
        limit = plateau_exponent(stages, step_size=0.0).value
        finite = plateau_exponent(stages, step_size=_STEP_SIZE, init_scale=middle).value
        ratio = stages[0].ratio
        records.append(
            {
                "setting": f"slope, rho {name}",
                "rho": ratio,
                "slope": slope,
                "expected": 2.0 * (1.0 - ratio),
                "miss": slope - 2.0 * (1.0 - ratio),
                "law": limit,
                "local": finite,
                "status": "within 0.1"
                if abs(slope - 2.0 * (1.0 - ratio)) <= 0.1
                else "not within 0.1",
            }
        )
    records[-1].update(times)
    return records


def _slope(x: torch.Tensor, y: torch.Tensor) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


def error_curve(job: Job) -> list[Record]:
    """Single run at the smallest scale: the step at which each digit was reached."""
    generator = make_generator(job.seed, "paper4")
    problem, width = paper_problem(generator, is_small=job.is_small)
    start = small_start(problem, width, float(_SCALES[-1]), generator=generator)
    errors: list[float] = []

    def see(step: int, state: FactoredState) -> None:
        del step
        errors.append(float(_relative_errors(problem, state)))

    solution = iterate(
        problem,
        FactoredDescent(step_size=_STEP_SIZE),
        start,
        max_steps=_NUM_STEPS,
        observers=[see],
    )
    records: list[Record] = []
    for power in range(1, 6):
        step = next((i for i, e in enumerate(errors, 1) if e <= 10.0**-power), None)
        records.append(
            {
                "setting": f"error {10.0**-power:.0e}",
                "num_steps": step,
                "status": "not reached" if step is None else "reached",
            }
        )
    last = {"setting": "at the end", "error": errors[-1]}
    last |= {"num_steps": solution.num_steps, "status": solution.status.name.lower()}
    records.append(last)
    return records
