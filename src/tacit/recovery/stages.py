r"""Growth rates while a small start learns one direction after the other.

Descent from a small start acts as a power method on the back-projection of what is not
yet learned. With :math:`X = \sum_j \theta_j u_j v_j^H`, stage j is the time in which
:math:`\theta_1, \dots, \theta_{j-1}` are learned:

.. math:: M_j = \mathcal{A}^* \mathcal{A}\Big(\sum_{i \ge j} \theta_i u_i v_i^H\Big).

Its leading values are rates at which signal directions grow, the next one is the edge
of the bulk: the rate of the noise. ``docs/exponent_law.md`` has the derivation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.back_projection import leading_eigenpairs, leading_triplets
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.spectrum import gap_ratios
from tacit.recovery.trajectory.snapshot import known_signal

# How many leading values are looked at for a gap: a third of all at most, since a bulk
# around zero has wide ratios in its middle.
_MOST_VALUES = 50
# Neighbouring values of the bulk differ by less than this.
_LEAST_GAP = 1.25


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    r"""One stage of learning.

    Parameters
    ----------
    rates : tuple of float
        Leading values of :math:`M_j`, one for each direction left, largest first.
    edge : float
        The next one.
    sizes : tuple of float
        :math:`\theta_j, \theta_{j+1}, \dots`, in the unit of M.
    """

    rates: tuple[float, ...]
    edge: float
    sizes: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Edge over weakest rate: rho, if nothing were learned before the last one."""
        return self.edge / self.rates[-1]


def planted_stages(
    problem: RecoveryProblem, *, generator: torch.Generator
) -> tuple[Stage, ...]:
    r"""Return the stages of a planted instance, with the true directions removed.

    Stage j is the spectrum of the back-projection of :math:`y - \mathcal{A}(X_{j-1})`,
    the best approximation of rank j - 1. What descent has learned by then differs from
    :math:`X_{j-1}` by the order of the isometry defect, which is neglected.

    Parameters
    ----------
    problem : RecoveryProblem
        With ``planted`` and one vector of measurements.
    generator : torch.Generator
        Of the iterative eigensolver; unused up to a side of 500.

    Returns
    -------
    tuple of Stage
        One for each planted direction.

    Raises
    ------
    InputError
        If nothing is planted.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.stages import planted_stages
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((20, 20), 2, oversampling=4.0,
    ...     condition_number=4.0, is_symmetric=True, generator=generator)
    >>> stages = planted_stages(problem, generator=generator)
    >>> [len(stage.rates) for stage in stages]
    [2, 1]
    """
    signal = known_signal(problem)
    if signal is None:
        raise InputError(
            "planted_stages needs problem.planted; use observed_stages where the truth "
            "is not known"
        )
    sizes = [float(value) for value in signal.values]
    stages: list[Stage] = []
    for j in range(len(sizes)):
        residual = problem.measurements
        if j > 0:
            weight = signal.values[:j].to(dtype=signal.left.dtype)
            learned = signal.left[:, :j] * weight.to(signal.left.device)
            residual = residual - problem.linear_map.apply_factors(
                learned, signal.right[:, :j]
            )
        values = _leading_values(
            problem, residual, len(sizes) - j + 1, generator=generator
        )
        stages.append(_stage(values, sizes[j:]))
    return tuple(stages)


