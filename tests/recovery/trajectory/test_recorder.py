"""Recorded runs whose course is known: scalar recursions, dense power methods."""

import math

import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.errors import InputError, Status
from tacit.iterate import iterate
from tacit.recovery.descent.factored import FactoredDescent
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import Planted, RecoveryProblem, hold_out
from tacit.recovery.start import small_start
from tacit.recovery.trajectory.recorder import Trajectory, TrajectoryRecorder
from tacit.recovery.trajectory.split import relative_error

MU = 0.2
ALPHA = 1e-3


def fully_observed(
    left: Tensor, right: Tensor, *, is_symmetric: bool
) -> RecoveryProblem:
    """Every entry of left @ right^T is measured: the map is the identity."""
    rows, columns = left.shape[0], right.shape[0]
    entries = EntriesMap(
        rows=torch.arange(rows).repeat_interleave(columns),
        columns=torch.arange(columns).repeat(rows),
        shape=(rows, columns),
    )
    return RecoveryProblem(
        linear_map=entries,
        measurements=(left @ right.mT).flatten(),
        is_symmetric=is_symmetric,
        planted=Planted(left=left, right=right),
    )


def diagonal(values: list[float], rows: int) -> Tensor:
    return torch.eye(rows, len(values), dtype=torch.float64) * torch.tensor(
        values, dtype=torch.float64
    )


def follow(
    problem: RecoveryProblem,
    start: tuple[Tensor, Tensor],
    max_steps: int,
    *,
    rank: int | None = None,
    stride: int = 1,
) -> Trajectory:
    recorder = TrajectoryRecorder(
        problem, start, step_size=MU, init_scale=ALPHA, rank=rank, stride=stride
    )
    solver = FactoredDescent(step_size=MU)
    iterate(problem, solver, start, max_steps=max_steps, observers=[recorder])
    return recorder.trajectory()


def recursion(sizes: list[float], starts: list[float], num_steps: int) -> Tensor:
    """u <- u + mu (theta - u^2) u for every diagonal entry, shape (T, count)."""
    u, theta = torch.tensor(starts).double(), torch.tensor(sizes).double()
    rows = [u]
    for _ in range(num_steps):
        u = u + MU * (theta - u * u) * u
        rows.append(u)
    return torch.stack(rows)


def test_a_fully_observed_diagonal_run_is_a_scalar_recursion() -> None:
    factor = diagonal([1.0, math.sqrt(0.5)], 4)
    problem = fully_observed(factor, factor, is_symmetric=True)
    start = diagonal([1e-3, 2e-3, 4e-3], 4)
    seen = follow(problem, (start, start), 150)
    u = recursion([1.0, 0.5, 0.0], [1e-3, 2e-3, 4e-3], 150)
    assert seen.steps.tolist() == list(range(151))
    torch.testing.assert_close(seen.spectrum, u.sort(dim=1, descending=True).values)
    torch.testing.assert_close(seen.signal, u[:, :2].amin(dim=1))
    torch.testing.assert_close(seen.noise, u[:, 2])
    errors = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64) - u.square()
    error = errors.norm(dim=1) / math.sqrt(1.25)
    torch.testing.assert_close(seen.test_error, error)
    torch.testing.assert_close(seen.train_error, error)
    squares = u.square()
    expected = squares.sum(1).square() / squares.square().sum(1)
    torch.testing.assert_close(seen.effective_rank, expected)
    # The leading two directions are the signal's once both exceed the noise.
    is_ahead = u[:, :2].amin(dim=1) > u[:, 2]
    assert bool((seen.alignment[is_ahead] < 1e-12).all())
    assert bool((seen.alignment[~is_ahead] > 1.0 - 1e-12).all())
    assert bool((seen.imbalance == 0.0).all())
    assert bool(seen.held_out_error.isnan().all())
    assert seen.rank == 2


def test_phases_of_the_scalar_recursion_are_those_of_its_curves() -> None:
    factor = diagonal([1.0], 3)
    problem = fully_observed(factor, factor, is_symmetric=True)
    start = diagonal([1e-3, 2e-3], 3)
    seen = follow(problem, (start, start), 300)
    u = recursion([1.0, 0.0], [1e-3, 2e-3], 300)
    aligned = int((u[:, 0] > u[:, 1]).nonzero()[0])
    grown = int((u[:, 0].square() >= 0.1).nonzero()[0])
    phases = seen.phases
    assert phases.alignment is not None
    assert phases.growth is not None
    assert phases.refinement is not None
    assert (phases.alignment.start, phases.alignment.stop) == (0, aligned)
    assert (phases.growth.start, phases.growth.stop) == (aligned, grown)
    # The error falls by 1 - 2 mu a step from about 1 to the noise 4e-6.
    assert phases.refinement.start == grown
    assert phases.refinement.stop is not None
    length = math.log(4e-6) / math.log(1.0 - 2.0 * MU)
    assert phases.refinement.stop - grown == pytest.approx(length, abs=15)


