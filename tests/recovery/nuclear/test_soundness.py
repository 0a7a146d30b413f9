"""No factors and no dual vector, however wrong, may give a bracket without the optimum.

Optima by an interior point method, on small programmes of every kind and form.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nuclear_cases import FORMS, KINDS, Optimum, factors_of, solved
from tacit.recovery.nuclear.certify import NuclearCertificate, certify_nuclear
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.rng import make_generator

ORACLE = 2e-6  # of the interior point method, relative to the data
SIZES = [1e-12, 1e-9, 1e-6, 1e-3, 0.03, 0.3, 1.0]
SEEDS = [(0, 0.0), (1, 0.25), (2, 0.1)]

Pair = tuple[Tensor, Tensor]


def unit_of(program: NuclearProgram) -> float:
    """The size of the optimal value of programmes of this kind."""
    if program.penalty is None:
        return 1.0  # planted matrices have nuclear norm 1
    measurements = program.problem.weights * program.problem.measurements
    return 0.5 * float(measurements.abs().square().sum())


def normal(generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


def points_around(
    best: Pair, generator: torch.Generator, *, is_symmetric: bool
) -> list[Pair]:
    """The best factors moved, scaled and replaced by others."""
    left, right = best

    def pair(first: Tensor, second: Tensor) -> Pair:
        return (first, first if is_symmetric else second)

    points: list[Pair] = []
    for size in SIZES:
        scale = size * float(torch.linalg.vector_norm(left)) / math.sqrt(left.numel())
        points.append(
            pair(
                left + scale * normal(generator, left),
                right + scale * normal(generator, right),
            )
        )
    scales = (0.0, 1e-150, 0.5, 1 - 1e-7, 1 + 1e-7, 2.0, 1e6, 1e150)
    points += [pair(scale * left, scale * right) for scale in scales]
    for width in (1, 3):
        wrong = normal(generator, left[:, :width]), normal(generator, right[:, :width])
        points.append(pair(*wrong))
        points.append(pair(1e-8 * wrong[0], 1e-8 * wrong[1]))
    points.append(pair(1e150 * normal(generator, left), normal(generator, right)))
    return points


def duals_around(best: Tensor, generator: torch.Generator) -> list[Tensor]:
    """The best dual vector moved, scaled and replaced by others."""
    length = float(torch.linalg.vector_norm(best)) or 1.0
    scale = length / math.sqrt(len(best))
    duals = [best + size * scale * normal(generator, best) for size in SIZES]
    duals += [factor * best for factor in (-1.0, 0.0, 0.3, 2.0, 1e-150, 1e150, 1e-320)]
    if best.is_complex():
        duals += [1j * best, best.conj().resolve_conj()]
    return [*duals, normal(generator, best), 1e150 * normal(generator, best)]


def judged(program: NuclearProgram, point: Pair, dual: Tensor) -> NuclearCertificate:
    return certify_nuclear(
        program, *point, dual, generator=make_generator(1), with_uniqueness=False
    )


def assert_holds(
    program: NuclearProgram, found: Optimum, point: Pair, dual: Tensor
) -> None:
    report = judged(program, point, dual)
    slack = ORACLE * unit_of(program)
    assert report.value.lower.value <= found.value + slack
    assert report.value.upper.value >= found.value - slack
    assert report.gap >= 0.0
    assert report.relative_gap >= 0.0
    assert_feasible_dual(program, report.value.lower.witness)


def assert_feasible_dual(program: NuclearProgram, witness: Any) -> None:
    problem = program.problem
    assert isinstance(witness, Tensor)
    assert float((witness.abs() * (1 - problem.weights)).sum()) == 0.0
    matrix = problem.linear_map.adjoint_apply(witness)
    if problem.is_symmetric:
        steepest = float(torch.linalg.eigvalsh((matrix + matrix.mH) / 2)[-1])
    else:
        steepest = float(torch.linalg.matrix_norm(matrix, 2))
    assert steepest <= (program.penalty or 1.0) * (1 + 1e-13)


@pytest.mark.oracle
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_wrong_pair_gets_a_wrong_bracket(kind: str, form: str) -> None:
    for seed, part_held_out in SEEDS:
        program, found = solved(kind, form, seed, part_held_out)
        generator = make_generator(seed, kind + form)
        is_symmetric = program.problem.is_symmetric
        best = factors_of(found.matrix, is_symmetric=is_symmetric)
        points = points_around(best, generator, is_symmetric=is_symmetric)
        duals = duals_around(found.dual, generator)
        for point in points:
            assert_holds(program, found, point, found.dual)
        for dual in duals:
            assert_holds(program, found, best, dual)
        for point, dual in zip(points, duals[::-1], strict=False):
            assert_holds(program, found, point, dual)


@pytest.mark.oracle
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bracket_is_tight_at_the_optimum(kind: str, form: str) -> None:
    for seed, part_held_out in SEEDS[:2]:
        program, found = solved(kind, form, seed, part_held_out)
        best = factors_of(found.matrix, is_symmetric=program.problem.is_symmetric)
        report = judged(program, best, found.dual)
        assert report.gap <= ORACLE * unit_of(program)
        assert report.infeasibility <= ORACLE
        assert report.value.lower.arithmetic == "float"
