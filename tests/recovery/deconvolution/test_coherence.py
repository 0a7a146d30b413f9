from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import dft

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution import coherence as module
from tacit.recovery.deconvolution.coherence import (
    coherences,
    flatness,
    subspace_coherence,
)
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.subspaces.matrix import MatrixSubspace, gaussian_subspace
from tacit.recovery.subspaces.subspace import basis_matrix
from tacit.recovery.subspaces.support import SupportSubspace


def rows_of(subspace: MatrixSubspace, grid: int) -> Any:
    """Rows of the unitary transform times B, by the definition, for one dimension."""
    basis = basis_matrix(subspace).numpy()
    padded = np.zeros((grid, basis.shape[1]), dtype=basis.dtype)
    padded[: len(basis)] = basis
    return dft(grid, scale="sqrtn") @ padded


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("grid", [9, 12])
def test_subspace_coherence_is_the_definition(
    dtype: torch.dtype, grid: int, generator: torch.Generator
) -> None:
    subspace = gaussian_subspace((9,), 4, generator=generator, dtype=dtype)
    rows = rows_of(subspace, grid)
    expected = grid / 4 * float((abs(rows) ** 2).sum(1).max())
    assert subspace_coherence(subspace, (grid,)) == pytest.approx(expected, rel=1e-12)


def test_chunks_do_not_matter(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    subspace = gaussian_subspace((6, 5), 7, generator=generator)
    whole = subspace_coherence(subspace)
    monkeypatch.setattr(module, "_CHUNK", 2 * 30)
    assert subspace_coherence(subspace) == pytest.approx(whole, rel=1e-13)


def test_supports_are_as_flat_as_can_be(generator: torch.Generator) -> None:
    places = torch.randperm(20, generator=generator)[:6]
    support = SupportSubspace(indices=places, shape=(20,))
    stored = MatrixSubspace(matrix=basis_matrix(support))
    assert subspace_coherence(support) == 1.0
    assert subspace_coherence(stored) == pytest.approx(1.0, rel=1e-12)


def test_a_single_frequency_is_the_worst() -> None:
    wave = torch.cos(2.0 * torch.pi * 3.0 * torch.arange(16, dtype=torch.float64) / 16)
    wave /= torch.linalg.vector_norm(wave)
    # Real waves sit on two of the 16 frequencies.
    assert subspace_coherence(MatrixSubspace(matrix=wave[:, None])) == pytest.approx(8)
    assert flatness(wave) == pytest.approx(8.0)


def test_flatness_of_images(generator: torch.Generator) -> None:
    image = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    spectrum = dft(5, scale="sqrtn") @ image.numpy() @ dft(4, scale="sqrtn")
    expected = 20 * (abs(spectrum).max() / np.linalg.norm(image.numpy())) ** 2
    assert flatness(image) == pytest.approx(expected, rel=1e-12)
    assert flatness(image + 0j) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match="zero signal"):
        flatness(0.0 * image)


def test_every_filter_gets_its_own(generator: torch.Generator) -> None:
    problem = planted_deconvolution(
        3, 4, 30, num_channels=2, num_sources=2, generator=generator
    )
    filters = tuple(
        torch.randn(30, generator=generator, dtype=torch.float64) for _ in range(4)
    )
    signals = filters[:2]
    found = coherences(problem.linear_map, filters, signals)
    assert [c.filter_flatness for c in found] == [flatness(w) for w in filters]
    assert found[1].signal_flatness == flatness(signals[0])
    assert found[2].signal_flatness == flatness(signals[1])
    plain = coherences(problem.linear_map)
    assert [c.signal_max for c in plain] == [c.signal_max for c in found]
    assert all(c.filter_flatness is None for c in plain)
    with pytest.raises(ShapeError, match="4 filters and 2 signals; got 1"):
        coherences(problem.linear_map, filters[:1])
