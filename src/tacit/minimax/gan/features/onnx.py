"""Features of ONNX models, run by ONNX Runtime on one thread."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from torch import Tensor
from typing_extensions import override

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.features.interface import (
    AbstractFeatures,
    check_images,
    checked_features,
)
from tacit.minimax.gan.features.preparation import (
    PixelValues,
    Preparation,
    Resampling,
)

MAX_MODEL_BYTES = 2**31
"""Largest model file that is read (2 GiB, also the limit of the format)."""

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_DEFAULT_SIDE = 32  # of images that try out a model which takes any size
_RESULT_DIMENSIONS = (2, 4)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Input:
    """What a model takes: name, type of numbers, and sizes, None where left open."""

    name: str
    dtype: type[np.generic]
    batch: int | None
    channels: int | None
    size: tuple[int, int] | None


@final
class OnnxFeatures(AbstractFeatures):
    """Features computed by an ONNX model; see :func:`read_onnx_features`.

    Parameters
    ----------
    content : bytes
        The model, all weights included.
    name : str
        For people.
    values : {"0..1", "-1..1", "0..255", "imagenet"}
        As for :class:`Preparation`; of a model that takes uint8, ``"0..255"``.
    size : (int, int) or None
        Height and width, if the model leaves them open and images need another one.
    resampling : {"bilinear", "bicubic", "bilinear without antialiasing"}
        As for :class:`Preparation`.
    output : str or None
        Which output has the features; by default the first.

    Raises
    ------
    InputError
        If this is no model that ONNX Runtime can run, or not one of images.
    ShapeError
        If its output is no vector of features for every image.
    """

    def __init__(
        self,
        content: bytes,
        *,
        name: str,
        values: PixelValues = "0..1",
        size: tuple[int, int] | None = None,
        resampling: Resampling = "bilinear",
        output: str | None = None,
    ) -> None:
        session = _session(content)
        self._input = _only_input(session)
        self._output = _chosen_output(session, output)
        self._run = cast("Callable[..., Sequence[Any]]", session.run)
        if self._input.dtype == np.uint8 and values != "0..255":
            raise InputError(
                f"the model takes uint8 pixels, values '0..255'; got {values!r}"
            )
        if None not in (size, self._input.size) and size != self._input.size:
            raise InputError(f"size must be the model's {self._input.size}; got {size}")
        self.preparation = Preparation(
            values=values,
            size=size or self._input.size,
            channels=self._input.channels or (3 if values == "imagenet" else None),
            resampling=resampling,
        )
        self.name = name
        self.digest = hashlib.sha256(content).hexdigest()
        self.preprocess = str(self.preparation)
        self.dimension = self._tried_dimension()

    @override
    def extract(self, images: Tensor) -> Tensor:
        check_images(images)
        pieces = images.cpu().split(self._input.batch or max(len(images), 1))
        found = [self._values(piece) for piece in pieces]
        return checked_features(torch.cat(found), len(images), self.dimension)

    def _values(self, images: Tensor) -> Tensor:
        """Return the model's output for at most as many images as it takes at once."""
        missing = (self._input.batch or len(images)) - len(images)
        prepared = self.preparation.apply(images)
        if missing:  # the model takes whole batches only
            prepared = torch.cat([prepared, prepared[:1].expand(missing, -1, -1, -1)])
        if self._input.dtype == np.uint8:
            prepared = prepared.round()
        array = prepared.numpy().astype(self._input.dtype)
        try:
            result = self._run([self._output], {self._input.name: array})[0]
        except Exception as error:  # noqa: BLE001  ONNX Runtime raises its own kinds
            raise InputError(
                f"the model cannot take images of shape {tuple(prepared.shape[1:])}: "
                f"{_reason(error)}"
            ) from None
        if not isinstance(result, np.ndarray) or result.dtype.kind not in "fiu":
            raise InputError(
                f"the model's output {self._output!r} must be a tensor of numbers; "
                "name another one (output)"
            )
        return torch.from_numpy(result.astype(np.float32))[: len(images)]

    def _tried_dimension(self) -> int:
        channels = self.preparation.channels or 3
        height, width = self.preparation.size or (_DEFAULT_SIDE, _DEFAULT_SIDE)
        num_images = self._input.batch or 2
        black = torch.zeros(num_images, channels, height, width, dtype=torch.uint8)
        shape = tuple(self._values(black).shape)
        if (
            len(shape) not in _RESULT_DIMENSIONS
            or shape[0] != num_images
            or any(side != 1 for side in shape[2:])
        ):
            raise ShapeError(
                f"the model's output {self._output!r} must have shape (num_images, "
                f"dimension); got {shape} of {num_images} images; pool over positions "
                "before exporting it, or name another output"
            )
        return shape[1]


