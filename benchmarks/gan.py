"""GANs of growing width on handwritten digits, and what a training step costs.

See ``README.md``. Scores are Frechet distances on the features of the small digits
classifier that comes with tacit, between 1000 samples of the averaged generator and the
training images, and the held-out ones.
"""

import argparse
import math
import os
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from gan_step import step_costs
from machine import machine_facts, write_records
from rich.console import Console
from scipy.stats import t as student
from tables import family_tables

from tacit.minimax.gan.config import TrainingConfig
from tacit.minimax.gan.data.read import read_data
from tacit.minimax.gan.features.digits import digits_features
from tacit.minimax.gan.train import train_gan

Record = dict[str, Any]

PACKAGES = ("torch", "numpy", "scikit-learn")
PLAYERS = ("both", "generator", "discriminator")
FIXED_WIDTH = 16  # of the player that is not widened
COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "width": (
        ("parameters", "parameters", "d"),
        ("FD to test, mean", "mean", ".1f"),
        ("95% low", "low", ".1f"),
        ("95% high", "high", ".1f"),
        ("FD to train", "train", ".1f"),
        ("best on the way", "best", ".1f"),
        ("each seed", "each", "s"),
        ("seconds a run", "seconds", ".0f"),
    ),
    "step": (
        ("ms a step", "milliseconds", ".2f"),
        ("plain loop", "plain", ".2f"),
        ("over plain", "ratio", ".3f"),
    ),
}


def train(players: str, width: int, seed: int, num_steps: int) -> Record:
    """Train one GAN in this process and return its scores."""
    torch.set_num_threads(1)
    config = TrainingConfig(
        architecture="dcgan",
        width=width if players == "both" else FIXED_WIDTH,
        generator_width=width if players == "generator" else None,
        discriminator_width=width if players == "discriminator" else None,
        num_steps=num_steps,
        evaluate_every=max(num_steps // 10, 1),
        seed=seed,
    )
    result = train_gan(read_data("digits"), config, features=digits_features())
    tests = [score.values["frechet_test"] for score in result.history.scores]
    return {
        "players": players,
        "width": width,
        "seed": seed,
        "parameters": result.num_parameters,
        "test": tests[-1],
        "best": min(tests),
        "train": result.scores["frechet_train"],
        "seconds": result.seconds,
        "notes": "; ".join(result.notes),
    }


def sweep(options: argparse.Namespace) -> Iterator[Record]:
    """Train all widths and seeds in processes of their own; results as they come."""
    jobs = [
        (players, width, seed)
        for players in options.players
        for seed in range(options.seeds)
        for width in options.widths
    ]
    context = get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        futures = [pool.submit(train, *job, options.steps) for job in jobs]
        for future in as_completed(futures):
            yield future.result()


def summary(runs: list[Record]) -> list[Record]:
    """Return mean and Student's interval over the seeds, for each width."""
    cells: dict[tuple[str, int], list[Record]] = {}
    for run in sorted(runs, key=lambda r: (r["players"], r["width"], r["seed"])):
        cells.setdefault((run["players"], run["width"]), []).append(run)
    rows: list[Record] = []
    for (players, width), own in cells.items():
        scores = [run["test"] for run in own]
        mean = statistics.fmean(scores)
        half = math.nan
        if len(own) > 1:
            error = statistics.stdev(scores) / math.sqrt(len(own))
            half = float(student.ppf(0.975, len(own) - 1)) * error
        rows.append(
            {
                "case": f"k = {width}",
                "solver": f"{players} widened" if players != "both" else "both",
                "status": f"{len(own)} seeds",
                "parameters": own[0]["parameters"],
                "mean": mean,
                "low": mean - half,
                "high": mean + half,
                "train": statistics.fmean(run["train"] for run in own),
                "best": statistics.fmean(run["best"] for run in own),
                "each": " ".join(f"{score:.1f}" for score in scores),
                "seconds": statistics.fmean(run["seconds"] for run in own),
            }
        )
    return rows


def main() -> None:
    """Parse the command line, train, print the tables, write the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    cases = ("width", "step")
    parser.add_argument("--cases", nargs="+", choices=cases, default=list(cases))
    parser.add_argument("--players", nargs="+", choices=PLAYERS, default=list(PLAYERS))
    parser.add_argument("--widths", nargs="+", type=int, default=[2, 4, 8, 16, 32])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4800)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, help="file for records and machine facts")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else 200)
    runs: list[Record] = []
    if "width" in options.cases:
        for run in sweep(options):
            runs.append(run)
            console.log(run["players"], run["width"], run["seed"], f"{run['test']:.0f}")
            if options.json:
                write_records(options.json, machine_facts(1, PACKAGES), runs)
    shown = {"width": summary(runs), "step": []}
    if "step" in options.cases:
        shown["step"] = [{"status": "ok", **record} for record in step_costs()]
        if options.json:
            records = [*runs, *shown["step"]]
            write_records(options.json, machine_facts(1, PACKAGES), records)
    for case in options.cases:
        for table in family_tables(shown[case], COLUMNS, lambda _, case=case: case):
            console.print(table)


if __name__ == "__main__":
    main()
