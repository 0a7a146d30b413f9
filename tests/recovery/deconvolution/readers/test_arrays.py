"""Arrays of a file are what they should be, or refused by name."""

from typing import Any

import numpy as np
import pytest

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers.arrays import (
    integers,
    number,
    numbers,
    only_one,
    sizes,
    text,
)


def test_arrays_become_tensors_texts_and_sizes() -> None:
    members = {
        "a": np.array([1, 2], dtype=np.int8),
        "z": np.array([1j], dtype=np.complex64),
        "n": np.array(3, dtype=np.uint16),
        "t": np.array("full"),
        "b": np.array(b"same"),
    }
    assert numbers(members, "a").tolist() == [1.0, 2.0]
    assert numbers(members, "z").tolist() == [1j]
    assert integers(members, "n").tolist() == 3
    assert (sizes(members, "n", 2), sizes(members, "a", 2)) == ((3, 3), (1, 2))
    assert (text(members, "t"), text(members, "b")) == ("full", "same")
    assert (number(members, "n"), number(members, "none")) == (3.0, None)
    assert only_one(members, ("a", "x"), "it") == "a"


@pytest.mark.parametrize(
    ("read", "rest", "words"),
    [
        (numbers, ("text",), "text must be numbers"),
        (numbers, ("inf",), "inf has numbers that are not finite"),
        (integers, ("inf",), "inf must be integers"),
        (
            sizes,
            (
                "three",
                2,
            ),
            "three must be 1 or 2 positive sizes",
        ),
        (text, ("three",), "three must be one text"),
        (number, ("three",), "three must be one number"),
        (
            only_one,
            (
                (
                    "x",
                    "y",
                ),
                "it",
            ),
            "it must be given by one of x, y",
        ),
        (
            only_one,
            (
                (
                    "inf",
                    "three",
                ),
                "it",
            ),
            "got inf and three",
        ),
    ],
)
def test_others_are_refused_by_name(
    read: Any, rest: tuple[Any, ...], words: str
) -> None:
    members = {
        "text": np.array(["a"]),
        "inf": np.array([np.inf]),
        "three": np.array([1, 2, 3]),
    }
    with pytest.raises(InputError, match=words):
        read(members, *rest)
