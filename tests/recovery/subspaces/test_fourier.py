import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

from recovery_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.subspaces.fourier import FourierSubspace, lowest_modes
from tacit.recovery.subspaces.subspace import basis_matrix

GRIDS = [(1,), (2,), (5,), (8,), (4, 6), (3, 5), (4, 5), (5, 4), (1, 4), (4, 1), (2, 2)]
EVERY_GRID = pytest.mark.parametrize("grid", GRIDS)


def exponentials(grid: tuple[int, ...]) -> Any:
    """Return all unitary modes of positive sign, from SciPy, as columns."""
    whole = np.ones((1, 1))
    for size in grid:
        whole = np.kron(whole, scipy.linalg.dft(size, scale="sqrtn").conj())
    return whole


@EVERY_GRID
def test_complex_modes_are_scipys(grid: tuple[int, ...]) -> None:
    size = math.prod(grid)
    order = torch.arange(size).flip(0)
    got = basis_matrix(FourierSubspace(modes=order, shape=grid, dtype=torch.complex128))
    expected = exponentials(grid)[:, order.numpy()]
    assert np.allclose(got.numpy(), expected, rtol=0.0, atol=1e-14)


@EVERY_GRID
def test_real_modes_are_cosines_and_sines(grid: tuple[int, ...]) -> None:
    modes = exponentials(grid)
    size = math.prod(grid)
    basis = basis_matrix(FourierSubspace(modes=torch.arange(size), shape=grid)).numpy()
    for k, frequency in enumerate(itertools.product(*map(range, grid))):
        mirror = tuple(-f % n for f, n in zip(frequency, grid, strict=True))
        if frequency == mirror:
            expected = modes[:, k].real
        elif frequency < mirror:
            expected = math.sqrt(2.0) * modes[:, k].real
        else:
            lower = int(np.ravel_multi_index(mirror, grid))
            expected = math.sqrt(2.0) * modes[:, lower].imag
        assert np.allclose(basis[:, k], expected, rtol=0.0, atol=1e-14)


@EVERY_GRID
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_all_modes_are_an_orthonormal_basis(
    grid: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator
) -> None:
    size = math.prod(grid)
    everything = FourierSubspace(modes=torch.arange(size), shape=grid, dtype=dtype)
    signals = draw(generator, 3, *grid, dtype=dtype)
    coefficients = everything.analyse(signals)
    assert torch.allclose(
        torch.linalg.vector_norm(coefficients, dim=1),
        torch.linalg.vector_norm(signals.flatten(1), dim=1),
        rtol=1e-13,
    )
    back = everything.synthesise(coefficients)
    assert torch.allclose(back, signals, rtol=0.0, atol=1e-13)


def test_single_precision_is_that_of_double(generator: torch.Generator) -> None:
    modes = torch.randperm(24, generator=generator)[:9]
    single = FourierSubspace(modes=modes, shape=(4, 6), dtype=torch.float32)
    double = FourierSubspace(modes=modes, shape=(4, 6))
    got = basis_matrix(single)
    assert got.dtype == torch.float32
    assert torch.allclose(got.double(), basis_matrix(double), rtol=0.0, atol=1e-6)


def test_the_lowest_modes_make_slow_signals() -> None:
    assert lowest_modes((9,), 5).tolist() == [0, 1, 8, 2, 7]
    assert lowest_modes((4,), 4).tolist() == [0, 1, 3, 2]
    # One period along the longer side is slower than along the shorter one.
    assert lowest_modes((3, 4), 5).tolist() == [0, 1, 3, 4, 8]
    slow = FourierSubspace(modes=lowest_modes((9,), 3), shape=(9,))
    angles = 2.0 * math.pi * torch.arange(9, dtype=torch.float64) / 9.0
    wave = 1.0 + 2.0 * torch.cos(angles) - 3.0 * torch.sin(angles)
    back = slow.synthesise(slow.analyse(wave))
    assert torch.allclose(back, wave, rtol=0.0, atol=1e-13)


def test_what_are_no_modes_is_refused() -> None:
    with pytest.raises(InputError, match=r"modes must be different numbers in 0\.\.3"):
        FourierSubspace(modes=torch.tensor([1, 4]), shape=(4,))
    with pytest.raises(ShapeError, match="modes must be a vector"):
        FourierSubspace(modes=torch.tensor(1), shape=(4,))
    with pytest.raises(ShapeError, match="one or two positive sizes"):
        FourierSubspace(modes=torch.tensor([1]), shape=(2, 2, 2))
    for dimension in (0, 5):
        with pytest.raises(
            ShapeError, match=rf"1\.\.4 for grid \(4,\); got {dimension}"
        ):
            lowest_modes((4,), dimension)
