"""The front door: one call for every kind of measurement."""

import math
from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

from tacit.errors import InputError, ShapeError, Status
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.recover import MAX_HELD_OUT, recover
from tacit.recovery.result import RecoveryResult


def _error(problem: RecoveryProblem, result: RecoveryResult) -> float:
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    norm = torch.linalg.matrix_norm
    return float(norm(result.matrix() - truth) / norm(truth))


def _problem(kind: str, generator: torch.Generator) -> RecoveryProblem:
    if kind == "completion":
        return planted_completion((50, 40), 2, oversampling=5.0, generator=generator)
    return planted_problem(
        (24, 24),
        2,
        oversampling=4.0,
        is_symmetric=kind == "symmetric",
        generator=generator,
    )


@pytest.mark.parametrize("kind", ["completion", "symmetric", "rectangular"])
@pytest.mark.parametrize("rank", [None, 2])
def test_the_answer_says_all_it_should(
    kind: str, rank: int | None, generator: torch.Generator
) -> None:
    problem = _problem(kind, generator)
    phases: list[str] = []
    steps: list[int] = []
    result = recover(
        problem,
        rank=rank,
        generator=generator,
        observers=[lambda step, state: steps.append(step)],
        on_phase=phases.append,
    )
    assert result.rank == 2
    assert _error(problem, result) < 1e-7
    assert result.status is Status.CONVERGED
    assert result.train_error < 1e-8
    assert result.held_out is not None
    size = problem.linear_map.num_measurements
    assert result.held_out.num_held_out == round(0.05 * size)
    low, high = result.held_out.interval
    assert low <= result.held_out.value <= high < 1e-7
    assert result.method
    assert result.reason
    assert result.warnings == ()
    assert result.num_steps >= 1
    assert result.num_passes >= result.num_steps
    assert result.seconds > 0.0
    assert [name for _, name in result.history.phases] == phases
    assert len(result.history.ranks) == len(steps)
    assert (result.left is result.right) == (kind == "symmetric")


def test_the_same_generator_gives_the_same_answer() -> None:
    def run() -> RecoveryResult:
        generator = torch.Generator().manual_seed(7)
        return recover(_problem("rectangular", generator), generator=generator)

    first, second = run(), run()
    assert torch.equal(first.left, second.left)
    assert first.num_steps == second.num_steps


@pytest.mark.parametrize("kind", ["completion", "symmetric", "rectangular"])
def test_a_start_of_ones_own_is_taken(kind: str, generator: torch.Generator) -> None:
    problem = _problem(kind, generator)
    assert problem.planted is not None
    left, right = problem.planted.left, problem.planted.right
    noise = torch.randn(left.shape, generator=generator, dtype=left.dtype)
    left = left + 0.05 * noise
    start = (left, left) if kind == "symmetric" else (left, right)
    result = recover(problem, start=start, generator=generator)
    assert result.rank == 2
    assert result.reason == "start and rank were given"
    assert _error(problem, result) < 1e-7
    with pytest.raises(ShapeError):
        recover(problem, start=(left[1:], right), generator=generator)


def test_a_small_start_of_a_given_scale_is_made(generator: torch.Generator) -> None:
    problem = _problem("symmetric", generator)
    result = recover(problem, init_scale=1e-3, generator=generator)
    assert result.choices["init_scale"] == 1e-3
    assert result.trajectory is not None
    assert result.trajectory.init_scale == 1e-3
    assert _error(problem, result) < 1e-7


def test_a_held_out_part_of_the_problem_is_respected(
    generator: torch.Generator,
) -> None:
    problem = hold_out(_problem("rectangular", generator), 0.2, generator=generator)
    result = recover(problem, generator=generator)
    assert result.held_out is not None
    assert problem.held_out is not None
    assert result.held_out.num_held_out == int(problem.held_out.sum())


def test_nothing_may_be_held_out(generator: torch.Generator) -> None:
    problem = _problem("rectangular", generator)
    result = recover(problem, holdout=0.0, generator=generator)
    assert result.held_out is None
    assert _error(problem, result) < 1e-7


def test_at_most_ten_thousand_are_held_out(generator: torch.Generator) -> None:
    problem = planted_completion(
        (1000, 900), 1, num_measurements=300_000, generator=generator
    )
    result = recover(problem, rank=1, generator=generator)
    assert result.held_out is not None
    assert result.held_out.num_held_out == MAX_HELD_OUT


def test_the_interval_holds_the_true_error(generator: torch.Generator) -> None:
    problem = planted_problem(
        (24, 20), 2, oversampling=6.0, noise=0.1, generator=generator
    )
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    result = recover(problem, holdout=0.2, generator=generator)
    assert result.held_out is not None
    assert result.held_out.frobenius_interval is not None
    low, high = result.held_out.frobenius_interval
    error = float(torch.linalg.matrix_norm(result.matrix() - truth))
    assert low <= error <= high  # holds with probability 0.95; the draw is fixed


