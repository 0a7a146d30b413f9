"""What one step costs, against reading its data once: both interleaved, one process.

A floor is the time of adding up as many bytes as the step has to move, in the same
tensor where it is one, so that caches, threads and whoever else computes on the
machine treat both alike. Ratios of medians are what to look at on a busy machine.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from recovery_job import Job, Record
from recovery_paper import paper_problem
from torch import Tensor

from tacit.recovery.descent.conjugate import ConjugateGradients
from tacit.recovery.descent.factored import FactoredDescent
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.rank_one import rank_one_map
from tacit.recovery.maps.residual import residual_and_products
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.start import small_start
from tacit.rng import make_generator

_FLOOR = "floor"
_REPEATS = 15
_BATCH = 16


def _interleaved(
    actions: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Time each action in turn, again and again, after one round that is not timed."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            begun = time.perf_counter()
            action()
            if turn > 0:
                taken[name].append(time.perf_counter() - begun)
    return taken


def _records(
    taken: Mapping[str, list[float]],
    floor_bytes: int,
    instances: Mapping[str, int],
    threads: int,
) -> list[Record]:
    floor = taken[_FLOOR]
    best, middle = min(floor), median(floor)
    records: list[Record] = []
    for name, times in taken.items():
        share = instances.get(name, 1)
        records.append(
            {
                "setting": name,
                "threads": threads,
                "min_ms": 1e3 * min(times) / share,
                "median_ms": 1e3 * median(times) / share,
                "of_floor_min": min(times) / share / best,
                "of_floor_median": median(times) / share / middle,
                "gb_per_s": floor_bytes / median(times) / 1e9,
                "status": f"{len(times)} rounds",
            }
        )
    return records


def stored_steps(dtype: torch.dtype) -> Callable[[Job], list[Record]]:
    """Steps on the stored matrix of paper 4's setting, with one and two threads."""

    def run(job: Job) -> list[Record]:
        generator = make_generator(job.seed, "steps")
        problem, width = paper_problem(generator, is_small=job.is_small, dtype=dtype)
        stored = problem.linear_map
        if not isinstance(stored, StoredMap):
            raise TypeError("the setting has a stored map")
        descent, conjugate = FactoredDescent(step_size=0.25), ConjugateGradients()
        single = descent.init(
            problem, small_start(problem, width, 1e-2, generator=generator)
        )
        many = descent.init(
            problem,
            small_start(problem, width, 1e-2, generator=generator, num_starts=_BATCH),
        )
        narrow = conjugate.init(
            problem, small_start(problem, 5, 1e-1, generator=generator)
        )
        naive = _NaiveLoop(problem, single.left)
        per_instance = f"one of a batch of {_BATCH}"
        actions: dict[str, Callable[[], object]] = {
            _FLOOR: stored.matrix.sum,
            "gradient step": lambda: descent.step(problem, single),
            per_instance: lambda: descent.step(problem, many),
            "conjugate gradient step": lambda: conjugate.step(problem, narrow),
            "loop in torch, full matrices": naive.step,
        }
        records: list[Record] = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            taken = _interleaved(actions, 3 if job.is_small else _REPEATS)
            records += _records(
                taken, stored.matrix.nbytes, {per_instance: _BATCH}, threads
            )
        return records

    return run


class _NaiveLoop:
    """What one writes first: n x n measurement matrices, a sum over both indices."""

    def __init__(self, problem: RecoveryProblem, factor: Tensor) -> None:
        stored = problem.linear_map
        if not isinstance(stored, StoredMap):
            raise TypeError("the loop needs a stored map")
        size = stored.shape[0]
        self.matrices = stored.matrix.new_empty(stored.num_measurements, size, size)
        for start in range(0, stored.num_measurements, 1000):
            part = slice(start, start + 1000)
            self.matrices[part] = stored.unpack(stored.matrix[part])
        self.measurements = problem.measurements
        self.factor = factor

    def step(self) -> Tensor:
        u = self.factor
        residual = torch.einsum("mij,ij->m", self.matrices, u @ u.T) - self.measurements
        gradient = torch.einsum("m,mij->ij", residual, self.matrices)
        return u - 0.25 * gradient @ u


def entries_pass(size: int, count: int) -> Callable[[Job], list[Record]]:
    """Residual and both gradients of a completion problem, rank 10.

    Bytes that have to be moved for an entry: its column and value, and the residual
    written; for the first product the column and the residual again; for the second
    the row, its place and the residual. The floor leaves out the rows of factors, three
    for an entry, fetched out of order from the cache: they decide, as the column for
    all bytes shows.
    """

    def run(job: Job) -> list[Record]:
        generator = make_generator(job.seed, f"entries {size}")
        side, entries = (200, 10_000) if job.is_small else (size, count)
        problem = planted_completion(
            (side, side), 10, num_measurements=entries, generator=generator
        )
        if not isinstance(problem.linear_map, EntriesMap):
            raise TypeError("completion has an entries map")
        left, right = small_start(problem, 10, 1.0, generator=generator)
        floor_bytes = entries * ((4 + 8 + 8) + (4 + 8) + (4 + 4 + 8))
        records = _pass(problem, left, right, floor_bytes, job)
        for record in records:
            if record["setting"] != _FLOOR:
                flops = 6.0 * entries * left.shape[1]
                record["gflops"] = flops / record["median_ms"] / 1e6
                fetched = floor_bytes + 3 * 8 * entries * left.shape[1]
                record["fetch_gb_per_s"] = fetched / record["median_ms"] / 1e6
        return records

    return run


def rank_one_pass(job: Job) -> list[Record]:
    """The same for phase retrieval; the vectors are needed twice."""
    generator = make_generator(job.seed, "rank one")
    size = 32 if job.is_small else 256
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
    left, right = small_start(problem, 1, 1.0, generator=generator)
    return _pass(problem, left, right, 2 * vectors.left_vectors.nbytes, job)


def _pass(
    problem: RecoveryProblem, left: Tensor, right: Tensor, floor_bytes: int, job: Job
) -> list[Record]:
    buffer = torch.ones(floor_bytes // 8, dtype=torch.float64)
    weights = problem.weights
    actions: dict[str, Callable[[], object]] = {
        _FLOOR: buffer.sum,
        "residual and gradients": lambda: residual_and_products(
            problem.linear_map, left, right, problem.measurements, weights
        ),
    }
    records: list[Record] = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        repeats = 3 if job.is_small else 3 * _REPEATS
        records += _records(_interleaved(actions, repeats), floor_bytes, {}, threads)
    return records
