"""The answer to every question: ``lower <= truth <= upper``, each side proved."""

import math
from dataclasses import dataclass, field
from typing import Literal, final

from tacit.errors import BracketError, InputError

Arithmetic = Literal["float", "verified", "probabilistic"]
Side = Literal["lower", "upper"]

# Two sides computed in float64 by different routes may cross by rounding alone
# when the bound is tight; anything beyond this relative amount is a bug.
CROSSING_RTOL = 1e-9


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Bound:
    """One side of a bracket and how it is known.

    Parameters
    ----------
    value : float
        The bound, in the unit of the quantity bounded; not NaN.
    side : {"lower", "upper"}
        Which side of the truth it is on.
    method : str
        The method that produced it, in the field's words.
    arithmetic : {"float", "verified", "probabilistic"}
        ``float``: evaluated in float64, rounding not included. ``verified``: rounding
        errors bounded and included. ``probabilistic``: holds except with
        ``failure_probability`` over the method's own random draw.
    failure_probability : float
        In [0, 1); positive exactly when ``arithmetic`` is ``probabilistic``.
    witness : object or None
        What a reader needs to recompute the value: a pair of inputs, multipliers.
    seconds : float or None
        Time it took, if it was measured.

    Raises
    ------
    InputError
        If the value is NaN or the failure probability contradicts the arithmetic.

    Examples
    --------
    >>> from tacit.bracket import Bound
    >>> Bound(value=1.5, side="upper", method="product of layer norms").arithmetic
    'float'
    """

    value: float
    side: Side
    method: str
    arithmetic: Arithmetic = "float"
    failure_probability: float = 0.0
    witness: object | None = field(default=None, repr=False)
    seconds: float | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            raise InputError(
                f"value of the {self.side} bound by {self.method!r} must be a number; "
                "got nan"
            )
        is_probabilistic = self.arithmetic == "probabilistic"
        if (
            not 0.0 <= self.failure_probability < 1.0
            or (self.failure_probability > 0.0) != is_probabilistic
        ):
            raise InputError(
                "failure_probability must be in (0, 1) for probabilistic arithmetic "
                f"and 0 otherwise; got {self.failure_probability} with "
                f"{self.arithmetic!r}"
            )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Bracket:
    """``lower.value <= truth <= upper.value``.

    Parameters
    ----------
    lower, upper : Bound
        The best bound of each side.

    Raises
    ------
    InputError
        If the sides are swapped.
    BracketError
        If ``lower`` exceeds ``upper`` by more than rounding.

    Examples
    --------
    >>> from tacit.bracket import Bound, Bracket
    >>> low = Bound(value=1.0, side="lower", method="witness pair")
    >>> high = Bound(value=1.5, side="upper", method="lifted network")
    >>> Bracket(lower=low, upper=high).ratio
    1.5
    """

    lower: Bound
    upper: Bound

    def __post_init__(self) -> None:
        if (self.lower.side, self.upper.side) != ("lower", "upper"):
            raise InputError(
                "a bracket takes a lower and an upper bound in this order; got "
                f"{self.lower.side!r} and {self.upper.side!r}"
            )
        slack = CROSSING_RTOL * min(abs(self.lower.value), abs(self.upper.value))
        if self.lower.value > self.upper.value + slack:
            raise BracketError(
                f"lower bound {self.lower.value!r} ({self.lower.method}) exceeds upper "
                f"bound {self.upper.value!r} ({self.upper.method}): this is a bug in "
                "tacit, please report it with the model that shows it"
            )

    @property
    def ratio(self) -> float:
        """How far apart the sides are: ``upper / lower``, 1 if they are equal."""
        low, high = self.lower.value, self.upper.value
        if low == high:
            return 1.0
        return high / low if low > 0.0 else math.inf
