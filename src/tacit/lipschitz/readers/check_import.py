"""Compare a network as read with its original, on inputs of several sizes.

Nothing is imported on trust: a reader that drops a layer, transposes a weight or
misreads a default gives a network whose bounds are worthless, however well proved.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from tacit.errors import ImportMismatchError, InputError
from tacit.lipschitz.layers import Shape
from tacit.lipschitz.network import Activate, Network, run
from tacit.rng import make_generator

# Rounding of one run against another: both are measured against float64, and another
# order of summation can be worse than ours by a moderate factor.
_SAFETY = 64.0
# How much finer float64 rounds than float32.
_FINER = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
# Of each size; a fault behind a neuron that is rarely active needs several to show.
_SAMPLES = 16
_BATCH = 32
_ENTRIES_AT_ONCE = 2**24


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Original:
    """What a network was read from, as a function.

    Parameters
    ----------
    run : callable
        Maps a batch (batch, *in_shape) of ``dtype`` to its outputs, batch first.
        May raise where it is tried on more than one.
    dtype : torch.dtype
        float32 or float64.
    name : str
        For messages, such as ``"ONNX Runtime"``.
    takes_batches : bool
        Whether it is to be tried on several samples at once.
    """

    run: Callable[[Tensor], Tensor]
    dtype: torch.dtype
    name: str
    takes_batches: bool


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class InputLayout:
    """Which part of a graph's input is one sample.

    Parameters
    ----------
    sample : tuple of int
        Shape of one sample.
    batched : bool
        Whether a batch axis precedes it.
    """

    sample: Shape
    batched: bool


def input_layout(sizes: tuple[int | None, ...], in_shape: Shape | None) -> InputLayout:
    """Decide which axes of an input of ``sizes`` (None: open) make up one sample.

    Without ``in_shape``, an input of several axes has its batch axis first, which must
    be open or 1; an input of one axis is one sample.

    Raises
    ------
    InputError
        If sizes are open, the batch is fixed at more than 1, or ``in_shape`` disagrees.
    """
    shown = tuple("?" if size is None else size for size in sizes)
    if in_shape is not None:
        sample = tuple(in_shape)
        if _fits(sizes, (1, *sample)):
            return InputLayout(sample=sample, batched=True)
        if _fits(sizes, sample):
            return InputLayout(sample=sample, batched=False)
        raise InputError(
            f"in_shape {sample} does not fit the model's input of shape {shown}; give "
            "the shape of one sample without batch axis"
        )
    if not sizes:
        raise InputError("the model's input has no axes; a network takes at least one")
    rest = sizes if len(sizes) == 1 else sizes[1:]
    sample = tuple(size for size in rest if size is not None)
    if len(sample) != len(rest):
        raise InputError(
            f"the model leaves sizes of its input open: {shown}; give in_shape, the "
            "shape of one sample without batch axis"
        )
    if len(sizes) > 1 and sizes[0] not in (None, 1):
        raise InputError(
            f"the model's input {shown} has {sizes[0]} as its batch size; export it "
            f"with batch size 1 or an open batch axis, or give in_shape={sizes} to "
            "take the whole tensor as one sample"
        )
    return InputLayout(sample=sample, batched=len(sizes) > 1)


def _fits(sizes: tuple[int | None, ...], shape: Shape) -> bool:
    return len(sizes) == len(shape) and all(
        want in (None, have) for want, have in zip(sizes, shape, strict=True)
    )


def check_import(network: Network, original: Original) -> None:
    """Raise unless the network computes what its original computes.

    Both run on random inputs of sizes 0.1, 1 and 10 and on images in [0, 1]. They may
    differ by rounding only: 64 times what float32 changes in our own run (scaled down
    for a float64 original) plus 64 units in the last place of the largest output.

    Parameters
    ----------
    network : Network
        As read, in float64.
    original : Original
        Run one sample at a time, and on a batch of 32 if it takes one.

    Raises
    ------
    ImportMismatchError
        If an output differs by more.
    InputError
        If the original mixes the samples of a batch, fails, or gives no finite output.
    """
    generator = make_generator(0, "check_import")
    shape = (_SAMPLES, *network.in_shape)
    normal = [
        torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)
    ]
    batches = [0.1 * normal[0], normal[1], 10.0 * normal[2]]
    batches.append(torch.rand(shape, generator=generator, dtype=torch.float64))
    compared = [
        _compare(network, original, batch.to(original.dtype)) for batch in batches
    ]
    if not any(compared):
        raise InputError(
            f"{original.name} gives no finite output on inputs of size 0.1 to 10, so "
            "the import cannot be checked; check the weights"
        )
    if original.takes_batches:
        count = min(_BATCH, max(2, _samples_at_once(network)))
        together = torch.randn(
            count, *network.in_shape, generator=generator, dtype=torch.float64
        )
        sizes = torch.logspace(-1.0, 1.0, count, dtype=torch.float64)
        together *= sizes.reshape(-1, *[1] * len(network.in_shape))
        _check_batch(network, original, together.to(original.dtype))


def _samples_at_once(network: Network) -> int:
    """Return how many samples may run together without using much memory."""
    most = max(math.prod(node.shape) for node in network.nodes)
    return max(1, _ENTRIES_AT_ONCE // max(most, network.num_inputs))


def _run(network: Network, batch: Tensor, activate: Activate | None = None) -> Tensor:
    """Return the outputs in float64, flattened."""
    with torch.no_grad():
        parts = [
            run(network, part, activate).flatten(1)
            for part in batch.split(_samples_at_once(network))
        ]
    return torch.cat(parts).double()


def _compare(network: Network, original: Original, batch: Tensor) -> bool:
    """Compare one sample at a time; return whether the outputs were finite."""
    ours = _run(network, batch.double())
    with torch.no_grad():
        try:
            theirs = torch.stack(
                [original.run(batch[i : i + 1]).flatten() for i in range(len(batch))]
            ).double()
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{original.name} cannot run the model on one sample of shape "
                f"{network.in_shape}: {reason}"
            ) from None
    if ours.shape != theirs.shape:
        raise ImportMismatchError(
            f"the network as read gives {ours.shape[1]} outputs, {original.name} gives "
            f"{theirs.shape[1]}; please report this as a bug"
        )
    if not bool(torch.isfinite(theirs).all()):
        too_large = float(ours.abs().max()) > torch.finfo(original.dtype).max
        if not bool(torch.isfinite(ours).all()) or too_large:
            return False
    _judge(
        ours, theirs, _tolerance(network, batch, ours, original.dtype), original.name
    )
    return True


def _judge(ours: Tensor, theirs: Tensor, tolerance: float, name: str) -> None:
    difference = float((ours - theirs).abs().max())
    if not difference <= tolerance:
        raise ImportMismatchError(
            f"the network as read differs from {name} by {difference:.3g} where "
            f"outputs reach {float(theirs.abs().max()):.3g} and rounding explains "
            f"{tolerance:.1g}; it is not used, please report this as a bug"
        )


def _tolerance(
    network: Network, batch: Tensor, ours: Tensor, dtype: torch.dtype
) -> float:
    """Return how far rounding alone may move the original's outputs."""
    coarse = _run(network.to(dtype=torch.float32), batch.float())
    switched = _run(network, batch.double(), _with_switched_softplus(network))
    noise = torch.nan_to_num((coarse - ours).abs(), nan=0.0, posinf=0.0).max()
    size = torch.finfo(dtype).eps * ours.abs().max()
    noise = noise if dtype == torch.float32 else noise * _FINER
    # torch replaces softplus by the identity above 20, a jump of 2e-9.
    jump = 4.0 * (switched - ours).abs().max()
    return float(_SAFETY * (noise + size) + jump) + torch.finfo(dtype).tiny


def _with_switched_softplus(network: Network) -> Activate:
    def activate(site: int, y: Tensor) -> Tensor:
        layer = network.activations[site - 1]
        if layer.kind == "softplus":
            return functional.softplus(y, beta=layer.parameter)
        return layer.apply(y)

    return activate


def _check_batch(network: Network, original: Original, batch: Tensor) -> None:
    with torch.no_grad():
        try:
            theirs = original.run(batch).double()
        except (RuntimeError, ValueError, TypeError, IndexError):
            return  # an original of batch size 1, compared above
    ours = _run(network, batch.double())
    mixed = theirs.shape[:1] != (len(batch),) or theirs.numel() != ours.numel()
    if not mixed:
        theirs = theirs.reshape_as(ours)
        kept = torch.isfinite(theirs).all(1) & torch.isfinite(ours).all(1)
        batch, ours, theirs = batch[kept], ours[kept], theirs[kept]
        tolerance = _tolerance(network, batch, ours, original.dtype)
        mixed = not bool(((theirs - ours).abs() <= tolerance).all())
    if mixed:
        raise InputError(
            "the model mixes the samples of a batch: several together give other "
            "outputs than one at a time; keep axis 0 as the batch axis throughout"
        )
