"""Exceptions and solver outcomes; each says what to do next."""

from enum import Enum
from typing import final


class TacitError(Exception):
    """Base of every error raised on purpose; its text is one clear sentence."""


@final
class InputError(TacitError, ValueError):
    """What the caller gave cannot be used; says what is accepted and what to do."""


@final
class ShapeError(TacitError, ValueError):
    """Two sizes that must agree do not."""


@final
class UnsupportedLayerError(TacitError, ValueError):
    """A network holds a layer that no bound is proved for."""


@final
class ImportMismatchError(TacitError, RuntimeError):
    """The network as read does not compute what the original computes."""


@final
class CertificateError(TacitError, ValueError):
    """A certificate does not prove what it claims."""


@final
class BracketError(TacitError, RuntimeError):
    """A lower bound exceeds an upper bound: a bug in this library, never the user's."""


class Status(Enum):
    """How an iteration ended; the value is the advice shown to a person.

    Examples
    --------
    >>> from tacit.errors import Status
    >>> Status.CONVERGED.advice
    'the stopping rule was met'
    """

    CONVERGED = "the stopping rule was met"
    MAX_STEPS = "the step limit was reached first; raise max_steps for a tighter result"
    STALLED = "no further progress; accept the gap, or raise search_rank from Python"
    INTERRUPTED = (
        "stopped by Ctrl-C; the result so far is valid, run longer to tighten it"
    )
    DIVERGED = "the iterates run away; take smaller steps"
    NON_FINITE = "a value overflowed; rescale the problem"

    @property
    def advice(self) -> str:
        """One sentence for the person who reads the result."""
        return self.value
