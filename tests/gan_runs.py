"""Small GAN runs that several tests start, stop and compare."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from tacit.minimax.gan.checkpoint import Checkpoint, latest_checkpoint
from tacit.minimax.gan.config import TrainingConfig
from tacit.minimax.gan.data.dataset import ArrayDataset, GanData
from tacit.minimax.gan.events import TrainingEvent
from tacit.minimax.gan.features.interface import AbstractFeatures
from tacit.rng import make_generator

SMALL = TrainingConfig(
    architecture="mlp",
    width=4,
    latent_dim=3,
    num_steps=12,
    batch_size=5,
    log_every=4,
    evaluate_every=6,
    checkpoint_every=5,
    num_score_samples=16,
)
IMAGES = replace(SMALL, architecture="dcgan", width=2)


def vectors(num: int = 23, *, scale: float = 1.0) -> GanData:
    """Return points of the plane, a few of them held out."""
    generator = make_generator(0, "vectors")
    points = scale * torch.randn(num + 8, 2, generator=generator)
    return GanData(
        name="points",
        train=ArrayDataset(name="points", samples=points[:num]),
        test=ArrayDataset(name="held-out points", samples=points[num:]),
        digest=f"{num} points of size {scale}",
    )


def images(num: int = 23) -> GanData:
    """Return grey noise, 8 x 8, none held out."""
    pixels = torch.randint(
        256, (num, 1, 8, 8), dtype=torch.uint8, generator=make_generator(0, "images")
    )
    return GanData(
        name="noise",
        train=ArrayDataset(name="noise", samples=pixels),
        test=None,
        digest="noise",
    )


class Pixels(AbstractFeatures):
    """Images as they are."""

    name = "pixels"
    dimension = 64
    digest = None
    preprocess = "none"

    @override
    def extract(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).float()


class StopAt:
    """An observer that presses Ctrl-C when an event of some type comes at a step."""

    def __init__(self, kind: type[Any], step: int) -> None:
        self._kind, self._step = kind, step

    def __call__(self, event: TrainingEvent) -> None:
        if isinstance(event, self._kind) and event.step == self._step:
            raise KeyboardInterrupt


def newest(folder: Path) -> Checkpoint:
    """Return the newest checkpoint of a run, which must be whole."""
    checkpoint, notes = latest_checkpoint(folder)
    assert checkpoint is not None
    assert not notes
    return checkpoint


def assert_same_arrays(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Compare two checkpoints bit by bit."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype, name
        assert array.shape == other[name].shape, name
        assert array.tobytes() == other[name].tobytes(), name


def assert_same_checkpoint(one: Checkpoint, other: Checkpoint) -> None:
    """Compare all of two checkpoints but the time they took and the steps asked for."""
    assert_same_arrays(one.arrays, other.arrays)
    skipped = ("seconds", "config")
    assert {k: v for k, v in one.header.items() if k not in skipped} == {
        k: v for k, v in other.header.items() if k not in skipped
    }


def table_of(path: Path) -> list[list[float]]:
    """Return the numbers of a table with a header line."""
    lines = path.read_text().splitlines()[1:]
    return [[float(cell) for cell in line.split(",")] for line in lines]


def as_bytes(tensor: torch.Tensor) -> bytes:
    """Return the bits of a tensor."""
    return np.ascontiguousarray(tensor.numpy()).tobytes()
