r"""Completion by iteratively reweighted least squares, for few samples.

Works down to one and a half times as many entries as unknowns and at large condition
numbers, where descent on the factors fails; and it is quick where that works, too.
"""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.iterate import AbstractSolver
from tacit.recovery.completion.sparse_low_rank import (
    SparseLowRank,
    draw_basis,
    leading_svd,
    require_entries,
)
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.problem import RecoveryProblem, relative_errors

_EXTRA = 5  # columns besides those asked for: they make the last ones accurate
_FIRST_SWEEPS = 4
_SWEEPS = 4  # from the subspace of the step before
# Conjugate gradients stop at this part of the smoothing, or of their own start.
_OF_EPSILON = 0.01
_OF_START = 1e-6
_FOUND = 1e-6  # train error at which a gap in the spectrum is believed
_PATIENCE = 25  # steps in which the smoothing must fall
_FALL = 0.95


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ReweightedState:
    r"""A point of the iteration.

    Parameters
    ----------
    left, right : Tensor, shape (num_rows, rank) and (num_columns, rank)
        The best approximation of the iterate X by a matrix of that rank: singular
        vectors, ``left`` times the singular values.
    singular_values : Tensor, shape (search_rank + 5,) or shorter
        Of X, largest first.
    epsilon : float
        The smoothing, a singular value: in the unit of the matrix times
        sqrt(num_rows num_columns).
    residual : Tensor, shape (num_measurements,)
        :math:`\mathcal{A}(L R^H) - y`, held-out measurements included.
    value : float
        :math:`\frac12 \sum_i w_i |r_i|^2`.
    train_error, held_out_error : float
        :math:`\|r\| / \|y\|` over the entries fitted and over those held out (NaN if
        there are none).
    num_passes : int
        How often entries of a matrix and the products with its adjoint were computed.
    num_inner_steps : int
        Steps of conjugate gradients so far.
    """

    left: Tensor
    right: Tensor
    singular_values: Tensor
    epsilon: float
    residual: Tensor
    value: float
    train_error: float
    held_out_error: float
    num_passes: int
    num_inner_steps: int
    search_rank: int
    basis: Tensor
    lowest: tuple[float, int]  # a smoothing, and for how many steps nothing beat it

    @property
    def rank(self) -> int:
        """Number of columns of the factors."""
        return self.left.shape[-1]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ReweightedLeastSquares(AbstractSolver[RecoveryProblem, ReweightedState]):
    r"""Minimise a smoothed log-determinant over the matrices with the given entries.

    .. math:: F_\varepsilon(X) = \sum_i f_\varepsilon(\sigma_i(X)), \quad
        f_\varepsilon(\sigma) = \log \max(\sigma, \varepsilon)
        + \tfrac12 \bigl(\min(\sigma, \varepsilon)^2 / \varepsilon^2 - 1\bigr)

    A step minimises the quadratic :math:`\langle X, W(X) \rangle` over
    :math:`\mathcal{A}(X) = y`, where W multiplies the (i, j) entry of X in the singular
    bases of the last iterate by :math:`1 / (\max(\sigma_i, \varepsilon) \max(\sigma_j,
    \varepsilon))`; then :math:`\varepsilon \leftarrow \min(\varepsilon,
    \sigma_{r+1}(X))` for the search rank r. Convergence near a matrix of rank r is
    quadratic.

    Parameters
    ----------
    search_rank : int
        r, in 1..min(num_rows, num_columns) - 1. The rank itself is best; up to twice it
        does where there are four times as many entries as unknowns.
    rtol : float
        Converged once the train error of the factors is at most this.
    gap : float
        Where a singular value exceeds the next by this factor, and the values up to it
        explain the entries to 1e-6, r is lowered to their number: the rank has been
        found.
    max_inner_steps : int
        Of conjugate gradients in one step.

    Raises
    ------
    InputError
        If an argument is out of range, when run: if the map is not an EntriesMap.

    Notes
    -----
    X is an orthogonal projection :math:`P_T(\gamma)` to the tangent space T of the
    matrices of rank r, plus a sparse residual :math:`\mathcal{A}^*(y -
    \mathcal{A}(\gamma))`, with

    .. math:: \Bigl(\frac{\varepsilon^2}{D - \varepsilon^2} + P_T \mathcal{A}^*
        \mathcal{A} P_T\Bigr) \gamma = P_T \mathcal{A}^*(y), \quad
        D_{ij} = \max(\sigma_i, \varepsilon) \max(\sigma_j, \varepsilon)

    solved by conjugate gradients with the diagonal of its mean as preconditioner. A
    step of theirs costs O(num_measurements r + (num_rows + num_columns) r^2). They stop
    once the error is below a hundredth of :math:`\varepsilon`: early steps need few
    of them, but looser ones end in wrong limits more often (measured at twice as many
    entries as unknowns: 5 of 60 instances instead of none). The start is a
    :class:`torch.Generator`, which draws the first subspace.

    References
    ----------
    Kuemmerle and Verdun (2021), A scalable second order method for ill-conditioned
    matrix completion from few samples, algorithm 1 and section 3 (method), theorem 3.2
    (quadratic convergence). The inexact inner solves and the gap rule are ours.

    Examples
    --------
    >>> import tacit
    >>> from tacit.iterate import iterate
    >>> from tacit.recovery.completion.irls import ReweightedLeastSquares
    >>> from tacit.recovery.planted import planted_completion
    >>> generator = tacit.make_generator(0)
    >>> problem = planted_completion((40, 30), 2, oversampling=2.5, generator=generator)
    >>> solver = ReweightedLeastSquares(search_rank=2)
    >>> iterate(problem, solver, generator, max_steps=100).state.train_error < 1e-9
    True
    """

    search_rank: int
    rtol: float = 1e-9
    gap: float = 1000.0
    max_inner_steps: int = 200

    def __post_init__(self) -> None:
        if self.search_rank < 1 or self.max_inner_steps < 1:
            raise InputError(
                "search_rank and max_inner_steps must be at least 1; got "
                f"{self.search_rank} and {self.max_inner_steps}"
            )
        if not (0.0 <= self.rtol < math.inf and self.gap > 1.0):
            raise InputError(
                "rtol must be a number of at least 0 and gap more than 1; got "
                f"{self.rtol} and {self.gap}"
            )

    def init(self, problem: RecoveryProblem, start: Any) -> ReweightedState:
        entries = require_entries(problem)
        limit = min(entries.shape) - 1
        if self.search_rank > limit:
            raise InputError(
                f"search_rank must be in 1..min(num_rows, num_columns) - 1 = {limit}; "
                f"got {self.search_rank}"
            )
        width = min(self.search_rank + _EXTRA, limit + 1)
        nothing = problem.measurements.new_zeros(0)
        matrix = SparseLowRank(
            entries=entries,
            values=problem.weights * problem.measurements,
            left=nothing.expand(entries.shape[0], 0),
            right=nothing.expand(entries.shape[1], 0),
        )
        basis = draw_basis(entries, width, generator=start)
        triplets = leading_svd(matrix, basis, num_sweeps=_FIRST_SWEEPS)
        return self._state(problem, triplets, None, (2 * _FIRST_SWEEPS, 0))

    def step(self, problem: RecoveryProblem, state: ReweightedState) -> ReweightedState:
        entries = require_entries(problem)
        system = _tangent_system(entries, problem.weights, state)
        gamma, num_steps = system.solve(
            problem.measurements, state.left, self.max_inner_steps
        )
        left, right = system.factors(gamma)
        residual = problem.measurements - entries.apply_factors(left, right)
        matrix = SparseLowRank(
            entries=entries,
            values=problem.weights * residual,
            left=left,
            right=right,
        )
        triplets = leading_svd(matrix, state.basis, num_sweeps=_SWEEPS)
        num_passes = 2 * (num_steps + _SWEEPS) + 3
        return self._state(problem, triplets, state, (num_passes, num_steps))

    def status(self, problem: RecoveryProblem, state: ReweightedState) -> Status | None:
        if state.train_error <= self.rtol:
            return Status.CONVERGED
        return Status.STALLED if state.lowest[1] >= _PATIENCE else None

    def _state(
        self,
        problem: RecoveryProblem,
        triplets: tuple[Tensor, Tensor, Tensor],
        before: ReweightedState | None,
        counts: tuple[int, int],
    ) -> ReweightedState:
        """Return the state of an iterate given by its leading singular triplets."""
        _, values, v = triplets
        before_rank = before.search_rank if before else self.search_rank
        search_rank = _gap(values[: before_rank + 1], self.gap) or before_rank
        left, right, residual = _truncated(problem, triplets, search_rank)
        train_error, held_out_error = relative_errors(problem, residual)
        if search_rank < before_rank and train_error > _FOUND:
            # A direction that has not come up yet leaves a gap, too.
            search_rank = before_rank
            left, right, residual = _truncated(problem, triplets, search_rank)
            train_error, held_out_error = relative_errors(problem, residual)
        epsilon = float(values[search_rank])
        lowest = (epsilon, 0)
        if before is not None:
            epsilon = min(before.epsilon, epsilon)
            value, age = before.lowest
            lowest = (epsilon, 0) if epsilon < _FALL * value else (value, age + 1)
        weighted = problem.weights * residual.abs().square()
        return ReweightedState(
            left=left,
            right=right,
            singular_values=values,
            epsilon=epsilon,
            residual=residual,
            value=float(weighted.sum()) / 2.0,
            train_error=train_error,
            held_out_error=held_out_error,
            num_passes=counts[0] + 1 + (before.num_passes if before else 0),
            num_inner_steps=counts[1] + (before.num_inner_steps if before else 0),
            search_rank=search_rank,
            basis=v,
            lowest=lowest,
        )


