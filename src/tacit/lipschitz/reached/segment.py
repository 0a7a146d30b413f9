"""From a point and a direction to a pair of inputs inside one linear region."""

import math

import torch
from torch import Tensor

from tacit.lipschitz.network import Network, run
from tacit.lipschitz.pair import KINKS, PairWitness, derivative, evaluate_pair
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.lipschitz.reached.jacobian import (
    dual,
    power_step,
    quotients,
    radii,
    tangent,
    true_slopes,
)

_NUM_DENSE = 64  # inputs or outputs up to which the Jacobian of one point is formed
_MAX_POWER = 300
_POWER_RTOL = 1e-14
_NUM_RECENTRE = 24
_INSIDE = 0.9  # share of the way to the first kink
_SHARES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_WIDE = 1e-8  # pairs longer than this share of the input's norm are preferred ...
_WORTH = 1e-6  # ... if they lose no more than this


def best_direction(
    problem: LipschitzProblem, x: Tensor, generator: torch.Generator
) -> Tensor:
    """Return a unit v, shape (1, *in_shape), with ``||J(x) v||_2`` close to largest.

    Exact up to rounding for one output, and for l1 and l2 up to 64 inputs or outputs;
    else power steps (for linf also flips of signs) from 32 random and other starts,
    which may end in a local maximum.
    """
    network, norm = problem.network, problem.norm
    slopes = true_slopes(network, x)
    v = torch.randn(32, *network.in_shape, generator=generator, dtype=torch.float64)
    v = dual(norm, v, v)
    if min(network.num_outputs, network.num_inputs) > _NUM_DENSE:
        return _climb(network, norm, slopes, v)
    jacobian = _jacobian(network, slopes)
    if norm == "l1":
        index = int(torch.linalg.vector_norm(jacobian, dim=0).argmax())
        v = torch.zeros(1, network.num_inputs, dtype=torch.float64)
        v[0, index] = 1.0
        return v.reshape(1, *network.in_shape)
    top = torch.linalg.svd(jacobian, full_matrices=False).Vh
    if norm == "l2":
        return top[:1].reshape(1, *network.in_shape)
    starts = torch.cat((jacobian, top)).reshape(-1, *network.in_shape)
    v = torch.cat((dual(norm, starts, torch.ones_like(starts)), v))
    return _flip_signs(jacobian, v.flatten(1)).reshape(1, *network.in_shape)


def _climb(
    network: Network, norm: Norm, slopes: dict[int, Tensor], v: Tensor
) -> Tensor:
    """Return the best of a batch of directions after power steps until they stop."""
    value = torch.zeros(v.shape[0], dtype=torch.float64)
    for _ in range(_MAX_POWER):
        before = value
        value, after = power_step(network, norm, slopes, v)
        if bool((value <= before * (1 + _POWER_RTOL)).all()):
            break
        v = after
    return v[int(value.argmax())].unsqueeze(0)


def _flip_signs(jacobian: Tensor, signs: Tensor) -> Tensor:
    """Return the best sign vector s for ``||J s||_2`` after power steps and flips.

    A flip of entry i changes ``||J s||_2^2`` by ``4 (||J_i||^2 - s_i <J_i, J s>)``; the
    best one is taken until none helps, so the end is a local maximum in both senses.
    """
    squares = jacobian.square().sum(0)
    rows = torch.arange(signs.shape[0])
    for _ in range(_MAX_POWER):
        pull = signs @ jacobian.T @ jacobian
        turned = torch.where(pull >= 0.0, 1.0, -1.0).to(signs.dtype)
        gains = squares - signs * pull
        best, index = gains.max(1)
        flipped = signs.clone()
        flipped[rows, index] = -flipped[rows, index]
        is_stuck = (turned == signs).all(1, keepdim=True)
        helps = (best > 1e-12 * squares.sum())[:, None]
        if bool((is_stuck & ~helps).all()):
            break
        signs = torch.where(is_stuck, torch.where(helps, flipped, signs), turned)
    values = torch.linalg.vector_norm(signs @ jacobian.T, dim=1)
    return signs[int(values.argmax())]


def _jacobian(network: Network, slopes: dict[int, Tensor]) -> Tensor:
    """Return J, shape (num_outputs, num_inputs), for the slopes of one point."""
    inputs, outputs = network.num_inputs, network.num_outputs

    def push(v: Tensor) -> Tensor:
        v = v.reshape(-1, *network.in_shape)
        moved = run(network, v, lambda site, dy: slopes[site] * dy, shift=False)
        return moved.flatten(1)

    if inputs < outputs:
        return push(torch.eye(inputs, dtype=torch.float64)).T
    v = torch.zeros(outputs, inputs, dtype=torch.float64, requires_grad=True)
    (rows,) = torch.autograd.grad(push(v).diagonal().sum(), v)
    return rows


