"""What arrays say: how many channels, which boundary, which truth."""

from typing import Any

import numpy as np
import pytest

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers.from_npz import (
    boundary_from,
    observed_from,
    require_observed,
)


@pytest.mark.parametrize(
    ("shape", "members", "channels", "grid"),
    [
        ((6,), {}, 1, (6,)),
        ((6, 5), {}, 1, (6, 5)),
        ((2, 6, 5), {}, 2, (6, 5)),
        ((6, 5), {"C": np.ones((5, 2))}, 6, (5,)),
        ((6, 5), {"C": np.ones((6, 5, 2))}, 1, (6, 5)),
        ((2, 6), {"num_channels": np.array(2)}, 2, (6,)),
        ((2, 6), {"num_channels": np.array(1)}, 1, (2, 6)),
    ],
)
def test_channels_are_told_from_dimensions(
    shape: tuple[int, ...], members: dict[str, Any], channels: int, grid: Any
) -> None:
    observed = observed_from({"y": np.ones(shape), **members})
    assert (observed.num_channels, observed.grid) == (channels, grid)


def test_complex_bases_make_a_complex_problem() -> None:
    observed = observed_from({"y": np.ones(3), "B": 1j * np.ones((3, 1))})
    assert observed.values.is_complex()


def test_the_boundary_is_the_files_or_the_callers() -> None:
    assert boundary_from({}, None) == "circular"
    assert boundary_from({}, "full") == "full"
    assert boundary_from({"boundary": np.array("valid")}, None) == "valid"
    with pytest.raises(InputError, match="leave one out"):
        boundary_from({"boundary": np.array("valid")}, "same")


def test_arrays_without_an_observation_are_refused() -> None:
    with pytest.raises(InputError, match="'y', what was observed, is missing among a"):
        require_observed({"a": np.ones(1)})
