"""What the benchmarks share: machine facts, and workers with limited resources."""

import json
import math
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def machine_facts(threads: int, packages: Iterable[str]) -> dict[str, Any]:
    """What a reader needs to judge the times."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": platform.processor(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "threads": threads,
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "load": os.getloadavg()[0],
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def limit_memory(gigabytes: float) -> None:
    """Let this process have at most so much address space."""
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def peak_gb() -> float:
    """Return the most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run_worker(
    script: str,
    arguments: Sequence[str],
    *,
    threads: int,
    limit: float,
    memory_gb: float,
) -> tuple[Any, dict[str, Any]]:
    """Run a script in a fresh process; return what it wrote as JSON on its last line.

    If it did not end well that is None, and the second value says what happened: status
    and, if it ran out of time, ``at_least``, else ``message``.
    """
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
    try:
        done = subprocess.run(
            [sys.executable, script, *arguments],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return None, {"status": f"over {limit:g} s", "at_least": limit}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1]), {}
    told = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    is_memory = "memory" in done.stderr.lower() or done.returncode < 0
    status = f"out of memory ({memory_gb:g} GB)" if is_memory else "failed"
    return None, {"status": status, "message": told[0]}


def write_records(path: Path, facts: dict[str, Any], records: list[Any]) -> None:
    """Write what was measured so far; numbers that are not finite become null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"facts": facts, "records": [_finite(record) for record in records]}
    path.write_text(json.dumps(content, indent=1, allow_nan=False))


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
