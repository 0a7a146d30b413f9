r"""Completion with a nuclear-norm penalty, for noise and slowly falling spectra."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.iterate import AbstractSolver, Observer, Solution, iterate
from tacit.recovery.back_projection import leading_triplets
from tacit.recovery.completion.sparse_low_rank import (
    SparseLowRank,
    draw_basis,
    leading_svd,
    require_entries,
)
from tacit.recovery.problem import RecoveryProblem, relative_errors

_EXTRA = 5  # columns besides the rank: they make the last singular values accurate
_FIRST_SWEEPS = 4
_SWEEPS = 1  # from the subspace of the step before
_DUAL_COLUMNS = 3
# For the norm in the duality gap, before it is believed: few if the gap is wide anyway.
_CHECK_SWEEPS = 20
_ROUGH_SWEEPS = 5
_ROUGH_GAP = 1e-4
# Steps in a row that lower the objective by less than a thousandth of ``gap_rtol``:
# at ``max_rank`` the problem is not convex, and the gap need not vanish.
_STALLED = 5


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SoftImputeState:
    r"""A point of the iteration.

    Parameters
    ----------
    left, right : Tensor, shape (num_rows, rank) and (num_columns, rank)
        :math:`X = L R^H`; orthogonal columns, those of ``right`` of length 1. The rank
        may be 0.
    value : float
        The objective.
    duality_gap : float
        How far ``value`` is above the best dual value seen at this point, with the
        spectral norm in it estimated by a few power iterations; at least 0.
    residual : Tensor, shape (num_measurements,)
        :math:`\mathcal{A}(X) - y`, held-out measurements included.
    train_error, held_out_error : float
        Relative; the second is NaN where nothing is held out.
    num_passes : int
        How often entries of a matrix and the products with its adjoint were computed.
    """

    left: Tensor
    right: Tensor
    value: float
    duality_gap: float
    residual: Tensor
    train_error: float
    held_out_error: float
    num_passes: int
    momentum: float
    num_stalled: int
    previous: tuple[Tensor, Tensor, Tensor]
    basis: Tensor
    dual_basis: Tensor

    @property
    def rank(self) -> int:
        """Number of columns of the factors."""
        return self.left.shape[-1]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SoftImputeStart:
    """A matrix to start from, and what draws the first subspaces.

    Parameters
    ----------
    left, right : Tensor, shape (num_rows, k) and (num_columns, k)
    generator : torch.Generator
    """

    left: Tensor
    right: Tensor
    generator: torch.Generator


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SoftImpute(AbstractSolver[RecoveryProblem, SoftImputeState]):
    r"""Minimise a sum of squares plus a nuclear norm.

    .. math:: \tfrac12 \sum_i w_i |\mathcal{A}(X)_i - y_i|^2 + \lambda \|X\|_*

    Accelerated soft-impute: missing entries are filled in from :math:`Z`, an
    extrapolation of the last two iterates, and the singular values of
    :math:`Z - \mathcal{A}^*(w \circ (\mathcal{A}(Z) - y))` are lowered by
    :math:`\lambda`. That matrix is sparse plus low-rank; its leading triplets come from
    one subspace sweep started at the last ones. Extrapolation starts anew when the
    objective rises.

    Parameters
    ----------
    penalty : float
        :math:`\lambda`, positive, in the unit of the entries.
    gap_rtol : float
        Converged once the duality gap is at most this times the objective.
    max_rank : int or None
        Largest number of singular values kept; None keeps all above the penalty.

    Raises
    ------
    InputError
        If an argument is out of range; when run: if the map is not an EntriesMap.

    Notes
    -----
    The gap is :math:`P - D` with P the objective and :math:`D = \max_\theta
    \theta \langle r, y \rangle - \theta^2 \|r\|^2 / 2` over :math:`|\theta| \le
    \lambda / \|\mathcal{A}^*(r)\|`, :math:`r = w \circ (y - \mathcal{A}(X))`: a value
    of the dual problem, so no matrix has an objective lower than P - gap.
    Started from a :class:`SoftImputeStart`.

    References
    ----------
    Mazumder, Hastie and Tibshirani (2010), Spectral regularization algorithms for
    learning large incomplete matrices (soft-impute, sparse plus low-rank products).
    Yao and Kwok (2015), Accelerated inexact soft-impute for fast large-scale matrix
    completion (extrapolation, warm started subspaces). The stopping rule by the gap is
    ours.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.completion.soft_impute import soft_impute
    >>> from tacit.recovery.planted import planted_completion
    >>> generator = tacit.make_generator(0)
    >>> problem = planted_completion((20, 15), 1, oversampling=5.0, noise=0.1,
    ...     generator=generator)
    >>> soft_impute(problem, 0.1, generator=generator).status.name
    'CONVERGED'
    """

    penalty: float
    gap_rtol: float = 1e-6
    max_rank: int | None = None

    def __post_init__(self) -> None:
        if not (0.0 < self.penalty < math.inf and 0.0 <= self.gap_rtol < math.inf):
            raise InputError(
                "penalty must be a positive number and gap_rtol at least 0; got "
                f"{self.penalty} and {self.gap_rtol}"
            )
        if self.max_rank is not None and self.max_rank < 1:
            raise InputError(f"max_rank must be at least 1; got {self.max_rank}")

    def init(self, problem: RecoveryProblem, start: SoftImputeStart) -> SoftImputeState:
        entries = require_entries(problem)
        width = min(start.left.shape[-1] + _EXTRA, *entries.shape)
        drawn = draw_basis(entries, width, generator=start.generator)
        known = start.right.shape[-1]
        basis = torch.cat([start.right, drawn[:, : width - known]], -1)
        dual = draw_basis(
            entries, min(_DUAL_COLUMNS, *entries.shape), generator=start.generator
        )
        first, second = torch.linalg.qr(start.left), torch.linalg.qr(start.right)
        u, values, vh = torch.linalg.svd(first.R @ second.R.mH, full_matrices=False)
        factors = first.Q @ (u * values), second.Q @ vh.mH
        sampled = entries.apply_factors(*factors)
        return self._state(
            problem, factors, sampled, (*factors, sampled), 1.0, basis, dual, 1
        )

    def step(self, problem: RecoveryProblem, state: SoftImputeState) -> SoftImputeState:
        entries, y = require_entries(problem), problem.measurements
        momentum = (1.0 + math.sqrt(1.0 + 4.0 * state.momentum**2)) / 2.0
        beta = (state.momentum - 1.0) / momentum
        old_left, old_right, old_sampled = state.previous
        sampled = state.residual + y
        between = (1.0 + beta) * sampled - beta * old_sampled
        filled = SparseLowRank(
            entries=entries,
            values=problem.weights * (y - between),
            left=torch.cat([(1.0 + beta) * state.left, -beta * old_left], -1),
            right=torch.cat([state.right, old_right], -1),
        )
        num_sweeps = _SWEEPS if state.num_passes > 1 else _FIRST_SWEEPS
        u, values, v = leading_svd(filled, state.basis, num_sweeps=num_sweeps)
        kept = int((values > self.penalty).sum())
        basis = self._next_basis(v, kept, min(entries.shape))
        if self.max_rank is not None:
            kept = min(kept, self.max_rank)
        factors = (
            u[:, :kept] * (values[:kept] - self.penalty),
            v[:, :kept].contiguous(),
        )
        now = entries.apply_factors(*factors)
        new = self._state(
            problem,
            factors,
            now,
            (state.left, state.right, sampled),
            momentum,
            basis,
            state.dual_basis,
            state.num_passes + 2 * num_sweeps + 1,
        )
        limit = state.value * (1.0 - 1e-3 * self.gap_rtol)
        is_stalled = kept == self.max_rank and new.value > limit
        num_stalled = state.num_stalled + 1 if is_stalled else 0
        if new.value <= state.value:
            return replace(new, num_stalled=num_stalled)
        # The next step starts from this point alone.
        return replace(
            new, num_stalled=num_stalled, momentum=1.0, previous=(*factors, now)
        )

    def status(self, problem: RecoveryProblem, state: SoftImputeState) -> Status | None:
        if state.duality_gap <= self.gap_rtol * state.value:
            return Status.CONVERGED
        return Status.STALLED if state.num_stalled >= _STALLED else None

    def _next_basis(self, v: Tensor, kept: int, limit: int) -> Tensor:
        """Keep some columns more than are used; repeat the last ones if all were."""
        wanted = min(kept + _EXTRA, limit)
        if wanted <= v.shape[-1]:
            return v[:, :wanted]
        # Columns that the next product turns anywhere: shifted copies.
        missing = wanted - v.shape[-1]
        fresh = torch.roll(v[:, :missing], 1, 0)
        return torch.cat([v, fresh], -1)

    def _state(
        self,
        problem: RecoveryProblem,
        factors: tuple[Tensor, Tensor],
        sampled: Tensor,
        previous: tuple[Tensor, Tensor, Tensor],
        momentum: float,
        basis: Tensor,
        dual_basis: Tensor,
        num_passes: int,
    ) -> SoftImputeState:
        residual = sampled - problem.measurements
        nuclear_norm = float(torch.linalg.vector_norm(factors[0], dim=0).sum())
        back = SparseLowRank(
            entries=require_entries(problem),
            values=problem.weights * residual,
            left=factors[0][:, :0],
            right=factors[1][:, :0],
        )
        # An underestimated norm would pass for convergence: then it is looked at again.
        check = _CHECK_SWEEPS if self.gap_rtol < _ROUGH_GAP else _ROUGH_SWEEPS
        for num_sweeps in (1, check):
            _, values, dual_basis = leading_svd(back, dual_basis, num_sweeps=num_sweeps)
            num_passes += 2 * num_sweeps
            value, gap = _value_and_gap(
                problem, residual, nuclear_norm, self.penalty, float(values[0])
            )
            if gap > self.gap_rtol * value:
                break
        train_error, held_out_error = relative_errors(problem, residual)
        return SoftImputeState(
            left=factors[0],
            right=factors[1],
            value=value,
            duality_gap=gap,
            residual=residual,
            train_error=train_error,
            held_out_error=held_out_error,
            num_passes=num_passes,
            momentum=momentum,
            num_stalled=0,
            previous=previous,
            basis=basis,
            dual_basis=dual_basis,
        )


def _value_and_gap(
    problem: RecoveryProblem,
    residual: Tensor,
    nuclear_norm: float,
    penalty: float,
    spectral_norm: float,
) -> tuple[float, float]:
    """Return the objective and its distance to the best multiple of the dual point."""
    weighted = problem.weights * residual
    square = float((weighted.conj() * residual).real.sum())
    along = -float((weighted.conj() * problem.measurements).real.sum())
    value = square / 2.0 + penalty * nuclear_norm
    limit = penalty / spectral_norm if spectral_norm > 0.0 else math.inf
    best = along / square if square > 0.0 else 0.0
    theta = max(-limit, min(limit, best))
    return value, max(0.0, value - theta * along + theta**2 * square / 2.0)


def duality_gap(
    problem: RecoveryProblem,
    left: Tensor,
    right: Tensor,
    penalty: float,
    *,
    generator: torch.Generator,
) -> tuple[float, float]:
    r"""Return the objective of :class:`SoftImpute` at factors, and its duality gap.

    Parameters
    ----------
    problem : RecoveryProblem
    left, right : Tensor, shape (num_rows, k) and (num_columns, k)
        Any factors of X.
    penalty : float
        :math:`\lambda`.
    generator : torch.Generator
        Starts the iteration for the spectral norm in it (dense for small matrices).

    Returns
    -------
    value : float
    gap : float
        No matrix has an objective below ``value - gap``, up to a relative error of
        about 1e-8 of the spectral norm in it.
    """
    residual = problem.linear_map.apply_factors(left, right) - problem.measurements
    triangles = torch.linalg.qr(left).R, torch.linalg.qr(right).R
    nuclear_norm = float(torch.linalg.svdvals(triangles[0] @ triangles[1].mH).sum())
    weighted = problem.weights * residual
    _, values, _ = leading_triplets(
        problem.linear_map, weighted, 1, generator=generator, rtol=1e-8
    )
    return _value_and_gap(problem, residual, nuclear_norm, penalty, float(values[0]))


def soft_impute(
    problem: RecoveryProblem,
    penalty: float,
    *,
    generator: torch.Generator,
    start: tuple[Tensor, Tensor] | None = None,
    gap_rtol: float = 1e-6,
    max_rank: int | None = None,
    max_steps: int = 1000,
    observers: Sequence[Observer] = (),
) -> Solution[SoftImputeState]:
    """Run :class:`SoftImpute` from a matrix in factors, or from zero.

    Parameters
    ----------
    problem : RecoveryProblem
    penalty : float
    generator : torch.Generator
        Draws the first subspace.
    start : tuple of two Tensors or None
    gap_rtol, max_rank
        As in :class:`SoftImpute`.
    max_steps : int
    observers : sequence of callables

    Returns
    -------
    Solution
    """
    nothing = problem.measurements.new_zeros(0)
    rows, columns = problem.linear_map.in_shape
    left, right = start or (nothing.expand(rows, 0), nothing.expand(columns, 0))
    solver = SoftImpute(penalty=penalty, gap_rtol=gap_rtol, max_rank=max_rank)
    point = SoftImputeStart(left=left, right=right, generator=generator)
    return iterate(problem, solver, point, max_steps=max_steps, observers=observers)
