"""Random places: uniform, distinct, sorted, and no line too empty."""

import itertools
import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.draw_entries import distinct_integers, draw_entries


def line_counts(
    rows: Tensor, columns: Tensor, shape: tuple[int, int], is_symmetric: bool
) -> list[int]:
    """How many places each line has, one place after the other."""
    counts = [0] * (shape[0] if is_symmetric else sum(shape))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        lines = {row, column} if is_symmetric else {row, shape[0] + column}
        for line in lines:
            counts[line] += 1
    return counts


@pytest.mark.parametrize("count", [1, 3, 4, 6, 8])
def test_every_set_of_integers_is_equally_likely(
    count: int, generator: torch.Generator
) -> None:
    sets = dict.fromkeys(itertools.combinations(range(8), count), 0)
    for _ in range(60 * len(sets)):
        drawn = distinct_integers(8, count, generator=generator)
        sets[tuple(drawn.tolist())] += 1
    if len(sets) > 1:
        assert chisquare(list(sets.values())).pvalue > 1e-4
    assert len(distinct_integers(8, 0, generator=generator)) == 0


@pytest.mark.parametrize(
    ("shape", "is_symmetric"), [((6, 9), False), ((7, 7), True), ((8, 8), True)]
)
def test_every_place_is_equally_likely(
    shape: tuple[int, int], is_symmetric: bool, generator: torch.Generator
) -> None:
    times = torch.zeros(shape)
    for _ in range(1500):
        rows, columns = draw_entries(
            shape, 12, is_symmetric=is_symmetric, generator=generator
        )
        times[rows, columns] += 1
    places = torch.ones(shape, dtype=torch.bool)
    if is_symmetric:
        places = places.triu()
    assert float(times[~places].sum()) == 0.0
    # Drawn without replacement: the statistic is smaller than chi-squared by this.
    population = int(places.sum())
    statistic = chisquare(times[places].tolist()).statistic
    scaled = statistic * (population - 1) / (population - 12)
    assert abs(scaled - (population - 1)) < 5 * math.sqrt(2 * (population - 1))


def test_large_populations_are_drawn_evenly(generator: torch.Generator) -> None:
    """Just above what 32 random bits can share out fairly."""
    population = 3 * 2**30
    drawn = distinct_integers(population, 60_000, generator=generator)
    parts = torch.bincount(drawn * 12 // population, minlength=12)
    assert chisquare(parts.tolist()).pvalue > 1e-4


@pytest.mark.parametrize(
    ("shape", "num_entries", "least", "is_symmetric"),
    [
        ((300, 200), 620, 1, False),
        ((40, 30), 360, 5, False),
        ((30, 4), 120, 4, False),
        ((20, 20), 80, 3, False),
        ((200, 200), 205, 1, True),
        ((50, 50), 170, 3, True),
        ((2, 2), 3, 2, True),
    ],
)
def test_no_line_is_left_too_empty(
    shape: tuple[int, int],
    num_entries: int,
    least: int,
    is_symmetric: bool,
    generator: torch.Generator,
) -> None:
    rows, columns = draw_entries(
        shape,
        num_entries,
        min_per_line=least,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    keys = rows * shape[1] + columns
    assert len(keys) == num_entries
    assert bool((keys.diff() > 0).all())
    assert min(line_counts(rows, columns, shape, is_symmetric)) >= least
    if is_symmetric:
        assert bool((rows <= columns).all())


def test_the_uniform_draw_is_kept_where_it_has_no_empty_line(
    generator: torch.Generator,
) -> None:
    state = generator.get_state()
    plain = draw_entries((10, 10), 60, generator=generator)
    generator.set_state(state)
    kept = draw_entries((10, 10), 60, min_per_line=1, generator=generator)
    assert torch.equal(plain[0], kept[0])
    assert torch.equal(plain[1], kept[1])


def test_topping_up_prefers_no_place(generator: torch.Generator) -> None:
    """Rows and columns play the same part, so all places stay equally likely."""
    times = torch.zeros(5, 5)
    for _ in range(3000):
        rows, columns = draw_entries((5, 5), 8, min_per_line=1, generator=generator)
        times[rows, columns] += 1
    expected = 3000 * 8 / 25
    # Binomial, or less spread: five standard deviations.
    deviation = math.sqrt(expected * (1 - 8 / 25))
    assert float((times - expected).abs().max()) < 5 * deviation


@pytest.mark.parametrize(
    ("num_entries", "least", "is_symmetric", "message"),
    [
        (0, 0, False, r"must be in 1\.\.30 for shape \(5, 6\); got 0"),
        (31, 0, False, r"must be in 1\.\.30 .* got 31; lower oversampling or the rank"),
        (9, 6, False, r"min_per_line must be in 0\.\.min\(shape\) = 5; got 6"),
        (9, -1, False, "got -1"),
        (11, 2, False, "11 entries cannot give each of 6 lines 2; raise oversampling"),
    ],
)
def test_impossible_numbers_are_refused(
    num_entries: int,
    least: int,
    is_symmetric: bool,
    message: str,
    generator: torch.Generator,
) -> None:
    with pytest.raises(InputError, match=message):
        draw_entries(
            (5, 6),
            num_entries,
            min_per_line=least,
            is_symmetric=is_symmetric,
            generator=generator,
        )


def test_a_draw_that_cannot_be_repaired_is_refused() -> None:
    """Four entries for four rows and columns: one by one, most draws get stuck."""
    stuck = 0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        try:
            rows, columns = draw_entries((4, 4), 4, min_per_line=1, generator=generator)
        except InputError:
            stuck += 1
            generator.manual_seed(seed)
            with pytest.raises(InputError, match="spared with 1 left in each row and"):
                draw_entries((4, 4), 4, min_per_line=1, generator=generator)
        else:
            assert line_counts(rows, columns, (4, 4), False) == [1] * 8
    assert 0 < stuck < 100


def test_memory_is_that_of_the_entries_alone(generator: torch.Generator) -> None:
    """A matrix with 10^18 places."""
    rows, columns = draw_entries((10**9, 10**9), 10**5, generator=generator)
    assert len(rows) == 10**5
    for places in (rows, columns):
        parts = torch.bincount(places * 10 // 10**9, minlength=10)
        assert chisquare(parts.tolist()).pvalue > 1e-4
