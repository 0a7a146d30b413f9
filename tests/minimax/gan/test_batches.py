"""Which samples a step sees."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from gan_runs import images, vectors
from tacit.errors import InputError
from tacit.minimax.gan.batches import BatchSampler, resident
from tacit.minimax.gan.data.dataset import AbstractDataset
from tacit.rng import make_generator


def sampler(num: int, size: int, seed: int = 0) -> BatchSampler:
    return BatchSampler(num, size, generator=make_generator(seed, "batches"))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12))
def test_every_sample_comes_once_in_each_pass(num: int, size: int, count: int) -> None:
    size = min(size, num)
    batches = sampler(num, size)
    seen = torch.cat([batches.next() for _ in range(count)])
    assert seen.numel() == count * size
    for part in seen.split(num):
        assert len(set(part.tolist())) == part.numel()
    assert int(seen.min()) >= 0
    assert int(seen.max()) < num


@given(st.integers(0, 12))
def test_a_restored_sampler_goes_on_with_the_same_batches(taken: int) -> None:
    one, other = sampler(11, 4), sampler(11, 4, seed=1)
    for _ in range(taken):
        one.next()
    other.restore(*one.state())
    for _ in range(9):
        assert torch.equal(one.next(), other.next())


def test_passes_are_shuffled_anew() -> None:
    batches = sampler(50, 50)
    assert not torch.equal(batches.next(), batches.next())


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(InputError, match=r"at most the number .* 3; got 4; lower it"):
        sampler(3, 4)


@pytest.mark.parametrize("position", [-1, 12])
def test_a_place_outside_the_pass_is_refused(position: int) -> None:
    batches = sampler(11, 4)
    with pytest.raises(InputError, match="belongs to other data"):
        batches.restore(batches.state()[0], position)


class OnDisk(AbstractDataset):
    """Samples that are not in memory."""

    name = "on disk"

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    @override
    def num_samples(self) -> int:
        return 9

    @override
    def batch(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.stack((indices.float(), -indices.float()), 1)


@pytest.mark.parametrize("dataset", [vectors().train, images().train, OnDisk()])
def test_resident_samples_are_those_of_the_data(dataset: AbstractDataset) -> None:
    indices = torch.tensor([4, 0, 4, 8])
    found = resident(dataset, torch.device("cpu"))(indices)
    assert torch.equal(found, dataset.batch(indices))
