r"""What second derivatives say about a point of any saddle problem, near that point.

Nothing global follows. A stationary point is classified by

* a *local Nash* point: x is a local minimum of :math:`f(\cdot, y)` and y a local
  maximum of :math:`f(x, \cdot)`;
* a *local minimax* point: y is a local maximum of :math:`f(x, \cdot)`, and for a
  function h with h(delta) -> 0 and all small delta, :math:`f(x, y) \le \max_{|y' - y|
  \le h(\delta)} f(x', y')` whenever :math:`|x' - x| \le \delta`: the notion for a
  maximising player that moves second, as in training against a discriminator.

Every local Nash point is local minimax.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.func import vjp, vmap

from tacit.errors import InputError
from tacit.minimax.duality_gap import check_single
from tacit.minimax.problem import AbstractSaddleProblem
from tacit.spectral import EigenvalueBound, lanczos_max_eigenvalue

Classification = Literal[
    "local Nash",
    "local minimax",
    "stationary, not minimax",
    "stationary, undecided",
    "not stationary",
]
Apply = Callable[[Tensor], Tensor]

# Entries of both players up to which second derivatives are formed.
DENSE_SIZE = 1024
_LARGEST_SCHUR = 512  # entries of y whose block is inverted for an x of any size
_CHUNK = 128
_FAILURE_PROBABILITY = 1e-10  # of each of at most four Lanczos runs
_MAX_LANCZOS_STEPS = 300
_LANCZOS_RTOL = 1e-4


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LocalOptimality:
    r"""Gradients and curvatures at a point, and what they make of it.

    Parameters
    ----------
    classification : str
        ``local Nash`` and ``local minimax`` as sufficient conditions show;
        ``stationary, not minimax`` where a necessary one fails (a direction in which y
        rises or x falls to second order); ``stationary, undecided`` where a curvature
        is zero up to its tolerance; ``not stationary``.
    min_gradient_norm, max_gradient_norm : float
        Lengths of the gradients with respect to x and y.
    gradient_tolerance : float
        Up to which both count as zero.
    hessian_norm : float
        L, the largest eigenvalue of the second derivatives of f in absolute value.
    curvature_tolerance : float
        What an eigenvalue must exceed to have a sign.
    min_curvature : float
        Smallest eigenvalue of :math:`f_{xx}`.
    max_curvature : float
        Largest eigenvalue of :math:`f_{yy}`.
    schur_curvature : float or None
        Smallest eigenvalue of :math:`f_{xx} - f_{xy} f_{yy}^{-1} f_{yx}`: the curvature
        of :math:`\max_y f` in x. None unless :math:`f_{yy}` is negative definite and
        small enough to be inverted.
    failure_probability : float
        That a curvature is wrong, over the starts of Lanczos; 0 if all were dense.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.minimax.local_optimality import local_optimality
    >>> problem = tacit.FunctionProblem(
    ...     function=lambda x, y: -x**2 + 4 * x * y - 2 * y**2, min_shape=(),
    ...     max_shape=())
    >>> zero = torch.zeros(()).double()
    >>> report = local_optimality(problem, zero, zero)
    >>> report.classification, report.min_curvature, report.schur_curvature
    ('local minimax', -2.0, 2.0)
    """

    classification: Classification
    min_gradient_norm: float
    max_gradient_norm: float
    gradient_tolerance: float
    hessian_norm: float
    curvature_tolerance: float
    min_curvature: float
    max_curvature: float
    schur_curvature: float | None
    failure_probability: float


@final
class _Extreme(NamedTuple):
    """An extreme eigenvalue, between two bounds."""

    value: float
    lower: float
    upper: float
    failure_probability: float


def local_optimality(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    *,
    rtol: float = 1e-4,
    atol: float = 0.0,
    generator: torch.Generator | None = None,
) -> LocalOptimality:
    r"""Classify a point by first and second derivatives.

    With L the norm of the second derivatives of f and z = (x, y), a point is stationary
    if both gradients are at most :math:`L\, \mathrm{rtol} \max(1, \|z\|)` (plus
    ``atol``) long: those of a function of these curvatures at that distance from a
    stationary point. It is a

    * strict local Nash point if :math:`f_{xx} \succ 0` and :math:`f_{yy} \prec 0`;
    * strict local minimax point if :math:`f_{yy} \prec 0` and :math:`f_{xx} - f_{xy}
      f_{yy}^{-1} f_{yx} \succ 0`: by the implicit function theorem :math:`\max_y f`
      near y is a smooth function of x with gradient :math:`f_x` and this second
      derivative.

    Neither :math:`f_{yy}` with a positive eigenvalue nor, where :math:`f_{yy} \prec 0`,
    the other matrix with a negative one occurs at a local minimax point.

    Parameters
    ----------
    problem : AbstractSaddleProblem
        Its gradients must be differentiable by ``torch.func``, at the point at least: a
        ReLU has no second derivative at its kink, and the class is that of the linear
        piece then.
    min_player, max_player : Tensor
        x and y, without batch dimensions.
    rtol, atol : float
        Tolerances of the gradients, see above; atol in their unit.
    generator : torch.Generator or None
        Draws the starts of Lanczos, needed for more than 1024 entries together.

    Returns
    -------
    LocalOptimality

    Raises
    ------
    InputError
        If players are too large for dense second derivatives and no generator is given,
        form a batch or are not finite, or a tolerance is negative.
    ShapeError
        If a player has another shape.

    Notes
    -----
    Up to 1024 entries together second derivatives are formed. Beyond that curvatures
    come from products with them, to 1e-4 L, and the Schur complement only if y has at
    most 512 entries. Curvatures count as zero up to 1e-8 L (float32: 1e-4 L).

    References
    ----------
    Jin, Netrapalli and Jordan (2020), "What is local optimality in
    nonconvex-nonconcave minimax optimization?", Definition 14 and Propositions 18 to
    20 (numbers recalled; the proof is above).

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.minimax.local_optimality import local_optimality
    >>> problem = tacit.FunctionProblem(function=lambda x, y: x**2 + x * y - y**2,
    ...     min_shape=(), max_shape=())
    >>> zero = torch.zeros(()).double()
    >>> local_optimality(problem, zero, zero).classification
    'local Nash'
    """
    check_single(problem, min_player, max_player)
    if not (0.0 <= rtol < 1.0 and 0.0 <= atol < math.inf):
        raise InputError(
            f"rtol must be in [0, 1) and atol not negative; got {rtol} and {atol}"
        )
    for_min, for_max = problem.gradients(min_player, max_player)
    norms = float(for_min.double().norm()), float(for_max.double().norm())
    is_dense = min_player.numel() + max_player.numel() <= DENSE_SIZE
    if is_dense:
        curvatures = _dense(problem, min_player, max_player)
    elif generator is None:
        raise InputError(
            "generator must be given for players of more than "
            f"{DENSE_SIZE} entries together: it draws the starts of Lanczos; pass "
            "generator=tacit.make_generator(0)"
        )
    else:
        curvatures = _iterative(problem, min_player, max_player, generator)
    size = math.hypot(
        float(min_player.double().norm()), float(max_player.double().norm())
    )
    gradient_tolerance = curvatures.norm * rtol * max(1.0, size) + atol
    curvature_tolerance = curvatures.norm * (
        1e-8 if problem.spec.dtype == torch.float64 else 1e-4
    )
    schur = curvatures.schur
    return LocalOptimality(
        classification=(
            _classify(curvatures, curvature_tolerance)
            if max(norms) <= gradient_tolerance
            else "not stationary"
        ),
        min_gradient_norm=norms[0],
        max_gradient_norm=norms[1],
        gradient_tolerance=gradient_tolerance,
        hessian_norm=curvatures.norm,
        curvature_tolerance=curvature_tolerance,
        min_curvature=curvatures.of_min.value,
        max_curvature=curvatures.of_max.value,
        schur_curvature=None if schur is None else schur.value,
        failure_probability=curvatures.failure_probability,
    )


@final
class _Curvatures(NamedTuple):
    norm: float
    of_min: _Extreme  # smallest of f_xx
    of_max: _Extreme  # largest of f_yy
    schur: _Extreme | None  # smallest of the Schur complement
    failure_probability: float


def _classify(curvatures: _Curvatures, tolerance: float) -> Classification:
    of_min, of_max, schur = curvatures.of_min, curvatures.of_max, curvatures.schur
    if of_max.lower > tolerance:
        return "stationary, not minimax"
    if of_max.upper >= -tolerance:
        return "stationary, undecided"
    if of_min.lower > tolerance:
        return "local Nash"
    if schur is not None and schur.lower > tolerance:
        return "local minimax"
    if schur is not None and schur.upper < -tolerance:
        return "stationary, not minimax"
    return "stationary, undecided"


def _product(
    problem: AbstractSaddleProblem, min_player: Tensor, max_player: Tensor
) -> tuple[Apply, Tensor]:
    """Return the product with all second derivatives, and the point, as one vector.

    The matrix is symmetric: the transposed product needs one pass through the gradients
    for all vectors, and no forward differentiation.
    """
    spec, split = problem.spec, min_player.numel()

    def gradients(flat: Tensor) -> Tensor:
        for_min, for_max = problem.gradients(
            flat[:split].reshape(spec.min_shape), flat[split:].reshape(spec.max_shape)
        )
        return torch.cat((for_min.reshape(-1), for_max.reshape(-1)))

    point = torch.cat((min_player.reshape(-1), max_player.reshape(-1)))
    _, transposed, *_ = vjp(gradients, point)

    def product(vector: Tensor) -> Tensor:
        return transposed(vector)[0]

    return product, point


def second_derivatives(
    problem: AbstractSaddleProblem, min_player: Tensor, max_player: Tensor
) -> Tensor:
    """Return all second derivatives of f, x first: dense, symmetric, float64."""
    product, point = _product(problem, min_player, max_player)
    unit = torch.eye(point.numel(), dtype=point.dtype, device=point.device)
    # All at once would hold all intermediate results of the function that many times.
    matrix: Tensor = vmap(product, chunk_size=_CHUNK)(unit).detach().double()
    return (matrix + matrix.mT) / 2


def _dense(
    problem: AbstractSaddleProblem, min_player: Tensor, max_player: Tensor
) -> _Curvatures:
    matrix = second_derivatives(problem, min_player, max_player)
    split = min_player.numel()
    whole = torch.linalg.eigvalsh(matrix)
    norm = float(whole.abs().max())
    # Backward errors of the eigensolver, see tacit.spectral.max_eigenvalue.
    error = 4.0 * matrix.shape[0] * torch.finfo(torch.float64).eps * norm
    f_xx, f_xy, f_yy = (
        matrix[:split, :split],
        matrix[:split, split:],
        matrix[split:, split:],
    )
    of_min = float(torch.linalg.eigvalsh(f_xx)[0])
    values = torch.linalg.eigvalsh(f_yy)
    of_max = float(values[-1])
    schur = None
    if of_max + error < 0.0:
        complement = f_xx - f_xy @ torch.linalg.solve(f_yy, f_xy.mT)
        complement = (complement + complement.mT) / 2
        lowest = torch.linalg.eigvalsh(complement)
        # Rounding of the solve grows with the condition number of f_yy.
        spread = error * (1.0 + (norm / -of_max) ** 2)
        schur = _around(float(lowest[0]), spread)
    return _Curvatures(norm, _around(of_min, error), _around(of_max, error), schur, 0.0)


def _around(value: float, error: float) -> _Extreme:
    return _Extreme(value, value - error, value + error, 0.0)


def _largest(
    apply: Apply, size: int, *, generator: torch.Generator, device: torch.device
) -> EigenvalueBound:
    return lanczos_max_eigenvalue(
        apply,
        size,
        max_steps=_MAX_LANCZOS_STEPS,
        failure_probability=_FAILURE_PROBABILITY,
        generator=generator,
        rtol=_LANCZOS_RTOL,
        device=device,
    )


def _iterative(
    problem: AbstractSaddleProblem,
    min_player: Tensor,
    max_player: Tensor,
    generator: torch.Generator,
) -> _Curvatures:
    """By products with the second derivatives; bounds fail with small probability."""
    native, point = _product(problem, min_player, max_player)
    split, total = min_player.numel(), point.numel()
    max_size = total - split

    def product(vector: Tensor) -> Tensor:
        return native(vector.to(point)).detach().double()

    def on_min(vector: Tensor) -> Tensor:
        return product(torch.cat((vector, vector.new_zeros(max_size))))

    def on_max(vector: Tensor) -> Tensor:
        return product(torch.cat((vector.new_zeros(split), vector)))

    largest = partial(_largest, generator=generator, device=point.device)
    square = largest(lambda v: product(product(v)), total)
    norm = math.sqrt(square.upper)
    if norm == 0.0:
        flat = _around(0.0, 0.0)
        return _Curvatures(0.0, flat, flat, None, square.failure_probability)

    def smallest(apply: Apply, size: int, shift: float) -> _Extreme:
        top = largest(lambda v: shift * v - apply(v), size)
        value = shift - top.value
        return _Extreme(value, shift - top.upper, value, top.failure_probability)

    of_min = smallest(lambda v: on_min(v)[:split], split, norm)
    below = smallest(lambda v: -on_max(v)[split:], max_size, norm)
    of_max = _Extreme(-below.value, -below.upper, -below.lower, 0.0)
    schur = None
    if max_size <= _LARGEST_SCHUR and of_max.upper < 0.0 and of_min.lower <= 0.0:
        unit = torch.eye(max_size, dtype=torch.float64, device=point.device)
        block = torch.stack([on_max(row)[split:] for row in unit])
        inverse = torch.linalg.inv((block + block.mT) / 2)

        def complement(vector: Tensor) -> Tensor:
            image = on_min(vector)
            return image[:split] - on_max(inverse @ image[split:])[:split]

        # |f_xx| + |f_xy|^2 / |largest of f_yy|
        schur = smallest(complement, split, norm + norm * norm / -of_max.upper)
    failure = sum(
        part.failure_probability
        for part in (square, of_min, below, schur)
        if part is not None
    )
    return _Curvatures(norm, of_min, of_max, schur, failure)
