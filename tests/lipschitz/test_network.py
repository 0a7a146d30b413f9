import math

import pytest
import torch
from torch import Tensor

from cases import NETWORKS, RELU, normal
from tacit.errors import InputError, ShapeError
from tacit.lipschitz.layers import (
    Activation,
    Add,
    Concat,
    Conv,
    Dense,
    Layer,
    Reshape,
    Scale,
    Shift,
)
from tacit.lipschitz.network import (
    Network,
    chain,
    linear_part,
    make_network,
    run,
)

TANH = Activation(kind="tanh")


def residual(generator: torch.Generator) -> Network:
    """tanh(W1 x) + x, then relu, then W2; a dead branch hangs off it."""
    return make_network(
        (3,),
        [
            (Dense(weight=normal(generator, 3, 3)), (0,)),
            (TANH, (1,)),
            (Dense(weight=normal(generator, 7, 3)), (0,)),  # nothing reads it
            (Add(), (2, 0)),
            (RELU, (4,)),
            (Dense(weight=normal(generator, 2, 3)), (5,)),
        ],
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_run_is_the_composition_of_the_layers(
    name: str, generator: torch.Generator
) -> None:
    network = NETWORKS[name](generator)
    x = normal(generator, 4, *network.in_shape)
    values: list[Tensor] = [x]
    for node in network.nodes:
        values.append(node.layer.apply(*(values[i] for i in node.inputs)))
        assert values[-1].shape[1:] == node.shape
    assert torch.equal(run(network, x), values[-1])
    assert values[-1].shape[1:] == network.out_shape


@pytest.mark.parametrize("name", NETWORKS)
def test_the_blocks_between_sites_make_up_the_network(
    name: str, generator: torch.Generator
) -> None:
    network = NETWORKS[name](generator)
    x = normal(generator, 2, *network.in_shape)
    zero = torch.zeros(2, *network.in_shape, dtype=torch.float64)
    # What every site receives without biases, and what the run goes on with.
    received: dict[int, Tensor] = {}
    sent: dict[int, Tensor] = {0: x}

    def activate(site: int, y: Tensor) -> Tensor:
        received[site] = y
        sent[site] = network.activations[site - 1].apply(y)
        return sent[site]

    output = len(network.site_shapes) - 1
    received[output] = run(network, x, activate, shift=False)
    total = {site: torch.zeros_like(y) for site, y in received.items()}
    links: set[tuple[int, int]] = set()
    for source, value in sent.items():
        for target, part in linear_part(network, source, value).items():
            total[target] = total[target] + part
            links.add((target, source))
    assert links == set(network.links)
    for site, y in received.items():
        torch.testing.assert_close(total[site], y, rtol=1e-12, atol=1e-12)
        assert y.shape[1:] == network.site_shapes[site]
    # Without biases a run with linear activations is linear.
    still = run(network, zero, lambda _, y: 0.5 * y, shift=False)
    assert float(still.abs().max()) == 0.0


def test_counts_and_shapes(generator: torch.Generator) -> None:
    network = residual(generator)
    assert network.in_shape == (3,)
    assert network.out_shape == (2,)
    assert (network.num_inputs, network.num_outputs) == (3, 2)
    assert network.num_neurons == 6
    assert network.num_parameters == 9 + 6  # the dead branch is dropped
    assert network.site_shapes == ((3,), (3,), (3,), (2,))
    assert network.sites == (None, 1, None, 2, None)
    assert network.depths == (3, 2, 1, 0)
    assert network.links == {(1, 0), (2, 1), (2, 0), (3, 2)}


def test_depth_counts_the_longest_way_to_the_output() -> None:
    network = make_network(
        (2,),
        [(RELU, (0,)), (RELU, (1,)), (Concat(axis=0), (0, 2)), (Add(), (3, 3))],
    )
    assert network.depths == (3, 2, 1, 0)


def test_the_output_is_the_last_layer_even_if_it_reads_the_input(
    generator: torch.Generator,
) -> None:
    network = make_network((2,), [(RELU, (0,)), (Add(), (0, 1, 0))])
    x = normal(generator, 5, 2)
    assert torch.equal(run(network, x), 2.0 * x + x.relu())


def test_activate_sees_every_site_once_in_order(generator: torch.Generator) -> None:
    network = residual(generator)
    seen: list[int] = []

    def activate(site: int, y: Tensor) -> Tensor:
        seen.append(site)
        return torch.zeros_like(y)

    y = run(network, normal(generator, 1, 3), activate)
    assert seen == [1, 2]
    assert float(y.abs().max()) == 0.0


def test_a_batch_gives_the_same_as_its_samples(generator: torch.Generator) -> None:
    for build in NETWORKS.values():
        network = build(generator)
        x = normal(generator, 3, *network.in_shape)
        alone = torch.cat([run(network, x[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(run(network, x), alone, rtol=1e-12, atol=1e-12)


# The digest


def test_equal_functions_have_equal_digests() -> None:
    def build(weight: Tensor, slope: float = 0.1) -> Network:
        kind = Activation(kind="leaky_relu", parameter=slope)
        return make_network((2,), [(Dense(weight=weight), (0,)), (kind, (1,))])

    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    base = build(weight).digest
    assert build(weight.double()).digest == base
    assert build(weight.T.contiguous().T).digest == base  # another memory layout
    assert build(weight).to(dtype=torch.float32).digest == base
    others = [
        build(weight.T).digest,
        build(weight + 1e-6).digest,
        build(weight, 0.2).digest,
        make_network((2, 1), [(Reshape(shape=(2,)), (0,)), (RELU, (1,))]).digest,
        make_network((2,), [(Dense(weight=weight), (0,)), (RELU, (1,))]).digest,
    ]
    assert len({base, *others}) == 6


def test_the_digest_tells_graphs_apart() -> None:
    def build(source: int) -> Network:
        return make_network((2,), [(RELU, (0,)), (TANH, (1,)), (Add(), (2, source))])

    assert build(0).digest != build(1).digest


def test_conversion_changes_tensors_only(generator: torch.Generator) -> None:
    network = residual(generator)
    half = network.to(dtype=torch.float32)
    x = normal(generator, 2, 3)
    assert run(half, x.float()).dtype == torch.float32
    torch.testing.assert_close(
        run(half, x.float()).double(), run(network, x), rtol=1e-5, atol=1e-5
    )


# Refusals


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([], InputError, "at least one layer"),
        ([(RELU, ())], InputError, "must take earlier values"),
        ([(RELU, (1,))], InputError, "must take earlier values"),
        ([(RELU, (-1,))], InputError, "must take earlier values"),
        ([(Dense(weight=torch.ones(2, 3)), (0,))], ShapeError, r"layer 1 \(Dense\)"),
        (
            [(Dense(weight=torch.tensor([[1.0, math.nan]])), (0,))],
            InputError,
            "NaN or infinity",
        ),
        ([(Shift(offset=torch.tensor([math.inf, 0.0])), (0,))], InputError, "finite"),
        (
            [(Shift(offset=torch.ones(3, 2)), (0,))],
            ShapeError,
            "must keep",
        ),
        ([(Reshape(shape=(3,)), (0,))], ShapeError, "does not accept"),
        ([(Scale(factor=torch.ones(3)), (0,))], ShapeError, "does not accept"),
        ([(RELU, (0, 0))], ShapeError, "does not accept"),
    ],
)
def test_layers_that_do_not_fit_are_refused(
    layers: list[tuple[Layer, tuple[int, ...]]],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        make_network((2,), layers)


def test_an_empty_input_is_refused() -> None:
    with pytest.raises(InputError, match="must be positive"):
        make_network((0,), [(RELU, (0,))])


def test_a_dead_layer_may_hold_anything() -> None:
    broken = Dense(weight=torch.full((2, 2), math.nan))
    network = make_network((2,), [(broken, (0,)), (RELU, (0,))])
    assert len(network.nodes) == 1


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(InputError, match="at least one layer"):
        chain([])


# Putting networks together


def test_chain_is_a_product_of_matrices_for_linear_layers(
    generator: torch.Generator,
) -> None:
    one, two = normal(generator, 4, 3), normal(generator, 2, 4)
    bias, x = normal(generator, 4), normal(generator, 5, 3)
    network = chain([(one, bias, None), (two, None, None)])
    torch.testing.assert_close(run(network, x), (x @ one.T + bias) @ two.T)


def test_a_network_over_images_reports_sample_shapes(
    generator: torch.Generator,
) -> None:
    conv = Conv(
        weight=normal(generator, 2, 1, 3, 3),
        stride=(2, 2),
        padding=(1, 1),
        dilation=(1, 1),
        groups=1,
    )
    network = make_network((1, 6, 6), [(conv, (0,)), (RELU, (1,))])
    assert network.out_shape == (2, 3, 3)
    assert network.num_outputs == 18
