"""Dense blocks between sites, against probing the network with unit vectors."""

import itertools
import math

import numpy as np
import pytest
import torch

from cases import NETWORKS, RELU, normal, sequence
from oracles import form_of
from tacit.errors import InputError
from tacit.lipschitz import blocks as blocks_module
from tacit.lipschitz.blocks import (
    dense_blocks,
    formed_blocks,
    identity_images,
    num_block_entries,
    stored_blocks,
)
from tacit.lipschitz.layers import Concat, Conv, Dense, Reshape, Scale, Shift
from tacit.lipschitz.network import Network, chain, make_network
from tacit.rng import make_generator

CASES = {name: build(make_generator(0, name)) for name, build in NETWORKS.items()}


@pytest.mark.parametrize("name", CASES)
def test_blocks_are_what_probing_finds(name: str) -> None:
    network = CASES[name]
    form = form_of(network)
    blocks = dense_blocks(network)
    assert blocks.keys() == network.links
    ends = [0, *form.starts]
    rows = [*form.rows, form.output]
    for target, row in enumerate(rows, start=1):
        for source, (begin, end) in enumerate(itertools.pairwise(ends)):
            part = row[:, begin:end]
            block = blocks.get((target, source))
            if block is None:
                assert not part.any()
                continue
            assert block.dtype == torch.float64
            # The same products, added up in another order.
            size = np.abs(part).max(initial=0.0)
            np.testing.assert_allclose(block.numpy(), part, rtol=0, atol=1e-14 * size)
    entries = sum(block.numel() for block in blocks.values())
    assert num_block_entries(network) == entries


@pytest.mark.parametrize("name", CASES)
def test_stored_blocks_equal_formed_ones(name: str) -> None:
    network = CASES[name]
    for source in sorted({s for _, s in network.links}):
        stored = stored_blocks(network, source)
        assert {(t, source) for t in stored} <= network.links
        for target, block in formed_blocks(network, source, set(stored)).items():
            torch.testing.assert_close(stored[target], block, rtol=1e-14, atol=0.0)


def test_a_dense_layer_is_its_own_block(generator: torch.Generator) -> None:
    weights = [normal(generator, 4, 6), normal(generator, 2, 4)]
    network = sequence(
        (2, 3),
        Reshape(shape=(6,)),
        Dense(weight=weights[0]),
        Shift(offset=normal(generator, 4)),
        RELU,
        Dense(weight=weights[1]),
        Reshape(shape=(2, 1)),
    )
    blocks = dense_blocks(network)
    layers = [n.layer for n in network.nodes if isinstance(n.layer, Dense)]
    for (link, block), layer in zip(sorted(blocks.items()), layers, strict=True):
        assert link in {(1, 0), (2, 1)}
        assert block.data_ptr() == layer.weight.data_ptr()


def test_scales_before_and_after_a_dense_layer_join_its_block(
    generator: torch.Generator,
) -> None:
    before, after, weight = (normal(generator, *s) for s in ((3,), (2,), (2, 3)))
    network = sequence(
        (3,),
        Scale(factor=before),
        Scale(factor=torch.tensor(2.0)),
        Dense(weight=weight),
        Scale(factor=after),
        Scale(factor=torch.tensor([-0.5])),
    )
    stored = stored_blocks(network, 0)
    expected = -after[:, None] * weight * before
    torch.testing.assert_close(stored[1], expected, rtol=1e-14, atol=0.0)


def test_what_is_no_single_dense_layer_is_not_stored(
    generator: torch.Generator,
) -> None:
    square = Dense(weight=normal(generator, 2, 2))
    grown = Scale(factor=normal(generator, 3))  # makes three entries of one
    twice = make_network((2,), [(square, (0,)), (Concat(axis=0), (1, 1))])
    networks: list[Network] = [
        sequence((2,), square, square),
        sequence((1, 2), square),
        sequence((1,), grown),
        sequence((2,), RELU),
        twice,
    ]
    for network in networks:
        assert not stored_blocks(network, 0)
        form = form_of(network)
        row = form.rows[0] if form.rows else form.output
        block = dense_blocks(network)[1, 0]
        np.testing.assert_allclose(block.numpy(), row[:, : form.num_inputs], atol=1e-14)


@pytest.mark.parametrize("name", ["conv2d", "residual", "concat", "pools"])
@pytest.mark.parametrize("limit", [1, 60])
def test_blocks_do_not_depend_on_the_size_of_a_batch(
    name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = CASES[name]
    whole = dense_blocks(network)
    monkeypatch.setattr(blocks_module, "_CHUNK_ENTRIES", limit)
    pieces = dense_blocks(network)
    for link, block in whole.items():
        torch.testing.assert_close(pieces[link], block, rtol=1e-14, atol=1e-15)
    widest = max(math.prod(node.shape) for node in network.nodes)
    widest = max(widest, network.num_inputs)
    counts = [len(next(iter(im.values()))) for im in identity_images(network, 0)]
    assert sum(counts) == network.num_inputs
    assert max(counts) * widest <= max(limit, widest)


def test_blocks_leave_no_trace_for_gradients(generator: torch.Generator) -> None:
    weight = normal(generator, 2, 2).requires_grad_()
    for network in (
        chain([(weight, None, RELU), (weight, None, None)]),
        sequence((1, 2), Dense(weight=weight)),
    ):
        assert not any(block.requires_grad for block in dense_blocks(network).values())


def test_a_network_of_another_precision_is_refused() -> None:
    weight = torch.ones(1, 1, 2)
    conv = Conv(weight=weight, stride=(1,), padding=(0,), dilation=(1,), groups=1)
    for network in (
        chain([(torch.eye(2), None, RELU)]),
        sequence((1, 4), conv, RELU),
        sequence((2,), Shift(offset=torch.ones(2))),
    ):
        with pytest.raises(InputError, match="float64; convert the network first"):
            dense_blocks(network.to(dtype=torch.float32))
