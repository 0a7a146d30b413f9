"""``tacit lipschitz``: what it prints and writes, and what it refuses."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archives import save_program, small_module
from commands import (
    SCRIPT,
    Outcome,
    assert_refused,
    call,
    dense_model,
    files_in,
    read_terminal,
    strict_json,
)
from onnx_models import model, numbers, save
from tacit import read_network
from tacit.lipschitz.certificate import load_certificate
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import Norm
from tacit.lipschitz.solve import LipschitzResult, Method, lipschitz_bracket

Capture = pytest.CaptureFixture[str]

KEYS = {
    *("lower", "upper", "ratio", "norm", "scope", "arithmetic", "methods"),
    *("witness", "network", "seconds", "version"),
}
OUT_FILES = {"bracket.pdf", "bracket.png", "certificate.npz", "result.json"}


def written(outcome: Outcome) -> list[str]:
    """Return the paths that the command says it wrote."""
    lines = outcome.out.splitlines()
    return [line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")]


# The answer


Matrix = np.ndarray[Any, np.dtype[np.float64]]


def _largest_at_a_corner(weight: Matrix) -> float:
    corners = [[1.0, a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    return max(float(np.linalg.norm(weight @ corner)) for corner in corners)


OPERATOR_NORMS: dict[str, Callable[[Matrix], float]] = {
    "l2": lambda weight: float(np.linalg.norm(weight, 2)),
    "linf": _largest_at_a_corner,
    "l1": lambda weight: float(np.linalg.norm(weight, axis=0).max()),
}


@pytest.mark.parametrize("norm", OPERATOR_NORMS)
def test_a_linear_model_gets_its_operator_norm(
    capsys: Capture, linear: Path, norm: str
) -> None:
    target = linear.with_name("r.json")
    outcome = call(capsys, "lipschitz", linear, "--norm", norm, "--json", target)
    assert (outcome.code, outcome.err) == (0, "")
    result = strict_json(target)
    truth = OPERATOR_NORMS[norm](numbers(2, 3).astype(np.float64))
    assert result["lower"] == pytest.approx(truth, rel=1e-6)
    assert result["lower"] <= truth * (1.0 + 1e-12)
    assert result["upper"] >= truth * (1.0 - 1e-12)
    assert result["norm"] == norm


def test_the_table_has_every_bound_and_the_bracket(
    capsys: Capture, dense: Path
) -> None:
    target = dense.with_name("r.json")
    outcome = call(capsys, "lipschitz", dense, "--json", target)
    result = strict_json(target)
    lines = outcome.out.splitlines()
    assert lines[0] == ("dense.onnx: 3 inputs, 2 outputs, 4 neurons, 20 parameters")
    assert lines[1].split() == ["method", "side", "value", "how", "known", "seconds"]
    for method in result["methods"]:
        (row,) = [line for line in lines if line.startswith(f"{method['name']}  ")]
        assert f"{method['value']:.7g}" in row
        assert method["side"] in row
        assert method["arithmetic"] in row
        assert f"{method['seconds']:.2f}" in row
    (bracket,) = [line for line in lines if " <= Lip(f, l2) <= " in line]
    assert bracket.startswith(f"{result['lower']:.7g} <= ")
    assert f" <= {result['upper']:.7g} " in bracket
    assert f"ratio {result['ratio']:.4f}" in bracket


@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_the_table_is_whole_at_any_width(
    capsys: Capture, dense: Path, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    outcome = call(capsys, "lipschitz", dense)
    table = outcome.out.splitlines()[1:-1]
    assert max(map(len, table)) <= 80
    assert "annealed gradient ascent " in outcome.out
    assert "lifted network, elimination " in outcome.out
    assert "..." not in outcome.out
    assert "\N{HORIZONTAL ELLIPSIS}" not in outcome.out


def test_nothing_is_written_unless_asked_for(
    capsys: Capture, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(linear.parent)
    outcome = call(capsys, "lipschitz", linear)
    assert outcome.code == 0
    assert written(outcome) == []
    assert files_in(linear.parent) == {"linear.onnx"}


def test_out_has_figure_json_and_certificate(capsys: Capture, dense: Path) -> None:
    out = dense.parent / "deep" / "result"
    outcome = call(capsys, "lipschitz", dense, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert files_in(out) == OUT_FILES
    assert sorted(written(outcome)) == sorted(str(out / name) for name in OUT_FILES)
    assert (out / "bracket.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "bracket.pdf").read_bytes().startswith(b"%PDF")


def test_the_json_has_its_stable_keys(capsys: Capture, dense: Path) -> None:
    out = dense.parent / "result"
    call(capsys, "lipschitz", dense, "--out", out, "--seed", "3")
    result = strict_json(out / "result.json")
    assert result.keys() >= KEYS
    assert result["scope"] == "global"
    assert result["arithmetic"] == "float"
    assert result["ratio"] == pytest.approx(result["upper"] / result["lower"])
    uppers = [m["value"] for m in result["methods"] if m["side"] == "upper"]
    lowers = [m["value"] for m in result["methods"] if m["side"] == "lower"]
    assert (max(lowers), min(uppers)) == (result["lower"], result["upper"])
    for method in result["methods"]:
        assert {"name", "side", "value", "seconds", "arithmetic"} <= method.keys()
    network = read_network(dense)
    assert result["network"] == {
        "name": "dense.onnx",
        "digest": network.digest,
        "inputs": 3,
        "outputs": 2,
        "neurons": 4,
        "parameters": 20,
    }
    assert result["witness"] == str(out / "certificate.npz")
    certificate = load_certificate(out / "certificate.npz")
    assert certificate.lower == result["lower"]
    assert certificate.upper == result["witness_upper"]


def test_json_alone_puts_the_certificate_beside_it(
    capsys: Capture, linear: Path
) -> None:
    target = linear.parent / "new" / "answer.json"
    outcome = call(capsys, "lipschitz", linear, "--json", target)
    certificate = target.with_name("answer.certificate.npz")
    assert sorted(written(outcome)) == [str(certificate), str(target)]
    assert files_in(target.parent) == {target.name, certificate.name}
    assert strict_json(target)["witness"] == str(certificate)


def test_a_file_named_twice_is_written_once(capsys: Capture, linear: Path) -> None:
    out = linear.parent / "result"
    same = out / ".." / "result" / "result.json"
    outcome = call(capsys, "lipschitz", linear, "--out", out, "--json", same)
    assert len(written(outcome)) == len(set(written(outcome))) == len(OUT_FILES)
    assert files_in(out) == OUT_FILES


def test_json_and_out_may_differ(capsys: Capture, linear: Path) -> None:
    out, target = linear.parent / "result", linear.parent / "other.json"
    outcome = call(capsys, "lipschitz", linear, "--out", out, "--json", target)
    assert outcome.code == 0
    assert target.read_bytes() == (out / "result.json").read_bytes()
    assert files_in(out) == OUT_FILES


def test_a_margin_bounds_the_difference_of_two_outputs(
    capsys: Capture, linear: Path
) -> None:
    target = linear.with_name("r.json")
    outcome = call(capsys, "lipschitz", linear, "--margin", "1,0", "--json", target)
    result = strict_json(target)
    weight = numbers(2, 3).astype(np.float64)
    truth = float(np.linalg.norm(weight[1] - weight[0]))
    assert result["lower"] == pytest.approx(truth, rel=1e-6)
    assert result["upper"] == pytest.approx(truth, rel=1e-6)
    assert result["margin"] == [1, 0]
    # The network is the one given, not the scalar one of the margin.
    assert result["network"]["outputs"] == 2
    assert result["network"]["parameters"] == 6
    assert "Lip(f[1] - f[0], l2)" in outcome.out


def test_a_seed_gives_the_same_numbers_again(capsys: Capture, dense: Path) -> None:
    results: list[dict[str, Any]] = []
    for seed in ("4", "4", "-5"):
        target = dense.with_name("r.json")
        call(capsys, "lipschitz", dense, "--seed", seed, "--json", target)
        results.append(strict_json(target))
    values = [[m["value"] for m in result["methods"]] for result in results]
    assert values[0] == values[1]
    for side in ("lower", "upper"):
        assert results[0][side] == pytest.approx(results[2][side], rel=1e-3)


def test_a_random_network_is_set_beside_its_prediction(
    capsys: Capture, tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    outcome = call(
        capsys, "lipschitz", "--random", "5,12,2", "--norm", "linf", "--json", target
    )
    assert (outcome.code, outcome.err) == (0, "")
    result = strict_json(target)
    assert "random ReLU network, d=5, N=12, L=2: 5 inputs, 1 output," in outcome.out
    assert len(result["predictions"]) >= 2
    rows = [line for line in outcome.out.splitlines() if "  predicted  " in line]
    assert len(rows) == len(result["predictions"])
    for prediction in result["predictions"]:
        (row,) = [row for row in rows if f" {prediction['value']:.7g} " in row]
        assert prediction["certainty"] in row
    assert result["network"]["neurons"] == 24


def test_another_seed_draws_another_network(capsys: Capture, tmp_path: Path) -> None:
    digests: set[str] = set()
    for seed in ("0", "1"):
        target = tmp_path / f"{seed}.json"
        arguments = ("--random", "2,3,1", "--seed", seed, "--json", target)
        call(capsys, "lipschitz", *arguments)
        digests.add(strict_json(target)["network"]["digest"])
    assert len(digests) == 2


def test_an_open_shape_is_given_by_hand(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    steps = [("Relu", ["x"], {}), ("Flatten", ["v0"], {})]
    save(model(steps, ("batch", 1, "height", "width")), path)
    assert_refused(call(capsys, "lipschitz", path), "shape")
    outcome = call(capsys, "lipschitz", path, "--input-shape", "1,2,3")
    assert outcome.code == 0
    assert "6 inputs, 6 outputs" in outcome.out
    assert_refused(call(capsys, "lipschitz", path, "--input-shape", "1,2"))
    assert_refused(call(capsys, "lipschitz", path, "--input-shape", "1,0,3"), "least 1")


def test_a_constant_network_is_answered(capsys: Capture, tmp_path: Path) -> None:
    zero = np.zeros((2, 3), dtype=np.float32)
    path = dense_model(tmp_path / "zero.onnx", 3, 2, w0=zero)
    outcome = call(capsys, "lipschitz", path, "--out", tmp_path / "result")
    assert (outcome.code, outcome.err) == (0, "")
    assert "0 <= Lip(f, l2) <= 0 " in outcome.out
    result = strict_json(tmp_path / "result" / "result.json")
    assert (result["lower"], result["upper"], result["ratio"]) == (0.0, 0.0, 1.0)


# A person who watches, and one who stops it


def test_progress_is_shown_to_a_person_and_results_only_to_a_pipe(
    linear: Path,
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [SCRIPT, "lipschitz", linear],
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
    assert "searching a pair of inputs" in shown
    assert "<= Lip(f, l2) <=" not in shown
    lines = out.splitlines()
    assert lines[0].startswith("linear.onnx: 3 inputs")
    assert lines[1].startswith("method ")
    assert "<= Lip(f, l2) <=" in lines[-1]
    assert out.isascii()
    assert "\x1b" not in out


# Ctrl-C at the 40th step of the long search; the signal is a real one.
INTERRUPTED = """
import os, signal
from tacit.cli import lipschitz as command
from tacit.cli.main import main

