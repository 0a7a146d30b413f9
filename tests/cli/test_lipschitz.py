"""``tacit lipschitz``: what it prints and writes, and what it refuses."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archives import save_program, small_module, trap, write
from commands import SCRIPT, Outcome, assert_refused, call, dense_model
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


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """Return a model of three inputs, four neurons and two outputs."""
    return dense_model(tmp_path / "dense.onnx", 3, 4, 2)


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """Return a linear model of three inputs and two outputs."""
    return dense_model(tmp_path / "linear.onnx", 3, 2)


def files_in(folder: Path) -> set[str]:
    """Return the names of everything in a folder, hidden files included."""
    return {path.name for path in folder.rglob("*")}


def strict_json(path: Path) -> dict[str, Any]:
    """Return what the file says, which must be JSON as the standard has it."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


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


# What is refused: the model


def _onnx_with(operation: str, tmp_path: Path) -> Path:
    return save(model([(operation, ["x"], {})], (1, 3)), tmp_path / "m.onnx")


def test_a_file_that_is_no_model_is_refused(capsys: Capture, tmp_path: Path) -> None:
    contents = {
        "empty.onnx": (b"", "is empty"),
        "text.onnx": (b"hello", "is a text file"),
        "noise.onnx": (bytes(range(256)) * 4, "noise.onnx"),
        "noise.pt2": (b"PK\x03\x04" + bytes(range(256)), "noise.pt2"),
        "onnx.onnx": (b"\x08\x08\xff\xff\xff", "onnx.onnx"),
    }
    for name, (content, words) in contents.items():
        (tmp_path / name).write_bytes(content)
        assert_refused(call(capsys, "lipschitz", tmp_path / name), words)
    assert_refused(call(capsys, "lipschitz", tmp_path / "none.onnx"), "does not exist")
    assert_refused(call(capsys, "lipschitz", tmp_path), "is not a file")


def test_a_pickle_is_refused_and_never_loaded(capsys: Capture, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    plain = tmp_path / "model.pt"
    plain.write_bytes(trap(folder))
    assert_refused(call(capsys, "lipschitz", plain), "is a pickle")
    packed = write({"data.pkl": trap(folder), "version": b"3"}, tmp_path / "m.pt2")
    assert_refused(call(capsys, "lipschitz", packed))
    assert not folder.exists()


def test_an_unsupported_layer_is_named(capsys: Capture, tmp_path: Path) -> None:
    path = _onnx_with("Softmax", tmp_path)
    assert_refused(call(capsys, "lipschitz", path), "Softmax")


def test_weights_that_are_not_finite_are_refused(
    capsys: Capture, tmp_path: Path
) -> None:
    weight = numbers(2, 3)
    weight[0, 0] = np.nan
    path = dense_model(tmp_path / "nan.onnx", 3, 2, w0=weight)
    assert_refused(call(capsys, "lipschitz", path), "NaN")


def test_a_model_without_layers_is_refused_or_the_identity(
    capsys: Capture, tmp_path: Path
) -> None:
    path = _onnx_with("Identity", tmp_path)
    outcome = call(capsys, "lipschitz", path)
    if outcome.code:
        assert_refused(outcome)
    else:
        assert "<= Lip(f, l2) <= 1 " in outcome.out


def test_a_tensor_that_claims_ten_gigabytes_is_refused(
    capsys: Capture, tmp_path: Path
) -> None:
    proto = model([("Gemm", ["x", "w"], {"transB": 1})], (1, 3), {"w": numbers(2, 3)})
    proto.graph.initializer[0].dims[:] = [50_000, 50_000]
    path = save(proto, tmp_path / "huge.onnx")
    assert_refused(call(capsys, "lipschitz", path), "weight 'w' is damaged")


# What is refused: the options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--norm", "l3"], "--norm"),
        (["--margin", "0"], "--margin takes two outputs"),
        (["--margin", "0,0"], "--margin takes two outputs"),
        (["--margin", "a,b"], "--margin takes integers"),
        (["--margin", "0,2"], "0..1"),
        (["--margin", "0,99999999999999999999"], "0..1"),
        (["--rtol", "0"], "--rtol must be a positive number"),
        (["--rtol", "nan"], "--rtol must be a positive number"),
        (["--rtol", "inf"], "--rtol must be a positive number"),
        (["--rtol=-1"], "--rtol must be a positive number"),
        (["--max-steps", "0"], "--max-steps must be at least 1"),
        (["--seed", "1.5"], "--seed: must be an integer"),
        (["--input-shape", "3,x"], "--input-shape takes integers"),
        (["--input-shape", "7"], "7"),
        (["--random", "2,3,1"], "got both"),
    ],
)
def test_a_bad_option_is_refused(
    capsys: Capture, linear: Path, options: list[str], words: str
) -> None:
    assert_refused(call(capsys, "lipschitz", linear, *options), words)
    assert files_in(linear.parent) == {"linear.onnx"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "got neither"),
        (["--random", "2,3"], "--random takes d,N,L"),
        (["--random", "2,0,1"], "at least 1"),
        (["--random", "2,x,1"], "--random takes integers"),
        (["--random", "9,99999999999,2"], "at most"),
        (["--random", "2,3,1", "--margin", "0,1"], "--margin needs two outputs"),
        (["--random", "2,3,1", "--input-shape", "2"], "--input-shape is for a MODEL"),
    ],
)
def test_a_bad_random_network_is_refused(
    capsys: Capture, options: list[str], words: str
) -> None:
    assert_refused(call(capsys, "lipschitz", *options), words)


