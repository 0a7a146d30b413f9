"""Lower bounds on the Lipschitz constant: a search for two inputs far apart in output.

The largest quotient is the largest norm of a Jacobian, and the Jacobian of a ReLU
network is piecewise constant: its norm has no gradient. The search therefore smooths
every jump of a slope, climbs, and sharpens the smoothing as it goes (annealing).
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound
from tacit.errors import InputError
from tacit.lipschitz.layers import Conv, ConvTranspose, Dense
from tacit.lipschitz.network import Network
from tacit.lipschitz.pair import PairWitness
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.lipschitz.reached.flips import MAX_TRIALS, climb_by_flips
from tacit.lipschitz.reached.jacobian import (
    dual,
    quotients,
    radii,
    smooth_slope,
    tangent,
    unit,
)
from tacit.lipschitz.reached.scales import natural_radius, typical_sizes
from tacit.lipschitz.reached.segment import best_direction, lay_pair, polish

_SHARPEST = 100.0  # in units of 1 / (root mean square pre-activation of the site)
_SLOWEST = 0.01  # step length at the end of every climb, relative to the input's norm
_MOMENTUM = 0.9
_FARTHEST = 1e4  # in natural radii; farther out nothing changes
_MAX_ENTRIES = 2e7  # activation entries of a batch; bounds memory
_MAX_WORK = 6e10  # multiplications of the whole search; bounds time to tens of seconds
_FLIP_SHARE = 0.1  # of _MAX_WORK, for flips after each round
_MAX_FLIPS = 50
_NUM_LOCAL = 32  # candidates around each point in one round of local search


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Points:
    """A batch of inputs, each with an input direction and the quotient reached."""

    x: Tensor
    v: Tensor
    value: Tensor

    def best(self, count: int) -> "_Points":
        index = self.value.topk(min(count, self.value.numel())).indices
        return _Points(x=self.x[index], v=self.v[index], value=self.value[index])


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """What every stage needs to know."""

    network: Network
    fast: Network
    fast_dtype: torch.dtype
    norm: Norm
    generator: torch.Generator
    radius: float
    is_homogeneous: bool


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Schedule:
    """Ranges from which every start draws its own smoothing and step length."""

    sharpness: tuple[float, float]
    rate: tuple[float, float]
    num_steps: int


def search_lower(
    problem: LipschitzProblem,
    *,
    generator: torch.Generator,
    num_starts: int = 128,
    num_steps: int = 200,
    num_rounds: int = 6,
) -> Bound:
    r"""Search for a pair of inputs with a large difference quotient.

    .. math::

        \mathrm{Lip}(f) = \sup_x \|J(x)\|, \quad
        \|J\| = \max_{\|v\| = 1} \|J v\|_2

    over unit v of the input norm: the spectral norm for l2, :math:`\max_s \|J s\|_2`
    over sign vectors for linf, the largest column norm for l1. Stages, all in batches:
    (1) ascent in x from random starts on :math:`\|J_\beta(x) v\|_2`, where a jump of a
    slope at y = c is replaced by a logistic function of
    :math:`\beta (y - c) / \mathrm{rms}(y)` and beta grows to 100, with one power step
    :math:`v \leftarrow \mathrm{dual}(J_\beta^T J_\beta v)` per step; (2) rounds of the
    same from the best points, disturbed, and then of flips of single neurons
    (:func:`climb_by_flips`); (3) random local search on the true Jacobian in float64,
    and flips again. The pair is then laid along v inside one linear region.

    Parameters
    ----------
    problem : LipschitzProblem
        Network and norm of the input difference; any layers and activations.
    generator : torch.Generator
        Source of all random draws, on the CPU.
    num_starts : int
        Starts of stage 1, at least 1.
    num_steps : int
        Steps of stage 1, at least 1; a round of stage 2 takes half as many.
    num_rounds : int
        Rounds of stage 2, at least 0; stage 3 takes eight times as many.

    Returns
    -------
    Bound
        Side ``lower``; the witness is a :class:`PairWitness` whose quotient, rounding
        deducted, is the value. For large networks fewer starts and steps are taken:
        starts times steps times the multiplications of one run stay near 6e10.

    Raises
    ------
    InputError
        If a count is too small.

    Notes
    -----
    The value is reached, hence never above the constant; how far below is unknown.
    Cost: about 6 runs of the network per start and step. The search runs in float32
    where the network's numbers fit, the value never does.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.network import chain
    >>> from tacit.rng import make_generator
    >>> problem = LipschitzProblem(network=chain([(torch.eye(2), None, None)]))
    >>> round(search_lower(problem, generator=make_generator(0)).value, 9)
    1.0
    """
    for name, count, least in (
        ("num_starts", num_starts, 1),
        ("num_steps", num_steps, 1),
        ("num_rounds", num_rounds, 0),
    ):
        if count < least:
            raise InputError(f"{name} must be at least {least}; got {count}")
    with torch.enable_grad():  # the caller may have switched it off
        search = _prepare(problem, generator)
        batch, thrift = _affordable(problem.network, num_starts, num_steps, num_rounds)
        points = _search(search, batch, max(1, round(num_steps * thrift)), num_rounds)
        points = _climb_locally(search, points, max(1, round(8 * num_rounds * thrift)))
        points = _climb_by_flips(search, points)
        witness = _best_pair(problem, points.best(4), generator)
    return Bound(
        value=witness.quotient,
        side="lower",
        method="annealed gradient ascent",
        witness=witness,
    )


def _prepare(problem: LipschitzProblem, generator: torch.Generator) -> _Search:
    network = problem.network.to(dtype=torch.float64)
    radius = natural_radius(network, generator)
    probe = torch.randn(4, *network.in_shape, generator=generator, dtype=torch.float64)
    probe = probe * ((radius or 1.0) / math.sqrt(network.num_inputs))
    sizes = [
        float(size)
        for x in (probe, 1e3 * probe)
        for size in typical_sizes(network, x)
        if float(size) > 0.0
    ]
    # float32 halves the time; its range ends at 1e-38 and 3e38.
    is_single = all(1e-12 < size < 1e12 for size in sizes)
    dtype = torch.float32 if is_single else torch.float64
    return _Search(
        network=network,
        fast=network.to(dtype=dtype),
        fast_dtype=dtype,
        norm=problem.norm,
        generator=generator,
        radius=radius or 1.0,
        is_homogeneous=radius == 0.0,
    )


def _affordable(
    network: Network, num_starts: int, num_steps: int, num_rounds: int
) -> tuple[int, float]:
    """Return the batch and the share of the steps that memory and time allow."""
    entries = sum(math.prod(node.shape) for node in network.nodes)
    batch = max(1, min(num_starts, int(_MAX_ENTRIES / entries)))
    steps = num_steps * (1 + 0.5 * num_rounds)
    affordable = _MAX_WORK / _multiplications(network)
    if batch * steps <= affordable:
        return batch, 1.0
    # Starts and steps share the loss; fewer than 8 starts or 60 steps find little.
    share = math.sqrt(affordable / (batch * steps))
    batch = max(min(batch, 8), int(batch * share))
    return batch, min(
        1.0, max(affordable / (batch * steps), min(1.0, 60.0 / num_steps))
    )


def _multiplications(network: Network) -> int:
    count = network.num_inputs
    for node in network.nodes:
        size = math.prod(node.shape)
        layer = node.layer
        if isinstance(layer, Dense):
            size *= layer.weight.shape[1]
        elif isinstance(layer, Conv | ConvTranspose):
            size *= layer.weight[0].numel()
        count += size
    return count


def _search(search: _Search, batch: int, num_steps: int, num_rounds: int) -> _Points:
    """Stages 1 and 2: annealed ascent from random starts, then from the best points."""
    shape, generator = search.network.in_shape, search.generator
    x = torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
    x = unit(x) * _starting_radii(search, batch).reshape(-1, *[1] * len(shape))
    v = torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
    first = _Schedule(sharpness=(1.5, 5.0), rate=(0.1, 0.6), num_steps=num_steps)
    points = _ascend(search, x, dual(search.norm, v, v), first)
    again = _Schedule(
        sharpness=(3.0, 12.0), rate=(0.08, 0.3), num_steps=max(1, num_steps // 2)
    )
    keep = max(1, batch // 8)
    for _ in range(num_rounds):
        points = points.best(keep)
        index = torch.arange(batch) % points.value.numel()
        disturbance = _log_uniform(generator, batch, 0.15, 0.6)
        x = _disturb(search, points.x[index], disturbance)
        children = _ascend(search, x, points.v[index], again)
        flipped = _climb_by_flips(search, children.best(max(1, batch // 16)))
        points = _join(points, children, flipped)
    return points.best(max(1, batch // 16))


def _starting_radii(search: _Search, batch: int) -> Tensor:
    if search.is_homogeneous:
        return torch.ones(batch, dtype=torch.float64)
    # Far out a network with biases has the gradients of the one without.
    return search.radius * _log_uniform(search.generator, batch, 0.03, 300.0)


def _ascend(search: _Search, x: Tensor, v: Tensor, schedule: _Schedule) -> _Points:
    """Climb ``||J_beta(x) v||`` in x and v while beta grows; return the true values."""
    batch, dtype = x.shape[0], search.fast_dtype
    per_sample = (batch, *[1] * (x.dim() - 1))
    sharp = _log_uniform(search.generator, batch, *schedule.sharpness).to(dtype)
    rate = _log_uniform(search.generator, batch, *schedule.rate).to(dtype)
    x, v = x.to(dtype), v.to(dtype)
    velocity = torch.zeros_like(x)
    for step in range(schedule.num_steps):
        share = step / max(schedule.num_steps - 1, 1)
        beta = sharp * (_SHARPEST / sharp) ** share
        pace = (rate * (_SLOWEST / rate) ** share).reshape(per_sample)
        gradient, v = _smoothed_step(search, x, v, beta)
        radius = radii(x)
        if search.is_homogeneous:
            along = (gradient * x).flatten(1).sum(1).reshape(per_sample)
            gradient = gradient - along * x / radius.square()
        uphill = unit(gradient)
        velocity = _MOMENTUM * velocity + (1 - _MOMENTUM) * uphill
        x = _move(search, x, pace * velocity, pace * uphill)
    return _evaluate(search, x.to(torch.float64), v.to(torch.float64))


def _move(search: _Search, x: Tensor, step: Tensor, uphill: Tensor) -> Tensor:
    """Return x moved by ``step`` times its norm.

    Far out only the radial part of ``uphill`` changes the norm: there the network is
    almost homogeneous, and sideways steps with momentum would drive x to infinity.
    """
    radius = radii(x)
    moved = x + step * radius.clamp_min(1e-3 * search.radius)
    if search.is_homogeneous:
        return unit(moved)
    along = (uphill * unit(x)).flatten(1).sum(1).reshape(radius.shape)
    far = (radius * torch.exp(along)).clamp_max(_FARTHEST * search.radius)
    return torch.where(radius > search.radius, unit(moved) * far, moved)


def _smoothed_step(
    search: _Search, x: Tensor, v: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradient of ``||J_beta(x) v||_2`` in x and the next v."""
    activations = search.fast.activations

    def slope(site: int, y: Tensor) -> Tensor:
        scale = y.detach().flatten(1).square().mean(1).sqrt()
        sharp = beta / scale.clamp_min(torch.finfo(y.dtype).tiny)
        return smooth_slope(
            activations[site - 1], y, sharp.reshape(-1, *[1] * (y.dim() - 1))
        )

    x, v = x.detach().requires_grad_(), v.detach().requires_grad_()
    output = tangent(search.fast, x, v, slope)
    in_x, in_v = torch.autograd.grad(
        (unit(output.detach()) * output).sum(), (x, v), materialize_grads=True
    )
    return torch.nan_to_num(in_x), dual(search.norm, in_v, v.detach())


