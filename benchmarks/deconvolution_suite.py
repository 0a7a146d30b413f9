"""The cases of the deconvolution benchmark: instances, and the methods for each."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np
import torch
from deconvolution_conic import Answer, solve_cvxpy, solve_scs_complex
from deconvolution_data import Instance, draw
from deconvolution_gap import Judge
from deconvolution_ours import solve_tacit
from deconvolution_phase import METHODS, Record, diagram
from deconvolution_proximal import TARGET, solve_pdhg
from machine import peak_gb

from tacit.recovery.deconvolution.problem import convolution_problem
from tacit.recovery.nuclear.minimise import minimise_nuclear_norm
from tacit.recovery.subspaces.scrambled import scrambled_subspace
from tacit.recovery.subspaces.support import SupportSubspace
from tacit.rng import make_generator


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """Settings of one worker: ``budget`` is the CPU time after which peers give up."""

    seed: int
    is_small: bool
    budget: float


Run = Callable[[Job], Record]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """``runs`` by the name of the method; ``family`` decides what is shown of them."""

    family: str
    runs: Mapping[str, Run]


_ROUTES = {"tacit": None, "tacit-factors": "factors", "tacit-splitting": "splitting"}
_ACCURACIES = (1e-6, 1e-7, 1e-8)
_RATIOS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_CONIC = {
    "cvxpy-normnuc-scs": ("normnuc", "SCS", {}),
    "cvxpy-primal-scs": ("primal", "SCS", {}),
    "cvxpy-dual-scs": ("dual", "SCS", {"linear_solver": "cpu_dense"}),
    "cvxpy-normnuc-clarabel": ("normnuc", "CLARABEL", {}),
    "cvxpy-dual-cvxopt": ("dual", "CVXOPT", {}),
    "cvxpy-dual-sdpa": ("dual", "SDPA", {"numThreads": 1}),
}


def _record(instance: Instance, answer: Answer, **more: Any) -> Record:
    peak = peak_gb()  # the judge needs more
    gap = Judge(instance).gap(answer.matrix, answer.duals)
    return {
        "status": "done",
        "cpu_seconds": answer.seconds,
        "compile_seconds": answer.compile_seconds,
        "peak_gb": peak,
        "gap": gap.relative,
        "value": gap.primal,
        "lower": gap.dual,
        "infeasibility": gap.infeasibility,
        "reached": gap.relative <= TARGET,
        "notes": answer.notes,
        **more,
    }


def _tacit(build: Callable[[Job], Instance], route: Any, job: Job) -> Record:
    instance = build(job)
    before = peak_gb()
    answer, result = solve_tacit(instance, route)
    return _record(
        instance,
        answer,
        own_gap=result.certificate.relative_gap,
        rank=result.rank,
        error=instance.error(result.left.numpy(), result.right.numpy()),
        built_gb=before,
        method=result.method,
    )


def _scs(
    build: Callable[[Job], Instance],
    solve: Callable[[Instance, dict[str, Any]], Answer],
    job: Job,
) -> Record:
    """Take SCS's accuracy from 1e-6 on until its answer has the gap asked for."""
    instance, record = build(job), {}
    for accuracy in _ACCURACIES:
        settings = {"eps_abs": accuracy, "eps_rel": accuracy, "max_iters": 1_000_000}
        settings["time_limit_secs"] = job.budget
        answer = solve(instance, settings)
        record = _record(instance, answer, setting=f"eps {accuracy:g}")
        if record["reached"] or 3.0 * answer.seconds > job.budget:
            break
    return record


def _conic(name: str, build: Callable[[Job], Instance], job: Job) -> Record:
    formulation, solver, settings = _CONIC[name]
    if solver == "SCS":
        return _scs(
            build,
            lambda instance, more: solve_cvxpy(
                instance, formulation, solver, {**settings, **more}
            ),
            job,
        )
    instance = build(job)
    return _record(instance, solve_cvxpy(instance, formulation, solver, {**settings}))


def _direct(build: Callable[[Job], Instance], job: Job) -> Record:
    dense = {"linear_solver": "cpu_dense"}
    return _scs(
        build,
        lambda instance, more: solve_scs_complex(instance, "dual", {**dense, **more}),
        job,
    )