def polish(problem: LipschitzProblem, x: Tensor, *, max_steps: int = 100) -> Tensor:
    """Climb ``||J(x) v||`` in x by L-BFGS where an activation is smooth.

    Returns x itself for piecewise linear networks, whose Jacobian is constant nearby,
    and wherever nothing was gained.
    """
    network = problem.network
    if all(activation.is_piecewise_linear for activation in network.activations):
        return x
    x, v = x.detach(), torch.ones_like(x)
    start, v = quotients(network, problem.norm, x, dual(problem.norm, v, v))
    scale = float(radii(x).amax()) or 1.0
    moved = (x / scale).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [moved],
        max_iter=max_steps,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def slope(site: int, y: Tensor) -> Tensor:
        return derivative(network.activations[site - 1], y, differentiable=True)

    def closure() -> Tensor:
        nonlocal v
        optimizer.zero_grad()
        point = scale * moved
        _, v = quotients(network, problem.norm, point.detach(), v)
        output = torch.linalg.vector_norm(tangent(network, point, v, slope))
        loss = -(output / start.clamp_min(torch.finfo(start.dtype).tiny)).sum()
        if loss.requires_grad:
            loss.backward()
        return loss.detach()

    optimizer.step(closure)
    found = (scale * moved).detach()
    if not bool(torch.isfinite(found).all()):
        return x
    value, _ = quotients(network, problem.norm, found, v)
    return found if bool(value > start) else x


def lay_pair(
    problem: LipschitzProblem,
    x: Tensor,
    v: Tensor,
    generator: torch.Generator | None = None,
) -> PairWitness:
    """Return the best pair ``x + a v, x + b v`` inside the linear region of ``x``.

    Parameters
    ----------
    problem : LipschitzProblem
        Network and norm.
    x, v : Tensor, shape (1, *in_shape)
        The point and a direction of unit norm, float64.
    generator : torch.Generator or None
        For the directions in which x is first moved to the middle of its region, in
        piecewise linear networks. None: x stays where it is.

    Returns
    -------
    PairWitness
        In a piecewise linear network the pair spans 0.9 of the region, so the quotient
        is ``||J(x) v||_2`` up to rounding; else the best of several lengths.
    """
    network = problem.network
    reach = float(radii(x).amax()) or 1.0
    is_linear = all(
        activation.is_piecewise_linear for activation in network.activations
    )
    # Between kinks of a smooth activation the Jacobian changes: x has to stay.
    for step in range(_NUM_RECENTRE if generator is not None and is_linear else 0):
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        direction = noise / radii(noise) if step % 2 else v
        low, high = _region(network, x, direction, reach)
        x = x + 0.5 * (low + high) * direction
    low, high = _region(network, x, v, reach)
    if not high > low:
        low, high = -reach, reach
    if is_linear:
        return _pair(problem, x[0] + _INSIDE * low * v[0], x[0] + _INSIDE * high * v[0])
    ends = [(share * low, share * high) for share in (_INSIDE, *_SHARES)]
    ends += [(-share * reach, share * reach) for share in _SHARES]
    pairs = [_pair(problem, x[0] + a * v[0], x[0] + b * v[0]) for a, b in ends]
    best = max(pairs, key=lambda pair: pair.quotient)
    # A kink may be so close that plain differences of such a pair are all rounding.
    lengths = [b - a for a, b in ends]
    wide = [
        pair
        for pair, length in zip(pairs, lengths, strict=True)
        if length > _WIDE * reach and pair.quotient >= (1 - _WORTH) * best.quotient
    ]
    return max(wide, key=lambda pair: pair.quotient, default=best)


def _pair(problem: LipschitzProblem, x: Tensor, x_prime: Tensor) -> PairWitness:
    if torch.equal(x, x_prime):
        return PairWitness(x=x, x_prime=x_prime, quotient=0.0)
    quotient = evaluate_pair(problem, x, x_prime)
    return PairWitness(x=x, x_prime=x_prime, quotient=quotient)


def _region(
    network: Network, x: Tensor, direction: Tensor, reach: float
) -> tuple[float, float]:
    """Return the t-range around 0 in which ``x + t direction`` meets no kink.

    Cut off at ``+-reach``; with smooth activations a first-order estimate.
    """
    points: dict[int, Tensor] = {}
    slopes: dict[int, Tensor] = {}
    low, high = -reach, reach

    def nominal(site: int, y: Tensor) -> Tensor:
        activation = network.activations[site - 1]
        points[site], slopes[site] = y, derivative(activation, y)
        return activation.apply(y)

    def follow(site: int, dy: Tensor) -> Tensor:
        nonlocal low, high
        for kink in KINKS.get(network.activations[site - 1].kind, ()):
            times = ((kink - points[site]) / dy)[dy != 0.0]
            ahead, behind = times[times >= 0.0], times[times < 0.0]
            high = min(high, float(ahead.amin())) if ahead.numel() else high
            low = max(low, float(behind.amax())) if behind.numel() else low
        return slopes[site] * dy

    run(network, x, nominal)
    run(network, direction, follow, shift=False)
    return (low, high) if math.isfinite(high - low) else (0.0, 0.0)
