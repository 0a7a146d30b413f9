"""Algebra of pairs that belong to a left and a right factor."""

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]  # one tensor twice where both factors are one


def pair_plus(first: Pair, scale: float, second: Pair) -> Pair:
    """Return ``first + scale * second``; one tensor twice stays one."""
    left = first[0] + scale * second[0]
    return left, left if first[0] is first[1] else first[1] + scale * second[1]


def pair_inner(first: Pair, second: Pair) -> float:
    """Return the real part of the inner product, both parts together."""
    total = _dot(first[0], second[0])
    if first[0] is first[1] and second[0] is second[1]:
        return 2.0 * total
    return total + _dot(first[1], second[1])


def _dot(first: Tensor, second: Tensor) -> float:
    # Python's real part is faster than torch's.
    return torch.vdot(first.reshape(-1), second.reshape(-1)).item().real
