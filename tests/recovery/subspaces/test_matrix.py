import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from recovery_cases import draw
from subspace_cases import SUBSPACES
from tacit.errors import InputError, ShapeError
from tacit.recovery.subspaces.matrix import (
    MatrixSubspace,
    basis_signals,
    gaussian_subspace,
    orthonormalised,
)
from tacit.recovery.subspaces.subspace import basis_matrix

COMPLEX = torch.complex128


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
@pytest.mark.parametrize("layout", ["csr_array", "csc_array", "coo_matrix"])
def test_a_sparse_matrix_does_what_the_dense_one_does(
    dtype: torch.dtype, layout: str, generator: torch.Generator
) -> None:
    matrix = draw(generator, 12, 5, dtype=dtype)
    matrix[torch.rand(12, 5, generator=generator) < 0.7] = 0.0
    dense = MatrixSubspace(matrix=matrix, shape=(3, 4))
    thin = MatrixSubspace(matrix=getattr(sparse, layout)(matrix.numpy()), shape=(3, 4))
    assert (thin.grid, thin.dimension) == (dense.grid, dense.dimension)
    h = draw(generator, 2, 3, 5, dtype=dtype)
    w = draw(generator, 2, 3, 3, 4, dtype=dtype)
    assert torch.allclose(thin.synthesise(h), dense.synthesise(h), rtol=0.0, atol=1e-14)
    assert torch.allclose(thin.analyse(w), dense.analyse(w), rtol=0.0, atol=1e-14)


def test_the_default_shape_is_that_of_a_signal(generator: torch.Generator) -> None:
    assert MatrixSubspace(matrix=draw(generator, 6, 2)).grid == (6,)


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_orthonormality_is_found_out(
    dtype: torch.dtype, is_sparse: bool, generator: torch.Generator
) -> None:
    q = torch.linalg.qr(draw(generator, 9, 4, dtype=dtype)).Q
    # Columns of length one that are not orthogonal; and orthogonal ones of length two.
    tilted = q.clone()
    tilted[:, 3] = (q[:, 2] + q[:, 3]) / math.sqrt(2.0)
    for matrix, expected in ((q, True), (tilted, False), (2.0 * q, False)):
        given = sparse.csr_array(matrix.numpy()) if is_sparse else matrix
        assert MatrixSubspace(matrix=given).spec.is_orthonormal == expected
    # What is claimed is trusted.
    assert not MatrixSubspace(matrix=q, is_orthonormal=False).spec.is_orthonormal


@pytest.mark.parametrize("name", SUBSPACES)
def test_orthonormalised_spans_the_same_subspace(
    name: str, generator: torch.Generator
) -> None:
    subspace = SUBSPACES[name](generator)
    orthonormal, triangle = orthonormalised(subspace)
    basis, q = basis_matrix(subspace), basis_matrix(orthonormal)
    eps = torch.finfo(basis.dtype).eps
    unit = torch.eye(subspace.dimension, dtype=basis.dtype)
    assert orthonormal.spec.is_orthonormal
    assert orthonormal.grid == subspace.grid
    assert torch.allclose(q.mH @ q, unit, rtol=0.0, atol=50.0 * eps)
    assert torch.allclose(q @ triangle, basis, rtol=0.0, atol=50.0 * eps)
    assert bool((triangle.diagonal().real > 0.0).all())
    assert float(triangle.tril(-1).abs().max()) == 0.0
    if subspace.spec.is_orthonormal:
        assert orthonormal is subspace


def test_the_triangle_is_the_transposed_cholesky_factor(
    generator: torch.Generator,
) -> None:
    matrix = draw(generator, 8, 4, dtype=COMPLEX)
    _, triangle = orthonormalised(MatrixSubspace(matrix=matrix))
    expected = np.linalg.cholesky((matrix.mH @ matrix).numpy()).conj().T
    assert np.allclose(triangle.numpy(), expected, rtol=0.0, atol=1e-12)


def test_dependent_columns_are_refused(generator: torch.Generator) -> None:
    matrix = draw(generator, 8, 3)
    matrix[:, 2] = matrix[:, 0] - 2.0 * matrix[:, 1]
    for given in (matrix, torch.zeros(4, 2)):
        with pytest.raises(InputError, match="must be linearly independent"):
            orthonormalised(MatrixSubspace(matrix=given))


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_gaussian_entries_have_variance_one_over_the_points(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    grid, count = (20, 20), 200
    basis = basis_matrix(
        gaussian_subspace(grid, count, generator=generator, dtype=dtype)
    )
    # The mean of 80 000 squared entries, each of relative deviation at most sqrt 2.
    mean = float((basis.abs() ** 2).mean()) * 400.0
    assert abs(mean - 1.0) < 5.0 * math.sqrt(2.0 / basis.numel())
    if dtype.is_complex:
        # Circular: the mean of the squares themselves vanishes.
        assert abs(complex((basis**2).mean())) * 400.0 < 5.0 / math.sqrt(basis.numel())


def test_the_draw_repeats_in_every_precision(generator: torch.Generator) -> None:
    state = generator.get_state()
    first = gaussian_subspace((5, 2), 3, generator=generator)
    generator.set_state(state)
    second = gaussian_subspace((5, 2), 3, generator=generator, dtype=torch.float32)
    assert torch.equal(basis_matrix(first).float(), basis_matrix(second))


def test_what_makes_no_subspace_is_refused(generator: torch.Generator) -> None:
    matrix = draw(generator, 6, 2)
    with pytest.raises(ShapeError, match="matrix must have two dimensions"):
        MatrixSubspace(matrix=matrix[0])
    with pytest.raises(ShapeError, match="one row for each of the 8 points"):
        MatrixSubspace(matrix=matrix, shape=(2, 4))
    with pytest.raises(ShapeError, match="at most 2 dimensions; got 6"):
        MatrixSubspace(matrix=matrix.T)
    with pytest.raises(InputError, match="matrix has entries that are not finite"):
        MatrixSubspace(matrix=matrix / 0.0)
    with pytest.raises(InputError, match="real or complex floating point"):
        MatrixSubspace(matrix=sparse.csr_array(np.eye(3, dtype=np.int64)))
    with pytest.raises(InputError, match="matrix must be a tensor or a sparse array"):
        MatrixSubspace(matrix=matrix.numpy())
    for grid, dimension in (((4,), 0), ((2, 2), 5)):
        with pytest.raises(ShapeError, match=rf"1\.\.4 for grid .*; got {dimension}"):
            gaussian_subspace(grid, dimension, generator=generator)


@pytest.mark.parametrize("build", SUBSPACES.values(), ids=SUBSPACES.keys())
def test_basis_signals_are_columns(build: Any, generator: torch.Generator) -> None:
    subspace = build(generator)
    last = subspace.dimension
    part = slice(min(1, last - 1), last)
    signals = basis_signals(subspace, part).flatten(1)
    expected = basis_matrix(subspace)[:, part].mT
    assert torch.allclose(signals, expected, rtol=0.0, atol=1e-6)
    assert signals.dtype == subspace.spec.dtype
