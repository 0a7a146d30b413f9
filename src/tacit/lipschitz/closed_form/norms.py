"""Upper bounds on the norms of the blocks ``A[t, s]`` between the sites of a network.

Small blocks are formed and their norm is computed; large ones (convolutions) are
bounded from the structure of their layers. Either way the result is an upper bound.
"""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.lipschitz.blocks import formed_blocks, identity_images, stored_blocks
from tacit.lipschitz.closed_form.layer_norms import layer_norm_bound, times_up
from tacit.lipschitz.closed_form.matrix_norms import (
    inf_to_two_bound,
    one_to_two_norm,
    spectral_norm_bound,
)
from tacit.lipschitz.layers import (
    AbstractLinear,
    Activation,
    Add,
    Concat,
    Conv,
    Dense,
    Scale,
    Shape,
    Shift,
)
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import Norm
from tacit.spectral import EPS

# A block is formed up to this many entries, and up to this many multiplications
# (rows * columns * shorter side) for its Gram matrix.
_DENSE_ENTRIES = 2**24
_DENSE_WORK = 2e10
# Entries pushed through the graph in all to stream the columns of a block.
_STREAM_ENTRIES = 2**31


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Image:
    """A linear map from the source site: the norm so far, then one layer still open."""

    norm: float
    layer: AbstractLinear | None = None
    nodes: tuple[int, ...] = ()
    in_shape: Shape = ()
    out_shape: Shape = ()


def block_norm_bounds(network: Network) -> dict[tuple[int, int], float]:
    r"""Return an upper bound on the spectral norm of every block ``A[t, s]``.

    A block small enough is formed, and its norm is tight up to rounding. A larger one
    is bounded along the graph: layers in sequence multiply, branches that meet in an
    Add add up, branches that meet in a Concat add up in squares. A Scale per channel (a
    batch norm) is folded into the convolution or dense layer next to it.

    Parameters
    ----------
    network : Network
        In double precision.

    Returns
    -------
    dict of (int, int) to float
        One entry per link ``(t, s)`` of the network.

    Raises
    ------
    UnsupportedLayerError
        As :func:`layer_norm_bound`.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.network import chain
    >>> from tacit.lipschitz.closed_form.norms import block_norm_bounds
    >>> bounds = block_norm_bounds(chain([(torch.eye(2), None, None)]))
    >>> 1.0 <= bounds[1, 0] < 1.0 + 1e-14
    True
    """
    bounds: dict[tuple[int, int], float] = {}
    cache: dict[tuple[int, ...], float] = {}
    for source in sorted({s for _, s in network.links}):
        targets = [t for t, s in network.links if s == source]
        matrices = source_blocks(network, source)
        if len(matrices) < len(targets):
            structural = _structural_bounds(network, source, cache)
            bounds.update(
                {(t, source): structural[t] for t in targets if t not in matrices}
            )
        for target, matrix in matrices.items():
            bounds[target, source] = spectral_norm_bound(matrix)
    return bounds


def input_norm_bounds(network: Network, norm: Norm) -> dict[int, float]:
    r"""Return upper bounds on the norms of the blocks ``A[t, 0]`` for an input norm.

    For ``l2`` as :func:`block_norm_bounds`. For ``l1`` the largest column norm; for
    ``linf`` :func:`inf_to_two_bound`. Columns of a block too large to form are
    streamed: then ``l1`` is still exact and ``linf`` is the best of
    :math:`\sqrt{d}\,\|A\|_2`, the sum of the column norms, and the root of the summed
    squared l1 norms of the rows. Beyond that the l2 norm bounds ``l1``, and its
    :math:`\sqrt{d}`-fold ``linf``.

    Parameters
    ----------
    network : Network
        In double precision.
    norm : {"l2", "linf", "l1"}
        The norm of the input.

    Returns
    -------
    dict of int to float
        One entry per target of a link from site 0.
    """
    targets = {t for t, s in network.links if s == 0}
    matrices = source_blocks(network, 0)
    exact = {"l2": spectral_norm_bound, "l1": one_to_two_norm, "linf": inf_to_two_bound}
    bounds = {t: exact[norm](matrix) for t, matrix in matrices.items()}
    if len(bounds) == len(targets):
        return bounds
    spectral = _structural_bounds(network, 0, {})
    entries = network.num_inputs * max(math.prod(node.shape) for node in network.nodes)
    streamed = dict[int, float]()
    if norm != "l2" and entries <= _STREAM_ENTRIES:
        streamed = _streamed_bounds(network, norm)
    width = math.sqrt(network.num_inputs) if norm == "linf" else 1.0
    for target in targets - set(bounds):
        general = times_up(spectral[target], width)
        bounds[target] = min(general, streamed.get(target, math.inf))
    return bounds


def _streamed_bounds(network: Network, norm: Norm) -> dict[int, float]:
    """Column by column: largest norm (l1), or the better of two sums (linf)."""
    largest = dict[int, float]()
    total = dict[int, float]()
    rows = dict[int, Tensor]()
    for images in identity_images(network, 0):
        for target, image in images.items():
            lengths = torch.linalg.vector_norm(image, dim=1)
            largest[target] = max(largest.get(target, 0.0), float(lengths.max()))
            total[target] = total.get(target, 0.0) + float(lengths.sum())
            sums = image.abs().sum(dim=0)
            rows[target] = rows[target] + sums if target in rows else sums
    size = network.num_inputs + max(math.prod(node.shape) for node in network.nodes)
    slack = 1.0 + 4 * size * EPS
    if norm == "l1":
        return {t: value * slack for t, value in largest.items()}
    by_row = {t: float(torch.linalg.vector_norm(sums)) for t, sums in rows.items()}
    return {t: min(value, by_row[t]) * slack for t, value in total.items()}


