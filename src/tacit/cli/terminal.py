"""What commands show to a person: a wide enough console, and progress."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tacit.iterate import HasValue

TABLE_WIDTH = 80
_EVERY = 10  # steps


def open_console() -> Console:
    """Return the console of results; lines are broken there, not cut."""
    console = Console(highlight=False)
    if console.width < TABLE_WIDTH:
        console = Console(highlight=False, width=TABLE_WIDTH)
    return console


@contextmanager
def watching() -> Generator[Callable[[str], None], None, None]:
    """Show what goes on and for how long, on stderr, to a person who watches.

    Yields
    ------
    callable
        Takes the text to show; to nobody if stderr is no terminal.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("starting", total=None)

        def show(text: str) -> None:
            progress.update(task, description=text)

        yield show


@contextmanager
def watching_solver() -> Generator[
    tuple[Callable[[str], None], Callable[[int, HasValue], None]], None, None
]:
    """Show the phases and steps of a solver to a person who watches.

    Yields
    ------
    on_phase, on_step : callable
        What takes the name of a phase, and an observer of steps.
    """
    phase = "starting"
    with watching() as show:

        def on_phase(text: str) -> None:
            nonlocal phase
            phase = text
            show(text)

        def on_step(step: int, state: HasValue) -> None:
            if step % _EVERY == 0:
                show(f"{phase}, step {step}, loss {state.value:.4g}")

        yield on_phase, on_step


def print_rows(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Print names and what they say, long texts broken into lines."""
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=False
    )
    first = max(len(name) for name, _ in rows)
    table.add_column(width=first)
    table.add_column(width=TABLE_WIDTH - first - 3, overflow="fold")
    for name, value in rows:
        table.add_row(name, escape(value))
    console.print(table)
