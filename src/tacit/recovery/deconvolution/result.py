r"""What blind deconvolution answers."""

from dataclasses import dataclass
from typing import final

import torch
from matplotlib.figure import Figure
from torch import Tensor

from tacit.bracket import Bracket
from tacit.errors import Status
from tacit.recovery.deconvolution.coherence import Coherence
from tacit.recovery.deconvolution.figures import deconvolution_figure
from tacit.recovery.deconvolution.problem import source_maps
from tacit.recovery.deconvolution.scale import Scale
from tacit.recovery.nuclear.certify import NuclearCertificate
from tacit.recovery.nuclear.program import NuclearProgram


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DeconvolutionResult:
    r"""Filters and signals whose convolutions explain an observation.

    Parameters
    ----------
    filters : tuple of Tensor
        On their grids; source by source, in each channel by channel.
    signals : tuple of Tensor
        On their grids; one for each source.
    filter_coefficients, signal_coefficients : tuple of Tensor
        The same in the subspaces' own coordinates.
    scale : str
        Which of all pairs (a h, x / a) these are; see
        :func:`~tacit.recovery.deconvolution.scale.scale_factor`.
    observation : Tensor
        The sum of the convolutions, as long as the measurements.
    misfit : float
        :math:`\|w \circ (\text{observation} - y)\|`, in the unit of y.
    relative_misfit : float
        The same over :math:`\|w \circ y\|`.
    program : NuclearProgram
        The convex programme that the certificate is about, in orthonormal coordinates
        of the subspaces.
    left, right : Tensor
        Factors of its solution, in those coordinates.
    certificate : NuclearCertificate
        How far that is from the optimum.
    spectra : tuple of Tensor
        Singular values of the solution, source by source.
    energy : float
        Part of the squared singular values that the leading ones (one for each source)
        hold: 1 where the solution has rank one, and the signals are all of it.
    coherence : tuple of Coherence
        One for each filter.
    method, reason : str
        How the answer was found, and why that way.
    status : Status
    warnings : tuple of str
        What makes the answer doubtful; empty if nothing was found.
    num_steps : int
    seconds : float

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.deconvolution.deconvolve import deconvolve
    >>> from tacit.recovery.deconvolution.planted import planted_deconvolution
    >>> generator = tacit.make_generator(0)
    >>> problem = planted_deconvolution(6, 8, 80, noise=0.05, generator=generator)
    >>> result = deconvolve(problem, generator=generator)
    >>> tuple(result.filters[0].shape), tuple(result.signal_coefficients[0].shape)
    ((80,), (8,))
    >>> result.certificate.relative_gap < 1e-6
    True
    """

    filters: tuple[Tensor, ...]
    signals: tuple[Tensor, ...]
    filter_coefficients: tuple[Tensor, ...]
    signal_coefficients: tuple[Tensor, ...]
    scale: Scale
    observation: Tensor
    misfit: float
    relative_misfit: float
    program: NuclearProgram
    left: Tensor
    right: Tensor
    certificate: NuclearCertificate
    spectra: tuple[Tensor, ...]
    energy: float
    coherence: tuple[Coherence, ...]
    method: str
    reason: str
    status: Status
    warnings: tuple[str, ...]
    num_steps: int
    seconds: float

    @property
    def bracket(self) -> Bracket:
        """The certified bracket of the smallest nuclear norm."""
        return self.certificate.value

    @property
    def rank(self) -> int:
        """Rank of the convex programme's solution; 1 for each source is exact."""
        return self.certificate.rank

    @property
    def noise_bound(self) -> float:
        """Radius of the noise ball, in the unit of y."""
        return self.program.noise_bound or 0.0

    def plot(self, truth: Tensor | None = None) -> dict[str, Figure]:
        """Draw what a person would want to look at.

        Parameters
        ----------
        truth : Tensor or None, shape grid of the signal
            The true signal, where it is known, in any scale.

        Returns
        -------
        dict of str to matplotlib Figure
            ``deconvolution``: the observation, filters and signals, and the singular
            values of the convex programme's solution. Save it by
            ``figure.savefig(name)``.
        """
        problem = self.program.problem
        part = source_maps(problem.linear_map)[0]
        observed = problem.measurements.reshape(-1, *part.out_grid)
        spectrum = torch.cat(self.spectra).sort(descending=True).values
        figure = deconvolution_figure(
            observed,
            filters=self.filters,
            signals=self.signals,
            spectrum=spectrum,
            norm=self.bracket,
            truth=truth,
        )
        return {"deconvolution": figure}
