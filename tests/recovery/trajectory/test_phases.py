"""Phases of curves made up so that the boundaries are known."""

import math

import pytest
import torch
from torch import Tensor

from tacit.errors import ShapeError
from tacit.recovery.trajectory.phases import Phase, Phases, find_phases

STEPS = torch.arange(300)
TIME = STEPS.double()


def spans(phases: Phases) -> dict[str, tuple[int, int | None]]:
    return {name: (phase.start, phase.stop) for name, phase in phases.named()}


def growing(rate: float = 1.2, start: float = 1e-4) -> Tensor:
    """Geometric, then constant at one: a tenth of its square after 44 steps."""
    return (start * rate**TIME).clamp(max=1.0)


def falling(start: int, rate: float, floor: float) -> Tensor:
    """Constant at one until ``start``, geometric down to the floor."""
    return (rate ** (TIME - start).clamp(min=0.0)).clamp(min=floor)


def test_three_phases_have_their_boundaries_where_the_curves_were_built() -> None:
    phases = find_phases(
        STEPS,
        angle=0.9**TIME,
        size=growing(),
        scale=1.0,
        error=falling(50, 0.8, 1e-6),
    )
    # 0.9^22 <= 0.1 + 0.9 * 0.9^45; 1e-4 * 1.2^45 >= 0.1^(1/2); 0.8^62 = 1e-6.
    grown = math.ceil(math.log(math.sqrt(0.1) / 1e-4) / math.log(1.2))
    flat = 50 + math.log(1e-6) / math.log(0.8)
    found = spans(phases)
    assert found["alignment"] == (0, 22)
    assert found["growth"] == (22, grown)
    start, stop = found["refinement"]
    assert start == grown
    # The rate is taken over a window of a twentieth of what follows.
    assert stop is not None
    assert flat - 15 <= stop <= flat


def test_recorded_steps_are_what_boundaries_are_given_in() -> None:
    every = STEPS[::10]
    phases = find_phases(
        every,
        angle=(0.9**TIME)[::10],
        size=growing()[::10],
        scale=1.0,
        error=falling(50, 0.8, 1e-6)[::10],
    )
    for phase in (phases.alignment, phases.growth, phases.refinement):
        assert phase is not None
        assert phase.start % 10 == 0
        assert phase.stop is not None
        assert phase.stop % 10 == 0


def test_an_aligned_and_grown_start_has_refinement_alone() -> None:
    phases = find_phases(
        STEPS,
        angle=0.2 * torch.ones(300, dtype=torch.float64),
        size=torch.ones(300, dtype=torch.float64),
        scale=1.0,
        error=falling(0, 0.8, 1e-6),
    )
    assert set(spans(phases)) == {"refinement"}


def test_an_aligned_but_small_start_has_no_alignment() -> None:
    phases = find_phases(
        STEPS,
        angle=0.1 * torch.ones(300, dtype=torch.float64),
        size=growing(),
        scale=1.0,
        error=falling(50, 0.8, 1e-6),
    )
    assert phases.alignment is None
    assert spans(phases)["growth"] == (0, 45)


@pytest.mark.parametrize("angle", [0.99 - 0.2 * TIME / 300, torch.ones(300).double()])
def test_a_run_that_ends_while_it_aligns_says_so(angle: Tensor) -> None:
    phases = find_phases(
        STEPS,
        angle=angle,
        size=1e-6 * torch.ones(300, dtype=torch.float64),
        scale=1.0,
        error=torch.ones(300, dtype=torch.float64),
    )
    assert spans(phases) == {"alignment": (0, None)}


def test_a_run_that_ends_while_it_grows_says_so() -> None:
    phases = find_phases(
        STEPS,
        angle=0.9**TIME,
        size=growing(1.01),
        scale=1.0,
        error=torch.ones(300, dtype=torch.float64),
    )
    assert spans(phases)["growth"] == (22, None)
    assert phases.refinement is None


def test_a_size_that_is_not_known_to_have_grown_has_not() -> None:
    phases = find_phases(
        STEPS, angle=0.9**TIME, size=growing(), scale=math.inf, error=0.99**TIME
    )
    assert spans(phases)["growth"] == (22, None)


def test_without_a_plateau_refinement_is_not_over() -> None:
    phases = find_phases(
        STEPS, angle=0.9**TIME, size=growing(), scale=1.0, error=falling(50, 0.9, 0.0)
    )
    assert spans(phases)["refinement"] == (45, None)


def test_a_slow_decay_after_the_fast_one_counts_as_a_plateau() -> None:
    error = torch.maximum(falling(50, 0.8, 0.0), 1e-4 / (1.0 + TIME))
    phases = find_phases(STEPS, angle=0.9**TIME, size=growing(), scale=1.0, error=error)
    stop = spans(phases)["refinement"][1]
    assert stop is not None
    assert 90 <= stop <= 120


def test_an_error_that_stays_has_no_refinement() -> None:
    phases = find_phases(
        STEPS,
        angle=0.9**TIME,
        size=growing(),
        scale=1.0,
        error=torch.ones(300, dtype=torch.float64),
    )
    assert phases.refinement is None


def test_one_recorded_step_is_a_record() -> None:
    one = torch.ones(1, dtype=torch.float64)
    phases = find_phases(torch.tensor([0]), angle=one, size=one, scale=1.0, error=one)
    assert spans(phases) == {}


def test_named_phases_come_in_order() -> None:
    phase = Phase(start=0, stop=None)
    phases = Phases(alignment=phase, growth=None, refinement=phase)
    assert [name for name, _ in phases.named()] == ["alignment", "refinement"]


@pytest.mark.parametrize("short", ["angle", "size", "error"])
def test_curves_of_different_lengths_are_refused(short: str) -> None:
    curves = {name: torch.ones(3) for name in ("angle", "size", "error")}
    curves[short] = torch.ones(2)
    with pytest.raises(ShapeError, match="one number for every step"):
        find_phases(
            torch.arange(3),
            angle=curves["angle"],
            size=curves["size"],
            scale=1.0,
            error=curves["error"],
        )
