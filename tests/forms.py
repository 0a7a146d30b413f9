"""The quadratic form behind a certified bound, as one dense matrix.

The network is probed with unit vectors (``oracles.form_of``); nothing of the checker is
used except its record of multipliers.
"""

import numpy as np
import torch

from oracles import Array, form_of
from tacit.lipschitz.certify import Multipliers
from tacit.lipschitz.network import Network


def proving_multipliers(network: Network, *, strength: float = 8.0) -> Multipliers:
    """Multipliers so large at early sites that the form is positive definite.

    With lambda_s at least ``strength`` times what later sites and the output make of a
    unit change of z_s, the weighted y of every site is small against the weighted z.
    """
    form = form_of(network)
    later = form.output.T**2 @ np.ones(len(form.output))
    found: list[Array] = []
    for row, activation, start in zip(
        form.rows[::-1], form.activations[::-1], form.starts[-2::-1], strict=True
    ):
        size = row.shape[0]
        own = strength * len(form.output.T) * later[start : start + size]
        own = np.maximum(own, 1e-6 * own.max() if own.max() > 0.0 else 1.0)
        found.insert(0, own)
        reach = (abs(activation.center) + activation.radius) ** 2
        later = later + reach * (row.T**2 @ own)
    pairs = zip(found, network.site_shapes[1:-1], strict=True)
    return Multipliers(
        neurons=tuple(torch.from_numpy(own).reshape(shape) for own, shape in pairs),
        inputs=torch.ones(network.in_shape, dtype=torch.float64),
    )


def quadratic_form(network: Network, part: Multipliers) -> Array:
    """Q without the input weights, on (x, z_1, .., z_L)."""
    form = form_of(network)
    matrix = -form.output.T @ form.output
    pieces = zip(form.rows, form.starts[:-1], part.neurons, strict=True)
    for (row, start, multiplier), activation in zip(
        pieces, form.activations, strict=True
    ):
        low, high = activation.slopes
        own = np.eye(matrix.shape[0])[start : start + row.shape[0]]
        half = (own - low * row).T @ (
            multiplier.reshape(-1).numpy()[:, None] * (high * row - own)
        )
        matrix -= (half + half.T) / 2.0
    return matrix


def reduced(network: Network, part: Multipliers) -> Array:
    """The matrix R with Q >= 0 iff diag(p) >= R, neurons measured by their lambda."""
    matrix, d = quadratic_form(network, part), network.num_inputs
    units = [np.ones(d), *(m.reshape(-1).numpy() ** -0.5 for m in part.neurons)]
    scale = np.concatenate(units)
    matrix = scale[:, None] * matrix * scale
    inner, outer = matrix[d:, d:], matrix[d:, :d]
    if len(inner):
        assert np.linalg.eigvalsh(inner)[0] > 1e-3
    return -matrix[:d, :d] + outer.T @ np.linalg.solve(inner, outer)
