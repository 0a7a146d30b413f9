r"""What is asked: the matrix of smallest nuclear norm among those that fit."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.problem import RecoveryProblem


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NuclearProgram:
    r"""A nuclear norm programme, in one of two forms.

    .. math:: \min_X \|X\|_* \quad \text{subject to} \quad
              \|w \circ (\mathcal{A}(X) - y)\|_2 \le \tau

    .. math:: \min_X \tfrac12 \|w \circ (\mathcal{A}(X) - y)\|_2^2 + \lambda \|X\|_*

    over all matrices, or, in a symmetric problem, over the Hermitian positive
    semidefinite ones, whose nuclear norm is their trace. w is 1 on the measurements to
    fit and 0 on those held out.

    Parameters
    ----------
    problem : RecoveryProblem
        Without a batch: map, measurements y, symmetry, what is held out.
    noise_bound : float or None
        :math:`\tau`, at least 0, in the unit of y; None in the second form.
    penalty : float or None
        :math:`\lambda`, positive; None in the first form.

    Raises
    ------
    ShapeError
        If the problem is a batch.
    InputError
        If not exactly one of the two numbers is given, or it is out of range.

    Examples
    --------
    >>> import tacit
    >>> problem = tacit.planted_problem((8, 6), 1, oversampling=3.0,
    ...     generator=tacit.make_generator(0))
    >>> program = tacit.NuclearProgram(problem=problem, noise_bound=0.0)
    >>> truth = problem.planted
    >>> float(program.residual(truth.left, truth.right).abs().max()) < 1e-15
    True
    """

    problem: RecoveryProblem
    noise_bound: float | None = None
    penalty: float | None = None

    def __post_init__(self) -> None:
        if self.problem.measurements.dim() != 1:
            raise ShapeError(
                "a nuclear norm programme is about one problem; got a batch of "
                f"measurements of shape {tuple(self.problem.measurements.shape)}"
            )
        if (self.noise_bound is None) == (self.penalty is None):
            raise InputError(
                "give either noise_bound or penalty; got noise_bound "
                f"{self.noise_bound} and penalty {self.penalty}"
            )
        if self.noise_bound is not None and not 0.0 <= self.noise_bound < math.inf:
            raise InputError(
                f"noise_bound must be a number of at least 0; got {self.noise_bound}"
            )
        if self.penalty is not None and not 0.0 < self.penalty < math.inf:
            raise InputError(f"penalty must be a positive number; got {self.penalty}")

    def residual(self, left: Tensor, right: Tensor) -> Tensor:
        r"""Return :math:`w \circ (\mathcal{A}(L R^H) - y)`."""
        problem = self.problem
        image = problem.linear_map.apply_factors(left, right)
        return problem.weights * (image - problem.measurements)

    def value(self, nuclear_norm: float, residual: Tensor) -> float:
        """Return the objective, whether or not the point is feasible."""
        if self.penalty is None:
            return nuclear_norm
        size = float(torch.linalg.vector_norm(residual))
        return size * size / 2.0 + self.penalty * nuclear_norm
