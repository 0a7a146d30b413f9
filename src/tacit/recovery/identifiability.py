r"""Whether measurements can determine a matrix of a rank at all."""

import torch

from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.problem import RecoveryProblem, degrees_of_freedom


def identifiability_warnings(problem: RecoveryProblem, rank: int) -> tuple[str, ...]:
    """Return why the measurements fitted cannot determine a matrix of a rank.

    Parameters
    ----------
    problem : RecoveryProblem
    rank : int
        At least 1.

    Returns
    -------
    tuple of str
        One sentence each, with numbers; empty if nothing was found, which proves
        nothing.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.identifiability import identifiability_warnings
    >>> problem = tacit.planted_problem((9, 9), 1, num_measurements=20,
    ...     generator=tacit.make_generator(0))
    >>> identifiability_warnings(problem, 2)
    ('20 measurements are fitted, but a 9 x 9 matrix of rank 2 has 32 unknowns',)
    """
    shape = problem.linear_map.in_shape
    rank = min(rank, *shape)
    fitted = int(problem.weights.count_nonzero())
    unknowns = degrees_of_freedom(shape, rank, is_symmetric=problem.is_symmetric)
    if problem.is_symmetric and problem.measurements.is_complex():
        # Hermitian: half of the real unknowns, as a measurement may be two numbers.
        unknowns = -(-rank * (2 * shape[0] - rank) // 2)
    found: list[str] = []
    if fitted < unknowns:
        found.append(
            f"{fitted} measurements are fitted, but a {shape[0]} x {shape[1]} matrix "
            f"of rank {rank} has {unknowns} unknowns"
        )
    if isinstance(problem.linear_map, EntriesMap):
        found += _short_lines(problem, problem.linear_map, rank)
    return tuple(found)


def _short_lines(problem: RecoveryProblem, entries: EntriesMap, rank: int) -> list[str]:
    """Name rows and columns with fewer entries than the rank."""
    is_fitted = problem.weights > 0
    rows, columns = entries.rows[is_fitted], entries.columns[is_fitted]
    num_rows, num_columns = entries.in_shape
    if problem.is_symmetric:
        mirrored = columns[rows != columns]
        lines = {"rows": (torch.cat((rows, mirrored)), num_rows)}
    else:
        lines = {"rows": (rows, num_rows), "columns": (columns, num_columns)}
    found: list[str] = []
    for name, (places, size) in lines.items():
        counts = torch.bincount(places, minlength=size)
        short = int((counts < rank).sum())
        if short > 0:
            found.append(
                f"{short} of {size} {name} have fewer than {rank} fitted entries, the "
                "rank: theirs cannot be told"
            )
    return found
