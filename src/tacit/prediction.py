"""What theory says beforehand, and how far it can be trusted."""

from dataclasses import dataclass
from typing import Literal, final

Certainty = Literal["derived", "published", "recalled"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """One number that theory gives, and how far it can be trusted.

    Parameters
    ----------
    name : str
        What is predicted.
    value : float
        The number.
    certainty : {"derived", "published", "recalled"}
        ``derived``: proved in this project, in the docstring of the function that
        returns it or where that points. ``published``: stated by the source.
        ``recalled``: from memory or second-hand.
    source : str
        Where it comes from.
    note : str
        Conditions, and what is not claimed.
    failure_probability : float
        Probability over the random draw of the instance with which it may fail; 0 for
        facts about expectations and for rates.

    Examples
    --------
    >>> from tacit.prediction import Prediction
    >>> Prediction(name="mean", value=2.0, certainty="derived", source="here").value
    2.0
    """

    name: str
    value: float
    certainty: Certainty
    source: str
    note: str = ""
    failure_probability: float = 0.0
