r"""The product of layer norms.

Notation: sites, blocks ``A[t, s]`` and values y, z as in
:mod:`tacit.lipschitz.network`; an activation has slopes in [a, b]. A difference of two
runs obeys :math:`\Delta y_t = \sum_s A_{ts} \Delta z_s` and :math:`\Delta z_t = D_t
\Delta y_t` with a diagonal matrix :math:`D_t` whose entries lie in [a, b].
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from tacit.bracket import Bound
from tacit.lipschitz.closed_form.matrix_norms import round_up
from tacit.lipschitz.closed_form.norms import block_norm_bounds, input_norm_bounds
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import LipschitzProblem


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LayerLoss:
    r"""What one block contributes to the product of layer norms.

    Parameters
    ----------
    target, source : int
        Sites that the block joins.
    norm : float
        Upper bound on the norm of ``A[target, source]``; from site 0 it is taken from
        the norm of the input.
    slope : float
        Largest modulus of a slope at the source; 1 at the input.
    source_bound : float
        Upper bound on the Lipschitz constant of ``y_source``; 1 at the input.
    share : float
        ``norm * slope * source_bound`` over its sum for all blocks into the target.
    """

    target: int
    source: int
    norm: float
    slope: float
    source_bound: float
    share: float


def product_bound(problem: LipschitzProblem) -> Bound:
    r"""Return the product of layer norms, for a graph their recursion.

    .. math:: L_0 = 1, \qquad
        L_t = \sum_s \|A_{ts}\|\, \max(|a_s|, |b_s|)\, L_s ,

    the triangle inequality at every site. The sums and products are exact (rational
    numbers), so neither depth nor scale can overflow; only the result is rounded,
    upward.

    Parameters
    ----------
    problem : LipschitzProblem
        For ``linf`` and ``l1`` the blocks at the input take the matching norm.

    Returns
    -------
    Bound
        Of method ``"product of layer norms"``; infinite if it exceeds float64.

    References
    ----------
    Szegedy et al. (2014), Intriguing properties of neural networks, section 4.3.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.network import chain
    >>> from tacit.lipschitz.problem import LipschitzProblem
    >>> from tacit.lipschitz.closed_form.products import product_bound
    >>> net = chain([(torch.tensor([[3.0, 4.0]]), None, None)])
    >>> round(product_bound(LipschitzProblem(network=net)).value, 12)
    5.0
    """
    norms = _block_norms(problem)
    value = math.inf if norms is None else round_up(_recursion(problem, norms)[-1])
    return Bound(value=value, side="upper", method="product of layer norms")


def site_bounds(problem: LipschitzProblem) -> tuple[float, ...]:
    """Return the Lipschitz constants that the product of norms gives every site.

    Parameters
    ----------
    problem : LipschitzProblem
        As for :func:`product_bound`.

    Returns
    -------
    tuple of float
        Entry t bounds the Lipschitz constant of ``y_t`` (1 for the input, last the
        output); times the largest slope it bounds that of ``z_t``.
    """
    norms = _block_norms(problem)
    if norms is None:
        return (1.0, *[math.inf] * (len(problem.network.site_shapes) - 1))
    return tuple(round_up(value) for value in _recursion(problem, norms))


def layer_losses(problem: LipschitzProblem) -> tuple[LayerLoss, ...]:
    """Return the factors of the product of layer norms, block by block.

    Parameters
    ----------
    problem : LipschitzProblem
        As for :func:`product_bound`.

    Returns
    -------
    tuple of LayerLoss
        Ordered by target, then source.
    """
    norms = _block_norms(problem)
    if norms is None:
        return ()
    values = _recursion(problem, norms)
    losses: list[LayerLoss] = []
    for target, source in sorted(norms):
        slope = _largest_slope(problem.network, source)
        term = Fraction(norms[target, source]) * Fraction(slope) * values[source]
        losses.append(
            LayerLoss(
                target=target,
                source=source,
                norm=norms[target, source],
                slope=slope,
                source_bound=round_up(values[source]),
                share=float(term / values[target]) if values[target] else 0.0,
            )
        )
    return tuple(losses)


def _block_norms(problem: LipschitzProblem) -> dict[tuple[int, int], float] | None:
    """Norms of all blocks, those at the input in the problem's norm; None: overflow."""
    norms = block_norm_bounds(problem.network)
    if problem.norm != "l2":
        bounds = input_norm_bounds(problem.network, problem.norm)
        norms.update({(t, 0): bound for t, bound in bounds.items()})
    return norms if all(map(math.isfinite, norms.values())) else None


def _recursion(
    problem: LipschitzProblem, norms: dict[tuple[int, int], float]
) -> list[Fraction]:
    network = problem.network
    values = [Fraction(1)] + [Fraction(0)] * (len(network.site_shapes) - 1)
    for target, source in sorted(norms):
        slope = Fraction(_largest_slope(network, source))
        values[target] += Fraction(norms[target, source]) * slope * values[source]
    return values


def _largest_slope(network: Network, site: int) -> float:
    if site == 0:
        return 1.0
    low, high = network.activations[site - 1].slopes
    return max(abs(low), abs(high))
