import warnings
from math import prod
from typing import Any

import numpy as np
import pytest
import pywt
import torch

from recovery_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.subspaces import wavelet as module
from tacit.recovery.subspaces.subspace import basis_matrix
from tacit.recovery.subspaces.wavelet import largest_wavelets, wavelet_subspace

CASES = [
    ((16,), "haar", 4),
    ((16,), "db4", 1),
    ((24,), "db2", 3),
    ((8, 8), "haar", 3),
    ((12, 8), "db4", 2),
    ((4, 6), "sym4", 1),
]
EVERY_CASE = pytest.mark.parametrize(("grid", "wavelet", "levels"), CASES)


def ordered_parts(whole: list[Any]) -> list[tuple[Any, Any]]:
    """Return where PyWavelets keeps its arrays, from coarse to fine."""
    parts: list[tuple[Any, Any]] = [(whole, 0)]
    for details in whole[1:]:
        parts += [(details, kind) for kind in sorted(details)]
    return parts


def decomposed(signal: np.ndarray, wavelet: str, levels: int) -> list[Any]:
    with warnings.catch_warnings():
        # It warns where a wavelet is longer than the coarsest signal.
        warnings.simplefilter("ignore", UserWarning)
        return pywt.wavedecn(signal, wavelet, mode="periodization", level=levels)


@EVERY_CASE
def test_coefficients_are_those_of_pywavelets(
    grid: tuple[int, ...], wavelet: str, levels: int, generator: torch.Generator
) -> None:
    everything = wavelet_subspace(grid, prod(grid), wavelet=wavelet, levels=levels)
    signal = draw(generator, *grid)
    parts = ordered_parts(decomposed(signal.numpy(), wavelet, levels))
    expected = np.concatenate([home[key].ravel() for home, key in parts])
    got = everything.analyse(signal).numpy()
    assert np.allclose(got, expected, rtol=0.0, atol=1e-11)


@EVERY_CASE
def test_signals_are_those_that_pywavelets_reconstructs(
    grid: tuple[int, ...], wavelet: str, levels: int, generator: torch.Generator
) -> None:
    places = torch.randperm(prod(grid), generator=generator)[:5]
    some = wavelet_subspace(grid, places, wavelet=wavelet, levels=levels)
    h = draw(generator, 5)
    flat = np.zeros(prod(grid))
    flat[places.numpy()] = h.numpy()
    whole = decomposed(np.zeros(grid), wavelet, levels)
    start = 0
    for home, key in ordered_parts(whole):
        size = home[key].size
        home[key] = flat[start : start + size].reshape(home[key].shape)
        start += size
    expected: Any = pywt.waverecn(whole, wavelet, mode="periodization")
    got = some.synthesise(h).numpy()
    assert np.allclose(got, expected, rtol=0.0, atol=1e-13)


@EVERY_CASE
def test_all_wavelets_are_an_orthonormal_basis(
    grid: tuple[int, ...], wavelet: str, levels: int
) -> None:
    whole = wavelet_subspace(grid, prod(grid), wavelet=wavelet, levels=levels)
    basis = basis_matrix(whole)
    unit = torch.eye(prod(grid), dtype=torch.float64)
    assert whole.spec.is_orthonormal
    # The filters of sym4 are known to 12 digits.
    atol = 1e-11 if wavelet == "sym4" else 1e-14 * prod(grid)
    assert torch.allclose(basis.mT @ basis, unit, rtol=0.0, atol=atol)


def test_the_haar_wavelets_of_four_points() -> None:
    basis = basis_matrix(wavelet_subspace((4,), 4, wavelet="haar", levels=2))
    r = 0.5**0.5
    expected = [
        [0.5, 0.5, r, 0],
        [0.5, 0.5, -r, 0],
        [0.5, -0.5, 0, r],
        [0.5, -0.5, 0, -r],
    ]
    assert np.allclose(basis.numpy(), expected, rtol=0.0, atol=1e-15)


def test_many_columns_are_built_in_blocks(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    places = torch.randperm(64, generator=generator)[:7]
    whole = basis_matrix(wavelet_subspace((8, 8), places))
    monkeypatch.setattr(module, "_BLOCK", 64 * 3)
    assert torch.equal(basis_matrix(wavelet_subspace((8, 8), places)), whole)


def test_coarse_wavelets_hold_constants_and_store_no_zeros() -> None:
    coarse = wavelet_subspace((32, 16), 128, wavelet="db4")
    flat = torch.full((32, 16), 3.0, dtype=torch.float64)
    back = coarse.synthesise(coarse.analyse(flat))
    assert torch.allclose(back, flat, rtol=0.0, atol=1e-9)
    fine = wavelet_subspace((32, 16), torch.tensor([511]), wavelet="haar")
    assert fine.matrix.nnz == 4


@pytest.mark.parametrize("levels", [1, 2, None])
def test_the_largest_coefficients_are_kept(
    levels: int | None, generator: torch.Generator
) -> None:
    image = draw(generator, 8, 12)
    chosen = largest_wavelets(image, 10, wavelet="db2", levels=levels)
    assert bool((chosen.diff() > 0).all())
    whole = wavelet_subspace((8, 12), 96, wavelet="db2", levels=levels)
    sizes = whole.analyse(image).abs()
    assert torch.equal(chosen, sizes.topk(10).indices.sort().values)
    some = wavelet_subspace((8, 12), chosen, wavelet="db2", levels=levels)
    # What is left out is the rest of the energy: the best approximation there is.
    error = image - some.synthesise(some.analyse(image))
    rest = (sizes**2).sort().values[:-10].sum()
    assert float((error**2).sum()) == pytest.approx(float(rest), rel=1e-12)


def test_of_equal_coefficients_the_coarse_ones_are_taken() -> None:
    assert largest_wavelets(torch.zeros(8), 3).tolist() == [0, 1, 2]
    complex_image = torch.ones(4, 4, dtype=torch.complex128) * 1j
    assert largest_wavelets(complex_image, 1, wavelet="haar").tolist() == [0]


def test_what_makes_no_wavelets_is_refused() -> None:
    for name in ("bior2.2", "dmey"):
        with pytest.raises(InputError, match=f"orthogonal.*got '{name}'"):
            wavelet_subspace((16,), 2, wavelet=name)
    with pytest.raises(InputError, match=r"a discrete one of PyWavelets.*got 'morl'"):
        wavelet_subspace((16,), 2, wavelet="morl")
    for grid, levels in (((6,), 2), ((16,), 0), ((7,), None), ((8, 4), 3)):
        with pytest.raises(ShapeError, match=r"multiples of 2\*\*levels"):
            wavelet_subspace(grid, 2, wavelet="haar", levels=levels)
    for count in (0, 17):
        with pytest.raises(ShapeError, match=rf"1\.\.16 for grid .*; got {count}"):
            wavelet_subspace((16,), count)
        with pytest.raises(ShapeError, match=rf"1\.\.16 for grid .*; got {count}"):
            largest_wavelets(torch.ones(16), count)
    with pytest.raises(InputError, match="indices must be different numbers"):
        wavelet_subspace((16,), torch.tensor([1, 1]))
    with pytest.raises(ShapeError, match="one or two dimensions"):
        wavelet_subspace((4, 4, 4), 2)
    with pytest.raises(InputError, match="entries that are not finite"):
        largest_wavelets(torch.full((16,), float("nan")), 2)
    with pytest.raises(InputError, match="real or complex floating point"):
        wavelet_subspace((16,), 2, dtype=torch.int64)
