"""The features that handwritten digits of 8 x 8 pixels are scored on.

They are 64 hidden values of a small classifier of digits, before their ReLU, scaled to
variance 1 over its training data. ``examples/train_digits_features.py`` makes the
weights, which come with the package.
"""

import hashlib
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor, nn

from tacit.errors import InputError
from tacit.io import read_typed_arrays
from tacit.minimax.gan.features.module import ModuleFeatures
from tacit.minimax.gan.features.preparation import Preparation

DIMENSION = 64
"""Of the features."""

WEIGHTS = "digits_weights.npz"
"""Name of the file beside this module."""

WEIGHTS_DIGEST = "0948fe07880c867ae037a932d05213d06bb5316e2f0ba3639af0db9a04f678e1"
"""SHA-256 of that file."""

_MAX_BYTES = 2**19


def digits_layers(device: str = "cpu") -> tuple[nn.Sequential, nn.Sequential]:
    """Return the classifier in two parts: up to the features, and what decides by them.

    Two convolutions of 3 x 3 with ReLU and 16 and 32 channels, maxima over 2 x 2, a
    dense layer of 64: the features. ReLU and a dense layer of 10 scores follow.

    Parameters
    ----------
    device : str
        Where weights are made, by PyTorch's own draws; nowhere, and without drawing, on
        ``"meta"``.
    """
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, device=device),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, device=device),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, DIMENSION, device=device),
    )
    return body, nn.Sequential(nn.ReLU(), nn.Linear(DIMENSION, 10, device=device))


def read_digits_layers(path: Path, digest: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Return both parts of the classifier with their weights.

    Parameters
    ----------
    path : Path
        As ``examples/train_digits_features.py`` writes it.
    digest : str
        SHA-256 that the file must have.

    Raises
    ------
    InputError
        If it is missing, damaged, or another file.
    """
    _, arrays = read_typed_arrays(path, ("float32",), max_bytes=_MAX_BYTES)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        raise InputError(
            f"{path} must have SHA-256 {digest}; got {found}; install tacit again"
        )
    body, head = digits_layers("meta")
    weights = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    parts: list[tuple[nn.Module, str]] = [(body, "body."), (head, "head.")]
    for part, prefix in parts:
        own: dict[str, Tensor] = {
            name.removeprefix(prefix): weight
            for name, weight in weights.items()
            if name.startswith(prefix)
        }
        part.load_state_dict(own, assign=True)
    return body, head


def digits_features(device: str = "cpu") -> ModuleFeatures:
    """Return the features of handwritten digits, 8 x 8 pixels, that come with tacit.

    They are 64 hidden values of a classifier with two convolutions, before their ReLU,
    each of variance 1 over the data it was trained on. Those are four fifths of
    scikit-learn's digits, the ones that :func:`read_data` gives as training data: every
    score of held-out digits is one of images it never saw.

    Parameters
    ----------
    device : str
        Where features are computed, as for :class:`ModuleFeatures`.

    Returns
    -------
    ModuleFeatures
        The same object every time.

    Raises
    ------
    InputError
        If the weights' file is not the one that was released, or there is no such
        device.

    Notes
    -----
    Frechet distances on them compare with one another, never with those on Inception
    features. Real digits score 0.7 against other real digits (halves of 898), uniform
    noise 45, black images 248. Images that are not grey and 8 x 8 are refused.

    Examples
    --------
    >>> import tacit
    >>> features = tacit.digits_features()
    >>> features.name, features.dimension, features.preprocess
    ('digits classifier', 64, '1 channel, values 0..1')
    """
    return _read(device)


@cache
def _read(device: str) -> ModuleFeatures:
    with as_file(files("tacit.minimax.gan.features") / WEIGHTS) as path:
        body, _ = read_digits_layers(path, WEIGHTS_DIGEST)
    return ModuleFeatures(
        body,
        name="digits classifier",
        dimension=DIMENSION,
        preparation=Preparation(channels=1, values="0..1"),
        digest=WEIGHTS_DIGEST,
        device=device,
    )
