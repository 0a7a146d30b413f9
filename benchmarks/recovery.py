"""Low-rank recovery against published methods, in one run.

Every method runs in a process of its own with a time limit and a memory limit, one at
a time, on the same instance. See ``README.md``.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from machine import limit_memory, machine_facts, run_worker, write_records
from recovery_job import Job, Record
from recovery_suite import CASES
from rich.console import Console
from tables import family_tables

PACKAGES = (
    *("torch", "numpy", "scipy", "numba"),
    *("scikit-learn", "scikit-image", "pymanopt"),
)
# Of each family: heading, key of the record, format.
_SOLVES = (
    ("error", "error", ".1e"),
    ("rank", "rank", "d"),
    ("passes to 1e-6", "passes_to", "d"),
    ("in all", "num_passes", "d"),
    ("cpu s to 1e-6", "cpu_to", ".2f"),
    ("in all", "cpu_seconds", ".2f"),
    ("s to 1e-6", "seconds_to", ".2f"),
    ("in all", "seconds", ".2f"),
    ("GB", "peak_gb", ".2f"),
    ("before", "built_gb", ".2f"),
)
COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "paper": (
        ("", "setting", "s"),
        ("error", "error", ".2e"),
        ("low", "low", ".1e"),
        ("high", "high", ".1e"),
        ("steps", "num_steps", "g"),
        ("slope", "slope", ".3f"),
        ("rho", "rho", ".3f"),
        ("2(1-rho)", "expected", ".3f"),
        ("miss", "miss", "+.3f"),
        ("law", "law", ".3f"),
        ("at this scale", "local", ".3f"),
        ("cpu s", "cpu_seconds", ".1f"),
    ),
    "steps": (
        ("", "setting", "s"),
        ("threads", "threads", "d"),
        ("min ms", "min_ms", ".2f"),
        ("median ms", "median_ms", ".2f"),
        ("min / floor", "of_floor_min", ".2f"),
        ("median / floor", "of_floor_median", ".2f"),
        ("GB/s", "gb_per_s", ".1f"),
        ("with rows", "fetch_gb_per_s", ".1f"),
        ("Gflop/s", "gflops", ".1f"),
    ),
    "sensing": _SOLVES[:8],
    "phase": _SOLVES[:8],
    "completion": _SOLVES,
    "noisy": (
        ("error", "error", ".4f"),
        ("rank", "rank", "d"),
        ("best soft-impute", "best_peer", ".4f"),
        ("of it", "of_peer", ".3f"),
        ("penalty", "penalty", ".1e"),
        ("cpu s", "cpu_seconds", ".2f"),
        ("s", "seconds", ".2f"),
        ("method", "method", "s"),
    ),
}


def worker(case_name: str, method: str, options: argparse.Namespace) -> list[Record]:
    """Run one method of one case in this process."""
    limit_memory(options.memory_gb)
    torch.set_num_threads(options.threads)
    job = Job(
        seed=options.seed,
        is_small=options.small,
        threads=options.threads,
        budget=0.6 * options.limit,
    )
    result = CASES[case_name].runs[method](job)
    return result if isinstance(result, list) else [result]


def measure(case_name: str, method: str, options: argparse.Namespace) -> list[Record]:
    """Run one method in a fresh process; always a record, whatever happened to it."""
    arguments = ["--worker", case_name, method]
    for name in ("seed", "threads", "limit", "memory_gb"):
        arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    if options.small:
        arguments.append("--small")
    result, failure = run_worker(
        __file__,
        arguments,
        threads=options.threads,
        limit=options.limit,
        memory_gb=options.memory_gb,
    )
    records = [failure] if result is None else result
    return [{"case": case_name, "solver": method, **record} for record in records]


def add_comparison(records: list[Record]) -> None:
    """Note the lowest error of soft-impute in the noisy records of the same case."""
    best: dict[str, float] = {}
    for record in records:
        if record["solver"].startswith("soft-impute") and "error" in record:
            before = best.get(record["case"], record["error"])
            best[record["case"]] = min(before, record["error"])
    for record in records:
        peer = best.get(record["case"])
        if peer is not None and "error" in record:
            record["best_peer"] = peer
            record["of_peer"] = record["error"] / peer


def main() -> None:
    """Parse the command line, measure, print the tables, write the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    known = list(dict.fromkeys(name for case in CASES.values() for name in case.runs))
    parser.add_argument("--methods", nargs="+", choices=known, default=known)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="for every method")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds per method")
    parser.add_argument("--memory-gb", type=float, default=16.0, help="per method")
    parser.add_argument("--small", action="store_true", help="small sizes: a trial run")
    parser.add_argument("--json", type=Path, help="file for records and machine facts")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        result = worker(*options.worker, options)
        sys.stdout.write(json.dumps(result) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 180)
    records: list[Record] = []
    for name in options.cases:
        for method in CASES[name].runs:
            if method not in options.methods:
                continue
            records += measure(name, method, options)
            last = records[-1]
            console.log(name, method, last["status"], last.get("cpu_seconds"))
            add_comparison(records)
            if options.json:
                facts = machine_facts(options.threads, PACKAGES)
                write_records(options.json, facts, records)
    for table in family_tables(records, COLUMNS, lambda name: CASES[name].family):
        console.print(table)


if __name__ == "__main__":
    main()
