"""Rates of sequences whose rate is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.minimax.dynamics.measured import measured_rate


@given(rate=st.floats(0.5, 1.2), scale=st.floats(1e-3, 1e3))
def test_geometric_sequences_are_exact(rate: float, scale: float) -> None:
    run = [scale * rate**t for t in range(30)]
    assert measured_rate(run) == pytest.approx(rate, rel=1e-12)


@given(angle=st.floats(0.05, 3.09), phase=st.floats(0.0, 3.0))
def test_dips_of_a_complex_mode_do_not_count(angle: float, phase: float) -> None:
    run = [0.93**t * abs(math.cos(angle * t + phase)) for t in range(300)]
    found = measured_rate(run)
    assert found is not None
    # Within two per cent of the logarithm, at any frequency.
    assert math.log(found) == pytest.approx(math.log(0.93), rel=0.02)


def test_slowest_of_several_modes_wins() -> None:
    time = np.arange(200)
    run = 0.9**time + 0.7**time * np.cos(time) ** 2
    assert measured_rate(run.tolist()) == pytest.approx(0.9, rel=1e-4)


def test_rounding_at_the_end_is_left_out() -> None:
    run = [0.5**t + 1e-16 for t in range(200)]
    assert measured_rate(run) == pytest.approx(0.5, rel=1e-3)


def test_what_comes_after_an_overflow_is_left_out() -> None:
    run = [1.5**t for t in range(60)] + [math.inf, math.nan]
    assert measured_rate(run) == pytest.approx(1.5, rel=1e-12)


def test_exact_zeros_are_dips() -> None:
    run = [0.9**t if t % 2 else 0.0 for t in range(100)]
    assert measured_rate(torch.tensor(run)) == pytest.approx(0.9, rel=1e-3)


@pytest.mark.parametrize("run", [[], [1.0] * 5, [0.0] * 100, [math.nan] * 100])
def test_what_says_nothing_has_no_rate(run: list[float]) -> None:
    assert measured_rate(run) is None