def _evaluate(search: _Search, x: Tensor, v: Tensor) -> _Points:
    value, v = quotients(search.network, search.norm, x, v)
    return _Points(x=x, v=v, value=value)


def _join(*parts: _Points) -> _Points:
    return _Points(
        x=torch.cat([part.x for part in parts]),
        v=torch.cat([part.v for part in parts]),
        value=torch.cat([part.value for part in parts]),
    )


def _log_uniform(
    generator: torch.Generator, count: int, low: float, high: float
) -> Tensor:
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    return low * (high / low) ** share


def _disturb(search: _Search, x: Tensor, size: Tensor) -> Tensor:
    """Return every x moved by ``size`` times its norm in a random direction."""
    noise = torch.randn(x.shape, generator=search.generator, dtype=x.dtype)
    noise = noise / math.sqrt(search.network.num_inputs)
    size = size.reshape(-1, *[1] * (x.dim() - 1))
    radius = radii(x).clamp_min(1e-3 * search.radius)
    moved = x + size * radius * noise
    return unit(moved) if search.is_homogeneous else moved


def _climb_locally(search: _Search, points: _Points, num_rounds: int) -> _Points:
    """Stage 3: try random steps of all sizes around every point, keep the best."""
    points = points.best(8)
    count, shape = points.value.numel(), search.network.in_shape
    entries = sum(math.prod(node.shape) for node in search.network.nodes)
    tries = max(1, min(_NUM_LOCAL, int(_MAX_ENTRIES / entries / count)))
    for _ in range(num_rounds):
        size = _log_uniform(search.generator, count * tries, 1e-3, 0.5)
        x = _disturb(search, points.x.repeat_interleave(tries, 0), size)
        trial = _evaluate(search, x, points.v.repeat_interleave(tries, 0))
        value, index = trial.value.reshape(count, tries).max(1)
        index = index + tries * torch.arange(count)
        better = (value > points.value).reshape(-1, *[1] * len(shape))
        points = _Points(
            x=torch.where(better, trial.x[index], points.x),
            v=torch.where(better, trial.v[index], points.v),
            value=torch.maximum(value, points.value),
        )
    return points