def test_balanced_factors_stay_balanced_and_run_as_one() -> None:
    left, right = diagonal([1.0, 0.8], 4), diagonal([1.0, 0.8], 3)
    problem = fully_observed(left, right, is_symmetric=False)
    start = diagonal([1e-3, 2e-3, 1e-3], 4), diagonal([1e-3, 2e-3, 1e-3], 3)
    seen = follow(problem, start, 120)
    u = recursion([1.0, 0.64, 0.0], [1e-3, 2e-3, 1e-3], 120)
    torch.testing.assert_close(seen.spectrum, u.sort(dim=1, descending=True).values)
    torch.testing.assert_close(seen.signal, u[:, :2].amin(dim=1))
    assert float(seen.imbalance.max()) < 1e-15
    assert float(seen.coupling.max()) < 1e-14


def test_imbalance_of_one_pair_follows_its_recursion() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    problem = fully_observed(one, one, is_symmetric=False)
    seen = follow(problem, (0.02 * one, 0.01 * one), 80)
    a, b = 0.02, 0.01
    for t in range(81):
        assert float(seen.imbalance[t]) == pytest.approx(abs(a * a - b * b), rel=1e-9)
        assert float(seen.coupling[t]) == pytest.approx(abs(a - b) / (a + b), abs=1e-12)
        assert float(seen.test_error[t]) == pytest.approx(abs(1 - a * b), abs=1e-12)
        g = 1.0 - a * b
        a, b = a + MU * g * b, b + MU * g * a


def test_while_everything_is_small_the_run_is_the_power_iterate(
    generator: torch.Generator,
) -> None:
    problem = planted_problem(
        (20, 20), 2, oversampling=4.0, is_symmetric=True, generator=generator
    )
    start = small_start(problem, 10, 1e-6, generator=generator)
    seen = follow(problem, start, 120)
    # What the loss adds to a power step is of the order of U^2.
    early = seen.spectrum[:, 0] < 1e-4
    assert int(early.sum()) > 15
    assert float(seen.power_alignment[early].max()) < 1e-6
    assert float(seen.power_alignment[-1]) > 0.05


def test_a_stride_keeps_every_so_many_steps(generator: torch.Generator) -> None:
    problem = planted_problem(
        (10, 8), 1, oversampling=4.0, noise=0.1, generator=generator
    )
    problem = hold_out(problem, 0.2, generator=generator)
    start = small_start(problem, 3, ALPHA, generator=generator)
    every, some = follow(problem, start, 20), follow(problem, start, 20, stride=5)
    assert some.steps.tolist() == [0, 5, 10, 15, 20]
    for name in ("train_error", "held_out_error", "spectrum", "power_alignment"):
        assert torch.equal(getattr(some, name), getattr(every, name)[::5]), name
    assert bool(some.held_out_error.isfinite().all())


def test_a_batch_has_one_trajectory_for_each_member(
    generator: torch.Generator,
) -> None:
    problem = planted_problem(
        (12, 12), 1, oversampling=5.0, is_symmetric=True, generator=generator
    )
    scales = torch.tensor([1e-2, 1e-4], dtype=torch.float64)
    start = small_start(problem, 4, scales, generator=generator, num_starts=2)
    recorder = TrajectoryRecorder(
        problem, start, step_size=MU, init_scale=scales[:, None]
    )
    iterate(
        problem,
        FactoredDescent(step_size=MU),
        start,
        max_steps=60,
        observers=[recorder],
    )
    for index in range(4):
        place = divmod(index, 2)
        alone = start[0][place], start[0][place]
        single, member = follow(problem, alone, 60), recorder.trajectory(index)
        assert member.init_scale == float(scales[place[0]])
        for name in ("spectrum", "test_error", "alignment", "noise", "train_error"):
            torch.testing.assert_close(
                getattr(member, name), getattr(single, name), rtol=1e-8, atol=1e-12
            )
    with pytest.raises(InputError, match=r"index must be in 0\.\.3"):
        recorder.trajectory(4)


def test_several_problems_of_one_map_are_followed_at_once(
    generator: torch.Generator,
) -> None:
    one = planted_problem(
        (8, 8), 1, oversampling=5.0, is_symmetric=True, generator=generator
    )
    both = RecoveryProblem(
        linear_map=one.linear_map,
        measurements=torch.stack((one.measurements, 0.5 * one.measurements)),
        is_symmetric=True,
    )
    start = small_start(one, 3, 0.1, generator=generator)
    recorder = TrajectoryRecorder(both, start, step_size=MU, init_scale=0.1, rank=1)
    iterate(
        both, FactoredDescent(step_size=MU), start, max_steps=80, observers=[recorder]
    )
    sizes = [float(recorder.trajectory(i).spectrum[-1, 0]) for i in range(2)]
    assert sizes[1] == pytest.approx(math.sqrt(0.5) * sizes[0], rel=1e-3)


