"""What the tests of completion candidates share."""

from collections.abc import Callable

import torch

from tacit.recovery.completion.candidates import Candidate, Outcome, Rounds
from tacit.recovery.completion.sparse_low_rank import mirrored
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.rank_search import Search

Method = Callable[[Rounds, list[Candidate]], Outcome]


def rounds(
    problem: RecoveryProblem, generator: torch.Generator, rank: int | None = None
) -> Rounds:
    trial = hold_out(problem, 0.1, generator=generator)
    search = Search(problem=problem, generator=generator)
    return Rounds(search=search, trial=trial, both=mirrored(trial), rank=rank)
