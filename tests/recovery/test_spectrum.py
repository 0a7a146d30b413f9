"""Spectra of factors, truncation, and gaps."""

import pytest
import torch

from tacit.recovery.spectrum import (
    factor_spectrum,
    gap_ratios,
    nuclear_norm_bound,
    read_rank,
    truncate,
    without_vanished,
)


def _factors(generator: torch.Generator, width: int) -> tuple[torch.Tensor, ...]:
    left = torch.randn(9, width, generator=generator, dtype=torch.complex128)
    right = torch.randn(7, width, generator=generator, dtype=torch.complex128)
    return left, right


@pytest.mark.parametrize("width", [1, 3, 7])
def test_the_spectrum_is_that_of_the_matrix(
    width: int, generator: torch.Generator
) -> None:
    left, right = _factors(generator, width)
    expected = torch.linalg.svdvals(left @ right.mH)[:width]
    assert torch.allclose(factor_spectrum(left, right), expected, rtol=1e-12)
    expected = torch.linalg.svdvals(left @ left.mH)[:width]
    assert torch.allclose(factor_spectrum(left, left), expected, rtol=1e-12)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_truncation_is_the_best_approximation_and_balanced(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    left, right = _factors(generator, 4)
    right = left if is_symmetric else right
    u, s, vh = torch.linalg.svd(left @ right.mH)
    best = u[:, :2] @ torch.diag(s[:2]).to(u.dtype) @ vh[:2]
    kept, other = truncate(left, right, 2)
    assert torch.allclose(kept @ other.mH, best, atol=1e-12)
    assert torch.allclose(kept.mH @ kept, other.mH @ other, atol=1e-12)
    assert (kept is other) == is_symmetric


@pytest.mark.parametrize(
    ("spectrum", "rank"),
    [
        ([5.0], 1),
        ([0.0, 0.0], 1),
        ([1.0, 0.9, 0.01, 0.009], 2),
        ([1.0, 0.1, 0.009, 1e-9], 3),
        ([1.0, 0.5, 1e-6, 0.0], 2),  # zero below what is negligible is no gap
        ([1.0, 0.5, 0.4, 0.0], 3),
        ([1.0, 0.4, 0.3, 0.1, 0.09], 1),  # no clear gap: the smallest in question
    ],
)
def test_the_rank_is_read_at_the_widest_gap(spectrum: list[float], rank: int) -> None:
    found, gap = read_rank(torch.tensor(spectrum, dtype=torch.float64))
    assert found == rank
    assert gap >= 1.0


def test_ratios_of_neighbours_with_a_floor_at_rounding() -> None:
    eps = torch.finfo(torch.float64).eps
    values = torch.tensor([4.0, 2.0, 0.0, -1.0], dtype=torch.float64)
    assert gap_ratios(values).tolist() == [2.0, 2.0 / (4.0 * eps), 1.0]
    assert gap_ratios(values[:1]).tolist() == []
    assert gap_ratios(torch.zeros(3, dtype=torch.float64)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_vanished_columns_go_and_the_matrix_stays(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    left, right = _factors(generator, 4)
    left[:, 3] = left[:, 0] + 1e-9 * left[:, 3]
    right = left if is_symmetric else right
    kept, other = without_vanished(left, right, 1e-12)
    assert kept.shape[1] == (3 if is_symmetric else 4)  # squares vanish earlier
    assert torch.allclose(kept @ other.mH, left @ right.mH, rtol=0.0, atol=1e-12)
    assert torch.allclose(kept.mH @ kept, other.mH @ other, rtol=0.0, atol=1e-12)
    nothing = torch.zeros(5, 3, dtype=torch.float64)
    assert without_vanished(nothing, nothing, 1e-12)[0].shape == (5, 1)


def test_the_bound_of_the_nuclear_norm_is_hardly_above_it(
    generator: torch.Generator,
) -> None:
    left, right = _factors(generator, 4)
    norm = float(torch.linalg.svdvals(left @ right.mH).sum())
    assert norm * (1.0 - 1e-14) <= nuclear_norm_bound(left, right) <= norm + 1e-11
