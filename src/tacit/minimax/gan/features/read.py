"""Features from a file that the user has."""

import os
from pathlib import Path

from tacit.errors import InputError
from tacit.minimax.gan.features.inception import inception_features, weights_folders
from tacit.minimax.gan.features.interface import AbstractFeatures
from tacit.minimax.gan.features.onnx import read_onnx_features
from tacit.minimax.gan.features.preparation import PixelValues, Resampling

_WORD = "inception"
_ACCEPTED = (
    "an .onnx model, the Inception weights pt_inception-2015-12-05-6726825d.pth, or "
    f"the word {_WORD!r}, which looks for the latter"
)


def read_features(
    path: str | Path,
    *,
    values: PixelValues | None = None,
    size: tuple[int, int] | None = None,
    resampling: Resampling | None = None,
    output: str | None = None,
    device: str = "cpu",
) -> AbstractFeatures:
    """Return features from a file: an ONNX model, or the weights that define FID.

    Parameters
    ----------
    path : path
        An ``.onnx`` model that takes a batch of images; the Inception weights
        ``pt_inception-2015-12-05-6726825d.pth``; or ``"inception"``, which looks for
        those in the folder ``$TACIT_WEIGHTS`` and where PyTorch keeps downloads. A bare
        name that is no file here is looked for in both too, in this order. Nothing is
        downloaded, and no file that could run code is opened.
    values : {"0..1", "-1..1", "0..255", "imagenet"} or None
        What pixels become, as for :class:`Preparation`; for ONNX models only. By
        default 0..1, or 0..255 if the model takes uint8.
    size : (int, int) or None
        Height and width to bring images to, if the model leaves them open.
    resampling : {"bilinear", "bicubic", "bilinear without antialiasing"} or None
        By default bilinear with antialiasing; for ONNX models only.
    output : str or None
        The ONNX model's output that has the features; by default the first.
    device : str
        As for :class:`ModuleFeatures`; ONNX models run on the CPU.

    Raises
    ------
    InputError
        If there is no such file, it is of another kind, damaged, or cannot be used.
    ShapeError
        If it does not give one vector for every image.

    Examples
    --------
    >>> import tacit
    >>> tacit.read_features("network.pt2")
    Traceback (most recent call last):
    tacit.errors.InputError: network.pt2 cannot be read: opening .pt2 files can run ...
    """
    file = Path(path)
    is_word = str(path) == _WORD and not file.exists()
    suffix = file.suffix.lower()
    options = (values, size, resampling, output)
    if is_word or suffix == ".pth":
        if any(option is not None for option in options):
            raise InputError(
                "values, size, resampling and output are for .onnx models; those of "
                "Inception are fixed: leave them out"
            )
        return inception_features(None if is_word else _found(file), device=device)
    if suffix in (".pt", ".pt2"):
        raise InputError(
            f"{path} cannot be read: opening {suffix} files can run code; export the "
            "network to .onnx, or pass the module itself as ModuleFeatures"
        )
    if suffix != ".onnx":
        raise InputError(f"{path} must be {_ACCEPTED}")
    if device not in ("cpu", "auto"):
        raise InputError(f"ONNX models run on the CPU; got device {device!r}")
    return read_onnx_features(
        _found(file),
        values=values,
        size=size,
        resampling="bilinear" if resampling is None else resampling,
        output=output,
    )


def _found(file: Path) -> Path:
    """Return where a bare name lies, or the path itself, for the reader to refuse."""
    if file.exists() or file.name != str(file):
        return file
    places = [folder / file for folder in weights_folders(os.environ)]
    return next((place for place in places if place.is_file()), file)