def test_a_bad_model_leaves_no_folder(capsys: Capture, tmp_path: Path) -> None:
    call(capsys, "lipschitz", tmp_path / "none.onnx", "--out", tmp_path / "result")
    assert files_in(tmp_path) == set()


# What is refused: places to write to


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    capsys: Capture, linear: Path
) -> None:
    folder = linear.parent / "folder"
    folder.mkdir()
    before = linear.read_bytes()
    for options, words in (
        (["--out", linear], "it is a file"),
        (["--out", linear / "below"], "--out cannot write"),
        (["--json", linear / "r.json"], "--json cannot write"),
        (["--out", "/proc/none/result"], "--out cannot write"),
        (["--json", "/proc/none/r.json"], "--json cannot write"),
        (["--json", folder], "it is not a file"),
        (["--json", os.devnull], "it is not a file"),
        (["--json", linear], "would be overwritten"),
        (["--out", folder, "--json", folder / "certificate.npz"], "another result's"),
        (["--out", folder, "--json", folder / "bracket.png"], "another result's"),
    ):
        assert_refused(call(capsys, "lipschitz", linear, *options), words)
    assert files_in(linear.parent) == {"linear.onnx", "folder"}
    assert linear.read_bytes() == before


def test_a_folder_without_permission_is_refused(
    capsys: Capture, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as a person whom no permission stops.
    def denied(path: Path, mode: int) -> bool:
        return False

    monkeypatch.setattr(os, "access", denied)
    outcome = call(capsys, "lipschitz", linear, "--out", linear.parent)
    assert_refused(outcome, "not permitted")


def test_a_full_disk_is_reported_after_the_answer(
    capsys: Capture, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tacit.cli.lipschitz.write_bytes", full)
    outcome = call(capsys, "lipschitz", linear, "--json", linear.parent / "r.json")
    assert outcome.code == 2
    assert "<= Lip(f, l2) <=" in outcome.out
    assert "No space left on device" in outcome.err
    assert outcome.err.count("\n") == 1


# A person who watches, and one who stops it


def _read_all(descriptor: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # how Linux says that the other end of a terminal is closed
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)


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
        shown = _read_all(ours)
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
