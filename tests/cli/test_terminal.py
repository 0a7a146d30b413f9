"""What a person sees: lines wide enough, progress only on a terminal."""

import pytest

from tacit.cli.terminal import TABLE_WIDTH, open_console, watching

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
