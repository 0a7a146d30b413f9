"""Modules, optimisers and streams to arrays and back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from tacit.errors import InputError
from tacit.minimax.gan.encode import (
    decode_tensor,
    encode_optimiser,
    encode_tensor,
    encode_tensors,
    module_tensors,
    restore_generator,
    restore_optimiser,
    restore_tensors,
)

pytestmark = pytest.mark.global_rng  # modules draw their own weights


def network(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def test_an_array_does_not_share_memory_with_its_tensor() -> None:
    tensor = torch.ones(2)
    array = encode_tensor(tensor)
    tensor.zero_()
    assert array.tolist() == [1.0, 1.0]
    decoded = decode_tensor({"a": array}, "a")
    decoded.zero_()
    assert array.tolist() == [1.0, 1.0]


def test_a_module_comes_back_with_its_buffers(generator: torch.Generator) -> None:
    one, other = network(), network()
    one(torch.randn(5, 3, generator=generator))
    arrays = encode_tensors("net", module_tensors(one))
    assert {"net/0.weight", "net/1.running_mean", "net/1.num_batches_tracked"} <= set(
        arrays
    )
    restore_tensors("net", module_tensors(other), arrays)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_another_network_is_refused() -> None:
    arrays = encode_tensors("net", module_tensors(network()))
    with pytest.raises(InputError, match=r"net/0.weight is \(4, 3\)"):
        restore_tensors("net", module_tensors(network(5)), arrays)
    with pytest.raises(InputError, match=r"another network: net/1\."):
        restore_tensors("net", module_tensors(network()[:1]), arrays)
    del arrays["net/0.bias"]
    with pytest.raises(InputError, match=r"net/0\.bias in one of them only"):
        restore_tensors("net", module_tensors(network()), arrays)
    with pytest.raises(InputError, match="lacks 'x'"):
        decode_tensor(arrays, "x")


OPTIMISERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "adam": lambda p: Adam(p, lr=0.01),
    "amsgrad": lambda p: Adam(p, lr=0.01, amsgrad=True),
    "momentum": lambda p: SGD(p, lr=0.01, momentum=0.9),
    "plain": lambda p: SGD(p, lr=0.01),
    "rmsprop": lambda p: RMSprop(p, lr=0.01, centered=True),
}


def take_steps(module: nn.Module, optimiser: Optimizer, seeds: range) -> None:
    for seed in seeds:
        for p in module.parameters():
            p.grad = torch.full_like(p, 1.0 + seed).sin() + p.detach()
        optimiser.step()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_restored_optimiser_takes_the_same_steps(name: str) -> None:
    one, other = network(), network()
    first = OPTIMISERS[name](list(one.parameters()))
    take_steps(one, first, range(3))
    other.load_state_dict(one.state_dict())
    second = OPTIMISERS[name](list(other.parameters()))
    restore_optimiser("opt", second, encode_optimiser("opt", first))
    for module, optimiser in ((one, first), (other, second)):
        take_steps(module, optimiser, range(3, 6))
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


def test_numbers_in_a_state_stay_numbers() -> None:
    module = network()
    optimiser = SGD(module.parameters(), lr=0.1)
    parameter = next(module.parameters())
    optimiser.state[parameter] = {"count": 3, "rate": 0.1, "flag": True}
    arrays = encode_optimiser("opt", optimiser)
    fresh = SGD(module.parameters(), lr=0.1)
    restore_optimiser("opt", fresh, arrays)
    found: dict[str, Any] = fresh.state[parameter]
    assert found["count"] == 3
    assert found["rate"] == pytest.approx(0.1)
    assert found["flag"] == 1


@pytest.mark.parametrize(
    "name", ["opt/99/tensor/a", "opt/x/tensor/a", "opt/0/tensor/a"]
)
def test_a_state_of_other_parameters_is_refused(name: str) -> None:
    optimiser = SGD(network().parameters(), lr=0.1)
    with pytest.raises(InputError, match="fits no parameter"):
        restore_optimiser("opt", optimiser, {name: np.zeros((7, 7))})


def test_a_stream_goes_on(generator: torch.Generator) -> None:
    torch.randn(5, generator=generator)
    arrays = {"stream": encode_tensor(generator.get_state())}
    expected = torch.randn(9, generator=generator)
    other = torch.Generator()
    restore_generator("stream", other, arrays)
    assert torch.equal(torch.randn(9, generator=other), expected)


@pytest.mark.parametrize("array", [np.zeros(3, dtype=np.uint8), np.zeros(5056)])
def test_what_is_no_stream_is_refused(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InputError, match="no state of a random stream"):
        restore_generator("stream", torch.Generator(), {"stream": array})
