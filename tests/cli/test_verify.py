"""``tacit verify``: what was written holds, what was altered or forged is refused."""

import io as streams
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from archives import Trap, save_program, small_module, trap
from commands import Outcome, assert_refused, call, child, dense_model
from tacit import io
from tacit.cli.main import run
from tacit.lipschitz import certify
from tacit.lipschitz.certificate import (
    Certificate,
    load_certificate,
    save_certificate,
)

Capture = pytest.CaptureFixture[str]
Pair = tuple[Path, Path]

MODELS = Path(__file__).resolve().parents[2] / "examples" / "models"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return a certificate and its model, made once by the command."""
    folder = tmp_path_factory.mktemp("written")
    path = dense_model(folder / "dense.onnx", 3, 4, 2)
    assert run(["lipschitz", str(path), "--json", str(folder / "r.json")]) == 0
    return folder / "r.certificate.npz", path


@pytest.fixture
def made(written: Pair, tmp_path: Path) -> Pair:
    """Return a copy of the certificate that a test may spoil, and the model."""
    copy = tmp_path / "certificate.npz"
    copy.write_bytes(written[0].read_bytes())
    return copy, written[1]


def assert_not_proven(outcome: Outcome, *words: str) -> None:
    """Hold that the certificate was refused in one line that has the words."""
    assert outcome.code == 3, outcome
    assert outcome.err == ""
    assert outcome.out.startswith("refused: ")
    assert outcome.out.count("\n") == 1, outcome.out
    missing = [word for word in words if word not in outcome.out]
    assert not missing, outcome.out


# What was written holds


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("digits_dense.onnx", []),
        ("digits_dense.onnx", ["--norm", "l1", "--margin", "9,0"]),
        ("digits_dense.pt2", ["--norm", "linf"]),
        ("digits_residual.onnx", ["--norm", "linf", "--margin", "3,5"]),
        ("digits_conv.onnx", ["--norm", "linf", "--margin", "0,1"]),
    ],
)
def test_a_certificate_of_an_example_holds(
    capsys: Capture, tmp_path: Path, name: str, options: list[str]
) -> None:
    target = tmp_path / "r.json"
    found = call(capsys, "lipschitz", MODELS / name, *options, "--json", target)
    assert found.code == 0, found
    certificate = tmp_path / "r.certificate.npz"
    outcome = call(capsys, "verify", certificate, MODELS / name, "--seed", "8")
    assert (outcome.code, outcome.err) == (0, "")
    claim = load_certificate(certificate)
    subject = "f" if claim.outputs is None else "f[{}] - f[{}]".format(*claim.outputs)
    assert outcome.out == (
        f"holds: {claim.lower:.9g} <= Lip({subject}, {claim.norm}) <= "
        f"{claim.upper:.9g} (float), both sides recomputed\n"
    )


@pytest.mark.global_rng
def test_a_certificate_of_a_fresh_torch_program_holds(
    capsys: Capture, tmp_path: Path
) -> None:
    path = save_program(small_module(), (1, 1, 5), tmp_path / "m.pt2")
    call(capsys, "lipschitz", path, "--norm", "l1", "--json", tmp_path / "r.json")
    outcome = call(capsys, "verify", tmp_path / "r.certificate.npz", path)
    assert outcome.code == 0, outcome


def test_a_bound_that_may_fail_says_how_often(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certify, "MAX_SITE_SIZE", 1)  # as if it were a large network
    path = dense_model(tmp_path / "m.onnx", 3, 4, 2)
    call(capsys, "lipschitz", path, "--json", tmp_path / "r.json")
    outcome = call(capsys, "verify", tmp_path / "r.certificate.npz", path)
    assert outcome.code == 0, outcome
    assert "(probabilistic, fails with probability 1e-" in outcome.out


def test_checking_loads_no_search(written: Pair) -> None:
    code = (
        "import sys\n"
        "from tacit.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        "print(*sorted(m for m in sys.modules if m.startswith('tacit')))\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", *written],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    modules = done.stdout.splitlines()[-1].split()
    assert "tacit.lipschitz.certify" in modules
    searches = {"flips", "jacobian", "lift", "lifted_bound", "lower", "predict"}
    searches |= {"segment", "solve", "sweep", "iterate", "closed_form", "products"}
    searches |= {"balancing", "elimination", "loop_transform"}
    assert [m for m in modules if searches & set(m.split("."))] == []


# What is bad input, not a refusal


def test_a_missing_certificate_or_model_is_bad_input(
    capsys: Capture, written: Pair, tmp_path: Path
) -> None:
    certificate, path = written
    for arguments, words in (
        ((tmp_path / "none.npz", path), "none.npz: there is no such file"),
        ((tmp_path, path), "there is no such file"),
        ((certificate, tmp_path / "none.onnx"), "none.onnx does not exist"),
        ((certificate, certificate), "no exported program"),
        ((certificate, path, "--seed", "x"), "--seed"),
        ((certificate, path, "--input-shape", "0"), "--input-shape"),
    ):
        assert_refused(call(capsys, "verify", *arguments), words)


# What was altered


def test_another_network_is_refused(
    capsys: Capture, made: Pair, tmp_path: Path
) -> None:
    other = dense_model(tmp_path / "other.onnx", 3, 5, 2)
    outcome = call(capsys, "verify", made[0], other)
    assert_not_proven(outcome, "give the model it was made from")


Header = dict[str, Any]
Arrays = dict[str, Any]


def _lower_upper(header: Header, arrays: Arrays) -> None:
    header["upper"] *= 0.999


def _raise_lower(header: Header, arrays: Arrays) -> None:
    header["lower"] *= 1.001


def _change_norm(header: Header, arrays: Arrays) -> None:
    header["norm"] = "linf"


def _change_multiplier(header: Header, arrays: Arrays) -> None:
    arrays["neurons_0_1"][0] *= 1.0 + 2.0**-50


@pytest.mark.parametrize(
    "change", [_lower_upper, _raise_lower, _change_norm, _change_multiplier]
)
def test_an_altered_file_is_refused(
    capsys: Capture, made: Pair, change: Callable[[Header, Arrays], None]
) -> None:
    header, arrays = io.read_arrays(made[0])
    copies = {name: array.copy() for name, array in arrays.items()}
    change(header, copies)
    io.write_arrays(made[0], header, copies)
    assert_not_proven(call(capsys, "verify", *made), "was altered")


def test_a_changed_digit_in_the_file_is_refused(capsys: Capture, made: Pair) -> None:
    path, _ = made
    content = path.read_bytes()
    digits = repr(load_certificate(path).upper).encode()
    other = digits[:-1] + (b"1" if digits[-1:] != b"1" else b"2")
    assert content.count(digits) == 1
    path.write_bytes(content.replace(digits, other))
    assert_not_proven(call(capsys, "verify", *made), "CRC")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(capsys: Capture, made: Pair, share: float) -> None:
    content = made[0].read_bytes()
    made[0].write_bytes(content[: int(share * len(content))])
    assert_not_proven(call(capsys, "verify", *made), "not a file of named arrays")


# What was forged: the checksum is right, the mathematics is not


def _scaled(certificate: Certificate, factor: float) -> Certificate:
    parts = tuple(
        replace(part, neurons=tuple(factor * m for m in part.neurons))
        for part in certificate.witness
    )
    return replace(certificate, witness=parts)


FORGERIES: dict[str, tuple[Callable[[Certificate], Certificate], str]] = {
    "upper": (lambda c: replace(c, upper=0.999 * c.upper), "upper bound is claimed"),
    "lower": (lambda c: replace(c, lower=1.001 * c.lower), "lower bound is claimed"),
    "halved": (lambda c: _scaled(c, 0.5), "prove no bound"),
    "doubled": (lambda c: _scaled(c, 2.0), "upper bound is claimed"),
    "pair": (
        lambda c: replace(c, pair=(c.pair[0], c.pair[0] + torch.eye(3)[0])),
        "lower bound is claimed",
    ),
    "digest": (lambda c: replace(c, digest="f" * 64), "give the model it was made"),
    "norm": (lambda c: replace(c, norm="l1"), "bound is claimed"),
    "margin": (lambda c: replace(c, outputs=(0, 1)), "bound"),
    "output": (lambda c: replace(c, outputs=(0, 2)), "does not fit the network"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused(capsys: Capture, made: Pair, name: str) -> None:
    change, words = FORGERIES[name]
    save_certificate(change(load_certificate(made[0])), made[0])
    assert_not_proven(call(capsys, "verify", *made), words)


# What was made to do harm


def _npz(path: Path, members: dict[str, bytes], *, deflate: bool = False) -> None:
    kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def _objects(folder: Path) -> bytes:
    buffer = streams.BytesIO()
    np.save(buffer, np.array([Trap(folder)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def test_a_pickle_is_refused_and_never_loaded(
    capsys: Capture, made: Pair, tmp_path: Path
) -> None:
    path, _ = made
    folder = tmp_path / "harm"
    path.write_bytes(trap(folder))
    assert_not_proven(call(capsys, "verify", *made), "not a file of named arrays")
    for members in (
        {"header": _objects(folder)},
        {"header": trap(folder)},
        {"pair_0": _objects(folder)},
    ):
        _npz(path, members)
        assert_not_proven(call(capsys, "verify", *made))
    assert not folder.exists()


def test_what_claims_gigabytes_is_refused(capsys: Capture, made: Pair) -> None:
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000,), }\n"
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    _npz(made[0], {"header": start + text + b"{}"})
    assert_not_proven(call(capsys, "verify", *made), "claims shape (10000000000,)")


def test_a_compressed_bomb_is_refused(capsys: Capture, made: Pair) -> None:
    _npz(made[0], {"header": bytes(2**24)}, deflate=True)
    assert made[0].stat().st_size < 2**15
    assert_not_proven(call(capsys, "verify", *made), "is compressed")


def test_the_script_says_the_same(made: Pair) -> None:
    os.truncate(made[0], 100)
    assert_not_proven(child("verify", *made))
