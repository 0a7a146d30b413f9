"""Every method of the recovery benchmark by its name, and how one of them is timed."""

import math
from collections.abc import Callable
from typing import Any

import torch
from machine import peak_gb
from recovery_job import TARGET, Found, Instance, Job, Record, Watch
from recovery_peers import als, pymanopt_cg, soft_impute, wirtinger_flow

from tacit.iterate import iterate
from tacit.recovery.completion.irls import ReweightedLeastSquares
from tacit.recovery.completion.rank_continuation import rank_continuation
from tacit.recovery.descent.conjugate import ConjugateGradients
from tacit.recovery.descent.factored import FactoredDescent
from tacit.recovery.descent.metric import Metric
from tacit.recovery.rank_search import Search
from tacit.recovery.recover import recover
from tacit.recovery.start import (
    data_scale,
    default_step_size,
    small_start,
    spectral_start,
)
from tacit.rng import make_generator

Method = Callable[[Instance, Watch, torch.Generator], Found | None]
Build = Callable[[torch.Generator, bool], Instance]

_MAX_STEPS = 2000


def recovering(
    width: Callable[[Instance], int | None] | None = None,
    *,
    knows_rank: bool = False,
    holdout: float = 0.05,
) -> Method:
    """The whole of ``recover``, its own choices and checks included."""

    def run(instance: Instance, watch: Watch, generator: torch.Generator) -> Found:
        result = recover(
            instance.problem,
            generator=generator,
            rank=instance.rank if knows_rank else None,
            search_rank=width(instance) if width else None,
            holdout=holdout,
            # Without a truth nothing is to be seen on the way.
            observers=[watch] if instance.has_truth else [],
        )
        return Found(
            left=result.left,
            right=result.right,
            num_passes=result.num_passes,
            status=result.status.name.lower(),
            notes={"rank": result.rank, "method": result.method},
        )

    return run


def _conjugate(instance: Instance, watch: Watch, generator: torch.Generator) -> Found:
    """Conjugate gradients, rank known."""
    start = spectral_start(instance.problem, instance.rank, generator=generator)
    solver = ConjugateGradients()
    solution = iterate(
        instance.problem, solver, start, max_steps=_MAX_STEPS, observers=[watch]
    )
    return _found(solution)


def _continuation(
    instance: Instance, watch: Watch, generator: torch.Generator
) -> Found:
    search = Search(
        problem=instance.problem, generator=generator, observers=[watch], rtol=1e-9
    )
    found = rank_continuation(search)
    return Found(
        left=found.left,
        right=found.right,
        num_passes=found.num_passes,
        status=found.status.name.lower(),
        notes={"rank": found.rank},
    )


def _irls(instance: Instance, watch: Watch, generator: torch.Generator) -> Found:
    """Reweighted least squares, rank known."""
    solver = ReweightedLeastSquares(search_rank=instance.rank)
    solution = iterate(
        instance.problem, solver, generator, max_steps=200, observers=[watch]
    )
    return _found(solution)


def descending(
    metric: Metric, width: Callable[[Instance], int], *, init_scale: float | None
) -> Method:
    """Descent as published: small start of that scale, or spectral start for None.

    Gradient descent takes twice the default step: the largest that did not diverge on
    Gaussian maps, and so the fairest.
    """

    def run(instance: Instance, watch: Watch, generator: torch.Generator) -> Found:
        problem = instance.problem
        watch.ends = True
        scale = data_scale(problem, generator=generator)
        longer = 2.0 if metric == "euclidean" else 1.0
        root = math.sqrt((1.0 if problem.is_symmetric else 0.5) / scale.gain)
        solver = FactoredDescent(
            step_size=longer * default_step_size(scale, metric),
            metric=metric,
            damping=root if metric == "loss_damped" else 0.0,
        )
        if init_scale is None:
            start = spectral_start(problem, width(instance), generator=generator)
        else:
            relative = init_scale * math.sqrt(scale.spectral_norm)
            start = small_start(problem, width(instance), relative, generator=generator)
        solution = iterate(
            problem, solver, start, max_steps=_MAX_STEPS, observers=[watch]
        )
        return _found(solution)

    return run


def _found(solution: Any) -> Found:
    state = solution.state
    return Found(
        left=state.left,
        right=state.right,
        num_passes=state.num_passes,
        status=solution.status.name.lower(),
    )


def _true_rank(instance: Instance) -> int:
    return instance.rank


def _four_times(instance: Instance) -> int:
    return 4 * instance.rank


def _full(instance: Instance) -> int:
    return min(instance.problem.linear_map.in_shape)


METHODS: dict[str, Method] = {
    "tacit": recovering(),
    "tacit-4r": recovering(_four_times),
    "tacit-n": recovering(_full),
    "tacit-rank-known": recovering(knows_rank=True),
    "tacit-all-entries": recovering(holdout=0.0),
    "conjugate-gradients": _conjugate,
    "rank-continuation": _continuation,
    "irls": _irls,
    "gd-4r": descending("euclidean", _four_times, init_scale=1e-8),
    "gd-n": descending("euclidean", _full, init_scale=1e-8),
    "scaledgd": descending("scaled", _true_rank, init_scale=None),
    "precgd-4r": descending("loss_damped", _four_times, init_scale=1e-6),
    "precgd-n": descending("loss_damped", _full, init_scale=1e-6),
    "als": als,
    "soft-impute": soft_impute("none"),
    "soft-impute-mean": soft_impute("mean"),
    "soft-impute-lines": soft_impute("lines"),
    "wirtinger-flow": wirtinger_flow,
    "pymanopt-cg": pymanopt_cg,
}


def solve(case: str, method: str, build: Build, job: Job) -> Record:
    """Solve a case by a method; seconds are those of the whole call.

    Looking at the error costs time that is not counted. ``*_to``: until the error
    against the planted truth was 1e-6 for the first time.
    """
    run = METHODS[method]
    # Libraries load, and compile, parts of themselves on first use.
    small = build(make_generator(job.seed, f"warm/{case}"), True)  # noqa: FBT003
    warm = Watch(small.error_of, budget=1.0)
    warm.begin()
    if run(small, warm, make_generator(job.seed, f"warm/{case}/{method}")) is None:
        return {"status": "not installed"}
    instance = build(make_generator(job.seed, case), job.is_small)
    built_gb = peak_gb()
    watch = Watch(instance.error_of, budget=job.budget)
    generator = make_generator(job.seed, f"{case}/{method}")
    watch.begin()
    found = run(instance, watch, generator)
    watch.pause()
    if found is None:
        raise AssertionError("a method that ran before is gone")
    error = instance.error_of(found.left, found.right)
    reached = watch.reached
    if not instance.has_truth:
        reached = {}
    elif not reached and error <= TARGET:  # by what came after the last step
        times = watch.times()
        reached = {
            "passes_to": found.num_passes,
            "cpu_to": times["cpu_seconds"],
            "seconds_to": times["seconds"],
        }
    return {
        **found.notes,
        **watch.times(),
        **reached,
        "error": error,
        "status": found.status,
        "num_passes": found.num_passes,
        "built_gb": built_gb,
        "peak_gb": peak_gb(),
    }
