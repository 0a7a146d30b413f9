"""The dense blocks ``A[t, s]`` between the sites of a network."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.lipschitz.layers import Dense, Reshape, Scale, Shift, tensors_of
from tacit.lipschitz.network import Network, linear_part

Blocks = dict[tuple[int, int], Tensor]

# Entries pushed through the graph at once while blocks are formed; bounds memory.
_CHUNK_ENTRIES = 2**23


def num_block_entries(network: Network) -> int:
    """Return how many float64 numbers all blocks together hold."""
    sizes = [math.prod(shape) for shape in network.site_shapes]
    return sum(sizes[t] * sizes[s] for t, s in network.links)


def dense_blocks(network: Network) -> Blocks:
    """Form every block ``A[t, s]`` of the network, with ``y_t = sum_s A[t, s] z_s``.

    Parameters
    ----------
    network : Network
        In float64.

    Returns
    -------
    dict of (int, int) to Tensor, shape (size of site t, size of site s)
        One entry per link of the network, shifts left out; do not write to them.

    Raises
    ------
    InputError
        If the network is not in float64.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.network import chain
    >>> dense_blocks(chain([(torch.eye(2), None, None)]))[1, 0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    weights = (t for node in network.nodes for t in tensors_of(node.layer))
    if any(weight.dtype != torch.float64 for weight in weights):
        raise InputError("blocks are formed in float64; convert the network first")
    blocks: Blocks = {}
    for source in sorted({s for _, s in network.links}):
        found = stored_blocks(network, source)
        missing = {t for t, s in network.links if s == source} - found.keys()
        if missing:
            found |= formed_blocks(network, source, missing)
        blocks |= {(target, source): block for target, block in found.items()}
    return blocks


def formed_blocks(
    network: Network, source: int, targets: set[int]
) -> dict[int, Tensor]:
    """Form the blocks from ``source`` to ``targets`` by pushing the identity."""
    parts: dict[int, list[Tensor]] = {t: [] for t in targets}
    for images in identity_images(network, source):
        for target in targets:
            parts[target].append(images[target])
    return {t: torch.cat(images).T.contiguous() for t, images in parts.items()}


def identity_images(network: Network, source: int) -> Iterator[dict[int, Tensor]]:
    """Yield ``A[t, source]^T`` for all t, a few rows at a time.

    Parameters
    ----------
    network : Network
        In float64.
    source : int
        A site in 0..L.

    Yields
    ------
    dict of int to Tensor, shape (rows, size of site t)
        As many rows as keep the values of one run within 64 MiB.
    """
    shape = network.site_shapes[source]
    size = math.prod(shape)
    widest = max(size, *(math.prod(node.shape) for node in network.nodes))
    step = max(1, _CHUNK_ENTRIES // widest)
    for first in range(0, size, step):
        count = min(step, size - first)
        batch = torch.zeros(count, size, dtype=torch.float64)
        batch[:, first : first + count].fill_diagonal_(1.0)
        with torch.no_grad():
            images = linear_part(network, source, batch.reshape(count, *shape))
        yield {t: image.reshape(count, -1) for t, image in images.items()}


def stored_blocks(network: Network, source: int) -> dict[int, Tensor]:
    """Return blocks that are one dense layer, flattened, shifted or scaled.

    No product is formed for them: a block may be the layer's weight itself, do not
    write to it.

    Parameters
    ----------
    network : Network
    source : int
        A site in 0..L.

    Returns
    -------
    dict of int to Tensor, shape (size of site t, size of the source)
    """
    # A matrix is the map from the source so far, a vector a diagonal one.
    size = math.prod(network.site_shapes[source])
    start = torch.ones(size, dtype=torch.float64)
    values: dict[int, Tensor] = {0: start} if source == 0 else {}
    shapes = [network.in_shape, *(node.shape for node in network.nodes)]
    found: dict[int, Tensor] = {}
    pairs = zip(network.nodes, network.sites, strict=True)
    for index, (node, site) in enumerate(pairs, start=1):
        image = values.get(node.inputs[0])
        if site == source:
            values[index] = start
        if image is None:
            continue
        if site is not None:
            found[site] = image
        elif isinstance(node.layer, Reshape | Shift):
            values[index] = image
        elif len(shapes[node.inputs[0]]) != 1 or len(node.inputs) != 1:
            continue
        elif isinstance(node.layer, Dense) and image.dim() == 1:
            weight = node.layer.weight.detach()
            values[index] = weight if image is start else weight * image
        elif isinstance(node.layer, Scale) and node.shape == shapes[node.inputs[0]]:
            factor = node.layer.factor.detach().reshape(-1)
            column = factor.expand(node.shape[0])
            values[index] = (column if image.dim() == 1 else column[:, None]) * image
    if len(network.nodes) in values:
        found[len(network.site_shapes) - 1] = values[len(network.nodes)]
    return {t: image for t, image in found.items() if image.dim() == 2}
