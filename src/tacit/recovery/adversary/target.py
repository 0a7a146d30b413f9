r"""The instance that is attacked, and the programme's answer to a noise."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.adversary.optimality import RankSystem, refine
from tacit.recovery.nuclear.ball import ResidualBall, residual_ball
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.shrink import shrink_singular_values
from tacit.recovery.problem import RecoveryProblem

_RELAXATION = 1.6
_FIRST_TRY = 25  # splitting steps before Newton's method is tried
_NEXT_TRY = 1.3  # later tries, as a multiple of the steps so far
_MAX_DIMENSION = 2.0  # of the tangent space for such a try, over the measurements
_DUAL_SLACK = 1e-9  # by which a refined dual point may leave its feasible set
_SMALLEST_STEP = 1e-4


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseTarget:
    r"""A planted instance and the size of the noise, with what is computed once.

    Parameters
    ----------
    problem : RecoveryProblem
        Its measurements are :math:`w \circ \mathcal{A}(X_0)`, free of noise.
    truth : Tensor, shape (num_rows, num_columns)
        :math:`X_0`, formed.
    noise_bound : float
        :math:`\tau`, positive.
    ball : ResidualBall
        Of the problem.
    """

    problem: RecoveryProblem
    truth: Tensor
    noise_bound: float
    ball: ResidualBall

    @property
    def relative_noise(self) -> float:
        r""":math:`\tau / \|w \circ \mathcal{A}(X_0)\|`."""
        return self.noise_bound / float(
            torch.linalg.vector_norm(self.problem.measurements)
        )

    @cached_property
    def nuclear_norm(self) -> float:
        """Of the truth."""
        return float(torch.linalg.svdvals(self.truth).sum())

    @cached_property
    def step(self) -> float:
        """Splitting step: in proportion to the noise, as the small singular values."""
        largest = float(torch.linalg.matrix_norm(self.truth, 2))
        return largest * min(max(self.relative_noise, _SMALLEST_STEP), 0.3)

    def program(self, noise: Tensor) -> NuclearProgram:
        """Return the programme that sees this noise."""
        problem = replace(self.problem, measurements=self.problem.measurements + noise)
        return NuclearProgram(problem=problem, noise_bound=self.noise_bound)

    def into_ball(self, noise: Tensor) -> Tensor:
        r"""Return the noise, cut down to length tau if it is longer."""
        noise = self.problem.weights * noise
        size = float(torch.linalg.vector_norm(noise))
        return noise * (self.noise_bound / size) if size > self.noise_bound else noise

    def draw(self, generator: torch.Generator) -> Tensor:
        r"""Draw a noise of length tau, its direction uniform on the sphere."""
        measurements = self.problem.measurements
        double = torch.complex128 if measurements.is_complex() else torch.float64
        drawn = torch.randn(measurements.shape, generator=generator, dtype=double)
        drawn = self.problem.weights * drawn.to(measurements)
        return drawn * (self.noise_bound / torch.linalg.vector_norm(drawn))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    r"""The programme's optimum for one noise.

    Parameters
    ----------
    matrix : Tensor, shape (num_rows, num_columns)
        :math:`\hat X`.
    dual : Tensor, shape (num_measurements,)
        q, before it is scaled into :math:`\|\mathcal{A}^*(q)\| \le 1`.
    error : float
        :math:`\|\hat X - X_0\|_F`.
    relative_gap : float
        Between the nuclear norm and the dual value, in float64.
    system : RankSystem or None
        The refined optimum; None where that failed, or the optimum is zero.
    """

    matrix: Tensor
    dual: Tensor
    error: float
    relative_gap: float
    system: RankSystem | None


def noise_target(problem: RecoveryProblem, noise_bound: float) -> NoiseTarget:
    """Check what is to be attacked; costs one eigendecomposition.

    Raises
    ------
    InputError
        If the truth is not known or zero, the noise bound is not positive, or the
        problem is symmetric or not in double precision.
    ShapeError
        If the problem is a batch.
    """
    planted = problem.planted
    if planted is None:
        raise InputError(
            "problem must know its truth to measure an error; got planted None; use a "
            "planted problem"
        )
    if not 0.0 < noise_bound < math.inf:
        raise InputError(
            f"noise_bound must be a positive number; got {noise_bound}; without noise "
            "there is nothing to search"
        )
    if problem.is_symmetric:
        raise InputError(
            "problem must not be symmetric; got is_symmetric True; set it to False to "
            "search over all matrices"
        )
    if planted.left.dim() != 2 or problem.measurements.dim() != 1:
        raise ShapeError(
            "the search is about one problem; got a batch of measurements of shape "
            f"{tuple(problem.measurements.shape)}; search them one by one"
        )
    if problem.linear_map.spec.dtype not in (torch.float64, torch.complex128):
        raise InputError(
            "the search needs double precision; got a map in "
            f"{problem.linear_map.spec.dtype}; build it in float64 or complex128"
        )
    clean = problem.linear_map.apply_factors(planted.left, planted.right)
    clean = problem.weights * clean
    if not float(torch.linalg.vector_norm(clean)) > 0.0:
        raise InputError(
            "the planted matrix must leave a trace in the measurements; got zeros; "
            "plant another one"
        )
    problem = replace(problem, measurements=clean, noise_level=0.0)
    return NoiseTarget(
        problem=problem,
        truth=planted.left @ planted.right.mH,
        noise_bound=noise_bound,
        ball=residual_ball(problem),
    )


def solve_for_noise(
    target: NoiseTarget,
    noise: Tensor,
    near: Answer | None = None,
    *,
    max_steps: int = 4000,
) -> Answer:
    r"""Solve the programme for one noise, to rounding where that is possible.

    Newton's method from the nearby answer, if there is one; else, or if that does not
    end at an optimum, Douglas-Rachford steps with tries of Newton's method
    at growing distances.

    Parameters
    ----------
    target : NoiseTarget
    noise : Tensor, shape (num_measurements,)
        e.
    near : Answer or None
        For a similar noise.
    max_steps : int
        Of Douglas-Rachford.

    Returns
    -------
    Answer
        With ``system`` set and a relative gap of about 1e-9 or less, unless the steps
        ran out (then the gap says how far it got) or the optimum is zero.
    """
    program = target.program(noise)
    measurements = program.problem.measurements
    if float(torch.linalg.vector_norm(measurements)) <= target.noise_bound:
        zero = torch.zeros_like(target.truth)
        return _answer(target, program, zero, torch.zeros_like(noise), None)
    shadow = target.truth
    if near is not None and near.system is not None:
        old = near.system
        system = _optimum(program, old.matrix, old.rank, old.multiplier)
        if system is not None:
            return _answer(target, program, system.matrix, system.dual, system)
        adjoint = target.problem.linear_map.adjoint_apply(near.dual)
        shadow = near.matrix + target.step * adjoint
    return _split(target, program, shadow, max_steps)


def _split(
    target: NoiseTarget, program: NuclearProgram, shadow: Tensor, max_steps: int
) -> Answer:
    ball = replace(target.ball, problem=program.problem)
    point, s = shadow, torch.zeros_like(program.problem.measurements)
    next_try = _FIRST_TRY
    for step in range(1, max_steps + 1):
        shrunk = shrink_singular_values(shadow, target.step)
        low_rank = shrunk.left @ shrunk.right.mH
        point, s = ball.project(2.0 * low_rank - shadow, target.noise_bound)
        shadow = shadow + _RELAXATION * (point - low_rank)
        if step == next_try:
            next_try = math.ceil(_NEXT_TRY * step)
            system = _optimum(program, low_rank, shrunk.left.shape[1], None)
            if system is not None:
                return _answer(target, program, system.matrix, system.dual, system)
    return _answer(target, program, point, -s / target.step, None)


def _optimum(
    program: NuclearProgram, matrix: Tensor, rank: int, multiplier: float | None
) -> RankSystem | None:
    """Refine at a rank; None unless that ends at an optimum."""
    rows, columns = program.problem.linear_map.in_shape
    dimension = rank * (rows + columns - rank)
    # The curvature of the nuclear norm makes up for some missing measurements.
    if not 0 < dimension <= _MAX_DIMENSION * float(program.problem.weights.sum()):
        return None
    system = refine(program, matrix, rank, multiplier)
    if system is None or system.normal_norm > 1.0 + _DUAL_SLACK:
        return None
    return system


def _answer(
    target: NoiseTarget,
    program: NuclearProgram,
    matrix: Tensor,
    dual: Tensor,
    system: RankSystem | None,
) -> Answer:
    return Answer(
        matrix=matrix,
        dual=dual,
        error=float(torch.linalg.matrix_norm(matrix - target.truth)),
        relative_gap=_relative_gap(program, matrix, dual),
        system=system,
    )


def _relative_gap(program: NuclearProgram, matrix: Tensor, dual: Tensor) -> float:
    """Duality gap over the nuclear norm; zero for the zero matrix."""
    upper = float(torch.linalg.svdvals(matrix).sum())
    if upper == 0.0:
        return 0.0
    back = program.problem.linear_map.adjoint_apply(dual)
    norm = max(float(torch.linalg.matrix_norm(back, 2)), 1.0)
    lower = float(torch.vdot(dual, program.problem.measurements).real)
    lower -= (program.noise_bound or 0.0) * float(torch.linalg.vector_norm(dual))
    return max(upper - lower / norm, 0.0) / upper
