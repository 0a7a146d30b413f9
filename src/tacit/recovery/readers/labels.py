"""Names of rows and columns: from a file to indices and back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from tacit.errors import InputError

Labels = tuple[int, ...] | tuple[str, ...]
Indices = npt.NDArray[np.int64]

# Numbers in their one usual spelling; an identifier such as 007 remains a name.
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")
_MAX_LENGTH = 1000  # of a name; no integer of that size is meant as one


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """One column of a table as indices into its distinct labels.

    Parameters
    ----------
    labels : tuple of int or tuple of str
        Distinct and ascending: integers by value, names by code points.
    codes : int64 array
        For every line, the place of its label in ``labels``.
    """

    labels: Labels
    codes: Indices


def code_labels(axis: str, distinct: Sequence[object], codes: Indices) -> Coded:
    """Return labels in ascending order, and the codes that go with them.

    Parameters
    ----------
    axis : str
        ``"row"`` or ``"column"``, for messages.
    distinct : sequence of int or of str
        Labels as they stand in the file; texts are stripped, and taken as integers if
        all of them are written as integers.
    codes : int64 array
        For every line, the place of its label in ``distinct``.

    Returns
    -------
    Coded

    Raises
    ------
    InputError
        If a label is empty, longer than 1000 characters, a negative integer, or if all
        of them are numbers and some of those fractions.

    Examples
    --------
    >>> import numpy as np
    >>> from tacit.recovery.readers.labels import code_labels
    >>> coded = code_labels("row", ["10", "9"], np.array([0, 1, 0]))
    >>> coded.labels, coded.codes.tolist()
    ((9, 10), [1, 0, 1])
    """
    parsed = _parse(axis, distinct)
    labels = _ascending(parsed)
    place = {label: i for i, label in enumerate(labels)}
    order = np.array([place[label] for label in parsed], dtype=np.int64)
    return Coded(labels=labels, codes=order[codes])


def _ascending(labels: Sequence[int | str]) -> Labels:
    numbers = [label for label in labels if isinstance(label, int)]
    if len(numbers) == len(labels):
        return tuple(sorted(set(numbers)))
    return tuple(sorted({str(label) for label in labels}))


def _parse(axis: str, distinct: Sequence[object]) -> list[int] | list[str]:
    if all(isinstance(label, int) for label in distinct):
        return _natural(axis, [int(str(label)) for label in distinct])
    texts = [str(label).strip() for label in distinct]
    for text in texts:
        if not 0 < len(text) <= _MAX_LENGTH:
            raise InputError(
                f"a {axis} label must have 1 to {_MAX_LENGTH} characters; got "
                f"{len(text)}; name every {axis}"
            )
    if all(_INTEGER.fullmatch(text) for text in texts):
        return _natural(axis, [int(text) for text in texts])
    return _names(axis, texts)


def _natural(axis: str, numbers: list[int]) -> list[int]:
    if numbers and min(numbers) < 0:
        raise InputError(
            f"a {axis} label that is an integer must be at least 0; got "
            f"{min(numbers)}; number from 0 or 1, or use names"
        )
    return numbers


def _names(axis: str, texts: list[str]) -> list[int] | list[str]:
    if not all(_NUMBER.fullmatch(text) for text in texts):
        return texts
    fractions = [text for text in texts if not float(text).is_integer()]
    if fractions:
        raise InputError(
            f"a {axis} label must be an integer or a name; got {fractions[0]!r}; are "
            "the columns in the order row, column, value?"
        )
    if any("." in text for text in texts):
        # Integers that went through a column of floats.
        return _natural(axis, [int(float(text)) for text in texts])
    return texts


def share_labels(first: Coded, second: Coded) -> tuple[Coded, Coded]:
    """Return both with one list of labels, for the two sides of a symmetric matrix.

    Parameters
    ----------
    first, second : Coded
        If only one of them has integers, those become names.

    Returns
    -------
    tuple of Coded

    Examples
    --------
    >>> import numpy as np
    >>> from tacit.recovery.readers.labels import code_labels, share_labels
    >>> one, two = (code_labels("row", [name], np.array([0])) for name in ("b", "a"))
    >>> one, two = share_labels(one, two)
    >>> one.labels, one.codes.tolist(), two.codes.tolist()
    (('a', 'b'), [1], [0])
    """
    labels = _ascending((*first.labels, *second.labels))
    is_named = not labels or isinstance(labels[0], str)
    place: dict[int | str, int] = {label: i for i, label in enumerate(labels)}

    def recode(coded: Coded) -> Coded:
        order = np.array(
            [place[str(label) if is_named else label] for label in coded.labels],
            dtype=np.int64,
        )
        return Coded(labels=labels, codes=order[coded.codes])

    return recode(first), recode(second)


def find_labels(
    axis: str, wanted: Sequence[int] | Sequence[str], labels: Labels | None, size: int
) -> Indices:
    """Return the indices of labels.

    Parameters
    ----------
    axis : str
        ``"row"`` or ``"column"``, for messages.
    wanted : sequence of int or of str
        Found by their spelling, so 3 and "3" are the same.
    labels : tuple or None
        Label of every index; None if the indices themselves are the labels.
    size : int
        Number of indices.

    Returns
    -------
    int64 array

    Raises
    ------
    InputError
        If one is not among ``labels``.

    Examples
    --------
    >>> from tacit.recovery.readers.labels import find_labels
    >>> find_labels("row", ["b", "a"], ("a", "b"), 2).tolist()
    [1, 0]
    """
    if labels is None:
        labels = tuple(range(size))
    place = {str(label): i for i, label in enumerate(labels)}
    try:
        return np.array([place[str(label)] for label in wanted], dtype=np.int64)
    except KeyError as error:
        raise InputError(
            f"{axis} {error.args[0]!r} has no entry to learn from; leave it out"
        ) from None
