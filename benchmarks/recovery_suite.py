"""The cases of the recovery benchmark: which problem, solved by which methods."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from recovery_data import holes, ratings
from recovery_job import Instance, Job, Record, planted_error
from recovery_methods import Build, solve
from recovery_paper import error_curve, plateaus
from recovery_steps import entries_pass, rank_one_pass, stored_steps

from tacit.recovery.maps.rank_one import rank_one_map
from tacit.recovery.planted import planted_completion, planted_problem

Run = Callable[[Job], Record | list[Record]]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """``runs`` by the name of the method; ``family`` decides what is shown of them."""

    family: str
    runs: Mapping[str, Run]


def _sensing(
    condition_number: float, per_unknown: float | None = None
) -> Callable[[torch.Generator, bool], Instance]:
    """n = 200, rank 5, m = 10,000 or ``per_unknown * 2 n r``; symmetric Gaussian."""

    def build(generator: torch.Generator, is_small: bool) -> Instance:  # noqa: FBT001
        size, rank, count = (30, 2, 600) if is_small else (200, 5, 10_000)
        if per_unknown is not None:
            count = round(per_unknown * 2 * size * rank)
        problem = planted_problem(
            (size, size),
            rank,
            num_measurements=count,
            condition_number=condition_number,
            is_symmetric=True,
            generator=generator,
        )
        return Instance(problem=problem, error_of=planted_error(problem), rank=rank)

    return build


def _completion(
    rank: int, oversampling: float, condition_number: float
) -> Callable[[torch.Generator, bool], Instance]:
    def build(generator: torch.Generator, is_small: bool) -> Instance:  # noqa: FBT001
        size = 100 if is_small else 1000
        used = min(rank, 3) if is_small else rank
        problem = planted_completion(
            (size, size),
            used,
            oversampling=oversampling,
            condition_number=condition_number,
            generator=generator,
        )
        return Instance(problem=problem, error_of=planted_error(problem), rank=used)

    return build


def _big(generator: torch.Generator, is_small: bool) -> Instance:  # noqa: FBT001
    size, count = (1000, 100_000) if is_small else (100_000, 10_000_000)
    problem = planted_completion(
        (size, size), 10, num_measurements=count, generator=generator
    )
    return Instance(problem=problem, error_of=planted_error(problem), rank=10)


def _phase(generator: torch.Generator, is_small: bool) -> Instance:  # noqa: FBT001
    size = 32 if is_small else 256
    vectors = rank_one_map(
        (size, size),
        6 * size,
        is_symmetric=True,
        dtype=torch.complex128,
        generator=generator,
    )
    problem = planted_problem(
        (size, size), 1, is_symmetric=True, linear_map=vectors, generator=generator
    )
    return Instance(problem=problem, error_of=planted_error(problem), rank=1)


def _solves(family: str, name: str, build: Build, methods: Sequence[str]) -> Case:
    runs = {method: partial(solve, name, method, build) for method in methods}
    return Case(family=family, runs=runs)


_WAYS = ("tacit", "tacit-4r", "tacit-n", "tacit-rank-known")
_KNOWN = ("scaledgd", "pymanopt-cg")
_NARROW = ("gd-4r", "precgd-4r")
_WIDE = ("gd-n", "precgd-n")
_COMPLETION = (
    *("tacit", "conjugate-gradients", "rank-continuation", "irls"),
    *("scaledgd", "als", "pymanopt-cg", "soft-impute"),
)
_NOISY = (
    *("tacit", "tacit-all-entries"),
    *("soft-impute", "soft-impute-mean", "soft-impute-lines"),
)


def _solved() -> list[tuple[str, str, Build, Sequence[str]]]:
    """Family, name, instance and methods of every case that is solved."""
    solves: list[tuple[str, str, Build, Sequence[str]]] = [
        (
            "sensing",
            f"sensing-k{kappa}",
            _sensing(kappa),
            (*_WAYS, *_KNOWN, *_NARROW, *_WIDE),
        )
        for kappa in (1, 10, 100, 1000)
    ]
    solves += [
        (
            "sensing",
            f"sensing-few-k{kappa}",
            _sensing(kappa, 1.2),
            ("tacit", "tacit-n", "tacit-rank-known", *_KNOWN, *_WIDE),
        )
        for kappa in (1, 10)
    ]
    solves += [
        (
            "completion",
            f"completion-r{rank}-os{oversampling}-k{kappa:g}",
            _completion(rank, oversampling, kappa),
            _COMPLETION,
        )
        for rank, oversampling, kappa in (
            (5, 5, 1.0),
            (10, 5, 1.0),
            (10, 5, 10.0),
            (10, 4, 1e5),
            (5, 2, 10.0),
        )
    ]
    solves.append(("completion", "completion-big", _big, ("tacit",)))
    solves += [
        ("noisy", f"{name}-{percent}", holes(name, percent / 100.0), _NOISY)
        for name in ("digits", "camera", "astronaut")
        for percent in (50, 70)
    ]
    solves.append(("noisy", "ratings", ratings, _NOISY))
    solves.append(
        ("phase", "phase-256", _phase, ("tacit", "tacit-rank-known", "wirtinger-flow"))
    )
    return solves


def _cases() -> dict[str, Case]:
    cases = {
        "paper4": Case(
            family="paper", runs={"batch": plateaus, "single run": error_curve}
        ),
        "step": Case(
            family="steps",
            runs={
                "float64": stored_steps(torch.float64),
                "float32": stored_steps(torch.float32),
            },
        ),
        "pass": Case(
            family="steps",
            runs={
                "entries-1e5": entries_pass(1000, 100_000),
                "entries-1e7": entries_pass(100_000, 10_000_000),
                "rank-one": rank_one_pass,
            },
        ),
    }
    return cases | {
        name: _solves(family, name, *rest) for family, name, *rest in _solved()
    }


CASES: dict[str, Case] = _cases()
