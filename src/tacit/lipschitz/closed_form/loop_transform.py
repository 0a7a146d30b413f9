r"""LipLT: the loop transformation around the midpoint of the slopes."""

import math
from fractions import Fraction

import torch
from torch import Tensor

from tacit.bracket import Bound
from tacit.lipschitz.closed_form.matrix_norms import (
    inf_to_two_bound,
    join_scales,
    one_to_two_norm,
    round_up,
    spectral_norm_bound,
    spectral_norm_bounds,
    times_power_of_two,
)
from tacit.lipschitz.closed_form.norms import small_blocks
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.spectral import EPS

# Multiplications that the transfer matrices may cost.
_TRANSFER_WORK = 2e12
# Share of a sum that Frobenius norms may stand in for spectral norms.
_TAIL = 1e-4
# Spectral norms computed between two looks at that share.
_BATCH = 8


def lip_lt_bound(problem: LipschitzProblem) -> Bound | None:
    r"""Return the LipLT bound: the loop transformation around the midpoint slope.

    Write :math:`z_s = c_s y_s + r_s \psi_s(y_s)` with every :math:`\psi_s` 1-Lipschitz.
    Then y is linear in x and the psi, with the transfer matrices

    .. math:: T_{ts} = A_{ts} + \sum_{s < u < t} c_u A_{tu} T_{us}, \qquad
        L_t = \|T_{t0}\| + \sum_{s \ge 1} r_s \|T_{ts}\|\, L_s .

    Since :math:`\|T_{ts}\|` is at most the sum of the products of norms it is made of,
    and :math:`|c| + r` is the largest slope, the result exceeds ``product_bound`` never
    by more than the tolerance below.

    Parameters
    ----------
    problem : LipschitzProblem
        For ``linf`` and ``l1`` the :math:`T_{t0}` take the matching norm.

    Returns
    -------
    Bound or None
        Of method ``"LipLT"``. None if a block is too large to be formed (see
        :func:`small_blocks`) or the transfer matrices would cost more than 2e12
        multiplications: there is no cheap upper bound on the norm of such a T.

    Notes
    -----
    Terms that together make up less than 1e-4 of a sum are taken with their Frobenius
    norm. The rounding errors of the transfer matrices are bounded along the recursion
    and added, because a long product may be far smaller than its factors.

    References
    ----------
    Fazlyab, Entesari, Roy and Chellappa (2023), Certified robustness via dynamic margin
    maximization and improved Lipschitz regularization. The graph form is ours.
    """
    network = problem.network
    blocks = small_blocks(network)
    if blocks is None or _transfer_work(network) > _TRANSFER_WORK:
        return None
    value = _transfer_recursion(network, blocks, problem.norm)
    return Bound(value=round_up(value), side="upper", method="LipLT")


def _transfer_work(network: Network) -> float:
    sizes = [math.prod(shape) for shape in network.site_shapes]
    work = 0.0
    for target in range(1, len(sizes)):
        before = sum(sizes[:target])
        sources = sum(sizes[s] for t, s in network.links if t == target)
        work += float(sizes[target]) * before * (sources + sizes[target])
    return work


def _transfer_recursion(
    network: Network, blocks: dict[tuple[int, int], Tensor], norm: Norm
) -> Fraction:
    """LipLT in floating scales: site t is measured in units of ``2**exponents[t]``.

    The units are chosen as the bounds are found, so that each is about 1.
    """
    count = len(network.site_shapes)
    starts = [0]
    for shape in network.site_shapes:
        starts.append(starts[-1] + math.prod(shape))
    last_use = {s: t for t, s in sorted(blocks)}
    transfers: dict[int, Tensor] = {}  # target -> [T[t, 0], ..., T[t, t - 1]]
    errors: dict[int, Tensor] = {}  # target -> bounds on the rounding of each T[t, s]
    exponents, values = [0], [1.0]
    radii = [1.0, *(layer.radius for layer in network.activations)]
    centers = [0.0, *(layer.center for layer in network.activations)]
    for target in range(1, count):
        sources = [s for t, s in sorted(blocks) if t == target]
        unit, scaled = join_scales(
            [blocks[target, s] for s in sources], exponents, sources
        )
        wide = torch.zeros(scaled[0].shape[0], starts[target], dtype=torch.float64)
        error = torch.zeros(target, dtype=torch.float64)
        direct = math.inf  # norm of the last block, where it is known already
        for source, block in zip(sources, scaled, strict=True):
            wide[:, starts[source] : starts[source + 1]] += block
            center = centers[source]
            if center == 0.0:
                continue
            part = transfers[source]
            wide[:, : part.shape[1]] += center * (block @ part)
            length = spectral_norm_bound(block)
            if source == target - 1:
                direct = length
            sizes = _block_frobenius(part, starts)
            grown = errors[source] + (block.shape[1] + 8) * EPS * sizes
            error[:source] += abs(center) * length * grown * (1.0 + 64 * EPS)
        # Not through float32, the default, which may round down.
        weights = torch.tensor(
            [r * v for r, v in zip(radii, values, strict=False)], dtype=torch.float64
        )
        value = _weighted_norms(wide, error, weights, starts, norm, direct)
        mantissa, shift = math.frexp(value)
        values.append(mantissa)
        exponents.append(unit + shift)
        transfers[target] = times_power_of_two(wide, -shift)
        errors[target] = times_power_of_two(error, -shift)
        for done in [s for s in transfers if last_use.get(s, count) <= target]:
            del transfers[done], errors[done]
    return Fraction(values[-1]) * Fraction(2) ** exponents[-1]


def _block_frobenius(wide: Tensor, starts: list[int]) -> Tensor:
    squares = (wide * wide).sum(dim=0)
    ends = [i for i, start in enumerate(starts) if start <= wide.shape[1]]
    parts = [squares[starts[i] : starts[i + 1]].sum() for i in ends[:-1]]
    return torch.sqrt(torch.stack(parts)) * (1.0 + (wide.numel() + 8) * EPS)


def _weighted_norms(
    wide: Tensor,
    error: Tensor,
    weights: Tensor,
    starts: list[int],
    norm: Norm,
    direct: float,
) -> float:
    """Upper bound on ``sum_s weights[s] * (norm of block s + error[s])``."""
    width = math.sqrt(starts[1]) if norm == "linf" else 1.0
    bounds = _block_frobenius(wide, starts)
    bounds[0] *= width
    is_known = math.isfinite(direct)  # never at the input, whose center is 0
    if is_known:
        bounds[-1] = min(float(bounds[-1]), direct)
    order = torch.argsort(weights * bounds, descending=True).tolist()
    for first in range(0, len(order), _BATCH):
        some = order[first : first + _BATCH]
        if is_known and len(bounds) - 1 in some:
            some.remove(len(bounds) - 1)
        if 0 in some and norm != "l2":
            some.remove(0)
            block = wide[:, : starts[1]]
            exact = inf_to_two_bound if norm == "linf" else one_to_two_norm
            bounds[0] = min(float(bounds[0]), exact(block))
        widths = {i: starts[i + 1] - starts[i] for i in some}
        for columns in set(widths.values()):
            same = [i for i in some if widths[i] == columns]
            batch = torch.stack([wide[:, starts[i] : starts[i + 1]] for i in same])
            bounds[same] = torch.minimum(bounds[same], spectral_norm_bounds(batch))
        terms = weights * bounds
        if float(terms[order[first + _BATCH :]].sum()) <= _TAIL * float(terms.sum()):
            break
    error = error.clone()
    error[0] *= width
    total = float((weights * (bounds + error)).sum())
    return total * (1.0 + (4 * len(bounds) + 16) * EPS)
