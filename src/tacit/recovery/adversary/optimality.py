r"""The optimality system of a nuclear norm programme on the matrices of one rank.

At an optimum :math:`X = U S V^H` of rank r with strict complementarity, the optima of
all nearby measurements have rank r too. So they are stationary points of the Lagrangian

.. math:: \|X\|_* + \tfrac{\mu}{2} (\|w \circ (\mathcal{A}(X) - y)\|^2 - \tau^2)

on the manifold of matrices of rank r, where everything is smooth: Newton's method
finds them to rounding, and their derivative with respect to y is one linear solve.

Coordinates of the tangent space are orthonormal, so there is no gauge freedom:

.. math:: \xi = U M V^H + U_\perp P V^H + U Q V_\perp^H, \quad
          \|\xi\|^2 = \|M\|^2 + \|P\|^2 + \|Q\|^2.

With :math:`B = \mathcal{A}^*(w \circ r)` and :math:`W = -\mu U_\perp^H B V_\perp` the
second derivative of the Lagrangian along a curve of rank-r matrices with velocity
:math:`\xi` is, at a stationary point,

.. math:: \sum_{ij} \frac{|M_{ij} - \bar M_{ji}|^2}{2 (s_i + s_j)}
          + \mathrm{tr}\, S^{-1} (P^H P + Q Q^H)
          - 2 \mathrm{Re} \langle W, P S^{-1} Q \rangle
          + \mu \|w \circ \mathcal{A}(\xi)\|^2 .

The first term is that of the polar factor (only the skew part of M turns it); the
others come from the curve's second-order part :math:`U_\perp P S^{-1} Q V_\perp^H`,
which the nuclear norm feels through :math:`(I + P^H P / 2 ...)` and the residual
through W. Since :math:`\|W\| \le 1` the sum of the first three is not negative. All of
this is derived here; tests compare with differences of the Lagrangian.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tacit.recovery.nuclear.program import NuclearProgram

_RTOL = 1e-10  # of the stationarity at which Newton's method has arrived
_GIVE_UP = 1e3


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RankSystem:
    r"""A point of rank r, and the derivatives of the Lagrangian there.

    Parameters
    ----------
    program : NuclearProgram
        In the form with a noise bound, positive.
    rank : int
        r, at least 1.
    left, right : Tensor, shapes (num_rows, num_rows) and (num_columns, num_columns)
        Unitary: U and its complement, V and its complement.
    values : Tensor, shape (rank,)
        S, positive.
    residual : Tensor, shape (num_measurements,)
        :math:`w \circ (\mathcal{A}(X) - y)`.
    back_projection : Tensor, shape (num_rows, num_columns)
        B, in the coordinates of ``left`` and ``right``.
    multiplier : float
        :math:`\mu`.
    """

    program: NuclearProgram
    rank: int
    left: Tensor
    right: Tensor
    values: Tensor
    residual: Tensor
    back_projection: Tensor
    multiplier: float

    @cached_property
    def matrix(self) -> Tensor:
        """X, formed."""
        r = self.rank
        return (self.left[:, :r] * self.values) @ self.right[:, :r].mH

    @property
    def nuclear_norm(self) -> float:
        """Of X."""
        return float(self.values.sum())

    @property
    def dual(self) -> Tensor:
        r"""The dual vector: :math:`-\mu` times the residual."""
        return -self.multiplier * self.residual

    @cached_property
    def normal_part(self) -> Tensor:
        """W, shape ``(num_rows - rank, num_columns - rank)``."""
        return -self.multiplier * self.back_projection[self.rank :, self.rank :]

    @cached_property
    def normal_norm(self) -> float:
        """Spectral norm of W; at most 1 at an optimum."""
        if self.normal_part.numel() == 0:
            return 0.0
        return float(torch.linalg.matrix_norm(self.normal_part, 2))

    def pull(self, matrix: Tensor) -> Tensor:
        """Return the coordinates of the projection of a matrix on the tangent space."""
        return self._flat(self.left.mH @ matrix @ self.right)

    def push(self, coordinates: Tensor) -> Tensor:
        """Return the tangent matrix with these coordinates."""
        rows, columns, r = self.left.shape[0], self.right.shape[0], self.rank
        m, p, q = coordinates.split([r * r, (rows - r) * r, r * (columns - r)])
        inside = coordinates.new_zeros(rows, columns)
        inside[:r, :r] = m.reshape(r, r)
        inside[r:, :r] = p.reshape(-1, r)
        inside[:r, r:] = q.reshape(r, -1)
        return self.left @ inside @ self.right.mH

    def _flat(self, turned: Tensor) -> Tensor:
        r = self.rank
        parts = (turned[..., :r, :r], turned[..., r:, :r], turned[..., :r, r:])
        return torch.cat([part.flatten(-2) for part in parts], -1)

    @cached_property
    def images(self) -> Tensor:
        r"""Images :math:`w \circ \mathcal{A}(\xi)` of the coordinates, as columns."""
        r, u, v = self.rank, self.left.mT, self.right.mT
        rows, columns = u.shape[0], v.shape[0]
        pairs = (
            _pairs(r, r),
            _pairs(rows - r, r) + torch.tensor([r, 0]),
            _pairs(r, columns - r) + torch.tensor([0, r]),
        )
        chosen = torch.cat(pairs)
        images = self.program.problem.linear_map.apply_factors(
            u[chosen[:, 0], :, None], v[chosen[:, 1], :, None]
        )
        return (self.program.problem.weights * images).mT

    @cached_property
    def gradient(self) -> Tensor:
        """Gradient of the Lagrangian on the manifold, in real coordinates."""
        r = self.rank
        polar = torch.zeros_like(self.back_projection)
        polar[:r, :r] = torch.eye(r, dtype=polar.dtype)
        return as_real(self._flat(polar + self.multiplier * self.back_projection))

    @property
    def excess(self) -> float:
        r""":math:`(\|r\|^2 / \tau^2 - 1) / 2`: zero where the constraint is active."""
        bound = self.program.noise_bound or 1.0
        size = float(torch.linalg.vector_norm(self.residual)) / bound
        return (size * size - 1.0) / 2.0

    @property
    def stationarity(self) -> float:
        """Size of what an optimum has as zero; the polar factor counts as one."""
        size = float(torch.linalg.vector_norm(self.gradient)) / math.sqrt(self.rank)
        return max(size, abs(self.excess))

    @cached_property
    def matrix_of_system(self) -> Tensor:
        r"""The bordered matrix [[H, a], [a^T, 0]] in real coordinates.

        H is the second derivative of the module's docstring, a the gradient of the
        constraint, :math:`\mathcal{A}^*(w \circ r)` on the tangent space.
        """
        images = self.images
        size = images.shape[1]
        units = torch.eye(size, dtype=images.dtype)
        if images.is_complex():
            units = torch.stack((units, 1j * units), 1).reshape(2 * size, size)
        gram = images.mH @ images
        hessian = as_real(self._curvature(units) + self.multiplier * (units @ gram.mT))
        border = as_real(self._flat(self.back_projection))
        return torch.cat(
            (
                torch.cat((hessian, border[:, None]), 1),
                torch.cat((border, border.new_zeros(1)))[None],
            )
        )

    def _curvature(self, coordinates: Tensor) -> Tensor:
        """Apply the nuclear norm's part of H to rows of coordinates."""
        rows, columns, r = self.left.shape[0], self.right.shape[0], self.rank
        m, p, q = coordinates.split([r * r, (rows - r) * r, r * (columns - r)], -1)
        m, p = m.unflatten(-1, (r, r)), p.unflatten(-1, (rows - r, r))
        q = q.unflatten(-1, (r, columns - r))
        s, w = self.values, self.normal_part
        parts = (
            (m - m.mH) / (s[:, None] + s),
            (p - w @ q.mH) / s,
            (q - p.mH @ w) / s[:, None],
        )
        return torch.cat([part.flatten(-2) for part in parts], -1)

    def solve(self, tangent: Tensor, scalar: float) -> tuple[Tensor, float]:
        """Solve the bordered system.

        Parameters
        ----------
        tangent : Tensor
            Right-hand side, in real coordinates of the tangent space.
        scalar : float
            Its last entry.

        Returns
        -------
        coordinates : Tensor
            In the map's dtype; not finite if the system is singular.
        last : float
        """
        side = torch.cat((tangent, tangent.new_tensor([scalar])))
        answer, _ = torch.linalg.solve_ex(self.matrix_of_system, side)
        coordinates = answer[:-1]
        if self.residual.is_complex():
            coordinates = torch.view_as_complex(coordinates.reshape(-1, 2))
        return coordinates, float(answer[-1])


