"""The way to data: by name, or from a file or folder."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.gan.data import arrays, digits
from tacit.minimax.gan.data.cifar import cifar_folder, read_cifar
from tacit.minimax.gan.data.dataset import (
    ArrayDataset,
    GanData,
    digest_of_samples,
    every_nth,
)
from tacit.minimax.gan.data.folder import PERIOD, image_folder
from tacit.minimax.gan.data.gaussians import (
    GaussianMixture,
    draw_samples,
    grid_mixture,
    ring_mixture,
)
from tacit.minimax.gan.data.resize import check_image_size, resized
from tacit.rng import make_generator

BuiltIn = Literal["digits", "gaussians", "gaussians-grid"]
BUILT_IN: tuple[BuiltIn, ...] = ("digits", "gaussians", "gaussians-grid")
"""Data that need no file."""

MAX_CACHE_BYTES = 2**32
"""Memory that the pictures of a folder may take by default (4 GiB)."""

NUM_TRAIN, NUM_TEST = 50_000, 10_000
"""Samples of a mixture, by default."""

_TAR = (".tar.gz", ".tgz")
_ACCEPTED = (
    f"accepted are {', '.join(BUILT_IN)}, a folder of pictures, CIFAR-10 or CIFAR-100 "
    "in the binary version (its folder or .tar.gz), and arrays (.npz, .npy)"
)


def read_data(
    source: str | Path,
    *,
    image_size: int | None = None,
    cache_folder: str | Path | None = None,
    max_cache_bytes: int = MAX_CACHE_BYTES,
) -> GanData:
    r"""Return what a GAN learns from.

    Parameters
    ----------
    source : str or Path
        * ``"digits"``: the 1797 handwritten digits of scikit-learn, grey, 8 x 8; every
          fifth is held out. ``"./digits"`` is a folder of that name.
        * ``"gaussians"``, ``"gaussians-grid"``: 50000 samples of 8 Gaussians on a
          circle (:func:`ring_mixture`), or of 25 on a grid (:func:`grid_mixture`), the
          same ones every time; 10000 further ones are held out.
        * CIFAR-10 or CIFAR-100 in the binary version: the folder with its ``.bin``
          files, the one above, or the ``.tar.gz``; its test images are held out.
        * a folder of ``.jpg``, ``.png`` or ``.webp`` pictures, searched to any depth;
          those in ``test`` are held out if it has folders ``train`` and ``test``, else
          every tenth in the order of names.
        * ``.npz`` or ``.npy``: images as uint8, or as floats from 0 to 1 or (if any is
          negative) from -1 to 1, channels second or last; or vectors. Held out is an
          array ``test``, ``test_images`` or ``x_test``, else every tenth sample.
    image_size : int, optional
        Side of the images: the middle square is resampled with antialiasing. By
        default images stay as they are, which a folder of unlike pictures cannot.
    cache_folder : str or Path, optional
        Where the decoded pictures of a folder are kept for this run and later ones;
        needed for none, and faster for folders too large for memory.
    max_cache_bytes : int
        How much memory they may take otherwise; above it, pictures are decoded every
        time.

    Returns
    -------
    GanData

    Raises
    ------
    InputError
        If there is no such source, it is damaged, or it cannot be told what it means.

    Notes
    -----
    The pictures of a folder are looked at when it is opened, and decoded when a batch
    asks for them: damage inside one is refused then.

    Examples
    --------
    >>> import tacit
    >>> data = tacit.read_data("gaussians")
    >>> data.train.num_samples, data.train.shape, data.mixture.num_modes
    (50000, (2,), 8)
    """
    if image_size is not None:
        check_image_size(image_size)
    if source == "digits":
        pixels, labels = digits.digits_pixels()
        return _in_memory("digits", pixels, labels, digits.PERIOD, image_size)
    if source in ("gaussians", "gaussians-grid"):
        if image_size is not None:
            raise InputError("image_size is for images; leave it out for vectors")
        mixture = ring_mixture() if source == "gaussians" else grid_mixture()
        stream = make_generator(0, f"data/{source}")
        return gaussian_data(mixture, generator=stream, name=str(source))
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path} does not exist; {_ACCEPTED}")
    if path.is_dir():
        found = cifar_folder(path)
        if found is not None:
            return _cifar(found, image_size)
        return image_folder(
            path,
            image_size=image_size,
            cache_folder=None if cache_folder is None else Path(cache_folder),
            max_cache_bytes=max_cache_bytes,
        )
    if path.is_file() and path.name.lower().endswith(_TAR):
        return _cifar(path, image_size)
    if path.is_file() and path.suffix.lower() in arrays.SUFFIXES:
        return _from_arrays(path, image_size)
    raise InputError(f"{path} is not known as data; {_ACCEPTED}")


def gaussian_data(
    mixture: GaussianMixture,
    *,
    generator: torch.Generator,
    num_train: int = NUM_TRAIN,
    num_test: int = NUM_TEST,
    name: str = "gaussians",
) -> GanData:
    """Return samples of a mixture as data.

    Parameters
    ----------
    mixture : GaussianMixture
        Kept in the result, so that modes can be counted.
    generator : torch.Generator
        A CPU stream: the training samples are drawn first, then the held-out ones.
    num_train, num_test : int
        At least 1 each.
    name : str

    Returns
    -------
    GanData
        Labels are the Gaussians that samples come from.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> import tacit
    >>> data = tacit.gaussian_data(tacit.ring_mixture(3), num_train=10, num_test=5,
    ...     generator=tacit.make_generator(0))
    >>> data.test.num_samples
    5
    """
    train, test = (
        draw_samples(mixture, count, generator=generator)
        for count in (num_train, num_test)
    )
    return GanData(
        name=name,
        train=ArrayDataset(name=name, samples=train[0], labels=train[1]),
        test=ArrayDataset(name=name, samples=test[0], labels=test[1]),
        digest=digest_of_samples([train[0], test[0]]),
        split="drawn separately",
        mixture=mixture,
    )


def _in_memory(
    name: str,
    samples: Tensor,
    labels: Tensor | None,
    period: int,
    image_size: int | None,
) -> GanData:
    """Return samples of which every so many-th is held out."""
    keep, held_out = every_nth(len(samples), period)
    rule = f"of every {period} samples the last is held out"
    if not held_out.numel():
        rule = f"none held out: fewer than {period} samples"
    return _split(
        name,
        (samples[keep], samples[held_out]),
        (None, None) if labels is None else (labels[keep], labels[held_out]),
        rule,
        image_size,
    )


def _split(
    name: str,
    samples: tuple[Tensor, Tensor],
    labels: tuple[Tensor | None, Tensor | None],
    rule: str,
    image_size: int | None,
) -> GanData:
    if image_size is not None:
        if samples[0].ndim != 4:
            raise InputError(
                f"image_size is for images; {name} has vectors: leave it out"
            )
        samples = (resized(samples[0], image_size), resized(samples[1], image_size))
    train, test = (
        ArrayDataset(name=name, samples=some, labels=classes) if len(some) else None
        for some, classes in zip(samples, labels, strict=True)
    )
    if train is None:
        raise InputError(f"{name} has no samples to train on; give at least one")
    return GanData(
        name=name,
        train=train,
        test=test,
        digest=digest_of_samples(samples),
        split=rule,
    )


def _cifar(path: Path, image_size: int | None) -> GanData:
    found = read_cifar(path)
    return _split(
        found.name,
        (found.train, found.test),
        (found.train_labels, found.test_labels),
        "the test images of the data",
        image_size,
    )


def _from_arrays(path: Path, image_size: int | None) -> GanData:
    train, test = arrays.read_array_file(path)
    if test is None:
        return _in_memory(path.stem, train, None, PERIOD, image_size)
    rule = "the test samples of the file"
    return _split(path.stem, (train, test), (None, None), rule, image_size)
