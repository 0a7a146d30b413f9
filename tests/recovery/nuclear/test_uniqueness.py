"""Uniqueness is claimed only where it holds, and distances cover every minimiser."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nuclear_cases import FORMS, KINDS, factors_of, solved
from recovery_cases import dense_matrix
from tacit.recovery.maps.stored import StoredMap, gaussian_map
from tacit.recovery.nuclear import tangent
from tacit.recovery.nuclear.certify import NuclearCertificate, certify_nuclear
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.uniqueness import Uniqueness, judge_uniqueness
from tacit.recovery.problem import RecoveryProblem
from tacit.rng import make_generator

DOUBLE = torch.float64
ORACLE = 2e-4  # of the interior point method's matrix, where the nuclear norm is 1


def normal(
    generator: torch.Generator, *shape: int, like: Tensor | None = None
) -> Tensor:
    dtype = DOUBLE if like is None else like.dtype
    return torch.randn(*shape, generator=generator, dtype=dtype)


def judged(
    program: NuclearProgram, left: Tensor, right: Tensor, dual: Tensor
) -> NuclearCertificate:
    return certify_nuclear(program, left, right, dual, generator=make_generator(1))


def verdict(
    program: NuclearProgram, left: Tensor, right: Tensor, dual: Tensor
) -> Uniqueness:
    found = judged(program, left, right, dual).uniqueness
    assert found is not None
    return found


# Exact measurements


def exact_recovery(
    dtype: torch.dtype, generator: torch.Generator
) -> tuple[NuclearProgram, Tensor, Tensor, Tensor]:
    """A matrix of rank one that 60 Gaussian measurements determine, and a dual vector.

    The vector of least length with the tangent part of a subgradient.
    """
    linear_map = gaussian_map((10, 8), 60, generator=generator, dtype=dtype)
    left = torch.linalg.qr(torch.randn(10, 1, generator=generator, dtype=dtype)).Q
    right = torch.linalg.qr(torch.randn(8, 1, generator=generator, dtype=dtype)).Q
    units = torch.eye(80, dtype=dtype).reshape(80, 10, 8)
    p, q = left @ left.mH, right @ right.mH
    tangent_part = p @ units + units @ q - p @ units @ q
    images = linear_map.apply(tangent_part)  # A P_T, transposed
    sign = (left @ right.mH).flatten()
    dual = torch.linalg.pinv(images.conj(), rtol=1e-9) @ sign
    problem = RecoveryProblem(
        linear_map=linear_map, measurements=linear_map.apply_factors(left, right)
    )
    return NuclearProgram(problem=problem, noise_bound=0.0), left, right, dual


@pytest.mark.parametrize("dtype", [DOUBLE, torch.complex128])
def test_exact_recovery_is_proved(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    program, left, right, dual = exact_recovery(dtype, generator)
    report = judged(program, left, right, dual)
    found = report.uniqueness
    assert found is not None
    assert report.relative_gap <= 1e-9
    assert found.is_unique is True
    assert found.off_tangent < 0.99
    assert found.certificate_error < 1e-10
    assert found.minimiser_distance < 1e-8
    assert "the only matrix of nuclear norm at most 1 that gives" in found.statement
    # By brute force: no direction that is not measured lowers the norm.
    matrix = left @ right.mH
    kernel = torch.linalg.svd(dense_matrix(program.problem.linear_map)).Vh[60:].mH
    for _ in range(200):
        drawn = torch.randn(20, generator=generator, dtype=dtype)
        direction = (kernel @ drawn).reshape(10, 8)
        moved = matrix + 1e-3 * direction
        assert float(torch.linalg.svdvals(moved).sum()) > 1.0


def test_points_near_the_truth_are_near_by_the_bound(
    generator: torch.Generator,
) -> None:
    program, left, right, dual = exact_recovery(DOUBLE, generator)
    truth = left @ right.mH
    for size in (1e-12, 1e-9, 1e-6, 1e-4):
        near = left + size * normal(generator, 10, 1)
        found = verdict(program, near, right, dual)
        distance = float(torch.linalg.matrix_norm(near @ right.mH - truth))
        assert distance <= found.minimiser_distance < 1e3 * distance
        # Far from the measurements a point is not one of the programme.
        assert (found.is_unique is True) == (size < 1e-6)


def test_what_is_cut_off_counts_for_the_distance(generator: torch.Generator) -> None:
    program, left, right, dual = exact_recovery(DOUBLE, generator)
    wide = [
        torch.linalg.qr(torch.cat((part, normal(generator, len(part), 1)), 1)).Q
        for part in (left, right)
    ]
    sizes = torch.tensor([1.0, 5e-7], dtype=DOUBLE)
    at_truth = judged(program, left, right, dual).value
    witness = at_truth.lower.witness
    assert isinstance(witness, Tensor)
    found = judge_uniqueness(
        program,
        wide[0] * sizes,
        wide[1],
        witness,
        at_truth,
        failure_probability=1e-9,
        generator=generator,
    )
    assert found.is_unique is True
    assert 5e-7 <= found.minimiser_distance < 6e-7


@pytest.mark.parametrize("form", ["noise", "penalty"])
def test_a_part_that_is_hardly_seen_counts_for_the_distance(form: str) -> None:
    """All entries measured, the last one tenfold less: in closed form.

    The minimiser is the diagonal (1, 1, 0.5), soft thresholding entry by entry.
    """
    scales = torch.ones(9, dtype=DOUBLE)
    scales[8] = 0.1
    measurements = torch.diag(torch.tensor([1.3, 1.3, 3.05], dtype=DOUBLE)).flatten()
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=torch.diag(scales), shape=(3, 3)),
        measurements=measurements,
    )
    residual = math.sqrt(2 * 0.3**2 + 3.0**2)
    program = (
        NuclearProgram(problem=problem, penalty=0.3)
        if form == "penalty"
        else NuclearProgram(problem=problem, noise_bound=residual)
    )
    eye = torch.eye(3, dtype=DOUBLE)
    best = torch.diag(torch.tensor([1.0, 1.0, 0.5], dtype=DOUBLE))
    dual = torch.diag(torch.tensor([0.3, 0.3, 3.0], dtype=DOUBLE)).flatten()
    at_best = judged(program, best, eye, dual)
    assert at_best.relative_gap <= 1e-12
    assert at_best.uniqueness is not None
    assert at_best.uniqueness.is_unique is True
    wrong = torch.diag(torch.tensor([0.3, 0.3, 2.97], dtype=DOUBLE)).flatten()
    found = verdict(program, eye[:, :2], eye[:, :2], wrong)
    assert found.certificate_error < 1e-12
    assert found.off_tangent == pytest.approx(0.99)
    assert found.tangent_margin == pytest.approx(1.0)
    assert found.map_norm == pytest.approx(1.0)
    assert 0.5 <= found.minimiser_distance < 30.0
    assert found.is_unique is None


def test_a_bad_dual_vector_proves_nothing(generator: torch.Generator) -> None:
    program, left, right, dual = exact_recovery(DOUBLE, generator)
    for wrong in (-dual, torch.zeros_like(dual), normal(generator, 60)):
        found = verdict(program, left, right, wrong)
        assert found.is_unique is None
        assert "not decided" in found.statement


# Programmes with several minimisers


def ambiguous(
    form: str, generator: torch.Generator
) -> tuple[NuclearProgram, list[Tensor], Tensor]:
    r"""Measure only the diagonal of :math:`U^T X V`, three of 16 numbers.

    All :math:`U M V^T` with a positive semidefinite M of that diagonal are minimisers.
    """
    u = torch.linalg.qr(normal(generator, 5, 3)).Q
    v = torch.linalg.qr(normal(generator, 4, 3)).Q
    rows = torch.stack([torch.outer(u[:, j], v[:, j]).flatten() for j in range(3)])
    cores = [torch.eye(3, dtype=DOUBLE), torch.full((3, 3), 1.0, dtype=DOUBLE)]
    cores.append(0.5 * (cores[0] + cores[1]))
    ones = torch.ones(3, dtype=DOUBLE)
    # Shrunk from 1 + t to 1 in all places alike.
    more = {"exact": 0.0, "noise": 0.3, "penalty": 0.3}[form]
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=rows, shape=(5, 4)), measurements=(1 + more) * ones
    )
    program = (
        NuclearProgram(problem=problem, penalty=more)
        if form == "penalty"
        else NuclearProgram(problem=problem, noise_bound=more * math.sqrt(3.0))
    )
    return program, [u @ core @ v.mT for core in cores], ones


@pytest.mark.parametrize("form", ["exact", "noise", "penalty"])
def test_several_minimisers_are_never_called_one(
    form: str, generator: torch.Generator
) -> None:
    program, minimisers, dual = ambiguous(form, generator)
    for matrix in minimisers:
        report = judged(program, *factors_of(matrix, is_symmetric=False), dual)
        # They are minimisers indeed.
        assert report.relative_gap <= 1e-12
    distances = [
        float(torch.linalg.matrix_norm(first - second))
        for first in minimisers
        for second in minimisers
    ]
    for matrix in minimisers:
        for size in (0.0, 1e-12, 1e-8, 1e-5, 1e-2, 0.3):
            moved = matrix + size * normal(generator, 5, 4)
            wrong = dual + size * normal(generator, 3)
            left, right = factors_of(moved, is_symmetric=False)
            found = verdict(program, left, right, wrong)
            assert found.is_unique is None
            reach = max(
                float(torch.linalg.matrix_norm(moved - other)) for other in minimisers
            )
            assert found.minimiser_distance >= reach * (1 - 1e-9)
    assert max(distances) > 1.0


@pytest.mark.parametrize("form", ["noise", "penalty"])
def test_a_dual_vector_that_is_not_the_best_proves_nothing(
    form: str, generator: torch.Generator
) -> None:
    r"""A point without the third, small singular value, and a dual vector to match.

    The core M of :math:`X = U M V^T` is measured on the diagonal, and between the first
    two places: minimisers have the diagonal (1, 1, 0.02) and share not all of the rest.
    """
    u = torch.linalg.qr(normal(generator, 5, 3)).Q
    v = torch.linalg.qr(normal(generator, 4, 3)).Q
    places = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 0)]
    rows = torch.stack([torch.outer(u[:, i], v[:, j]).flatten() for i, j in places])
    measurements = torch.tensor([1.3, 1.3, 0.32, 0.0, 0.0], dtype=DOUBLE)
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=rows, shape=(5, 4)), measurements=measurements
    )
    program = (
        NuclearProgram(problem=problem, penalty=0.3)
        if form == "penalty"
        else NuclearProgram(problem=problem, noise_bound=0.3 * math.sqrt(3.0))
    )
    core = torch.diag(torch.tensor([1.0, 1.0, 0.02], dtype=DOUBLE))
    other = core.clone()
    other[0, 2] = other[2, 0] = 0.1
    best = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0], dtype=DOUBLE)
    for minimiser in (core, other):
        factors = factors_of(u @ minimiser @ v.mT, is_symmetric=False)
        assert judged(program, *factors, best).relative_gap <= 1e-12
    wrong = torch.tensor([1.0, 1.0, 0.99, 0.0, 0.0], dtype=DOUBLE)
    found = verdict(program, u[:, :2], v[:, :2], wrong)
    assert found.face_margin > 0.9
    assert found.off_tangent < 0.995
    assert found.certificate_error < 1e-12
    assert found.is_unique is None
    assert found.minimiser_distance > 0.1


@pytest.mark.parametrize("form", ["exact", "noise", "penalty"])
@pytest.mark.parametrize("dtype", [DOUBLE, torch.complex128])
def test_only_the_trace_is_not_enough_in_the_cone(
    form: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    """Every positive semidefinite matrix of trace 1 is a minimiser."""
    more = {"exact": 0.0, "noise": 0.3, "penalty": 0.3}[form]
    problem = RecoveryProblem(
        linear_map=StoredMap(
            matrix=torch.eye(3, dtype=dtype).reshape(1, 9), shape=(3, 3)
        ),
        measurements=torch.tensor([1 + more], dtype=dtype),
        is_symmetric=True,
    )
    program = (
        NuclearProgram(problem=problem, penalty=more)
        if form == "penalty"
        else NuclearProgram(problem=problem, noise_bound=more)
    )
    basis = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=dtype)).Q
    for factor in (basis[:, :1], basis[:, :2] / math.sqrt(2), basis / math.sqrt(3)):
        dual = torch.ones(1, dtype=dtype)
        report = judged(program, factor, factor, dual)
        assert report.relative_gap <= 1e-12
        assert report.uniqueness is not None
        assert report.uniqueness.is_unique is None


# Noise and penalties


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_the_oracle_is_within_the_distance(kind: str, form: str) -> None:
    """Near and far from the optimum, with good and with bad dual vectors."""
    program, found = solved(kind, form, 1, 0.25)
    is_symmetric = program.problem.is_symmetric
    generator = make_generator(2, kind + form)
    left, right = factors_of(found.matrix, is_symmetric=is_symmetric)
    duals = [found.dual]
    scale = float(torch.linalg.vector_norm(found.dual)) / math.sqrt(len(found.dual))
    duals += [
        found.dual + size * scale * normal(generator, len(found.dual), like=found.dual)
        for size in (1e-4, 1e-2, 0.1)
    ]
    claims = 0
    for size in (0.0, 1e-7, 1e-4, 1e-2, 0.1):
        first = left + size * normal(generator, *left.shape, like=left)
        second = right + size * normal(generator, *right.shape, like=right)
        second = first if is_symmetric else second
        away = float(torch.linalg.matrix_norm(first @ second.mH - found.matrix))
        for dual in duals:
            judgement = verdict(program, first, second, dual)
            assert away <= judgement.minimiser_distance + ORACLE
            claims += math.isfinite(judgement.minimiser_distance)
    if form == "much noise":
        assert claims > 0


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["much noise", "penalty"])
def test_one_minimiser_is_proved_at_an_accurate_optimum(kind: str, form: str) -> None:
    """Generic noisy programmes have one, also where no tangent space is seen."""
    program, found = solved(kind, form, 1, 0.25)
    is_symmetric = program.problem.is_symmetric
    factors = factors_of(found.matrix, is_symmetric=is_symmetric)
    judgement = verdict(program, *factors, found.dual)
    assert judgement.is_unique is True
    assert judgement.statement.startswith("there is one minimiser; every minimiser is")
    assert judgement.minimiser_distance < 0.3


def test_a_shrunk_diagonal_is_the_only_minimiser(generator: torch.Generator) -> None:
    """Three entries of nine, so that the tangent space is not seen but the face is."""
    rows = torch.zeros(3, 9, dtype=DOUBLE)
    rows[torch.arange(3), torch.tensor([0, 4, 8])] = 1.0
    rows = torch.cat((rows, normal(generator, 3, 9) * (1 - rows.sum(0))))
    measurements = torch.tensor([3.0, 2.0, 0.0, 0.0, 0.0, 0.0], dtype=DOUBLE)
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=rows, shape=(3, 3)), measurements=measurements
    )
    program = NuclearProgram(problem=problem, penalty=0.5)
    left = torch.diag(torch.tensor([2.5, 1.5, 0.0], dtype=DOUBLE))
    dual = torch.tensor([0.5, 0.5, 0.0, 0.0, 0.0, 0.0], dtype=DOUBLE)
    found = verdict(program, left, torch.eye(3, dtype=DOUBLE), dual)
    assert found.is_unique is True
    assert found.tangent_margin == 0.0
    assert found.face_margin > 0.9
    assert found.off_tangent < 1e-13
    assert found.minimiser_distance < 1e-4


@pytest.mark.parametrize("form", ["noise", "penalty"])
def test_zero_alone_can_be_proved(form: str, generator: torch.Generator) -> None:
    program, _, dual = ambiguous(form, generator)
    zero = torch.zeros(5, 1, dtype=DOUBLE), torch.zeros(4, 1, dtype=DOUBLE)
    if form == "noise":
        program = replace(program, noise_bound=3.0)
    else:
        program = replace(program, penalty=2.0)
    found = verdict(program, *zero, 1.3 * dual)
    assert found.is_unique is True
    assert found.minimiser_distance < 1e-6


def test_what_is_not_computed_is_not_decided(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, left, right, dual = exact_recovery(DOUBLE, generator)
    monkeypatch.setattr(tangent, "_LARGEST_SPACE", 3)
    found = verdict(program, left, right, dual)
    assert found.is_unique is None
    assert found.minimiser_distance == math.inf
    assert "too large for a dense factorisation" in found.statement
    assert math.isnan(found.off_tangent)
