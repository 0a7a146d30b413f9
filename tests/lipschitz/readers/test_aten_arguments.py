from collections.abc import Callable

import pytest
import torch

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.aten_arguments import Arguments
from tacit.lipschitz.readers.build import Value

X = Value(index=0, shape=(1, 4))
C = torch.tensor([2.0])
A = Arguments(
    {
        "self": X,
        "c": C,
        "none": None,
        "two": 2,
        "half": 0.5,
        "yes": True,
        "word": "same",
        "list": [1, 2],
        "mixed": [1, "a"],
        "tensors": [X, C],
    }
)


def test_arguments_are_taken_out_by_kind() -> None:
    assert A.first is X
    assert A.value("self") is X
    assert A.operand("c") is C
    number = A.operand("half")
    assert isinstance(number, torch.Tensor)
    assert float(number) == 0.5
    assert A.operands("tensors") == [X, C]
    assert A.constant("c") is C
    assert A.optional("none") is None
    assert A.optional("c") is C
    assert A.integer("two") == 2
    assert A.integers("two") == [2]
    assert A.integers("list") == [1, 2]
    assert A.number("two") == 2.0
    assert A.number("c") == 2.0
    assert A.optional_number("none") is None
    assert A.optional_number("half") == 0.5
    assert [A.flag(name) for name in ("yes", "none", "two")] == [True, False, False]
    assert A.text("word") == "same"


def test_the_first_tensor_may_be_called_input() -> None:
    assert Arguments({"input": X}).first is X


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: A.operand("word"), InputError, "'word' must be a tensor; got str"),
    (
        lambda: A.operand("missing"),
        InputError,
        "'missing' must be a tensor; got NoneType",
    ),
    (lambda: A.value("c"), UnsupportedLayerError, "must depend on the input"),
    (lambda: A.constant("self"), UnsupportedLayerError, "must be constant"),
    (lambda: A.operands("two"), InputError, "a list of tensors; got int"),
    (lambda: A.operands("list"), InputError, "a list of tensors"),
    (lambda: A.integer("half"), InputError, "a whole number; got float"),
    (lambda: A.integer("yes"), InputError, "a whole number; got bool"),
    (lambda: A.integers("mixed"), InputError, "a list of whole numbers"),
    (lambda: A.integers("word"), InputError, "a list of whole numbers; got str"),
    (lambda: A.number("word"), InputError, "a number; got str"),
    (lambda: A.number("self"), InputError, "a number; got Value"),
    (lambda: A.text("two"), InputError, "a word; got int"),
]


@pytest.mark.parametrize(("take", "error", "message"), WRONG)
def test_arguments_of_another_kind_are_refused(
    take: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        take()
