import hashlib

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.features.module import ModuleFeatures, digest_of_weights
from tacit.minimax.gan.features.preparation import Preparation


class Means(nn.Module):
    """The mean of each channel, times a weight; counts its calls in training mode."""

    def __init__(self, factor: float = 1.0) -> None:
        nn.Module.__init__(self)
        self.factor = nn.Parameter(torch.tensor(factor))

    @override
    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return self.factor * x.mean((2, 3))


def _features(module: nn.Module, dimension: int = 3) -> ModuleFeatures:
    preparation = Preparation(channels=3, values="0..255")
    return ModuleFeatures(
        module, name="means", dimension=dimension, preparation=preparation
    )


def _images(generator: torch.Generator) -> Tensor:
    return torch.randint(256, (4, 3, 5, 6), dtype=torch.uint8, generator=generator)


def test_runs_the_module_on_prepared_pixels(generator: torch.Generator) -> None:
    images = _images(generator)
    features = _features(Means(2.0))
    found = features.extract(images)
    torch.testing.assert_close(found, 2.0 * images.float().mean((2, 3)))
    assert not found.requires_grad
    assert features.preprocess == "3 channels, values 0..255"


def test_the_module_itself_does_not_matter_any_more(generator: torch.Generator) -> None:
    images, module = _images(generator), Means()
    features = _features(module)
    before = features.extract(images)
    with torch.no_grad():
        module.factor.add_(1.0)
    assert torch.equal(features.extract(images), before)
    assert module.training
    assert module.factor.requires_grad


def test_digest_tells_weights_apart() -> None:
    one, same, other = Means(1.0), Means(1.0), Means(1.5)
    digests = [_features(module).digest for module in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]
    assert _features(nn.Identity()).digest is None
    named = ModuleFeatures(one, name="means", dimension=3, digest="abc")
    assert named.digest == "abc"


def test_digest_is_that_of_names_types_shapes_and_bytes() -> None:
    weights = {"b": torch.tensor([1.0]), "a": torch.tensor([[2]], dtype=torch.int64)}
    content = b"a torch.int64 (1, 1);" + (2).to_bytes(8, "little")
    content += b"b torch.float32 (1,);" + bytes([0, 0, 128, 63])
    assert digest_of_weights(weights) == hashlib.sha256(content).hexdigest()
    scalar = {"n": torch.tensor(0, dtype=torch.int64)}
    content = b"n torch.int64 ();" + bytes(8)
    assert digest_of_weights(scalar) == hashlib.sha256(content).hexdigest()


def test_wrong_dimension_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ShapeError, match="name the right dimension"):
        _features(Means(), dimension=2).extract(_images(generator))


def test_features_that_are_not_numbers_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="features must be finite"):
        _features(Means(float("nan"))).extract(_images(generator))


@pytest.mark.global_rng
def test_images_that_do_not_fit_are_refused(generator: torch.Generator) -> None:
    dense = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    with pytest.raises(
        InputError, match=r"means cannot take images of shape \(3, 5, 6"
    ):
        _features(dense).extract(_images(generator))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="name must not be empty"):
        ModuleFeatures(Means(), name="", dimension=3)
    with pytest.raises(InputError, match="dimension must be at least 1; got 0"):
        ModuleFeatures(Means(), name="means", dimension=0)
    with pytest.raises(InputError, match="device 'nowhere' cannot be used"):
        ModuleFeatures(Means(), name="means", dimension=3, device="nowhere")


class Returns(nn.Module):
    """What some networks return: several tensors, or complex numbers."""

    def __init__(self, kind: str) -> None:
        nn.Module.__init__(self)
        self.kind = kind

    @override
    def forward(self, x: Tensor) -> object:
        means = x.mean((2, 3))
        return (means, x) if self.kind == "tuple" else torch.complex(means, means)


@pytest.mark.parametrize("kind", ["tuple", "torch.complex64"])
def test_what_is_no_tensor_of_features_is_refused(
    kind: str, generator: torch.Generator
) -> None:
    with pytest.raises(InputError, match=f"one tensor of real numbers; got {kind}"):
        _features(Returns(kind)).extract(_images(generator))
