"""How far a fit is from the best one: never wrong, and tight where it should be."""

import math
import warnings
from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.errors import InputError, ShapeError
from tacit.recovery import certify as certify_room
from tacit.recovery import projection_bound
from tacit.recovery.certify import Optimality, certify
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.planted import planted_completion, planted_problem
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.rng import make_generator

# Interior point solutions are accurate to about this, relative to the data.
ORACLE = 1e-7
KINDS = ["rectangular", "symmetric", "entries", "complex", "hermitian"]


def make_problem(kind: str, oversampling: float = 1.3) -> RecoveryProblem:
    """A small noisy problem with some measurements held out."""
    generator = make_generator(0, kind)
    is_symmetric = kind in {"symmetric", "hermitian"}
    is_complex = kind in {"complex", "hermitian"}
    plant: Any = planted_completion if kind == "entries" else planted_problem
    problem = plant(
        (6, 6) if is_symmetric else (7, 5),
        2,
        oversampling=oversampling,
        noise=0.3,
        is_symmetric=is_symmetric,
        dtype=torch.complex128 if is_complex else torch.float64,
        generator=generator,
    )
    return hold_out(problem, 0.15, generator=generator)


def best_fit(problem: RecoveryProblem, norm_bound: float) -> tuple[float, Tensor]:
    """The convex problem, by CVXPY: the smallest loss and a minimiser."""
    constraints: list[Any]
    rows, columns = shape = problem.linear_map.in_shape
    dtype = problem.measurements.dtype
    basis = torch.eye(rows * columns, dtype=dtype).reshape(-1, *shape)
    operator = problem.linear_map.apply(basis).T[problem.weights > 0].numpy()
    target = problem.measurements[problem.weights > 0].numpy()
    if problem.is_symmetric:
        unknown = cp.Variable(shape, hermitian=True)
        constraints = [unknown >> 0]
        size = cp.real(cp.trace(unknown))
        if not dtype.is_complex:
            unknown = cp.Variable(shape, PSD=True)
            constraints, size = [], cp.trace(unknown)
    else:
        unknown = cp.Variable(shape, complex=dtype.is_complex)
        constraints, size = [], cp.normNuc(unknown)
    if math.isfinite(norm_bound):
        constraints = [*constraints, size <= norm_bound]
    misfit = cp.sum_squares(operator @ cp.vec(unknown, order="C") - target)
    task: Any = cp.Problem(cp.Minimize(misfit / 2), constraints)
    with warnings.catch_warnings():  # the last digits are not asked for
        warnings.filterwarnings("ignore", "Solution may be inaccurate")
        task.solve(solver=cp.CLARABEL)
    assert unknown.value is not None
    return task.value, torch.from_numpy(np.array(unknown.value)).to(dtype)


def factors_of(matrix: Tensor, *, is_symmetric: bool) -> tuple[Tensor, Tensor]:
    if is_symmetric:
        values, vectors = torch.linalg.eigh((matrix + matrix.mH) / 2)
        factor = vectors * values.clamp_min(0.0).sqrt()
        return factor, factor
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left * values.sqrt(), right.mH * values.sqrt()


def judged(
    problem: RecoveryProblem, left: Tensor, right: Tensor, **options: Any
) -> Optimality:
    return certify(problem, left, right, generator=make_generator(1), **options)


def loss_at(problem: RecoveryProblem, matrix: Tensor) -> float:
    residual = problem.linear_map.apply(matrix) - problem.measurements
    return 0.5 * float((problem.weights * residual.abs().square()).sum())