def read_onnx_features(
    path: Path,
    *,
    values: PixelValues | None = None,
    size: tuple[int, int] | None = None,
    resampling: Resampling = "bilinear",
    output: str | None = None,
) -> OnnxFeatures:
    """Return the features of an ONNX model in a file.

    The model takes one batch of images, channels before height and width, as float16,
    float32, float64 or uint8, and gives one vector for every image. Sizes are read from
    it. It runs on one thread of the CPU.

    Parameters
    ----------
    path : Path
        ``.onnx``, with all weights in it.
    values : {"0..1", "-1..1", "0..255", "imagenet"} or None
        What pixels become; by default 0..255 for a model of uint8, else 0..1.
    size, resampling, output
        As for :class:`OnnxFeatures`.

    Raises
    ------
    InputError
        If the file is missing, too large, or as :class:`OnnxFeatures`.
    ShapeError
        As :class:`OnnxFeatures`.
    """
    try:
        num_bytes = path.stat().st_size
        if num_bytes > MAX_MODEL_BYTES:
            raise InputError(
                f"{path} has {num_bytes} bytes; ONNX models of at most "
                f"{MAX_MODEL_BYTES} are read"
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        if values is None:
            is_bytes = _only_input(_session(content)).dtype == np.uint8
            values = "0..255" if is_bytes else "0..1"
        return OnnxFeatures(
            content,
            name=path.stem,
            values=values,
            size=size,
            resampling=resampling,
            output=output,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ShapeError as error:
        raise ShapeError(f"{path}: {error}") from None


def _session(content: bytes) -> onnxruntime.InferenceSession:
    _refuse_outside_weights(content)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001  ONNX Runtime raises its own kinds
        raise InputError(
            f"ONNX Runtime cannot load the model: {_reason(error)}"
        ) from None


def _refuse_outside_weights(content: bytes) -> None:
    """Refuse models whose weights lie in other files: no digest would hold for them."""
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise InputError(f"this is not an ONNX model: {_reason(error)}") from None
    if not model.graph.node:
        raise InputError("this is not an ONNX model: it holds no operation")
    graphs = [model.graph]
    tensors: list[onnx.TensorProto] = []
    while graphs:
        graph = graphs.pop()
        tensors += graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
                graphs += [attribute.g, *attribute.graphs]
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in tensors):
        raise InputError(
            "the model keeps weights in another file; store them in one, with "
            "onnx.save(model, path, save_as_external_data=False)"
        )


def _only_input(session: onnxruntime.InferenceSession) -> _Input:
    given = session.get_inputs()
    if len(given) != 1:
        names = ", ".join(item.name for item in given) or "none"
        raise InputError(f"the model must take images alone; it takes {names}")
    shape: Sequence[object] = given[0].shape
    dtype = _DTYPES.get(given[0].type)
    if dtype is None or len(shape) != 4:
        raise InputError(
            "the model must take images (batch, channels, height, width) as float or "
            f"uint8; it takes {given[0].type} of shape {list(shape)}"
        )
    batch, channels, height, width = (
        side if isinstance(side, int) and side > 0 else None for side in shape
    )
    if channels not in (1, 3, None):
        raise InputError(
            "the model must take 1 or 3 channels, before height and width; it takes "
            f"images of shape {list(shape)[1:]}; export it so"
        )
    if (height is None) != (width is None):
        raise InputError(
            f"the model leaves one of height and width open: {list(shape)}; export it "
            "with both or neither"
        )
    size = None if height is None or width is None else (height, width)
    return _Input(
        name=given[0].name, dtype=dtype, batch=batch, channels=channels, size=size
    )


def _chosen_output(session: onnxruntime.InferenceSession, output: str | None) -> str:
    names = [item.name for item in session.get_outputs()]
    if output is None:
        return names[0]
    if output not in names:
        raise InputError(
            f"output must be one of {', '.join(map(repr, names))}; got {output!r}"
        )
    return output


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
