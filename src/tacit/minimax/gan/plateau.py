r"""Whether a score has stopped changing, as far as its noise lets one say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

_MIN_POINTS = 6  # in the last quarter: three in each half give a variance
_TOLERANCE = 0.1


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Plateau:
    """How much a score changed over the last quarter of its curve.

    Parameters
    ----------
    num_points : int
        Scores in that quarter.
    level : float
        Their mean.
    change : float
        Mean of the later half of them minus mean of the earlier half.
    standard_error : float
        Of ``change``, as if the scores were independent; infinite for fewer than 6.
    is_reached : bool
        ``|change| + 2 standard_error <= 0.1 |level|``.
    """

    num_points: int
    level: float
    change: float
    standard_error: float
    is_reached: bool


def find_plateau(scores: Sequence[float]) -> Plateau:
    r"""Test whether the last quarter of a score's curve is level to within a tenth.

    With the last quarter split into an earlier half a and a later half b,

    .. math:: |\bar b - \bar a| + 2 \sqrt{s_a^2 / n_a + s_b^2 / n_b}
              \le 0.1\, |\tfrac{1}{2}(\bar a + \bar b)|.

    This is a test of equivalence, not of difference: a curve that is too noisy or too
    short to show a change is not taken for level.

    Parameters
    ----------
    scores : sequence of float
        In order of steps, evenly spaced. Fewer than 24 are never called level.

    Returns
    -------
    Plateau
        With ``is_reached`` False if any score of the quarter is not finite.

    Notes
    -----
    The rule is ours. Scores of one run at neighbouring steps are correlated, so the
    standard error is too small: the factor 2 is not a 95 % statement. A level score
    says that training has stopped to help, not that the score is good, and not that
    the two players are at a saddle.

    Examples
    --------
    >>> from tacit.minimax.gan.plateau import find_plateau
    >>> find_plateau([100.0 / (1 + i) for i in range(40)]).is_reached
    False
    >>> find_plateau([5.0] * 40).is_reached
    True
    """
    last = scores[len(scores) - len(scores) // 4 :]
    count = len(last)
    if count < _MIN_POINTS or not all(math.isfinite(score) for score in last):
        level = math.fsum(last) / count if count else math.nan
        return Plateau(
            num_points=count,
            level=level,
            change=math.nan,
            standard_error=math.inf,
            is_reached=False,
        )
    early, late = last[: count // 2], last[count // 2 :]
    (mean_early, error_early), (mean_late, error_late) = map(_mean, (early, late))
    change, error = mean_late - mean_early, math.hypot(error_early, error_late)
    level = 0.5 * (mean_early + mean_late)
    return Plateau(
        num_points=count,
        level=level,
        change=change,
        standard_error=error,
        is_reached=abs(change) + 2.0 * error <= _TOLERANCE * abs(level),
    )


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and its standard error."""
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, math.sqrt(variance / count)
