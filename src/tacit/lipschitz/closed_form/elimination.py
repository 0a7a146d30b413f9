r"""Closed-form feasible multipliers for LipSDP, by eliminating one site after another.

Take differences of two runs: :math:`y_t = \sum_s A_{ts} z_s`, :math:`z_t = c_t y_t +
r_t w_t` with :math:`|w_{t,i}| \le |y_{t,i}|`, c and r midpoint and half-width of the
slopes. A *shape* of a vector v is a matrix Q such that :math:`\langle g, v \rangle^2
\le g^T Q g` for all g; it is kept for all sites still needed, jointly. Suppose

.. math:: Z^T Q^{-1} Z \le 1, \qquad y = A Z, \qquad P = A Q A^T,

and let D be diagonal with :math:`D \succ P`. Adding the inequalities
:math:`D_{ii}^{-1} (y_i^2 - w_i^2) \ge 0` (an S-procedure: the multipliers of LipSDP are
:math:`1 / (r^2 D_{ii})`) gives

.. math:: Z^T (Q^{-1} - A^T D^{-1} A) Z + w^T D^{-1} w \le 1,

so (Z, w) has the block-diagonal shape of :math:`\tilde Q = (Q^{-1} - A^T D^{-1}
A)^{-1} = Q + Q A^T (D - P)^{-1} A Q` and D, and :math:`(Z, z = c A Z + r w)` the shape

.. math:: \begin{pmatrix} \tilde Q & c\, \tilde Q A^T \\
          c A \tilde Q & c^2 A \tilde Q A^T + r^2 D \end{pmatrix}, \qquad
          A \tilde Q A^T = P + P (D - P)^{-1} P .

At the last site :math:`\|y\|_2^2 \le \lambda_{\max}(P)`. For ReLU chains this is the
exact elimination of LipSDP's matrix inequality, written for the inverses of its Schur
complements. Any D is valid; only the choice of D is a heuristic.

The same recursion runs *backward*: the Jacobian transposed is a network over the same
sites in reverse order with blocks :math:`A_{ts}^T` and the same slopes. It starts from
the unit ball of the output and ends with a P on the input space with :math:`\|f(x) -
f(x')\|_2^2 \le (x - x')^T P (x - x')`, which serves every input norm.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound
from tacit.lipschitz.closed_form.matrix_norms import join_scales, round_up
from tacit.lipschitz.closed_form.norms import small_blocks
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.spectral import EPS

# Multiplications that one elimination may cost.
_WORK = 2e10
# Margins tried by elimination_bound; 1 is the greedy choice. Found by trial on random
# networks of 1 to 8 layers, where the best lay between 0.25 and 0.6.
_MARGINS = (0.6, 0.4)
# D - P must stay well conditioned where |c| / r is 0 or huge.
_LEAST_RATIO, _LARGEST_RATIO = 1e-4, 1e6


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Graph:
    """Sites in the order of elimination, their sizes, slopes, and ingoing blocks."""

    sizes: tuple[int, ...]
    centers: tuple[float, ...]
    radii: tuple[float, ...]
    blocks: dict[int, dict[int, Tensor]]

    def last_use(self, site: int) -> int:
        """Return the last site that reads this one."""
        return max(t for t, into in self.blocks.items() if site in into)


def eclipse_bound(problem: LipschitzProblem) -> Bound | None:
    r"""Return the closed-form elimination bound with one multiplier per site.

    D is :math:`\lambda_{\max}(P) (1 + |c| / r)` times the identity, which minimises
    the largest eigenvalue of the next shape. For ReLU chains and l2 it is ECLipsE-Fast.
    Where a source of the site is needed again later, the factor is at least 2: a source
    grows by the factor :math:`1 + 1 / \theta` if D is :math:`1 + \theta` times P.

    Parameters
    ----------
    problem : LipschitzProblem
        For ``l2`` the elimination runs forward, for ``linf`` and ``l1`` backward.

    Returns
    -------
    Bound or None
        Of method ``"ECLipsE-Fast"``. None if a block is too large to be formed or the
        elimination would cost more than 2e10 multiplications.

    References
    ----------
    Xu and Sivaranjani (2024), ECLipsE: Efficient compositional Lipschitz constant
    estimation for deep neural networks. General slopes, graphs and the other norms: see
    the module's text.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.closed_form.elimination import eclipse_bound
    >>> from tacit.lipschitz.layers import Activation
    >>> from tacit.lipschitz.network import chain
    >>> from tacit.lipschitz.problem import LipschitzProblem
    >>> relu = Activation(kind="relu")
    >>> net = chain([(torch.eye(2), None, relu), (torch.eye(2), None, None)])
    >>> round(eclipse_bound(LipschitzProblem(network=net)).value, 9)
    1.0
    """
    graph = _graph(problem.network, backward=problem.norm != "l2")
    if graph is None:
        return None
    value = _eliminate(graph, problem.norm, margin=1.0, is_weighted=False)
    return Bound(value=value, side="upper", method="ECLipsE-Fast")


def elimination_bound(problem: LipschitzProblem) -> Bound | None:
    r"""Return the best of a few backward eliminations with one multiplier per neuron.

    D is proportional to the square roots of the row norms of P, scaled to
    :math:`D = (1 + \theta |c| / r) \lambda_{\max}` of P in these units, for
    :math:`\theta` = 0.6 and 0.4: less than the greedy 1, because the direction
    that the greedy choice protects is seldom the one that the next layers amplify.

    Parameters
    ----------
    problem : LipschitzProblem
        Any of the three norms.

    Returns
    -------
    Bound or None
        Of method ``"closed-form elimination"``. None as for :func:`eclipse_bound`.
    """
    graph = _graph(problem.network, backward=True)
    if graph is None:
        return None
    value = min(
        _eliminate(graph, problem.norm, margin=margin, is_weighted=True)
        for margin in _MARGINS
    )
    return Bound(value=value, side="upper", method="closed-form elimination")


def _graph(network: Network, *, backward: bool) -> _Graph | None:
    sizes = [math.prod(shape) for shape in network.site_shapes]
    last = len(sizes) - 1
    if _work(network, sizes, backward=backward) > _WORK:
        return None
    links = small_blocks(network)
    if links is None:
        return None
    blocks: dict[int, dict[int, Tensor]] = {t: {} for t in range(1, last + 1)}
    for target, source in sorted(links):
        if backward:
            blocks[last - source][last - target] = links[target, source].T
        else:
            blocks[target][source] = links[target, source]
    centers = [0.0, *(layer.center for layer in network.activations), 0.0]
    radii = [0.0, *(layer.radius for layer in network.activations), 0.0]
    step = -1 if backward else 1
    return _Graph(
        sizes=tuple(sizes[::step]),
        centers=tuple(centers[::step]),
        radii=tuple(radii[::step]),
        blocks=blocks,
    )


def _work(network: Network, sizes: list[int], *, backward: bool) -> float:
    last = len(sizes) - 1
    links = (
        [(last - s, last - t) for t, s in network.links] if backward else network.links
    )
    sizes = sizes[::-1] if backward else sizes
    last_use = {s: max(t for t, other in links if other == s) for _, s in links}
    work = 0.0
    for target in range(1, last + 1):
        alive = sum(sizes[s] for s in range(target) if last_use[s] >= target)
        work += float(sizes[target]) * alive * (alive + sizes[target])
        work += 3.0 * float(sizes[target]) ** 3
    return work


def _eliminate(graph: _Graph, norm: Norm, *, margin: float, is_weighted: bool) -> float:
    """Run the recursion; the last site is the output or, backward, the input."""
    alive = [0]
    shape = torch.eye(graph.sizes[0], dtype=torch.float64)
    exponents = [0]  # values of site s are measured in units of 2**exponents[s]
    last = len(graph.sizes) - 1
    for target in range(1, last + 1):
        into = graph.blocks[target]
        unit, parts = join_scales(list(into.values()), exponents, list(into))
        scaled = dict(zip(into, parts, strict=True))
        rows = graph.sizes[target]
        empty = [parts[0].new_zeros(rows, graph.sizes[s]) for s in alive]
        block = torch.cat(
            [scaled.get(s, e) for s, e in zip(alive, empty, strict=True)], 1
        )
        product = block @ shape
        image = product @ block.T
        image = (image + image.T) / 2.0
        if target == last:
            root = math.sqrt(_input_value(image, norm)) * (1.0 + 4.0 * EPS)
            if math.isfinite(root):
                return round_up(Fraction(root) * Fraction(2) ** unit)
            break
        kept = [s for s in alive if graph.last_use(s) > target]
        flags = [torch.full((graph.sizes[s],), s in kept) for s in alive]
        columns = torch.cat(flags).nonzero()[:, 0]
        center, radius = graph.centers[target], graph.radii[target]
        old, cross, own = shape[columns][:, columns], product[:, columns], image
        if radius > 0.0 and bool(image.any()):
            ratio = margin * abs(center) / radius
            if kept:  # sources that live on grow by up to 1 + 1 / ratio
                ratio = max(ratio, margin)
            diagonal, factor = _diagonal(image, ratio, is_weighted=is_weighted)
            half, grown = _solve(factor, image), _solve(factor, cross)
            old = old + grown.T @ grown
            cross = cross + half.T @ grown
            own = center**2 * (image + half.T @ half) + radius**2 * torch.diag(diagonal)
        else:
            own = center**2 * image
        shift = math.frexp(float(torch.diagonal(own).max()))[1] // 2
        exponents.append(unit + shift)
        own, cross = own * 4.0**-shift, center * cross * 2.0**-shift
        # Makes up for the rounding of the products above.
        own.diagonal().add_(64 * rows * EPS * torch.diagonal(own).max())
        shape = torch.cat([torch.cat([old, cross.T], 1), torch.cat([cross, own], 1)])
        alive = [*kept, target]
    return math.inf


def _solve(factor: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(factor, right, upper=False)


def _diagonal(
    image: Tensor, ratio: float, *, is_weighted: bool
) -> tuple[Tensor, Tensor]:
    """Return D as a vector, and the Cholesky factor of ``D - image``."""
    weight = torch.ones(image.shape[0], dtype=torch.float64)
    if is_weighted:
        weight = torch.sqrt(torch.linalg.vector_norm(image, dim=1))
        weight = weight.clamp(min=1e-6 * float(weight.max()))
    largest = _top(image / torch.sqrt(weight[:, None] * weight[None, :]))
    ratio = min(max(ratio, _LEAST_RATIO), _LARGEST_RATIO)
    while True:
        diagonal = weight * (largest * (1.0 + ratio))
        factor, info = torch.linalg.cholesky_ex(torch.diag(diagonal) - image)
        if int(info) == 0 or not math.isfinite(largest) or ratio > 2 * _LARGEST_RATIO:
            return diagonal, factor if int(info) == 0 else factor * math.nan
        ratio *= 2.0


def _top(matrix: Tensor) -> float:
    """Largest eigenvalue of a positive semidefinite matrix, rounded upward."""
    if not bool(torch.isfinite(matrix).all()):
        return math.inf
    value = max(float(torch.linalg.eigvalsh(matrix)[-1]), 0.0)
    return value * (1.0 + 8 * matrix.shape[0] * EPS)


def _input_value(image: Tensor, norm: Norm) -> float:
    """Upper bound on ``x^T P x`` over the unit ball of the norm."""
    if norm == "l2":
        return _top(image)
    if norm == "l1":  # the ball is the convex hull of its corners +-e_j
        return float(torch.diagonal(image).max().clamp(min=0.0))
    # As in inf_to_two_bound: |x_i| <= 1 gives sum_i mu_i x_i^2 <= 1 for mu of sum 1.
    sums = image.abs().sum(dim=1)
    total = float(sums.sum())
    if total == 0.0:
        return 0.0
    weight = (sums / total).clamp(min=1e-12)
    weight = weight / weight.sum()
    scaled = image / torch.sqrt(weight[:, None] * weight[None, :])
    slack = 1.0 + 4 * image.shape[0] * EPS
    return min(total, _top(image) * image.shape[0], _top(scaled)) * slack
