r"""Compiled passes over a one-hidden-layer ReLU generator.

Four neurons' signs and the means of their active latents are formed while they are in
the first-level cache; the (width, num_latents) matrix of activations never exists. On
one core this takes less time than the two matrix products it replaces.

Inside the kernels games have one batch dimension: G games, and players for P = r G of
them, player p in game p mod G.
"""

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from tacit.compiled import FAST, Array, compiled, even_bounds, run_in_threads

# Latents that are gone through at once: four neurons' signs fit the first-level cache.
_BLOCK = 512
# Latents are filled up by zeros to a multiple, which leaves vector loops no remainder:
# 50 latents in single precision take two thirds of the time. It divides the block.
_VECTOR = 16
# Below this many products a second thread costs more than it helps.
_PRODUCTS_PER_THREAD = 2**21


def plain_array(tensor: Tensor) -> Array | None:
    """Return a tensor's numbers; None if a compiled kernel must not see them.

    That is where torch follows the computation (a gradient, dual numbers, vmap,
    compilation), or where the numbers are not in this machine's memory.
    """
    if torch.compiler.is_compiling():
        return None
    if forward_ad.unpack_dual(tensor).tangent is not None:
        return None
    try:
        return tensor.contiguous().numpy()
    except (RuntimeError, TypeError):
        return None


