"""Saddle problems: what theory says against what comes out, and what a step costs.

See ``README.md``. One process, one thread; times are processor seconds.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from machine import machine_facts, write_records
from minimax_methods import methods, speed
from minimax_width import WIDTHS, existence, sweep
from rich.console import Console
from tables import family_tables

Record = dict[str, Any]

PACKAGES = ("torch", "numpy", "scipy", "numba")
CASES = ("existence", "width", "methods", "speed")
RATIOS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0)
COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "existence": (
        ("found", "found", ".3f"),
        ("P[Bin(k, 1/2) >= m]", "law", ".3f"),
        ("standard errors", "deviations", "+.1f"),
        ("cpu s", "cpu_seconds", ".2f"),
    ),
    "width": (
        ("saddle exists", "exists", "s"),
        ("converged", "converged", "s"),
        ("steps", "steps", ".0f"),
        ("rate", "measured", ".4f"),
        ("predicted", "predicted", ".4f"),
        ("before", "predicted_before", ".4f"),
        ("over predicted", "over", ".4f"),
        ("error of log", "error", ".1%"),
        ("condition", "condition", ".1f"),
        ("us a step", "microseconds", ".0f"),
        ("cpu s", "cpu_seconds", ".1f"),
    ),
    "methods": (
        ("converged", "converged", "s"),
        ("steps", "steps", ".0f"),
        ("gradients", "gradients", ".0f"),
        ("rate", "measured", ".4f"),
        ("predicted", "predicted", ".4f"),
        ("min_step", "min_step", ".3f"),
        ("max_step", "max_step", ".3f"),
    ),
    "speed": (
        ("us a step", "microseconds", ".1f"),
        ("autograd", "autograd", ".1f"),
        ("torch.func", "functional", ".1f"),
        ("over autograd", "ratio", ".2f"),
        ("us a seed, 20 batched", "batched", ".1f"),
        ("floor", "floor", ".1f"),
    ),
}


def run_existence(options: argparse.Namespace) -> list[Record]:
    """Draw cones of three sizes and eight widths each."""
    records: list[Record] = []
    for num_features in (10, 20, 40):
        for ratio in RATIOS:
            own = existence(num_features, ratio, options.draws, options.seed)
            case = f"m = {num_features}, k/m = {ratio:g}"
            records.append(
                {"case": case, "solver": "non-negative least squares", **own}
            )
    return records


def run_width(options: argparse.Namespace) -> list[Record]:
    """Run the plain method on every width."""
    return [
        {
            "case": f"k = {width}",
            "solver": "simultaneous, c = 1/4",
            **sweep(width, options.seeds, c=0.25, max_steps=20_000, seed=options.seed),
        }
        for width in options.widths
    ]


def main() -> None:
    """Parse the command line, measure, print the tables, write the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--widths", nargs="+", type=int, default=list(WIDTHS))
    parser.add_argument("--seeds", type=int, default=20, help="of every width")
    parser.add_argument("--draws", type=int, default=400, help="of every cone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for records and machine facts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = {
        "existence": run_existence,
        "width": run_width,
        "methods": lambda o: methods(o.seeds, o.seed),
        "speed": lambda o: speed(o.seed),
    }
    console = Console(width=None if sys.stdout.isatty() else 200)
    records: list[Record] = []
    for case in options.cases:
        for record in runs[case](options):
            records.append({"family": case, "status": "ok", **record})
            console.log(case, record["case"], record["solver"])
            if options.json:
                write_records(options.json, machine_facts(1, PACKAGES), records)
    for case in options.cases:
        own = [record for record in records if record["family"] == case]
        for table in family_tables(own, COLUMNS, lambda _, case=case: case):
            console.print(table)


if __name__ == "__main__":
    main()
