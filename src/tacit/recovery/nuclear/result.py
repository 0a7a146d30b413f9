r"""What a nuclear norm programme answers: the matrix, the proof, and why this way."""

from dataclasses import dataclass
from typing import final

import torch
from matplotlib.figure import Figure
from torch import Tensor

from tacit.errors import Status
from tacit.recovery.history import History
from tacit.recovery.history_figure import history_figure
from tacit.recovery.nuclear.certify import NuclearCertificate
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.spectrum import factor_spectrum


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NuclearResult:
    r"""A minimiser of a nuclear norm programme and what is known about it.

    Parameters
    ----------
    program : NuclearProgram
        What was asked.
    left : Tensor, shape (num_rows, rank)
    right : Tensor, shape (num_columns, rank)
        :math:`\hat X = L R^H`, balanced; one tensor in a symmetric problem.
    dual : Tensor, shape (num_measurements,)
        The dual vector q that the certificate's lower side comes from.
    certificate : NuclearCertificate
        The bracket of the optimal value, and what q proves besides.
    method : str
        What found it, in the field's words.
    reason : str
        Why this method was taken.
    status : Status
        How the run ended, with advice.
    num_steps : int
        Steps of all phases together.
    num_passes : int
        How often the measurements of a matrix or their adjoint were computed.
    seconds : float
        Time of the whole call, the certificate included.
    history : History
        Errors and rank after every step.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((8, 6), 1, oversampling=3.0,
    ...     generator=generator)
    >>> result = tacit.minimise_nuclear_norm(problem, noise_bound=0.0,
    ...     generator=generator)
    >>> result.rank, round(result.certificate.value.upper.value, 6)
    (1, 1.0)
    """

    program: NuclearProgram
    left: Tensor
    right: Tensor
    dual: Tensor
    certificate: NuclearCertificate
    method: str
    reason: str
    status: Status
    num_steps: int
    num_passes: int
    seconds: float
    history: History

    @property
    def rank(self) -> int:
        """Number of columns of the factors; 0 for the zero matrix."""
        return self.left.shape[-1] if bool(torch.any(self.left)) else 0

    def matrix(self) -> Tensor:
        """Return the matrix, formed: ``num_rows * num_columns`` numbers."""
        return self.left @ self.right.mH

    def plot(self) -> dict[str, Figure]:
        """Draw what a person would want to look at.

        Returns
        -------
        dict of str to matplotlib Figure
            ``convergence``: errors over the steps, and singular values of the answer.
        """
        spectrum = factor_spectrum(self.left, self.right)
        return {"convergence": history_figure(self.history, spectrum)}
