"""Which training samples a step sees: shuffled passes that can be continued."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.gan.data.dataset import AbstractDataset, ArrayDataset
from tacit.minimax.gan.grid import from_pixels

# Numbers (4 bytes each) that are kept on the device, ready to be used.
_MAX_RESIDENT = 2**29


def resident(
    dataset: AbstractDataset, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return what gives samples by index, on a device.

    Parameters
    ----------
    dataset : AbstractDataset
        Samples in memory, up to 2 GiB of them, are turned into float32 and moved to the
        device once; all others batch by batch.
    device : torch.device

    Returns
    -------
    callable
        As ``dataset.batch``, but indices are not checked.
    """
    if not isinstance(dataset, ArrayDataset) or dataset.samples.numel() > _MAX_RESIDENT:
        return lambda indices: dataset.batch(indices).to(device)
    samples = dataset.samples
    if samples.dtype == torch.uint8:
        samples = from_pixels(samples)
    samples = samples.to(device)
    return lambda indices: samples.index_select(0, indices.to(device))


@final
class BatchSampler:
    """Indices of one batch after the other; every sample once in each pass.

    A batch that reaches the end of a pass goes on with the next one, so that all
    batches have one size and no sample is left out.

    Parameters
    ----------
    num_samples : int
        Samples to choose from.
    batch_size : int
        At most ``num_samples``.
    generator : torch.Generator
        A CPU stream that nothing else draws from.

    Raises
    ------
    InputError
        If there are fewer samples than a batch has.

    Examples
    --------
    >>> from tacit.minimax.gan.batches import BatchSampler
    >>> from tacit.rng import make_generator
    >>> sampler = BatchSampler(6, 3, generator=make_generator(0, "batches"))
    >>> sorted(sampler.next().tolist() + sampler.next().tolist())
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self, num_samples: int, batch_size: int, *, generator: torch.Generator
    ) -> None:
        if num_samples < batch_size:
            raise InputError(
                f"batch_size must be at most the number of training samples, "
                f"{num_samples}; got {batch_size}; lower it"
            )
        self._num_samples = num_samples
        self._batch_size = batch_size
        self._generator = generator
        self._shuffle()

    def _shuffle(self) -> None:
        # The state before the draw and the position say where a pass stands.
        self._before = self._generator.get_state()
        self._order = torch.randperm(self._num_samples, generator=self._generator)
        self._position = 0

    def next(self) -> Tensor:
        """Return the next batch's indices, int64 of shape (batch_size,)."""
        start, stop = self._position, self._position + self._batch_size
        if stop <= self._num_samples:
            self._position = stop
            return self._order[start:stop]
        rest = self._order[start:]
        self._shuffle()
        self._position = self._batch_size - rest.numel()
        return torch.cat((rest, self._order[: self._position]))

    def state(self) -> tuple[Tensor, int]:
        """Return the stream's state before the current pass, and the place in it."""
        return self._before, self._position

    def restore(self, before: Tensor, position: int) -> None:
        """Continue where another sampler of the same sizes stood.

        Parameters
        ----------
        before : Tensor
        position : int
            As returned by :meth:`state`.

        Raises
        ------
        InputError
            If no sampler of these sizes can stand there.
        """
        if not 0 <= position <= self._num_samples:
            raise InputError(
                f"the place in the pass must be in 0..{self._num_samples}; got "
                f"{position}; the checkpoint belongs to other data"
            )
        self._generator.set_state(before)
        self._shuffle()
        self._position = position
