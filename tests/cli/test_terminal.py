"""What a person sees: lines wide enough, progress only on a terminal."""

from dataclasses import dataclass

import pytest

from tacit.cli.terminal import (
    TABLE_WIDTH,
    open_console,
    print_rows,
    watching,
    watching_solver,
)

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng


@pytest.mark.parametrize(("columns", "width"), [("20", 80), ("80", 80), ("200", 200)])
def test_the_console_is_at_least_as_wide_as_a_table(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert TABLE_WIDTH == 80
    assert open_console().width == width


def test_nothing_is_shown_to_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with watching() as show:
        show("working")
    assert capsys.readouterr() == ("", "")


def test_a_person_who_watches_is_shown_what_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with watching() as show:
        show("working hard")
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "working hard" in streams.err


@dataclass(frozen=True)
class _State:
    value: float


def test_a_person_who_watches_is_shown_phases_and_some_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with watching_solver() as (on_phase, on_step):
        on_phase("descent")
        on_step(9, _State(1.0))
        on_step(10, _State(0.25))
    shown = capsys.readouterr().err
    assert "descent, step 10, loss 0.25" in shown
    assert "step 9" not in shown


def test_long_rows_are_broken_and_markup_is_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_rows(open_console(), [("name", "[red]" + 20 * "word "), ("b", "1")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("name   [red]word word")
    assert len(lines) == 3
    assert max(map(len, lines)) <= TABLE_WIDTH