def test_without_the_truth_rank_and_phases_come_from_the_spectrum(
    generator: torch.Generator,
) -> None:
    known = planted_problem(
        (20, 20), 2, oversampling=4.0, is_symmetric=True, generator=generator
    )
    unknown = RecoveryProblem(
        linear_map=known.linear_map, measurements=known.measurements, is_symmetric=True
    )
    start = small_start(known, 10, 1e-4, generator=generator)
    with_truth, without = follow(known, start, 250), follow(unknown, start, 250)
    assert without.rank == 2
    for name in ("test_error", "alignment", "signal", "noise", "power_alignment"):
        assert bool(getattr(without, name).isnan().all())
    names = [name for name, _ in without.phases.named()]
    assert names == ["alignment", "growth", "refinement"]
    # A spectrum separates at another time than an angle falls; both grow alike.
    pairs = zip(without.phases.named(), with_truth.phases.named(), strict=True)
    for (name, ours), (_, truth) in pairs:
        assert ours.stop is not None
        assert truth.stop is not None
        assert abs(ours.stop - truth.stop) <= (20 if name == "alignment" else 5)
    assert bool(follow(unknown, start, 5, rank=2).power_alignment.isfinite().all())


def test_a_run_stopped_too_early_does_not_claim_to_have_grown(
    generator: torch.Generator,
) -> None:
    known = planted_problem(
        (20, 20), 1, oversampling=6.0, is_symmetric=True, generator=generator
    )
    start = small_start(known, 10, 1e-8, generator=generator)
    unknown = RecoveryProblem(
        linear_map=known.linear_map, measurements=known.measurements, is_symmetric=True
    )
    for problem in (known, unknown):
        phases = follow(problem, start, 40, rank=1).phases
        assert phases.growth is not None
        assert phases.growth.stop is None
        assert phases.refinement is None
    short = follow(unknown, start, 1, rank=1).phases
    assert short.refinement is None


def test_single_precision_is_recorded_in_double(generator: torch.Generator) -> None:
    problem = planted_problem(
        (9, 7), 1, oversampling=4.0, dtype=torch.float32, generator=generator
    )
    start = small_start(problem, 3, 1e-2, generator=generator)
    seen = follow(problem, start, 60)
    assert problem.planted is not None
    factors = [
        f.double() for f in (*start, problem.planted.left, problem.planted.right)
    ]
    assert seen.test_error.dtype == seen.spectrum.dtype == torch.float64
    expected = float(relative_error(*factors))
    assert float(seen.test_error[0]) == pytest.approx(expected, rel=1e-6)
    assert float(seen.test_error[-1]) < 0.5


def test_a_diverging_run_is_recorded_while_it_is_finite(
    generator: torch.Generator,
) -> None:
    problem = planted_problem((9, 7), 1, oversampling=4.0, generator=generator)
    start = small_start(problem, 3, 1.0, generator=generator)
    recorder = TrajectoryRecorder(problem, start, step_size=10.0, init_scale=1.0)
    solver = FactoredDescent(step_size=10.0)
    solution = iterate(problem, solver, start, max_steps=50, observers=[recorder])
    seen = recorder.trajectory()
    assert solution.status is Status.NON_FINITE
    assert 2 <= seen.steps.numel() <= solution.num_steps
    assert bool(seen.spectrum.isfinite().all())


def test_a_start_at_zero_stays_at_the_saddle() -> None:
    factor = diagonal([1.0], 3)
    problem = fully_observed(factor, factor, is_symmetric=True)
    zero = torch.zeros(3, 2, dtype=torch.float64)
    seen = follow(problem, (zero, zero), 3)
    assert bool((seen.spectrum == 0.0).all())
    assert bool((seen.test_error == 1.0).all())
    assert bool(seen.power_alignment.isnan().all())


def test_bad_choices_are_refused(generator: torch.Generator) -> None:
    problem = planted_problem(
        (9, 9), 2, oversampling=2.0, is_symmetric=True, generator=generator
    )
    start = normal(generator, 9, 5)
    with pytest.raises(InputError, match="stride"):
        follow(problem, (start, start), 0, stride=0)
    for rank in (0, 3):
        with pytest.raises(InputError, match=r"rank must be in 1\.\.2"):
            follow(problem, (start, start), 0, rank=rank)
    assert follow(problem, (start, start), 0, rank=1).rank == 1
    start[0, 0] = math.nan
    with pytest.raises(InputError, match="start must be finite"):
        follow(problem, (start, start), 0)


def test_the_power_iterate_can_be_left_out(generator: torch.Generator) -> None:
    problem = planted_problem((6, 5), 1, oversampling=2.0, generator=generator)
    start = small_start(problem, 2, ALPHA, generator=generator)
    recorder = TrajectoryRecorder(
        problem, start, step_size=MU, init_scale=ALPHA, has_power_iterate=False
    )
    assert bool(recorder.trajectory().power_alignment.isnan().all())
