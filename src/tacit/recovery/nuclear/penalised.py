r"""The penalised form on factors: conjugate gradients, columns added where they help.

With a penalty on factors that are wide enough there is no spurious minimum, and columns
that are not needed shrink to nothing. Whether they are wide enough, the spectral norm
of the back-projected residual says: where it exceeds the penalty, its singular vectors
are the columns to add.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.iterate import Observer, Solution, iterate
from tacit.recovery.back_projection import leading_eigenpairs, leading_triplets
from tacit.recovery.descent.conjugate import ConjugateGradients, ConjugateState
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.spectrum import without_vanished

# Singular values this much below the largest are columns that have vanished.
_VANISHED = 1e-12
_SPECTRUM_RTOL = 1e-8
# Columns are added where the spectral norm exceeds the penalty by this many times the
# accuracy: about what an unfinished fit shows by itself.
_EXCESS = 1.0
_MOST_ROUNDS = 60
_MOST_ADDED = 8  # columns in a round

Factors = tuple[Tensor, Tensor]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """What every fit of one solve shares.

    Parameters
    ----------
    problem : RecoveryProblem
        Without a batch.
    generator : torch.Generator
        Of iterative decompositions.
    max_steps : int
        Of everything together.
    observers : sequence of callables
        See every step of every fit.
    """

    problem: RecoveryProblem
    generator: torch.Generator
    max_steps: int
    observers: Sequence[Observer] = ()


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """Factors that minimise the penalised loss for one penalty, to some accuracy.

    Parameters
    ----------
    left, right : Tensor
        One tensor in a symmetric problem.
    residual : Tensor, shape (num_measurements,)
        Not weighted.
    size : float
        Of the residual over the measurements fitted.
    penalty : float
    status : Status
    gain : float
        Length of the measurements of a matrix of norm one like this one.
    num_steps, num_passes : int
        Of everything that led here.
    largest : float or None
        Leading value of the back-projection of minus the residual; None if it was not
        looked at.
    """

    left: Tensor
    right: Tensor
    residual: Tensor
    size: float
    penalty: float
    gain: float
    status: Status
    num_steps: int
    num_passes: int
    largest: float | None = None

    @property
    def rank(self) -> int:
        """Number of columns."""
        return self.left.shape[-1]

    @property
    def norm(self) -> float:
        """The nuclear norm, of balanced factors."""
        squares = self.left.abs().square().sum() + self.right.abs().square().sum()
        return float(squares) / 2.0

    @property
    def is_cut(self) -> bool:
        """Whether a person or the arithmetic ended the work."""
        return self.status in (Status.INTERRUPTED, Status.NON_FINITE)


def first_fit(search: Search, penalty: float, width: int) -> Fit:
    r"""Return the start of a search: soft-thresholded leading part of the data.

    Parameters
    ----------
    search : Search
    penalty : float
        :math:`\lambda`.
    width : int
        Number of columns.
    """
    problem = search.problem
    weighted = problem.weights * problem.measurements
    values, left, right = leading_part(problem, weighted, width, search.generator)
    # Columns below the penalty are kept small, not zero: zero would be a saddle.
    sizes = (values - penalty).clamp(min=1e-3 * float(values[0].clamp(min=0.0)))
    image = problem.weights * problem.linear_map.apply_factors(left * sizes, right)
    energy = float(torch.vdot(image, image).real)
    inner = float(torch.vdot(image, problem.measurements).real)
    best = inner / energy if energy > 0.0 and inner > 0.0 else 1.0
    root = (best * sizes).sqrt()
    left = left * root
    right = left if problem.is_symmetric else right * root
    residual = best * image - problem.measurements
    return Fit(
        left=left,
        right=right,
        residual=residual,
        size=size_of(problem, residual),
        penalty=penalty,
        gain=math.sqrt(energy) / float(torch.linalg.vector_norm(sizes)),
        status=Status.MAX_STEPS,
        num_steps=0,
        num_passes=1,
    )


def improve(
    search: Search,
    fit: Fit,
    penalty: float,
    *,
    accuracy: float,
    watch: Observer | None = None,
    is_widened: bool = True,
) -> Fit:
    r"""Return a better fit, perhaps for another penalty, perhaps with more columns.

    Parameters
    ----------
    search : Search
    fit : Fit
        Where to start.
    penalty : float
        :math:`\lambda`.
    accuracy : float
        How far the back-projected residual may be from that of the minimiser, relative
        to the penalty. With f the objective and g the gain, conjugate gradients stop
        where they lower f by less than :math:`(\text{accuracy} \cdot \lambda / g)^2`.
    watch : callable or None
        One more observer; the Status it returns ends the work.
    is_widened : bool
        Whether to add columns where the spectral norm asks for them.
    """
    problem = search.problem
    for _ in range(_MOST_ROUNDS):
        solution = _descend(search, fit, penalty, accuracy, watch)
        fit = _as_fit(problem, fit, penalty, solution)
        if fit.is_cut or not is_widened:
            break
        leading = leading_part(
            problem,
            -problem.fitted(fit.residual),
            fit.rank + _MOST_ADDED,
            search.generator,
            _SPECTRUM_RTOL,
        )
        fit = replace(fit, largest=float(leading[0][0]))
        wider = _widened(problem, fit, accuracy, leading)
        if wider is None or fit.num_steps >= search.max_steps:
            break
        fit = wider
    return fit


def leading_part(
    problem: RecoveryProblem,
    vector: Tensor,
    number: int,
    generator: torch.Generator,
    rtol: float = 1e-3,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the leading values and vectors of :math:`\mathcal{A}^*(q)`.

    Singular triplets, or, in a symmetric problem, the largest eigenvalues of the
    Hermitian part with their vectors twice.
    """
    number = min(number, *problem.linear_map.in_shape)
    linear_map = problem.linear_map
    if problem.is_symmetric:
        values, vectors = leading_eigenpairs(
            linear_map, vector, number, generator=generator, rtol=rtol
        )
        return values, vectors, vectors
    left, values, right = leading_triplets(
        linear_map, vector, number, generator=generator, rtol=rtol
    )
    return values, left, right


