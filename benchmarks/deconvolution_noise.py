"""How the error of nuclear norm blind deconvolution grows with the noise, at worst.

The worst noise that ``worst_noise`` finds, random noise, and the longest member of the
descent cone, over five decades of noise. Slopes of log(error) against log(tau) in the
three regimes that theory distinguishes, with t-intervals over instances. See README.md.
"""

import argparse
import json
import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, final

import torch
from machine import limit_memory, machine_facts, peak_gb, run_worker, write_records
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from tacit.recovery.adversary.worst_noise import worst_noise
from tacit.recovery.maps.rank_one import RankOneMap
from tacit.recovery.problem import Planted, RecoveryProblem
from tacit.rng import make_generator

Record = dict[str, Any]
PACKAGES = ("torch", "numpy", "scipy")
QUANTITIES = ("adversarial", "random", "cone")
CONFIDENCE = 0.95
_REPORTED_GAP = 1e-6


# Relative to ||X0||_F: below, nothing is expected but a straight line.
_DECADES = (1e-5, 1e-4, 1e-3, 1e-2)
_QUARTERS = tuple(10.0 ** (place / 4.0) for place in range(-6, 1))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One family of instances: complex, K = N, B the first K columns of the DFT."""

    size: int
    length: int
    is_flat: bool
    num_instances: int
    noise_bounds: tuple[float, ...] = (*_DECADES, *_QUARTERS)
    num_starts: int = 4

    @property
    def name(self) -> str:
        kind = "flat" if self.is_flat else "random"
        return f"{kind}-{self.size}-{self.length}"

    @property
    def crossover(self) -> float:
        """L / (K N): below, the bound with the dimension factor is the smaller one."""
        return self.length / (self.size * self.size)


QUICK = [
    Case(size=8, length=48, is_flat=False, num_instances=4, num_starts=2),
    Case(size=16, length=96, is_flat=True, num_instances=3, num_starts=2),
]
FULL = [
    Case(size=size, length=6 * size, is_flat=is_flat, num_instances=count)
    for size, count in ((10, 10), (20, 10), (32, 6))
    for is_flat in (False, True)
] + [
    Case(size=20, length=200, is_flat=False, num_instances=10),
    Case(size=48, length=288, is_flat=True, num_instances=4, num_starts=2),
]
CASES = {case.name: case for case in [*QUICK, *FULL]}


def instance(case: Case, seed: int) -> RecoveryProblem:
    """Draw an instance; ``||X0||_F = 1`` and E A^*A = Id.

    Flat: h0 is the first unit vector, whose spectrum is flat (mu_h = 1), as in the
    counterexample of Krahmer and Stoeger; else h0 is normal. Exact measurements.
    """
    generator = make_generator(seed, case.name)
    size, length, dtype = case.size, case.length, torch.complex128
    columns = torch.fft.fft(torch.eye(length, size, dtype=dtype), dim=0, norm="ortho")
    signals = torch.randn(length, size, dtype=dtype, generator=generator)
    left = torch.randn(size, 1, dtype=dtype, generator=generator)
    if case.is_flat:
        left = torch.eye(size, 1, dtype=dtype)
    right = torch.randn(size, 1, dtype=dtype, generator=generator)
    norm = torch.linalg.vector_norm
    planted = Planted(left=left / norm(left), right=right / norm(right))
    linear_map = RankOneMap(left_vectors=columns.conj(), right_vectors=signals)
    return RecoveryProblem(
        linear_map=linear_map,
        measurements=linear_map.apply_factors(planted.left, planted.right),
        planted=planted,
    )


def worker(name: str, seed: int) -> list[Record]:
    """Search one instance at every noise bound, in this process."""
    case = CASES[name]
    problem = instance(case, seed)
    records: list[Record] = []
    for place, bound in enumerate(case.noise_bounds):
        begun = time.process_time()
        found = worst_noise(
            problem,
            bound,
            num_starts=case.num_starts,
            generator=make_generator(seed, f"{name} noise {place}"),
        )
        records.append(
            {
                "case": name,
                "seed": seed,
                "noise_bound": bound,
                "adversarial": found.error,
                "random": mean(found.random_errors),
                "random_max": max(found.random_errors),
                "cone": found.cone_size,
                "relative_gap": found.relative_gap,
                "rank": found.certificate.rank,
                "method": found.method,
                "starts": list(found.starts),
                "num_solves": found.num_solves,
                "cpu_seconds": time.process_time() - begun,
                "peak_gb": peak_gb(),
            }
        )
    return records


def slope(bounds: list[float], values: list[float]) -> float:
    """Least squares slope of log(value) against log(bound)."""
    x, y = [math.log(b) for b in bounds], [math.log(v) for v in values]
    middle = mean(x)
    above = [one - middle for one in x]
    return sum(a * b for a, b in zip(above, y, strict=True)) / sum(a * a for a in above)


def interval(values: list[float]) -> tuple[float, float]:
    """Return the mean and half the width of its t-interval over instances."""
    if len(values) < 2:
        return mean(values), math.inf
    quantile = float(student.ppf((1.0 + CONFIDENCE) / 2.0, len(values) - 1))
    return mean(values), quantile * stdev(values) / math.sqrt(len(values))


def regimes(case: Case) -> dict[str, list[float]]:
    """Group the noise bounds; a bound may be in none, and a group may be empty.

    The crossovers of theory have unknown constants, so wide margins are left; from
    half on the zero matrix is a possible answer, and the error saturates.
    """
    bounds, first = case.noise_bounds, case.crossover
    return {
        "tau << L/KN": [b for b in bounds if b <= first / 30.0],
        "L/KN/3 .. 0.4": [b for b in bounds if first / 3.0 <= b <= 0.4],
        "tau ~ 1": [b for b in bounds if b >= 0.3],
    }


def summary(case: Case, records: list[Record]) -> list[Record]:
    """Slopes with intervals in each regime."""
    by_seed: dict[int, dict[float, Record]] = defaultdict(dict)
    for record in records:
        if record["case"] == case.name and record["relative_gap"] <= _REPORTED_GAP:
            by_seed[record["seed"]][record["noise_bound"]] = record
    rows: list[Record] = []
    for regime, bounds in regimes(case).items():
        row: Record = {"case": case.name, "regime": regime, "points": len(bounds)}
        kept = [one for one in by_seed.values() if all(b in one for b in bounds)]
        row["instances"] = len(kept)
        if len(bounds) >= 2 and kept:
            for name in QUANTITIES:
                slopes = [slope(bounds, [one[b][name] for b in bounds]) for one in kept]
                row[name], row[f"{name}_half_width"] = interval(slopes)
        if bounds and kept:
            ratios = [
                one[b]["adversarial"] / one[b]["random"] for one in kept for b in bounds
            ]
            row["ratio"] = mean(ratios)
            row["ratio_min"] = min(ratios)
            row["range"] = [min(bounds), max(bounds)]
        rows.append(row)
    return rows


def constants(cases: list[Case], records: list[Record]) -> list[Record]:
    """Error over tau at the smallest noise, beside the dimension factor."""
    rows: list[Record] = []
    for case in cases:
        lowest = min(case.noise_bounds)
        at = [
            r for r in records if r["case"] == case.name and r["noise_bound"] == lowest
        ]
        if not at:
            continue
        row: Record = {"case": case.name, "factor": math.sqrt(1.0 / case.crossover)}
        for name in QUANTITIES:
            row[name], row[f"{name}_half_width"] = interval(
                [record[name] / lowest for record in at]
            )
        rows.append(row)
    return rows


def _cell(row: Record, name: str, digits: str = ".3f") -> str:
    if name not in row:
        return "-"
    return f"{row[name]:{digits}} +- {row[f'{name}_half_width']:{digits}}"


def show(console: Console, cases: list[Case], records: list[Record]) -> list[Record]:
    """Print the three tables; return their rows."""
    slopes = [row for case in cases for row in summary(case, records)]
    table = Table(title="slope of log(error) against log(tau), 95 % t-intervals")
    for head in ("case", "regime", "tau", "n", *QUANTITIES, "adv / random", "least"):
        table.add_column(head)
    for row in slopes:
        low, high = row.get("range", (math.nan, math.nan))
        table.add_row(
            row["case"],
            row["regime"],
            f"{low:.0e}..{high:.0e}",
            str(row["instances"]),
            *(_cell(row, name) for name in QUANTITIES),
            f"{row['ratio']:.2f}" if "ratio" in row else "-",
            f"{row['ratio_min']:.2f}" if "ratio" in row else "-",
        )
    console.print(table)
    factors = constants(cases, records)
    table = Table(title="error / tau at the smallest tau")
    for head in ("case", "sqrt(KN/L)", *QUANTITIES):
        table.add_column(head)
    for row in factors:
        cells = (_cell(row, name, ".2f") for name in QUANTITIES)
        table.add_row(row["case"], f"{row['factor']:.2f}", *cells)
    console.print(table)
    for case in cases:
        console.print(_curve(case, records))
    return [*slopes, *factors]


def _curve(case: Case, records: list[Record]) -> Table:
    """Geometric means over instances, and the slope between neighbours."""
    table = Table(title=f"{case.name}: L/KN = {case.crossover:.2f}")
    for head in ("tau", *QUANTITIES, "slopes to the next"):
        table.add_column(head)
    means: list[tuple[float, list[float]]] = []
    for bound in case.noise_bounds:
        at = [
            r for r in records if r["case"] == case.name and r["noise_bound"] == bound
        ]
        if at:
            logs = [mean([math.log(r[name]) for r in at]) for name in QUANTITIES]
            means.append((bound, logs))
    for place, (bound, logs) in enumerate(means):
        steps = "-"
        if place + 1 < len(means):
            later, next_logs = means[place + 1]
            width = math.log(later / bound)
            pairs = zip(logs, next_logs, strict=True)
            steps = " ".join(f"{(b - a) / width:.2f}" for a, b in pairs)
        table.add_row(f"{bound:.1e}", *(f"{math.exp(v):.3g}" for v in logs), steps)
    return table


def run(options: argparse.Namespace) -> None:
    """Run the cases, one process for each instance, and show what came out."""
    console = Console(width=140)
    cases = QUICK if options.quick else FULL
    if options.cases:
        cases = [CASES[name] for name in options.cases]
    facts = machine_facts(options.threads, PACKAGES)
    records: list[Record] = []
    for case in cases:
        count = options.instances or case.num_instances
        for seed in range(options.seed, options.seed + count):
            found, failure = run_worker(
                __file__,
                ["--worker", case.name, "--seed", str(seed)],
                threads=options.threads,
                limit=options.limit,
                memory_gb=options.memory_gb,
            )
            if found is None:
                console.print(f"{case.name}, seed {seed}: {failure}")
                continue
            records += found
            cpu = sum(record["cpu_seconds"] for record in found)
            gap = max(record["relative_gap"] for record in found)
            console.print(f"{case.name}, seed {seed}: {cpu:.1f} cpu s, gap {gap:.0e}")
    rows = show(console, cases, records)
    if options.json is not None:
        write_records(options.json, facts, [*records, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, minutes")
    parser.add_argument("--cases", nargs="*", choices=sorted(CASES), default=[])
    parser.add_argument("--json", type=Path, help="where to write all records")
    parser.add_argument("--seed", type=int, default=0, help="of the first instance")
    parser.add_argument("--instances", type=int, help="of each case")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=3000.0, help="seconds")
    parser.add_argument("--memory-gb", type=float, default=8.0)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is None:
        run(options)
        return
    torch.set_num_threads(options.threads)
    limit_memory(options.memory_gb)
    print(json.dumps(worker(options.worker, options.seed)))


if __name__ == "__main__":
    main()
