r"""The lifted network: the search for the best multipliers.

The dual of the certificate in ``certify.py`` is a semidefinite program in the Gram
matrix of (x, z_1, .., z_L). Factored with ``search_rank`` columns, every scalar becomes
a vector in R^k, and the constraint (z - a y)(b y - z) >= 0 says that z lies in a ball:

.. math:: z = c\, y + r\, \|y\|\, u, \qquad \|u\| = 1 \text{ at an optimum}.

So the same network, without biases, runs on a batch of k coupled inputs with each
activation replaced by that formula; F = ||output||_F^2 is maximised over the unit
vectors u and an input X of unit norm. With gradients G of F with respect to z,

.. math:: u \leftarrow G / \|G\|, \qquad X \leftarrow G_X / \|G_X\|

is a monotone minorise-maximise step, and at a fixed point the multipliers are

.. math:: \lambda = \|G\| / (2 r \|y\|), \qquad p_j = \|G_{X_j}\| / (2 \|X_j\|).
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from tacit.errors import Status
from tacit.iterate import AbstractSolver
from tacit.lipschitz.certify import Multipliers
from tacit.lipschitz.network import Network, run
from tacit.lipschitz.problem import LipschitzProblem

# A multiplier may be zero only in the limit; the checker wants positive numbers.
_RELATIVE_FLOOR = 1e-13
_REPRESENTABLE = (1e-290, 1e290)
_MOMENTUM_RAMP, _MOMENTUM_CAP = 0.03, 0.98
STALL_STEPS = 60


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LiftedPoint:
    """A point of the lifted network.

    Parameters
    ----------
    inputs : Tensor, shape (search_rank, *in_shape)
        X: of unit Frobenius norm (l2), or each entry's vector of unit norm (linf).
    directions : tuple of Tensor, shape (search_rank, *site shape)
        u of every site, unit vectors along the first axis.
    """

    inputs: Tensor
    directions: tuple[Tensor, ...]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LiftedState:
    """State of :class:`LiftedAscent`.

    Parameters
    ----------
    point, previous : LiftedPoint
        The last two iterates.
    value : float
        F at the last point evaluated; its root is a lower bound on the smallest
        certifiable constant, not on the network's own.
    best_value : float
        Largest F so far.
    momentum : float
        Weight of the extrapolation of the next step.
    lengths : tuple of Tensor
        ``||G||`` over the columns, for sites 0..L at the last point evaluated.
    norms : tuple of Tensor
        ``||y||`` over the columns, for sites 1..L there.
    num_idle_steps : int
        Steps since ``best_value`` last rose by more than rounding.
    """

    point: LiftedPoint
    previous: LiftedPoint
    value: float
    best_value: float
    momentum: float
    lengths: tuple[Tensor, ...]
    norms: tuple[Tensor, ...]
    num_idle_steps: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LiftedAscent(AbstractSolver[LipschitzProblem, LiftedState]):
    """Monotone ascent on the lifted network, with momentum and restart on decrease.

    One step is one forward and one backward pass of ``search_rank`` inputs. The
    momentum grows by 0.03 per step up to 0.98 and falls to zero whenever F decreases.

    Parameters
    ----------
    stall_rtol : float
        The run is STALLED after 60 steps that each raise F by less than this share.
    """

    stall_rtol: float = 1e-13

    @override
    def init(self, problem: LipschitzProblem, start: LiftedPoint) -> LiftedState:
        value, lengths, norms, _ = _evaluate(problem, start)
        return LiftedState(
            point=start,
            previous=start,
            value=value,
            best_value=value,
            momentum=0.0,
            lengths=lengths,
            norms=norms,
            num_idle_steps=0,
        )

    @override
    def step(self, problem: LipschitzProblem, state: LiftedState) -> LiftedState:
        ahead = _extrapolate(problem, state)
        value, lengths, norms, target = _evaluate(problem, ahead)
        has_risen = value > state.best_value * (1.0 + self.stall_rtol)
        momentum = min(state.momentum + _MOMENTUM_RAMP, _MOMENTUM_CAP)
        return LiftedState(
            point=target,
            previous=state.point,
            value=value,
            best_value=max(value, state.best_value),
            momentum=momentum if value >= state.value else 0.0,
            lengths=lengths,
            norms=norms,
            num_idle_steps=0 if has_risen else state.num_idle_steps + 1,
        )

    @override
    def status(self, problem: LipschitzProblem, state: LiftedState) -> Status | None:
        if state.value == 0.0 or state.num_idle_steps >= STALL_STEPS:
            return Status.STALLED
        return None


def default_search_rank(network: Network) -> int:
    """Return ``min(ceil(sqrt(2 (neurons + 1))) + 1, 24)``.

    The root is the rank beyond which a factored semidefinite program of that many
    constraints has no spurious local optima for generic data (Boumal, Voroninski,
    Bandeira 2016); 24 was enough in every network tried, and it is raised where not.
    """
    return min(math.ceil(math.sqrt(2.0 * (network.num_neurons + 1))) + 1, 24)


def random_start(
    problem: LipschitzProblem, search_rank: int, generator: torch.Generator
) -> LiftedPoint:
    """Return a random point of the lifted network, drawn in float64."""
    shapes = problem.network.site_shapes[:-1]
    draws = [
        torch.randn(search_rank, *shape, generator=generator, dtype=torch.float64)
        for shape in shapes
    ]
    return LiftedPoint(
        inputs=_on_sphere(problem, draws[0]),
        directions=tuple(_unit(draw) for draw in draws[1:]),
    )


def widened(
    problem: LipschitzProblem, point: LiftedPoint, generator: torch.Generator
) -> LiftedPoint:
    """Return ``point`` with twice the columns, the new ones small and random."""
    fresh = random_start(problem, point.inputs.shape[0], generator)

    def join(old: Tensor, new: Tensor) -> Tensor:
        return torch.cat([old, 0.01 * new.to(old)])

    return LiftedPoint(
        inputs=_on_sphere(problem, join(point.inputs, fresh.inputs)),
        directions=tuple(
            _unit(join(old, new))
            for old, new in zip(point.directions, fresh.directions, strict=True)
        ),
    )


def converted(
    point: LiftedPoint, *, dtype: torch.dtype, device: torch.device | str
) -> LiftedPoint:
    """Return ``point`` in another dtype or on another device."""
    return LiftedPoint(
        inputs=point.inputs.to(device=device, dtype=dtype),
        directions=tuple(u.to(device=device, dtype=dtype) for u in point.directions),
    )


def amplitudes(problem: LipschitzProblem, point: LiftedPoint) -> tuple[float, ...]:
    """Return ``||z||_F`` at sites 0..L and the norm of the output, at ``point``."""
    sizes = [float(torch.linalg.vector_norm(point.inputs))]

    def activate(site: int, y: Tensor) -> Tensor:
        z, _ = _lifted(problem.network, site, y, point)
        sizes.append(float(torch.linalg.vector_norm(z)))
        return z

    with torch.no_grad():
        output = run(problem.network, point.inputs, activate, shift=False)
    return (*sizes, float(torch.linalg.vector_norm(output)))


def _lifted(
    network: Network, site: int, y: Tensor, point: LiftedPoint
) -> tuple[Tensor, Tensor]:
    """Return z = c y + r ||y|| u and ||y||."""
    activation = network.activations[site - 1]
    norm = torch.linalg.vector_norm(y, dim=0)
    turned = (activation.radius * norm) * point.directions[site - 1]
    return torch.add(turned, y, alpha=activation.center), norm


def inflated(network: Network, multipliers: Multipliers, amount: float) -> Multipliers:
    """Return the multipliers times ``(1 + amount) ** depth``, deeper meaning earlier.

    Near an optimum the form Q is singular. Raising earlier sites more than later ones
    makes it positive definite; the other way round deep networks never become so.
    """
    depths = network.depths
    factors = [(1.0 + amount) ** depth for depth in depths[:-1]]
    return Multipliers(
        neurons=tuple(
            m * f for m, f in zip(multipliers.neurons, factors[1:], strict=True)
        ),
        inputs=multipliers.inputs * factors[0],
    )


def _unit(x: Tensor) -> Tensor:
    tiny = torch.finfo(x.dtype).tiny
    return x / torch.linalg.vector_norm(x, dim=0, keepdim=True).clamp_min(tiny)


def _on_sphere(problem: LipschitzProblem, x: Tensor) -> Tensor:
    if problem.norm == "linf":
        return _unit(x)
    return x / torch.linalg.vector_norm(x).clamp_min(torch.finfo(x.dtype).tiny)


def _extrapolate(problem: LipschitzProblem, state: LiftedState) -> LiftedPoint:
    if state.momentum == 0.0:
        return state.point
    weight = state.momentum
    now, before = state.point, state.previous
    return LiftedPoint(
        inputs=_on_sphere(problem, torch.lerp(before.inputs, now.inputs, 1.0 + weight)),
        directions=tuple(
            _unit(torch.lerp(old, new, 1.0 + weight))
            for old, new in zip(before.directions, now.directions, strict=True)
        ),
    )


def _evaluate(
    problem: LipschitzProblem, point: LiftedPoint
) -> tuple[float, tuple[Tensor, ...], tuple[Tensor, ...], LiftedPoint]:
    """Return F, ||G|| and ||y|| of the sites, and the point that one step leads to."""
    norms: list[Tensor] = []
    sites: list[Tensor] = []

    def activate(site: int, y: Tensor) -> Tensor:
        z, norm = _lifted(problem.network, site, y, point)
        norms.append(norm.detach())
        sites.append(z)
        return z

    with torch.enable_grad():
        leaf = point.inputs.detach().requires_grad_()
        value = run(problem.network, leaf, activate, shift=False).square().sum()
        gradients = torch.autograd.grad(value, [leaf, *sites])
    lengths = tuple(torch.linalg.vector_norm(g, dim=0) for g in gradients)
    tiny = torch.finfo(leaf.dtype).tiny
    target = LiftedPoint(
        inputs=_on_sphere(problem, gradients[0]),
        directions=tuple(
            g / length.clamp_min(tiny)
            for g, length in zip(gradients[1:], lengths[1:], strict=True)
        ),
    )
    return float(value.detach()), lengths, tuple(norms), target


def multipliers(problem: LipschitzProblem, state: LiftedState) -> Multipliers:
    """Return the multipliers of the last point evaluated, in float64, all positive.

    Neurons may be scaled by any factors, so no neuron is compared with another one.
    The limits of lambda = ||G|| / (2 r ||y||) are taken where a factor vanishes: with
    epsilon = 1e-13, at least epsilon F / (2 r ||y||^2), which costs a share epsilon of
    the bound, and ||G||^2 / (2 r epsilon F) where y = 0.
    """
    small = max(_RELATIVE_FLOOR * state.value, torch.finfo(torch.float64).tiny)
    neurons: list[Tensor] = []
    for length, norm, activation in zip(
        state.lengths[1:], state.norms, problem.network.activations, strict=True
    ):
        g, y = length.double().cpu(), norm.double().cpu()
        moving = torch.maximum(g / y, small / y.square())
        still = torch.where(g > 0.0, g.square() / small, 1.0)
        raw = torch.where(y > 0.0, moving, still) / (2.0 * activation.radius)
        neurons.append(raw.clamp(*_REPRESENTABLE))
    if problem.norm == "linf":
        inputs = state.lengths[0].double().cpu() / 2.0  # every ||X_j|| is 1
    else:
        inputs = torch.full_like(state.lengths[0], state.value, dtype=torch.float64)
    return Multipliers(neurons=tuple(neurons), inputs=inputs.cpu().clamp_min(small))