def mean_active_latents(weights: Array, latents: Array) -> Array:
    r"""Return the rows :math:`\frac1n \sum_i 1[w_j^T z_i > 0]\, z_i`.

    Parameters
    ----------
    weights : array, shape (*more, *batch, width, latent_dim)
        The rows w_j.
    latents : array, shape (*batch, num_latents, latent_dim)
        The rows z_i.

    Returns
    -------
    array, shaped like ``weights``
    """
    result = np.empty_like(weights)
    players = weights.reshape(-1, *weights.shape[-2:])
    games = latents.reshape(-1, *latents.shape[-2:])
    means = result.reshape(players.shape)

    def run(_: int, start: int, stop: int) -> None:
        _active_means(players, games, means, start, stop)

    width = players.shape[1]
    products = players.size * games.shape[1]
    if products < 2 * _PRODUCTS_PER_THREAD:
        run(0, 0, width)
    else:
        num_parts = min(torch.get_num_threads(), products // _PRODUCTS_PER_THREAD)
        run_in_threads(run, even_bounds(width, num_parts, 4))
    return result


def push_forward(means: Array, direction: Array, output_weights: Array) -> Array:
    """Return V h with h_j the inner product of the j-th rows of the first two.

    Parameters
    ----------
    means, direction : array, shape (*more, *batch, width, latent_dim)
        Of one shape.
    output_weights : array, shape (*batch, num_features, width)
        V.

    Returns
    -------
    array, shape (*more, *batch, num_features)
    """
    num_features, width = output_weights.shape[-2:]
    players = (-1, *means.shape[-2:])
    result = np.empty((*means.shape[:-2], num_features), means.dtype)
    _push(
        means.reshape(players),
        direction.reshape(players),
        output_weights.reshape(-1, num_features, width),
        result.reshape(-1, num_features),
    )
    return result


def pull_back(means: Array, scores: Array, output_weights: Array) -> Array:
    """Return the rows (V^T d)_j times the rows of ``means``.

    Parameters
    ----------
    means : array, shape (*more, *batch, width, latent_dim)
        As above.
    scores : array, shape (*more, *batch, num_features)
        d.
    output_weights : array, shape (*batch, num_features, width)
        V.

    Returns
    -------
    array, shaped like ``means``
    """
    num_features, width = output_weights.shape[-2:]
    players = (-1, *means.shape[-2:])
    result = np.empty_like(means)
    _pull(
        means.reshape(players),
        scores.reshape(-1, num_features),
        output_weights.reshape(-1, num_features, width),
        result.reshape(players),
    )
    return result


@compiled
def _active_means(
    weights: Array, latents: Array, means: Array, start: int, stop: int
) -> None:  # pragma: no cover - compiled; tests compare it with dense products
    """Mean over the latents of 1[w_j^T z > 0] z, for neurons start..stop."""
    num_players, _, dim = weights.shape
    num_games, num_latents, _ = latents.shape
    scale = weights.dtype.type(1) / weights.dtype.type(num_latents)
    block = min(_BLOCK, -(-num_latents // _VECTOR) * _VECTOR)
    even = dim + dim % 2  # an odd dimension is filled up by zeros
    columns = np.zeros((even, block), weights.dtype)
    signs = np.empty((4, block), weights.dtype)
    rows = np.zeros((4, even), weights.dtype)
    sums = np.empty((4, even), weights.dtype)
    for p in range(num_players):
        means[p, start:stop] = weights.dtype.type(0)
        for first in range(0, num_latents, block):
            count = min(block, num_latents - first)
            full = -(-count // _VECTOR) * _VECTOR
            columns[:, count:full] = weights.dtype.type(0)
            for c in range(dim):
                for i in range(count):
                    columns[c, i] = latents[p % num_games, first + i, c]
            s0, s1 = signs[0, :full], signs[1, :full]
            s2, s3 = signs[2, :full], signs[3, :full]
            for j in range(start, stop, 4):
                together = min(4, stop - j)
                for e in range(together):
                    for c in range(dim):
                        rows[e, c] = weights[p, j + e, c]
                _find_signs(rows, columns, s0, s1, s2, s3)
                _add_active(sums, columns, s0, s1, s2, s3)
                for e in range(together):
                    for c in range(dim):
                        means[p, j + e, c] += sums[e, c] * scale


@numba.njit(nogil=True, fastmath=FAST)
def _find_signs(
    rows: Array, columns: Array, s0: Array, s1: Array, s2: Array, s3: Array
) -> None:  # pragma: no cover - compiled
    """Mark by one where the products of four rows with the columns are positive."""
    one, zero = rows.dtype.type(1), rows.dtype.type(0)
    count = s0.size
    for i in range(count):
        s0[i] = s1[i] = s2[i] = s3[i] = zero
    # Two coordinates at a time: the sums are loaded and stored half as often.
    for c in range(0, rows.shape[1], 2):
        y, z = columns[c, :count], columns[c + 1, :count]
        a0, a1, a2, a3 = rows[0, c], rows[1, c], rows[2, c], rows[3, c]
        b0, b1 = rows[0, c + 1], rows[1, c + 1]
        b2, b3 = rows[2, c + 1], rows[3, c + 1]
        for i in range(count):
            u, v = y[i], z[i]
            s0[i] += a0 * u + b0 * v
            s1[i] += a1 * u + b1 * v
            s2[i] += a2 * u + b2 * v
            s3[i] += a3 * u + b3 * v
    for i in range(count):
        s0[i] = one if s0[i] > 0 else zero
        s1[i] = one if s1[i] > 0 else zero
        s2[i] = one if s2[i] > 0 else zero
        s3[i] = one if s3[i] > 0 else zero


@numba.njit(nogil=True, fastmath=FAST)
def _add_active(
    sums: Array, columns: Array, s0: Array, s1: Array, s2: Array, s3: Array
) -> None:  # pragma: no cover - compiled
    """Sum the columns where they are marked, for four neurons."""
    zero = sums.dtype.type(0)
    count = s0.size
    for c in range(0, sums.shape[1], 2):
        y, z = columns[c, :count], columns[c + 1, :count]
        a0 = a1 = a2 = a3 = zero
        b0 = b1 = b2 = b3 = zero
        for i in range(count):
            u, v = y[i], z[i]
            a0 += s0[i] * u
            a1 += s1[i] * u
            a2 += s2[i] * u
            a3 += s3[i] * u
            b0 += s0[i] * v
            b1 += s1[i] * v
            b2 += s2[i] * v
            b3 += s3[i] * v
        sums[0, c], sums[1, c], sums[2, c], sums[3, c] = a0, a1, a2, a3
        sums[0, c + 1], sums[1, c + 1] = b0, b1
        sums[2, c + 1], sums[3, c + 1] = b2, b3


@compiled
def _push(
    means: Array, direction: Array, output_weights: Array, result: Array
) -> None:  # pragma: no cover - compiled; tests compare it with dense products
    """V h, with h_j the inner product of the j-th rows of the first two."""
    num_players, width, dim = means.shape
    num_games, num_features, _ = output_weights.shape
    hidden = np.empty(width, means.dtype)
    for p in range(num_players):
        for j in range(width):
            total = means.dtype.type(0)
            for c in range(dim):
                total += means[p, j, c] * direction[p, j, c]
            hidden[j] = total
        for f in range(num_features):
            row = output_weights[p % num_games, f]
            total = means.dtype.type(0)
            for j in range(width):
                total += row[j] * hidden[j]
            result[p, f] = total


@compiled
def _pull(
    means: Array, scores: Array, output_weights: Array, result: Array
) -> None:  # pragma: no cover - compiled; tests compare it with dense products
    """Rows (V^T d)_j times the rows of ``means``."""
    num_players, width, dim = means.shape
    num_games, num_features, _ = output_weights.shape
    in_fours = num_features - num_features % 4
    pulled = np.empty(width, means.dtype)
    for p in range(num_players):
        v = output_weights[p % num_games]
        d = scores[p]
        pulled[:] = means.dtype.type(0)
        for f in range(0, in_fours, 4):
            v0, v1, v2, v3 = v[f], v[f + 1], v[f + 2], v[f + 3]
            d0, d1, d2, d3 = d[f], d[f + 1], d[f + 2], d[f + 3]
            for j in range(width):
                pulled[j] += d0 * v0[j] + d1 * v1[j] + d2 * v2[j] + d3 * v3[j]
        for f in range(in_fours, num_features):
            for j in range(width):
                pulled[j] += d[f] * v[f, j]
        for j in range(width):
            for c in range(dim):
                result[p, j, c] = pulled[j] * means[p, j, c]
