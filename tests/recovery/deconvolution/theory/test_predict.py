"""Regimes and thresholds against their defining equations."""

import math

import pytest

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.theory.predict import (
    noise_regime,
    recovery_thresholds,
)

NAMES = ["linear with dimension factor", "square root", "dimension-free linear"]


def test_regimes_follow_each_other() -> None:
    # Sizes at which all four have room: K N / L = 100 and alpha = 0.82.
    size, shape, length = 3.0, (10**5, 10**5), 10**8
    alpha = math.log(length) * math.sqrt(2e-3)
    bounds = [0.009 * size, 0.011 * size, 0.99 * alpha * size, 1.01 * alpha * size]
    found = [
        noise_regime(shape, length, noise_bound=tau, size=size).name for tau in bounds
    ]
    assert found == [NAMES[0], NAMES[1], NAMES[1], NAMES[2]]
    last = noise_regime(shape, length, noise_bound=1.01 * size, size=size)
    assert (last.name, last.error.value) == ("saturated", 2.0 * size)


def test_laws_meet_where_the_regime_changes() -> None:
    crossover = noise_regime((50, 50), 500, noise_bound=1.0, size=2.0).crossovers[0]
    assert crossover.value == pytest.approx(2.0 * 500 / 2500)
    linear, root, *_ = noise_regime(
        (50, 50), 500, noise_bound=crossover.value, size=2.0
    ).laws
    assert linear.value == pytest.approx(root.value)
    # Where the square root ends, it has reached the size of the truth.
    assert noise_regime((50, 50), 500, noise_bound=2.0, size=2.0).laws[
        1
    ].value == pytest.approx(2.0)


def test_slopes_are_one_and_one_half() -> None:
    def slope(index: int) -> float:
        low, high = (
            noise_regime((50, 50), 500, noise_bound=tau).laws[index].value
            for tau in (1e-3, 1e-1)
        )
        return math.log(high / low) / math.log(1e2)

    assert [slope(i) for i in range(4)] == pytest.approx([1.0, 0.5, 1.0, 0.0])


def test_many_measurements_have_no_dimension_factor() -> None:
    regime = noise_regime((5, 5), 1000, noise_bound=0.5)
    assert (regime.name, regime.error.value) == (NAMES[0], 0.5)
    assert [point.value for point in regime.crossovers] == [1.0, 1.0, 1.0]


def test_uneven_filters_leave_less_room() -> None:
    def third(filter_flatness: float) -> float:
        return (
            noise_regime(
                (10**5, 10**5), 10**8, noise_bound=0.1, filter_flatness=filter_flatness
            )
            .crossovers[1]
            .value
        )

    assert third(1.2) == pytest.approx(math.sqrt(1.2) * third(1.0))


def test_only_what_was_derived_says_so() -> None:
    laws = noise_regime((20, 20), 200, noise_bound=0.1).laws
    assert [law.certainty for law in laws] == [
        "recalled",
        "published",
        "recalled",
        "derived",
    ]
    assert all("constant one" in law.note for law in laws[:3])


def test_thresholds_solve_their_equations() -> None:
    count, gaussian, *rest = recovery_thresholds(
        (20, 30), filter_flatness=2.0, filter_max=4.0
    )
    assert count.value == 49.0
    assert 49.0 < gaussian.value < 150.0
    targets = [(80.0, 3), (100.0, 2), (60.0, 2)]
    for prediction, (target, power) in zip(rest, targets, strict=True):
        length = prediction.value
        assert length / math.log(length) ** power == pytest.approx(target)
        # The equation has a second, smaller solution that is no threshold.
        assert length > math.exp(power)
        assert prediction.certainty == "recalled"


def test_sources_add_up() -> None:
    one = recovery_thresholds((20, 30))
    three = recovery_thresholds((20, 30), num_sources=3)
    for single, several in zip(one[:2], three[:2], strict=True):
        assert several.value == pytest.approx(3.0 * single.value)
    convex, descent = three[2:]
    assert convex.value / math.log(convex.value) ** 3 == pytest.approx(90.0)
    assert descent.value / math.log(descent.value) ** 2 == pytest.approx(270.0)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ShapeError, match="must be positive"):
        noise_regime((0, 3), 5, noise_bound=0.1)
    with pytest.raises(InputError, match="noise_bound must be at least 0"):
        noise_regime((3, 3), 5, noise_bound=-0.1)
    with pytest.raises(InputError, match="size must be positive"):
        noise_regime((3, 3), 5, noise_bound=0.1, size=0.0)
    with pytest.raises(InputError, match="filter_flatness must be at least 1"):
        noise_regime((3, 3), 5, noise_bound=0.1, filter_flatness=0.5)
    with pytest.raises(InputError, match="filter_max must be at least 1"):
        recovery_thresholds((3, 3), filter_max=math.nan)
    with pytest.raises(InputError, match="num_sources must be at least 1"):
        recovery_thresholds((3, 3), num_sources=0)
