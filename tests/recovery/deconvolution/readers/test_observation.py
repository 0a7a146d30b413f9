"""The bound on rounding errors."""

import math

import pytest
import torch

from tacit.recovery.deconvolution.readers.observation import (
    Observation,
    rounding_bound,
)


def test_an_observation_knows_its_channels_and_grid() -> None:
    observed = Observation(values=torch.zeros(3, 4, 5), kind="image")
    assert (observed.num_channels, observed.grid) == (3, (4, 5))


@pytest.mark.parametrize("count", [1, 10, 1000, 10**6])
def test_rounding_stays_within_its_bound(
    count: int, generator: torch.Generator
) -> None:
    step = 0.01
    values = torch.rand(count, generator=generator, dtype=torch.float64)
    errors = step * torch.round(values / step) - values
    bound = rounding_bound(step, count)
    assert float(torch.linalg.vector_norm(errors)) <= bound
    # Never above what rounding can do at all; of many numbers near its mean.
    assert bound <= step * math.sqrt(count) / 2.0
    if count == 10**6:
        assert bound < 1.01 * step * math.sqrt(count / 12.0)


def test_nothing_is_added_where_nothing_was_rounded() -> None:
    assert rounding_bound(0.0, 100) == 0.0
