r"""What gradient descent from a small start did, step by step."""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.trajectory.phases import SEPARATION, Phases, find_phases
from tacit.recovery.trajectory.power_iterate import PowerIterate
from tacit.recovery.trajectory.snapshot import (
    Signal,
    known_signal,
    measure_errors,
    measure_factors,
    widest_gap,
)

_CURVES = (
    "train_error",
    "held_out_error",
    "test_error",
    "effective_rank",
    "alignment",
    "power_alignment",
    "signal",
    "noise",
    "imbalance",
    "coupling",
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    r"""The record of one run; all arrays are float64 on the CPU.

    T is the number of recorded steps, r the rank that the angles refer to. In
    rectangular problems :math:`U_t = [L; R] / \sqrt 2` and the signal is that of the
    lifted matrix :math:`[0, X; X^H, 0]` (the symmetrisation of paper 2), so that
    balanced factors have the singular values that they have in a symmetric problem.
    What needs the truth, or is not defined at a step, is NaN.

    Parameters
    ----------
    steps : Tensor, shape (T,)
        Step numbers, int64; 0 is the start.
    train_error : Tensor, shape (T,)
        :math:`\|\mathcal{A}(\hat X) - y\| / \|y\|` over the measurements fitted.
    held_out_error : Tensor, shape (T,)
        The same over those held out.
    test_error : Tensor, shape (T,)
        :math:`\|\hat X - X\|_F / \|X\|_F`.
    spectrum : Tensor, shape (T, k)
        Singular values of :math:`U_t`, largest first.
    effective_rank : Tensor, shape (T,)
        :math:`(\sum_i \sigma_i^2)^2 / \sum_i \sigma_i^4`, which counts equal ones.
    alignment : Tensor, shape (T,)
        Sine of the largest principal angle between the leading r left singular vectors
        of :math:`U_t` and the signal's column space.
    power_alignment : Tensor, shape (T,)
        The same between :math:`U_t` and the power iterate
        :math:`(I + \mu \mathcal{A}^*(y))^t U_0`.
    signal : Tensor, shape (T,)
        r-th singular value of the signal part of :math:`U_t`.
    noise : Tensor, shape (T,)
        Spectral norm of the noise part of :math:`U_t`.
    imbalance : Tensor, shape (T,)
        :math:`\|L^H L - R^H R\|_2`; 0 in symmetric problems.
    coupling : Tensor, shape (T,)
        :math:`\|P^H L - Q^H R\|_F / \|P^H L + Q^H R\|_F` for signal bases P of the rows
        and Q of the columns: near 1 for independent factors, 0 for coupled ones.
    phases : Phases
        Where each phase begins and ends.
    rank : int
        r: planted, given, or read from the last spectrum's widest gap.
    step_size : float
        :math:`\mu`.
    init_scale : float
        :math:`\alpha`.
    is_symmetric : bool
        Whether there is one factor.
    """

    steps: Tensor
    train_error: Tensor
    held_out_error: Tensor
    test_error: Tensor
    spectrum: Tensor
    effective_rank: Tensor
    alignment: Tensor
    power_alignment: Tensor
    signal: Tensor
    noise: Tensor
    imbalance: Tensor
    coupling: Tensor
    phases: Phases
    rank: int
    step_size: float
    init_scale: float
    is_symmetric: bool


@final
class TrajectoryRecorder:
    r"""An observer that records what :class:`Trajectory` holds.

    Every number is computed from the factors' QR decompositions, so that nothing of
    size num_rows x num_columns is formed and singular values far below the square root
    of the rounding unit are still seen.

    Parameters
    ----------
    problem : RecoveryProblem
        What is solved; with ``planted`` the curves that need the truth are recorded.
    start : tuple of Tensor
        (left, right) as given to the solver, recorded as step 0; the same tensor twice
        in a symmetric problem. Batch dimensions come first: each member of the batch
        has its own trajectory.
    step_size : float
        :math:`\mu` of the descent, which the power iterate takes too.
    init_scale : float or Tensor
        :math:`\alpha`; one for each member of the batch, or one for all.
    rank : int or None
        r that the angles refer to; by default the planted one. At most the planted
        rank: then its leading directions count as the signal.
    stride : int
        Record every so many steps.
    has_power_iterate : bool
        Follow :math:`(I + \mu M)^t U_0`, M the (symmetric: Hermitian part of the)
        back-projection :math:`\mathcal{A}^*(y)`. M is formed once where the map is
        stored or M has at most four million entries; else each step costs one adjoint.

    Raises
    ------
    InputError
        If the stride is not positive, the rank is out of range, or the start is not
        finite.

    Notes
    -----
    Once factors are so large that the loss overflows, nothing more is recorded. A
    recorded step costs :math:`O((n_1 + n_2) k^2 + k^3)`, for k columns. Where the
    truth is not known, ``alignment``, ``signal``, ``noise``, ``coupling`` and
    ``test_error`` are NaN, and phases are found from the spectrum and the held-out or
    train error.

    Examples
    --------
    >>> import torch, tacit
    >>> from tacit.recovery.trajectory.recorder import TrajectoryRecorder
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((8, 8), 1, oversampling=3.0, is_symmetric=True,
    ...     generator=generator)
    >>> start = 1e-3 * torch.randn(8, 4, generator=generator, dtype=torch.float64)
    >>> recorder = TrajectoryRecorder(problem, (start, start), step_size=0.25,
    ...     init_scale=2e-3)
    >>> recorder.trajectory().steps.tolist()
    [0]
    """

    def __init__(
        self,
        problem: RecoveryProblem,
        start: tuple[Tensor, Tensor],
        *,
        step_size: float,
        init_scale: float | Tensor,
        rank: int | None = None,
        stride: int = 1,
        has_power_iterate: bool = True,
    ) -> None:
        if stride < 1:
            raise InputError(f"stride must be at least 1; got {stride}")
        self._problem = problem
        self._step_size = step_size
        self._stride = stride
        self._signal = known_signal(problem)
        self._rank = _checked_rank(rank, self._signal, start[0].shape[-1])
        # That of the run: the solver broadcasts start and measurements too.
        self._batch = torch.broadcast_shapes(
            start[0].shape[:-2], start[1].shape[:-2], problem.measurements.shape[:-1]
        )
        scale = torch.as_tensor(init_scale, dtype=torch.float64)
        self._init_scale = scale.expand(self._batch).reshape(-1)
        self._power: PowerIterate | None = None
        if has_power_iterate and self._rank is not None:
            self._power = PowerIterate(problem, start, step_size)
        self._steps: list[int] = []
        self._rows: list[dict[str, Tensor]] = []
        measured = problem.linear_map.apply_factors(*start)
        self._record(0, *start, measured - problem.measurements)
        if not self._steps:
            raise InputError(
                "start must be finite and not so large that the loss overflows; draw "
                "it by small_start"
            )

    def __call__(self, step: int, state: Any) -> None:
        """Record ``state.left``, ``state.right`` and ``state.residual``."""
        if self._power is not None:
            self._power.advance()
        if step % self._stride == 0:
            self._record(step, state.left, state.right, state.residual)

    def _record(self, step: int, left: Tensor, right: Tensor, residual: Tensor) -> None:
        if self._problem.is_symmetric:
            right = left
        if not (_is_moderate(left) and _is_moderate(right)):
            return
        row = measure_errors(self._problem, residual)
        row |= measure_factors(left, right, self._signal, self._rank)
        row["power_alignment"] = torch.tensor(math.nan, dtype=torch.float64)
        if self._power is not None and self._rank is not None:
            row["power_alignment"] = self._power.angle(left, right, self._rank)
        count = math.prod(self._batch)
        spectrum = row.pop("spectrum")
        flat = {k: v.expand(self._batch).reshape(count) for k, v in row.items()}
        width = spectrum.shape[-1]
        flat["spectrum"] = spectrum.expand(*self._batch, width).reshape(count, width)
        self._steps.append(step)
        self._rows.append(flat)

    def trajectory(self, index: int = 0) -> Trajectory:
        """Return what was recorded so far.

        Parameters
        ----------
        index : int
            Which member of the batch, counted in row-major order.

        Returns
        -------
        Trajectory

        Raises
        ------
        InputError
            If the batch has no such member.
        """
        count = math.prod(self._batch)
        if not 0 <= index < count:
            raise InputError(f"index must be in 0..{count - 1}; got {index}")
        steps = torch.tensor(self._steps)
        curves = {
            name: torch.stack([row[name][index] for row in self._rows])
            for name in _CURVES
        }
        spectrum = torch.stack([row["spectrum"][index] for row in self._rows])
        rank = self._rank or widest_gap(spectrum[-1])
        return Trajectory(
            steps=steps,
            spectrum=spectrum,
            phases=_phases(steps, curves, spectrum, rank, self._signal),
            rank=rank,
            step_size=self._step_size,
            init_scale=float(self._init_scale[index]),
            is_symmetric=self._problem.is_symmetric,
            train_error=curves["train_error"],
            held_out_error=curves["held_out_error"],
            test_error=curves["test_error"],
            effective_rank=curves["effective_rank"],
            alignment=curves["alignment"],
            power_alignment=curves["power_alignment"],
            signal=curves["signal"],
            noise=curves["noise"],
            imbalance=curves["imbalance"],
            coupling=curves["coupling"],
        )


def _is_moderate(factor: Tensor) -> bool:
    """Whether the loss, of fourth order in the factor, can be a finite number."""
    # Also false for NaN.
    return bool(factor.abs().max() < torch.finfo(factor.dtype).max ** 0.25)


def _checked_rank(rank: int | None, signal: Signal | None, width: int) -> int | None:
    """Return the number of leading directions to follow, if it is known."""
    if signal is None:
        most = width
    else:
        most = min(width, signal.values.numel())
        rank = most if rank is None else rank
    if rank is not None and not 1 <= rank <= most:
        raise InputError(
            f"rank must be in 1..{most}, the columns of factors and planted truth; got "
            f"{rank}"
        )
    return rank


def _phases(
    steps: Tensor,
    curves: dict[str, Tensor],
    spectrum: Tensor,
    rank: int,
    signal: Signal | None,
) -> Phases:
    """Find the phases with the truth, or as well as it goes without."""
    error = next(
        curves[name]
        for name in ("test_error", "held_out_error", "train_error")
        if name == "train_error" or not bool(curves[name].isnan().any())
    )
    if signal is not None:
        return find_phases(
            steps,
            angle=curves["alignment"],
            size=curves["signal"],
            scale=math.sqrt(float(signal.values[rank - 1])),
            error=error,
        )
    size = spectrum[:, rank - 1]
    # Aligned once the leading values stand out from the rest.
    rest = spectrum[:, rank] if rank < spectrum.shape[1] else torch.zeros_like(size)
    return find_phases(
        steps,
        angle=(rest / size - SEPARATION).clamp(min=0.0) / (1.0 - SEPARATION),
        size=size,
        scale=float(size[-1]) if _has_settled(steps, size) else math.inf,
        error=error,
    )


def _has_settled(steps: Tensor, size: Tensor) -> bool:
    """Whether a size ends with growing at most a tenth as fast as it once did."""
    if steps.numel() < 3:
        return False
    rates = size.log().diff() / steps.diff()
    return bool(rates[-1] <= 0.1 * rates.max())
