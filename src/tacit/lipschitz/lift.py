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
from dataclasses import dataclass, replace
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
_RELATIVE_FLOOR = 1e-12
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
    multipliers : Multipliers
        Of the last point evaluated.
    num_idle_steps : int
        Steps since ``best_value`` last rose by more than rounding.
    """

    point: LiftedPoint
    previous: LiftedPoint
    value: float
    best_value: float
    momentum: float
    multipliers: Multipliers
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
        value, multipliers, _ = _evaluate(problem, start)
        return LiftedState(
            point=start,
            previous=start,
            value=value,
            best_value=value,
            momentum=0.0,
            multipliers=multipliers,
            num_idle_steps=0,
        )

    @override
    def step(self, problem: LipschitzProblem, state: LiftedState) -> LiftedState:
        ahead = _extrapolate(problem, state)
        value, multipliers, target = _evaluate(problem, ahead)
        has_risen = value > state.best_value * (1.0 + self.stall_rtol)
        momentum = min(state.momentum + _MOMENTUM_RAMP, _MOMENTUM_CAP)
        return replace(
            state,
            point=target,
            previous=state.point,
            value=value,
            best_value=max(value, state.best_value),
            momentum=momentum if value >= state.value else 0.0,
            multipliers=multipliers,
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
        z = _lifted(problem.network, site, y, point)
        sizes.append(float(torch.linalg.vector_norm(z)))
        return z

    with torch.no_grad():
        output = run(problem.network, point.inputs, activate, shift=False)
    return (*sizes, float(torch.linalg.vector_norm(output)))


def _lifted(network: Network, site: int, y: Tensor, point: LiftedPoint) -> Tensor:
    activation = network.activations[site - 1]
    norm = torch.linalg.vector_norm(y, dim=0)
    return (
        activation.center * y + (activation.radius * norm) * point.directions[site - 1]
    )


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
) -> tuple[float, Multipliers, LiftedPoint]:
    """Return F, the multipliers, and the point that one step leads to."""
    network = problem.network
    norms: list[Tensor] = []
    sites: list[Tensor] = []

    def activate(site: int, y: Tensor) -> Tensor:
        norms.append(torch.linalg.vector_norm(y.detach(), dim=0))
        sites.append(_lifted(network, site, y, point))
        return sites[-1]

    with torch.enable_grad():
        leaf = point.inputs.detach().requires_grad_()
        value = run(network, leaf, activate, shift=False).square().sum()
        gradients = torch.autograd.grad(value, [leaf, *sites])
    lengths = [torch.linalg.vector_norm(g, dim=0) for g in gradients]
    tiny = torch.finfo(leaf.dtype).tiny
    target = LiftedPoint(
        inputs=_on_sphere(problem, gradients[0]),
        directions=tuple(
            g / length.clamp_min(tiny)
            for g, length in zip(gradients[1:], lengths[1:], strict=True)
        ),
    )
    total = float(value.detach())
    return total, _multipliers(problem, point, total, lengths, norms), target


def _multipliers(
    problem: LipschitzProblem,
    point: LiftedPoint,
    value: float,
    lengths: list[Tensor],
    norms: list[Tensor],
) -> Multipliers:
    neurons: list[Tensor] = []
    for length, norm, activation in zip(
        lengths[1:], norms, problem.network.activations, strict=True
    ):
        norm = norm.double()
        floor = max(
            float(norm.max()) * _RELATIVE_FLOOR, torch.finfo(torch.float64).tiny
        )
        raw = length.double() / (2.0 * activation.radius * norm.clamp_min(floor))
        largest = float(raw.max())
        neurons.append(
            raw.clamp_min(largest * _RELATIVE_FLOOR if largest > 0.0 else 1.0)
        )
    if problem.norm == "linf":
        weights = lengths[0].double() / 2.0  # every ||X_j|| is one
        largest = float(weights.max())
        weights = weights.clamp_min(largest * _RELATIVE_FLOOR if largest > 0.0 else 1.0)
    else:
        weights = torch.full(
            problem.network.in_shape, max(value, 1e-300), dtype=torch.float64
        )
    return Multipliers(neurons=tuple(neurons), inputs=weights)
