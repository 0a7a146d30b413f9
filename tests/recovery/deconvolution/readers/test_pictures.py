"""Scenes behind pictures: aligned, and spanned by the observed picture's wavelets."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers import pictures as module
from tacit.recovery.deconvolution.readers.bases import whole
from tacit.recovery.deconvolution.readers.observation import Observation
from tacit.recovery.deconvolution.readers.pictures import aligned, picture_signal


def observed(generator: torch.Generator, size: int = 16) -> Observation:
    """Return a random picture."""
    values = torch.rand(1, size, size, generator=generator, dtype=torch.float64)
    return Observation(values=values, kind="image")


@pytest.mark.parametrize("mode", ["full", "valid", "same"])
def test_a_centred_kernel_leaves_the_picture_in_its_place(mode: str) -> None:
    scene, kernel = np.arange(48.0).reshape(6, 8), np.zeros((3, 5))
    kernel[1, 2] = 1.0
    seen = convolve(scene, kernel, mode=mode)
    part = aligned(torch.from_numpy(scene), (3, 5), mode, seen.shape)  # type: ignore[arg-type]
    inside = seen[1:-1, 2:-2] if mode == "full" else seen
    np.testing.assert_allclose(part, inside, atol=1e-12)


def test_a_circular_kernel_leaves_the_picture_in_its_place() -> None:
    scene = torch.arange(12.0).reshape(3, 4)
    seen = scene.roll([1, 1], dims=(0, 1))
    assert torch.equal(aligned(scene, (3, 3), "circular", (3, 4)), seen)


def test_all_wavelets_discard_nothing(generator: torch.Generator) -> None:
    found = picture_signal(
        observed(generator), (whole((1, 1)),), "valid",
        wavelet="haar", coefficients=256, basis=None,
    )  # fmt: skip
    assert found.discarded < 1e-12


def test_what_is_discarded_is_what_the_largest_lack(generator: torch.Generator) -> None:
    picture = observed(generator)
    found = picture_signal(
        picture, (whole((1, 1)),), "valid", wavelet="haar", coefficients=20, basis=None
    )
    rest = picture.values[0] - found.signal.synthesise(
        found.signal.analyse(picture.values[0])
    )
    np.testing.assert_allclose(found.discarded, float(rest.norm()), rtol=1e-12)


def test_pictures_too_large_or_too_small_are_refused(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signal(size: int, kernel: int, number: int | None = None) -> None:
        picture_signal(
            observed(generator, size), (whole((kernel, kernel)),), "valid",
            wavelet="haar", coefficients=number, basis=None,
        )  # fmt: skip

    for number in (0, 101):
        with pytest.raises(InputError, match=r"--coefficients must be in 1\.\.100"):
            signal(6, 5, number)
    monkeypatch.setattr(module, "MAX_WAVELET_PIXELS", 255)
    with pytest.raises(InputError, match="at most 255 pixels; got 16 x 16"):
        signal(16, 1)
