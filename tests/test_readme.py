"""The README shows what the commands and the library really print."""

import doctest
import os
import re
from pathlib import Path

import pytest

from sources import ROOT
from tacit.cli.main import run

NUMBER = re.compile(r"\d+\.\d+")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _agree(want: str, got: str) -> bool:
    """Same words, and numbers that differ by no more than another machine may do.

    A line of three dots stands for lines that are not shown.
    """
    head, dots, tail = want.partition("\n...\n")
    if dots:
        lines = got.splitlines(keepends=True)
        shown = head.count("\n") + 1
        rest = lines[len(lines) - len(tail.splitlines()) :]
        return _agree(head, "".join(lines[:shown])) and _agree(tail, "".join(rest))
    numbers = zip(NUMBER.findall(want), NUMBER.findall(got), strict=False)
    return NUMBER.sub("#", want).split() == NUMBER.sub("#", got).split() and all(
        float(a) == pytest.approx(float(b), rel=1e-3) for a, b in numbers
    )


class _Tolerant(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return _agree(want, got)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.symlink(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_the_python_session_runs_as_shown() -> None:
    (session,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    test = doctest.DocTestParser().get_doctest(session, {}, "README", "README.md", 0)
    runner = doctest.DocTestRunner(checker=_Tolerant())
    report: list[str] = []
    runner.run(test, out=report.append)
    assert test.examples
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_the_commands_print_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```\n(\$ tacit.*?)```", README, flags=re.DOTALL)
    shown = re.split(r"^\$ tacit ", block, flags=re.MULTILINE)[1:]
    assert len(shown) == 5
    for part in shown:
        command, _, want = part.partition("\n")
        assert run(command.split()) == 0
        # Seconds differ from run to run: the table's last column, and the total.
        without = re.compile(r" +\d+\.\d\d$|, \d+\.\d s\)", flags=re.MULTILINE)
        got = without.sub("", capsys.readouterr().out)
        assert _agree(without.sub("", want), got), got
