"""Too few measurements are named, with numbers."""

from dataclasses import replace

import torch

from tacit.recovery.identifiability import identifiability_warnings
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem
from tacit.rng import make_generator


def test_a_number_is_said_for_too_few_measurements() -> None:
    problem = planted_problem(
        (9, 9),
        1,
        num_measurements=20,
        is_symmetric=True,
        generator=make_generator(0),
    )
    assert identifiability_warnings(problem, 2) == ()
    held = replace(problem, held_out=torch.arange(20) < 4)
    assert identifiability_warnings(held, 2) == (
        "16 measurements are fitted, but a 9 x 9 matrix of rank 2 has 17 unknowns",
    )
    # Wider factors than the matrix has columns ask for a full matrix.
    assert "of rank 9 has 45 unknowns" in identifiability_warnings(problem, 30)[0]


def test_hermitian_matrices_are_counted_as_half_of_their_real_unknowns() -> None:
    problem = planted_problem(
        (5, 5),
        1,
        num_measurements=4,
        is_symmetric=True,
        dtype=torch.complex128,
        generator=make_generator(0),
    )
    # Nine real unknowns, at least five complex measurements.
    assert identifiability_warnings(problem, 1) == (
        "4 measurements are fitted, but a 5 x 5 matrix of rank 1 has 5 unknowns",
    )


def test_lines_with_too_few_entries_are_counted() -> None:
    rows = torch.tensor([0, 0, 0, 1, 1, 2, 3])
    columns = torch.tensor([0, 1, 2, 0, 1, 2, 2])
    values = torch.ones(7, dtype=torch.float64)
    problem = RecoveryProblem(
        linear_map=EntriesMap(rows=rows, columns=columns, shape=(4, 3)),
        measurements=values,
        held_out=torch.tensor([False] * 6 + [True]),
    )
    found = identifiability_warnings(problem, 1)
    assert found == (
        "1 of 4 rows have fewer than 1 fitted entries, the rank: theirs cannot be told",
    )
    found = identifiability_warnings(problem, 2)
    assert found[0].startswith("6 measurements are fitted, but a 4 x 3 matrix of")
    assert found[1].startswith("2 of 4 rows have fewer than 2 fitted")
    assert len(found) == 2
    square = EntriesMap(rows=rows, columns=columns, shape=(4, 4))
    symmetric = RecoveryProblem(
        linear_map=square, measurements=values, is_symmetric=True
    )
    assert identifiability_warnings(symmetric, 1) == ()
    found = identifiability_warnings(symmetric, 2)
    assert found == (
        "1 of 4 rows have fewer than 2 fitted entries, the rank: theirs cannot be told",
    )
