"""Labels of rows and columns become indices, in one order whatever the lines' is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import InputError
from tacit.recovery.readers.labels import (
    Coded,
    Labels,
    code_labels,
    find_labels,
    share_labels,
)


def coded(texts: list[str]) -> Coded:
    """Return the labels of a column with these lines."""
    distinct = list(dict.fromkeys(texts))
    places = {text: i for i, text in enumerate(distinct)}
    return code_labels("row", distinct, np.array([places[text] for text in texts]))


NAMES = st.lists(st.sampled_from(["a", "B", "10", "9", "x y", "07", "-"]), min_size=1)


@given(NAMES)
def test_every_line_finds_its_label_again(texts: list[str]) -> None:
    found = coded(texts)
    assert [str(found.labels[code]) for code in found.codes] == texts
    assert list(found.labels) == sorted(set(found.labels), key=lambda label: label)


@given(NAMES)
def test_the_order_of_the_lines_changes_no_label(texts: list[str]) -> None:
    assert coded(texts).labels == coded(texts[::-1]).labels


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["10", "9", "0"], (0, 9, 10)),
        (["10", "9", "x"], ("10", "9", "x")),
        (["007", "7"], ("007", "7")),
        (["2.0", "1.0", "1"], (1, 2)),
        (["1.5", "x"], ("1.5", "x")),
        ([" a ", "a"], ("a",)),
        (["99999999999999999999", "1"], (1, 99999999999999999999)),
        (["1e3", "1"], ("1", "1e3")),
    ],
)
def test_numbers_in_their_usual_spelling_are_numbers(
    texts: list[str], labels: Labels
) -> None:
    assert coded(texts).labels == labels


def test_two_spellings_of_a_number_share_an_index() -> None:
    assert coded(["1", "2.0", "1.0", "2"]).codes.tolist() == [0, 1, 0, 1]


def test_integers_of_a_file_are_taken_as_they_are() -> None:
    found = code_labels("row", [30, 4, 5], np.array([2, 1, 0]))
    assert found.labels == (4, 5, 30)
    assert found.codes.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["a", ""], "1 to 1000 characters; got 0"),
        (["a", "  "], "got 0"),
        (["a" * 1001], "got 1001"),
        (["-1", "2"], "at least 0; got -1"),
        (["-1.0", "2"], "at least 0; got -1"),
        (["1.5", "2"], "must be an integer or a name; got '1.5'"),
        (["1e-3", "2"], "got '1e-3'"),
    ],
)
def test_a_label_that_is_none_is_refused(texts: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        coded(texts)
    with pytest.raises(InputError, match="row label"):
        coded(texts)


def test_negative_integers_of_a_file_are_refused() -> None:
    with pytest.raises(InputError, match="at least 0; got -3"):
        code_labels("column", [1, -3], np.array([0, 1]))


@given(NAMES, NAMES)
def test_both_sides_of_a_symmetric_matrix_share_their_labels(
    first: list[str], second: list[str]
) -> None:
    one, two = share_labels(coded(first), coded(second))
    assert one.labels == two.labels
    assert {str(label) for label in one.labels} == {*first, *second}
    for found, texts in ((one, first), (two, second)):
        assert [str(found.labels[code]) for code in found.codes] == texts


def test_numbers_stay_numbers_if_both_sides_have_them() -> None:
    one, two = share_labels(coded(["10"]), coded(["9"]))
    assert one.labels == (9, 10)
    assert (one.codes.tolist(), two.codes.tolist()) == ([1], [0])


@pytest.mark.parametrize("wanted", [[9, 10], ["9", "10"]])
def test_a_label_is_found_by_its_spelling(wanted: list[int] | list[str]) -> None:
    assert find_labels("row", wanted, (7, 9, 10), 3).tolist() == [1, 2]
    assert find_labels("row", wanted, ("10", "9", "x"), 3).tolist() == [1, 0]


def test_indices_are_their_own_labels_where_there_are_none() -> None:
    assert find_labels("row", [2, 0], None, 3).tolist() == [2, 0]
    with pytest.raises(InputError, match="row '3' has no entry"):
        find_labels("row", [3], None, 3)


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(InputError, match="column 'z' has no entry to learn from"):
        find_labels("column", ["a", "z"], ("a", "b"), 2)
