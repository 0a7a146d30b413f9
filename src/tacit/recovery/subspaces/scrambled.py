r"""Random subspaces that store no matrix: signs, fast transform, some columns."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.hartley import hartley, hartley_at
from tacit.recovery.subspaces.subspace import AbstractSubspace, SubspaceSpec
from tacit.recovery.subspaces.support import require_places


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ScrambledSubspace(AbstractSubspace):
    r"""Columns of a fast unitary transform, with random signs on the grid.

    .. math:: (B h)_j = s_j \sum_i F_{j k_i} h_i, \qquad
              F_{jk} = L^{-1/2} e^{2 \pi \mathrm{i} j k / L} \text{ (complex)}, \quad
              L^{-1/2} \bigl(\cos \tfrac{2 \pi j k}{L} + \sin \tfrac{2 \pi j k}{L}
              \bigr) \text{ (real)}

    j numbers the L points of the grid, row by row.

    Parameters
    ----------
    signs : Tensor, shape grid
        s, in the subspace's dtype, of modulus one (to ``100 * eps``).
    columns : Tensor, shape (dimension,)
        :math:`k_i`, int64, in 0..L-1 and different from each other.

    Raises
    ------
    ShapeError
        If ``columns`` is not a vector, or the grid has other than one or two
        dimensions.
    InputError
        If a column is out of range or comes twice, or a sign is not of modulus one.

    Notes
    -----
    Columns are orthonormal. Each direction costs one transform, ``O(L log L)``, and L
    numbers of memory. Entries have modulus :math:`L^{-1/2}` (real: at most
    :math:`(2 / L)^{1/2}`); over the signs each pair of entries is uncorrelated unless
    both are in one row, as those of :func:`gaussian_subspace` are.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.recovery.subspaces.scrambled import scrambled_subspace
    >>> scrambled = scrambled_subspace((16,), 3, generator=tacit.make_generator(0))
    >>> h = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    >>> scrambled.analyse(scrambled.synthesise(h)).round(decimals=12).tolist()
    [1.0, 2.0, 3.0]
    """

    signs: Tensor
    columns: Tensor

    def __post_init__(self) -> None:
        spec = self.spec
        require_places("columns", self.columns, spec.grid)
        limit = 100.0 * torch.finfo(spec.dtype).eps
        if not float((self.signs.abs() - 1.0).abs().max()) <= limit:
            raise InputError(
                "signs must have modulus one; got others; draw them with "
                "scrambled_subspace"
            )

    @property
    def spec(self) -> SubspaceSpec:
        return SubspaceSpec(
            grid=tuple(self.signs.shape),
            dimension=self.columns.numel(),
            dtype=self.signs.dtype,
            device=self.signs.device,
            is_orthonormal=True,
        )

    def synthesise(self, coefficients: Tensor) -> Tensor:
        batch = coefficients.shape[:-1]
        spread = coefficients.new_zeros(*batch, self.signs.numel())
        spread[..., self.columns] = coefficients
        if spread.is_complex():
            mixed = torch.fft.ifft(spread, norm="ortho")
        else:
            mixed = hartley(spread)
        return self.signs * mixed.unflatten(-1, self.signs.shape)

    def analyse(self, signals: Tensor) -> Tensor:
        mixed = (self.signs.conj() * signals).flatten(-self.signs.dim())
        if mixed.is_complex():
            return torch.fft.fft(mixed, norm="ortho")[..., self.columns]
        return hartley_at(mixed, self.columns)


def scrambled_subspace(
    grid: tuple[int, ...],
    dimension: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> ScrambledSubspace:
    r"""Draw a random subspace without a stored matrix.

    Signs are independent and fair; the columns are drawn without repetition. Then
    :math:`B^H B = I` and :math:`\mathbb{E} B B^H = (K / L) I`, for K coefficients and L
    points.

    Parameters
    ----------
    grid : tuple of int
        Shape of a signal; a number of points L with small prime factors is fastest.
    dimension : int
        K, at most L.
    generator : torch.Generator
        Draws on the CPU.
    dtype : torch.dtype
        A complex one takes the Fourier transform, a real one the Hartley transform.
    device : torch.device or str
        Where signs and columns are stored.

    Returns
    -------
    ScrambledSubspace

    Raises
    ------
    ShapeError
        If a size is not positive, or ``dimension`` exceeds L.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.subspaces.scrambled import scrambled_subspace
    >>> generator = tacit.make_generator(0)
    >>> scrambled_subspace((256, 256), 2000, generator=generator).spec.is_orthonormal
    True
    """
    size = math.prod(grid)
    if min(grid, default=0) < 1 or not 1 <= dimension <= size:
        raise ShapeError(
            f"dimension must be in 1..{max(size, 1)} for grid {grid}; got {dimension}"
        )
    coins = torch.randint(0, 2, grid, generator=generator)
    order = torch.randperm(size, generator=generator)
    return ScrambledSubspace(
        signs=(2 * coins - 1).to(dtype=dtype, device=device),
        columns=order[:dimension].to(device),
    )
