"""The progress of a GAN's training, for a person who watches."""

import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from tacit.minimax.gan.events import (
    Evaluated,
    Noted,
    Progressed,
    Started,
    TrainingEvent,
    TrainingObserver,
)


@contextmanager
def watching_training(score_name: str) -> Generator[TrainingObserver, None, None]:
    """Show step, score, rate and time left on stderr, if it is a terminal.

    Parameters
    ----------
    score_name : str
        The score that is shown, by its key.

    Yields
    ------
    callable
        An observer of the run. Notes are shown as they come, also to a pipe.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("training", total=None, rate="")
        began, first = time.perf_counter(), 0

        def observe(event: TrainingEvent) -> None:
            nonlocal began, first
            if isinstance(event, Started):
                began, first = time.perf_counter(), event.step
                progress.update(task, completed=event.step, total=event.num_steps)
            elif isinstance(event, Progressed):
                rate = (event.step - first) / max(time.perf_counter() - began, 1e-9)
                progress.update(
                    task, completed=event.step, rate=f"{rate:.3g} steps a second"
                )
            elif isinstance(event, Evaluated):
                progress.update(task, description=_describe(event.scores, score_name))
            elif isinstance(event, Noted):
                console.print(f"note: {event.text}", markup=False)

        yield observe


def _describe(scores: Mapping[str, float], name: str) -> str:
    value = scores.get(name)
    return "training" if value is None else f"{name.replace('_', ' ')} {value:.4g}"
