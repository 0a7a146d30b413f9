from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tacit.minimax.gan.features.inception_network import (
    Block,
    Unit,
    inception_network,
    pool,
)


def fill(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Give a network that was made nowhere random weights of a sensible size."""
    module = module.to_empty(device="cpu")
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
            continue
        scale = (2.0 / tensor[0].numel()) ** 0.5 if tensor.ndim == 4 else 0.1
        tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
        if name.endswith(("running_var", "bn.weight")):
            tensor.abs_().add_(0.5)
    return module


def normalised(weights: dict[str, Tensor], name: str, values: Tensor) -> Tensor:
    """Return batch normalisation with stored statistics, and ReLU."""
    mean, variance, gamma, beta = (
        weights[f"{name}.bn.{key}"][None, :, None, None]
        for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (gamma * (values - mean) / (variance + 1e-3).sqrt() + beta).clamp(min=0.0)


def halved(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Return a unit of stride 2 without padding."""
    kernel = weights[f"{name}.conv.weight"]
    return normalised(weights, name, functional.conv2d(x, kernel, None, 2))


def kept(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Return a unit that keeps the size."""
    kernel = weights[f"{name}.conv.weight"]
    padding = (kernel.shape[2] // 2, kernel.shape[3] // 2)
    return normalised(weights, name, functional.conv2d(x, kernel, None, 1, padding))


def by_formula(name: str, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return what a block of the paper computes, written out one by one."""

    def k(unit: str, values: Tensor) -> Tensor:
        return kept(weights, unit, values)

    def h(unit: str, values: Tensor) -> Tensor:
        return halved(weights, unit, values)

    if name.startswith("Mixed_5"):  # 1, 5, 3-3, pool
        five = k("branch5x5_2", k("branch5x5_1", x))
        three = k("branch3x3dbl_2", k("branch3x3dbl_1", x))
        three = k("branch3x3dbl_3", three)
        mean = k("branch_pool", pool_by_hand(x, "average"))
        return torch.cat([k("branch1x1", x), five, three, mean], 1)
    if name == "Mixed_6a":
        three = k("branch3x3dbl_2", k("branch3x3dbl_1", x))
        parts = [h("branch3x3", x), h("branch3x3dbl_3", three)]
        return torch.cat([*parts, pool_by_hand(x, "halving")], 1)
    if name.startswith("Mixed_6"):
        seven = k("branch7x7_3", k("branch7x7_2", k("branch7x7_1", x)))
        twice = x
        for number in range(1, 6):
            twice = k(f"branch7x7dbl_{number}", twice)
        mean = k("branch_pool", pool_by_hand(x, "average"))
        return torch.cat([k("branch1x1", x), seven, twice, mean], 1)
    if name == "Mixed_7a":
        three = h("branch3x3_2", k("branch3x3_1", x))
        seven = k("branch7x7x3_2", k("branch7x7x3_1", x))
        seven = h("branch7x7x3_4", k("branch7x7x3_3", seven))
        return torch.cat([three, seven, pool_by_hand(x, "halving")], 1)
    three = k("branch3x3_1", x)
    twice = k("branch3x3dbl_2", k("branch3x3dbl_1", x))
    pooled = pool_by_hand(x, "maximum" if name == "Mixed_7c" else "average")
    return torch.cat(
        [
            k("branch1x1", x),
            k("branch3x3_2a", three),
            k("branch3x3_2b", three),
            k("branch3x3dbl_3a", twice),
            k("branch3x3dbl_3b", twice),
            k("branch_pool", pooled),
        ],
        1,
    )


def pool_by_hand(x: Tensor, pooling: str) -> Tensor:
    """Return 3 x 3 pooling, window by window."""
    height, width = x.shape[2:]
    if pooling == "halving":
        starts = product(range(0, height - 2, 2), range(0, width - 2, 2))
        values = [x[:, :, i : i + 3, j : j + 3].amax((2, 3)) for i, j in starts]
        shape = ((height - 1) // 2, (width - 1) // 2)
        return torch.stack(values, 2).reshape(*x.shape[:2], *shape)
    values: list[Tensor] = []
    for i, j in product(range(height), range(width)):
        window = x[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        is_mean = pooling == "average"
        values.append(window.mean((2, 3)) if is_mean else window.amax((2, 3)))
    return torch.stack(values, 2).reshape(x.shape)


@pytest.mark.parametrize("pooling", ["average", "maximum", "halving"])
def test_pooling_leaves_the_frame_out(pooling: str, generator: torch.Generator) -> None:
    x = torch.randn(2, 3, 7, 6, generator=generator) - 5.0  # a frame of zeros would win
    found = pool(x, pooling)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(found, pool_by_hand(x, pooling))


@pytest.mark.parametrize(
    "name",
    [f"Mixed_{block}" for block in ("5b", "5d", "6a", "6b", "6e", "7a", "7b", "7c")],
)
def test_a_block_computes_what_its_formula_says(
    name: str, generator: torch.Generator
) -> None:
    block = fill(inception_network().get_submodule(name), generator)
    weights = block.state_dict()
    channels = weights[next(iter(weights))].shape[1]
    x = torch.randn(2, channels, 5, 7, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(
            block(x), by_formula(name, weights, x), rtol=1e-4, atol=1e-5
        )


def test_the_network_has_the_numbers_of_weights_in_the_literature() -> None:
    network = inception_network()
    # Keras lists 21,768,352 trainable weights of InceptionV3 without its top, whose
    # normalisations have no scale, and 34,432 means and variances: 17,216 scales more.
    assert sum(w.numel() for w in network.parameters()) == 21_768_352 + 17_216
    units = [module for module in network.modules() if isinstance(module, Unit)]
    assert len(units) == 94
    statistics = sum(2 * unit.bn.num_features for unit in units)
    assert statistics == 34_432
    assert {unit.bn.eps for unit in units} == {0.001}
    assert all(weight.is_meta for weight in network.parameters())


def test_the_known_file_has_room_for_these_weights_and_its_last_layer() -> None:
    network = inception_network()
    tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
    num_bytes = 4 * (sum(t.numel() for t in tensors) + 1008 * (2048 + 1))
    assert 95_628_359 - 2**17 < num_bytes < 95_628_359


def test_maps_shrink_as_in_the_paper(generator: torch.Generator) -> None:
    network = fill(inception_network(), generator)
    assert isinstance(network, nn.Sequential)
    shapes: dict[str, tuple[int, ...]] = {}
    values = torch.randn(1, 3, 299, 299, generator=generator)
    with torch.no_grad():
        for name, module in network.named_children():
            values = module(values)
            shapes[name] = tuple(values.shape[1:])
    # Table 1 of the paper, and the channels of torchvision's comments.
    assert shapes["Conv2d_1a_3x3"] == (32, 149, 149)
    assert shapes["Conv2d_2a_3x3"] == (32, 147, 147)
    assert shapes["Conv2d_2b_3x3"] == (64, 147, 147)
    assert shapes["maxpool1"] == (64, 73, 73)
    assert shapes["Conv2d_4a_3x3"] == (192, 71, 71)
    assert shapes["maxpool2"] == (192, 35, 35)
    assert shapes["Mixed_5b"] == (256, 35, 35)
    assert shapes["Mixed_5d"] == (288, 35, 35)
    assert shapes["Mixed_6a"] == shapes["Mixed_6e"] == (768, 17, 17)
    assert shapes["Mixed_7a"] == (1280, 8, 8)
    assert shapes["Mixed_7b"] == shapes["Mixed_7c"] == (2048, 8, 8)
    assert shapes["flatten"] == (2048,)


def test_names_are_those_of_the_file() -> None:
    names = inception_network().state_dict().keys()
    for name in (
        "Conv2d_1a_3x3.conv.weight",
        "Conv2d_4a_3x3.bn.running_var",
        "Mixed_5b.branch5x5_2.conv.weight",
        "Mixed_6a.branch3x3dbl_3.bn.bias",
        "Mixed_6e.branch7x7dbl_5.conv.weight",
        "Mixed_7a.branch7x7x3_4.bn.weight",
        "Mixed_7c.branch3x3dbl_3b.bn.running_mean",
        "Mixed_7c.branch_pool.conv.weight",
    ):
        assert name in names
    assert len(names) == 94 * 6


def test_a_block_joins_its_branches_in_order(generator: torch.Generator) -> None:
    units = {"one": Unit(2, 1, 1), "two": Unit(2, 3, (1, 3))}
    block = fill(Block(units, [("two",), ("one",)], "maximum").eval(), generator)
    x = torch.randn(1, 2, 4, 4, generator=generator)
    with torch.no_grad():
        found = block(x)
    assert found.shape == (1, 6, 4, 4)
    assert torch.equal(found[:, 4:], pool_by_hand(x, "maximum"))
    torch.testing.assert_close(found[:, 3:4], kept(block.state_dict(), "one", x))
