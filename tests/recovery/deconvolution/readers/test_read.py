"""Files become problems; what does not fit is refused in one sentence."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile
from scipy.signal import convolve

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers.read import KnownSubspaces, read_convolution
from tacit.recovery.maps.convolution import ConvolutionMap

FULL: dict[str, Any] = {
    "y": np.arange(1.0, 11.0),
    "filter_support": [0, 3],
    "C": np.eye(7, 2),
    "boundary": "full",
}


def arrays(folder: Path, **changes: Any) -> Path:
    """Write the arrays of a small problem, some changed, those of None left out."""
    members = {k: v for k, v in (FULL | changes).items() if v is not None}
    np.savez(folder / "a.npz", **members)
    return folder / "a.npz"


def fitted(problem: Any, h: Any, x: Any) -> np.ndarray[Any, Any]:
    """Return what the problem's map makes of coefficients."""
    left = torch.as_tensor(np.asarray(h))[:, None]
    right = torch.as_tensor(np.asarray(x)).conj()[:, None].resolve_conj()
    return problem.linear_map.apply_factors(left, right).numpy()


def test_bases_give_the_convolution_of_numpy(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    b, c = draw.normal(size=(12, 3)), draw.normal(size=(12, 4))
    h, x = draw.normal(size=3), draw.normal(size=4)
    y = np.fft.ifft(np.fft.fft(b @ h) * np.fft.fft(c @ x)).real
    path = tmp_path / "a.npz"
    np.savez(path, y=y, B=b, C=c, h=h, x=x, noise_level=0.5)
    read = read_convolution([path])
    np.testing.assert_allclose(fitted(read.problem, h, x), y, atol=1e-12)
    assert (read.boundary, read.observed.grid) == ("circular", (12,))
    assert read.problem.noise_level == 0.5
    # Three standard deviations above the mean of a chi-squared variable.
    wanted = 0.5 * np.sqrt(12 + 3 * np.sqrt(24))
    np.testing.assert_allclose(read.noise_bound, wanted)
    truth = read.true_signal()
    assert truth is not None
    np.testing.assert_allclose(truth, c @ x, atol=1e-12)


def test_channels_share_a_signal_and_complex_numbers_stay(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    b = draw.normal(size=(2, 9, 3)) + 1j * draw.normal(size=(2, 9, 3))
    c, h, x = draw.normal(size=(9, 2)), draw.normal(size=6), draw.normal(size=2)
    signal = np.fft.fft(c @ x)
    y = [
        np.fft.ifft(np.fft.fft(p @ k) * signal)
        for p, k in zip(b, (h[:3], h[3:]), strict=True)
    ]
    np.savez(tmp_path / "a.npz", y=y, B=b, C=c)
    problem = read_convolution([tmp_path / "a.npz"]).problem
    found = fitted(problem, h.astype(complex), x.astype(complex))
    np.testing.assert_allclose(found, np.concatenate(y), atol=1e-12)


def test_an_image_with_a_mask_of_the_kernel(tmp_path: Path) -> None:
    mask = np.array([[True, False], [False, True]])
    scene, kernel = np.arange(12.0).reshape(3, 4), np.array([[2.0, 0.0], [0.0, -1.0]])
    y = convolve(scene, kernel, mode="valid")
    np.savez(tmp_path / "a.npz", y=y, filter_support=mask, boundary="valid",
             signal_basis="identity", noise_bound=0.25)  # fmt: skip
    read = read_convolution([tmp_path / "a.npz"])
    assert read.noise_bound == 0.25
    found = fitted(read.problem, [2.0, -1.0], scene.ravel())
    np.testing.assert_allclose(found, y.ravel(), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y": None}, "array 'y', what was observed, is missing"),
        ({"y": np.zeros((2, 2, 2, 2))}, "y must have one or two dimensions"),
        ({"y": [1.0, np.nan] * 5}, "y has numbers that are not finite"),
        ({"y": np.zeros(0)}, "y is empty"),
        ({"y": ["a"] * 10}, "y must be numbers; got <U1"),
        ({"y": np.ones(9)}, r"observed must have shape \(10,\)"),
        ({"C": None}, "the signal must be given by one of C, signal_support"),
        ({"signal_modes": [0]}, "got C and signal_modes"),
        ({"filter_support": None}, "the filters must be given by one of B"),
        ({"filter_support": []}, "must be integers of at least 0; got float64"),
        ({"filter_support": [0, -1]}, "of at least 0; got int64 from -1"),
        ({"filter_support": [0, 0]}, "must be different numbers"),
        ({"filter_support": [2**40]}, "longer than the observation"),
        ({"filter_support": [False, False]}, "False everywhere"),
        ({"filter_support": np.zeros((3, 2), int)}, "first is 1"),
        ({"filter_support": None, "filter_size": 11}, "longer than the observation"),
        ({"filter_support": None, "filter_size": [2, 2]}, "must be 1 or 1 positive"),
        ({"filter_support": None, "filter_size": 0}, "positive sizes; got"),
        (
            {"boundary": "open"},
            "must be one of circular, full, valid, same; got 'open'",
        ),
        ({"boundary": 3}, "boundary must be one text"),
        ({"noise_bound": -1.0}, "noise_bound must be at least 0"),
        ({"noise_bound": [1.0, 2.0]}, "noise_bound must be one number"),
        ({"noise_bound": 1.0, "noise_level": 1.0}, "not both"),
        ({"h": [1.0, 2.0]}, "give both, or none"),
        ({"h": [1.0, 2.0], "x": [1.0]}, "must have 2 and 2 coefficients; got 2 and 1"),
        ({"h": [1j, 2.0], "x": [1.0, 2.0]}, "must be real"),
        ({"C": None, "signal_basis": "curvelet"}, "got 'curvelet'"),
        ({"C": None, "signal_support": [True]}, r"signal's shape \(7,\); got \(1,\)"),
        ({"C": None, "onset": [0.0]}, "frequency, decay is missing"),
        ({"C": np.array([{}], dtype=object)}, "never loaded"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = arrays(tmp_path, **changes)
    with pytest.raises(InputError, match=words) as caught:
        read_convolution([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bomb_and_a_truncated_archive_are_refused(tmp_path: Path) -> None:
    path = arrays(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as an archive"):
        read_convolution([path])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y.npy", bytes(2**29))
    with pytest.raises(InputError, match="claims 536870912"):
        read_convolution([path])


def picture(path: Path, *, side: int = 20, seed: int = 0) -> Path:
    """Write a grey picture."""
    levels = np.random.default_rng(seed).integers(0, 256, (side, side + 1))
    Image.fromarray(levels.astype(np.uint8)).save(path)
    return path


def test_pictures_of_one_scene_leave_it_free(tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{i}.png", seed=i) for i in range(2)]
    read = read_convolution(files, KnownSubspaces(filter_size=(3, 2)))
    linear_map = read.problem.linear_map
    assert isinstance(linear_map, ConvolutionMap)
    assert (linear_map.in_shape, read.boundary) == ((12, 22 * 22), "valid")
    assert read.is_exact_subspace
    pixels = np.stack([np.asarray(Image.open(file)) for file in files]) / 255.0
    np.testing.assert_array_equal(read.problem.measurements, pixels.ravel())


def test_a_single_picture_is_made_of_its_largest_wavelets(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    read = read_convolution([path], KnownSubspaces(filter_size=(3, 3), wavelet="haar"))
    # 20 + 2 rows become 20, 21 + 2 columns become 20.
    assert read.observed.grid == (18, 18)
    assert read.problem.linear_map.in_shape == (9, 18 * 18 // 6)
    assert not read.is_exact_subspace
    assert read.notes[0] == "2 rows and 3 columns were cut off, so that wavelets fit"
    assert "guessed from the blurred picture" in read.notes[1]
    fewer = read_convolution(
        [path], KnownSubspaces(filter_size=(3, 3), wavelet="haar", coefficients=20)
    )
    assert fewer.problem.linear_map.in_shape == (9, 20)
    assert fewer.noise_bound > read.noise_bound


def recording(path: Path, *, channels: int = 1, size: int = 40) -> Path:
    """Write a recording of 16 bits."""
    levels = np.random.default_rng(2).integers(-9000, 9000, (size, channels))
    wavfile.write(path, 1000, levels.astype(np.int16))
    return path


def test_a_recording_with_a_score(tmp_path: Path) -> None:
    path, score = recording(tmp_path / "a.wav"), tmp_path / "score.npz"
    np.savez(score, onset=[0.0, 0.01], frequency=[100.0, 150.0], decay=[3.0, 4.0])
    read = read_convolution([path], KnownSubspaces(filter_size=(5,), signal=score))
    assert read.problem.linear_map.in_shape == (5, 4)
    linear_map = read.problem.linear_map
    assert isinstance(linear_map, ConvolutionMap)
    units = torch.eye(4, dtype=torch.float64)
    tones = linear_map.signal.synthesise(units).numpy()
    time = np.arange(36) / 1000.0
    for i, (start, pitch, fade) in enumerate([(0.0, 100.0, 3.0), (0.01, 150.0, 4.0)]):
        since = np.where(time >= start - 1e-9, time - start, np.inf)
        wave: Any = np.exp(-fade * since) * np.exp(
            2j * np.pi * pitch * np.where(np.isfinite(since), since, 0.0)
        )
        for tone, part in ((tones[i], wave.real), (tones[2 + i], wave.imag)):
            np.testing.assert_allclose(tone, part / np.linalg.norm(part), atol=1e-9)


def test_channels_of_a_recording_need_no_basis(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav", channels=2)
    read = read_convolution([path], KnownSubspaces(filter_size=(4,)))
    assert read.problem.linear_map.in_shape == (8, 37)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", side=9)
    sound, data = recording(tmp_path / "a.wav"), arrays(tmp_path)
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "cut.png").write_bytes(first.read_bytes()[:90])
    (tmp_path / "cut.jpg").write_bytes(first.read_bytes())
    small = KnownSubspaces(filter_size=(3, 3))
    cases: list[tuple[list[Path], KnownSubspaces | None, str]] = [
        ([], None, "give 1 to 64 files; got 0"),
        ([first, second], small, "21 x 20 pixels, .*b.png 10 x 9 pixels"),
        ([first, sound], small, "recordings or pictures, not both"),
        ([data, data], None, "holds all channels; give it alone"),
        ([data], small, "must say itself"),
        ([data], KnownSubspaces(boundary="valid"), "the file says boundary full"),
        ([first], None, "give either --kernel-size"),
        ([sound], None, "give either --taps"),
        ([sound], KnownSubspaces(filter_size=(4,)), "one channel alone does not tell"),
        ([sound], KnownSubspaces(filter_size=(400,)), "longer than the observation"),
        (
            [sound],
            KnownSubspaces(filter_size=(4,), coefficients=3),
            "--coefficients is for",
        ),
        ([first], KnownSubspaces(filter_size=(21, 3)), "longer than the observation"),
        ([first], KnownSubspaces(filter_size=(3, 3), wavelet="mexh"), "'mexh'"),
        (
            [first],
            KnownSubspaces(filter_size=(3, 3), coefficients=0),
            "--coefficients must be",
        ),
        ([first], KnownSubspaces(filters=sound), "must be an .npz file"),
        ([first], KnownSubspaces(filters=tmp_path / "no.npz"), "does not exist"),
        ([tmp_path / "black.png"], small, "is zero throughout"),
        ([tmp_path / "empty.wav"], small, "is empty"),
        ([tmp_path / "cut.png"], small, "cannot be read as a PNG picture"),
        ([tmp_path / "cut.jpg"], small, "cannot be read as a JPEG picture"),
        ([tmp_path / "no.png"], small, "does not exist"),
        ([tmp_path], small, "is not a file"),
    ]
    for files, known, words in cases:
        with pytest.raises(InputError, match=words):
            read_convolution(files, known)
