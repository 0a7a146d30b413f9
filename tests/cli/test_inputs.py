"""The small texts that commands take: what they mean, and what is refused."""

import pytest

from tacit.cli.inputs import (
    parse_columns,
    parse_integers,
    parse_pair,
    parse_random,
    parse_shape,
)
from tacit.errors import InputError


def test_integers_are_separated_by_commas() -> None:
    assert parse_integers("3, 0,12", option="--a", example="1,2", least=0) == (3, 0, 12)


@pytest.mark.parametrize(
    "text", ["", "1,", "a", "1.5", "1;2", "-1,2", "1e3", "9" * 5000]
)
def test_what_is_no_list_of_integers_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--a takes integers of at least 0, as in 1,2"):
        parse_integers(text, option="--a", example="1,2", least=0)


def test_an_integer_below_the_least_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        parse_integers("1,0", option="--a", example="1,2", least=1)


def test_a_margin_is_a_pair_of_outputs() -> None:
    assert parse_pair("3,5") == (3, 5)
    assert parse_pair(None) is None


@pytest.mark.parametrize("text", ["3", "3,4,5", "3,3"])
def test_a_margin_of_one_or_three_or_equal_outputs_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--margin takes two outputs"):
        parse_pair(text)


def test_a_shape_is_its_sizes() -> None:
    assert parse_shape("3,32,32") == (3, 32, 32)
    assert parse_shape(None) is None


def test_a_shape_of_too_many_entries_is_refused() -> None:
    assert parse_shape("100000000") == (10**8,)
    with pytest.raises(InputError, match="at most 100000000 entries"):
        parse_shape("100000001")


def test_a_random_network_has_inputs_width_and_depth() -> None:
    assert parse_random("50,200,2") == (50, 200, 2)


@pytest.mark.parametrize("text", ["50", "50,200", "50,200,2,1"])
def test_a_random_network_of_other_than_three_sizes_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--random takes d,N,L"):
        parse_random(text)


@pytest.mark.parametrize("text", ["1,10001,2", "100000001,1,1", "1,1,1001"])
def test_a_random_network_that_would_not_fit_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="at most"):
        parse_random(text)


def test_columns_are_three_names() -> None:
    assert parse_columns("user, film,stars") == ("user", "film", "stars")
    assert parse_columns(None) is None


@pytest.mark.parametrize("text", ["", "a", "a,b", "a,b,", "a,b,a", "a,b,c,d"])
def test_other_than_three_names_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--columns takes the names"):
        parse_columns(text)
