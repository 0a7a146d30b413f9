"""The front door: every kind of source, and what is no source."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from tacit.errors import InputError
from tacit.minimax.gan.data.dataset import AbstractDataset, ArrayDataset
from tacit.minimax.gan.data.gaussians import log_density, ring_mixture
from tacit.minimax.gan.data.read import BUILT_IN, gaussian_data, read_data
from tacit.minimax.gan.grid import to_pixels
from tacit.rng import make_generator


def everything(data: AbstractDataset | None) -> torch.Tensor:
    """Return all samples in order."""
    assert data is not None
    return data.batch(torch.arange(data.num_samples))


def array_data(data: AbstractDataset | None) -> ArrayDataset:
    """Return it as what it is."""
    assert isinstance(data, ArrayDataset)
    return data


def test_every_fifth_digit_is_held_out() -> None:
    data = read_data("digits")
    values = load_digits(return_X_y=True)[0].reshape(-1, 1, 8, 8)
    held_out = np.arange(len(values)) % 5 == 4
    for part, chosen in ((data.train, ~held_out), (data.test, held_out)):
        found = to_pixels(everything(part)).numpy()
        expected = np.floor(values[chosen] * (255 / 16) + 0.5)
        np.testing.assert_array_equal(found, expected)
    labels = array_data(data.test).labels
    assert labels is not None
    assert labels.tolist() == load_digits(return_X_y=True)[1][held_out].tolist()
    assert (data.name, data.digest_of, data.mixture) == ("digits", "samples", None)


def test_digits_of_another_size() -> None:
    data = read_data("digits", image_size=16)
    assert data.train.shape == (1, 16, 16)
    assert data.test is not None
    assert data.test.shape == (1, 16, 16)
    assert data.digest != read_data("digits").digest


@pytest.mark.parametrize(("name", "modes"), [("gaussians", 8), ("gaussians-grid", 25)])
def test_mixtures_bring_their_distribution(name: str, modes: int) -> None:
    data = read_data(name)
    assert data.mixture is not None
    assert data.mixture.num_modes == modes
    assert data.train.num_samples == 50_000
    assert array_data(data.train).labels is not None
    # Both parts are samples of it: their mean density is that of exact samples,
    # E log p = -log k - 1 - log(2 pi s^2), of variance 1, for modes far apart.
    deviation = data.mixture.standard_deviation
    expected = -np.log(modes) - 1.0 - np.log(2.0 * np.pi * deviation**2)
    for part in (data.train, data.test):
        found = log_density(data.mixture, everything(part))
        assert abs(float(found.mean()) - expected) < 5.0 / np.sqrt(len(found))
    assert data.digest == read_data(name).digest


def test_held_out_samples_are_others() -> None:
    data = gaussian_data(
        ring_mixture(), generator=make_generator(0), num_train=50, num_test=50
    )
    train, test = everything(data.train), everything(data.test)
    assert float(torch.cdist(train, test).min()) > 0.0
    with pytest.raises(InputError, match="num_samples must be"):
        gaussian_data(ring_mixture(), generator=make_generator(0), num_test=0)


def test_all_built_in_data_differ() -> None:
    assert len({read_data(name).digest for name in BUILT_IN}) == 3


CIFAR = {
    f"{name}.bin": bytes([index]) + bytes([40 * index + 1]) * 3072
    for index, name in enumerate(
        [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    )
}


def cifar(folder: Path) -> list[Path]:
    """Write one image a file: as a folder, and as an archive."""
    inner = folder / "cifar-10-batches-bin"
    inner.mkdir()
    archive = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        for name, content in CIFAR.items():
            (inner / name).write_bytes(content)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return [inner, folder, archive]


def test_cifar_is_one_thing_in_a_folder_above_it_and_packed(tmp_path: Path) -> None:
    digests: set[str] = set()
    for path in cifar(tmp_path):
        data = read_data(path)
        digests.add(data.digest)
        assert (data.name, data.train.shape) == ("cifar-10", (3, 32, 32))
        levels = to_pixels(everything(data.train))[:, 0, 0, 0].tolist()
        assert levels == [1, 41, 81, 121, 161]
        assert to_pixels(everything(data.test)).unique().tolist() == [201]
        labels = array_data(data.train).labels
        assert labels is not None
        assert labels.tolist() == [0, 1, 2, 3, 4]
    assert len(digests) == 1
    assert read_data(tmp_path, image_size=16).train.shape == (3, 16, 16)


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (9, 7), "red").save(tmp_path / f"{number}.webp")
    data = read_data(
        str(tmp_path), image_size=6, cache_folder=str(tmp_path / "c"), max_cache_bytes=0
    )
    assert (data.name, data.train.shape) == (tmp_path.name, (3, 6, 6))
    assert everything(data.test).shape == (1, 3, 6, 6)
    assert (tmp_path / "c").is_dir()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_every_tenth_of_an_array_is_held_out(suffix: str, tmp_path: Path) -> None:
    images = np.arange(23 * 36, dtype=np.uint64).reshape(23, 6, 6) % 256
    images = images.astype(np.uint8)
    path = tmp_path / f"mine{suffix}"
    if suffix == ".npy":
        np.save(path, images)
    else:
        np.savez_compressed(path, images=images)
    data = read_data(path)
    assert data.name == "mine"
    np.testing.assert_array_equal(
        to_pixels(everything(data.test))[:, 0], images[[9, 19]]
    )
    assert data.train.num_samples == 21
    assert read_data(path, image_size=4).train.shape == (1, 4, 4)


def test_held_out_arrays_of_the_file_are_used(tmp_path: Path) -> None:
    vectors = np.arange(20.0).reshape(10, 2)
    np.savez(tmp_path / "a.npz", train=vectors[:8], test=vectors[8:])
    data = read_data(tmp_path / "a.npz")
    np.testing.assert_array_equal(everything(data.train), vectors[:8])
    np.testing.assert_array_equal(everything(data.test), vectors[8:])


def test_few_samples_are_all_trained_on(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 2)))
    data = read_data(tmp_path / "a.npy")
    assert (data.test, data.train.num_samples) == (None, 9)
    assert "fewer than 10" in data.split


def test_an_empty_held_out_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=np.zeros((0, 2)), test=np.zeros((3, 2)))
    with pytest.raises(InputError, match="no samples to train on"):
        read_data(tmp_path / "a.npz")


def test_vectors_have_no_image_size(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 2)))
    for source in ("gaussians", tmp_path / "a.npy"):
        with pytest.raises(InputError, match="image_size is for images"):
            read_data(source, image_size=8)


@pytest.mark.parametrize("size", [0, 3, 2000])
@pytest.mark.parametrize("source", ["digits", "gaussians", "."])
def test_a_size_out_of_range_is_refused(source: str, size: int) -> None:
    with pytest.raises(InputError, match=f"got {size}"):
        read_data(source, image_size=size)


def test_what_is_no_source_is_told_what_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"diggits does not exist; accepted are digit"):
        read_data("diggits")
    for name in ("a.txt", "a.tar", "a.bin"):
        (tmp_path / name).write_bytes(b"text")
        with pytest.raises(InputError, match=rf"{name} is not known as data; accepted"):
            read_data(tmp_path / name)
    # A path is never a name.
    with pytest.raises(InputError, match="does not exist"):
        read_data(Path("digits"))