def _climb_by_flips(search: _Search, points: _Points) -> _Points:
    """Flip single neurons of every point, as far as size and work allow."""
    network = search.network
    neurons, inputs = max(network.num_neurons, 1), network.num_inputs
    entries = sum(math.prod(node.shape) for node in network.nodes)
    trials = min(2 * neurons, MAX_TRIALS)
    cost = (inputs + 4 * trials) * _multiplications(network) + 2 * neurons * inputs**2
    flips = int(_FLIP_SHARE * _MAX_WORK / (cost * points.value.numel()))
    if max(inputs, trials) * entries > _MAX_ENTRIES or neurons * inputs > 2e7:
        flips = 0
    if flips == 0:
        return points
    found: list[_Points] = []
    for x, v in zip(points.x.split(1), points.v.split(1), strict=True):
        x, v, value = climb_by_flips(
            network, search.norm, x, v, max_flips=min(flips, _MAX_FLIPS)
        )
        found.append(_Points(x=x, v=v, value=torch.tensor([value], dtype=x.dtype)))
    return _join(*found)


def _best_pair(
    problem: LipschitzProblem, points: _Points, generator: torch.Generator
) -> PairWitness:
    pairs: list[PairWitness] = []
    for x in points.x.split(1):
        x = polish(problem, x)
        v = best_direction(problem, x, generator)
        pairs.append(lay_pair(problem, x, v, generator))
    return max(pairs, key=lambda pair: pair.quotient)
