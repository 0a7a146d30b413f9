"""``tacit recover`` end to end: the answer, its files, progress, and Ctrl-C."""

import csv
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from commands import SCRIPT, Outcome, call, files_in, read_terminal, strict_json
from tacit.recovery.readers.read import read_entries

Capture = pytest.CaptureFixture[str]
Matrix = np.ndarray[Any, np.dtype[np.float64]]

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng

OUT_FILES = {
    *("factors.npz", "result.json"),
    *("recovery.png", "recovery.pdf", "convergence.png", "convergence.pdf"),
}


def planted(rows: int, columns: int, rank: int, seed: int = 0) -> Matrix:
    """Return a Gaussian matrix of a rank."""
    draw = np.random.default_rng(seed)
    return draw.normal(size=(rows, rank)) @ draw.normal(size=(rank, columns))


def written(outcome: Outcome) -> list[str]:
    """Return the paths that a command says it wrote."""
    lines = outcome.out.splitlines()
    return [line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")]


def table(path: Path, matrix: Matrix, part: float = 0.6) -> Path:
    """Write a part of the entries, with names for rows and numbers for columns."""
    known = np.random.default_rng(1).random(matrix.shape) < part
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "film", "stars"])
        writer.writerows(
            [f"u{i:02}", 10 + j, float(matrix[i, j])] for i, j in np.argwhere(known)
        )
    return path


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """Return a table of a 24 x 20 matrix of rank 2."""
    return table(tmp_path / "ratings.csv", planted(24, 20, 2))


def stored_matrix(path: Path) -> tuple[Matrix, list[Any], list[Any]]:
    """Return the matrix in a file of factors, and its labels."""
    with np.load(path) as stored:
        matrix = stored["left"] @ stored["right"].conj().T
        labels = [
            json.loads(bytes(stored[name])) for name in ("row_labels", "column_labels")
        ]
    return matrix, labels[0], labels[1]


def test_a_planted_matrix_is_completed(capsys: Capture, ratings: Path) -> None:
    out = ratings.parent / "result"
    outcome = call(capsys, "recover", ratings, "--out", out, "--complete", "all")
    assert (outcome.code, outcome.err) == (0, "")
    assert files_in(out) == {*OUT_FILES, "completed.csv"}
    assert sorted(written(outcome)) == sorted(str(out / name) for name in files_in(out))
    truth = planted(24, 20, 2)
    matrix, rows, columns = stored_matrix(out / "factors.npz")
    assert np.linalg.norm(matrix - truth) < 1e-6 * np.linalg.norm(truth)
    assert rows == [f"u{i:02}" for i in range(24)]
    assert columns == list(range(10, 30))
    found = read_entries(out / "completed.csv")
    assert (list(found.row_labels or ()), list(found.column_labels or ())) == (
        rows,
        columns,
    )
    np.testing.assert_allclose(found.values.reshape(24, 20), matrix, rtol=1e-9)


def test_the_json_and_the_text_say_the_same(capsys: Capture, ratings: Path) -> None:
    target = ratings.with_name("r.json")
    outcome = call(capsys, "recover", ratings, "--json", target, "--holdout", "0.1")
    assert (outcome.code, outcome.err) == (0, "")
    result = strict_json(target)
    count = len(read_entries(ratings).values)
    assert (result["rank"], result["shape"]) == (2, [24, 20])
    assert (result["observed"], result["holdout"]) == (count, round(0.1 * count))
    low, high = result["holdout_interval"]
    assert low <= result["holdout_error"] <= high < 1e-6
    assert result["train_error"] < 1e-6
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f"ratings.csv: 24 x 20, {count} entries known (")
    text = " ".join(" ".join(lines).split())
    assert f"rank {result['rank']} " in text
    assert f"held out {result['holdout_error']:.4g} (95%: {low:.4g} to" in text
    assert f"steps {result['steps']} (" in text
    assert f"method {result['method']} why {result['reason']} steps" in text
    assert max(map(len, lines[1:-1])) <= 80
    assert files_in(ratings.parent) == {"ratings.csv", "r.json"}