def test_fewer_measurements_than_unknowns_are_warned_of(
    generator: torch.Generator,
) -> None:
    linear_map = gaussian_map((12, 10), 30, generator=generator)
    problem = planted_problem((12, 10), 3, linear_map=linear_map, generator=generator)
    result = recover(problem, rank=3, generator=generator)
    assert result.warnings
    assert "57" in " ".join(result.warnings)  # 3 (12 + 10 - 3) unknowns


@pytest.mark.parametrize("kind", ["completion", "rectangular"])
def test_pictures_can_be_drawn(kind: str, generator: torch.Generator) -> None:
    problem = _problem(kind, generator)
    search_rank = 24 if kind == "rectangular" else None
    result = recover(problem, search_rank=search_rank, generator=generator)
    figures = result.plot()
    expected = {"convergence"}
    if kind == "rectangular":
        expected |= {"phases", "spectrum"}
    assert set(figures) == expected
    for figure in figures.values():
        assert isinstance(figure, Figure)
        figure.canvas.draw()


def test_single_precision_has_its_own_tolerance(generator: torch.Generator) -> None:
    problem = planted_problem(
        (20, 16), 1, oversampling=5.0, dtype=torch.float32, generator=generator
    )
    result = recover(problem, generator=generator)
    assert result.left.dtype is torch.float32
    assert result.rank == 1
    assert _error(problem, result) < 1e-4


def _batch(problem: RecoveryProblem) -> RecoveryProblem:
    return RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=torch.stack([problem.measurements] * 2),
    )


def test_a_batch_is_refused(generator: torch.Generator) -> None:
    problem = _batch(_problem("rectangular", generator))
    with pytest.raises(ShapeError, match="one problem"):
        recover(problem, generator=generator)


def test_zero_measurements_are_refused(generator: torch.Generator) -> None:
    problem = _problem("rectangular", generator)
    zero = RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=torch.zeros_like(problem.measurements),
    )
    with pytest.raises(InputError, match="all be zero"):
        recover(zero, generator=generator)


def _scaled(problem: RecoveryProblem, factor: float) -> RecoveryProblem:
    return replace(problem, measurements=factor * problem.measurements)


@pytest.mark.parametrize("kind", ["completion", "rectangular", "symmetric"])
@pytest.mark.parametrize("factor", [1e-55, 1e55])
def test_the_unit_of_the_measurements_does_not_matter(
    kind: str, factor: float, generator: torch.Generator
) -> None:
    problem = _problem(kind, generator)
    result = recover(_scaled(problem, factor), generator=generator)
    assert problem.planted is not None
    truth = problem.planted.left @ problem.planted.right.mH
    norm = torch.linalg.matrix_norm
    assert result.rank == 2
    assert float(norm(result.matrix() / factor - truth) / norm(truth)) < 1e-6


@pytest.mark.parametrize("factor", [1e-70, 1e70])
def test_an_absurd_unit_is_refused(factor: float, generator: torch.Generator) -> None:
    problem = _scaled(_problem("rectangular", generator), factor)
    with pytest.raises(InputError, match="another unit"):
        recover(problem, generator=generator)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be in 1"),
        ({"rank": 25}, "rank must be in 1"),
        ({"search_rank": 0}, "search_rank must be in 1"),
        ({"search_rank": 25}, "search_rank must be in 1"),
        ({"max_steps": 0}, "max_steps"),
        ({"holdout": 1.0}, "holdout"),
        ({"holdout": -0.1}, "holdout"),
        ({"holdout": math.nan}, "holdout"),
        ({"init_scale": 0.0}, "init_scale"),
        ({"rtol": -1.0}, "rtol"),
        ({"rtol": math.inf}, "rtol"),
    ],
)
def test_options_out_of_range_are_refused(
    options: dict[str, float], message: str, generator: torch.Generator
) -> None:
    problem = _problem("rectangular", generator)
    with pytest.raises(InputError, match=message):
        recover(problem, generator=generator, **options)  # pyright: ignore[reportArgumentType]


def test_an_interruption_is_answered(generator: torch.Generator) -> None:
    problem = planted_completion(
        (50, 40), 3, oversampling=4.0, noise=0.3, generator=generator
    )

    def interrupt(step: int, state: object) -> None:
        raise KeyboardInterrupt

    result = recover(problem, generator=generator, observers=[interrupt])
    assert result.status is Status.INTERRUPTED
    assert result.held_out is not None
