"""Samples in memory: batches, what is refused, and digests."""

import hashlib

import numpy as np
import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.data import dataset as module
from tacit.minimax.gan.data.dataset import (
    ArrayDataset,
    GanData,
    check_indices,
    digest_of_samples,
    every_nth,
)


def test_batches_are_scaled_pixels(generator: torch.Generator) -> None:
    pixels = torch.randint(256, (6, 3, 4, 5), generator=generator).to(torch.uint8)
    data = ArrayDataset(name="some", samples=pixels)
    assert (data.shape, data.num_samples) == ((3, 4, 5), 6)
    batch = data.batch(torch.tensor([5, 0, 5]))
    assert batch.dtype == torch.float32
    expected = pixels.numpy()[[5, 0, 5]] / 127.5 - 1.0
    np.testing.assert_allclose(batch, expected, atol=1e-7)


def test_floats_come_as_they_are_and_new(generator: torch.Generator) -> None:
    samples = torch.randn(4, 2, generator=generator)
    data = ArrayDataset(name="some", samples=samples)
    batch = data.batch(torch.tensor([1]))
    assert torch.equal(batch, samples[1:2])
    batch.zero_()
    assert bool(samples.any(dim=1).all())


def test_an_empty_batch_is_possible() -> None:
    data = ArrayDataset(name="some", samples=torch.zeros(4, 2))
    assert data.batch(torch.zeros(0, dtype=torch.int64)).shape == (0, 2)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([4]), r"in 0\.\.3; got 4 to 4"),
        (torch.tensor([0, -1]), "got -1 to 0"),
        (torch.tensor(0), "vector of int64"),
        (torch.tensor([0.0]), "vector of int64"),
        (torch.tensor([True]), "vector of int64"),
    ],
)
def test_wrong_indices_are_refused(indices: torch.Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        check_indices(indices, 4)
    with pytest.raises(ShapeError, match=message):
        ArrayDataset(name="some", samples=torch.zeros(4, 2)).batch(indices)


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5), (0, 2), (2, 1, 0, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="must have shape"):
        ArrayDataset(name="some", samples=torch.zeros(shape))


def test_two_channels_are_refused() -> None:
    with pytest.raises(ShapeError, match="1 or 3 channels; got 2"):
        ArrayDataset(name="some", samples=torch.zeros(3, 2, 4, 4))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool])
def test_other_dtypes_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match="must be float32"):
        ArrayDataset(name="some", samples=torch.zeros(3, 1, 4, 4, dtype=dtype))
    with pytest.raises(InputError, match="must be float32"):
        ArrayDataset(name="some", samples=torch.zeros(3, 2, dtype=torch.uint8))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("shape", [(3, 2), (3, 1, 4, 4)])
def test_what_is_not_finite_is_refused(value: float, shape: tuple[int, ...]) -> None:
    samples = torch.zeros(shape)
    samples[1, 0] = value
    with pytest.raises(InputError, match="must be finite"):
        ArrayDataset(name="some", samples=samples)


def test_images_beyond_their_range_are_refused_but_vectors_are_not() -> None:
    with pytest.raises(InputError, match="from 2 to 2"):
        ArrayDataset(name="some", samples=torch.full((3, 1, 4, 4), 2.0))
    assert ArrayDataset(name="some", samples=torch.full((3, 4), 2.0)).num_samples == 3


def test_labels_must_fit() -> None:
    samples = torch.zeros(3, 2)
    with pytest.raises(ShapeError, match="each of 3 samples"):
        ArrayDataset(name="a", samples=samples, labels=torch.zeros(2).long())
    with pytest.raises(ShapeError, match="int64 label"):
        ArrayDataset(name="a", samples=samples, labels=torch.zeros(3))


def test_held_out_samples_must_have_the_same_shape() -> None:
    train, test = (
        ArrayDataset(name="some", samples=torch.zeros(3, size)) for size in (2, 4)
    )
    with pytest.raises(ShapeError, match=r"\(2,\); got \(4,\)"):
        GanData(name="some", train=train, test=test, digest="")


def test_the_digest_is_that_of_dtype_shape_and_bytes(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    samples = torch.randn(7, 3, generator=generator)
    text = b"torch.float32 (7, 3);" + samples.numpy().astype("<f4").tobytes()
    expected = hashlib.sha256(text + b"none;").hexdigest()
    assert digest_of_samples([samples, None]) == expected
    monkeypatch.setattr(module, "_CHUNK", 4)
    assert digest_of_samples([samples, None]) == expected
    assert digest_of_samples([samples.T.contiguous().T, None]) == expected


def test_other_samples_have_another_digest(generator: torch.Generator) -> None:
    samples = torch.randn(4, 4, generator=generator)
    changed = samples.clone()
    changed[3, 3] += 1e-6
    found = {
        digest_of_samples(parts)
        for parts in (
            [samples],
            [changed],
            [samples, None],
            [samples[:2], samples[2:]],
            [samples.reshape(2, 8)],
            [samples.view(torch.int32)],
        )
    }
    assert len(found) == 6


@pytest.mark.parametrize(("count", "period"), [(1, 5), (5, 5), (23, 5), (30, 10)])
def test_every_nth_sample_is_held_out(count: int, period: int) -> None:
    keep, held_out = every_nth(count, period)
    assert held_out.tolist() == list(range(period - 1, count, period))
    assert sorted(keep.tolist() + held_out.tolist()) == list(range(count))