def observed_stages(
    problem: RecoveryProblem,
    rank: int | None = None,
    *,
    generator: torch.Generator,
) -> tuple[Stage, ...]:
    r"""Return the stages as the data alone show them, the truth unknown.

    The leading values :math:`\lambda_i` of :math:`M = \mathcal{A}^*(y)` are signal
    sizes raised by the bulk: for a bulk of independent entries of deviation s,

    .. math:: \lambda_i^2 = (\theta_i^2 + s^2 n_1)(\theta_i^2 + s^2 n_2) / \theta_i^2,
        \quad \text{edge} = s (\sqrt{n_1} + \sqrt{n_2})

    (symmetric: :math:`n_1 = n_2`). We solve for s and :math:`\theta_i`, and scale s in
    stage j by :math:`(\sum_{i \ge j} \theta_i^2 / \sum_i \theta_i^2)^{1/2}`, as it
    is proportional to the norm of what is measured.

    Parameters
    ----------
    problem : RecoveryProblem
        With one vector of measurements.
    rank : int or None
        Number of signal directions; None reads it from the widest ratio of neighbours
        among the leading third of the values, fifty at most.
    generator : torch.Generator
        Of the iterative eigensolver; unused up to a side of 500.

    Returns
    -------
    tuple of Stage

    Raises
    ------
    InputError
        If the rank is out of range, or is to be read and no ratio reaches 1.25.

    Notes
    -----
    A direction weaker than the bulk does not show: its size is taken as the smallest
    that would, so weaker ones make the prediction too good. Measurement noise is in the
    bulk too and is not told apart: the stages suppose exact data.

    References
    ----------
    Benaych-Georges and Nadakuditi (2012), The singular values and vectors of low rank
    perturbations of large rectangular random matrices (the formula for the values).

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.stages import observed_stages
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((30, 30), 2, oversampling=6.0,
    ...     is_symmetric=True, generator=generator)
    >>> len(observed_stages(problem, generator=generator))
    2
    """
    side = min(problem.linear_map.in_shape)
    if rank is None:
        count = min(max(side // 3, 1) + 1, _MOST_VALUES, side)
        values = _leading_values(
            problem, problem.measurements, count, generator=generator
        )
        rank = _read_rank(values)
    elif not 1 <= rank <= side:
        raise InputError(f"rank must be in 1..{side}; got {rank}")
    else:
        values = _leading_values(
            problem, problem.measurements, rank + 1, generator=generator
        )
    first = _stage(values[: rank + 1], [0.0] * rank)
    rows, columns = problem.linear_map.in_shape
    deviation = first.edge / (math.sqrt(rows) + math.sqrt(columns))
    sizes = [_size(value, deviation, rows, columns) for value in first.rates]
    return _scaled_stages(sizes, deviation, rows, columns)


def expected_stages(
    shape: tuple[int, int],
    num_measurements: int,
    singular_values: Sequence[float],
    *,
    is_symmetric: bool = False,
) -> tuple[Stage, ...]:
    r"""Return the stages before any data, for a Gaussian map.

    Given X, the entries of :math:`\mathcal{A}^* \mathcal{A}(X) - X` have deviation
    about :math:`s = \|X\|_F / \sqrt m`, symmetric: :math:`\|X\|_F / \sqrt{2 m}`. So the
    edge is :math:`(\sqrt{n_1} + \sqrt{n_2}) \|X\|_F / \sqrt m`, symmetric:
    :math:`\sqrt{2 n / m}\, \|X\|_F`, and signal values are raised as in
    :func:`observed_stages`.

    Parameters
    ----------
    shape : tuple of int
        ``(num_rows, num_columns)``.
    num_measurements : int
        m, normalised so that :math:`\mathbb{E} \mathcal{A}^* \mathcal{A} =
        \mathrm{Id}`.
    singular_values : sequence of float
        Of X, positive.
    is_symmetric : bool
        Whether X is symmetric, so that the Hermitian part of the back-projection acts.

    Returns
    -------
    tuple of Stage

    Raises
    ------
    InputError
        If an argument is not positive or there are no singular values.

    Examples
    --------
    >>> from tacit.recovery.stages import expected_stages
    >>> stages = expected_stages((200, 200), 10_000, [1.0] * 5, is_symmetric=True)
    >>> round(stages[0].edge, 3), round(stages[0].rates[-1], 3)
    (0.447, 1.05)
    """
    sizes = sorted((float(value) for value in singular_values), reverse=True)
    if not sizes or sizes[-1] <= 0.0 or num_measurements < 1 or min(shape) < 1:
        raise InputError(
            "shape, num_measurements and at least one singular value must be positive; "
            f"got {shape}, {num_measurements} and {list(singular_values)}"
        )
    halves = 2.0 if is_symmetric else 1.0
    deviation = math.hypot(*sizes) / math.sqrt(halves * num_measurements)
    return _scaled_stages(sizes, deviation, *shape)


def _stage(values: Sequence[float], sizes: Sequence[float]) -> Stage:
    count = len(sizes)
    # Of a matrix with no further value there is no noise.
    edge = max(values[count], 0.0) if len(values) > count else 0.0
    return Stage(rates=tuple(values[:count]), edge=edge, sizes=tuple(sizes))


def _leading_values(
    problem: RecoveryProblem,
    measured: Tensor,
    count: int,
    *,
    generator: torch.Generator,
) -> list[float]:
    """Return leading values of the back-projection, at most as many as there are."""
    if measured.dim() != 1:
        raise InputError(
            "stages are of one vector of measurements; got a batch of shape "
            f"{tuple(measured.shape)}; pass its members one by one"
        )
    weighted = problem.weights * measured
    count = min(count, *problem.linear_map.in_shape)
    if problem.is_symmetric:
        values, _ = leading_eigenpairs(
            problem.linear_map, weighted, count, generator=generator
        )
    else:
        _, values, _ = leading_triplets(
            problem.linear_map, weighted, count, generator=generator
        )
    return [float(value) for value in values]


def _read_rank(values: Sequence[float]) -> int:
    ratios = gap_ratios(torch.tensor(values, dtype=torch.float64)).tolist()
    if max(ratios, default=1.0) < _LEAST_GAP:
        raise InputError(
            "the back-projection's leading values must show a gap for the rank to be "
            f"read; the widest ratio is {max(ratios, default=1.0):.3g}; pass rank, or "
            "take more measurements"
        )
    return ratios.index(max(ratios)) + 1


def _scaled_stages(
    sizes: Sequence[float], deviation: float, rows: int, columns: int
) -> tuple[Stage, ...]:
    """Return the stages for a bulk that shrinks with what is left to learn."""
    whole = math.hypot(*sizes)
    stages: list[Stage] = []
    for j in range(len(sizes)):
        left = list(sizes[j:])
        s = deviation * math.hypot(*left) / whole
        edge = s * (math.sqrt(rows) + math.sqrt(columns))
        rates = [max(_value(size, s, rows, columns), edge) for size in left]
        stages.append(Stage(rates=tuple(rates), edge=edge, sizes=tuple(left)))
    return tuple(stages)


def _value(size: float, deviation: float, rows: int, columns: int) -> float:
    """Return the leading value of a signal of that size in a bulk."""
    square, noise = size * size, deviation * deviation
    if square <= noise * math.sqrt(rows * columns):
        return deviation * (math.sqrt(rows) + math.sqrt(columns))
    return math.sqrt((square + noise * rows) * (square + noise * columns)) / size


def _size(value: float, deviation: float, rows: int, columns: int) -> float:
    """Return the signal's size behind a leading value: the inverse of ``_value``."""
    noise = deviation * deviation
    middle = value * value - noise * (rows + columns)
    root = math.sqrt(max(middle * middle - 4.0 * noise * noise * rows * columns, 0.0))
    return math.sqrt(max((middle + root) / 2.0, noise * math.sqrt(rows * columns)))
