"""Products with the Jacobian of a network, with true or smoothed slopes."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, run
from tacit.lipschitz.pair import KINKS, derivative
from tacit.lipschitz.problem import Norm

# (site, pre-activation) -> slope of the activation there
Slope = Callable[[int, Tensor], Tensor]


def radii(x: Tensor) -> Tensor:
    """Return the l2 norm of every sample, in a shape that broadcasts to ``x``."""
    norms = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms.reshape(-1, *[1] * (x.dim() - 1))


def unit(x: Tensor) -> Tensor:
    """Return every sample divided by its l2 norm; zero and infinite ones become 0."""
    # Twice, so that squares of tiny or huge entries do not leave the range.
    top = x.flatten(1).abs().amax(1).reshape(-1, *[1] * (x.dim() - 1))
    scaled = torch.nan_to_num(x / top, nan=0.0, posinf=0.0, neginf=0.0)
    return torch.nan_to_num(scaled / radii(scaled), nan=0.0, posinf=0.0, neginf=0.0)


def dual(norm: Norm, g: Tensor, fallback: Tensor) -> Tensor:
    """Return for every sample the v with ``norm(v) = 1`` that maximises ``<g, v>``.

    Where g is zero or not finite, the sample of ``fallback``.
    """
    flat = unit(g).flatten(1)
    usable = (flat != 0.0).any(1).reshape(-1, *[1] * (g.dim() - 1))
    if norm == "linf":
        flat = torch.where(flat >= 0.0, 1.0, -1.0).to(g.dtype)
    elif norm == "l1":
        index = flat.abs().argmax(1, keepdim=True)
        sign = torch.where(flat.gather(1, index) >= 0.0, 1.0, -1.0).to(g.dtype)
        flat = torch.zeros_like(flat).scatter(1, index, sign)
    return torch.where(usable, flat.reshape(g.shape), fallback)


def smooth_slope(activation: Activation, y: Tensor, sharp: Tensor) -> Tensor:
    r"""Return the slope at ``y`` with every jump replaced by a logistic function.

    .. math:: \phi'(c^-) + (\phi'(c^+) - \phi'(c^-)) / (1 + e^{-s (y - c)})

    for a jump at c and s = ``sharp``; smooth activations keep their own slope.
    """
    kind = activation.kind
    if kind == "abs":
        return torch.tanh(sharp * y)
    if kind == "leaky_relu":
        negative = activation.parameter
        return negative + (1.0 - negative) * torch.sigmoid(sharp * y)
    if activation.is_piecewise_linear:
        first, *rest = KINKS[kind]
        slope = torch.sigmoid(sharp * (y - first))
        for kink in rest:
            slope = slope * torch.sigmoid(sharp * (kink - y))
        return slope
    if kind == "elu":
        share = torch.sigmoid(sharp * y)
        return share + (1.0 - share) * activation.parameter * y.clamp_max(0.0).exp()
    return derivative(activation, y, differentiable=True)


def tangent(network: Network, x: Tensor, v: Tensor, slope: Slope) -> Tensor:
    """Return ``J(x) v``, shape (batch, *out_shape), with slopes taken at a run at x."""
    slopes: dict[int, Tensor] = {}

    def nominal(site: int, y: Tensor) -> Tensor:
        slopes[site] = slope(site, y)
        return network.activations[site - 1].apply(y)

    run(network, x, nominal)
    return run(network, v, lambda site, dy: slopes[site] * dy, shift=False)


def true_slopes(network: Network, x: Tensor) -> dict[int, Tensor]:
    """Return the slopes of all activations at a run at ``x``."""
    slopes: dict[int, Tensor] = {}

    def nominal(site: int, y: Tensor) -> Tensor:
        slopes[site] = derivative(network.activations[site - 1], y)
        return network.activations[site - 1].apply(y)

    run(network, x, nominal)
    return slopes


def power_step(
    network: Network, norm: Norm, slopes: dict[int, Tensor], v: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return ``||J^T u||`` in the dual norm, u = J v / ||J v||_2, and ``dual(J^T u)``.

    .. math:: \|J v\|_2 \le \|J^T u\|_* = \langle u, J v_+ \rangle
        \le \|J v_+\|_2 \le \|J\|

    for the returned :math:`v_+`, so the value never exceeds what :math:`v_+` reaches;
    for one output all but the first are equalities. ``slopes`` may broadcast.
    """
    v = v.detach().requires_grad_()
    output = run(network, v, lambda site, dy: slopes[site] * dy, shift=False)
    (back,) = torch.autograd.grad(
        (unit(output.detach()) * output).sum(), v, materialize_grads=True
    )
    order = {"l2": 2.0, "linf": 1.0, "l1": math.inf}[norm]
    value = torch.linalg.vector_norm(back.flatten(1), ord=order, dim=1)
    value = torch.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)
    return value, dual(norm, back, v.detach())


def quotients(
    network: Network, norm: Norm, x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Return values at most ``||J(x) v||_2`` and unit v, after a few power steps."""
    slopes = true_slopes(network, x)
    value, v = power_step(network, norm, slopes, v)
    # For one output the first step is exact.
    for _ in range(0 if network.num_outputs == 1 else 3):
        value, v = power_step(network, norm, slopes, v)
    return value, v
