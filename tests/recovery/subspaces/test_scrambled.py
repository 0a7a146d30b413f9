import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tacit.errors import InputError, ShapeError
from tacit.recovery.subspaces.scrambled import ScrambledSubspace, scrambled_subspace
from tacit.recovery.subspaces.subspace import basis_matrix

COMPLEX = torch.complex128


@pytest.mark.parametrize("grid", [(1,), (2,), (7,), (8,), (3, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_columns_are_those_of_the_transform_with_signs(
    grid: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator
) -> None:
    size = math.prod(grid)
    count = (size + 1) // 2
    scrambled = scrambled_subspace(grid, count, generator=generator, dtype=dtype)
    whole = scipy.linalg.dft(size, scale="sqrtn").conj()
    if not dtype.is_complex:
        whole = whole.real + whole.imag
    columns = whole[:, scrambled.columns.numpy()]
    expected = scrambled.signs.flatten().numpy()[:, None] * columns
    got = basis_matrix(scrambled).numpy()
    assert np.allclose(got, expected, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_the_mean_projection_over_all_columns_is_a_multiple_of_the_identity(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    signs = scrambled_subspace((2, 3), 1, generator=generator, dtype=dtype).signs
    pairs = list(itertools.combinations(range(6), 2))
    total = torch.zeros(6, 6, dtype=dtype)
    for pair in pairs:
        basis = basis_matrix(ScrambledSubspace(signs=signs, columns=torch.tensor(pair)))
        total += basis @ basis.mH / len(pairs)
    expected = torch.eye(6, dtype=dtype) * (2.0 / 6.0)
    assert torch.allclose(total, expected, rtol=0.0, atol=1e-14)


def test_any_phases_will_do(generator: torch.Generator) -> None:
    angles = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    phases = torch.polar(torch.ones_like(angles), 2.0 * math.pi * angles)
    basis = basis_matrix(ScrambledSubspace(signs=phases, columns=torch.arange(12)))
    unit = torch.eye(12, dtype=COMPLEX)
    assert torch.allclose(basis.mH @ basis, unit, rtol=0.0, atol=1e-14)


def test_the_draw_repeats_and_is_fair(generator: torch.Generator) -> None:
    state = generator.get_state()
    first = scrambled_subspace((64, 64), 5, generator=generator)
    generator.set_state(state)
    second = scrambled_subspace((64, 64), 5, generator=generator, dtype=torch.complex64)
    assert torch.equal(first.columns, second.columns)
    assert torch.equal(first.signs, second.signs.real.double())
    assert set(first.signs.flatten().tolist()) == {-1.0, 1.0}
    # A sum of 4096 fair signs has standard deviation 64.
    assert abs(float(first.signs.sum())) < 5.0 * 64.0


def test_what_makes_no_subspace_is_refused(generator: torch.Generator) -> None:
    signs = torch.ones(4, dtype=torch.float64)
    with pytest.raises(
        InputError, match=r"columns must be different numbers in 0\.\.3"
    ):
        ScrambledSubspace(signs=signs, columns=torch.tensor([0, 4]))
    with pytest.raises(ShapeError, match="columns must be a vector"):
        ScrambledSubspace(signs=signs, columns=torch.tensor([[0, 1]]))
    for wrong in (1.5 * signs, signs / 0.0, 0.0 * signs / 0.0):
        with pytest.raises(InputError, match="signs must have modulus one"):
            ScrambledSubspace(signs=wrong, columns=torch.tensor([0]))
    for grid, dimension in (((4,), 0), ((4,), 5), ((), 1), ((0, 3), 1)):
        with pytest.raises(ShapeError, match=f"got {dimension}"):
            scrambled_subspace(grid, dimension, generator=generator)
