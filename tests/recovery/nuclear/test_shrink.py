"""Soft-thresholding against its definition and its optimality conditions."""

import pytest
import torch

from recovery_cases import draw
from tacit.recovery.nuclear.shrink import shrink_eigenvalues, shrink_singular_values

DTYPES = [torch.float64, torch.complex128]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (60, 55), (52, 70)])
@pytest.mark.parametrize("part", [1e-4, 0.3, 0.9, 1.0])
def test_what_is_taken_off_is_a_subgradient(
    dtype: torch.dtype, shape: tuple[int, int], part: float, generator: torch.Generator
) -> None:
    matrix = draw(generator, *shape, dtype=dtype)
    threshold = part * float(torch.linalg.svdvals(matrix)[0])
    shrunk = shrink_singular_values(matrix, threshold)
    x = shrunk.left @ shrunk.right.mH
    rest = matrix - x
    norm = float(torch.linalg.svdvals(x).sum())
    scale = float(torch.linalg.vector_norm(matrix)) * 1e-11
    # ||V - X||_2 <= t and <V - X, X> = t ||X||_*: the optimality conditions.
    assert float(torch.linalg.svdvals(rest)[0]) <= threshold + scale
    product = float(torch.vdot(rest.flatten(), x.flatten()).real)
    assert product == pytest.approx(threshold * norm, abs=scale)
    assert shrunk.nuclear_norm == pytest.approx(norm, abs=scale)
    torch.testing.assert_close(
        shrunk.left.abs().square().sum(0), shrunk.right.abs().square().sum(0)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [0.5, 2.0, 50.0])
def test_eigenvalues_are_shrunk_within_the_cone(
    dtype: torch.dtype, threshold: float, generator: torch.Generator
) -> None:
    matrix = draw(generator, 6, 6, dtype=dtype)
    shrunk = shrink_eigenvalues(matrix, threshold)
    x = shrunk.left @ shrunk.left.mH
    rest = (matrix + matrix.mH) / 2.0 - x
    # The rest is t I minus something of the polar cone that is orthogonal to X.
    assert float(torch.linalg.eigvalsh(rest)[-1]) <= threshold + 1e-12
    trace = float(x.diagonal().real.sum())
    product = float(torch.vdot(rest.flatten(), x.flatten()).real)
    assert product == pytest.approx(threshold * trace, abs=1e-11)
    assert shrunk.nuclear_norm == pytest.approx(trace, abs=1e-12)
    assert shrunk.left is shrunk.right


def test_nothing_above_the_threshold_gives_rank_zero() -> None:
    zero = torch.zeros(60, 60, dtype=torch.float64)
    for shrunk in (shrink_singular_values(zero, 1.0), shrink_eigenvalues(zero, 1.0)):
        assert (shrunk.rank, shrunk.nuclear_norm) == (0, 0.0)
        assert bool((shrunk.matrix == zero).all())
