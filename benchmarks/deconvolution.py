"""Blind deconvolution and nuclear norm programmes against other solvers, in one run.

Every method runs in a process of its own with a time limit and a memory limit, one at
a time, on the same instance. See ``README.md``.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from deconvolution_phase import Record, draw_diagrams
from deconvolution_suite import CASES, Job
from machine import limit_memory, machine_facts, run_worker, write_records
from rich.console import Console
from tables import family_tables

PACKAGES = (
    *("torch", "numpy", "scipy", "numba", "cvxpy", "scs", "clarabel", "cvxopt"),
    *("sdpa-python", "pylops", "pyproximal"),
)
# Of each family: heading, key of the record, format.
COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "programme": (
        ("cpu s", "cpu_seconds", ".3f"),
        ("compile", "compile_seconds", ".2f"),
        ("over tacit", "ratio", ".2f"),
        ("gap", "gap", ".1e"),
        ("own gap", "own_gap", ".1e"),
        ("value", "value", ".8f"),
        ("infeasible", "infeasibility", ".0e"),
        ("rank", "rank", "d"),
        ("error", "error", ".1e"),
        ("GB", "peak_gb", ".2f"),
        ("before", "built_gb", ".2f"),
        ("fails", "failure_probability", ".0e"),
        ("setting", "setting", "s"),
        ("notes", "notes", "s"),
    ),
    "phase": (
        ("support", "setting", "s"),
        ("successes", "successes", "d"),
        ("instances", "tried", "d"),
        ("(K + N) / L at one half", "edge", ".3f"),
        ("cpu s", "cpu_seconds", ".1f"),
    ),
}


def worker(case_name: str, method: str, options: argparse.Namespace) -> Record:
    """Run one method of one case in this process."""
    limit_memory(options.memory_gb)
    torch.set_num_threads(1)
    budget = 0.6 * options.limit
    job = Job(seed=options.seed, is_small=options.quick, budget=budget)
    return CASES[case_name].runs[method](job)


def measure(case_name: str, method: str, options: argparse.Namespace) -> Record:
    """Run one method in a fresh process; always a record, whatever happened to it."""
    arguments = ["--worker", case_name, method]
    for name in ("seed", "limit", "memory_gb"):
        arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    if options.quick:
        arguments.append("--quick")
    is_phase = CASES[case_name].family == "phase"
    result, failure = run_worker(
        __file__,
        arguments,
        threads=1,
        limit=max(options.limit, 1800.0) if is_phase else options.limit,
        memory_gb=options.memory_gb,
    )
    record = failure if result is None else result
    return {"case": case_name, "solver": method, **record}


def add_ratios(records: list[Record]) -> None:
    """Note every time over that of tacit with nothing given, where both got there."""
    own = {r["case"]: r for r in records if r["solver"] == "tacit" and r.get("reached")}
    for record in records:
        base = own.get(record["case"])
        if base is not None and record.get("reached"):
            record["ratio"] = record["cpu_seconds"] / base["cpu_seconds"]


def main() -> None:
    """Parse the command line, measure, print the tables, write the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    known = list(dict.fromkeys(name for case in CASES.values() for name in case.runs))
    parser.add_argument("--methods", nargs="+", choices=known, default=known)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds per method")
    parser.add_argument("--memory-gb", type=float, default=16.0, help="per method")
    parser.add_argument("--quick", action="store_true", help="small sizes: a trial run")
    parser.add_argument("--json", type=Path, help="file for records and machine facts")
    parser.add_argument("--out", type=Path, help="folder for the phase diagrams")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        result = worker(*options.worker, options)
        sys.stdout.write(json.dumps(result) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 220)
    records: list[Record] = []
    for name in options.cases:
        for method in CASES[name].runs:
            if method not in options.methods:
                continue
            records.append(measure(name, method, options))
            last = records[-1]
            console.log(name, method, last["status"], last.get("cpu_seconds"))
            add_ratios(records)
            if options.json:
                write_records(options.json, machine_facts(1, PACKAGES), records)
    for table in family_tables(records, COLUMNS, lambda name: CASES[name].family):
        console.print(table)
    if options.out:
        draw_diagrams(records, options.out / "phase.png")


if __name__ == "__main__":
    main()
