"""Help for the tests of the command line: models, calls in process and as a child."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import pytest

from onnx_models import Step, model, numbers, save
from tacit.cli.main import run

# The command as it is installed, beside the interpreter.
SCRIPT = Path(sys.executable).with_name("tacit")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a command left: its exit code and its two streams."""

    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Outcome:
    """Run a command in this process."""
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    streams = capsys.readouterr()
    return Outcome(code=code, out=streams.out, err=streams.err)


def child(*arguments: str | Path, **environment: str) -> Outcome:
    """Run the installed command in a process of its own."""
    done = subprocess.run(
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)


def assert_refused(outcome: Outcome, *words: str) -> None:
    """Hold that the input was refused in one line that has the words."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("tacit: ")
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.endswith("\n")
    assert "Traceback" not in outcome.err
    missing = [word for word in words if word not in outcome.err]
    assert not missing, outcome.err


def dense_model(
    path: Path,
    *widths: int,
    sizes: tuple[int | str | None, ...] | None = None,
    **changes: Any,
) -> Path:
    """Write an ONNX model of dense layers of these widths with ReLU between them."""
    steps: list[Step] = []
    constants: dict[str, Any] = {}
    value = "x"
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        if i:
            steps.append(("Relu", [value], {}))
            value = f"v{len(steps) - 1}"
        constants[f"w{i}"] = numbers(fan_out, fan_in) + 0.1 * i
        steps.append(("Gemm", [value, f"w{i}"], {"transB": 1}))
        value = f"v{len(steps) - 1}"
    constants |= changes
    return save(model(steps, sizes or (1, widths[0]), constants), path)


def files_in(folder: Path) -> set[str]:
    """Return the names of everything in a folder, hidden files included."""
    return {path.name for path in folder.rglob("*")}


def strict_json(path: Path) -> dict[str, Any]:
    """Return what the file says, which must be JSON as the standard has it."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def read_terminal(descriptor: int) -> str:
    """Return all that a program shows on a pseudo-terminal, once it has ended."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # how Linux says that the other end of a terminal is closed
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
