from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.features.onnx import OnnxFeatures, read_onnx_features
from tacit.minimax.gan.features.preparation import Preparation

_FLOAT = TensorProto.FLOAT
_WEIGHTS = np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]], dtype=np.float32)


def model(
    shape: Sequence[int | str] = ("batch", 3, 6, 6),
    *,
    dtype: int = _FLOAT,
    weights: np.ndarray = _WEIGHTS,
) -> onnx.ModelProto:
    """Return channel means times weights; the means too, and the maps before."""
    nodes = [
        helper.make_node("Cast", ["images"], ["maps"], to=_FLOAT),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"], axis=1),
        helper.make_node("MatMul", ["means", "weights"], ["features"]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, _FLOAT, None)
        for name in ("features", "pooled", "maps")
    ]
    return _model(nodes, [("images", dtype, shape)], outputs, {"weights": weights})


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, int, Sequence[int | str] | None]],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info(*given) for given in inputs],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _saved(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "network.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def _images(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def _wanted(images: Tensor, preparation: Preparation) -> Tensor:
    return preparation.apply(images).mean((2, 3)) @ torch.from_numpy(_WEIGHTS)


@pytest.mark.parametrize("dtype", [_FLOAT, TensorProto.DOUBLE])
def test_runs_the_model_at_its_own_size(
    dtype: int, tmp_path: Path, generator: torch.Generator
) -> None:
    path = _saved(model(dtype=dtype), tmp_path)
    features = read_onnx_features(path, values="-1..1", resampling="bicubic")
    assert features.name == "network"
    assert features.dimension == 2
    assert features.preprocess == "resized to 6 x 6 (bicubic), 3 channels, values -1..1"
    images = _images((5, 1, 9, 8), generator)
    preparation = Preparation(
        values="-1..1", size=(6, 6), channels=3, resampling="bicubic"
    )
    found = features.extract(images)
    torch.testing.assert_close(found, _wanted(images, preparation), atol=1e-6, rtol=0)
    assert torch.equal(features.extract(images), found)


def test_a_model_of_bytes_gets_bytes(
    tmp_path: Path, generator: torch.Generator
) -> None:
    path = _saved(model(dtype=TensorProto.UINT8), tmp_path)
    features = read_onnx_features(path)
    images = _images((4, 3, 6, 6), generator)
    wanted = images.float().mean((2, 3)) @ torch.from_numpy(_WEIGHTS)
    torch.testing.assert_close(features.extract(images), wanted)
    with pytest.raises(InputError, match=r"takes uint8 pixels, values '0\.\.255'"):
        read_onnx_features(path, values="0..1")


def test_half_precision(tmp_path: Path, generator: torch.Generator) -> None:
    features = read_onnx_features(_saved(model(dtype=TensorProto.FLOAT16), tmp_path))
    images = _images((2, 3, 6, 6), generator)
    wanted = _wanted(images, Preparation())
    torch.testing.assert_close(features.extract(images), wanted, atol=2e-3, rtol=0)


@pytest.mark.parametrize("num", [1, 4, 6])
def test_a_model_of_whole_batches_takes_any_number(
    num: int, tmp_path: Path, generator: torch.Generator
) -> None:
    features = read_onnx_features(_saved(model((4, 3, 6, 6)), tmp_path))
    images = _images((num, 3, 6, 6), generator)
    torch.testing.assert_close(features.extract(images), _wanted(images, Preparation()))


def test_a_model_of_any_size_gets_images_as_they_are_or_as_told(
    tmp_path: Path, generator: torch.Generator
) -> None:
    path = _saved(model(("n", "c", "h", "w")), tmp_path)
    images = _images((2, 3, 7, 5), generator)
    found = read_onnx_features(path).extract(images)
    torch.testing.assert_close(found, _wanted(images, Preparation()))
    told = read_onnx_features(path, size=(3, 3), values="imagenet").extract(images)
    preparation = Preparation(size=(3, 3), values="imagenet", channels=3)
    torch.testing.assert_close(told, _wanted(images, preparation))


def test_another_output_can_be_named(
    tmp_path: Path, generator: torch.Generator
) -> None:
    path = _saved(model(), tmp_path)
    features = read_onnx_features(path, output="pooled")
    images = _images((2, 3, 6, 6), generator)
    torch.testing.assert_close(
        features.extract(images), images.float().mean((2, 3)) / 255.0
    )
    with pytest.raises(InputError, match="output must be one of 'features', 'pooled'"):
        read_onnx_features(path, output="logits")
    with pytest.raises(ShapeError, match=r"network\.onnx: .* pool over positions"):
        read_onnx_features(path, output="maps")


def test_digest_is_that_of_the_file(tmp_path: Path) -> None:
    one = read_onnx_features(_saved(model(), tmp_path))
    other = read_onnx_features(_saved(model(weights=2.0 * _WEIGHTS), tmp_path))
    assert one.digest != other.digest
    content = model().SerializeToString()
    assert OnnxFeatures(content, name="again").digest == one.digest


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    weights = np.full_like(_WEIGHTS, np.nan)
    features = read_onnx_features(_saved(model(weights=weights), tmp_path))
    with pytest.raises(InputError, match="features must be finite"):
        features.extract(torch.ones(1, 3, 6, 6, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (("n", 6, 6, 3), "before height and width"),
        (("n", 4, 6, 6), "must take 1 or 3 channels"),
        (("n", 3, 6, "w"), "one of height and width open"),
    ],
)
def test_other_inputs_are_refused(
    shape: tuple[int | str, ...], message: str, tmp_path: Path
) -> None:
    channels = shape[1] if isinstance(shape[1], int) else 3
    weights = np.ones((channels, 2), dtype=np.float32)
    with pytest.raises(InputError, match=message):
        read_onnx_features(_saved(model(shape, weights=weights), tmp_path))


def test_models_that_do_not_take_images_are_refused(tmp_path: Path) -> None:
    out = [helper.make_tensor_value_info("y", _FLOAT, None)]
    add = [helper.make_node("Add", ["a", "b"], ["y"])]
    flat: list[tuple[str, int, Sequence[int | str] | None]] = [
        ("a", _FLOAT, ("n", 8)),
        ("b", _FLOAT, ("n", 8)),
    ]
    with pytest.raises(InputError, match="images alone; it takes a, b"):
        read_onnx_features(_saved(_model(add, flat, out, {}), tmp_path))
    twice = [helper.make_node("Add", ["a", "a"], ["y"])]
    with pytest.raises(InputError, match=r"it takes tensor\(float\) of shape"):
        read_onnx_features(_saved(_model(twice, flat[:1], out, {}), tmp_path))
    whole: list[tuple[str, int, Sequence[int | str] | None]] = [
        ("a", TensorProto.INT64, ("n", 3, 8, 8))
    ]
    out = [helper.make_tensor_value_info("y", TensorProto.INT64, None)]
    with pytest.raises(InputError, match=r"it takes tensor\(int64\)"):
        read_onnx_features(_saved(_model(twice, whole, out, {}), tmp_path))


def test_a_size_that_the_model_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"size must be the model's \(6, 6\)"):
        read_onnx_features(_saved(model(), tmp_path), size=(7, 7))


