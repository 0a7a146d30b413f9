r"""The regularised descent of Li, Ling, Strohmer and Wei, with its spectral start."""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError, Status
from tacit.iterate import AbstractSolver
from tacit.recovery.back_projection import leading_triplets
from tacit.recovery.deconvolution.incoherence import (
    IncoherencePenalty,
    nearest_incoherent,
)
from tacit.recovery.deconvolution.problem import frequency_grid, source_maps
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.residual import residual_and_products
from tacit.recovery.problem import RecoveryProblem, squares_and_errors

_TRIPLET_RTOL = 1e-3
_MAX_HALVINGS = 40
_ARMIJO = 0.1  # part of half the promised decrease that a step must bring


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class IncoherentStart:
    r"""Where the descent starts, and the penalty it runs with.

    Parameters
    ----------
    left : Tensor, shape (num_rows, 1)
        Filters of all sources and channels, one below the other.
    right : Tensor, shape (num_columns, 1)
        Conjugated signals of all sources.
    penalty : IncoherencePenalty
    """

    left: Tensor
    right: Tensor
    penalty: IncoherencePenalty


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RegularisedState:
    r"""A point of the descent.

    Parameters
    ----------
    left, right : Tensor
        As in :class:`IncoherentStart`.
    value : float
        :math:`F + G`.
    train_error : float
        :math:`\|r\| / \|y\|` over the measurements fitted.
    gradients : tuple of Tensor
        Wirtinger derivatives of the value.
    step_size : float
        For the next step; of the last one where it is constant.
    decrement : float
        Relative decrease of the value that the last step's slope promised.
    penalty : IncoherencePenalty
    num_passes : int
        Evaluations of the map with its adjoint.
    """

    left: Tensor
    right: Tensor
    value: float
    train_error: float
    gradients: tuple[Tensor, Tensor]
    step_size: float
    decrement: float
    penalty: IncoherencePenalty
    num_passes: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RegularisedDescent(AbstractSolver[RecoveryProblem, RegularisedState]):
    r"""Minimise :math:`\|w \circ (\mathcal{A}(h x^T) - y)\|^2 + G(h, x)`.

    .. math:: h \leftarrow h - \eta \nabla_{\bar h}, \qquad
              x \leftarrow x - \eta \nabla_{\bar x}

    with the Wirtinger derivatives :math:`\nabla_{\bar h} F = \mathcal{A}^*(w \circ r)
    \bar x` and the penalty G of
    :class:`~tacit.recovery.deconvolution.incoherence.IncoherencePenalty`. Several
    channels and several sources are descended on together.

    Parameters
    ----------
    step_size : float or None
        :math:`\eta` in units of one over the largest d of a source; None finds one for
        every step: it tries the length of Barzilai and Borwein, and halves it until the
        value falls by a twentieth of what the slope promises.
    rtol : float
        Converged once ``train_error`` is at most this.
    decrement_rtol : float
        Converged, too, once ``decrement`` is at most this.

    References
    ----------
    Li, Ling, Strohmer and Wei (2019), algorithm 2, with constant step or backtracking;
    Ling and Strohmer (2019), Regularized gradient descent, for several sources
    (recalled). The trial step is that of Barzilai and Borwein (1988); its use here is
    ours.

    Examples
    --------
    >>> import tacit
    >>> from tacit.iterate import iterate
    >>> from tacit.recovery.deconvolution.planted import planted_deconvolution
    >>> from tacit.recovery.deconvolution.regularised import (
    ...     RegularisedDescent, incoherent_start)
    >>> generator = tacit.make_generator(0)
    >>> problem = planted_deconvolution(10, 10, 120, generator=generator)
    >>> start = incoherent_start(problem, generator=generator)
    >>> solution = iterate(problem, RegularisedDescent(), start, max_steps=500)
    >>> solution.state.train_error < 1e-9
    True
    """

    step_size: float | None = None
    rtol: float = 1e-9
    decrement_rtol: float = 1e-14

    def __post_init__(self) -> None:
        if self.step_size is not None and not 0.0 < self.step_size < math.inf:
            raise InputError(
                f"step_size must be a positive number or None; got {self.step_size}"
            )
        for name in ("rtol", "decrement_rtol"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise InputError(f"{name} must be a number of at least 0; got {value}")

    def init(self, problem: RecoveryProblem, start: Any) -> RegularisedState:
        if not isinstance(start, IncoherentStart):
            raise InputError(
                "the regularised descent starts from incoherent_start(problem); got "
                f"{type(start).__name__}"
            )
        unit = 1.0 / max(start.penalty.scales)
        size = 0.5 * unit if self.step_size is None else self.step_size * unit
        point = _evaluate(problem, start.penalty, start.left, start.right)
        return _state(point, start.penalty, size, math.inf, 1)

    def step(
        self, problem: RecoveryProblem, state: RegularisedState
    ) -> RegularisedState:
        slope = sum(float(g.abs().square().sum()) for g in state.gradients)
        size, passes = state.step_size, state.num_passes
        for _ in range(_MAX_HALVINGS):
            point = _evaluate(
                problem,
                state.penalty,
                state.left - size * state.gradients[0],
                state.right - size * state.gradients[1],
            )
            passes += 1
            # To first order the value falls by twice this.
            promised = size * slope
            if (
                self.step_size is not None
                or point.value <= state.value - _ARMIJO * promised
            ):
                break
            size /= 2.0
        else:
            return _state(_point_of(state), state.penalty, size, 0.0, passes)
        decrement = size * slope / state.value if state.value > 0.0 else 0.0
        following = size
        if self.step_size is None:
            following = _trial_size(state, point, size)
        return _state(point, state.penalty, following, decrement, passes)

    def status(
        self, problem: RecoveryProblem, state: RegularisedState
    ) -> Status | None:
        if state.train_error <= self.rtol or state.decrement <= self.decrement_rtol:
            return Status.CONVERGED
        return None


def incoherent_start(
    problem: RecoveryProblem,
    *,
    flatness_bound: float | None = None,
    strength: float | None = None,
    generator: torch.Generator,
) -> IncoherentStart:
    r"""Return the spectral start, projected to flat filters, with its penalty.

    For every source, with the leading singular triplet :math:`(s, \hat h, \hat x)` of
    :math:`\mathcal{A}_s^*(w \circ y)` and :math:`d = s / g`:

    .. math:: x = \sqrt d\, \hat x, \qquad h = \operatorname{argmin}_z
              \|z - \sqrt d\, \hat h\| \quad \text{subject to} \quad
              \sqrt L \max_l |b_l^H z| \le 2 \sqrt d\, \mu.

    Parameters
    ----------
    problem : RecoveryProblem
        Of convolutions, with orthonormal columns in the filters' subspaces. (The paper
        is about circular ones; for linear ones L is the size of the full one: ours.)
    flatness_bound : float or None
        :math:`\mu`; None takes :math:`6 \sqrt{L / (K + N)} / \log L`, as the paper's
        experiments do.
    strength : float or None
        :math:`\rho` of the penalty; None takes :math:`d^2 + 2 \|e\|^2`, the least that
        the paper's theory asks for, with :math:`\|e\|` from the noise level (0 if that
        is not known) and :math:`d^2` the sum over the sources.
    generator : torch.Generator
        For the iteration that large matrices need.

    Returns
    -------
    IncoherentStart

    Raises
    ------
    InputError
        If the problem is not of that kind, its back-projection is zero, or a number is
        out of range.
    ShapeError
        If the problem is a batch.

    Notes
    -----
    The paper has g = 1, right where :math:`\mathbb{E} \mathcal{A}^* \mathcal{A} =
    \mathrm{Id}`; we take :math:`g = \sum_s s_s^2 / \|w \circ y\|^2`, for data of any
    unit: exact data of one source then have :math:`d \le \|h\| \|x\|`, with equality
    if :math:`\hat h, \hat x` are the truth's directions. If d comes out below half of
    it, the penalty moves the answer: finish without it (as ``deconvolve`` does). The
    paper's experiments take the weaker :math:`\rho = d^2 / 100`.

    References
    ----------
    Li, Ling, Strohmer and Wei (2019), algorithm 1 and section 4.
    """
    if problem.measurements.dim() != 1:
        raise ShapeError("the descent takes one problem; call it for each of a batch")
    for name, number in (("flatness_bound", flatness_bound), ("strength", strength)):
        if number is not None and not 0.0 < number < math.inf:
            raise InputError(f"{name} must be a positive number or None; got {number}")
    maps = source_maps(problem.linear_map)
    for part in maps:
        _require_orthonormal(part)
    fitted = problem.weights * problem.measurements
    lefts: list[Tensor] = []
    rights: list[Tensor] = []
    scales: list[float] = []
    bounds: list[float] = []
    pairs = [_leading_pair(part, fitted, generator) for part in maps]
    energy = float(torch.linalg.vector_norm(fitted)) ** 2
    gain = sum(value * value for value, _, _ in pairs) / energy if energy else 0.0
    if not gain > 0.0:
        raise InputError(
            "the measurements to fit must not be zero: no filter and signal can be "
            "told from them; check the data"
        )
    for part, (value, left, right) in zip(maps, pairs, strict=True):
        scale = value / gain
        bound = _default_bound(part) if flatness_bound is None else flatness_bound
        limit = 2.0 * math.sqrt(scale) * bound
        lefts.append(_flattened(part, math.sqrt(scale) * left, limit))
        rights.append(math.sqrt(scale) * right)
        scales.append(scale)
        bounds.append(bound)
    if strength is None:
        noise = (problem.noise_level or 0.0) ** 2 * problem.measurements.numel()
        strength = sum(scale * scale for scale in scales) + 2.0 * noise
    penalty = IncoherencePenalty(
        maps=maps,
        strength=strength,
        scales=tuple(scales),
        flatness_bounds=tuple(bounds),
    )
    return IncoherentStart(
        left=torch.cat(lefts)[:, None],
        right=torch.cat(rights)[:, None],
        penalty=penalty,
    )


def _require_orthonormal(part: ConvolutionMap) -> None:
    if not all(subspace.spec.is_orthonormal for subspace in part.filters):
        raise InputError(
            "the regularised descent needs filter subspaces with orthonormal columns; "
            "make them so with orthonormalised()"
        )


def _leading_pair(
    part: ConvolutionMap, fitted: Tensor, generator: torch.Generator
) -> tuple[float, Tensor, Tensor]:
    """Return a source's leading triplet."""
    left, values, right = leading_triplets(
        part, fitted, 1, generator=generator, rtol=_TRIPLET_RTOL
    )
    return float(values[0]), left[:, 0], right[:, 0]


def _default_bound(part: ConvolutionMap) -> float:
    length = math.prod(frequency_grid(part))
    unknowns = part.filters[0].dimension + part.signal.dimension
    return 6.0 * math.sqrt(length / unknowns) / math.log(max(length, 2))


def _flattened(part: ConvolutionMap, h: Tensor, limit: float) -> Tensor:
    sizes = [subspace.dimension for subspace in part.filters]
    parts = zip(part.filters, h.split(sizes), strict=True)
    grid = frequency_grid(part)
    return torch.cat(
        [nearest_incoherent(space, own, limit, grid) for space, own in parts]
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Point:
    left: Tensor
    right: Tensor
    value: float
    train_error: float
    gradients: tuple[Tensor, Tensor]


def _evaluate(
    problem: RecoveryProblem, penalty: IncoherencePenalty, left: Tensor, right: Tensor
) -> _Point:
    residual, left_product, right_product = residual_and_products(
        problem.linear_map, left, right, problem.measurements, problem.weights
    )
    squares, train_error, _ = squares_and_errors(problem, residual)
    extra, left_extra, right_extra = penalty.value_and_gradient(left, right)
    return _Point(
        left=left,
        right=right,
        value=squares + extra,
        train_error=train_error,
        gradients=(left_product + left_extra, right_product + right_extra),
    )


def _point_of(state: RegularisedState) -> _Point:
    return _Point(
        left=state.left,
        right=state.right,
        value=state.value,
        train_error=state.train_error,
        gradients=state.gradients,
    )


def _state(
    point: _Point,
    penalty: IncoherencePenalty,
    step_size: float,
    decrement: float,
    num_passes: int,
) -> RegularisedState:
    return RegularisedState(
        left=point.left,
        right=point.right,
        value=point.value,
        train_error=point.train_error,
        gradients=point.gradients,
        step_size=step_size,
        decrement=decrement,
        penalty=penalty,
        num_passes=num_passes,
    )


def _trial_size(state: RegularisedState, point: _Point, size: float) -> float:
    """Return the length of Barzilai and Borwein, within a factor of the last one."""
    squares = curvature = 0.0
    for before, after in zip(state.gradients, point.gradients, strict=True):
        step = -size * before
        squares += float(step.abs().square().sum())
        curvature += float((step.conj() * (after - before)).real.sum())
    if curvature <= 0.0:
        return 2.0 * size
    return min(max(squares / curvature, 0.1 * size), 10.0 * size)
