r"""What recovery answers: the matrix in factors, how good it is, and why this way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from matplotlib.figure import Figure
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.recovery.held_out import HeldOutError
from tacit.recovery.history import History
from tacit.recovery.history_figure import history_figure
from tacit.recovery.spectrum import factor_spectrum
from tacit.recovery.trajectory.figures import phase_figure, spectrum_figure
from tacit.recovery.trajectory.recorder import Trajectory


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RecoveryResult:
    r"""A low-rank matrix and what is known about it.

    Parameters
    ----------
    left : Tensor, shape (num_rows, rank)
    right : Tensor, shape (num_columns, rank)
        :math:`\hat X = L R^H`; the same tensor as ``left`` in a symmetric problem.
    train_error : float
        :math:`\|\mathcal{A}(\hat X) - y\| / \|y\|` over the measurements fitted.
    held_out : HeldOutError or None
        The same over those held out, with confidence intervals.
    status : Status
        How the run ended, with advice.
    method : str
        What found it, in the field's words.
    reason : str
        Why this method and this rank were taken.
    warnings : tuple of str
        Why the measurements may not determine the matrix; empty if nothing was found.
    num_steps : int
        Steps of all phases together.
    num_passes : int
        How often the measurements of a matrix and their adjoint were computed.
    seconds : float
        Time of the whole call.
    choices : mapping of str to float
        What was chosen from the data, such as ``search_rank``, ``init_scale`` and
        ``step_size``.
    history : History
        Errors and rank after every step.
    trajectory : Trajectory or None
        The small-start phase, if there was one.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((20, 15), 2, oversampling=4.0,
    ...     generator=generator)
    >>> result = tacit.recover(problem, generator=generator)
    >>> tuple(result.matrix().shape), result.rank
    ((20, 15), 2)
    """

    left: Tensor
    right: Tensor
    train_error: float
    held_out: HeldOutError | None
    status: Status
    method: str
    reason: str
    warnings: tuple[str, ...]
    num_steps: int
    num_passes: int
    seconds: float
    history: History
    choices: Mapping[str, float] = field(default_factory=dict[str, float])
    trajectory: Trajectory | None = None

    @property
    def rank(self) -> int:
        """Number of columns of the factors."""
        return self.left.shape[-1]

    def matrix(self) -> Tensor:
        """Return the matrix, formed: ``num_rows * num_columns`` numbers."""
        return self.left @ self.right.mH

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return some entries of the matrix without forming it.

        Parameters
        ----------
        rows, columns : Tensor of int64, shape (num_entries,)

        Returns
        -------
        Tensor, shape (num_entries,)

        Raises
        ------
        InputError
            If an index is out of range.
        """
        for name, places, factor in (
            ("rows", rows, self.left),
            ("columns", columns, self.right),
        ):
            if places.numel() and not (
                0 <= int(places.min()) <= int(places.max()) < factor.shape[0]
            ):
                raise InputError(
                    f"{name} must be in 0..{factor.shape[0] - 1}; got "
                    f"{int(places.min())}..{int(places.max())}"
                )
        return torch.linalg.vecdot(self.right[columns], self.left[rows])

    def plot(self) -> dict[str, Figure]:
        """Draw what a person would want to look at.

        Returns
        -------
        dict of str to matplotlib Figure
            ``convergence``: errors and rank over the steps, singular values of the
            answer. After a small start also ``phases`` and ``spectrum`` (over time).
            Save one by ``figure.savefig(name)``.
        """
        spectrum = factor_spectrum(self.left, self.right)
        figures = {"convergence": history_figure(self.history, spectrum)}
        if self.trajectory is not None:
            figures["phases"] = phase_figure(self.trajectory)
            figures["spectrum"] = spectrum_figure(self.trajectory)
        return figures