def test_nothing_is_written_unless_asked_for(capsys: Capture, ratings: Path) -> None:
    outcome = call(capsys, "recover", ratings, "--rank", "2")
    assert (outcome.code, written(outcome)) == (0, [])
    assert files_in(ratings.parent) == {"ratings.csv"}


def test_pairs_are_predicted_in_their_order(capsys: Capture, ratings: Path) -> None:
    asked, out = ratings.with_name("asked.csv"), ratings.parent / "result"
    asked.write_text("film,user\n11,u03\n29,u00\n11,u03\n")
    options = ("--rank", "2", "--complete", asked, "--out", out)
    outcome = call(capsys, "recover", ratings, *options)
    assert (outcome.code, outcome.err) == (0, "")
    with (out / "completed.csv").open(newline="") as file:
        head, *lines = csv.reader(file)
    assert head == ["user", "film", "stars"]
    truth = planted(24, 20, 2)
    assert [line[:2] for line in lines] == [
        ["u03", "11"],
        ["u00", "29"],
        ["u03", "11"],
    ]
    values = [float(line[2]) for line in lines]
    wanted = [truth[3, 1], truth[0, 19], truth[3, 1]]
    assert values == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_symmetric_matrix_is_found_from_measurements(
    capsys: Capture, tmp_path: Path, *, is_packed: bool
) -> None:
    draw = np.random.default_rng(2)
    factor = draw.normal(size=(8, 2))
    stack = draw.normal(size=(90, 8, 8))
    stack = stack + stack.transpose(0, 2, 1)
    y = np.einsum("mij,ij->m", stack, factor @ factor.T)
    i, j = np.triu_indices(8)
    packed = stack[:, i, j] * np.where(i == j, 1.0, np.sqrt(2.0))
    path, out = tmp_path / "m.npz", tmp_path / "result"
    np.savez(path, measurement_matrix=packed if is_packed else stack, measurements=y)
    outcome = call(capsys, "recover", path, "--symmetric", "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("m.npz: symmetric 8 x 8, 90 measurements, 4 of them")
    result = strict_json(out / "result.json")
    assert (result["rank"], result["symmetric"]) == (2, True)
    assert (result["kind"], result["observed"]) == ("measurements", 90)
    with np.load(out / "factors.npz") as stored:
        assert sorted(stored) == ["left", "right"]
        matrix = stored["left"] @ stored["right"].T
    assert np.linalg.norm(matrix - factor @ factor.T) < 1e-6 * np.linalg.norm(matrix)


def test_complex_entries_are_completed(capsys: Capture, tmp_path: Path) -> None:
    truth = planted(14, 12, 2) + 1j * planted(14, 12, 2, seed=5)
    truth = np.linalg.svd(truth)[0][:, :1] * 3.0 @ (1.0 + 1j * np.arange(12.0))[None]
    path, out = tmp_path / "c.npz", tmp_path / "result"
    observed = np.random.default_rng(4).random(truth.shape) < 0.7
    np.savez(path, matrix=truth, observed=observed)
    options = ("--out", out, "--complete", "all")
    outcome = call(capsys, "recover", path, *options)
    assert (outcome.code, outcome.err) == (0, "")
    with np.load(out / "factors.npz") as stored:
        matrix = stored["left"] @ stored["right"].conj().T
    assert np.linalg.norm(matrix - truth) < 1e-6 * np.linalg.norm(truth)
    head, *lines = (out / "completed.csv").read_text().splitlines()
    assert head == '"row","column","value_real","value_imag"'
    assert len(lines) == 14 * 12


def test_the_digits_are_completed_better_than_by_their_mean(
    capsys: Capture, tmp_path: Path
) -> None:
    digits: Any = load_digits()
    images = np.asarray(digits.data)[:150, np.asarray(digits.data)[:150].std(0) > 0.0]
    path, target = table(tmp_path / "digits.csv", images, 0.5), tmp_path / "r.json"
    outcome = call(capsys, "recover", path, "--json", target)
    assert outcome.code == 0
    result = strict_json(target)
    values = read_entries(path).values.numpy()
    of_mean = values.std() / np.sqrt(np.mean(values**2))
    assert result["holdout_error"] < 0.85 * of_mean
    assert result["holdout_interval"][1] < of_mean


def test_too_few_entries_are_a_warning_with_numbers(
    capsys: Capture, tmp_path: Path
) -> None:
    path, target = tmp_path / "few.npz", tmp_path / "r.json"
    np.savez(path, row=[0, 1, 2, 0, 1], column=[0, 1, 2, 1, 1], value=[1, 2, 3, 4, 2.0])
    options = ("--rank", "2", "--holdout", "0", "--json", target)
    outcome = call(capsys, "recover", path, *options)
    assert outcome.code == 0
    result = strict_json(target)
    notes = ["1 repeated entry with an equal value was merged"]
    assert result["notes"] == notes
    assert result["warnings"]
    assert "4 measurements" in result["warnings"][0]
    assert "8 unknowns" in result["warnings"][0]
    lines = [f"note: {note}" for note in notes]
    lines += [f"warning: {warning}" for warning in result["warnings"]]
    assert outcome.err.splitlines() == lines
    assert result["holdout_error"] is None


def test_a_seed_gives_the_same_numbers_again(capsys: Capture, ratings: Path) -> None:
    results: list[dict[str, Any]] = []
    for seed in ("4", "4", "-5"):
        target = ratings.with_name("r.json")
        call(capsys, "recover", ratings, "--seed", seed, "--json", target)
        results.append(strict_json(target))
        results[-1].pop("seconds")
    assert results[0] == results[1]
    assert results[2]["rank"] == 2
    assert results[2]["holdout_error"] != results[0]["holdout_error"]


# A person who watches, and one who stops it


def test_progress_is_shown_to_a_person_and_results_only_to_a_pipe(
    ratings: Path,
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [SCRIPT, "recover", ratings],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=os.environ | {"TERM": "xterm", "PYTHONIOENCODING": "ascii"},
    ) as process:
        os.close(theirs)
        shown = read_terminal(ours)
        out, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0
    assert "starting" in shown
    assert "entries known" not in shown
    assert out.startswith("ratings.csv: 24 x 20")
    assert out.isascii()
    assert "\x1b" not in out


def test_progress_names_what_goes_on_and_its_loss(
    capsys: Capture, ratings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    @contextmanager
    def watching() -> Generator[Callable[[str], None]]:
        yield shown.append

    monkeypatch.setattr("tacit.cli.terminal.watching", watching)
    call(capsys, "recover", ratings)
    assert shown
    phases = [text for text in shown if ", step " not in text]
    losses = [text for text in shown if ", step 10, loss " in text]
    assert phases[0] == shown[0]
    assert losses
    assert all(text.split(", step ")[0] in phases for text in losses)


# Ctrl-C at a step of the search; the signal is a real one.
INTERRUPTED = """
import os, signal
from tacit.cli import recover as command
from tacit.cli.main import main

# A process started in the background of a shell would not hear Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
real = command.recover_matrix

def interrupt(step, state):
    if step == 5:
        os.kill(os.getpid(), signal.SIGINT)

def recover(problem, *, observers, **rest):
    return real(problem, observers=(*observers, interrupt), **rest)

command.recover_matrix = recover
main()
"""


def test_ctrl_c_keeps_what_was_found(ratings: Path) -> None:
    out = ratings.parent / "result"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "recover", ratings, "--out", out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")
    assert "stopped by Ctrl-C" in done.stdout
    assert files_in(out) == OUT_FILES
    result = strict_json(out / "result.json")
    assert result["status"] == "interrupted"
    matrix, _, _ = stored_matrix(out / "factors.npz")
    assert np.isfinite(matrix).all()


def test_ctrl_c_before_anything_is_found_leaves_nothing(
    capsys: Capture, ratings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(problem: object, **rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tacit.cli.recover.recover_matrix", interrupted)
    out = ratings.parent / "result"
    outcome = call(capsys, "recover", ratings, "--out", out)
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == "tacit: interrupted; nothing was left half-written\n"
    assert files_in(out) == set()
