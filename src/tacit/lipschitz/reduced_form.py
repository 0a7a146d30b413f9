"""The exact elimination checker: the certificate's form with all neurons taken out."""

import math
from typing import final

import torch
from torch import Tensor

from tacit.lipschitz.blocks import Blocks
from tacit.lipschitz.network import Network


def reduced_form(
    network: Network,
    neurons: tuple[Tensor, ...],
    blocks: Blocks,
    *,
    diagonal_only: bool = False,
) -> Tensor | None:
    r"""Eliminate every neuron from Q; return the R with Q >= 0 iff diag(p) >= R.

    Blocks are taken out from the last site to the first. With the coordinates
    :math:`\zeta = \lambda^{1/2} z` all numbers stay of order one at any depth and
    scale. For a chain of ReLU layers this is

    .. math:: S_L = \Lambda_L - W_{L+1}^T W_{L+1}, \quad S_{l-1} = \Lambda_{l-1} -
              \tfrac14 W_l^T \Lambda_l S_l^{-1} \Lambda_l W_l.

    Parameters
    ----------
    network : Network
    neurons : tuple of Tensor
        lambda of every site.
    blocks : dict
        From :func:`dense_blocks`.
    diagonal_only : bool
        Return the diagonal of R alone, without forming R.

    Returns
    -------
    Tensor, shape (num_inputs, num_inputs) or (num_inputs,), or None
        None if Q is not positive definite in the neurons. Costs O(sum n_t^3).
    """
    count = len(neurons)
    roots = {0: torch.ones(network.num_inputs, dtype=torch.float64)}
    roots |= {t: m.reshape(-1).sqrt() for t, m in enumerate(neurons, 1)}
    incoming: dict[int, dict[int, Tensor]] = {}
    for (target, source), block in blocks.items():
        scaled = block
        if target <= count:
            scaled = roots[target][:, None] * scaled
        if source > 0:
            scaled = scaled / roots[source]
        incoming.setdefault(target, {})[source] = scaled
    sizes = [math.prod(shape) for shape in network.site_shapes[:-1]]
    form = _Form(sizes, diagonal_only=diagonal_only)
    form.add_gram(incoming.get(count + 1, {}), -1.0)
    for target in range(count, 0, -1):
        activation = network.activations[target - 1]
        low, high = activation.slopes
        rows = incoming.get(target, {})
        if low * high != 0.0:
            form.add_gram(rows, low * high)
        form.eliminate(target, {s: -activation.center * a for s, a in rows.items()})
        if form.is_indefinite:
            return None
    return -form.square(0)


@final
class _Form:
    """A quadratic form in blocks, lower triangle, from which blocks are eliminated."""

    def __init__(self, sizes: list[int], *, diagonal_only: bool) -> None:
        self.sizes = sizes
        self.diagonal_only = diagonal_only  # of the block of site 0
        self.entries: dict[tuple[int, int], Tensor] = {}
        self.is_indefinite = False

    def square(self, site: int) -> Tensor:
        """Take out the diagonal block of a site, zero where nothing was added."""
        square = self.entries.pop((site, site), None)
        if square is not None:
            return square
        is_vector = site == 0 and self.diagonal_only
        shape = (self.sizes[site],) * (1 if is_vector else 2)
        return torch.zeros(shape, dtype=torch.float64)

    def _add(self, row: int, column: int, value: Tensor) -> None:
        known = self.entries.get((row, column))
        self.entries[row, column] = value if known is None else known.add_(value)

    def add_gram(self, rows: dict[int, Tensor], factor: float) -> None:
        """Add ``factor * |sum_s rows[s] z_s|^2``."""
        for i in rows:
            for j in rows:
                if i == j == 0 and self.diagonal_only:
                    self._add(0, 0, rows[0].square().sum(dim=0).mul_(factor))
                elif i >= j:
                    self._add(i, j, (rows[i].T @ rows[j]).mul_(factor))

    def eliminate(self, site: int, coupling: dict[int, Tensor]) -> None:
        """Add ``|z_site|^2 + 2 z_site . coupling``, then minimise over z_site."""
        for source, block in coupling.items():
            self._add(site, source, block)
        square = self.square(site)
        square.diagonal().add_(1.0)
        factor, info = torch.linalg.cholesky_ex(square)
        if int(info) != 0:
            self.is_indefinite = True
            return
        rows = {
            j: torch.linalg.solve_triangular(
                factor, self.entries.pop((i, j)), upper=False
            )
            for i, j in list(self.entries)
            if i == site
        }
        self.add_gram(rows, -1.0)
