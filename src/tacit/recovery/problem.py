r"""What is asked: a low-rank matrix behind linear measurements."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import AbstractLinearMap, require_spec


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """The truth of a planted instance, in factors: ``left @ right^H``.

    Parameters
    ----------
    left : Tensor, shape (num_rows, true_rank)
    right : Tensor, shape (num_columns, true_rank)
        The same tensor as ``left`` in a symmetric instance.
    """

    left: Tensor
    right: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RecoveryProblem:
    r"""Measurements :math:`y = \mathcal{A}(X) + e` of an unknown low-rank X.

    Parameters
    ----------
    linear_map : AbstractLinearMap
        :math:`\mathcal{A}`.
    measurements : Tensor, shape (..., num_measurements)
        y, finite, in the map's dtype; a batch holds several problems with one map.
    is_symmetric : bool
        Whether X is known to be symmetric (Hermitian) positive semidefinite:
        :math:`X = U U^H`.
    held_out : Tensor or None, shape (num_measurements,)
        True for the measurements that no fit may use.
    noise_level : float or None
        Standard deviation of each :math:`e_i`: 0 for exact data, None if not known.
    planted : Planted or None
        The truth, where it is known.

    Raises
    ------
    ShapeError
        If shapes disagree.
    InputError
        If dtypes disagree, a measurement is not finite, the noise level is negative, or
        nothing is left to fit.

    Examples
    --------
    >>> import tacit
    >>> problem = tacit.planted_problem((8, 8), 1, oversampling=3.0, is_symmetric=True,
    ...     generator=tacit.make_generator(0))
    >>> problem.linear_map.in_shape
    (8, 8)
    """

    linear_map: AbstractLinearMap
    measurements: Tensor
    is_symmetric: bool = False
    held_out: Tensor | None = None
    noise_level: float | None = None
    planted: Planted | None = None

    def __post_init__(self) -> None:
        spec = self.linear_map.spec
        require_spec(self.linear_map, "measurements", self.measurements)
        if self.measurements.shape[-1:] != (spec.num_measurements,):
            raise ShapeError(
                f"measurements must have shape (..., {spec.num_measurements}) as the "
                f"map gives them; got {tuple(self.measurements.shape)}"
            )
        if not bool(torch.isfinite(self.measurements).all()):
            raise InputError("measurements must be finite; drop the others first")
        if self.is_symmetric and spec.in_shape[0] != spec.in_shape[1]:
            raise ShapeError(
                f"a symmetric problem needs a square matrix; got {spec.in_shape}"
            )
        if self.noise_level is not None and not 0.0 <= self.noise_level < math.inf:
            raise InputError(
                "noise_level must be a number of at least 0, or None if it is not "
                f"known; got {self.noise_level}"
            )
        if self.held_out is not None:
            _require_mask(self.held_out, spec.num_measurements)

    @cached_property
    def weights(self) -> Tensor:
        """1 for the measurements to fit and 0 for those held out; real."""
        real = self.measurements.real.dtype
        device = self.measurements.device
        if self.held_out is None:
            size = self.linear_map.num_measurements
            return torch.ones(size, dtype=real, device=device)
        return (~self.held_out).to(dtype=real, device=device)

    def fitted(self, vector: Tensor) -> Tensor:
        """Return a vector with zeros where measurements are held out; perhaps itself.

        Parameters
        ----------
        vector : Tensor, shape (..., num_measurements)
        """
        return vector if self.held_out is None else self.weights * vector

    @cached_property
    def squared_sizes(self) -> Tensor:
        """Sums of squares of the measurements to fit, and of those held out."""
        return self.sums_of_squares(self.measurements)

    def sums_of_squares(self, vector: Tensor) -> Tensor:
        """Return the sums of squares over the fitted part and over the held-out part.

        Parameters
        ----------
        vector : Tensor, shape (..., num_measurements)

        Returns
        -------
        Tensor, shape (2, ...)
            Real; the second is 0 if nothing is held out.
        """
        if self.held_out is None:
            fitted = inner(vector, vector)
            return torch.stack([fitted, torch.zeros_like(fitted)])
        kept = vector * self.weights
        held = vector[..., self._places]
        return torch.stack([inner(kept, kept), inner(held, held)])

    @cached_property
    def _places(self) -> Tensor:
        """Where the measurements held out are."""
        return (self.weights == 0.0).nonzero()[:, 0]


def squares_and_errors(
    problem: RecoveryProblem, residual: Tensor
) -> tuple[float, float, float]:
    r"""Return :math:`\sum_i w_i |r_i|^2` and the relative errors of a residual.

    Parameters
    ----------
    problem : RecoveryProblem
        Without a batch.
    residual : Tensor, shape (num_measurements,)
        r.

    Returns
    -------
    squares : float
    train_error, held_out_error : float
        :math:`\|r\| / \|y\|` over the measurements fitted (:math:`\|r\|` if those are
        zero), and over those held out (NaN if there are none, or they are zero).
    """
    if problem.held_out is None:  # the usual way, in every step of a solver
        squares, held = torch.vdot(residual, residual).item().real, 0.0
    else:
        squares, held = problem.sums_of_squares(residual).tolist()
    size, held_size = problem.squared_sizes.tolist()
    train_error = math.sqrt(squares / size) if size > 0.0 else math.sqrt(squares)
    held_out_error = math.sqrt(held / held_size) if held_size > 0.0 else math.nan
    return squares, train_error, held_out_error


def relative_errors(problem: RecoveryProblem, residual: Tensor) -> tuple[float, float]:
    """Return the train error and the held-out error of a residual."""
    return squares_and_errors(problem, residual)[1:]


def inner(first: Tensor, second: Tensor) -> Tensor:
    """Return the real part of the inner product of vectors, batch dimensions first."""
    if first.dim() == 1:  # several times faster than the general way
        return torch.vdot(first, second).real
    return torch.linalg.vecdot(first, second).real


def _require_mask(held_out: Tensor, size: int) -> None:
    if held_out.dtype != torch.bool or held_out.shape != (size,):
        raise ShapeError(
            f"held_out must be boolean of shape ({size},); got {held_out.dtype} of "
            f"shape {tuple(held_out.shape)}"
        )
    if bool(held_out.all()):
        raise InputError("every measurement is held out; leave some to fit")


def hold_out(
    problem: RecoveryProblem, fraction: float, *, generator: torch.Generator
) -> RecoveryProblem:
    """Return the problem with a random part of its measurements held out.

    Parameters
    ----------
    problem : RecoveryProblem
        Whatever it held out before is fitted again.
    fraction : float
        In [0, 1): part of the measurements, rounded to the nearest number; 0 holds
        out none.
    generator : torch.Generator
        Draws which (on the CPU).

    Returns
    -------
    RecoveryProblem

    Raises
    ------
    InputError
        If the fraction is out of range.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((6, 5), 1, oversampling=2.0,
    ...     generator=generator)
    >>> int(tacit.hold_out(problem, 0.25, generator=generator).held_out.sum())
    5
    """
    if not 0.0 <= fraction < 1.0:
        raise InputError(f"fraction held out must be in [0, 1); got {fraction}")
    size = problem.linear_map.num_measurements
    count = min(round(fraction * size), size - 1)
    held_out: Tensor | None = None
    if count > 0:
        chosen = torch.randperm(size, generator=generator)[:count]
        held_out = torch.zeros(size, dtype=torch.bool)
        held_out[chosen] = True
        held_out = held_out.to(problem.measurements.device)
    return RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=problem.measurements,
        is_symmetric=problem.is_symmetric,
        held_out=held_out,
        noise_level=problem.noise_level,
        planted=problem.planted,
    )


def degrees_of_freedom(
    shape: tuple[int, int], rank: int, *, is_symmetric: bool = False
) -> int:
    """Return the dimension of the set of matrices of a rank.

    ``rank * (num_rows + num_columns - rank)``; symmetric (real): ``rank * (2 * size -
    rank + 1) / 2``. With fewer measurements than that no method can succeed; complex
    matrices have that many complex unknowns (Hermitian: ``rank * (2 * size - rank)``
    real ones).

    Parameters
    ----------
    shape : tuple of int
        ``(num_rows, num_columns)``.
    rank : int
    is_symmetric : bool

    Returns
    -------
    int

    Examples
    --------
    >>> from tacit.recovery.problem import degrees_of_freedom
    >>> degrees_of_freedom((200, 200), 5, is_symmetric=True)
    990
    """
    rows, columns = shape
    if is_symmetric:
        return rank * (2 * rows - rank + 1) // 2
    return rank * (rows + columns - rank)


def num_unknowns(problem: RecoveryProblem, rank: int) -> int:
    """Return the degrees of freedom of the problem's matrices of a rank.

    Counted as the measurements are: complex unknowns for a complex rectangular matrix,
    real ones for a Hermitian matrix (about twice those of a real symmetric one).
    """
    is_real = not problem.measurements.is_complex()
    return degrees_of_freedom(
        problem.linear_map.in_shape, rank, is_symmetric=problem.is_symmetric and is_real
    )


def widest_rank(problem: RecoveryProblem, part: float = 1.0) -> int:
    """Return the largest rank with at most this part of the measurements as unknowns.

    Parameters
    ----------
    problem : RecoveryProblem
    part : float
        Of the measurements that are fitted.

    Returns
    -------
    int
        0 to the smaller side of the matrix.
    """
    most = part * float(problem.weights.sum(dtype=torch.float64))
    low, high = 0, min(problem.linear_map.in_shape)
    while low < high:  # the count increases with the rank up to the smaller side
        middle = (low + high + 1) // 2
        if num_unknowns(problem, middle) <= most:
            low = middle
        else:
            high = middle - 1
    return low
