import re
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tacit.errors import InputError
from tacit.minimax.gan.features.inception import INCEPTION_FILES
from tacit.minimax.gan.features.preparation import Preparation
from tacit.minimax.gan.features.read import read_features


def _pooling(folder: Path) -> Path:
    nodes = [
        helper.make_node("GlobalMaxPool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "features",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.FLOAT, ("n", 3, "h", "w")
            )
        ],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)],
    )
    opset = [helper.make_opsetid("", 17)]
    path = folder / "Largest.ONNX"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_reads_an_onnx_model(tmp_path: Path, generator: torch.Generator) -> None:
    images = torch.randint(256, (3, 3, 5, 5), dtype=torch.uint8, generator=generator)
    features = read_features(str(_pooling(tmp_path)), values="0..255", device="auto")
    assert features.name == "Largest"
    assert torch.equal(features.extract(images), images.float().amax((2, 3)))
    smaller = read_features(
        _pooling(tmp_path), size=(2, 3), resampling="bicubic", output="features"
    )
    wanted = Preparation(size=(2, 3), resampling="bicubic").apply(images).amax((2, 3))
    torch.testing.assert_close(smaller.extract(images), wanted)


@pytest.mark.parametrize("name", ["network.pt2", "network.pt", "NETWORK.PT"])
def test_files_that_could_run_code_are_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(InputError, match=r"can run code; export the network to \.onnx"):
        read_features(tmp_path / name)


def test_other_weights_are_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    path.write_bytes(b"weights")
    with pytest.raises(InputError, match=r"export other networks as \.onnx"):
        read_features(path)
    for name in ("network.txt", "network", ""):
        with pytest.raises(InputError, match=r"must be an \.onnx model, the Inception"):
            read_features(name)


def test_a_word_looks_for_the_inception_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TACIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(InputError, match="tacit never downloads"):
        read_features("inception")
    (tmp_path / INCEPTION_FILES[0]).write_bytes(b"weights")
    with pytest.raises(InputError, match="it has 7; tacit never downloads"):
        read_features(Path("inception"))


def test_options_of_onnx_models_are_for_them_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="those of Inception are fixed"):
        read_features("inception", values="0..1")
    with pytest.raises(InputError, match="ONNX models run on the CPU; got device 'cu"):
        read_features(_pooling(tmp_path), device="cuda")


def test_a_bare_name_is_looked_for_where_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, here = tmp_path / "own", tmp_path / "here"
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    for folder in (own, here, checkpoints):
        folder.mkdir(parents=True)
    monkeypatch.setenv("TACIT_WEIGHTS", str(own))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(here)
    with pytest.raises(InputError, match=r"^Largest\.ONNX cannot be read"):
        read_features("Largest.ONNX")
    # Each in turn is nearer than those before; the message names what was opened.
    for folder, opened in (
        (checkpoints, str(checkpoints)),
        (own, str(own)),
        (here, ""),
    ):
        (folder / "Largest.ONNX").write_bytes(b"no model")
        place = Path(opened) / "Largest.ONNX"
        with pytest.raises(InputError, match=f"^{re.escape(str(place))}: this is not"):
            read_features("Largest.ONNX")
    _pooling(own)
    (here / "Largest.ONNX").unlink()
    assert read_features("Largest.ONNX").dimension == 3
    with pytest.raises(InputError, match=r"elsewhere/Largest\.ONNX cannot be read"):
        read_features("elsewhere/Largest.ONNX")
    (own / INCEPTION_FILES[0]).write_bytes(b"weights")
    with pytest.raises(InputError, match="it has 7; tacit never downloads"):
        read_features(INCEPTION_FILES[0])