def _truncated(
    problem: RecoveryProblem, triplets: tuple[Tensor, Tensor, Tensor], rank: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return factors of the leading part, and their residual."""
    u, values, v = triplets
    left, right = u[:, :rank] * values[:rank], v[:, :rank].contiguous()
    residual = problem.linear_map.apply_factors(left, right) - problem.measurements
    return left, right, residual


def _gap(values: Tensor, gap: float) -> int | None:
    """Return the number of singular values above the widest gap, if wide enough."""
    ratios = values[:-1] / values[1:].clamp(min=torch.finfo(values.dtype).tiny)
    rank = int(ratios.argmax()) + 1
    return rank if float(ratios[rank - 1]) >= gap else None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _TangentSystem:
    r"""The equations of one step.

    A tangent :math:`P V^H + U C^H` with :math:`C^H V = 0` is stored as P above C. The
    unit of ``mixed`` and ``inside``, :math:`\varepsilon^2 / (D - \varepsilon^2)`, is 1.
    """

    entries: EntriesMap
    weights: Tensor
    u: Tensor
    v: Tensor
    mixed: Tensor  # of one factor inside and one outside the singular bases
    inside: Tensor
    density: float
    target: float

    def factors(self, gamma: Tensor) -> tuple[Tensor, Tensor]:
        first, second = gamma[: self.u.shape[0]], gamma[self.u.shape[0] :]
        return torch.cat([first, self.u], -1), torch.cat([self.v, second], -1)

    def projection(self, values: Tensor) -> Tensor:
        r"""Return :math:`P_T \mathcal{A}^*(w \circ \text{values})`."""
        weighted = self.weights * values
        first, second = self.entries.adjoint_times(weighted, self.u, self.v)
        return torch.cat([first, second - self.v @ (first.mH @ self.u)])

    def scaled(self, gamma: Tensor, mixed: Tensor, inside: Tensor) -> Tensor:
        """Return gamma with its parts multiplied by ``mixed`` and ``inside``."""
        num_rows = self.u.shape[0]
        result = gamma * mixed
        core = self.u.mH @ gamma[:num_rows]
        result[:num_rows].addmm_(self.u, (inside - mixed) * core)
        return result

    def apply(self, gamma: Tensor) -> Tensor:
        image = self.projection(self.entries.apply_factors(*self.factors(gamma)))
        return image.add_(self.scaled(gamma, self.mixed, self.inside))

    def precondition(self, residual: Tensor) -> Tensor:
        mixed, inside = (
            1.0 / (self.density + self.mixed),
            1.0 / (self.density + self.inside),
        )
        return self.scaled(residual, mixed, inside)

    def solve(
        self, measurements: Tensor, left: Tensor, max_steps: int
    ) -> tuple[Tensor, int]:
        """Return gamma from the last iterate's, and the steps taken."""
        gamma = torch.cat([left, torch.zeros_like(self.v)])
        residual = self.projection(measurements) - self.apply(gamma)
        scaled = self.precondition(residual)
        direction = scaled
        size = _inner(residual, scaled)
        limit = max(_OF_START**2 * size, self.density * self.target**2)
        num_steps = 0
        while num_steps < max_steps and size > limit:
            image = self.apply(direction)
            curvature = _inner(direction, image)
            if not curvature > 0.0:
                break  # the direction, or what it changes, is nothing but rounding
            length = size / curvature
            gamma = gamma.add(direction, alpha=length)
            residual = residual.sub(image, alpha=length)
            scaled = self.precondition(residual)
            last, size = size, _inner(residual, scaled)
            direction = scaled.add(direction, alpha=size / last)
            num_steps += 1
        return gamma, num_steps


def _tangent_system(
    entries: EntriesMap, weights: Tensor, state: ReweightedState
) -> _TangentSystem:
    epsilon = state.epsilon
    rank = state.rank
    # A value equal to the smoothing would put no weight on its direction.
    values = state.singular_values[:rank].clamp(min=1.001 * epsilon)
    tiny = torch.finfo(values.dtype).tiny
    square = (values[:, None] * values - epsilon**2).clamp(min=tiny)
    return _TangentSystem(
        entries=entries,
        weights=weights,
        u=state.left / state.singular_values[:rank].clamp(min=tiny),
        v=state.right,
        mixed=epsilon / (values - epsilon).clamp(min=tiny),
        inside=epsilon**2 / square,
        density=float(weights.sum()) / (entries.shape[0] * entries.shape[1]),
        target=_OF_EPSILON * epsilon,
    )


def _inner(first: Tensor, second: Tensor) -> float:
    return float((first.conj() * second).real.sum())
