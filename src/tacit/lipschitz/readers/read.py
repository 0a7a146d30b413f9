"""Read a network from a file: ``.onnx``, or a ``.pt2`` program of ``torch.export``."""

from pathlib import Path

from tacit.errors import InputError
from tacit.lipschitz.layers import Shape
from tacit.lipschitz.network import Network
from tacit.lipschitz.readers.aten_translate import from_graph
from tacit.lipschitz.readers.from_onnx import from_onnx
from tacit.lipschitz.readers.pt2_archive import read_pt2

MAX_FILE_BYTES = 2**31
"""Largest file that is read (2 GiB): 256 million weights in float64."""

_ACCEPTED = (
    "accepted are ONNX models (.onnx) and PyTorch programs (.pt2) written by "
    "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"
)
# First bytes of files: a zip archive, a pickle (protocols 2 to 5), an ONNX model (its
# first field, ir_version).
_ZIP = b"PK\x03\x04"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ONNX = b"\x08"


def read_network(path: str | Path, *, in_shape: Shape | None = None) -> Network:
    """Return the network in a file, by what it contains rather than what it is called.

    Nothing in the file is executed and nothing is unpickled. The network is compared
    with the original, run by ONNX Runtime or torch, on random inputs.

    Parameters
    ----------
    path : str or Path
        An ONNX model in one file, or an archive of ``torch.export.save``.
    in_shape : tuple of int or None
        Shape of one sample without batch axis; needed where the model leaves it open.

    Returns
    -------
    Network
        With weights in float64, converted exactly.

    Raises
    ------
    InputError
        If the file is missing, empty, too large, damaged or of another kind, or does
        not hold a network with one input and one output of finite weights.
    UnsupportedLayerError
        If it holds a layer that no bound is proved for.
    ShapeError
        If shapes do not fit together.
    ImportMismatchError
        If the network does not compute what the original computes.

    Examples
    --------
    >>> from tacit.lipschitz.readers.read import read_network
    >>> read_network("nothing.onnx")
    Traceback (most recent call last):
    ...
    tacit.errors.InputError: nothing.onnx does not exist; check the path
    """
    file = Path(path)
    head = _head(file)
    if head.startswith(_ZIP):
        return from_graph(read_pt2(file, max_bytes=MAX_FILE_BYTES), in_shape)
    if head.startswith(_PICKLES):
        raise InputError(
            f"{file} is a pickle, as old versions of torch.save write; it can run code "
            f"and is never loaded; {_ACCEPTED}"
        )
    if head.startswith(_ONNX) and not _is_text(head):
        return from_onnx(file, in_shape=in_shape)
    kind = "a text file" if _is_text(head) else "neither kind of model"
    raise InputError(f"{file} is {kind}; {_ACCEPTED}")


def _head(file: Path) -> bytes:
    if not file.exists():
        raise InputError(f"{file} does not exist; check the path")
    if not file.is_file():
        raise InputError(
            f"{file} is not a file; give the path of one model; {_ACCEPTED}"
        )
    size = file.stat().st_size
    if size == 0:
        raise InputError(f"{file} is empty; {_ACCEPTED}")
    if size > MAX_FILE_BYTES:
        raise InputError(f"{file} has {size} bytes; at most {MAX_FILE_BYTES} are read")
    try:
        with file.open("rb") as stream:
            return stream.read(512)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
