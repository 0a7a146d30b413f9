"""What every test relies on: its own random stream, one thread, no silent skips."""

import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from rich.style import Style

from tacit.rng import make_generator

# One order of examples, the same on every machine; no test is judged by a clock.
hypothesis.settings.register_profile(
    "tacit", deadline=None, derandomize=True, max_examples=50, print_blob=True
)


def pytest_configure() -> None:
    """Fix what would otherwise depend on the machine, for child processes too."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("MPLBACKEND", "agg")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell starts what runs in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    Style()  # Rich draws from the global stream when it is loaded: before any test
    hypothesis.settings.load_profile("tacit")


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """Return a random stream of the test's own, seeded by its name."""
    return make_generator(0, request.node.name)


def _global_random_state() -> tuple[object, object, object]:
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - only compared
    key, position = numpy_state["state"]["key"], numpy_state["state"]["pos"]
    return (
        torch.get_rng_state().numpy().tobytes(),
        (key.tobytes(), position, numpy_state["has_gauss"], numpy_state["gauss"]),
        random.getstate(),
    )


@pytest.fixture(autouse=True)
def global_random_state_is_untouched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which torch, numpy or random would draw other numbers.

    A test marked ``global_rng`` may draw; its state is put back afterwards.
    """
    if request.node.get_closest_marker("global_rng") is not None:
        with torch.random.fork_rng(devices=[]):
            numpy_state = np.random.get_state()  # noqa: NPY002 - only put back
            python_state = random.getstate()
            yield
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
        return
    before = _global_random_state()
    yield
    after = _global_random_state()
    changed = [
        name
        for name, old, new in zip(
            ("torch", "numpy", "random"), before, after, strict=True
        )
        if old != new
    ]
    assert not changed, (
        f"the global random state of {', '.join(changed)} changed: pass a "
        "torch.Generator, or mark a test that trains torch modules as global_rng"
    )


def _skips(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NO_SKIPS") != "1" or reporter is None:
        return 0
    return len(reporter.stats.get("skipped", []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under NO_SKIPS=1 a run in which anything was skipped has failed."""
    if _skips(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say why a run without failures counts as failed."""
    if count := _skips(config):
        terminalreporter.write_line(
            f"NO_SKIPS=1: {count} skipped, but every test must run", red=True
        )
