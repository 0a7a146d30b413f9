"""What ``tacit lipschitz`` refuses: models, options, and places to write to."""

import os
from pathlib import Path

import numpy as np
import pytest

from archives import trap, write
from commands import assert_refused, call, dense_model, files_in
from onnx_models import model, numbers, save

Capture = pytest.CaptureFixture[str]


# The model


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


# The options


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


# Places to write to


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