@pytest.mark.oracle
@pytest.mark.parametrize("norm_bound", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bracket_is_tight_at_the_convex_minimum(
    kind: str, norm_bound: float
) -> None:
    problem = make_problem(kind)
    value, matrix = best_fit(problem, norm_bound)
    factors = factors_of(matrix, is_symmetric=problem.is_symmetric)
    report = judged(problem, *factors, norm_bound=norm_bound)
    energy = 0.5 * float((problem.weights * problem.measurements.abs().square()).sum())
    assert report.loss.lower.value <= value + ORACLE * energy
    assert report.loss.upper.value >= value - ORACLE * energy
    assert report.gap <= 1e-4 * energy
    assert report.norm_bound == norm_bound
    assert report.loss.lower.arithmetic == "float"


@pytest.mark.oracle
@pytest.mark.parametrize("oversampling", [1.3, 4.0])
@pytest.mark.parametrize("kind", ["symmetric", "hermitian"])
def test_all_positive_semidefinite_matrices_are_bounded(
    kind: str, oversampling: float
) -> None:
    """Without any norm, close to a minimum that rounding leaves outside the cone."""
    problem = make_problem(kind, oversampling)
    value, matrix = best_fit(problem, math.inf)
    factors = factors_of(matrix, is_symmetric=True)
    report = judged(problem, *factors, norm_bound=math.inf)
    assert report.loss.lower.value <= value + ORACLE
    assert report.loss.upper.value >= value - ORACLE
    far = judged(problem, 2 * factors[0], 2 * factors[0], norm_bound=math.inf)
    assert far.loss.lower.value <= value + ORACLE
    near = judged(problem, 1.001 * factors[0], 1.001 * factors[0], norm_bound=math.inf)
    assert near.loss.lower.value <= value + ORACLE
    if oversampling == 4.0:  # A*A is then close to the identity
        assert report.gap <= 1e-4 * value
        assert near.loss.lower.value > 0.0
    trace = float(matrix.diagonal().real.sum())
    generous = judged(problem, *factors, norm_bound=10.0 * trace)
    assert generous.gap <= 1e-3 * value + ORACLE


def test_without_the_identity_all_matrices_are_not_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = make_problem("symmetric", 4.0)
    _, matrix = best_fit(problem, math.inf)
    factors = factors_of(0.99 * matrix, is_symmetric=True)
    before = judged(problem, *factors, norm_bound=math.inf)
    assert before.escape.upper > 0.0
    monkeypatch.setattr(certify_room, "_LARGEST_IDENTITY", 5)
    after = judged(problem, *factors, norm_bound=math.inf)
    assert after.loss.lower.value == 0.0
    assert after.loss.upper.value == before.loss.upper.value


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
def test_no_wrong_point_gets_a_wrong_bracket(kind: str) -> None:
    """Points of every size, far from a minimum, against the true minimum."""
    problem = make_problem(kind)
    generator = make_generator(2, kind)
    rows, columns = problem.linear_map.in_shape
    dtype = problem.measurements.dtype
    norm_bound = 0.8
    value, best = best_fit(problem, norm_bound)
    best_factors = factors_of(best, is_symmetric=problem.is_symmetric)
    points: list[tuple[Tensor, Tensor]] = []
    for scale in (0.0, 1e-12, 1e-3, 0.1, 1.0, 30.0, 1e6):
        for rank in (1, 3):
            left = scale * torch.randn(rows, rank, generator=generator, dtype=dtype)
            right = scale * torch.randn(columns, rank, generator=generator, dtype=dtype)
            points.append((left, left if problem.is_symmetric else right))
    for scale in (0.9, 0.999, 1.001, 1.5):
        left, right = best_factors
        points.append((scale * left, scale * right))
    for left, right in points:
        report = judged(problem, left, right, norm_bound=norm_bound)
        assert report.loss.lower.value <= value * (1 + 1e-5) + ORACLE
        assert report.loss.upper.value >= value * (1 - 1e-5) - ORACLE
        assert report.gap >= 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_upper_side_is_reached_by_its_witness(kind: str) -> None:
    problem = make_problem(kind)
    assert problem.planted is not None
    left, right = problem.planted.left, problem.planted.right
    matrix = left @ right.mH
    size = float(torch.linalg.svdvals(matrix).sum())
    for norm_bound in (0.5 * size, size, 2.0 * size):
        report = judged(problem, left, right, norm_bound=norm_bound)
        scale = report.loss.upper.witness
        assert isinstance(scale, float)
        assert 0.0 <= scale * size <= norm_bound * (1 + 1e-12)
        reached = loss_at(problem, scale * matrix)
        assert report.loss.upper.value == pytest.approx(reached, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lower_side_is_the_dual_value_of_its_witness(kind: str) -> None:
    problem = make_problem(kind)
    assert problem.planted is not None
    left, right = problem.planted.left[:, :1], problem.planted.right[:, :1]
    report = judged(problem, left, right, norm_bound=0.3)
    dual = report.loss.lower.witness
    assert isinstance(dual, Tensor)
    assert float((dual.abs() * (1 - problem.weights)).sum()) == 0.0
    matrix = problem.linear_map.adjoint_apply(dual)
    if problem.is_symmetric:
        hermitian = (matrix + matrix.mH) / 2
        slope = max(0.0, -float(torch.linalg.eigvalsh(hermitian)[0]))
    else:
        slope = float(torch.linalg.matrix_norm(matrix, 2))
    inner = float((dual.conj() * problem.measurements).sum().real)
    value = -0.3 * slope - inner - 0.5 * float(dual.abs().square().sum())
    assert value > 0.0
    assert report.loss.lower.value == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_norm_is_that_of_the_point(
    kind: str, generator: torch.Generator
) -> None:
    problem = make_problem(kind)
    assert problem.planted is not None
    left, right = problem.planted.left, problem.planted.right
    report = judged(problem, left, right)
    expected = float(torch.linalg.svdvals(left @ right.mH).sum())
    assert expected <= report.norm_bound <= expected * (1 + 1e-13)
    # Two columns that cancel: the factors are large and their product is not.
    if not problem.is_symmetric:
        extra = torch.randn(7, 1, generator=generator, dtype=left.dtype)
        other = torch.randn(5, 1, generator=generator, dtype=left.dtype)
        wide = judged(
            problem,
            torch.cat((left, extra, -extra), 1),
            torch.cat((right, other, other), 1),
        )
        assert expected <= wide.norm_bound <= expected * (1 + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exact_fit_has_no_gap(kind: str) -> None:
    problem = make_problem(kind)
    assert problem.planted is not None
    left, right = problem.planted.left, problem.planted.right
    exact = replace(problem, measurements=problem.linear_map.apply_factors(left, right))
    report = judged(exact, left, right)
    assert report.loss.lower.value == 0.0
    assert report.loss.upper.value < 1e-28
    assert report.train_error < 1e-14
    assert report.stationarity < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_stationarity_is_the_gradient_by_differentiation(kind: str) -> None:
    problem = make_problem(kind)
    assert problem.planted is not None

    def gradient_norm(measurements: Tensor, factors: list[Tensor]) -> float:
        leaves = [factor.clone().requires_grad_() for factor in factors]
        image = problem.linear_map.apply(leaves[0] @ leaves[-1].mH)
        misfit = (problem.weights * (image - measurements).abs().square()).sum() / 2
        gradients = torch.autograd.grad(misfit, leaves)
        return math.hypot(*(float(g.abs().square().sum().sqrt()) for g in gradients))

    planted = problem.planted
    factors = [planted.left] if problem.is_symmetric else [planted.left, planted.right]
    report = judged(problem, factors[0], factors[-1])
    image = problem.linear_map.apply(factors[0] @ factors[-1].mH)
    # The gradient at the point for data image - (0 - y) is that of -A*(w y).
    scale = gradient_norm(image + problem.measurements, factors)
    expected = gradient_norm(problem.measurements, factors) / scale
    assert report.stationarity == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_directions_save_what_they_promise(kind: str) -> None:
    problem = make_problem(kind)
    assert problem.planted is not None
    left, right = problem.planted.left[:, :1], problem.planted.right[:, :1]
    report = judged(problem, left, right, num_directions=3)
    firsts, seconds = report.directions
    matrix = left @ right.mH
    before = loss_at(problem, matrix)
    gradient = problem.linear_map.adjoint_apply(
        problem.weights * (problem.linear_map.apply(matrix) - problem.measurements)
    )
    for j, gain in enumerate(report.gains):
        step = torch.outer(firsts[:, j], seconds[:, j].conj())
        slope = -float((gradient.conj() * step).sum().real)
        assert gain > 0.0
        assert slope > 0.0
        # A parabola in t: its minimum from three values.
        once, twice = (loss_at(problem, matrix + t * step) for t in (1.0, 2.0))
        curvature = twice - 2 * once + before
        assert gain == pytest.approx(slope**2 / (2 * curvature), rel=1e-6)
        lowest = loss_at(problem, matrix + slope / curvature * step)
        assert before - lowest == pytest.approx(gain, rel=1e-6)
    if problem.is_symmetric:
        assert firsts is seconds


def test_no_direction_leaves_a_minimum_inside_the_cone() -> None:
    """All entries of a matrix with a negative one: zero fits best."""
    ones = torch.ones(4, 4).triu().nonzero()
    entries = EntriesMap(rows=ones[:, 0], columns=ones[:, 1], shape=(4, 4))
    measurements = -torch.eye(4, dtype=torch.float64)[ones[:, 0], ones[:, 1]]
    problem = RecoveryProblem(
        linear_map=entries, measurements=measurements, is_symmetric=True
    )
    zero = torch.zeros(4, 1, dtype=torch.float64)
    report = judged(problem, zero, zero, norm_bound=math.inf, num_directions=2)
    assert report.escape.upper < 0.0
    assert report.gains == (0.0, 0.0)
    # Minus the identity is at distance 2 from the cone, so the loss is at least 2.
    assert report.loss.lower.value == pytest.approx(2.0, rel=1e-12)
    assert report.loss.upper.value == 2.0
    assert math.isnan(report.stationarity)


@pytest.mark.parametrize("kind", ["rectangular", "symmetric", "entries", "hermitian"])
def test_large_matrices_go_through_lanczos(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem(kind)
    assert problem.planted is not None
    left, right = problem.planted.left, problem.planted.right
    dense = judged(problem, left, right)
    monkeypatch.setattr(projection_bound, "_DENSE_SIZE", 0)
    random = judged(problem, left, right, failure_probability=1e-6)
    assert random.loss.lower.arithmetic == "probabilistic"
    assert 0.0 < random.loss.lower.failure_probability <= 1e-6
    assert random.escape.upper >= dense.escape.value
    assert random.escape.upper <= dense.escape.upper * 1.001
    assert random.loss.lower.value <= dense.loss.lower.value * (1 + 1e-9)


@pytest.mark.parametrize("norm_bound", [-1.0, math.nan])
def test_a_norm_bound_out_of_range_is_refused(norm_bound: float) -> None:
    problem = make_problem("rectangular")
    assert problem.planted is not None
    with pytest.raises(InputError, match="norm_bound must be at least 0, or None"):
        judged(
            problem, problem.planted.left, problem.planted.right, norm_bound=norm_bound
        )


def test_what_cannot_be_certified_is_refused(generator: torch.Generator) -> None:
    problem = make_problem("rectangular")
    with pytest.raises(ShapeError, match=r"left must have shape \(7, k\)"):
        judged(problem, normal(generator, 6, 1), normal(generator, 5, 1))
    with pytest.raises(InputError, match=r"rank must be in 1\.\."):
        judged(
            problem,
            normal(generator, 7, 1),
            normal(generator, 5, 1),
            num_directions=6,
        )
    single = planted_problem(
        (5, 4), 1, num_measurements=9, dtype=torch.float32, generator=generator
    )
    assert single.planted is not None
    with pytest.raises(InputError, match="double precision"):
        judged(single, single.planted.left, single.planted.right)


def test_measurements_of_zero_have_no_relative_error() -> None:
    problem = make_problem("rectangular")
    assert problem.planted is not None
    nothing = replace(problem, measurements=torch.zeros_like(problem.measurements))
    report = judged(nothing, problem.planted.left, problem.planted.right)
    assert math.isnan(report.train_error)
    assert report.loss.lower.value == report.loss.upper.value == 0.0