def source_blocks(network: Network, source: int) -> dict[int, Tensor]:
    """Form the blocks ``A[t, source]`` that are small enough for their exact norm.

    Parameters
    ----------
    network : Network
        In double precision.
    source : int
        A site in 0..L.

    Returns
    -------
    dict of int to Tensor, shape (size of site t, size of the source)
        Only targets whose block is small or is the weight of one dense layer, which is
        returned as it is: do not write to it.
    """
    sizes = [math.prod(shape) for shape in network.site_shapes]
    targets = {t for t, s in network.links if s == source}
    found = stored_blocks(network, source)
    entries = {t: sizes[t] * sizes[source] for t in targets - set(found)}
    small = {
        t
        for t, count in entries.items()
        if count <= _DENSE_ENTRIES
        and count * min(sizes[t], sizes[source]) <= _DENSE_WORK
    }
    if small:
        found.update(formed_blocks(network, source, small))
    return found


def small_blocks(network: Network) -> dict[tuple[int, int], Tensor] | None:
    """Form all blocks ``A[t, s]``, or return None if one is too large for that.

    Parameters
    ----------
    network : Network
        In double precision.

    Returns
    -------
    dict of (int, int) to Tensor, or None
        As :func:`source_blocks`, for all sources.
    """
    blocks: dict[tuple[int, int], Tensor] = {}
    for source in sorted({s for _, s in network.links}):
        found = source_blocks(network, source)
        if len(found) < sum(s == source for _, s in network.links):
            return None
        blocks.update({(t, source): block for t, block in found.items()})
    return blocks


def _structural_bounds(
    network: Network, source: int, cache: dict[tuple[int, ...], float]
) -> dict[int, float]:
    """Upper bounds on ``A[t, source]`` for all t, from the norms of the layers."""
    shapes = [network.in_shape, *(node.shape for node in network.nodes)]
    values: list[_Image | None] = [_Image(norm=1.0) if source == 0 else None]
    found: dict[int, float] = {}
    for index, (node, site) in enumerate(
        zip(network.nodes, network.sites, strict=True), 1
    ):
        images = [values[i] for i in node.inputs]
        reached = [image for image in images if image is not None]
        if site is not None:
            if reached:
                found[site] = _close(reached[0], cache)
            values.append(_Image(norm=1.0) if site == source else None)
        elif not reached:
            values.append(None)
        elif isinstance(node.layer, Shift | Activation):
            values.append(reached[0])
        elif isinstance(node.layer, Add):
            values.append(
                _Image(norm=sum(_close(i, cache) for i in reached) * (1 + 64 * EPS))
            )
        elif isinstance(node.layer, Concat):
            norms = (_close(image, cache) for image in reached)
            values.append(_Image(norm=math.hypot(*norms) * (1 + 64 * EPS)))
        else:
            opened = _Image(
                norm=1.0,
                layer=node.layer,
                nodes=(index,),
                in_shape=shapes[node.inputs[0]],
                out_shape=node.shape,
            )
            values.append(_follow(reached[0], opened, cache))
    last = values[-1]
    if last is not None:
        found[len(network.site_shapes) - 1] = _close(last, cache)
    return found


def _close(image: _Image, cache: dict[tuple[int, ...], float]) -> float:
    if image.layer is None:
        return image.norm
    if image.nodes not in cache:
        cache[image.nodes] = layer_norm_bound(
            image.layer, [image.in_shape], image.out_shape
        )
    return times_up(image.norm, cache[image.nodes])


def _follow(
    before: _Image, after: _Image, cache: dict[tuple[int, ...], float]
) -> _Image:
    """Compose two maps, folded into one layer where a Scale allows it."""
    folded = None
    if before.layer is not None and after.layer is not None:
        folded = _fold(before, after)
    if folded is None:
        return replace(after, norm=_close(before, cache))
    return _Image(
        norm=before.norm,
        layer=folded,
        nodes=before.nodes + after.nodes,
        in_shape=before.in_shape,
        out_shape=after.out_shape,
    )


def _fold(before: _Image, after: _Image) -> AbstractLinear | None:
    """Find one layer equal to both in sequence, where a Scale per channel allows."""
    first, second, between = before.layer, after.layer, after.in_shape
    if isinstance(second, Scale) and isinstance(first, Dense | Conv):
        factor = _per_channel(
            second, between, len(between) - 1 if isinstance(first, Dense) else 0
        )
        if factor is not None and after.out_shape == between:
            rest = (1,) * (first.weight.dim() - 1)
            return replace(first, weight=first.weight * factor.reshape(-1, *rest))
    if isinstance(first, Scale) and isinstance(second, Dense | Conv):
        factor = _per_channel(
            first, between, len(between) - 1 if isinstance(second, Dense) else 0
        )
        grouped = isinstance(second, Conv) and second.groups > 1
        if factor is not None and before.in_shape == between and not grouped:
            rest = (1,) * (second.weight.dim() - 2)
            return replace(second, weight=second.weight * factor.reshape(1, -1, *rest))
    return None


def _per_channel(scale: Scale, shape: Shape, axis: int) -> Tensor | None:
    """Return the factor along one sample axis, if it depends on nothing else."""
    factor = scale.factor.detach()
    if factor.dim() == len(shape) + 1 and factor.shape[0] == 1:
        factor = factor[0]
    if factor.dim() > len(shape):
        return None
    padded = factor.reshape(*(1,) * (len(shape) - factor.dim()), *factor.shape)
    if any(size > 1 for i, size in enumerate(padded.shape) if i != axis):
        return None
    return padded.reshape(-1).expand(shape[axis])
