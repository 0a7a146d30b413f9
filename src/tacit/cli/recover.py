"""``tacit recover``: the low-rank matrix behind entries or measurements."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, final

import numpy as np
from cyclopts import Parameter
from rich.console import Console

from tacit.cli.inputs import Integer, parse_columns
from tacit.cli.places import json_bytes, result_places
from tacit.cli.recover_figure import NAMES, draw_recovery, figure_paths
from tacit.cli.recover_report import describe, table_rows, to_json
from tacit.cli.terminal import open_console, print_rows, watching_solver
from tacit.errors import InputError, Status
from tacit.io import write_bytes
from tacit.recovery.problem import hold_out
from tacit.recovery.readers.labels import Indices
from tacit.recovery.readers.read import LabelledProblem, read_pairs, read_problem
from tacit.recovery.readers.write import completed_bytes, factors_bytes
from tacit.recovery.recover import recover as recover_matrix
from tacit.recovery.result import RecoveryResult
from tacit.rng import make_generator

INTERRUPTED = 130
MAX_HELD_OUT = 10_000
MAX_COMPLETED = 10**7
"""Most entries that ``--complete`` writes."""

_ALL = "all"
_FACTORS, _COMPLETED = "factors.npz", "completed.csv"

Pairs = tuple[Indices, Indices]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """What is asked, where the answer goes, and how the work is known to people."""

    title: str
    labelled: LabelledProblem
    pairs: Pairs | None
    results: tuple[Path, ...]
    out: Path | None
    seed: int


def recover(
    file: Path,
    /,
    *,
    rank: Integer | None = None,
    symmetric: Annotated[bool, Parameter(negative=())] = False,
    columns: str | None = None,
    holdout: float = 0.05,
    complete: str | None = None,
    max_steps: Annotated[Integer, Parameter(name="--max-steps")] = 500,
    seed: Integer = 0,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    out: Path | None = None,
) -> int:
    """Recover a low-rank matrix from some of its entries or from measurements.

    Parameters
    ----------
    file
        Entries: a table of row, column, value (.csv, .tsv, .parquet; rows and columns
        may have names), a Matrix Market file (.mtx), or arrays row, column, value
        (.npz). Measurements: arrays measurement_matrix, measurements, shape (.npz).
    rank
        Rank of the matrix; by default it is found from the data.
    symmetric
        The matrix is symmetric (Hermitian) positive semidefinite.
    columns
        Names a,b,c of the columns of a table with row labels, column labels, values.
    holdout
        Part of the measurements that is not fitted but used to measure the error; at
        most 10,000 of them.
    complete
        Write completed entries to completed.csv in --out: all, or a table (.csv, .tsv,
        .parquet) of the row and column labels that are asked for.
    max_steps
        Limit of steps of one fit at one rank.
    seed
        Of all random draws.
    json_file
        Write the result as JSON.
    out
        Folder for figures (png, pdf), result.json and factors.npz.
    """
    _check_options(rank, holdout, max_steps)
    task = _prepare(
        file,
        symmetric=symmetric,
        columns=columns,
        complete=complete,
        seed=seed,
        json_file=json_file,
        out=out,
    )
    task = replace(task, labelled=_hold_out(task.labelled, holdout, seed))
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    for note in task.labelled.notes:
        errors.print(f"note: {note}", markup=False)
    result = _solve(task, rank, max_steps)
    for warning in result.warnings:
        errors.print(f"warning: {warning}", markup=False)
    console = open_console()
    written: list[Path] = []
    try:
        _print(console, task, result)
    finally:
        # Also if the reader of a pipe has gone: the files were asked for.
        written = _write(task, result)
    for path in written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
    return INTERRUPTED if result.status is Status.INTERRUPTED else 0


def _check_options(rank: int | None, holdout: float, max_steps: int) -> None:
    if rank is not None and rank < 1:
        raise InputError(f"--rank must be at least 1; got {rank}")
    if not 0.0 <= holdout < 1.0:
        raise InputError(f"--holdout must be in [0, 1); got {holdout}")
    if max_steps < 1:
        raise InputError(f"--max-steps must be at least 1; got {max_steps}")


def _prepare(
    file: Path,
    *,
    symmetric: bool,
    columns: str | None,
    complete: str | None,
    seed: int,
    json_file: Path | None,
    out: Path | None,
) -> _Task:
    """Read what is to be read and check where to write, before the long work."""
    if complete is not None and out is None:
        raise InputError(f"--complete writes {_COMPLETED} into --out; name a folder")
    labelled = read_problem(
        file, columns=parse_columns(columns), is_symmetric=symmetric
    )
    pairs = None if complete is None else _pairs(complete, labelled)
    inputs = [file]
    if complete is not None and complete != _ALL:
        inputs.append(Path(complete))
    results = result_places(
        json_file,
        out,
        others=[] if out is None else _other_files(out),
        inputs=inputs,
    )
    return _Task(
        title=file.name,
        labelled=labelled,
        pairs=pairs,
        results=results,
        out=out,
        seed=seed,
    )


def _other_files(out: Path) -> list[Path]:
    figures = [path for name in NAMES for path in figure_paths(out, name)]
    return [out / _FACTORS, out / _COMPLETED, *figures]


def _pairs(complete: str, labelled: LabelledProblem) -> Pairs:
    if complete != _ALL:
        return read_pairs(complete, labelled)
    rows, columns = labelled.problem.linear_map.in_shape
    if rows * columns > MAX_COMPLETED:
        raise InputError(
            f"--complete all is for at most {MAX_COMPLETED} entries; got {rows} x "
            f"{columns}; give a table of the rows and columns you need"
        )
    i, j = np.divmod(np.arange(rows * columns), columns)
    return i, j


def _hold_out(labelled: LabelledProblem, part: float, seed: int) -> LabelledProblem:
    size = labelled.problem.measurements.shape[-1]
    problem = hold_out(
        labelled.problem,
        min(part, MAX_HELD_OUT / size),
        generator=make_generator(seed, "holdout"),
    )
    return replace(labelled, problem=problem)


def _solve(task: _Task, rank: int | None, max_steps: int) -> RecoveryResult:
    with watching_solver() as (on_phase, on_step):
        return recover_matrix(
            task.labelled.problem,
            rank=rank,
            holdout=0.0,  # done already, so that the figure knows which
            generator=make_generator(task.seed, "recover"),
            max_steps=max_steps,
            observers=(on_step,),
            on_phase=on_phase,
        )


def _print(console: Console, task: _Task, result: RecoveryResult) -> None:
    console.print(describe(task.title, task.labelled), markup=False, soft_wrap=True)
    print_rows(console, table_rows(result))


def _write(task: _Task, result: RecoveryResult) -> list[Path]:
    content = to_json(task.title, task.labelled, result, seed=task.seed)
    written: list[Path] = []

    def write(path: Path, what: bytes) -> None:
        write_bytes(path, what)
        written.append(path)

    try:
        if task.out is not None:
            factors = factors_bytes(task.labelled, result.left, result.right)
            write(task.out / _FACTORS, factors)
            if task.pairs is not None:
                table = completed_bytes(
                    task.labelled, result.left, result.right, *task.pairs
                )
                write(task.out / _COMPLETED, table)
        for path in task.results:
            write(path, json_bytes(content))
        if task.out is not None:
            title = f"{task.title}: rank {result.rank}, {result.method}"
            written += draw_recovery(title, task.labelled.problem, result, task.out)
    except OSError as error:
        raise InputError(
            f"cannot write the result: {error.strerror}; name another place"
        ) from None
    return written
