"""What commands show to a person: a wide enough console, and progress."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

TABLE_WIDTH = 80


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
