"""Agreement within rounding passes, anything more is an error; no faults go unseen."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cases import NETWORKS, normal, random_chain
from tacit.errors import ImportMismatchError, InputError
from tacit.lipschitz.layers import Activation, Dense, Scale, Shift
from tacit.lipschitz.network import Network, make_network, run
from tacit.lipschitz.readers.check_import import (
    InputLayout,
    Original,
    check_import,
    input_layout,
)


def original(
    network: Network,
    dtype: torch.dtype,
    change: Callable[[Tensor], Tensor] = lambda y: y,
) -> Original:
    """Return the network run in ``dtype``, its outputs changed."""
    own = network.to(dtype=dtype)
    return Original(
        run=lambda x: change(run(own, x)),
        dtype=dtype,
        name="the original",
        takes_batches=True,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_agrees_with_itself(
    name: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    network = NETWORKS[name](generator)
    check_import(network, original(network, dtype))


def test_rounding_in_another_order_passes(generator: torch.Generator) -> None:
    """Forty layers of float32 sums, the original's in another order."""
    network = random_chain(generator, (20, *[60] * 40, 3))
    turn = torch.randperm(60, generator=generator)

    def shuffled(x: Tensor) -> Tensor:
        for node in network.nodes:
            layer = node.layer
            if isinstance(layer, Dense) and layer.weight.shape[1] == 60:
                x = x[:, turn] @ layer.weight.float()[:, turn].T
            elif isinstance(layer, Dense | Shift):
                x = (
                    x @ layer.weight.float().T
                    if isinstance(layer, Dense)
                    else x + layer.offset.float()
                )
            else:
                x = layer.apply(x)
        return x

    theirs = Original(
        run=shuffled, dtype=torch.float32, name="the original", takes_batches=True
    )
    check_import(network, theirs)