# A process started in the background of a shell would not hear Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
real = command.lipschitz_bracket

def interrupt(step, state):
    if step == 40:
        os.kill(os.getpid(), signal.SIGINT)

def bracket(network, *, observers, **rest):
    return real(network, observers=(*observers, interrupt), **rest)

command.lipschitz_bracket = bracket
main()
"""


def test_ctrl_c_in_the_long_search_keeps_what_was_found(
    capsys: Capture, tmp_path: Path
) -> None:
    path, out = dense_model(tmp_path / "m.onnx", 3, 8, 8, 2), tmp_path / "result"
    options = ("--out", out, "--rtol", "1e-15", "--max-steps", "10000000")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "lipschitz", path, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")
    assert "stopped by Ctrl-C; the result so far is valid" in done.stdout
    assert files_in(out) == OUT_FILES
    result = strict_json(out / "result.json")
    assert 0.0 < result["lower"] <= result["upper"]
    checked = call(capsys, "verify", out / "certificate.npz", path)
    assert checked.code == 0, checked


def test_ctrl_c_before_there_is_a_bracket_leaves_nothing(
    capsys: Capture, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(network: Network, *, norm: Norm, **rest: Any) -> LipschitzResult:
        def on_method(method: Method) -> None:
            if method == "product":
                raise KeyboardInterrupt

        return lipschitz_bracket(network, norm=norm, on_method=on_method)

    monkeypatch.setattr("tacit.cli.lipschitz.lipschitz_bracket", interrupted)
    outcome = call(capsys, "lipschitz", linear, "--out", linear.parent / "result")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == "tacit: interrupted; nothing was left half-written\n"
    assert files_in(linear.parent / "result") == set()


@pytest.mark.global_rng
def test_the_archive_of_a_torch_program_is_read(
    capsys: Capture, tmp_path: Path
) -> None:
    path = save_program(small_module(), (1, 1, 5), tmp_path / "m.pt2")
    outcome = call(capsys, "lipschitz", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert "m.pt2: 5 inputs, 2 outputs, 6 neurons, 22 parameters" in outcome.out
