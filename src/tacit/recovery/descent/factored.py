r"""Descent on the factors of an overparameterised matrix, one gradient per step.

The methods of the papers as they are stated: a constant step, no acceleration, no line
search. What their guarantees need is told with each; constants of theorems are not.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError, Status
from tacit.iterate import AbstractSolver
from tacit.recovery.descent.metric import (
    Metric,
    current_damping,
    require_metric,
    solve_gram,
)
from tacit.recovery.maps.linear_map import require_spec
from tacit.recovery.maps.residual import residual_and_products
from tacit.recovery.problem import RecoveryProblem

Form = Literal["simultaneous", "alternating"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FactoredState:
    r"""A point of the iteration; ``...`` is the batch of runs, if there is one.

    Parameters
    ----------
    left, right : Tensor, shape (..., num_rows, k) and (..., num_columns, k)
        The factors; the same tensor in a symmetric problem.
    residual : Tensor, shape (..., num_measurements)
        :math:`r = \mathcal{A}(L R^H) - y`, held-out measurements included.
    gradients : tuple of Tensor
        Gradients of the loss with respect to ``left`` and ``right`` at this point; the
        same tensor twice in a symmetric problem.
    losses : Tensor, shape (...)
        The loss of every run.
    train_error : Tensor, shape (...)
        :math:`\|r\| / \|y\|` over the fitted measurements of every run; :math:`\|r\|`
        where y is zero.
    value : float
        The largest of the losses: not finite as soon as one run has diverged.
    num_steps : int
        Steps taken since ``init``.
    num_passes : int
        How often :math:`\mathcal{A}` and its adjoint were evaluated, both counted as
        one pass.
    is_stuck : bool
        Whether the last step changed no entry of any factor, so that no further one
        can.
    """

    left: Tensor
    right: Tensor
    residual: Tensor
    gradients: tuple[Tensor, Tensor]
    losses: Tensor
    train_error: Tensor
    value: float
    num_steps: int
    num_passes: int
    is_stuck: bool


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FactoredDescent(AbstractSolver[RecoveryProblem, FactoredState]):
    r"""Gradient descent on factors, plain or in a metric, with a constant step.

    Rectangular problems, with :math:`G = \mathcal{A}^*(w \circ r)` and :math:`r =
    \mathcal{A}(L R^H) - y`:

    .. math::
        f(L, R) = \frac12 \sum_i w_i |r_i|^2, \quad
        L \leftarrow L - \mu\, G R\, P_R, \quad R \leftarrow R - \mu\, G^H L\, P_L

    Symmetric ones, with L = R = U and :math:`H = (G + G^H) / 2` (G itself where the
    map's matrices are Hermitian):

    .. math::
        f(U) = \frac14 \sum_i w_i |r_i|^2, \quad U \leftarrow U - \mu\, H U\, P_U

    ``metric`` and ``damping`` :math:`d` choose :math:`P_F`:

    ================= =================================== =========================
    metric            :math:`P_F`                         method
    ================= =================================== =========================
    ``"euclidean"``   :math:`I`                           gradient descent
    ``"scaled"``      :math:`(F^H F)^{-1}`                ScaledGD; APGD if alternating
    ``"damped"``      :math:`(F^H F + d I)^{-1}`          ScaledGD(lambda)
    ``"loss_damped"`` :math:`(F^H F + d \sqrt f I)^{-1}`  PrecGD
    ================= =================================== =========================

    A start is a pair ``(left, right)`` as :func:`~tacit.recovery.start.small_start`
    and :func:`~tacit.recovery.start.spectral_start` return it. Leading batch dimensions
    are independent runs (seeds, init scales) that share every pass over the
    measurement matrix; those of the problem's measurements are broadcast against them.

    Parameters
    ----------
    step_size : float
        :math:`\mu > 0`. With the euclidean metric its unit is that of 1 / X for maps
        with :math:`\mathbb{E} \mathcal{A}^* \mathcal{A} = \mathrm{Id}` (paper 4: 1/4
        for a spectral norm of one); with the others it is a number of order one there.
        See :func:`~tacit.recovery.start.default_step_size`.
    metric : {"euclidean", "scaled", "damped", "loss_damped"}
        As above.
    damping : float
        d: positive with the two damped metrics, else 0.
    form : {"simultaneous", "alternating"}
        Whether R is moved by its gradient at the old L, or at the new one (rectangular
        problems only).
    rtol : float
        Converged once ``train_error`` of every run is at most this.

    Raises
    ------
    InputError
        If an option is out of range.

    Notes
    -----
    Cost of a step with n_1 rows, n_2 columns and a stored map: one pass that reads
    the measurement matrix once and takes 4 m n_1 n_2 flops (half of it for packed
    symmetric matrices), and 6 n_1 n_2 k flops for the product L R^H and the two
    gradients; entries take 6 m k flops instead of all that. Metrics other than the
    euclidean add 4 (n_1 + n_2) k^2 + 2 k^3 / 3. The alternating form takes two passes.

    Divergence ends a run of :func:`~tacit.iterate.iterate` with ``NON_FINITE``; so does
    a Gram matrix that is singular to working precision, which ``"scaled"`` meets
    whenever k exceeds the rank of the matrix that it converges to. ``STALLED`` means
    that a step changed no bit of the factors.

    What is known, with kappa the condition number of the truth X, r its rank, k the
    number of columns and alpha the init scale; "recalled" and "second-hand" say that a
    statement was not read in the paper itself, "measured" that it is our observation:

    * Gradient descent, symmetric, small start: Stoeger and Soltanolkotabi (2021), paper
      4: after a number of steps logarithmic in 1 / alpha the error is at most a
      constant times :math:`\alpha^{21/16}`, if the restricted isometry constant of
      order 2r + 1 is at most :math:`c \kappa^{-2} r^{-1/2}` and :math:`\mu \le c
      \kappa^{-2} / \|X\|` (second-hand; the paper's kappa is that of a factor, the
      root of ours). With k = r it converges linearly afterwards (recalled); with k > r
      no faster than 1 / T^2 (Xiong, Ding and Du 2024).
    * Gradient descent, rectangular, small start: Soltanolkotabi, Stoeger and Xie
      (2023), paper 2: error at most :math:`\alpha^{3/5} \|X\|^{7/10}`, if the constant
      of order 2(r + 1) is at most :math:`c \kappa^{-3} r^{-1/2}`, for steps of at most
      :math:`c \kappa^{-5} / \|X\|` over a logarithm (recalled).
    * ScaledGD: Tong, Ma and Chi (2021): from a spectral start with k = r, linear at a
      rate free of kappa for steps up to 2/3 (recalled).
    * ScaledGD(lambda): Xu, Shen, Chi and Ma (2023): small start, k >= r, damping of the
      order of the smallest nonzero singular value of X: of the order of
      :math:`\log\kappa \log(\kappa n) + \log(1/\varepsilon)` steps. A damping far below
      that multiplies noise in the first steps and may diverge (measured).
    * PrecGD: Zhang, Fattahi and Zhang (2021): close to the truth, linear at a rate free
      of kappa with k >= r. From a tiny start with k close to n it stalls at
      interpolants that are not the truth (measured).
    * APGD (arXiv 2502.00463): alternating, undamped, close to the truth. From tiny
      starts the two factors drift apart by many orders of magnitude (measured).

    Examples
    --------
    >>> import tacit
    >>> from tacit.iterate import iterate
    >>> from tacit.recovery.descent.factored import FactoredDescent
    >>> from tacit.recovery.start import small_start
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((20, 20), 1, oversampling=6.0,
    ...     is_symmetric=True, generator=generator)
    >>> start = small_start(problem, 10, 1e-4, generator=generator)
    >>> solution = iterate(problem, FactoredDescent(step_size=0.25), start,
    ...     max_steps=100)
    >>> float(solution.state.train_error) < 1e-3
    True
    """

    step_size: float
    metric: Metric = "euclidean"
    damping: float = 0.0
    form: Form = "simultaneous"
    rtol: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.step_size < math.inf:
            raise InputError(
                f"step_size must be a positive number; got {self.step_size}"
            )
        require_metric(self.metric, self.damping)
        if self.form not in ("simultaneous", "alternating"):
            raise InputError(
                f"form must be simultaneous or alternating; got {self.form!r}"
            )
        if not 0.0 <= self.rtol < math.inf:
            raise InputError(f"rtol must be a number of at least 0; got {self.rtol}")

    def init(self, problem: RecoveryProblem, start: Any) -> FactoredState:
        if problem.is_symmetric and self.form == "alternating":
            raise InputError(
                "the alternating form needs two factors and a symmetric problem has "
                "one; use the simultaneous form"
            )
        left, right = _require_factors(problem, *start)
        return _arrive(problem, left, right, num_steps=0, num_passes=1)

    def step(self, problem: RecoveryProblem, state: FactoredState) -> FactoredState:
        left = state.left - self._move(state.gradients[0], state.right, state.losses)
        num_passes = state.num_passes + 1
        if problem.is_symmetric:
            right = left
        else:
            gradient, losses = state.gradients[1], state.losses
            if self.form == "alternating":
                between = _arrive(problem, left, state.right, num_steps=0, num_passes=0)
                gradient, losses = between.gradients[1], between.losses
                num_passes += 1
            opposite = left if self.form == "alternating" else state.left
            right = state.right - self._move(gradient, opposite, losses)
        return _arrive(
            problem,
            left,
            right,
            num_steps=state.num_steps + 1,
            num_passes=num_passes,
            is_stuck=torch.equal(left, state.left) and torch.equal(right, state.right),
        )

    def status(self, problem: RecoveryProblem, state: FactoredState) -> Status | None:
        if bool((state.train_error <= self.rtol).all()):
            return Status.CONVERGED
        return Status.STALLED if state.is_stuck else None

    def _move(self, gradient: Tensor, opposite: Tensor, losses: Tensor) -> Tensor:
        """Return what is taken from the factor whose partner is ``opposite``."""
        if self.metric != "euclidean":
            damping = current_damping(self.metric, self.damping, losses)
            gradient = solve_gram(gradient, opposite, damping)
        return self.step_size * gradient


def _arrive(
    problem: RecoveryProblem,
    left: Tensor,
    right: Tensor,
    *,
    num_steps: int,
    num_passes: int,
    is_stuck: bool = False,
) -> FactoredState:
    """Evaluate residual, gradients and loss at a point, in one pass."""
    weights = problem.weights
    residual, left_gradient, right_gradient = residual_and_products(
        problem.linear_map, left, right, problem.measurements, weights
    )
    if problem.is_symmetric:
        left_gradient = right_gradient = (left_gradient + right_gradient) / 2.0
    sizes = (weights * problem.measurements.abs().square()).sum(-1)
    squares = (weights * residual.abs().square()).sum(-1)
    losses = squares / (4.0 if problem.is_symmetric else 2.0)
    return FactoredState(
        left=left,
        right=right,
        residual=residual,
        gradients=(left_gradient, right_gradient),
        losses=losses,
        train_error=(squares / torch.where(sizes > 0.0, sizes, 1.0)).sqrt(),
        value=float(losses.amax()),
        num_steps=num_steps,
        num_passes=num_passes,
        is_stuck=is_stuck,
    )


def _require_factors(
    problem: RecoveryProblem, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the start in the batch of the run; refuse one that does not fit."""
    for name, factor in (("left", left), ("right", right)):
        require_spec(problem.linear_map, f"{name} of the start", factor)
    rows, columns = problem.linear_map.in_shape
    expected = ((rows, left.shape[-1]), (columns, left.shape[-1]))
    if (left.shape[-2:], right.shape[-2:]) != expected or left.shape[-1] < 1:
        raise ShapeError(
            f"a start must have factors of shapes (..., {rows}, k) and (..., {columns},"
            f" k) with k at least 1; got {tuple(left.shape)} and {tuple(right.shape)}"
        )
    if problem.is_symmetric and right is not left and not torch.equal(left, right):
        raise InputError(
            "a symmetric problem has one factor but left and right of the start "
            "differ; pass the same tensor twice"
        )
    try:
        batch = torch.broadcast_shapes(
            left.shape[:-2], right.shape[:-2], problem.measurements.shape[:-1]
        )
    except RuntimeError as error:
        raise ShapeError(
            f"batches of the start, {tuple(left.shape[:-2])} and "
            f"{tuple(right.shape[:-2])}, and of the measurements, "
            f"{tuple(problem.measurements.shape[:-1])}, must broadcast"
        ) from error
    left = left.expand(*batch, *left.shape[-2:])
    return left, (
        left if problem.is_symmetric else right.expand(*batch, *right.shape[-2:])
    )
