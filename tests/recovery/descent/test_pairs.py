"""Pairs of factors."""

import pytest
import torch

from recovery_cases import draw
from tacit.recovery.descent.pairs import pair_inner, pair_plus


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_pairs_are_vectors(generator: torch.Generator, dtype: torch.dtype) -> None:
    a, b = (draw(generator, 3, 2, dtype=dtype) for _ in range(2))
    c, d = (draw(generator, 2, 4, dtype=dtype).T for _ in range(2))
    expected = (a.conj() * b).real.sum() + (c.conj() * d).real.sum()
    assert pair_inner((a, c), (b, d)) == pytest.approx(float(expected), rel=1e-13)
    moved = pair_plus((a, c), -0.5, (b, d))
    assert torch.equal(moved[0], a - 0.5 * b)
    assert torch.equal(moved[1], c - 0.5 * d)


def test_one_tensor_twice_counts_twice_and_stays_one(
    generator: torch.Generator,
) -> None:
    a, b = (draw(generator, 3, 2) for _ in range(2))
    assert pair_inner((a, a), (b, b)) == pytest.approx(2.0 * float((a * b).sum()))
    first, second = pair_plus((a, a), 2.0, (b, b))
    assert first is second
