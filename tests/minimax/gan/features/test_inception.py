import hashlib
import os
from io import BytesIO
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tacit.errors import InputError
from tacit.minimax.gan.features import inception
from tacit.minimax.gan.features.inception import (
    INCEPTION_BYTES,
    INCEPTION_DIGEST,
    INCEPTION_FILES,
    find_inception,
    inception_features,
    load_inception,
    weights_folders,
)
from tacit.minimax.gan.features.inception_network import inception_network
from tacit.rng import make_generator


def _weights() -> dict[str, Tensor]:
    """Return weights of the right names and shapes, not trained, with a last layer."""
    stream = make_generator(0, "inception")
    found: dict[str, Tensor] = {}
    for name, like in inception_network().state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        values = torch.randn(like.shape, generator=stream)
        scale = (2.0 / like[0].numel()) ** 0.5 if like.ndim == 4 else 0.1
        found[name] = values.mul_(scale)
        if name.endswith(("running_var", "bn.weight")):
            found[name].abs_().add_(0.5)
    found["fc.weight"], found["fc.bias"] = torch.zeros(1008, 2048), torch.zeros(1008)
    return found


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return _weights()


def _saved(content: object, *, is_zip: bool = True) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


@pytest.fixture
def known(
    weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a file that passes for the known one."""
    content = _saved(weights, is_zip=False)
    path = tmp_path / INCEPTION_FILES[0]
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(inception, "INCEPTION_DIGEST", digest)
    monkeypatch.setattr(inception, "INCEPTION_BYTES", len(content))
    return path


def test_the_files_are_named_after_their_digest() -> None:
    assert len(INCEPTION_DIGEST) == 64
    for name in INCEPTION_FILES:
        assert name.removesuffix(".pth").endswith(f"-{INCEPTION_DIGEST[:8]}")


def test_images_reach_the_network_as_in_pytorch_fid(
    known: Path, weights: dict[str, Tensor], generator: torch.Generator
) -> None:
    features = inception_features(known)
    assert features.dimension == 2048
    assert features.digest == inception.INCEPTION_DIGEST
    images = torch.randint(256, (1, 3, 20, 30), dtype=torch.uint8, generator=generator)
    network = inception_network()
    network.load_state_dict(
        {name: weights.get(name, torch.tensor(0)) for name in network.state_dict()},
        assign=True,
    )
    resized = interpolate(
        images / 255.0, (299, 299), mode="bilinear", align_corners=False
    )
    with torch.no_grad():
        wanted = network(2.0 * resized - 1.0)
    torch.testing.assert_close(features.extract(images), wanted)
    grey = images[:, :1]
    same = features.extract(grey.repeat(1, 3, 1, 1))
    torch.testing.assert_close(features.extract(grey), same)


def test_both_formats_of_torch_are_read(weights: dict[str, Tensor]) -> None:
    counts = {
        f"{name.removesuffix('weight')}num_batches_tracked": torch.tensor(7)
        for name in weights
        if name.endswith("bn.weight")
    }
    one = load_inception(_saved(weights)).state_dict()
    other = load_inception(_saved(weights | counts, is_zip=False)).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(one["Conv2d_1a_3x3.conv.weight"], next(iter(weights.values())))


def test_weights_are_looked_for_in_order(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, home = tmp_path / "own", tmp_path / "home"
    checkpoints = home / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    own.mkdir()
    monkeypatch.setenv("TACIT_WEIGHTS", str(own))
    monkeypatch.setenv("TORCH_HOME", str(home))
    with pytest.raises(InputError, match="tacit never downloads") as caught:
        find_inception()
    for words in (str(own), str(checkpoints), INCEPTION_FILES[0], "https://github.com"):
        assert words in str(caught.value)
    late, early = checkpoints / INCEPTION_FILES[0], own / INCEPTION_FILES[1]
    os.link(known, late)
    assert find_inception() == late
    os.link(known, early)
    assert find_inception() == early
    assert inception_features().name == "Inception-v3 (2015-12-05)"
    with pytest.raises(InputError, match=r"absent\.pth does not exist"):
        inception_features(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("environment", "folders"),
    [
        ({}, ["~/.cache/torch/hub/checkpoints"]),
        ({"XDG_CACHE_HOME": "/c"}, ["/c/torch/hub/checkpoints"]),
        ({"XDG_CACHE_HOME": "/c", "TORCH_HOME": "/t"}, ["/t/hub/checkpoints"]),
        ({"TACIT_WEIGHTS": "~/w", "TORCH_HOME": "/t"}, ["~/w", "/t/hub/checkpoints"]),
        ({"TACIT_WEIGHTS": "", "TORCH_HOME": "/t"}, ["/t/hub/checkpoints"]),
    ],
)
def test_folders_follow_the_environment(
    environment: dict[str, str], folders: list[str]
) -> None:
    wanted = tuple(Path(folder).expanduser() for folder in folders)
    assert weights_folders(environment) == wanted


def test_pytorch_looks_in_the_same_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TACIT_WEIGHTS", raising=False)
    for home in (None, "/somewhere"):
        if home is not None:
            monkeypatch.setenv("TORCH_HOME", home)
        hub = Path(torch.hub.get_dir())
        assert weights_folders(dict(os.environ)) == (hub / "checkpoints",)


def test_another_file_is_refused(known: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        inception_features(known.parent)
    content = bytearray(known.read_bytes())
    content[len(content) // 2] ^= 1
    known.write_bytes(content)
    with pytest.raises(InputError, match="it is damaged, or not the known") as caught:
        inception_features(known)
    assert hashlib.sha256(content).hexdigest() in str(caught.value)
    known.write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"it has {len(content) - 1}; tacit never"):
        inception_features(known)


def test_the_size_is_that_of_the_true_file(tmp_path: Path) -> None:
    path = tmp_path / "small.pth"
    path.write_bytes(b"weights")
    with pytest.raises(InputError, match=f"must have the {INCEPTION_BYTES} bytes"):
        inception_features(path)


def test_nothing_runs_when_a_pickle_is_read(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (trace,)

    with pytest.raises(InputError, match="cannot be read"):
        load_inception(_saved({"fc.weight": Evil()}))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"not a file of torch", "cannot be read"),
        (_saved(torch.zeros(3)), "no state dictionary"),
        (_saved({}), r"must have Conv2d_1a_3x3\.conv\.weight of shape \(32, 3, 3, 3\)"),
    ],
)
def test_damaged_weights_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_inception(content)


def test_wrong_tensors_are_refused(weights: dict[str, Tensor]) -> None:
    name = "Mixed_6d.branch7x7_2.conv.weight"
    for wrong in (weights[name].transpose(2, 3), "text"):
        with pytest.raises(InputError, match=r"must have Mixed_6d\.branch7x7_2"):
            load_inception(_saved(weights | {name: wrong}))
    broken = weights[name].clone()
    broken[3, 2, 0, 1] = float("nan")
    with pytest.raises(InputError, match=r"not finite in Mixed_6d\.branch7x7_2"):
        load_inception(_saved(weights | {name: broken}))
