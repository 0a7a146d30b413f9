"""Every descent-ascent method once, with steps that are not alike."""

from tacit.minimax.consensus import ConsensusOptimisation
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SimultaneousGDA,
)
from tacit.minimax.extrapolation import AlexGDA, Extragradient, OptimisticGradient


def solvers(
    min_step: float, max_step: float, *, atol: float = 0.0
) -> dict[str, AbstractDescentAscent]:
    """Return all methods by name, with these steps."""
    return {
        "simultaneous": SimultaneousGDA(
            min_step=min_step, max_step=max_step, atol=atol
        ),
        "alternating": AlternatingGDA(min_step=min_step, max_step=max_step, atol=atol),
        "alternating, 3 updates": AlternatingGDA(
            min_step=min_step, max_step=max_step, max_updates=3, atol=atol
        ),
        "extragradient": Extragradient(min_step=min_step, max_step=max_step, atol=atol),
        "optimistic": OptimisticGradient(
            min_step=min_step, max_step=max_step, atol=atol
        ),
        "alex": AlexGDA(
            min_step=min_step,
            max_step=max_step,
            min_extrapolation=1.5,
            max_extrapolation=2.5,
            atol=atol,
        ),
        "consensus": ConsensusOptimisation(
            min_step=min_step, max_step=max_step, consensus=0.4, atol=atol
        ),
    }


SOLVER_NAMES = tuple(solvers(0.1, 0.1))
