"""Certified Lipschitz bounds against general semidefinite solvers, in one run.

Every solve runs in a process of its own with a time limit and a memory limit, one
at a time, with the same number of threads for both sides. See ``README.md``.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
import torch
from lipschitz_cases import CASES, he_chain
from machine import limit_memory, machine_facts, peak_gb, run_worker, write_records
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tacit.lipschitz.layers import Dense
from tacit.lipschitz.lifted_bound import lifted_bound
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.rng import make_generator

PACKAGES = (
    *("torch", "numpy", "scipy", "cvxpy"),
    *("cvxopt", "scs", "clarabel", "sdpa-python"),
)
OURS = "tacit"
# Solver name, options. SCS's default accuracy is 1e-4; values are compared at 1e-6.
PEERS: dict[str, tuple[str, dict[str, float]]] = {
    "cvxopt": ("CVXOPT", {}),
    "sdpa": ("SDPA", {}),
    "scs-1e-4": ("SCS", {"eps_abs": 1e-4, "eps_rel": 1e-4, "max_iters": 1e6}),
    "scs-1e-6": ("SCS", {"eps_abs": 1e-6, "eps_rel": 1e-6, "max_iters": 1e6}),
    "clarabel": ("CLARABEL", {}),
}


def solve_peer(weights: list[NDArray[Any]], norm: Norm, peer: str) -> dict[str, Any]:
    """LipSDP-Neuron of a ReLU chain as one dense matrix inequality in CVXPY.

    The matrix ``rho I + sum_i lambda_i E_i - C^T C`` is affine in the unknowns; its
    columns are handed over as one sparse matrix, which CVXPY compiles in no time.
    """
    sizes = [w.shape[1] for w in weights]
    starts = np.cumsum([0, *sizes])
    rows = int(starts[-1])
    num_inputs = sizes[0]
    num_rho = num_inputs if norm == "linf" else 1
    at: list[NDArray[Any]] = []
    columns: list[NDArray[Any]] = []
    entries: list[NDArray[Any]] = []
    diagonal = np.arange(num_inputs)
    at.append(diagonal * (rows + 1))
    columns.append(diagonal if norm == "linf" else np.zeros(num_inputs, dtype=int))
    entries.append(np.ones(num_inputs))
    column = num_rho
    for layer, weight in enumerate(weights[:-1]):
        before = np.arange(starts[layer], starts[layer + 1])
        for i, row in enumerate(weight):
            own = int(starts[layer + 1]) + i
            at.append(
                np.concatenate(
                    [[own * (rows + 1)], own * rows + before, before * rows + own]
                )
            )
            entries.append(np.concatenate([[1.0], -row / 2.0, -row / 2.0]))
            columns.append(np.full(2 * before.size + 1, column))
            column += 1
    triplet = (np.concatenate(entries), (np.concatenate(at), np.concatenate(columns)))
    basis = sp.csc_matrix(triplet, shape=(rows * rows, column))
    output = np.zeros((rows, rows))
    output[starts[-2] :, starts[-2] :] = weights[-1].T @ weights[-1]
    unknown = cp.Variable(column, nonneg=True)
    form = cp.reshape(basis @ unknown - output.ravel(), (rows, rows), order="F")
    problem = cp.Problem(cp.Minimize(cp.sum(unknown[:num_rho])), [form >> 0])
    solver, options = PEERS[peer]
    if "max_iters" in options:
        options = {**options, "max_iters": int(options["max_iters"])}
    problem.solve(solver=solver, **options)
    found = None if unknown.value is None else float(unknown.value[:num_rho].sum())
    return {
        "value": None if found is None else math.sqrt(max(found, 0.0)),
        "status": problem.status,
        "solver_seconds": problem.solver_stats.solve_time,
    }


def solve_ours(network: Network, norm: Norm, seed: int, rtol: float) -> dict[str, Any]:
    """The certified bound of the lifted network; no lower side, no cheaper methods."""
    problem = LipschitzProblem(network=network, norm=norm)
    generator = make_generator(seed, "lifted")
    result = lifted_bound(problem, generator=generator, rtol=rtol)
    return {
        "value": None if result.bound is None else result.bound.value,
        "arithmetic": None if result.bound is None else result.bound.arithmetic,
        "lifted_value": result.lifted_value,
        "gap": result.gap,
        "num_steps": result.num_steps,
        "search_rank": result.search_rank,
        "status": result.status.name.lower(),
    }


def worker(case_name: str, solver: str, options: argparse.Namespace) -> dict[str, Any]:
    """Build the case and solve it with ``solver``, in this process."""
    limit_memory(options.memory_gb)
    torch.set_num_threads(options.threads)
    case = CASES[case_name]
    network = case.build(make_generator(options.seed, case_name))
    layers = [node.layer for node in network.nodes]
    weights = [layer.weight.numpy() for layer in layers if isinstance(layer, Dense)]
    rtol = options.rtol or case.rtol
    # Libraries load parts of themselves on first use; that is not what is compared.
    small = he_chain((2, 3, 1), make_generator(0))
    if solver == OURS:
        solve_ours(small, case.norm, options.seed, rtol)
    else:
        small_weights = [
            node.layer.weight.numpy()
            for node in small.nodes
            if isinstance(node.layer, Dense)
        ]
        solve_peer(small_weights, case.norm, solver)
    start, cpu_start = time.perf_counter(), time.process_time()
    if solver == OURS:
        result = solve_ours(network, case.norm, options.seed, rtol)
    else:
        result = solve_peer(weights, case.norm, solver)
    result["seconds"] = time.perf_counter() - start
    result["cpu_seconds"] = time.process_time() - cpu_start
    result["peak_gb"] = peak_gb()
    if case.peers and case.norm == "l2":
        result["product"] = math.prod(np.linalg.norm(w, 2) for w in weights)
    return result


def measure(case_name: str, solver: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one solve in a fresh process; always a record, whatever happened to it."""
    arguments = ["--worker", case_name, solver]
    for name in ("seed", "threads", "rtol", "memory_gb"):
        arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    result, failure = run_worker(
        __file__,
        arguments,
        threads=options.threads,
        limit=options.limit,
        memory_gb=options.memory_gb,
    )
    return {"case": case_name, "solver": solver, "value": None, **failure} | (
        result or {}
    )