def _pdhg(build: Callable[[Job], Instance], ratio: float, job: Job) -> Record:
    instance = build(job)
    answer = solve_pdhg(instance, ratio, job.budget)
    return _record(instance, answer, setting=f"ratio {ratio:g}")


def _small(
    sizes: tuple[int, int, int], noise: float, *, is_real: bool, peers: bool = True
) -> Case:
    def build(job: Job) -> Instance:
        used = (12, 12, 80) if job.is_small else sizes
        return draw(used, seed=job.seed, noise=noise, is_real=is_real)

    runs: dict[str, Run] = {
        name: partial(_tacit, build, route) for name, route in _ROUTES.items()
    }
    runs |= {f"pyproximal-{ratio:g}": partial(_pdhg, build, ratio) for ratio in _RATIOS}
    if peers and not is_real:
        runs["scs-direct-dual"] = partial(_direct, build)
    if peers:
        runs |= {name: partial(_conic, name, build) for name in _CONIC}
    return Case(family="programme", runs=runs)


def _large(noise: float) -> Case:
    def build(job: Job) -> Instance:
        used = (50, 50, 500) if job.is_small else (500, 500, 5000)
        return draw(used, seed=job.seed, noise=noise)

    return Case(family="programme", runs={"tacit": partial(_tacit, build, None)})


def _huge(job: Job) -> Record:
    """L = 2^16, K = N = 2000, nothing stored: ours alone, with its own certificate."""
    size, length = (100, 2**11) if job.is_small else (2000, 2**16)
    generator = make_generator(job.seed)
    dtype = torch.complex128
    short = SupportSubspace(indices=torch.arange(size), shape=(length,), dtype=dtype)
    signal = scrambled_subspace((length,), size, generator=generator, dtype=dtype)
    rng = np.random.default_rng(job.seed)
    parts = rng.standard_normal((2, size, 2)) @ np.array([1.0, 1j])
    h, x = (torch.from_numpy(part / np.linalg.norm(part)) for part in parts)
    spectrum = torch.fft.fft(short.synthesise(h)) * torch.fft.fft(signal.synthesise(x))
    problem = convolution_problem(torch.fft.ifft(spectrum), short, signal)
    before, began = peak_gb(), time.process_time()
    result = minimise_nuclear_norm(problem, noise_bound=0.0, generator=generator)
    seconds = time.process_time() - began
    norm = result.certificate.dual_norm
    overlap = (
        torch.vdot(h, result.left[:, 0])
        * torch.vdot(x.conj(), result.right[:, 0]).conj()
    )
    return {
        "status": "done",
        "cpu_seconds": seconds,
        "peak_gb": peak_gb(),
        "built_gb": before,
        "own_gap": result.certificate.relative_gap,
        "value": result.certificate.value.upper.value,
        "lower": result.certificate.value.lower.value,
        "infeasibility": result.certificate.infeasibility,
        "failure_probability": norm.failure_probability,
        "rank": result.rank,
        "error": float(abs(overlap - 1.0)),
        "reached": result.certificate.relative_gap <= TARGET,
        "method": result.method,
        "notes": f"{result.num_steps} steps, {result.status.name}",
    }


def _phase(support: Any, method: str, job: Job) -> Record:
    return diagram(method, support, seed=job.seed, is_small=job.is_small)


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for kind in ("complex", "real"):
        for size, length in ((20, 200), (50, 500)):
            for noise in (0.0, 0.05):
                name = f"{kind}-{size}{'-noisy' if noise else ''}"
                sizes = (size, size, length)
                cases[name] = _small(sizes, noise, is_real=kind == "real")
    cases["complex-100-noisy"] = _small(
        (100, 100, 1000), 0.05, is_real=False, peers=False
    )
    cases["fft-500"] = _large(0.0)
    cases["fft-500-noisy"] = _large(0.05)
    cases["huge"] = Case(family="programme", runs={"tacit": _huge})
    for support in ("short", "sparse"):
        runs = {method: partial(_phase, support, method) for method in METHODS}
        cases[f"phase-{support}"] = Case(family="phase", runs=runs)
    return cases


CASES: dict[str, Case] = _cases()
