"""Local search that sends one neuron at a time across its kink."""

import math

import torch
from torch import Tensor

from tacit.lipschitz.network import Network, run
from tacit.lipschitz.pair import KINKS
from tacit.lipschitz.problem import Norm
from tacit.lipschitz.reached.jacobian import quotients, true_slopes

_BEYOND = (0.05, 0.5)  # how far beyond the kink, relative to the distance before it
MAX_TRIALS = 512  # steps tried at once; the shortest ones
_RIDGE = 1e-9  # relative to the mean curvature; keeps the metric definite


def climb_by_flips(
    network: Network, norm: Norm, x: Tensor, v: Tensor, *, max_flips: int
) -> tuple[Tensor, Tensor, float]:
    r"""Flip single neurons as long as ``||J(x)||`` grows, the best flip first.

    To bring a pre-activation y_i across a kink at distance r_i, x moves by

    .. math:: \delta_i = -(1 + \kappa) r_i \frac{M^{-1} g_i}{g_i^T M^{-1} g_i}, \quad
        M = \sum_j g_j g_j^T / r_j^2,

    with g_j the gradient of y_j: the step that, among those that cross, changes the
    other distances least, relative to their size. The 512 shortest steps are tried in
    one batch.

    Parameters
    ----------
    network : Network
        In float64.
    norm : {"l2", "linf", "l1"}
        Norm of the input difference.
    x, v : Tensor, shape (1, *in_shape)
        The start and a direction of unit norm.
    max_flips : int
        Most flips, at least 0.

    Returns
    -------
    x, v : Tensor
        The last point and its direction.
    value : float
        ``||J(x) v||_2`` there, or less.
    """
    start, v = quotients(network, norm, x, v)
    value = float(start)
    for _ in range(max_flips):
        steps = _steps(network, x)
        if steps.shape[0] == 0:
            break
        trials = x + steps
        values, directions = quotients(network, norm, trials, v.expand_as(trials))
        best = int(values.argmax())
        if not float(values[best]) > value * (1 + 1e-12):
            break
        x, v = trials[best : best + 1], directions[best : best + 1]
        value = float(values[best])
    return x, v, value


def _steps(network: Network, x: Tensor) -> Tensor:
    """Return one step per neuron, kink and overshoot, shape (steps, *in_shape)."""
    distances, gradients = _distances(network, x)
    moves = (distances != 0.0) & (gradients != 0.0).any(1)
    distances, gradients = distances[moves], gradients[moves]
    if distances.numel() == 0:
        return x.new_zeros(0, *network.in_shape)
    scaled = gradients / distances[:, None]
    metric = scaled.T @ scaled
    ridge = _RIDGE * float(metric.diagonal().mean())
    metric.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(metric)
    if int(failed) or not math.isfinite(ridge):
        return x.new_zeros(0, *network.in_shape)
    towards = torch.cholesky_solve(gradients.T, factor).T
    reach = (gradients * towards).sum(1, keepdim=True)
    steps = -distances[:, None] * towards / reach
    steps = torch.cat([(1 + beyond) * steps for beyond in _BEYOND])
    steps = steps[torch.isfinite(steps).all(1)]
    lengths = torch.linalg.vector_norm(steps, dim=1)
    shortest = lengths.topk(min(MAX_TRIALS, lengths.numel()), largest=False).indices
    steps = steps[shortest]
    return steps.reshape(-1, *network.in_shape)


def _distances(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``y - kink`` of every neuron and kink, and its gradient in x."""
    points: dict[int, Tensor] = {}
    slopes = true_slopes(network, x)

    def nominal(site: int, y: Tensor) -> Tensor:
        points[site] = y
        return network.activations[site - 1].apply(y)

    distances = [x.new_zeros(0)]
    gradients = [x.new_zeros(0, network.num_inputs)]

    def follow(site: int, dy: Tensor) -> Tensor:
        for kink in KINKS.get(network.activations[site - 1].kind, ()):
            distances.append((points[site] - kink).flatten())
            gradients.append(dy.flatten(1).T)
        return slopes[site] * dy

    run(network, x, nominal)
    basis = torch.eye(network.num_inputs, dtype=x.dtype)
    run(network, basis.reshape(-1, *network.in_shape), follow, shift=False)
    return torch.cat(distances), torch.cat(gradients)
