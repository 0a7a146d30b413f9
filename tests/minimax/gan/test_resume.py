"""A checkpoint is continued by its own run alone."""

from dataclasses import replace

import pytest

from gan_runs import SMALL, Pixels, images, vectors
from tacit.errors import InputError
from tacit.minimax.gan.checkpoint import Checkpoint
from tacit.minimax.gan.resume import check_same_run, describe_run, shape_of


def checkpoint(step: int = 5) -> Checkpoint:
    header = {**describe_run(vectors(), SMALL, None), "step": step}
    return Checkpoint(header=header, arrays={})


def test_the_same_run_goes_on_for_as_many_steps_as_one_likes() -> None:
    check_same_run(checkpoint(), vectors(), SMALL, None)
    check_same_run(checkpoint(), vectors(), replace(SMALL, num_steps=5), None)
    check_same_run(checkpoint(), vectors(), replace(SMALL, num_steps=10**6), None)


def test_every_difference_is_named() -> None:
    other = replace(SMALL, width=9, loss="hinge")
    with pytest.raises(InputError) as caught:
        check_same_run(checkpoint(), vectors(scale=2.0), other, Pixels())
    for words in (
        "width was 4 and is 9",
        "loss was 'non-saturating' and is 'hinge'",
        "the data's digest was '23 points of size 1.0' and is '23 points of size 2.0'",
        "the features's name was None and is 'pixels'",
    ):
        assert words in str(caught.value)


def test_data_of_another_shape_are_another_run() -> None:
    with pytest.raises(InputError, match=r"shape was \[2\] and is \[1, 8, 8\]"):
        check_same_run(checkpoint(), images(), SMALL, None)


def test_fewer_steps_than_were_taken_are_refused() -> None:
    with pytest.raises(InputError, match="at least the 5 steps"):
        check_same_run(checkpoint(), vectors(), replace(SMALL, num_steps=4), None)


def test_the_shape_is_in_the_header() -> None:
    assert shape_of(checkpoint()) == (2,)
    odd = Checkpoint(header={"data": {"shape": ["2"]}}, arrays={})
    with pytest.raises(InputError, match="have no shape"):
        shape_of(odd)
