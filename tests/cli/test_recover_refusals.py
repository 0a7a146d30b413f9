"""What ``tacit recover`` refuses: files, options, and places to write to."""

import os
from pathlib import Path

import numpy as np
import pytest

from archives import trap
from commands import assert_refused, call, files_in

Capture = pytest.CaptureFixture[str]

LINES = "row,column,value\n0,0,1\n0,1,2\n1,0,3\n1,1,6\n2,0,2\n"

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    """Return a table of five entries of a 3 x 2 matrix of rank 1."""
    path = tmp_path / "e.csv"
    path.write_text(LINES)
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "0,0,1\n0,0,2\n1,1,1\n", "got 1.0 and 2.0 at row 0, column 0"),
        ("a.csv", "0,0,1\n0,1,nan\n1,1,1\n", "must be finite; got nan"),
        ("a.csv", "0,0,1\n0,1,2\n", "at least two rows and two columns; got 1 x 2"),
        ("a.csv", "0,0,1\n1,1,x\n", "Row #2"),
        ("a.csv", "0,0,1\n-1,1,2\n", "at least 0; got -1"),
        ("a.csv", "a,b,c,d\n1,2,3,4\n", "--columns"),
        ("a.csv", "0,0,0\n1,1,0\n0,1,0\n", "must not all be zero"),
        ("a.mtx", "%%MatrixMarket matrix coordinate real general\n2 2 9\n", "claims 9"),
        ("a.npz", "no archive", "cannot be read as an archive"),
        ("a.parquet", "no table", "cannot be read as a Parquet table"),
        ("a.jpg", "no matrix", "unknown suffix"),
        ("[bold]a[/bold].csv", "", "[bold]a[/bold].csv is empty"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    capsys: Capture, tmp_path: Path, name: str, content: str, words: str
) -> None:
    path = tmp_path / Path(name).name
    if name.startswith("["):  # a slash in the markup makes a folder
        path = tmp_path / name
        path.parent.mkdir()
    path.write_text(content)
    assert_refused(call(capsys, "recover", path), words)
    outcome = call(capsys, "recover", path, "--out", tmp_path / "result")
    assert outcome.code == 2
    assert files_in(tmp_path) - {"result"} <= {path.name, "[bold]a["}


def test_what_is_no_file_is_refused(capsys: Capture, tmp_path: Path) -> None:
    assert_refused(call(capsys, "recover", tmp_path / "no.csv"), "does not exist")
    assert_refused(call(capsys, "recover", tmp_path), "is not a file")


def test_a_pickle_is_never_loaded(capsys: Capture, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    (tmp_path / "a.npz").write_bytes(trap(folder))
    assert_refused(call(capsys, "recover", tmp_path / "a.npz"), "a.npz")
    np.savez(tmp_path / "b.npz", row=np.array([{}], dtype=object))
    assert_refused(call(capsys, "recover", tmp_path / "b.npz"), "never loaded")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rank", "0"], "--rank must be at least 1"),
        (["--rank", "3"], "rank must be in 1..min(num_rows, num_columns) = 2; got 3"),
        (["--holdout", "1"], "--holdout must be in [0, 1)"),
        (["--holdout=-0.1"], "--holdout must be in [0, 1)"),
        (["--holdout", "nan"], "--holdout must be in [0, 1)"),
        (["--max-steps", "0"], "--max-steps must be at least 1"),
        (["--columns", "row,column"], "--columns takes the names"),
        (["--columns", "row,column,none"], "must be 3 different ones of row, column"),
        (["--complete", "all"], "--complete writes completed.csv into --out"),
        (["--symmetric"], "an entry may have one value; got 2.0 and 3.0"),
    ],
)
def test_a_bad_option_is_refused(
    capsys: Capture, entries: Path, options: list[str], words: str
) -> None:
    assert_refused(call(capsys, "recover", entries, *options), words)
    assert files_in(entries.parent) == {"e.csv"}


def test_what_cannot_be_completed_is_refused_before_the_work(
    capsys: Capture, entries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = entries.parent / "result"
    asked = entries.with_name("asked.csv")
    asked.write_text("0,0\n7,0\n")
    for complete, words in (
        (asked, "row '7' has no entry to learn from"),
        (asked.with_name("none.csv"), "does not exist"),
        ("everything", "does not exist"),
    ):
        options = ("--complete", complete, "--out", out)
        assert_refused(call(capsys, "recover", entries, *options), words)
    monkeypatch.setattr("tacit.cli.recover.MAX_COMPLETED", 5)
    options = ("--complete", "all", "--out", out)
    outcome = call(capsys, "recover", entries, *options)
    assert_refused(outcome, "at most 5 entries; got 3 x 2")
    assert files_in(entries.parent) == {"e.csv", "asked.csv"}


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    capsys: Capture, entries: Path
) -> None:
    folder = entries.parent / "folder"
    folder.mkdir()
    asked = folder / "completed.csv"
    asked.write_text("0,0\n")
    for options, words in (
        (["--out", entries], "it is a file"),
        (["--json", entries / "r.json"], "--json cannot write"),
        (["--json", folder], "it is not a file"),
        (["--json", os.devnull], "it is not a file"),
        (["--json", entries], "would be overwritten"),
        (["--out", folder, "--json", folder / "factors.npz"], "another result's"),
        (["--out", folder, "--json", folder / "phases.pdf"], "another result's"),
        (["--out", folder, "--complete", asked], "would be overwritten"),
    ):
        assert_refused(call(capsys, "recover", entries, *options), words)
    assert files_in(entries.parent) == {"e.csv", "folder", "completed.csv"}
    assert entries.read_text() == LINES


def test_a_full_disk_is_reported_after_the_answer(
    capsys: Capture, entries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tacit.cli.recover.write_bytes", full)
    options = ("--rank", "1", "--json", entries.with_name("r.json"))
    outcome = call(capsys, "recover", entries, *options)
    assert outcome.code == 2
    assert "error on what was fitted" in outcome.out
    assert "No space left on device" in outcome.err.splitlines()[-1]


def test_a_reader_of_the_output_who_leaves_costs_no_result(
    capsys: Capture, entries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*rest: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("tacit.cli.recover._print", gone)
    target = entries.with_name("r.json")
    outcome = call(capsys, "recover", entries, "--rank", "1", "--json", target)
    assert outcome.code == 130
    assert target.is_file()