def broken(network: Network, index: int, layer: Dense | Scale | Activation) -> Network:
    nodes = list(network.nodes)
    nodes[index] = replace(nodes[index], layer=layer)
    return replace(network, nodes=tuple(nodes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_faults_in_a_layer_are_found(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    network = random_chain(generator, (8, 8, 8, 8, 3))
    weights = [
        (i, node.layer.weight)
        for i, node in enumerate(network.nodes)
        if isinstance(node.layer, Dense) and node.layer.weight.shape[0] == 8
    ]
    for index, weight in weights:
        for wrong in (
            weight.T,
            weight.flip(0),
            weight * 1.001,
            _one_column_off(weight),
        ):
            with pytest.raises(
                ImportMismatchError, match="differs from the original by"
            ):
                check_import(
                    broken(network, index, Dense(weight=wrong)),
                    original(network, dtype),
                )
    kinks = [
        i for i, node in enumerate(network.nodes) if isinstance(node.layer, Activation)
    ]
    for index in kinks:
        for kind in ("relu6", "gelu", "silu", "softplus", "elu"):
            layer = Activation(kind=kind, parameter=1.0)
            with pytest.raises(ImportMismatchError):
                check_import(broken(network, index, layer), original(network, dtype))


def _one_column_off(weight: Tensor) -> Tensor:
    wrong = weight.clone()
    wrong[:, 0] += 0.01
    return wrong


def test_in_float64_small_faults_are_found(generator: torch.Generator) -> None:
    network = random_chain(generator, (4, 8, 8, 3))
    for factor in (1.0 + 1e-9, 1.0 - 1e-11):
        wrong = original(network, torch.float64, lambda y, f=factor: y * f)
        with pytest.raises(ImportMismatchError):
            check_import(network, wrong)
    check_import(network, original(network, torch.float64, lambda y: y * (1.0 + 1e-15)))


def test_other_counts_of_outputs_are_found(generator: torch.Generator) -> None:
    network = random_chain(generator, (4, 8, 3))
    with pytest.raises(
        ImportMismatchError, match="gives 3 outputs, the original gives 2"
    ):
        check_import(network, original(network, torch.float32, lambda y: y[:, :2]))


def test_nan_in_the_original_alone_is_a_difference(generator: torch.Generator) -> None:
    network = random_chain(generator, (4, 8, 3))
    with pytest.raises(ImportMismatchError):
        check_import(
            network, original(network, torch.float32, lambda y: y * float("nan"))
        )


def test_an_original_without_finite_outputs_cannot_be_compared() -> None:
    huge = Scale(factor=torch.tensor(1e30).double())
    network = make_network((2,), [(huge, (0,)), (huge, (1,))])
    with pytest.raises(InputError, match="no finite output"):
        check_import(network, original(network, torch.float32))


def test_an_original_that_fails_is_reported(generator: torch.Generator) -> None:
    def failing(_: Tensor) -> Tensor:
        raise RuntimeError("no such kernel\nand more")

    theirs = Original(
        run=failing, dtype=torch.float32, name="the original", takes_batches=False
    )
    with pytest.raises(
        InputError, match=r"cannot run the model .* \(4,\): no such kernel$"
    ):
        check_import(random_chain(generator, (4, 3)), theirs)


MIXED: dict[str, Callable[[Tensor], Tensor]] = {
    "a mean": lambda y: y - y.mean(0) + y[:1],
    "another order": lambda y: y.flip(0),
    "no batch axis": lambda y: y.reshape(1, -1),
    "a sum": lambda y: y.sum(0),
}


@pytest.mark.parametrize("mix", MIXED.values(), ids=MIXED)
def test_mixing_the_samples_of_a_batch_is_found(
    mix: Callable[[Tensor], Tensor], generator: torch.Generator
) -> None:
    network = random_chain(generator, (4, 8, 3))
    with pytest.raises(InputError, match="mixes the samples"):
        check_import(network, original(network, torch.float32, mix))
    one_at_a_time = replace(original(network, torch.float32, mix), takes_batches=False)
    check_import(network, one_at_a_time)


def test_an_original_may_refuse_more_than_one(generator: torch.Generator) -> None:
    network = random_chain(generator, (4, 8, 3))
    check_import(network, original(network, torch.float32, lambda y: y.reshape(1, 3)))


def test_the_network_is_left_as_it_was(generator: torch.Generator) -> None:
    network = random_chain(generator, (4, 8, 3))
    before = copy.deepcopy(network).digest
    check_import(network, original(network, torch.float64))
    assert network.digest == before
    assert run(network, normal(generator, 1, 4)).dtype == torch.float64


# Which axes are one sample


@pytest.mark.parametrize(
    ("sizes", "in_shape", "sample", "batched"),
    [
        ((1, 784), None, (784,), True),
        ((None, 3, 8, 8), None, (3, 8, 8), True),
        ((1, 1, 1, 5), None, (1, 1, 5), True),
        ((784,), None, (784,), False),
        ((1,), None, (1,), False),
        ((None, None), (7,), (7,), True),
        ((None, 5), (5,), (5,), True),
        ((16, 5), (16, 5), (16, 5), False),
        ((None,), (6,), (6,), False),
        ((1, 5), (1, 5), (1, 5), False),
    ],
)
def test_the_layout_of_an_input(
    sizes: tuple[int | None, ...],
    in_shape: tuple[int, ...] | None,
    sample: tuple[int, ...],
    batched: bool,
) -> None:
    layout = input_layout(sizes, in_shape)
    assert isinstance(layout, InputLayout)
    assert (layout.sample, layout.batched) == (sample, batched)


@pytest.mark.parametrize(
    ("sizes", "in_shape", "message"),
    [
        ((), None, "has no axes"),
        ((None,), None, "leaves sizes of its input open"),
        ((1, None, 8), None, r"open: \(1, '\?', 8\); give in_shape"),
        ((8, 784), None, "has 8 as its batch size"),
        ((1, 784), (783,), "does not fit the model's input"),
        ((8, 784), (784,), "does not fit"),
        ((None, 3, 8), (8,), "does not fit"),
    ],
)
def test_a_layout_that_is_not_clear_is_refused(
    sizes: tuple[int | None, ...], in_shape: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        input_layout(sizes, in_shape)
