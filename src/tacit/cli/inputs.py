"""Parsing of the small texts that commands take."""

import math
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token

from tacit.errors import InputError

# A sample of more numbers would need gigabytes before any bound is computed.
_MAX_ENTRIES = 10**8


def parse_integer(kind: type, tokens: Sequence[Token]) -> int:
    """Return the integer of an option; a fraction is refused and not rounded.

    Raises
    ------
    InputError
        If the text is no integer.
    """
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise InputError(f"must be an integer; got {text!r}") from None


Integer = Annotated[int, Parameter(converter=parse_integer)]


def parse_integers(
    text: str, *, option: str, example: str, least: int
) -> tuple[int, ...]:
    """Return the integers of ``text``, separated by commas, each at least ``least``.

    Raises
    ------
    InputError
        If a part is no integer or too small.
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < least:
        raise InputError(
            f"{option} takes integers of at least {least}, as in {example}; "
            f"got {text!r}"
        )
    return numbers


def parse_pair(text: str | None) -> tuple[int, int] | None:
    """Return the two outputs of ``--margin i,j``."""
    if text is None:
        return None
    numbers = parse_integers(text, option="--margin", example="3,5", least=0)
    if len(numbers) != 2 or numbers[0] == numbers[1]:
        raise InputError(f"--margin takes two outputs, as in 3,5; got {text!r}")
    return numbers[0], numbers[1]


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Return the sizes of ``--input-shape``."""
    if text is None:
        return None
    sizes = parse_integers(text, option="--input-shape", example="3,32,32", least=1)
    if math.prod(sizes) > _MAX_ENTRIES:
        raise InputError(
            f"--input-shape must have at most {_MAX_ENTRIES} entries; got {text!r}"
        )
    return sizes


def parse_random(text: str) -> tuple[int, int, int]:
    """Return the inputs, the width and the depth of ``--random d,N,L``."""
    sizes = parse_integers(text, option="--random", example="10,100,2", least=1)
    if len(sizes) != 3:
        raise InputError(f"--random takes d,N,L, as in 10,100,2; got {text!r}")
    num_inputs, width, num_layers = sizes
    if width * (num_inputs + width * (num_layers - 1)) > _MAX_ENTRIES:
        raise InputError(
            f"--random takes sizes of at most {_MAX_ENTRIES} weights; got {text!r}"
        )
    if num_layers > 1000:
        raise InputError(f"--random takes at most 1000 layers; got {text!r}")
    return num_inputs, width, num_layers


def parse_columns(text: str | None) -> tuple[str, ...] | None:
    """Return the three names of ``--columns a,b,c``."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if len(set(names)) != 3 or "" in names:
        raise InputError(
            "--columns takes the names of the columns with row labels, column labels "
            f"and values, as in user,film,stars; got {text!r}"
        )
    return names


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return the rows and columns of ``--kernel-size``."""
    if text is None:
        return None
    try:
        rows, *rest = (int(part) for part in text.lower().split("x"))
    except ValueError:
        rows, rest = 0, list[int]()
    if min(rows, *rest, rows) < 1 or len(rest) > 1:
        raise InputError(
            "--kernel-size takes one or two positive sizes, as in 7 or 5x9; got "
            f"{text!r}"
        )
    return rows, rest[0] if rest else rows
