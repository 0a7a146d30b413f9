"""The features FID is defined by, from a file of weights that the user has.

Nothing is ever downloaded, and no file is opened by PyTorch before its digest is right.
"""

import hashlib
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from tacit.errors import InputError
from tacit.io import DAMAGES
from tacit.minimax.gan.features.inception_network import (
    DIMENSION,
    SIZE,
    inception_network,
)
from tacit.minimax.gan.features.module import ModuleFeatures
from tacit.minimax.gan.features.preparation import Preparation

INCEPTION_DIGEST = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""SHA-256 of the weights that FID is defined by, as ported to PyTorch."""

INCEPTION_FILES = (
    "pt_inception-2015-12-05-6726825d.pth",
    "weights-inception-2015-12-05-6726825d.pth",
)
"""Names under which pytorch-fid and torch-fidelity keep the same file."""

INCEPTION_BYTES = 95_628_359
"""Size of that file."""

_SOURCE = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
_ADVICE = (
    f"tacit never downloads: get {_SOURCE} (SHA-256 {INCEPTION_DIGEST}), and name the "
    "file or put it into the folder $TACIT_WEIGHTS"
)


def inception_features(
    path: str | Path | None = None, *, device: str = "cpu"
) -> ModuleFeatures:
    """Return the Inception-v3 features that FID and KID are defined by.

    Parameters
    ----------
    path : path or None
        The weights; None looks for them, see :func:`find_inception`.
    device : str
        As for :class:`ModuleFeatures`.

    Returns
    -------
    ModuleFeatures
        2048 features. Images become 3 channels of 299 x 299 (bilinear, without
        antialiasing, as in pytorch-fid) and values -1..1.

    Raises
    ------
    InputError
        If the file is missing or another one; says where people get it.

    Notes
    -----
    The file was not at hand when this was written. The network was compared with
    pytorch-fid's on random weights, and its digest and size are those that several
    public projects record; the first use on the true file is the reader's.

    References
    ----------
    Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter (2017), GANs trained by a two
    time-scale update rule converge to a local Nash equilibrium. The package
    pytorch-fid.

    Examples
    --------
    >>> import tacit
    >>> features = tacit.inception_features("missing.pth")
    Traceback (most recent call last):
    tacit.errors.InputError: missing.pth does not exist; tacit never downloads: ...
    """
    file = find_inception() if path is None else Path(path)
    network = load_inception(_checked_content(file))
    return ModuleFeatures(
        network,
        name="Inception-v3 (2015-12-05)",
        dimension=DIMENSION,
        preparation=Preparation(
            values="-1..1",
            size=(SIZE, SIZE),
            channels=3,
            resampling="bilinear without antialiasing",
        ),
        digest=INCEPTION_DIGEST,
        device=device,
    )


def weights_folders(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where weights are looked for, in order.

    ``$TACIT_WEIGHTS`` if it is set; then ``$TORCH_HOME/hub/checkpoints``, where PyTorch
    keeps what other packages downloaded. By default TORCH_HOME is
    ``$XDG_CACHE_HOME/torch``, and XDG_CACHE_HOME ``~/.cache``.

    Parameters
    ----------
    environment : mapping of str to str
        As ``os.environ``.
    """
    own = environment.get("TACIT_WEIGHTS")
    cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    torch_home = environment.get("TORCH_HOME") or f"{cache}/torch"
    folders = [] if not own else [Path(own).expanduser()]
    return (*folders, Path(torch_home).expanduser() / "hub" / "checkpoints")


def find_inception() -> Path:
    """Return the first file of Inception weights in :func:`weights_folders`.

    Raises
    ------
    InputError
        If there is none.
    """
    folders = weights_folders(os.environ)
    for folder in folders:
        for name in INCEPTION_FILES:
            if (folder / name).is_file():
                return folder / name
    places = " or ".join(map(str, folders))
    raise InputError(f"there is no {INCEPTION_FILES[0]} in {places}; {_ADVICE}")


def _checked_content(path: Path) -> bytes:
    if not path.exists():
        raise InputError(f"{path} does not exist; {_ADVICE}")
    if not path.is_file():
        raise InputError(f"{path} is not a file; {_ADVICE}")
    size = path.stat().st_size
    if size != INCEPTION_BYTES:
        raise InputError(
            f"{path} must have the {INCEPTION_BYTES} bytes of the known Inception "
            f"weights; it has {size}; {_ADVICE}; export other networks as .onnx"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != INCEPTION_DIGEST:
        raise InputError(
            f"{path} has SHA-256 {found}: it is damaged, or not the known Inception "
            f"weights; {_ADVICE}"
        )
    return content


def load_inception(content: bytes) -> nn.Module:
    """Return the network with the weights of a state dictionary.

    Parameters
    ----------
    content : bytes
        What ``torch.save`` wrote; only tensors are read. ``fc`` and counts of batches
        are left out.

    Raises
    ------
    InputError
        If it is damaged, or its tensors are not those of the network, all finite.
    """
    try:
        loaded = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except (*DAMAGES, Exception) as error:  # noqa: BLE001  unpicklers raise any kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"the Inception weights cannot be read: {reason}") from None
    if not isinstance(loaded, Mapping):
        raise InputError("the Inception weights are no state dictionary")
    network = inception_network()
    wanted = {
        name: weight
        for name, weight in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    weights: dict[str, Tensor] = {}
    for name, like in wanted.items():
        found = loaded.get(name)
        if not isinstance(found, Tensor) or found.shape != like.shape:
            raise InputError(
                f"the Inception weights must have {name} of shape {tuple(like.shape)}"
            )
        weights[name] = found.to(torch.float32)
        if not bool(weights[name].isfinite().all()):
            raise InputError(f"the Inception weights are not finite in {name}")
    for name in network.state_dict().keys() - wanted.keys():
        weights[name] = torch.zeros((), dtype=torch.int64)
    network.load_state_dict(weights, assign=True)
    return network
