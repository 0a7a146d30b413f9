"""Files are told apart by content, and every bad one is refused in one sentence."""

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from archives import entries_of, save_program, small_module, trap, write
from onnx_models import model, numbers, save
from tacit.errors import InputError, TacitError, UnsupportedLayerError
from tacit.lipschitz.network import Network, run
from tacit.lipschitz.readers import read
from tacit.lipschitz.readers.from_torch import from_module
from tacit.lipschitz.readers.read import read_network

pytestmark = pytest.mark.global_rng

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "models"
EXPORT = r"torch\.export\.save\(torch\.export\.export\(model\.eval\(\), \(example,\)\)"


def relu_model() -> onnx.ModelProto:
    return model(
        [("MatMul", ["x", "w"], {}), ("Relu", ["v0"], {})],
        ("batch", 4),
        {"w": numbers(4, 3)},
    )


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2", "model", "model.bin"])
def test_onnx_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    network = read_network(save(relu_model(), tmp_path / name))
    assert (network.in_shape, network.out_shape) == ((4,), (3,))


@pytest.mark.parametrize("name", ["model.pt2", "model.onnx", "model.zip"])
def test_a_program_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    path = save_program(small_module(), (1, 1, 5), tmp_path / "model.pt2")
    other = path.rename(tmp_path / name)
    expected = from_module(small_module(), (1, 5))
    assert read_network(other).digest == expected.digest
    assert read_network(str(other)).digest == expected.digest


def test_the_shape_may_be_given(tmp_path: Path) -> None:
    path = save(model([("Relu", ["x"], {})], ("batch", "width")), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="give in_shape"):
        read_network(path)
    assert read_network(path, in_shape=(7,)).in_shape == (7,)
    program = save_program(small_module(), (1, 1, 5), tmp_path / "m.pt2")
    assert read_network(program, in_shape=(1, 5)).in_shape == (1, 5)
    with pytest.raises(InputError, match="does not fit"):
        read_network(program, in_shape=(5,))


def test_the_examples_are_read_and_agree_with_each_other() -> None:
    networks = {path.name: read_network(path) for path in sorted(EXAMPLES.iterdir())}
    assert set(networks) == {
        "digits_conv.onnx",
        "digits_dense.onnx",
        "digits_dense.pt2",
        "digits_residual.onnx",
    }
    assert networks["digits_dense.onnx"].digest == networks["digits_dense.pt2"].digest
    assert networks["digits_conv.onnx"].in_shape == (1, 8, 8)
    assert {network.num_outputs for network in networks.values()} == {10}


def test_the_examples_still_classify_digits() -> None:
    pixels, targets = load_digits(return_X_y=True)
    images = torch.tensor(pixels[::5] / 16.0)
    labels = torch.tensor(targets[::5])

    def accuracy(network: Network) -> float:
        scores = run(network, images.reshape(-1, *network.in_shape))
        return float((scores.argmax(1) == labels).double().mean())

    for path in EXAMPLES.iterdir():
        assert accuracy(read_network(path)) > 0.9


# Refusals


def _text(path: Path) -> None:
    path.write_text("relu(W x + b)\n")


def _text_starting_like_onnx(path: Path) -> None:
    path.write_bytes(b"\x08")


def _pickle(path: Path) -> None:
    path.write_bytes(trap(path.parent / "executed"))


def _old_torch_save(path: Path) -> None:
    torch.save(small_module().state_dict(), path, _use_new_zipfile_serialization=False)


def _torch_save(path: Path) -> None:
    torch.save(small_module().state_dict(), path)


def _whole_module(path: Path) -> None:
    torch.save(small_module(), path)


def _plain_zip(path: Path) -> None:
    write({"readme": b"nothing"}, path)


def _arrays(path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    path.write_bytes(buffer.getvalue())


def _gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(relu_model().SerializeToString()))


