"""The exact Lipschitz constant of networks of two inputs without bias, by angle.

A piecewise linear network that is positively homogeneous is linear on finitely many
cones. In the plane cones are sectors of the circle, so all of them can be visited.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound, Bracket
from tacit.errors import InputError
from tacit.lipschitz.blocks import dense_blocks
from tacit.lipschitz.layers import Shift
from tacit.lipschitz.network import Network, run
from tacit.lipschitz.pair import PairWitness, derivative
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.lipschitz.reached.scales import HOMOGENEOUS_KINDS
from tacit.lipschitz.reached.segment import lay_pair

_MAX_ENTRIES = 2**23  # numbers of one block of a run; bounds memory

# Angles closer than this cannot be put in order in float64. They count as one if they
# are equal exactly; else a cone between them could be missed, and the sweep declines.
_SAME_ANGLE = 1e-13

_TOO_CLOSE = (
    "angles at which neurons switch must be 1e-13 apart or exactly equal for the "
    "angular sweep; got two that are closer; use the lifted network instead"
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Sectors:
    """Sectors of the circle and the norm of the Jacobian on each."""

    start: Tensor
    end: Tensor
    value: Tensor


def sweep(problem: LipschitzProblem) -> Bracket:
    r"""Return the exact Lipschitz constant of a network of two inputs.

    .. math::

        \mathrm{Lip}(f) = \max_k \|J_k\|, \quad f(x) = J_k x
        \text{ for } x = r (\cos\theta, \sin\theta),\ \theta_k < \theta < \theta_{k+1}

    The angles are found site by site: between two known ones every pre-activation is
    linear, :math:`a \cos\theta + b \sin\theta`, and vanishes at most once. With one
    hidden site all angles are known at once and the Jacobians are running sums.

    Parameters
    ----------
    problem : LipschitzProblem
        Any graph of layers with two inputs, only ReLU, leaky ReLU and absolute value,
        and no bias other than 0; any number of outputs, any of the norms.

    Returns
    -------
    Bracket
        The upper side is the maximum over all sectors, computed in float64; the lower
        side the quotient of a pair inside the best sector (equal up to rounding).

    Raises
    ------
    InputError
        If the network has not two inputs, a bias, or another activation, or if two
        of its angles differ by too little to be put in order.

    Notes
    -----
    Cost for one hidden layer of N neurons: a sort of 2N angles. Deeper, with K sectors
    in the end: 2K runs of the network per site. Deep networks of only a few neurons
    per layer are often declined: where one neuron depends on a single other one, both
    switch at the same angle, which rounding hides.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.layers import Activation
    >>> from tacit.lipschitz.network import chain
    >>> relu = Activation(kind="relu")
    >>> network = chain([(torch.eye(2), None, relu), (torch.ones(1, 2), None, None)])
    >>> answer = sweep(LipschitzProblem(network=network))
    >>> round(answer.lower.value, 9), round(answer.upper.value, 9)
    (1.414213562, 1.414213562)
    """
    network = problem.network.to(dtype=torch.float64)
    _check(network)
    if len(network.activations) == 1:
        sectors = _sweep_shallow(network, problem.norm)
    else:
        sectors = _sweep_deep(network, problem.norm)
    upper = float(sectors.value.max())
    witness = _reach(problem, network, sectors)
    method = "angular sweep"
    lower_value = 0.0 if witness is None else witness.quotient
    return Bracket(
        lower=Bound(value=lower_value, side="lower", method=method, witness=witness),
        upper=Bound(value=upper, side="upper", method=method),
    )


def _check(network: Network) -> None:
    if network.num_inputs != 2:
        raise InputError(
            f"the angular sweep takes networks of 2 inputs; got {network.num_inputs}; "
            "use branch and bound or the search instead"
        )
    kinds = {activation.kind for activation in network.activations} - HOMOGENEOUS_KINDS
    if kinds:
        raise InputError(
            f"activations must be among {', '.join(sorted(HOMOGENEOUS_KINDS))} for the "
            f"angular sweep; got {', '.join(sorted(kinds))}"
        )
    for node in network.nodes:
        if isinstance(node.layer, Shift) and bool(node.layer.offset.any()):
            raise InputError(
                "biases must be 0 for the angular sweep; got a bias that is not; "
                "remove the biases for a lower bound on the constant"
            )


def _sweep_shallow(network: Network, norm: Norm) -> _Sectors:
    """One hidden site: Jacobians of all sectors as running sums over sorted angles."""
    blocks = dense_blocks(network)
    inner, outer = blocks[1, 0], blocks[2, 1]
    direct = blocks.get((2, 0))
    activation = network.activations[0]
    moves = (inner != 0.0).any(1)
    inner, outer = inner[moves], outer[:, moves]
    _check_order(inner)
    # a cos + b sin changes sign at the two angles of +-(-b, a): upward first.
    up = torch.atan2(-inner[:, 0], inner[:, 1]) % (2 * math.pi)
    angles = torch.cat((up, (up + math.pi) % (2 * math.pi)))
    signs = torch.cat((torch.ones_like(up), -torch.ones_like(up)))
    angles, order = torch.sort(angles)
    start, end = angles, torch.cat((angles[1:], angles[:1] + 2 * math.pi))
    if angles.numel() > 0:
        # Begin after the widest sector: its slopes are beyond doubt.
        first = int((end - start).argmax()) + 1
        start, end, order = (t.roll(-first) for t in (start, end, order))
    else:
        start, end = torch.zeros(1).double(), torch.full((1,), 2 * math.pi).double()
    neuron = order % max(up.numel(), 1)
    slopes = derivative(activation, inner @ _ray((start[-1:] + end[-1:]) / 2)[0])
    initial = (outer * slopes) @ inner
    jump = float(
        derivative(activation, torch.ones(1, dtype=torch.float64))
        - derivative(activation, -torch.ones(1, dtype=torch.float64))
    )
    if direct is not None:
        initial = initial + direct
    values: list[Tensor] = []
    running = initial
    block = max(1, _MAX_ENTRIES // (2 * outer.shape[0]))
    for first in range(0, neuron.numel(), block):
        index = neuron[first : first + block]
        size = (jump * signs[order[first : first + block]])[:, None]
        steps = (size * outer.T[index])[:, :, None] * inner[index][:, None, :]
        jacobians = running + steps.cumsum(0)
        running = jacobians[-1]
        values.append(_norms(jacobians, norm))
    if not values:
        values.append(_norms(initial[None], norm))
    return _merge(start, end, torch.cat(values))


def _check_order(inner: Tensor) -> None:
    """Refuse lines through the origin that are all but parallel."""
    angles, order = torch.sort(torch.atan2(-inner[:, 0], inner[:, 1]) % math.pi)
    if angles.numel() < 2:
        return
    gaps = torch.diff(angles, append=angles[:1] + math.pi)
    for index in torch.nonzero(gaps <= _SAME_ANGLE).flatten().tolist():
        pair = inner[order.roll(-index)[:2]].tolist()
        (a, b), (c, d) = ([Fraction(x) for x in row] for row in pair)
        if a * d != b * c:
            raise InputError(_TOO_CLOSE)


def _merge(start: Tensor, end: Tensor, value: Tensor) -> _Sectors:
    """Drop sectors too narrow to be told from one angle."""
    keep = end - start > _SAME_ANGLE
    return _Sectors(start=start[keep], end=end[keep], value=value[keep])


def _sweep_deep(network: Network, norm: Norm) -> _Sectors:
    """Refine the sectors site by site, then take the norm on each."""
    quarters = torch.arange(4, dtype=torch.float64) * (math.pi / 2)
    first, crossings = _first_crossings(network)
    angles = _distinct(torch.cat((quarters, crossings)))
    for site in range(1, len(network.activations) + 1):
        if site in first:
            continue
        found = [crossings]
        for start, end in _blocks_of(network, angles):
            y = _propagate(network, start, end)[site]
            found.append(_crossings(y, start, end))
        crossings = torch.sort(torch.cat(found)).values
        gaps = torch.diff(crossings, append=crossings[:1] + 2 * math.pi)
        if bool((gaps <= _SAME_ANGLE).any()):
            raise InputError(_TOO_CLOSE)
        angles = _distinct(torch.cat((quarters, crossings)))
    parts = [
        (start, end, _norms(_propagate(network, start, end)[0].transpose(1, 2), norm))
        for start, end in _blocks_of(network, angles)
    ]
    start, end, value = (torch.cat(column) for column in zip(*parts, strict=True))
    return _Sectors(start=start, end=end, value=value)


def _first_crossings(network: Network) -> tuple[set[int], Tensor]:
    """Return the sites fed by the input alone and the angles at which they switch.

    Their weights are known exactly, so equal lines can be told from close ones.
    """
    inner = range(1, len(network.activations) + 1)
    first = {t for t in inner if {s for u, s in network.links if u == t} == {0}}
    blocks = dense_blocks(network)
    none = torch.zeros(0, 2, dtype=torch.float64)
    rows = torch.cat([none, *(blocks[site, 0] for site in sorted(first))])
    rows = rows[(rows != 0.0).any(1)]
    _check_order(rows)
    up = torch.atan2(-rows[:, 0], rows[:, 1]) % (2 * math.pi)
    return first, _distinct(torch.cat((up, (up + math.pi) % (2 * math.pi))))


def _distinct(angles: Tensor) -> Tensor:
    """Sort, and keep one of those that cannot be told apart."""
    angles = torch.sort(angles).values
    before = torch.cat((angles[-1:] - 2 * math.pi, angles[:-1]))
    return angles[angles - before > _SAME_ANGLE]


def _blocks_of(network: Network, angles: Tensor) -> list[tuple[Tensor, Tensor]]:
    widest = max(math.prod(node.shape) for node in network.nodes)
    size = max(1, _MAX_ENTRIES // (4 * widest))
    end = torch.cat((angles[1:], angles[:1] + 2 * math.pi))
    return list(zip(angles.split(size), end.split(size), strict=True))


def _propagate(network: Network, start: Tensor, end: Tensor) -> dict[int, Tensor]:
    """Return per site the maps of the sectors, shape (sectors, 2, size); 0: output."""
    count = start.numel()
    middle = _ray((start + end) / 2)
    basis = torch.eye(2, dtype=torch.float64).repeat(count, 1)
    found: dict[int, Tensor] = {}

    def record(site: int, y: Tensor) -> Tensor:
        maps = y.reshape(count, 2, -1)
        found[site] = maps
        at_middle = torch.einsum("kc,kcn->kn", middle, maps)
        slopes = derivative(network.activations[site - 1], at_middle)
        return (slopes[:, None, :] * maps).reshape(y.shape)

    inputs = basis.reshape(2 * count, *network.in_shape)
    found[0] = run(network, inputs, record, shift=False).reshape(count, 2, -1)
    return found


def _crossings(y: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the angles inside sectors at which a pre-activation changes sign."""
    at_start = torch.einsum("kc,kcn->kn", _ray(start), y)
    at_end = torch.einsum("kc,kcn->kn", _ray(end), y)
    sector, neuron = torch.nonzero(at_start.sign() * at_end.sign() < 0.0, as_tuple=True)
    a, b = y[sector, 0, neuron], y[sector, 1, neuron]
    first = start[sector]
    # No sector exceeds a quarter turn, so the zero is unique modulo half a turn.
    offset = (torch.atan2(-a, b) - first) % math.pi
    return torch.minimum(first + offset, end[sector])


