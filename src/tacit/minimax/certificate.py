"""What is known of one point of a saddle problem."""

from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from tacit.bracket import Bracket
from tacit.minimax.cone import ConeFit
from tacit.minimax.duality_gap import DualityGap
from tacit.minimax.local_optimality import LocalOptimality

Outcome = Literal[
    "zero-value saddle",
    "positive-value saddle",
    "saddle",
    "local Nash",
    "local minimax",
    "not converged",
]
Kind = Literal[
    "global, by non-negative least squares",
    "global, by a bound",
    "duality gap",
    "restricted duality gap",
    "local second-order",
]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SaddleCertificate:
    r"""What is proved about one point (x, y).

    Parameters
    ----------
    outcome : str
        ``zero-value saddle`` and ``positive-value saddle`` (problems with a linear
        discriminator), ``saddle`` (convex-concave), ``local Nash`` and ``local
        minimax`` (nothing global), or ``not converged``: nothing of these was shown.
    kind : str
        How: ``global, by non-negative least squares`` where the reachable set is
        exactly a cone; ``global, by a bound`` where a lower bound is all there is (of a
        larger cone, or zero); ``duality gap``; ``restricted duality gap`` to balls
        around the point; ``local second-order``.
    bracket : Bracket
        Of the value of the game, :math:`\min_x \max_y f`; for a restricted gap, of that
        of the game restricted to the balls.
    gap : float
        Upper bound of how far the point is from a solution, in the unit of f, inf where
        nothing global is known. Linear discriminator: :math:`\max_{y'} f(x, y') -
        \text{lower} + \frac12 \|y - r\|^2` with r the residual; otherwise
        the duality gap.
    tolerance : float
        What the test behind ``outcome`` compared with: a length for linear
        discriminators and local certificates, else a gap. See ``certify_saddle``.
    value : float
        f(x, y).
    primal_value : float or None
        :math:`\max_{y'} f(x, y')`, or an upper bound; None where it is not known.
    min_gradient_norm, max_gradient_norm : float
        Lengths of the gradients of f with respect to x and y.
    max_player_distance : float or None
        Of y from the best response to x (linear discriminators).
    cone : ConeFit or None
        The fit behind the lower bound, with its dual vector.
    attaining : Tensor or None
        A minimising player with :math:`\max_y f` equal to the upper side of the
        bracket; ``min_player`` itself or, for the paper's game, weights made from the
        coefficients of ``cone``.
    duality_gap : DualityGap or None
        Where there is one.
    local : LocalOptimality or None
        Where it was asked for.

    Examples
    --------
    >>> import tacit, torch
    >>> game = tacit.MeanMatchingGame(output_weights=torch.tensor([[1.0]]).double(),
    ...     latents=torch.ones(1, 1).double(), target=torch.tensor([-3.0]).double())
    >>> W, d = torch.zeros(1, 1).double(), torch.tensor([3.0]).double()
    >>> certificate = tacit.certify_saddle(game, W, d)
    >>> certificate.outcome, certificate.primal_value, certificate.is_saddle
    ('positive-value saddle', 4.5, True)
    >>> round(certificate.bracket.lower.value, 9), certificate.kind
    (4.5, 'global, by non-negative least squares')
    """

    outcome: Outcome
    kind: Kind
    bracket: Bracket
    gap: float
    tolerance: float
    value: float
    primal_value: float | None
    min_gradient_norm: float
    max_gradient_norm: float
    max_player_distance: float | None = None
    cone: ConeFit | None = None
    attaining: Tensor | None = None
    duality_gap: DualityGap | None = None
    local: LocalOptimality | None = None

    @property
    def is_saddle(self) -> bool:
        """Whether the point is a solution within the tolerance, globally or locally."""
        return self.outcome != "not converged"

    @property
    def is_global(self) -> bool:
        """Whether the point is a solution among all points, within the tolerance."""
        return self.is_saddle and self.kind != "local second-order"
