r"""Quadratic games: everything about them has a closed form."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.problem import (
    AbstractSaddleProblem,
    FixedMinPlayer,
    SaddleSpec,
    check_data,
    check_players,
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticGame(AbstractSaddleProblem):
    r"""A quadratic function of both players.

    .. math:: f(x, y) = \tfrac12 x^T A x + x^T B y - \tfrac12 y^T C y + p^T x + q^T y

    Convex-concave exactly if A and C are positive semidefinite. Several games form a
    batch: all five tensors then begin with the same batch dimensions, and those of the
    players end with them.

    Parameters
    ----------
    curvature : Tensor, shape (*batch, min_size, min_size)
        A, symmetric.
    coupling : Tensor, shape (*batch, min_size, max_size)
        B.
    concavity : Tensor, shape (*batch, max_size, max_size)
        C, symmetric.
    min_slope : Tensor, shape (*batch, min_size)
        p.
    max_slope : Tensor, shape (*batch, max_size)
        q.

    Raises
    ------
    ShapeError
        If two shapes do not fit, or a player has nothing to choose.
    InputError
        If an entry is not finite, dtypes or devices differ, or A or C is not symmetric
        up to rounding.

    Examples
    --------
    >>> import tacit, torch
    >>> one, zero = torch.eye(1).double(), torch.zeros(1).double()
    >>> game = tacit.QuadraticGame(curvature=one, coupling=2 * one, concavity=one,
    ...     min_slope=zero, max_slope=zero)
    >>> x, y = torch.tensor([1.0]).double(), torch.tensor([3.0]).double()
    >>> float(game.value(x, y))
    2.0
    >>> [float(slope) for slope in game.gradients(x, y)]
    [7.0, -1.0]
    """

    curvature: Tensor
    coupling: Tensor
    concavity: Tensor
    min_slope: Tensor
    max_slope: Tensor

    def __post_init__(self) -> None:
        check_data(
            {
                "curvature": self.curvature,
                "coupling": self.coupling,
                "concavity": self.concavity,
                "min_slope": self.min_slope,
                "max_slope": self.max_slope,
            }
        )
        if self.coupling.ndim < 2:
            raise ShapeError(
                "coupling must have shape (..., min_size, max_size); got "
                f"{tuple(self.coupling.shape)}"
            )
        *batch, rows, columns = self.coupling.shape
        if 0 in self.coupling.shape:
            raise ShapeError(
                "each player must have at least one number to choose, and a batch one "
                f"game; got a coupling of shape {tuple(self.coupling.shape)}"
            )
        for name, tensor, shape in (
            ("curvature", self.curvature, (*batch, rows, rows)),
            ("concavity", self.concavity, (*batch, columns, columns)),
            ("min_slope", self.min_slope, (*batch, rows)),
            ("max_slope", self.max_slope, (*batch, columns)),
        ):
            if tuple(tensor.shape) != shape:
                raise ShapeError(
                    f"{name} must have shape {shape} as coupling has shape "
                    f"{tuple(self.coupling.shape)}; got {tuple(tensor.shape)}"
                )
        for name, matrix in (
            ("curvature", self.curvature),
            ("concavity", self.concavity),
        ):
            _check_symmetric(name, matrix)

    @property
    def spec(self) -> SaddleSpec:
        return SaddleSpec(
            min_shape=(self.coupling.shape[-2],),
            max_shape=(self.coupling.shape[-1],),
            dtype=self.coupling.dtype,
            device=self.coupling.device,
        )

    def value(self, min_player: Tensor, max_player: Tensor) -> Tensor:
        self._check(min_player, max_player)
        for_min = _apply(self.curvature, min_player) / 2 + self.min_slope
        for_min = for_min + _apply(self.coupling, max_player)
        for_max = self.max_slope - _apply(self.concavity, max_player) / 2
        return (min_player * for_min).sum(-1) + (max_player * for_max).sum(-1)

    def gradients(
        self, min_player: Tensor, max_player: Tensor
    ) -> tuple[Tensor, Tensor]:
        self._check(min_player, max_player)
        fixed = self.fix_min_player(min_player)
        return fixed.min_gradient(max_player), fixed.max_gradient(max_player)

    def fix_min_player(self, min_player: Tensor) -> FixedMinPlayer:
        for_min = _apply(self.curvature, min_player) + self.min_slope
        for_max = _apply(self.coupling.mT, min_player) + self.max_slope

        def min_gradient(max_player: Tensor) -> Tensor:
            return for_min + _apply(self.coupling, max_player)

        def max_gradient(max_player: Tensor) -> Tensor:
            return for_max - _apply(self.concavity, max_player)

        return FixedMinPlayer(min_gradient=min_gradient, max_gradient=max_gradient)

    def _check(self, min_player: Tensor, max_player: Tensor) -> None:
        batch = self.coupling.shape[:-2]
        check_players(self.spec, min_player, max_player, batch=tuple(batch))


def bilinear_game(
    coupling: Tensor,
    *,
    min_slope: Tensor | None = None,
    max_slope: Tensor | None = None,
) -> QuadraticGame:
    r"""Return the game :math:`f(x, y) = x^T B y + p^T x + q^T y`.

    Plain simultaneous descent-ascent diverges on it at every step size.

    Parameters
    ----------
    coupling : Tensor, shape (*batch, min_size, max_size)
        B.
    min_slope : Tensor, shape (*batch, min_size), or None
        p; zero by default.
    max_slope : Tensor, shape (*batch, max_size), or None
        q; zero by default.

    Returns
    -------
    QuadraticGame
        With A = 0 and C = 0.

    Raises
    ------
    ShapeError
        If two shapes do not fit, or a player has nothing to choose.
    InputError
        If an entry is not finite, or dtypes or devices differ.

    Examples
    --------
    >>> import tacit, torch
    >>> game = tacit.bilinear_game(torch.tensor([[2.0]]))
    >>> float(game.value(torch.tensor([3.0]), torch.tensor([5.0])))
    30.0
    """
    if coupling.ndim < 2:
        raise ShapeError(
            "coupling must have shape (..., min_size, max_size); got "
            f"{tuple(coupling.shape)}"
        )
    *batch, rows, columns = coupling.shape
    return QuadraticGame(
        curvature=coupling.new_zeros(*batch, rows, rows),
        coupling=coupling,
        concavity=coupling.new_zeros(*batch, columns, columns),
        min_slope=coupling.new_zeros(*batch, rows) if min_slope is None else min_slope,
        max_slope=(
            coupling.new_zeros(*batch, columns) if max_slope is None else max_slope
        ),
    )


def random_quadratic_game(
    min_size: int,
    max_size: int,
    *,
    curvature: tuple[float, float],
    coupling: tuple[float, float],
    concavity: tuple[float, float],
    generator: torch.Generator,
    batch: tuple[int, ...] = (),
    dtype: torch.dtype = torch.float64,
) -> QuadraticGame:
    r"""Draw a quadratic game with prescribed constants.

    A and C have random eigenvectors, B random singular vectors (all uniformly
    distributed); p and q have entries from N(0, 1).

    Parameters
    ----------
    min_size, max_size : int
        Lengths of x and y, at least 1.
    curvature, concavity : (float, float)
        Smallest and largest eigenvalue of A and of C: the constants of strong
        convexity (concavity) and of smoothness. Both are reached; the others lie evenly
        between them. A player of length 1 gets the largest.
    coupling : (float, float)
        Smallest and largest singular value of B, not negative, likewise.
    generator : torch.Generator
        Draws A, B, C, p, q in this order, in float64 (on the CPU).
    batch : tuple of int
        Batch dimensions: games that are drawn independently.
    dtype : torch.dtype
        Of the game, float32 or float64.

    Returns
    -------
    QuadraticGame
        Strongly convex-concave if both smallest eigenvalues are positive.

    Raises
    ------
    InputError
        If a pair of constants is not finite and ascending, or a singular value
        negative.
    ShapeError
        If a size is below 1.

    Examples
    --------
    >>> import tacit, torch
    >>> game = tacit.random_quadratic_game(3, 2, curvature=(1.0, 10.0),
    ...     coupling=(0.0, 5.0), concavity=(2.0, 4.0),
    ...     generator=tacit.make_generator(0))
    >>> [round(float(value), 9) for value in torch.linalg.eigvalsh(game.curvature)]
    [1.0, 5.5, 10.0]
    """
    if min_size < 1 or max_size < 1:
        raise ShapeError(
            f"min_size and max_size must be at least 1; got {min_size} and {max_size}"
        )
    for name, (low, high) in (
        ("curvature", curvature),
        ("coupling", coupling),
        ("concavity", concavity),
    ):
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise InputError(
                f"{name} must be a finite smallest value, then the largest; got "
                f"({low}, {high})"
            )
    if coupling[0] < 0:
        raise InputError(
            f"singular values of the coupling cannot be negative; got {coupling[0]}"
        )

    def symmetric(size: int, bounds: tuple[float, float]) -> Tensor:
        vectors = _orthonormal(size, size, batch, generator)
        matrix = (vectors * _spread(size, bounds)) @ vectors.mT
        return ((matrix + matrix.mT) / 2).to(dtype)

    a = symmetric(min_size, curvature)
    rank = min(min_size, max_size)
    left = _orthonormal(min_size, rank, batch, generator)
    right = _orthonormal(max_size, rank, batch, generator)
    b = ((left * _spread(rank, coupling)) @ right.mT).to(dtype)
    c = symmetric(max_size, concavity)
    p = torch.randn(*batch, min_size, generator=generator, dtype=torch.float64)
    q = torch.randn(*batch, max_size, generator=generator, dtype=torch.float64)
    return QuadraticGame(
        curvature=a,
        coupling=b,
        concavity=c,
        min_slope=p.to(dtype),
        max_slope=q.to(dtype),
    )


def saddle_point(game: QuadraticGame) -> tuple[Tensor, Tensor]:
    r"""Return the point at which both gradients of a quadratic game vanish.

    .. math:: \begin{pmatrix} A & B \\ B^T & -C \end{pmatrix}
              \begin{pmatrix} x \\ y \end{pmatrix} = -\begin{pmatrix} p \\ q
              \end{pmatrix}

    In a convex-concave game it is a saddle point. One dense solve.

    Parameters
    ----------
    game : QuadraticGame
        With a regular matrix above.

    Returns
    -------
    min_player, max_player : Tensor
        Shapes ``(*batch, min_size)`` and ``(*batch, max_size)``.

    Raises
    ------
    InputError
        If the matrix is singular: no such point, or many.

    Examples
    --------
    >>> import tacit, torch
    >>> game = tacit.bilinear_game(torch.tensor([[2.0]]).double(),
    ...     min_slope=torch.tensor([4.0]).double(), max_slope=torch.ones(1).double())
    >>> [float(player) for player in tacit.saddle_point(game)]
    [-0.5, -2.0]
    """
    upper = torch.cat((game.curvature, game.coupling), -1)
    lower = torch.cat((game.coupling.mT, -game.concavity), -1)
    matrix = torch.cat((upper, lower), -2)
    slopes = torch.cat((game.min_slope, game.max_slope), -1)
    point, info = torch.linalg.solve_ex(matrix, -slopes.unsqueeze(-1))
    if bool(info.any()) or not bool(point.isfinite().all()):
        raise InputError(
            "the game must have exactly one stationary point; its matrix is singular; "
            "add curvature or concavity"
        )
    rows = game.coupling.shape[-2]
    return point[..., :rows, 0], point[..., rows:, 0]


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _check_symmetric(name: str, matrix: Tensor) -> None:
    scale = float(matrix.abs().amax())
    excess = float((matrix - matrix.mT).abs().amax())
    # Whoever forms M^T D M in another order of summation may differ by this much.
    if excess > 8 * matrix.shape[-1] * torch.finfo(matrix.dtype).eps * scale:
        raise InputError(
            f"{name} must be symmetric; entries differ from their mirror images by up "
            f"to {excess:.3g}; pass (M + M.mT) / 2, which has the same quadratic form"
        )


def _spread(size: int, bounds: tuple[float, float]) -> Tensor:
    """Return ``size`` values from the smallest to the largest bound."""
    if size == 1:
        return torch.tensor([bounds[1]], dtype=torch.float64)
    return torch.linspace(*bounds, size, dtype=torch.float64)


def _orthonormal(
    rows: int, columns: int, batch: tuple[int, ...], generator: torch.Generator
) -> Tensor:
    """Draw orthonormal columns, uniformly distributed."""
    gaussian = torch.randn(
        *batch, rows, columns, generator=generator, dtype=torch.float64
    )
    q, r = torch.linalg.qr(gaussian)
    # Without the signs the law would depend on the convention of the QR algorithm.
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)