def _half_onnx(path: Path) -> None:
    content = relu_model().SerializeToString()
    path.write_bytes(content[: len(content) // 2])


def _claims(path: Path) -> None:
    """A model whose graph claims 10 GB in a file of a few bytes."""
    path.write_bytes(b"\x08\x08\x3a\x80\x80\x80\x80\x28" + bytes(16))


def _random(path: Path) -> None:
    path.write_bytes(bytes((i * 73 + 11) % 256 for i in range(4096)))


def _random_like_onnx(path: Path) -> None:
    path.write_bytes(b"\x08\x08" + bytes((i * 73 + 11) % 256 for i in range(4096)))


REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: None, "does not exist; check the path"),
    (lambda path: path.touch(), "is empty; accepted are ONNX"),
    (lambda path: path.mkdir(), "is not a file"),
    (_text, f"is a text file; accepted are .*{EXPORT}"),
    (_text_starting_like_onnx, "is not an ONNX model|holds no operation"),
    (_pickle, f"is a pickle.*never loaded.*{EXPORT}"),
    (_old_torch_save, f"is a pickle.*{EXPORT}"),
    (_torch_save, f"saved by torch.save or TorchScript.*{EXPORT}"),
    (_whole_module, f"saved by torch.save or TorchScript.*{EXPORT}"),
    (_plain_zip, f"holds no exported program.*{EXPORT}"),
    (_arrays, "export it again|holds no exported"),
    (_gzip, "is neither kind of model"),
    (_half_onnx, "is not an ONNX model"),
    (_claims, "is not an ONNX model"),
    (_random, "is neither kind of model"),
    (_random_like_onnx, "is not an ONNX model"),
]


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2", "model.pt"])
@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_other_files_are_refused_in_one_sentence(
    make: Callable[[Path], object], message: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        read_network(path)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "executed").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(small_module(), torch.zeros(1, 1, 5)), path)
    with pytest.raises(InputError, match=f"TorchScript.*{EXPORT}"):
        read_network(path)


def test_a_file_over_the_limit_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(relu_model(), tmp_path / "model.onnx")
    monkeypatch.setattr(read, "MAX_FILE_BYTES", 50)
    with pytest.raises(InputError, match="at most 50 are read"):
        read_network(path)


def test_a_sparse_file_of_10_gigabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as stream:
        stream.write(relu_model().SerializeToString())
        stream.truncate(10 * 2**30)
    with pytest.raises(InputError, match="has 10737418240 bytes"):
        read_network(path)


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(relu_model(), tmp_path / "model.onnx")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_network(path)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    with pytest.raises(InputError, match="is not a file"):
        read_network(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    module = small_module()
    module.get_parameter("3.weight").data[0, 0] = float("inf")
    path = save_program(module, (1, 1, 5), tmp_path / "model.pt2")
    with pytest.raises(InputError, match="weights must be finite"):
        read_network(path)


def test_a_program_without_layers_is_refused(tmp_path: Path) -> None:
    path = save_program(nn.Identity(), (1, 4), tmp_path / "model.pt2")
    with pytest.raises(InputError, match="the network is empty"):
        read_network(path)


def test_a_layer_without_a_bound_is_refused(tmp_path: Path) -> None:
    steps = [("Softmax", ["x"], {})]
    path = save(model(steps, (1, 4)), tmp_path / "model.onnx")
    with pytest.raises(UnsupportedLayerError, match="Softmax"):
        read_network(path)


def _cut_or_flipped(content: bytes, seed: int) -> bytes:
    """Return the content cut short, or with one bit changed, by number."""
    place = (seed * 7919) % len(content)
    if seed % 3 == 0:
        return content[:place]
    changed = bytearray(content)
    changed[place] ^= 1 << (seed % 8)
    return bytes(changed)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_damage_never_leads_to_another_exception(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{kind}"
    if kind == "onnx":
        save(relu_model(), path)
    else:
        save_program(small_module(), (1, 1, 5), path)
    content = path.read_bytes()
    messages: list[str] = []
    for seed in range(60):
        path.write_bytes(_cut_or_flipped(content, seed))
        try:
            read_network(path)
        except TacitError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert [text for text in messages if len(text.splitlines()) != 1] == []


def test_only_the_entries_that_are_needed_are_there(tmp_path: Path) -> None:
    """An archive without example inputs, as another tool may write it, is read."""
    path = save_program(small_module(), (1, 1, 5), tmp_path / "model.pt2")
    needed = {
        name: content
        for name, content in entries_of(path).items()
        if not name.startswith(("data/sample_inputs", ".data"))
    }
    assert read_network(write(needed, path)).num_outputs == 2
