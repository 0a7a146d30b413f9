"""What a search for a saddle answers: the point, the proof, the rates."""

import math
from dataclasses import dataclass
from typing import final

from matplotlib.figure import Figure
from torch import Tensor

from tacit.errors import Status
from tacit.minimax.certify import SaddleCertificate
from tacit.minimax.descent_ascent import AbstractDescentAscent


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SaddleResult:
    """Where descent-ascent settled, and what is known of that point.

    Parameters
    ----------
    min_player, max_player : Tensor
        The last pair.
    certificate : SaddleCertificate
        What was proved of it, by code that knows nothing of the search.
    solver : AbstractDescentAscent
        The method with its steps; the last one, if steps were shortened on the way.
    reason : str
        Why this method with these steps.
    status : Status
        How the run ended, with advice.
    num_steps : int
        Steps of all phases together.
    predicted_rate : float or None
        Factor of the residual per step by the Jacobian at the end, where the problem
        has a linear discriminator; None elsewhere.
    predicted_rate_at_start : float or None
        The same by the Jacobian at the start: known before any step.
    measured_rate : float or None
        Factor per step of the length of the gradients over the last half of the run;
        None where it is too short to tell.
    history : tuple of float
        Length of both gradients together, as each step evaluated them.
    seconds : float
        Time of the whole call, the certificate included.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(60, num_features=5, latent_dim=3, num_latents=12,
    ...     generator=generator)
    >>> result = tacit.find_saddle(game, tacit.draw_start(game, generator=generator))
    >>> result.certificate.outcome
    'zero-value saddle'
    """

    min_player: Tensor
    max_player: Tensor
    certificate: SaddleCertificate
    solver: AbstractDescentAscent
    reason: str
    status: Status
    num_steps: int
    predicted_rate: float | None
    predicted_rate_at_start: float | None
    measured_rate: float | None
    history: tuple[float, ...]
    seconds: float

    @property
    def is_saddle(self) -> bool:
        """Whether the certificate calls the point a saddle."""
        return self.certificate.outcome != "not converged"

    def plot(self) -> Figure:
        """Draw the gradients along the run, with the predicted rate beside them."""
        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        steps = range(1, len(self.history) + 1)
        axes.semilogy(steps, self.history, label="measured", color="tab:blue")
        rate = self.predicted_rate
        half = len(self.history) // 2
        anchor = self.history[half] if self.history else 0.0
        if rate is not None and 0.0 < rate < 1.0 and anchor > 0.0:
            line = [anchor * math.exp((t - half - 1) * math.log(rate)) for t in steps]
            axes.semilogy(
                steps, line, "--", color="tab:orange", label=f"predicted, {rate:.4f}"
            )
            axes.set_ylim(bottom=min(x for x in self.history if x > 0.0) / 10.0)
        axes.set_xlabel("step")
        axes.set_ylabel("length of both gradients")
        axes.set_title(self.certificate.outcome)
        axes.legend()
        return figure
