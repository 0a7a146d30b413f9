import re

import pytest
import torch

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.build import Operand, Value
from tacit.lipschitz.readers.onnx_node import GeluPart, OnnxNode, whole_numbers

X = Value(index=0, shape=(1, 4))


def node(
    *inputs: Operand | GeluPart | None, attributes: dict[str, object] | None = None
) -> OnnxNode:
    return OnnxNode(
        op="Some", inputs=inputs, attributes=attributes or {}, opset=17, num_outputs=1
    )


def test_inputs_are_taken_by_position() -> None:
    some = node(X, None, torch.ones(2))
    assert some.value() is X
    assert [some.has(i) for i in range(4)] == [True, False, True, False]
    assert some.optional(1) is None
    assert torch.equal(some.constant(2), torch.ones(2))


def test_attributes_are_taken_by_name() -> None:
    some = node(attributes={"a": 1, "b": 0.5, "c": b"word", "d": [1, 2], "e": "s"})
    assert some.integer("a", 7) == 1
    assert some.integer("z", 7) == 7
    assert some.number("a", 0.0) == 1.0
    assert some.number("b", 0.0) == 0.5
    assert some.text("c", "") == "word"
    assert some.text("e", "") == "s"
    assert some.integers("d") == [1, 2]
    assert some.integers("z") is None


def test_lists_come_from_an_attribute_or_an_input() -> None:
    assert node(X, torch.tensor([3, 4])).listed("axes", 1) == [3, 4]
    assert node(X, attributes={"axes": [5]}).listed("axes", 1) == [5]
    assert node(X).listed("axes", 1) is None


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_an_attribute_of_another_type_is_refused(name: str) -> None:
    some = node(attributes={"a": 0.5, "b": b"word", "c": 3, "d": [0.5]})
    take = {"a": some.integer, "b": some.number, "c": some.text}.get(name)
    with pytest.raises(InputError, match=f"attribute '{name}' of Some"):
        some.integers(name) if take is None else take(name, 0)  # pyright: ignore[reportArgumentType]


def test_inputs_of_another_kind_are_refused() -> None:
    part = GeluPart(source=X, step="erf")
    with pytest.raises(UnsupportedLayerError, match="Erf is read only as part"):
        node(part).operand(0)
    with pytest.raises(UnsupportedLayerError, match="of a constant"):
        node(torch.ones(1)).value()
    with pytest.raises(UnsupportedLayerError, match="input 1 of Some must be constant"):
        node(X).constant(0)
    with pytest.raises(InputError, match="input number 2"):
        node(X).operand(1)


@pytest.mark.parametrize(
    "tensor", [torch.ones(3), torch.ones(2, 2).int(), torch.zeros(20_000).int()]
)
def test_whole_numbers_are_short_lists_of_integers(tensor: torch.Tensor) -> None:
    shape = re.escape(str(tuple(tensor.shape)))
    with pytest.raises(InputError, match=f"whole numbers, got .* of shape {shape}"):
        whole_numbers(tensor)


def test_a_single_number_is_a_list_of_one() -> None:
    assert whole_numbers(torch.tensor(3)) == [3]
