"""Optimisers of torch for two players who are trained by mini-batches.

Each player has one of its own. Simultaneous and alternating training, and two time
scales, need no class: they are an order of ``backward`` and ``step``, and two rates.
"""

from tacit.minimax.optimisers.ahead import Extrapolation
from tacit.minimax.optimisers.consensus import consensus_gradients
from tacit.minimax.optimisers.extra import ExtraAdam, ExtraSGD
from tacit.minimax.optimisers.optimistic import OptimisticAdam, OptimisticSGD

__all__ = [
    "ExtraAdam",
    "ExtraSGD",
    "Extrapolation",
    "OptimisticAdam",
    "OptimisticSGD",
    "consensus_gradients",
]