def _pairs(first: int, second: int) -> Tensor:
    """All pairs of indices, the second running fastest."""
    return torch.cartesian_prod(torch.arange(first), torch.arange(second)).reshape(
        first * second, 2
    )


def as_real(coordinates: Tensor) -> Tensor:
    """Return real coordinates: real and imaginary parts in turn."""
    if not coordinates.is_complex():
        return coordinates
    return torch.view_as_real(coordinates.resolve_conj()).flatten(-2)


def rank_system(
    program: NuclearProgram,
    matrix: Tensor,
    rank: int,
    multiplier: float | None = None,
) -> RankSystem:
    """Round a matrix to a rank and set up the system there.

    Parameters
    ----------
    program : NuclearProgram
        With a positive noise bound.
    matrix : Tensor, shape (num_rows, num_columns)
    rank : int
        In 1..min(num_rows, num_columns).
    multiplier : float or None
        None takes the one that makes the gradient smallest.
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=True)
    values, right = values[:rank], right.mH
    problem = program.problem
    residual = program.residual(left[:, :rank] * values, right[:, :rank])
    back = problem.linear_map.adjoint_apply(residual)
    turned = left.mH @ back @ right
    if multiplier is None:
        tangent = torch.linalg.vector_norm(turned) ** 2
        tangent = tangent - torch.linalg.vector_norm(turned[rank:, rank:]) ** 2
        along = float(turned.diagonal()[:rank].real.sum())
        multiplier = -along / max(float(tangent), torch.finfo(torch.float64).tiny)
    return RankSystem(
        program=program,
        rank=rank,
        left=left,
        right=right,
        values=values,
        residual=residual,
        back_projection=turned,
        multiplier=multiplier,
    )


def refine(
    program: NuclearProgram,
    matrix: Tensor,
    rank: int,
    multiplier: float | None = None,
    *,
    max_steps: int = 12,
) -> RankSystem | None:
    r"""Run Newton's method on the matrices of one rank.

    Parameters
    ----------
    program : NuclearProgram
        With a positive noise bound.
    matrix : Tensor, shape (num_rows, num_columns)
        A point near the optimum.
    rank : int
        That of the optimum.
    multiplier : float or None
        A guess of :math:`\mu`.
    max_steps : int
        Each costs ``O((rank * (num_rows + num_columns)) ** 3)``.

    Returns
    -------
    RankSystem or None
        Stationary to about 1e-10 of the size of its terms, or to rounding where that
        is larger; None if the method did not arrive. Whether the point is an optimum
        the caller decides: it is if ``normal_norm`` is at most 1.
    """
    system = rank_system(program, matrix, rank, multiplier)
    before = math.inf
    for _ in range(max_steps):
        now = system.stationarity
        if now < _RTOL:
            break
        if not now < min(before, _GIVE_UP):
            # Rounding stops the descent at eps * mu; anywhere else it went astray.
            return system if before < 1e3 * _RTOL else None
        before = now
        step, d_multiplier = system.solve(
            -system.gradient, -system.excess * (program.noise_bound or 1.0) ** 2
        )
        point = system.matrix + system.push(step)
        if not bool(torch.isfinite(point).all()):
            return None
        system = rank_system(program, point, rank, system.multiplier + d_multiplier)
    else:
        return None
    return system if system.multiplier > 0.0 else None
