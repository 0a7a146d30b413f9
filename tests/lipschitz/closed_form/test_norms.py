"""Norms of the blocks between sites: formed, bounded from structure, and streamed."""

import math

import pytest
import torch

from cases import NETWORKS, RELU, normal, sequence
from oracles import operator_norms
from tacit.lipschitz import blocks as blocks_module
from tacit.lipschitz.blocks import dense_blocks
from tacit.lipschitz.closed_form import norms as module
from tacit.lipschitz.closed_form.norms import (
    block_norm_bounds,
    input_norm_bounds,
    small_blocks,
    source_blocks,
)
from tacit.lipschitz.layers import (
    Activation,
    Add,
    AveragePool,
    Concat,
    Conv,
    Dense,
    Reshape,
    Scale,
    Shift,
)
from tacit.lipschitz.network import Network, make_network
from tacit.lipschitz.problem import NORMS, Norm
from tacit.rng import make_generator


@pytest.fixture(params=["formed", "structural"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compute norms from matrices, or act as if every block were too large."""
    if request.param == "structural":
        monkeypatch.setattr(module, "_DENSE_ENTRIES", 0)
    return request.param


@pytest.mark.parametrize("name", NETWORKS)
def test_no_block_exceeds_its_bound(name: str, route: str) -> None:
    network = NETWORKS[name](make_generator(0, name))
    bounds = block_norm_bounds(network)
    assert set(bounds) == network.links
    for link, block in dense_blocks(network).items():
        truth = float(torch.linalg.svdvals(block)[0])
        assert bounds[link] >= truth * (1 - 1e-13)
        if route == "formed":
            assert bounds[link] <= truth * (1 + 1e-11)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_input_block_exceeds_its_bound(name: str, norm: Norm, route: str) -> None:
    network = NETWORKS[name](make_generator(0, name))
    bounds = input_norm_bounds(network, norm)
    assert set(bounds) == {t for t, s in network.links if s == 0}
    blocks = dense_blocks(network)
    for target, bound in bounds.items():
        block = blocks[target, 0]
        if norm == "linf" and block.shape[1] > 14:
            continue  # 2^d signs are too many
        truth = float(operator_norms(block.numpy()[None], norm)[0])
        assert bound >= truth * (1 - 1e-13)
        if norm == "l1":
            assert bound <= truth * (1 + 1e-11), route


def test_without_streaming_the_l2_norm_serves(
    route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STREAM_ENTRIES", 0)
    network = NETWORKS["conv1d"](make_generator(0, "conv1d"))
    l2 = input_norm_bounds(network, "l2")[1]
    if route == "structural":
        assert input_norm_bounds(network, "l1")[1] == pytest.approx(l2)
        width = math.sqrt(network.num_inputs)
        assert input_norm_bounds(network, "linf")[1] == pytest.approx(l2 * width)


def test_columns_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["conv2d"](make_generator(0, "conv2d"))
    whole = dense_blocks(network)
    monkeypatch.setattr(blocks_module, "_CHUNK_ENTRIES", 64)
    for link, block in whole.items():
        torch.testing.assert_close(source_blocks(network, link[1])[link[0]], block)


@pytest.mark.parametrize("name", NETWORKS)
def test_small_blocks_are_the_blocks(name: str) -> None:
    network = NETWORKS[name](make_generator(0, name))
    found, expected = small_blocks(network), dense_blocks(network)
    assert found is not None
    assert set(found) == set(expected)
    for link, block in expected.items():
        torch.testing.assert_close(found[link], block, rtol=1e-14, atol=0.0)


def test_a_dense_layer_is_a_block_however_large(
    route: str, generator: torch.Generator
) -> None:
    weights = [normal(generator, 4, 6), normal(generator, 3, 4)]
    network = sequence(
        (2, 3),
        Reshape(shape=(6,)),
        Scale(factor=normal(generator, 6)),
        Dense(weight=weights[0]),
        Shift(offset=normal(generator, 4)),
        Scale(factor=normal(generator, 1)),
        RELU,
        Dense(weight=weights[1]),
    )
    found = small_blocks(network)
    assert found is not None, route
    last = network.nodes[-1].layer
    assert isinstance(last, Dense)
    assert found[2, 1].data_ptr() == last.weight.data_ptr()
    torch.testing.assert_close(found[1, 0], dense_blocks(network)[1, 0])


def test_what_is_too_large_is_not_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["conv1d"](make_generator(0, "conv1d"))
    monkeypatch.setattr(module, "_DENSE_WORK", 0.0)
    assert small_blocks(network) is None
    assert set(source_blocks(network, 2)) == {3}  # the dense layer at the end


def _conv(weight: torch.Tensor) -> Conv:
    ones = (1, 1)
    return Conv(weight=weight, stride=ones, padding=ones, dilation=ones, groups=1)


@pytest.mark.parametrize("is_before", [True, False])
def test_a_batch_norm_is_folded_into_the_convolution(
    is_before: bool, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DENSE_ENTRIES", 0)
    weight = normal(generator, 3, 3, 3, 3)
    factor = torch.tensor([1e3, 1.0, 1e-3], dtype=torch.float64).reshape(3, 1, 1)
    weight = weight / (factor[None] if is_before else factor[:, None])
    scale, conv = Scale(factor=factor), _conv(weight)
    order = (scale, conv) if is_before else (conv, scale)
    network = sequence((3, 6, 6), *order, RELU)
    truth = float(torch.linalg.svdvals(dense_blocks(network)[1, 0])[0])
    # Separate norms would be about a thousand times too large.
    assert truth <= block_norm_bounds(network)[1, 0] <= truth * 1.2


def _branches(generator: torch.Generator) -> Network:
    """Two linear paths from the input and one activation meet in a sum and a join."""
    one = _conv(normal(generator, 2, 2, 3, 3))
    return make_network(
        (2, 4, 4),
        [
            (one, (0,)),
            (Add(), (1, 0)),
            (Activation(kind="abs"), (2,)),
            (Concat(axis=0), (2, 3, 0)),
            (AveragePool(kernel=(2, 2), stride=(2, 2), padding=(0, 0)), (4,)),
            (Shift(offset=torch.ones(6, 2, 2).double()), (5,)),
            (Reshape(shape=(24,)), (6,)),
        ],
    )


def test_branches_add_and_join(generator: torch.Generator, route: str) -> None:
    network = _branches(generator)
    bounds = block_norm_bounds(network)
    for link, block in dense_blocks(network).items():
        truth = float(torch.linalg.svdvals(block)[0])
        assert truth * (1 - 1e-13) <= bounds[link] <= truth * 2.0, route