def test_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    features = read_onnx_features(_saved(model(("n", "c", 6, 6)), tmp_path))
    with pytest.raises(InputError, match="the model cannot take images of shape"):
        features.extract(torch.zeros(1, 1, 6, 6, dtype=torch.uint8))
    grey = read_onnx_features(
        _saved(model(("n", 1, 6, 6), weights=_WEIGHTS[:1]), tmp_path)
    )
    with pytest.raises(ShapeError, match="must be grey"):
        grey.extract(torch.zeros(1, 3, 6, 6, dtype=torch.uint8))
    with pytest.raises(InputError, match="must be uint8 pixels"):
        grey.extract(torch.zeros(1, 1, 6, 6))


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    large = model(weights=np.zeros((3, 500), dtype=np.float32))
    onnx.save(large, path, save_as_external_data=True, location="weights.bin")
    with pytest.raises(InputError, match="keeps weights in another file"):
        read_onnx_features(path)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"network\.onnx: .*not an ONNX model"):
        read_onnx_features(path)


def test_a_cut_model_is_refused(tmp_path: Path) -> None:
    path = _saved(model(), tmp_path)
    content = path.read_bytes()
    for size in range(1, len(content), 37):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"network\.onnx"):
            read_onnx_features(path)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.onnx cannot be read: No such file"):
        read_onnx_features(tmp_path / "absent.onnx")


def test_an_operation_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    proto = model()
    proto.graph.node[1].op_type = "Guess"
    with pytest.raises(InputError, match="ONNX Runtime cannot load the model"):
        read_onnx_features(_saved(proto, tmp_path))


def test_an_output_that_is_no_tensor_of_numbers_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Greater", ["a", "a"], ["more"]),
        helper.make_node("Flatten", ["more"], ["y"]),
    ]
    out = [helper.make_tensor_value_info("y", TensorProto.BOOL, None)]
    proto = _model(nodes, [("a", _FLOAT, ("n", 3, 4, 4))], out, {})
    with pytest.raises(InputError, match="must be a tensor of numbers"):
        read_onnx_features(_saved(proto, tmp_path))
