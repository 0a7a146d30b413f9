"""Stages against dense spectra, full observation and the measured bulk."""

import math

import pytest
import torch

from cases import normal
from tacit.errors import InputError
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.stages import expected_stages, observed_stages, planted_stages


def fully_observed(
    sizes: list[float], generator: torch.Generator, *, is_symmetric: bool
) -> RecoveryProblem:
    shape = (9, 9) if is_symmetric else (9, 7)
    entries = EntriesMap(
        rows=torch.arange(shape[0]).repeat_interleave(shape[1]),
        columns=torch.arange(shape[1]).repeat(shape[0]),
        shape=shape,
    )
    left, right = (
        torch.linalg.qr(normal(generator, side, len(sizes)))[0] for side in shape
    )
    right = left if is_symmetric else right
    truth = left * torch.tensor(sizes, dtype=torch.float64) @ right.mH
    return RecoveryProblem(
        linear_map=entries, measurements=truth.flatten(), is_symmetric=is_symmetric
    )


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_planted_stages_are_spectra_without_the_directions_learned(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    shape = (14, 14) if is_symmetric else (14, 11)
    problem = planted_problem(
        shape,
        3,
        oversampling=3.0,
        condition_number=5.0,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    u, s, vh = torch.linalg.svd(truth)
    stages = planted_stages(problem, generator=generator)
    assert len(stages) == 3
    for j, stage in enumerate(stages):
        rest = u[:, j:3] * s[j:3] @ vh[j:3]
        matrix = problem.linear_map.adjoint_apply(problem.linear_map.apply(rest))
        values = (
            torch.linalg.eigvalsh(matrix).flip(0)
            if is_symmetric
            else torch.linalg.svdvals(matrix)
        )
        found = torch.tensor([*stage.rates, stage.edge], dtype=torch.float64)
        torch.testing.assert_close(found, values[: 4 - j])
        torch.testing.assert_close(torch.tensor(stage.sizes).double(), s[j:3])
        assert stage.ratio == stage.edge / stage.rates[-1]


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_full_observation_shows_the_sizes_and_no_bulk(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    sizes = [2.0, 1.0]
    problem = fully_observed(sizes, generator, is_symmetric=is_symmetric)
    for stages in (
        observed_stages(problem, generator=generator),
        observed_stages(problem, 2, generator=generator),
    ):
        assert [len(stage.rates) for stage in stages] == [2, 1]
        assert stages[0].rates == pytest.approx(sizes, rel=1e-12)
        assert stages[1].sizes == pytest.approx(sizes[1:], rel=1e-12)
        assert max(stage.edge for stage in stages) < 1e-12


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_expected_and_observed_stages_agree_with_the_planted_ones(
    is_symmetric: bool, generator: torch.Generator
) -> None:
    shape = (80, 80) if is_symmetric else (80, 50)
    count = 2000
    problem = planted_problem(
        shape,
        2,
        num_measurements=count,
        condition_number=1.5,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    truth = planted_stages(problem, generator=generator)
    before = expected_stages(shape, count, [1.0, 1.0 / 1.5], is_symmetric=is_symmetric)
    after = observed_stages(problem, 2, generator=generator)
    # The edge fluctuates by size^(-2/3), about 0.05, a signal's value by m^(-1/2).
    for j in range(2):
        for stage in (before[j], after[j]):
            assert stage.edge == pytest.approx(truth[j].edge, rel=0.12)
            assert stage.rates == pytest.approx(truth[j].rates, rel=0.12)
            assert stage.sizes == pytest.approx(truth[j].sizes, rel=0.12)


def test_the_edge_of_the_bulk_is_where_the_formula_says(
    generator: torch.Generator,
) -> None:
    for is_symmetric, shape in ((True, (90, 90)), (False, (90, 60))):
        problem = planted_problem(
            shape, 1, num_measurements=1500, is_symmetric=is_symmetric,
            generator=generator,
        )  # fmt: skip
        stage = planted_stages(problem, generator=generator)[0]
        expected = math.sqrt(2 * 90 / 1500)
        if not is_symmetric:
            expected = (math.sqrt(90) + math.sqrt(60)) / math.sqrt(1500)
        assert stage.edge == pytest.approx(expected, rel=0.08)


def test_equal_sizes_lower_the_edge_by_the_root_of_what_is_left() -> None:
    stages = expected_stages((50, 50), 1000, [1.0] * 4)
    edges = [stage.edge for stage in stages]
    for left, edge in zip((4, 3, 2, 1), edges, strict=True):
        assert edge == pytest.approx(edges[0] * math.sqrt(left / 4), rel=1e-12)


def test_a_direction_below_the_bulk_grows_at_its_edge() -> None:
    stages = expected_stages((100, 100), 400, [1.0, 0.01], is_symmetric=True)
    assert stages[0].rates[1] == stages[0].edge
    assert stages[1].rates[0] > stages[1].edge


def test_the_rank_is_read_from_the_gap(generator: torch.Generator) -> None:
    problem = planted_problem(
        (45, 45), 3, oversampling=6.0, is_symmetric=True, generator=generator
    )
    assert len(observed_stages(problem, generator=generator)) == 3


def test_no_gap_means_no_rank(generator: torch.Generator) -> None:
    problem = planted_problem(
        (40, 40), 3, oversampling=1.0, is_symmetric=True, generator=generator
    )
    noise = RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=normal(generator, problem.linear_map.num_measurements),
        is_symmetric=True,
    )
    with pytest.raises(InputError, match="pass rank"):
        observed_stages(noise, generator=generator)


def test_bad_input_is_refused(generator: torch.Generator) -> None:
    problem = planted_problem((6, 5), 1, oversampling=2.0, generator=generator)
    bare = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements
    )
    with pytest.raises(InputError, match="planted"):
        planted_stages(bare, generator=generator)
    for rank in (0, 6):
        with pytest.raises(InputError, match=r"rank must be in 1\.\.5"):
            observed_stages(problem, rank, generator=generator)
    batch = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements[None]
    )
    with pytest.raises(InputError, match="one vector"):
        observed_stages(batch, 1, generator=generator)
    for shape, count, values in (((3, 3), 0, [1.0]), ((3, 3), 5, []), ((3, 3), 5, [0])):
        with pytest.raises(InputError, match="must be positive"):
            expected_stages(shape, count, values)


def test_full_rank_leaves_no_edge(generator: torch.Generator) -> None:
    problem = planted_problem((6, 5), 1, oversampling=3.0, generator=generator)
    assert observed_stages(problem, 5, generator=generator)[0].edge == 0.0