def _text(value: float | None, pattern: str) -> str:
    return "-" if value is None else format(value, pattern)


HEADS = (
    *("case", "solver", "value", "against ours", "gap", "of product", "s", "cpu s"),
    *("GB", "times ours", "status"),
)


def table(records: list[dict[str, Any]]) -> Table:
    """One row per solve.

    ``against ours`` is the relative difference to our certified value, ``gap`` the
    relative certified gap, ``of product`` the value over the product of the norms,
    ``times ours`` the time over our time on the same case. Processor seconds, of all
    threads, are what to compare where the machine was not idle.
    """
    shown = Table(*HEADS)
    ours = {r["case"]: r for r in records if r["solver"] == OURS}
    for record in records:
        own = ours.get(record["case"], {})
        value, product = record["value"], record.get("product")
        seconds = record.get("seconds", record.get("at_least"))
        sign = ">" if "at_least" in record else ""
        is_peer = bool(record["solver"] != OURS and own.get("seconds") and seconds)
        base = own.get("value") if is_peer else None
        shown.add_row(
            record["case"],
            record["solver"],
            _text(value, ".7g"),
            _text(value / base - 1.0 if value and base else None, ".1e"),
            _text(record.get("gap"), ".1e"),
            _text(value / product if value and product else None, ".2g"),
            sign + _text(seconds, ".2f"),
            _text(record.get("cpu_seconds"), ".2f"),
            _text(record.get("peak_gb"), ".2f"),
            sign + _text(seconds / own["seconds"] if is_peer else None, ".1f"),
            record["status"],
        )
    return shown


def main() -> None:
    """Parse the command line, measure, print the table, write the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    solvers = [OURS, *PEERS]
    parser.add_argument("--solvers", nargs="+", choices=solvers, default=solvers)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="for both sides")
    parser.add_argument(
        "--rtol",
        type=float,
        default=0.0,
        help="certified gap, ours; 0: the gap of the case",
    )
    parser.add_argument("--limit", type=float, default=300.0, help="seconds per solve")
    parser.add_argument("--memory-gb", type=float, default=16.0, help="per solve")
    parser.add_argument("--json", type=Path, help="file for records and machine facts")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        case_name, solver = options.worker
        result = worker(case_name, solver, options)
        sys.stdout.write(json.dumps(result) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 140)
    records: list[dict[str, Any]] = []
    for name in options.cases:
        for solver in options.solvers:
            if solver in PEERS and not CASES[name].peers:
                continue
            records.append(measure(name, solver, options))
            console.log(name, solver, records[-1]["status"], records[-1].get("seconds"))
            if options.json:
                facts = machine_facts(options.threads, PACKAGES)
                write_records(options.json, facts, records)
    console.print(table(records))


if __name__ == "__main__":
    main()