def size_of(problem: RecoveryProblem, residual: Tensor) -> float:
    """Return the length of the part of a residual that is fitted."""
    return float(torch.linalg.vector_norm(problem.fitted(residual)))


def _descend(
    search: Search,
    fit: Fit,
    penalty: float,
    accuracy: float,
    watch: Observer | None,
) -> Solution[ConjugateState]:
    objective = fit.size**2 / 2.0 + penalty * fit.norm
    decrement = (accuracy * penalty / fit.gain) ** 2 / objective
    solver = ConjugateGradients(rtol=0.0, decrement_rtol=decrement, penalty=penalty)
    observers = search.observers if watch is None else (*search.observers, watch)
    return iterate(
        search.problem,
        solver,
        (fit.left, fit.right),
        max_steps=max(search.max_steps - fit.num_steps, 1),
        observers=observers,
    )


def _as_fit(
    problem: RecoveryProblem,
    before: Fit,
    penalty: float,
    solution: Solution[ConjugateState],
) -> Fit:
    """Return balanced factors without the columns that vanished."""
    state = solution.state
    left, right = without_vanished(state.left, state.right, _VANISHED)
    return Fit(
        left=left,
        right=right,
        residual=state.residual,
        size=size_of(problem, state.residual),
        penalty=penalty,
        gain=before.gain,
        status=solution.status,
        num_steps=before.num_steps + solution.num_steps,
        num_passes=before.num_passes + state.num_passes,
    )


def _widened(
    problem: RecoveryProblem,
    fit: Fit,
    accuracy: float,
    leading: tuple[Tensor, Tensor, Tensor],
) -> Fit | None:
    """Return the fit with new columns, or None if it needs none."""
    values, left, right = leading
    room = min(problem.linear_map.in_shape) - fit.rank
    above = values > (1.0 + _EXCESS * accuracy) * fit.penalty
    number = min(int(above.sum()), room)
    if number == 0:
        return None
    left, right = left[:, :number], right[:, :number]
    slopes = values[:number] - fit.penalty
    images = problem.linear_map.apply_factors(left.mT[..., None], right.mT[..., None])
    energies = (problem.weights * images).abs().square().sum(-1)
    root = (slopes / energies.clamp(min=torch.finfo(energies.dtype).tiny)).sqrt()
    added = torch.cat([fit.left, left * root], dim=-1)
    other = added
    if not problem.is_symmetric:
        other = torch.cat([fit.right, right * root], dim=-1)
    return replace(fit, left=added, right=other, num_passes=fit.num_passes + 2)
