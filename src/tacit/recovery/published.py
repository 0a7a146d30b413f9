r"""What the literature states about factored recovery, as a table with its certainty.

Nothing here is used as a bound or a threshold: constants are not known to us, and what
is ``recalled`` was not read in the source itself. ``predict`` has what can be computed.
"""

from dataclasses import dataclass
from typing import Literal, final

Quantity = Literal["measurements", "steps", "error", "lower bound"]

_SS = "Stoeger and Soltanolkotabi (2021), arXiv:2106.15013"
_SSX = "Soltanolkotabi, Stoeger and Xie (2023), arXiv:2303.14244"
_WIND = "Wind (2023), arXiv:2309.01796"
_SMALL = "gradient descent, small random start"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Claim:
    """One statement of the literature, up to constants.

    Parameters
    ----------
    method : str
        Algorithm and start.
    is_symmetric : bool
        Whether it is about positive semidefinite matrices.
    quantity : {"measurements", "steps", "error", "lower bound"}
        What is bounded: measurements needed, steps needed, error reached, or the error
        from below.
    statement : str
        With n, n1, n2 the sides, r the rank, k the number of columns, kappa the
        condition number of X, alpha the init scale, mu the step, eps the error.
    certainty : {"published", "recalled"}
        ``published``: in an abstract or the text. ``recalled``: from memory, or quoted
        by another publication.
    source : str
    exponent : float or None
        Of alpha in the error, where the statement has one.
    """

    method: str
    is_symmetric: bool
    quantity: Quantity
    statement: str
    certainty: Literal["published", "recalled"]
    source: str
    exponent: float | None = None


PUBLISHED: tuple[Claim, ...] = (
    Claim(
        method=_SMALL,
        is_symmetric=True,
        quantity="measurements",
        statement="kappa^4 r^2 n, through isometry of order 2 r + 1",
        certainty="recalled",
        source=_SS,
    ),
    Claim(
        method=_SMALL,
        is_symmetric=True,
        quantity="steps",
        statement="log(kappa n ||X|| / alpha) / (mu sigma_r), mu <= c / kappa^2 ||X||",
        certainty="recalled",
        source=_SS,
    ),
    Claim(
        method=_SMALL,
        is_symmetric=True,
        quantity="error",
        statement="alpha^(21/16), times powers of kappa, n and r",
        certainty="recalled",
        source=_SS,
        exponent=21 / 16,
    ),
    Claim(
        method=_SMALL,
        is_symmetric=False,
        quantity="measurements",
        statement="kappa^6 r^2 (n1 + n2), through isometry of order 2 (r + 1)",
        certainty="recalled",
        source=_SSX,
    ),
    Claim(
        method=_SMALL,
        is_symmetric=False,
        quantity="steps",
        statement="log(||X||^(1/2) / alpha) / (mu sigma_r), mu <= c / (kappa^5 ||X||)",
        certainty="recalled",
        source=_SSX,
    ),
    Claim(
        method=_SMALL,
        is_symmetric=False,
        quantity="error",
        statement="alpha^(3/5) ||X||^(7/10)",
        certainty="recalled",
        source=_SSX,
        exponent=3 / 5,
    ),
    Claim(
        method=_SMALL,
        is_symmetric=False,
        quantity="error",
        statement="a^(4/3) sigma_r^(1/3), a the norm of the stacked start",
        certainty="recalled",
        source=_WIND,
        exponent=4 / 3,
    ),
    Claim(
        method=_SMALL,
        is_symmetric=False,
        quantity="steps",
        statement="log(sigma_r / a^2) / (mu sigma_r), mu <= c / (kappa^3 ||X||) / log",
        certainty="recalled",
        source=_WIND,
    ),
    Claim(
        method="gradient descent, k > r",
        is_symmetric=True,
        quantity="lower bound",
        statement="1 / T^2 after T steps",
        certainty="published",
        source="Xiong, Ding and Du (2024), arXiv:2310.01769",
    ),
    Claim(
        method="gradient descent, spectral start, k = r",
        is_symmetric=True,
        quantity="measurements",
        statement="kappa^2 r n",
        certainty="published",
        source="Stoeger and Zhu (2025), arXiv:2408.13276",
    ),
    Claim(
        method="ScaledGD(lambda), small random start",
        is_symmetric=True,
        quantity="steps",
        statement="log(kappa) log(kappa n) + log(1 / eps)",
        certainty="published",
        source="Xu, Shen, Chi and Ma (2023), arXiv:2302.01186",
    ),
    Claim(
        method="ScaledGD, spectral start, k = r",
        is_symmetric=False,
        quantity="measurements",
        statement="kappa^2 r (n1 + n2), with log(1 / eps) steps",
        certainty="published",
        source="Li et al. (2026), arXiv:2604.00060",
    ),
    Claim(
        method="alternating regularised Gauss-Newton, random start",
        is_symmetric=False,
        quantity="steps",
        statement="log(1 / eps), free of kappa",
        certainty="published",
        source="Jia et al. (2024), NeurIPS",
    ),
)


def published_exponent(*, is_symmetric: bool) -> Claim:
    """Return what paper 4 (symmetric) or paper 2 states of the error's power of alpha.

    A worst case over maps: it holds under an isometry that is much stronger than what
    is met in practice, where the power of a single instance may be smaller or larger.

    Examples
    --------
    >>> from tacit.recovery.published import published_exponent
    >>> claim = published_exponent(is_symmetric=True)
    >>> claim.exponent, claim.certainty
    (1.3125, 'recalled')
    """
    return next(
        claim
        for claim in PUBLISHED
        if claim.exponent is not None and claim.is_symmetric is is_symmetric
    )
