"""A pair of inputs as the witness of a lower bound, and its recomputation."""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.lipschitz.layers import (
    Activation,
    AveragePool,
    Conv,
    ConvTranspose,
    Dense,
    Layer,
    Mean,
    Scale,
    Shift,
)
from tacit.lipschitz.network import Network, Node, run
from tacit.lipschitz.problem import LipschitzProblem, Norm

EPS = torch.finfo(torch.float64).eps

# Inputs at which the slope of an activation jumps; the other kinds have none.
KINKS: dict[str, tuple[float, ...]] = {
    "relu": (0.0,),
    "leaky_relu": (0.0,),
    "abs": (0.0,),
    "elu": (0.0,),
    "relu6": (0.0, 6.0),
    "hardtanh": (-1.0, 1.0),
}

# Below this step a smooth activation's difference is the three-point Gauss integral
# of its derivative: relative error below 1e-15 for slopes of bounded sixth derivative.
_SHORT = 1e-2
_GAUSS = (
    (0.5 - math.sqrt(0.15), 5 / 18),
    (0.5, 8 / 18),
    (0.5 + math.sqrt(0.15), 5 / 18),
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PairWitness:
    """Two inputs and the difference quotient that they reach.

    Parameters
    ----------
    x, x_prime : Tensor, shape (*in_shape)
        Two different inputs, float64.
    quotient : float
        What :func:`evaluate_pair` returns for them.
    """

    x: Tensor
    x_prime: Tensor
    quotient: float


def derivative(
    activation: Activation, y: Tensor, *, differentiable: bool = False
) -> Tensor:
    """Return the activation's slope at every entry (at a kink: one of its slopes)."""
    if activation.kind == "relu":  # by far the most used; the general way costs more
        return (y > 0.0).to(y.dtype)
    with torch.enable_grad():
        point = y if y.requires_grad else y.detach().requires_grad_()
        value = activation.apply(point).sum()
        (slope,) = torch.autograd.grad(value, point, create_graph=differentiable)
    return slope


def measure(difference: Tensor, norm: Norm) -> Tensor:
    """Return the norm of every sample of a batch of input differences."""
    order = {"l2": 2.0, "linf": math.inf, "l1": 1.0}[norm]
    return torch.linalg.vector_norm(difference.flatten(1), ord=order, dim=1)


def evaluate_pair(problem: LipschitzProblem, x: Tensor, x_prime: Tensor) -> float:
    r"""Return the difference quotient of two inputs, rounding deducted.

    .. math:: q = \|f(x') - f(x)\|_2 / \|x' - x\|

    The difference is not formed from two values of f, which would cancel; it is
    carried through the network, :math:`\Delta y = A \Delta z`,
    :math:`\Delta z = \phi(y + \Delta y) - \phi(y)`, so that close pairs keep full
    relative accuracy. From the result a bound on its rounding error is deducted:
    :math:`\gamma (|A| |\Delta z|)_i` for every pre-activation, weighted by the modulus
    of its derivative in the output difference, with :math:`\gamma` the number of terms
    summed times eps; where rounding leaves open on which side of a kink a
    pre-activation is, the whole possible change counts. Valid to first order in eps.

    Parameters
    ----------
    problem : LipschitzProblem
        The network f and the norm of the input difference.
    x, x_prime : Tensor, shape (*in_shape)
        Two different inputs; converted to float64.

    Returns
    -------
    float
        At least 0 and, up to second order in eps, at most the exact quotient of the
        two stored inputs, hence at most the Lipschitz constant. 0.0 where the deduction
        exceeds the quotient or the quotient is not finite.

    Raises
    ------
    ShapeError
        If an input does not have the network's input shape.
    InputError
        If an input is not finite or both are equal.
    """
    network = problem.network.to(dtype=torch.float64)
    pair = torch.stack(_checked(problem, x, x_prime))
    step = pair[1:] - pair[:1]
    length = float(measure(step, problem.norm)) * (1 + (step.numel() + 4) * EPS)
    with torch.enable_grad():  # the caller may have switched it off
        value, error = _difference(network, pair, step)
    quotient = (value - error) / length if length > 0.0 else math.nan
    return max(quotient, 0.0) if math.isfinite(quotient) else 0.0


def _checked(problem: LipschitzProblem, *inputs: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    for name, tensor in zip(("x", "x_prime"), inputs, strict=True):
        if tuple(tensor.shape) != problem.network.in_shape:
            raise ShapeError(
                f"{name} must have the network's input shape "
                f"{problem.network.in_shape}; got {tuple(tensor.shape)}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name} must be finite; got NaN or infinity")
        found.append(tensor.detach().to("cpu", torch.float64))
    if torch.equal(*found):
        raise InputError("a pair needs two different inputs; got the same one twice")
    return found


def _difference(network: Network, pair: Tensor, step: Tensor) -> tuple[float, float]:
    """Return ``||f(x') - f(x)||_2`` and a bound on its rounding error."""
    absolute = _absolute(network)
    gamma = {site: count * EPS for site, count in _terms(network).items()}
    ends: dict[int, Tensor] = {}
    values: dict[int, Tensor] = {}

    def record(site: int, y: Tensor) -> Tensor:
        ends[site], values[site] = y, network.activations[site - 1].apply(y)
        return values[site]

    run(network, pair, record)
    sizes = _magnitudes(absolute, pair.abs(), values)
    jumps: dict[int, Tensor] = {}
    slopes: dict[int, Tensor] = {}
    doubts: dict[int, Tensor] = {}

    def propagate(site: int, dy: Tensor) -> Tensor:
        activation = network.activations[site - 1]
        # |bias| <= |y| + |A||z|; errors of earlier sites add up, hence the sum.
        total = sum(gamma[earlier] for earlier in range(1, site + 1))
        blur = total * (2 * sizes[site] + ends[site].abs()).amax(0, keepdim=True)
        flat = dy.detach()
        dz, doubts[site] = _jump(activation, ends[site], flat, blur)
        slopes[site] = torch.where(flat == 0.0, torch.zeros_like(dz), dz / flat)
        jumps[site] = slopes[site] * dy
        return jumps[site]

    output = run(network, step.clone().requires_grad_(), propagate, shift=False)
    value = float(output.detach().norm())
    if value == 0.0 or not math.isfinite(value):
        return value, 0.0
    direction = output.detach() / value
    sites = sorted(jumps)
    weights: tuple[Tensor, ...] = ()
    if sites:
        weights = torch.autograd.grad(
            (direction * output).sum(),
            [jumps[site] for site in sites],
            materialize_grads=True,
        )
    moved = _magnitudes(absolute, step.abs(), jumps)
    last = len(sites) + 1
    error = gamma[last] * float((direction.abs() * moved[last]).sum())
    for site, weight in zip(sites, weights, strict=True):
        local = (slopes[site].abs() + EPS) * gamma[site] * moved[site] + doubts[site]
        error += float((weight.abs() * local).sum())
    return value, error + (output.numel() + 2) * EPS * value


def _jump(
    activation: Activation, ends: Tensor, dy: Tensor, blur: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the change of an activation over ``dy`` and how far it may be off."""
    low, high = activation.slopes
    start, end = ends[:1], ends[1:]
    plain = activation.apply(end) - activation.apply(start)
    if activation.is_piecewise_linear:
        near = derivative(activation, (start + end) / 2) * dy
        doubt = torch.zeros_like(dy)
    else:
        parts = [w * derivative(activation, start + c * dy) for c, w in _GAUSS]
        near = torch.where(dy.abs() < _SHORT, sum(parts[1:], parts[0]) * dy, plain)
        # The slopes' derivatives stay below 2 for unit parameter; 8 eps covers a
        # library call that is good to a few units in the last place.
        steep = 2.0 * max(1.0, abs(activation.parameter))
        doubt = (steep * blur + 8 * EPS) * dy.abs() + torch.where(
            dy.abs() < _SHORT, 0.0, 8 * EPS * (1.0 + ends.abs().amax(0, keepdim=True))
        )
    for kink in KINKS.get(activation.kind, ()):
        crossing = (start - kink) * (end - kink) <= 0.0
        near = torch.where(crossing, plain, near)
        close = (ends - kink).abs().amin(0, keepdim=True) <= blur
        unsure = (high - low) * torch.minimum(dy.abs(), blur)
        doubt = doubt + torch.where(crossing | close, unsure, 0.0)
    edges = torch.stack((low * dy, high * dy))
    return torch.clamp(near, edges.amin(0), edges.amax(0)), doubt


def _magnitudes(
    absolute: Network, inputs: Tensor, values: dict[int, Tensor]
) -> dict[int, Tensor]:
    """Return ``sum_s |A[t, s]| |z_s|`` for every site t > 0."""
    found: dict[int, Tensor] = {}

    def record(site: int, y: Tensor) -> Tensor:
        found[site] = y
        return values[site].detach().abs()

    found[len(values) + 1] = run(absolute, inputs, record, shift=False)
    return found


def _absolute(network: Network) -> Network:
    nodes = tuple(replace(node, layer=_unsigned(node.layer)) for node in network.nodes)
    return Network(in_shape=network.in_shape, nodes=nodes)


def _unsigned(layer: Layer) -> Layer:
    if isinstance(layer, Dense | Conv | ConvTranspose):
        return replace(layer, weight=layer.weight.abs())
    if isinstance(layer, Scale):
        return replace(layer, factor=layer.factor.abs())
    return layer  # the others hold no numbers, or none that a run without shifts adds


def _terms(network: Network) -> dict[int, float]:
    """Return for every site t > 0 the most roundings that one term of y_t undergoes."""
    counts = [2.0]
    found: dict[int, float] = {}
    for node, site in zip(network.nodes, network.sites, strict=True):
        before = max(counts[i] for i in node.inputs)
        if site is None:
            counts.append(before + _fan_in(node, network))
        else:
            found[site] = before
            counts.append(2.0)
    found[len(network.site_shapes) - 1] = counts[-1]
    return found


def _fan_in(node: Node, network: Network) -> int:
    layer = node.layer
    if isinstance(layer, Dense):
        return layer.weight.shape[1] + 1
    if isinstance(layer, Conv):
        return layer.weight[0].numel() + 1
    if isinstance(layer, ConvTranspose):
        return layer.weight[:, 0].numel() + 1
    if isinstance(layer, AveragePool):
        return math.prod(layer.kernel) + 1
    if isinstance(layer, Mean):
        source = node.inputs[0]
        shape = network.nodes[source - 1].shape if source else network.in_shape
        return math.prod(shape) + 1
    return 1 if isinstance(layer, Shift) else len(node.inputs)
