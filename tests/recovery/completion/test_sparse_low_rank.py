"""Sparse plus low-rank matrices against dense ones."""

import pytest
import torch
from torch import Tensor

from recovery_cases import draw
from tacit.errors import InputError
from tacit.recovery.completion import sparse_low_rank as sparse_low_rank_module
from tacit.recovery.completion.sparse_low_rank import (
    SparseLowRank,
    draw_basis,
    fitted_part,
    leading_svd,
    mirrored,
    require_entries,
    symmetric_factor,
)
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.planted import planted_completion
from tacit.recovery.problem import RecoveryProblem, hold_out

DTYPES = [torch.float64, torch.complex128]


def sparse_low_rank(
    generator: torch.Generator, dtype: torch.dtype
) -> tuple[SparseLowRank, Tensor]:
    """A matrix and its dense form."""
    kept = torch.rand(9, 7, generator=generator) < 0.4
    rows, columns = torch.nonzero(kept, as_tuple=True)
    entries = EntriesMap(rows=rows, columns=columns, shape=(9, 7), dtype=dtype)
    values = draw(generator, len(rows), dtype=dtype)
    left = draw(generator, 9, 2, dtype=dtype)
    right = draw(generator, 7, 2, dtype=dtype)
    matrix = SparseLowRank(entries=entries, values=values, left=left, right=right)
    dense = left @ right.mH
    dense[rows, columns] += values
    return matrix, dense


@pytest.mark.parametrize("largest", [0, 63])
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_those_of_the_dense_matrix(
    generator: torch.Generator,
    dtype: torch.dtype,
    largest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sparse_low_rank_module, "_FORMED", largest)
    matrix, dense = sparse_low_rank(generator, dtype)
    right, left = draw(generator, 7, 3, dtype=dtype), draw(generator, 9, 3, dtype=dtype)
    torch.testing.assert_close(matrix.times(right), dense @ right)
    torch.testing.assert_close(matrix.adjoint_times(left), dense.mH @ left)
    assert (matrix.formed is None) == (largest == 0)


def test_a_matrix_that_is_not_finite_has_triplets_that_are_not(
    generator: torch.Generator,
) -> None:
    matrix, _ = sparse_low_rank(generator, torch.complex128)
    matrix.values[3] = torch.inf
    basis = draw_basis(matrix.entries, 4, generator=generator)
    left, values, right = leading_svd(matrix, basis, num_sweeps=2)
    assert left.shape == (9, 4)
    assert right.shape == (7, 4)
    assert values.dtype == torch.float64
    assert all(bool(part.isnan().all()) for part in (left, values, right))


@pytest.mark.parametrize("dtype", DTYPES)
def test_triplets_are_those_of_a_dense_decomposition(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    matrix, dense = sparse_low_rank(generator, dtype)
    basis = draw_basis(matrix.entries, 4, generator=generator)
    left, values, right = leading_svd(matrix, basis, num_sweeps=300)
    expected = torch.linalg.svdvals(dense)
    torch.testing.assert_close(values, expected[:4], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dense @ right, left * values, rtol=1e-6, atol=1e-6)
    eye = torch.eye(4, dtype=dtype)
    torch.testing.assert_close(left.mH @ left, eye)
    torch.testing.assert_close(right.mH @ right, eye)


def test_a_full_basis_needs_one_sweep(generator: torch.Generator) -> None:
    matrix, dense = sparse_low_rank(generator, torch.float64)
    basis = draw_basis(matrix.entries, 7, generator=generator)
    left, values, right = leading_svd(matrix, basis, num_sweeps=1)
    torch.testing.assert_close((left * values) @ right.mH, dense)


def test_fitted_part_leaves_out_what_is_held_out(generator: torch.Generator) -> None:
    problem = planted_completion((8, 6), 1, oversampling=2.0, generator=generator)
    assert fitted_part(problem) is problem
    held = hold_out(problem, 0.25, generator=generator)
    assert held.held_out is not None
    part = fitted_part(held)
    assert part.held_out is None
    kept = ~held.held_out
    assert torch.equal(part.measurements, held.measurements[kept])
    entries, whole = require_entries(part), require_entries(problem)
    assert torch.equal(entries.rows, whole.rows[kept])
    assert torch.equal(entries.columns, whole.columns[kept])


@pytest.mark.parametrize("dtype", DTYPES)
def test_mirrored_entries_are_those_of_the_matrix(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    problem = planted_completion(
        (7, 7), 2, oversampling=1.5, is_symmetric=True, dtype=dtype, generator=generator
    )
    problem = hold_out(problem, 0.3, generator=generator)
    both = mirrored(problem)
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.left.mH
    entries = require_entries(both)
    torch.testing.assert_close(both.measurements, truth[entries.rows, entries.columns])
    seen = torch.zeros(7, 7, dtype=torch.bool)
    seen[entries.rows, entries.columns] = True
    assert torch.equal(seen, seen.T)
    held = torch.zeros(7, 7, dtype=torch.bool)
    assert both.held_out is not None
    held[entries.rows, entries.columns] = both.held_out
    assert torch.equal(held, held.T)
    assert not both.is_symmetric
    upper = require_entries(problem)
    off = int((upper.rows != upper.columns).sum())
    assert both.measurements.shape[0] == problem.measurements.shape[0] + off


def test_a_rectangular_problem_is_not_mirrored(generator: torch.Generator) -> None:
    problem = planted_completion((8, 6), 1, oversampling=2.0, generator=generator)
    assert mirrored(problem) is problem


@pytest.mark.parametrize("dtype", DTYPES)
def test_symmetric_factor_is_the_nearest(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    left, right = draw(generator, 6, 2, dtype=dtype), draw(generator, 6, 2, dtype=dtype)
    product = left @ right.mH
    values, vectors = torch.linalg.eigh((product + product.mH) / 2.0)
    kept = vectors[:, -2:] * values[-2:].clamp(min=0.0)
    factor = symmetric_factor(left, right)
    assert factor.shape == (6, 2)
    torch.testing.assert_close(factor @ factor.mH, kept @ vectors[:, -2:].mH)


def test_symmetric_factor_of_a_negative_matrix_is_zero() -> None:
    left = torch.ones(3, 2, dtype=torch.float64)
    assert float(symmetric_factor(left, -left).abs().max()) < 1e-7


def test_other_maps_are_refused(generator: torch.Generator) -> None:
    gaussian = gaussian_map((4, 3), 10, generator=generator)
    problem = RecoveryProblem(
        linear_map=gaussian, measurements=torch.ones(10, dtype=torch.float64)
    )
    with pytest.raises(InputError, match="EntriesMap; got StoredMap"):
        require_entries(problem)


def test_batches_are_refused(generator: torch.Generator) -> None:
    problem = planted_completion((8, 6), 1, oversampling=2.0, generator=generator)
    batch = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements.expand(2, -1)
    )
    with pytest.raises(InputError, match="one vector of measurements"):
        require_entries(batch)
