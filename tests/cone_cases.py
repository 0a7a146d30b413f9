"""Small cones of every awkward kind, and their distances in exact rational numbers."""

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

ConeCase = tuple[Tensor, Tensor]
Vector = Sequence[float]


def exact_minimum(columns: Tensor, target: Tensor) -> Fraction:
    """Half of the squared distance: the best of all supports, without rounding.

    The projection on a cone is the least squares fit on some independent columns with
    positive coefficients, and no fit with positive coefficients is better.
    """
    V = [[Fraction(x) for x in column] for column in columns.T.tolist()]
    b = [Fraction(x) for x in target.tolist()]
    gram = [[exact_dot(u, v) for v in V] for u in V]
    products = [exact_dot(v, b) for v in V]
    best = exact_dot(b, b) / 2
    for size in range(1, min(len(V), len(b)) + 1):
        for support in itertools.combinations(range(len(V)), size):
            block = [[gram[i][j] for j in support] for i in support]
            h = _solve(block, [products[i] for i in support])
            if h is None or min(h) < 0:
                continue
            gain = exact_dot(h, [products[i] for i in support])
            best = min(best, (exact_dot(b, b) - gain) / 2)
    return best


def exact_value(columns: Tensor, target: Tensor, coefficients: Tensor) -> Fraction:
    """Half of the squared residual of coefficients, without rounding."""
    h = [Fraction(x) for x in coefficients.tolist()]
    residual = [
        exact_dot([Fraction(x) for x in row], h) - Fraction(b)
        for row, b in zip(columns.tolist(), target.tolist(), strict=True)
    ]
    return exact_dot(residual, residual) / 2


def exact_dot(u: Sequence[Fraction], v: Sequence[Fraction]) -> Fraction:
    """Inner product of rational vectors."""
    return sum((x * y for x, y in zip(u, v, strict=True)), Fraction(0))


def _solve(
    matrix: list[list[Fraction]], right: list[Fraction]
) -> list[Fraction] | None:
    """Gauss and Jordan; None for a singular matrix."""
    rows = [[*row, x] for row, x in zip(matrix, right, strict=True)]
    size = len(rows)
    for c in range(size):
        pivot = next((i for i in range(c, size) if rows[i][c] != 0), None)
        if pivot is None:
            return None
        rows[c], rows[pivot] = rows[pivot], rows[c]
        rows[c] = [x / rows[c][c] for x in rows[c]]
        for i in range(size):
            if i != c and rows[i][c] != 0:
                factor = rows[i][c]
                rows[i] = [
                    a - factor * b for a, b in zip(rows[i], rows[c], strict=True)
                ]
    return [row[-1] for row in rows]


def _integer(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=generator))


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _sizes(generator: torch.Generator) -> tuple[int, int]:
    return _integer(1, 4, generator), _integer(1, 6, generator)


def _gaussian(generator: torch.Generator) -> ConeCase:
    m, k = _sizes(generator)
    return _normal(generator, m, k), _normal(generator, m)


def _integers(generator: torch.Generator) -> ConeCase:
    m, k = _sizes(generator)
    V = torch.randint(-2, 3, (m, k), generator=generator)
    return V.double(), torch.randint(-2, 3, (m,), generator=generator).double()


def _duplicated(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    V[:, -1] = V[:, 0] * 2.0 ** _integer(-3, 4, generator)
    return V, b


def _huge(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    powers = torch.randint(-120, 120, V.shape[1:], generator=generator)
    return V * 10.0 ** powers.double(), b * 10.0 ** _integer(-120, 120, generator)


def _parallel(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    return V[:, :1] @ _normal(generator, 1, V.shape[1]), b


def _nearly_parallel(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    return V[:, :1] + 1e-9 * V, b


def _member(generator: torch.Generator) -> ConeCase:
    V, _ = _gaussian(generator)
    return V, V @ _normal(generator, V.shape[1]).abs()


def _almost_member(generator: torch.Generator) -> ConeCase:
    V, b = _member(generator)
    return V, b + 1e-12 * _normal(generator, b.shape[0])


def _on_face(generator: torch.Generator) -> ConeCase:
    V, _ = _gaussian(generator)
    h = torch.relu(_normal(generator, V.shape[1]))
    return V, V @ h


def _opposite(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    return V.abs(), -b.abs()


def _sparse(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    return V * (_normal(generator, *V.shape) > 0), b


def _wild_entries(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    powers = torch.randint(-12, 13, V.shape, generator=generator)
    return V * 10.0 ** powers.double(), b


def _with_line(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    V[:, -1] = -V[:, 0]
    return V, b


def _subspace(generator: torch.Generator) -> ConeCase:
    V, b = _gaussian(generator)
    return torch.cat((V[:, :2], -V[:, :2]), 1), b


CONES: dict[str, Callable[[torch.Generator], ConeCase]] = {
    "gaussian": _gaussian,
    "integers": _integers,
    "duplicated": _duplicated,
    "huge": _huge,
    "parallel": _parallel,
    "nearly parallel": _nearly_parallel,
    "member": _member,
    "almost member": _almost_member,
    "on a face": _on_face,
    "opposite": _opposite,
    "sparse": _sparse,
    "wild entries": _wild_entries,
    "with a line": _with_line,
    "subspace": _subspace,
}
# Cones that the rounding of their columns turns into others: their exact distance is
# not what an algorithm in float64 can find.
ILL_POSED = {"parallel", "nearly parallel", "wild entries", "huge"}
