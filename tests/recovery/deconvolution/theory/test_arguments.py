"""Arguments out of range are named."""

import pytest

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.theory.arguments import checked_sizes, require


def test_what_is_right_passes() -> None:
    assert checked_sizes((3, 4), 5) == (3, 4)
    require(True, "size", "positive", 1.0)


@pytest.mark.parametrize(("shape", "number"), [((0, 4), 5), ((3, -1), 5), ((3, 4), 0)])
def test_sizes_that_are_not_positive_are_refused(
    shape: tuple[int, int], number: int
) -> None:
    with pytest.raises(ShapeError, match="must be positive"):
        checked_sizes(shape, number)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="size must be positive; got -1"):
        require(False, "size", "positive", -1.0)
