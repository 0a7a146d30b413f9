r"""The dual vector of least squares: what may prove a low-rank matrix optimal."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.recovery.descent.pairs import Pair, pair_plus
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.spectrum import truncate

_MAX_STEPS = 200
_RTOL = 1e-10


def least_squares_dual(
    problem: RecoveryProblem,
    left: Tensor,
    right: Tensor,
    *,
    near: Tensor | None = None,
    rtol: float = _RTOL,
    max_steps: int = _MAX_STEPS,
) -> Tensor:
    r"""Return the dual vector nearest to a given one with the right tangent part.

    With :math:`X = L R^H = U \Sigma V^H`, T the tangent space of the matrices of its
    rank at X and :math:`\mathcal{A}_T` the map restricted to it,

    .. math:: q = q_0 + \mathcal{A}_T (\mathcal{A}_T^* \mathcal{A}_T)^{-1}
              (U V^H - P_T \mathcal{A}^*(q_0)),

    which is the q nearest to :math:`q_0` with :math:`P_T \mathcal{A}^*(q) = U V^H`. If
    the rest of :math:`\mathcal{A}^*(q)` has spectral norm at most 1, X has the smallest
    nuclear norm among all matrices with its measurements; whoever uses q checks that
    (``certify_nuclear`` does). In a symmetric problem U = V, T holds Hermitian matrices
    and :math:`\mathcal{A}^*(q)` is replaced by its Hermitian part.

    Parameters
    ----------
    problem : RecoveryProblem
        Without a batch.
    left, right : Tensor, shape (num_rows, rank) and (num_columns, rank)
        The factors, of full column rank; one tensor if symmetric.
    near : Tensor or None, shape (num_measurements,)
        :math:`q_0`; zero by default.
    rtol : float
        Of the conjugate gradients that solve the normal equations.
    max_steps : int
        Of the same; the vector reached by then is returned.

    Returns
    -------
    Tensor, shape (num_measurements,)
        q, zero where measurements are held out.

    References
    ----------
    Candes and Recht (2009), Exact matrix completion via convex optimization, section 3
    (the case of :math:`q_0 = 0`).

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.recovery.nuclear.dual import least_squares_dual
    >>> problem = tacit.planted_problem((8, 6), 1, oversampling=3.0,
    ...     generator=tacit.make_generator(0))
    >>> truth = problem.planted
    >>> q = least_squares_dual(problem, truth.left, truth.right)
    >>> matrix = problem.linear_map.adjoint_apply(q)
    >>> round(float(torch.linalg.matrix_norm(matrix, 2)), 6)    # optimal
    1.0
    """
    space = _tangent_space(problem, left, right)
    dual = torch.zeros_like(problem.measurements) if near is None else near
    dual = problem.weights * dual
    rest = pair_plus(space.target(), -1.0, space.project(dual))
    direction, square = rest, _square(rest, space)
    limit = (rtol**2) * max(_square(space.target(), space), 1e-300)
    for _ in range(max_steps):
        if square <= limit:
            break
        image = space.apply(direction)
        energy = float(torch.vdot(image, image).real)
        if energy == 0.0:
            break
        # The sum of the images is the dual vector: the tangent matrix is not needed.
        dual = dual + square / energy * image
        rest = pair_plus(rest, -square / energy, space.project(image))
        before, square = square, _square(rest, space)
        direction = pair_plus(rest, square / before, direction)
    return dual


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _TangentSpace:
    r"""Tangent matrices as pairs.

    (P, Q) is :math:`U Q^H + P V^H` with :math:`U^H P = 0`, and in a symmetric problem
    (P, S) is :math:`U S U^H + P U^H + U P^H` with Hermitian S.
    """

    problem: RecoveryProblem
    u: Tensor
    v: Tensor

    def target(self) -> Pair:
        r"""Return :math:`U V^H`."""
        if self.problem.is_symmetric:
            size = self.u.shape[1]
            identity = torch.eye(size, dtype=self.u.dtype, device=self.u.device)
            return torch.zeros_like(self.u), identity
        return torch.zeros_like(self.u), self.v

    def apply(self, tangent: Pair) -> Tensor:
        """Return the measurements of a tangent matrix, held-out ones zeroed."""
        outer, other = tangent
        if self.problem.is_symmetric:
            other = self.u @ other + outer
        left = torch.cat([self.u, outer], dim=-1)
        right = torch.cat([other, self.v], dim=-1)
        return self.problem.weights * self.problem.linear_map.apply_factors(left, right)

    def project(self, dual: Tensor) -> Pair:
        """Return the tangent part of the back-projection."""
        products = self.problem.linear_map.adjoint_times(dual, self.u, self.v)
        first, second = products
        if self.problem.is_symmetric:
            first = (first + second) / 2.0
            second = self.u.mH @ first
            return first - self.u @ second, (second + second.mH) / 2.0
        return first - self.u @ (self.u.mH @ first), second


def _tangent_space(
    problem: RecoveryProblem, left: Tensor, right: Tensor
) -> _TangentSpace:
    left, right = truncate(left, right, left.shape[1])
    u = left / torch.linalg.vector_norm(left, dim=0)
    v = u if problem.is_symmetric else right / torch.linalg.vector_norm(right, dim=0)
    return _TangentSpace(problem=problem, u=u, v=v)


def _square(tangent: Pair, space: _TangentSpace) -> float:
    """Return the squared Frobenius norm."""
    outer, other = (float(part.abs().square().sum()) for part in tangent)
    return (2.0 if space.problem.is_symmetric else 1.0) * outer + other
