"""The entry point: help, exit codes, and errors in one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclopts import App

from commands import SCRIPT, assert_refused, call, dense_model
from tacit.cli import main as entry
from tacit.cli.main import run
from tacit.errors import BracketError, InputError

Capture = pytest.CaptureFixture[str]

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng


# Help


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_each_command_with_what_it_does(
    capsys: Capture, arguments: list[str]
) -> None:
    outcome = call(capsys, *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    (bracket,) = [line for line in lines if "lipschitz  " in line]
    (check,) = [line for line in lines if "verify  " in line]
    (completion,) = [line for line in lines if "recover  " in line]
    assert "Bracket how far a network's output can move" in bracket
    assert "Check a stored certificate" in check
    assert "Find the low-rank matrix behind some entries" in completion
    assert "Example: tacit lipschitz model.onnx" in outcome.out
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "lipschitz",
            [
                *("MODEL", "--norm", "l2, linf, l1", "--margin", "--random"),
                *("--input-shape", "--rtol", "--max-steps", "--seed", "--json"),
                *("--out", "Exit codes"),
                "Example: tacit lipschitz model.onnx --norm linf --margin 3,5",
            ],
        ),
        (
            "recover",
            [
                *("FILE", "--rank", "--symmetric", "--columns", "--holdout"),
                *("--complete", "--max-steps", "--seed", "--json", "--out"),
                *("Exit codes", "measurement_matrix", "Example: tacit recover ratings"),
            ],
        ),
        (
            "verify",
            [
                *("CERTIFICATE", "MODEL", "--seed", "--input-shape", "Exit codes"),
                "Example: tacit verify result/certificate.npz model.onnx",
            ],
        ),
    ],
)
def test_the_help_of_a_command_has_its_options_and_an_example(
    capsys: Capture, command: str, words: list[str]
) -> None:
    outcome = call(capsys, command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert [word for word in words if word not in outcome.out] == []


def test_the_version_is_that_of_the_package(capsys: Capture) -> None:
    outcome = call(capsys, "--version")
    assert (outcome.code, outcome.out.strip()) == (0, entry.version("tacit"))


# Bad input: one line on stderr, nothing on stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["nonsense"],
            [
                'Unknown command "nonsense"',
                "lipschitz, recover, deconvolve, gan, verify",
            ],
        ),
        (["lipschitz", "--nonsense"], ["--nonsense"]),
        (["lipschitz", "a", "b"], ["b"]),
        (["lipschitz", "--norm"], ["--norm"]),
        (["lipschitz", "a", "--norm", "l7"], ["--norm", "l7", '"linf"']),
        (["lipschitz", "a", "--seed", "x"], ["--seed", "x"]),
        (["lipschitz", "a", "--seed", "1.5"], ["--seed", "1.5"]),
        (["lipschitz", "a", "--rtol", "small"], ["--rtol", "small"]),
        (["lipschitz", "a", "--max-steps", "1e3"], ["--max-steps", "1e3"]),
        (["recover"], ["FILE"]),
        (["recover", "a", "b"], ["b"]),
        (["recover", "a", "--rank", "1.5"], ["--rank", "1.5"]),
        (["recover", "a", "--holdout", "some"], ["--holdout", "some"]),
        (["recover", "a", "--no-symmetric"], ["--no-symmetric"]),
        (["verify"], ["CERTIFICATE"]),
        (["verify", "c.npz"], ["MODEL"]),
        (["verify", "c.npz", "m.onnx", "x"], ["x"]),
    ],
)
def test_what_cannot_be_parsed_is_refused(
    capsys: Capture, arguments: list[str], words: list[str]
) -> None:
    assert_refused(call(capsys, *arguments), *words)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """Put an application of the test's own in the place of the real one."""
    own = App(
        name="tacit", result_action="return_value", suppress_keyboard_interrupt=False
    )
    monkeypatch.setattr(entry, "app", own)
    return own


def _raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("a\nb  c"), 2, "a b c\n"),
        (BracketError("crossed"), 70, "crossed\n"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted; nothing was left half-written\n",
        ),
        (MemoryError(), 2, "there is not enough memory for this input\n"),
        (
            OSError(28, "No space left", "x.y"),
            2,
            "cannot use x.y: No space left\n",
        ),
        (BrokenPipeError(), 130, ""),
        (SystemExit(1), 130, ""),
    ],
)
def test_an_error_ends_in_its_exit_code_and_one_line(
    capsys: Capture, app: App, error: BaseException, code: int, words: str
) -> None:
    app.default(_raising(error))
    outcome = call(capsys)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err == (f"tacit: {words}" if words else "")


def test_a_bug_is_not_hidden(app: App) -> None:
    app.default(_raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run([])


@pytest.mark.parametrize(("result", "code"), [(None, 0), (3, 3), ("text", 0)])
def test_a_command_without_a_code_has_answered(
    app: App, result: object, code: int
) -> None:
    app.default(lambda: result)
    assert run([]) == code


def test_markup_in_an_argument_is_shown_as_it_is(capsys: Capture) -> None:
    outcome = call(capsys, "lipschitz", "[bold]a[/bold].onnx")
    assert_refused(outcome, "[bold]a[/bold].onnx does not exist")


@pytest.mark.parametrize(("policy", "kept"), [(None, "passive"), ("active", "active")])
def test_waiting_threads_leave_the_processor_to_others_unless_told_otherwise(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, policy: str | None, kept: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", policy or "")
    if policy is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit) as caught:
        entry.main(["--version"])
    assert caught.value.code == 0
    assert os.environ["OMP_WAIT_POLICY"] == kept


# The command as it is installed


def test_the_script_is_installed_and_helps_without_the_heavy_packages() -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['tacit', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "finally:\n"
        "    heavy = {'matplotlib', 'numba', 'numpy', 'onnx', 'pyarrow', 'torch'}\n"
        "    heavy &= set(sys.modules)\n"
        "    print('heavy:', sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "heavy: []\n")
    assert "Check a stored certificate" in done.stdout


def test_a_reader_of_the_output_who_leaves_costs_no_result(tmp_path: Path) -> None:
    model = dense_model(tmp_path / "m.onnx", 3, 2)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [SCRIPT, "lipschitz", model, "--json", tmp_path / "r.json"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (130, "")
    assert (tmp_path / "r.json").is_file()