def _ray(angle: Tensor) -> Tensor:
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


def _norms(jacobians: Tensor, norm: Norm) -> Tensor:
    """Return the operator norms of a batch of (num_outputs, 2) matrices."""
    first, second = jacobians[..., 0], jacobians[..., 1]
    if norm == "linf":
        plus = torch.linalg.vector_norm(first + second, dim=1)
        return torch.maximum(plus, torch.linalg.vector_norm(first - second, dim=1))
    columns = torch.linalg.vector_norm(jacobians, dim=1)
    if norm == "l1":
        return columns.amax(1)
    # Largest eigenvalue of the 2 x 2 Gram matrix, scaled against overflow.
    scale = columns.amax(1).clamp_min(torch.finfo(torch.float64).tiny)
    a, b = (columns / scale[:, None]).square().unbind(1)
    c = ((first / scale[:, None]) * (second / scale[:, None])).sum(1)
    top = (a + b) / 2 + torch.hypot((a - b) / 2, c)
    return scale * top.sqrt()


def _reach(
    problem: LipschitzProblem, network: Network, sectors: _Sectors
) -> PairWitness | None:
    """Return the best pair found inside the three best sectors."""
    best: PairWitness | None = None
    for index in sectors.value.topk(min(3, sectors.value.numel())).indices.tolist():
        start, end = sectors.start[index : index + 1], sectors.end[index : index + 1]
        middle = _ray((start + end) / 2)
        jacobian = _propagate(network, start, end)[0][0].T
        v = _direction(jacobian, problem.norm)
        shape = (1, *network.in_shape)
        pair = lay_pair(problem, middle.reshape(shape), v.reshape(shape))
        if best is None or pair.quotient > best.quotient:
            best = pair
    return best


def _direction(jacobian: Tensor, norm: Norm) -> Tensor:
    """Return the v of unit norm with the largest ``||J v||_2``."""
    if norm == "l2":
        return torch.linalg.svd(jacobian, full_matrices=False).Vh[0]
    choices = torch.eye(2, dtype=torch.float64)
    if norm == "linf":
        choices = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    sizes = torch.linalg.vector_norm(choices @ jacobian.T, dim=1)
    return choices[int(sizes.argmax())]
