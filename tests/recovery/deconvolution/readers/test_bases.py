"""Subspaces that arrays describe."""

import math

import numpy as np
import pytest
import torch

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers import bases as module
from tacit.recovery.deconvolution.readers.bases import (
    filters_from,
    notes_subspace,
    signal_from,
    signal_grid,
    whole,
)
from tacit.recovery.deconvolution.readers.observation import Observation
from tacit.recovery.subspaces.subspace import basis_matrix
from tacit.recovery.subspaces.wavelet import wavelet_subspace


def audio(channels: int = 1, size: int = 12) -> Observation:
    """Return a recording of zeros."""
    values = torch.zeros(channels, size, dtype=torch.float64)
    return Observation(values=values, kind="audio", rate=100)


def test_filters_by_size_mask_delays_and_basis() -> None:
    (sized,) = filters_from({"filter_size": np.array(3)}, audio())
    assert torch.equal(basis_matrix(sized), torch.eye(3, dtype=torch.float64))
    mask = np.array([[True, False, True], [False, True, False]])
    first, second = filters_from({"filter_support": mask}, audio(2))
    assert (first.dimension, second.dimension) == (2, 1)
    (delayed,) = filters_from({"filter_support": np.array([0, 4])}, audio())
    assert basis_matrix(delayed).nonzero().tolist() == [[0, 0], [4, 1]]
    basis = np.arange(1.0, 13.0).reshape(2, 3, 2)
    stored = filters_from({"B": basis}, audio(2))
    for own, wanted in zip(stored, basis, strict=True):
        np.testing.assert_array_equal(basis_matrix(own), wanted)


def test_signals_by_support_modes_and_names() -> None:
    observed = audio()
    (places,) = basis_matrix(
        signal_from({"signal_support": np.array([2])}, observed, (3,), "full")
    ).T
    assert places.tolist() == [0.0, 0.0, 1.0] + [0.0] * 7
    low = {"signal_basis": np.array("fourier"), "signal_dimension": np.array(3)}
    matrix = basis_matrix(signal_from(low, observed, (1,), "circular"))
    angle = 2.0 * np.pi * np.arange(12) / 12
    wanted = np.stack([np.ones(12), np.cos(angle), np.sin(angle)])
    spanned = matrix @ (matrix.T @ torch.from_numpy(wanted.T))
    np.testing.assert_allclose(spanned, wanted.T, atol=1e-12)
    modes = {"signal_modes": np.array([0, 1])}
    assert signal_from(modes, observed, (1,), "circular").dimension == 2
    free = signal_from({"signal_basis": np.array("identity")}, observed, (3,), "valid")
    assert free.dimension == 14


def test_the_grid_of_a_signal_follows_from_the_boundary() -> None:
    grids = [signal_grid((9, 8), (3, 2), b) for b in ("full", "valid", "same")]
    assert grids == [(7, 7), (11, 9), (9, 8)]
    with pytest.raises(InputError, match="longer than the observation"):
        signal_grid((3,), (4,), "full")


def test_whole_is_every_signal() -> None:
    assert torch.equal(basis_matrix(whole((2, 2))), torch.eye(4, dtype=torch.float64))


def tones(onset: float = 0.2, frequency: float = 5.0, decay: float = 1.0) -> None:
    """Make one tone of a second at 100 samples a second."""
    vectors = [torch.tensor([v]).double() for v in (onset, frequency, decay)]
    notes_subspace(*vectors, length=100, rate=100.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"onset": -0.1}, "onset must be in 0..0.99; got -0.1"),
        ({"onset": 1.0}, "onset must be in"),
        ({"frequency": 50.1}, "frequency must be in 0..50"),
        ({"decay": -1.0}, "decay must be in"),
        ({"decay": math.nan}, "decay must be in"),
        ({"frequency": 0.0}, "every tone must sound"),
    ],
)
def test_a_tone_out_of_range_is_refused(changes: dict[str, float], words: str) -> None:
    tones()
    with pytest.raises(InputError, match=words):
        tones(**changes)


def test_too_many_tones_are_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_STORED", 199)
    with pytest.raises(InputError, match="1 tones of 100 samples are too many"):
        tones()


def test_known_wavelets_of_a_picture() -> None:
    values = torch.zeros(1, 4, 8, dtype=torch.float64)
    observed = Observation(values=values, kind="image")
    members = {"signal_wavelets": np.array([0, 9, 4])}
    own = signal_from(members, observed, (1, 1), "valid")
    wanted = wavelet_subspace((4, 8), torch.tensor([0, 9, 4]), wavelet="haar")
    assert torch.equal(basis_matrix(own), basis_matrix(wanted))
    named = {**members, "wavelet": np.array("db2")}
    other = signal_from(named, observed, (1, 1), "valid")
    assert other.dimension == 3
    assert not torch.allclose(basis_matrix(other), basis_matrix(own))
    with pytest.raises(InputError, match="wavelet"):
        signal_from({**members, "wavelet": np.array("x")}, observed, (1, 1), "valid")
