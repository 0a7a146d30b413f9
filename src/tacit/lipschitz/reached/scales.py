"""The sizes of numbers inside a network, and the input norm at which it bends."""

import math

import torch
from torch import Tensor

from tacit.lipschitz.layers import Shift
from tacit.lipschitz.network import Network, run
from tacit.lipschitz.pair import derivative

# Positively homogeneous: phi(r y) = r phi(y) for r > 0.
HOMOGENEOUS_KINDS = frozenset({"relu", "leaky_relu", "abs"})


def typical_sizes(network: Network, x: Tensor) -> list[Tensor]:
    """Return entry sizes of ``x``, of every pre-activation, and of a tangent run."""
    found = [x.abs().mean()]
    slopes: dict[int, Tensor] = {}

    def nominal(site: int, y: Tensor) -> Tensor:
        found.append(y.abs().mean())
        slopes[site] = derivative(network.activations[site - 1], y)
        return network.activations[site - 1].apply(y)

    def tangent(site: int, dy: Tensor) -> Tensor:
        found.append(dy.abs().mean())
        return slopes[site] * dy

    run(network, x, nominal)
    found.append(run(network, x / x.norm(), tangent, shift=False).abs().mean())
    return found


def natural_radius(network: Network, generator: torch.Generator) -> float:
    """Return the input norm at which kinks and biases matter; 0 if every norm is alike.

    Per site the radius at which the linear part of a pre-activation is as large as its
    bias part plus the distance of the activation's features from 0; the median.
    """
    kinds = {activation.kind for activation in network.activations}
    shifts = [n.layer.offset for n in network.nodes if isinstance(n.layer, Shift)]
    if kinds <= HOMOGENEOUS_KINDS and not any(bool(offset.any()) for offset in shifts):
        return 0.0
    at_zero: dict[int, Tensor] = {}
    radii: list[float] = []

    def nominal(site: int, y: Tensor) -> Tensor:
        at_zero[site] = y.square().mean().sqrt()
        return network.activations[site - 1].apply(y)

    def tangent(site: int, dy: Tensor) -> Tensor:
        activation = network.activations[site - 1]
        feature = 0.0 if activation.kind in HOMOGENEOUS_KINDS else 1.0
        speed = float(dy.square().mean().sqrt())
        if speed > 0.0:
            radii.append((float(at_zero[site]) + feature) / speed)
        low, high = activation.slopes
        return 0.5 * (abs(low) + abs(high)) * dy

    v = torch.randn(8, *network.in_shape, generator=generator, dtype=torch.float64)
    run(network, torch.zeros_like(v[:1]), nominal)
    run(network, v / v.flatten(1).norm(dim=1).mean(), tangent, shift=False)
    radii = sorted(radius for radius in radii if 0.0 < radius < math.inf)
    return radii[len(radii) // 2] if radii else 1.0
