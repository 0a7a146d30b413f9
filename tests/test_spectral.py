"""Bounds on extreme eigenvalues, held against spectra that are known beforehand."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from cases import normal
from oracles import is_psd_exact
from tacit.errors import InputError, ShapeError
from tacit.rng import make_generator
from tacit.spectral import (
    EPS,
    EigenvalueBound,
    lanczos_max_eigenvalue,
    lanczos_relative_error,
    max_eigenvalue,
)


def rotated(generator: torch.Generator, spectrum: Tensor) -> Tensor:
    """A symmetric matrix with these eigenvalues, up to rounding."""
    q, _ = torch.linalg.qr(normal(generator, len(spectrum), len(spectrum)))
    matrix = (q * spectrum) @ q.T
    return (matrix + matrix.T) / 2.0


def is_exact_bound(matrix: Tensor, bound: float) -> bool:
    """Whether ``bound`` is above every eigenvalue, in rational arithmetic."""
    rows = [[-Fraction(entry) for entry in row] for row in matrix.tolist()]
    for i, row in enumerate(rows):
        row[i] += Fraction(bound)
    return is_psd_exact(rows)


# Dense matrices


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_dense_bound_holds_in_exact_arithmetic(
    size: int, scale: float, generator: torch.Generator
) -> None:
    for _ in range(5):
        matrix = scale * normal(generator, size, size)
        matrix = matrix + matrix.T
        bound = max_eigenvalue(matrix)
        norm = float(torch.linalg.matrix_norm(matrix))
        assert is_exact_bound(matrix, bound.upper)
        assert not is_exact_bound(matrix, bound.upper - 100 * size * EPS * norm)
        assert bound.upper >= bound.value
        assert (bound.failure_probability, bound.num_steps) == (0.0, 0)


@pytest.mark.parametrize("size", [1, 2, 10, 101])
def test_dense_bound_of_the_second_difference(size: int) -> None:
    one = torch.ones(size - 1, dtype=torch.float64)
    matrix = 2.0 * torch.eye(size, dtype=torch.float64)
    matrix -= torch.diag(one, 1) + torch.diag(one, -1)
    angle = np.longdouble(np.pi) / np.longdouble(2 * (size + 1))
    top = np.longdouble(4.0) * np.cos(angle) ** 2
    bound = max_eigenvalue(matrix)
    assert top <= np.longdouble(bound.upper)
    assert bound.upper == pytest.approx(float(top), rel=20 * size * EPS)


def test_dense_bound_of_repeated_and_negative_eigenvalues() -> None:
    identity = torch.eye(6, dtype=torch.float64)
    assert max_eigenvalue(identity).upper >= 1.0
    # The error is relative to the norm, which here is that of the smallest eigenvalue.
    bound = max_eigenvalue(-1e9 * identity)
    assert -1e9 <= bound.upper < -1e9 * (1.0 - 1e-12)
    zero = max_eigenvalue(torch.zeros(3, 3, dtype=torch.float64))
    assert (zero.value, zero.upper) == (0.0, 0.0)
    ones = max_eigenvalue(torch.ones(7, 7, dtype=torch.float64))
    assert 7.0 <= ones.upper <= 7.0 * (1.0 + 1e-13)


def test_only_the_lower_triangle_is_read(generator: torch.Generator) -> None:
    matrix = normal(generator, 5, 5)
    full = matrix.tril() + matrix.tril(-1).T
    assert max_eigenvalue(matrix).upper == max_eigenvalue(full).upper


@pytest.mark.parametrize("shape", [(0, 0), (2, 3), (3,), (2, 2, 2)])
def test_a_matrix_that_is_not_square_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"square and not empty; got shape"):
        max_eigenvalue(torch.zeros(shape, dtype=torch.float64))


# The bound known beforehand


@pytest.mark.parametrize(
    ("size", "num_steps", "probability"),
    [(1, 1, 0.5), (100, 7, 1e-3), (10**6, 200, 1e-9)],
)
def test_relative_error_solves_the_formula_of_kuczynski_and_wozniakowski(
    size: int, num_steps: int, probability: float
) -> None:
    epsilon = lanczos_relative_error(size, num_steps, probability)
    failure = (
        1.648 * math.sqrt(size) * math.exp(-math.sqrt(epsilon) * (2 * num_steps - 1))
    )
    assert failure == pytest.approx(probability, rel=1e-9)


def test_relative_error_by_hand() -> None:
    # ln(1.648 * 10 / 0.01) = 7.4073179...; 5 steps divide it by 9.
    assert lanczos_relative_error(100, 5, 0.01) == pytest.approx(0.677391, rel=1e-5)
    assert lanczos_relative_error(100, 1, 0.01) > 1.0


# Lanczos

SIZE = 40
LINE = torch.linspace(0.0, 1.0, SIZE, dtype=torch.float64)
TOP = torch.zeros(SIZE, dtype=torch.float64).index_fill(0, torch.tensor(SIZE - 1), 1.0)
SPECTRA: dict[str, Tensor] = {
    "uniform": LINE,
    "geometric": 10.0 ** (-12.0 * (1.0 - LINE)),
    "clustered below the top": 1.0 - 1e-6 * (1.0 - LINE),
    "clustered below an isolated top": torch.maximum(0.999 * (LINE > 0.0), TOP),
    "isolated top": 1e-3 * LINE + TOP,
    "a hair above the rest": 1.0 + 1e-10 * TOP,
    "two": torch.where(LINE > 0.5, 1.0, 0.25).double(),
    "chebyshev": (1.0 - torch.cos(math.pi * LINE)) / 2.0,
    "half zero": LINE.clamp_min(0.5) - 0.5,
}


def lanczos(
    operator: Tensor,
    max_steps: int,
    generator: torch.Generator,
    *,
    failure_probability: float = 1e-9,
    rtol: float = 0.0,
    threshold: float | None = None,
) -> EigenvalueBound:
    """Bound a symmetric matrix, or a diagonal one given as a vector."""
    return lanczos_max_eigenvalue(
        lambda x: operator @ x if operator.dim() == 2 else operator * x,
        len(operator),
        max_steps=max_steps,
        failure_probability=failure_probability,
        generator=generator,
        rtol=rtol,
        threshold=threshold,
    )


@pytest.mark.parametrize("num_steps", [1, 3, 10, 25, 60])
@pytest.mark.parametrize("name", SPECTRA)
def test_lanczos_bounds_enclose_the_largest_eigenvalue(
    name: str, num_steps: int, generator: torch.Generator
) -> None:
    scale = 1e3
    matrix = rotated(generator, scale * SPECTRA[name])
    top = float(np.linalg.eigvalsh(matrix.numpy())[-1])
    for _ in range(20):
        bound = lanczos(matrix, num_steps, generator)
        assert bound.value <= top * (1.0 + 10 * SIZE * EPS)
        # The reference has a rounding error of its own.
        assert top * (1.0 - 4 * EPS) <= bound.upper
        assert bound.num_steps <= min(num_steps, SIZE)
        assert bound.failure_probability == 1e-9
        if num_steps == 60:  # the whole space
            assert bound.upper <= top * (1.0 + 100 * SIZE * EPS)


def test_lanczos_does_not_take_a_small_residual_for_an_answer() -> None:
    """One eigenvalue sticks out by so little that the first step hardly sees it."""
    spectrum = torch.ones(1000, dtype=torch.float64)
    spectrum[0] += 3e-11
    for seed in range(5):
        bound = lanczos(spectrum, 40, make_generator(seed))
        assert bound.value <= 1.0 + 4e-11
        assert float(spectrum[0]) <= bound.upper <= 1.0 + 1e-9


def test_lanczos_converges_long_before_the_bound_known_beforehand(
    generator: torch.Generator,
) -> None:
    spectrum = torch.rand(2000, generator=generator, dtype=torch.float64)
    spectrum[0] = 1.5
    bound = lanczos(spectrum, 200, generator, rtol=1e-8)
    assert 1.5 <= bound.upper <= bound.value * (1.0 + 1e-8)
    assert bound.num_steps <= 50
    assert lanczos_relative_error(2000, bound.num_steps, 1e-9) > 0.05


def test_the_bound_known_beforehand_counts_at_the_last_step() -> None:
    """Where the top is in the dark, only that theorem says anything near it."""
    # Nearly no weight on the top: its Ritz value has not separated after 25 steps.
    spectrum = 1.0 - torch.linspace(0.0, 1.0, 400, dtype=torch.float64) ** 2
    bounds = [
        lanczos(spectrum, 25, make_generator(seed), failure_probability=0.01)
        for seed in range(10)
    ]
    epsilon = lanczos_relative_error(400, 25, 0.005)
    assert epsilon < 0.04
    for bound in bounds:
        assert 1.0 <= bound.upper <= bound.value / (1.0 - epsilon)


FAILURE = 0.2


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # |<start, top>| is below s: (2 / pi) asin(s) on the circle, s on the sphere,
        # for s = 0.1 / sqrt(2 n / pi).
        (2, 2.0 / math.pi * math.asin(0.1 / math.sqrt(4.0 / math.pi))),
        (3, 0.1 / math.sqrt(6.0 / math.pi)),
    ],
)
def test_failures_are_as_rare_as_promised_and_do_happen(
    size: int, expected: float
) -> None:
    """One step short of the whole space the bound fails just where its proof says."""
    spectrum = torch.tensor([1.0, 0.3, 0.1], dtype=torch.float64)[:size]
    generator = make_generator(size, "failures")
    count = 2000
    failures = sum(
        lanczos(spectrum, size - 1, generator, failure_probability=FAILURE).upper < 1.0
        for _ in range(count)
    )
    # Five standard deviations of a binomial count around what the proof gives.
    deviation = math.sqrt(count * expected * (1.0 - expected))
    assert abs(failures - count * expected) <= 5.0 * deviation
    assert failures < FAILURE * count


@pytest.mark.parametrize("name", SPECTRA)
def test_failures_are_rare_on_every_spectrum(name: str) -> None:
    spectrum = SPECTRA[name]
    top = float(spectrum.max())
    generator = make_generator(0, name)
    count = 0
    for max_steps in (1, 2, 4, 7, 15):
        for _ in range(40):
            bound = lanczos(spectrum, max_steps, generator, failure_probability=FAILURE)
            count += bound.upper < top
    # 200 runs may fail 40 times; three standard deviations of luck.
    assert count <= 40 + 3.0 * math.sqrt(200 * 0.2 * 0.8)


@pytest.mark.parametrize("threshold", [1.01, 0.99, 1.0 + 1e-6, 1.0 - 1e-6])
def test_a_threshold_ends_the_run_once_the_answer_is_known(
    threshold: float, generator: torch.Generator
) -> None:
    spectrum = torch.linspace(0.0, 1.0, 300, dtype=torch.float64)
    for _ in range(5):
        bound = lanczos(spectrum, 250, generator, threshold=threshold)
        if threshold > 1.0:
            assert 1.0 <= bound.upper <= threshold
        else:
            assert threshold < bound.value <= 1.0 + 100 * EPS
        # Far from the eigenvalue the answer comes early, near to it late.
        assert bound.num_steps <= (120 if abs(threshold - 1.0) > 1e-3 else 250)


def test_an_unreached_tolerance_uses_all_steps(generator: torch.Generator) -> None:
    spectrum = torch.linspace(0.0, 1.0, 300, dtype=torch.float64)
    bound = lanczos(spectrum, 12, generator, rtol=1e-6, threshold=1.0)
    assert bound.num_steps == 12
    assert bound.value < 1.0 < bound.upper


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_low_rank_is_exhausted(rank: int, generator: torch.Generator) -> None:
    half = normal(generator, 60, rank)
    top = float(torch.linalg.matrix_norm(half, 2)) ** 2 if rank else 0.0
    bound = lanczos_max_eigenvalue(
        lambda x: half @ (half.T @ x),
        60,
        max_steps=10,
        failure_probability=1e-9,
        generator=generator,
    )
    assert top * (1.0 - 100 * EPS) <= bound.upper <= top * (1.0 + 1e-12)
    assert bound.num_steps <= 10
    assert bound.num_steps == 1 or rank > 0


@pytest.mark.parametrize("scale", [1e-30, 1.0, 7.0])
def test_the_identity_is_exhausted(scale: float, generator: torch.Generator) -> None:
    bound = lanczos(scale * torch.ones(50, dtype=torch.float64), 20, generator)
    assert scale * (1.0 - 10 * EPS) <= bound.value <= bound.upper
    assert scale <= bound.upper <= scale * (1.0 + 1e-12)


@pytest.mark.parametrize("spectrum", [[3.0], [0.0], [5.0, 1.0], [2.0, 0.0], [4.0, 4.0]])
def test_sizes_one_and_two_are_solved(
    spectrum: list[float], generator: torch.Generator
) -> None:
    matrix = rotated(generator, torch.tensor(spectrum, dtype=torch.float64))
    for _ in range(10):
        bound = lanczos(matrix, 5, generator)
        top = max(spectrum)
        assert top * (1.0 - 4 * EPS) <= bound.upper <= top * (1.0 + 1e-12)
        assert bound.num_steps <= len(spectrum)


def test_a_negative_operator_ends_and_gets_no_negative_bound(
    generator: torch.Generator,
) -> None:
    spectrum = -torch.linspace(1.0, 2.0, 30, dtype=torch.float64)
    for max_steps in (1, 2, 12, 30):
        bound = lanczos(spectrum, max_steps, generator)
        assert bound.value == 0.0
        assert bound.upper >= 0.0


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e308])
def test_nothing_is_claimed_of_what_overflows(
    value: float, generator: torch.Generator
) -> None:
    spectrum = value * torch.linspace(1.0, 2.0, 30, dtype=torch.float64)
    bound = lanczos(spectrum, 12, generator)
    assert bound.upper == math.inf


def test_what_overflows_late_keeps_the_bound_it_had(generator: torch.Generator) -> None:
    spectrum = torch.linspace(0.0, 2.0, 30, dtype=torch.float64)
    steps = itertools.count()
    bound = lanczos_max_eigenvalue(
        lambda x: spectrum * x * (1.0 if next(steps) < 16 else math.inf),
        30,
        max_steps=25,
        failure_probability=1e-9,
        generator=generator,
    )
    assert bound.num_steps == 20
    assert 2.0 <= bound.upper <= 4.0


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e300])
def test_lanczos_knows_no_scale(scale: float) -> None:
    spectrum = torch.linspace(1.0, 2.0, 30, dtype=torch.float64)
    bounds = [
        lanczos_max_eigenvalue(
            lambda x, unit=unit: unit * (spectrum * x),
            30,
            max_steps=22,
            failure_probability=1e-9,
            generator=make_generator(0),
        )
        for unit in (1.0, scale)
    ]
    assert 2.0 * scale <= bounds[1].upper
    assert bounds[1].upper == pytest.approx(scale * bounds[0].upper, rel=1e-10, abs=0.0)
    assert bounds[1].value == pytest.approx(scale * bounds[0].value, rel=1e-10, abs=0.0)


def run(seed: int) -> EigenvalueBound:
    spectrum = SPECTRA["uniform"]
    return lanczos(spectrum, 9, make_generator(seed), failure_probability=1e-6)


def test_a_run_depends_on_its_generator_alone() -> None:
    first, again, other = run(0), run(0), run(1)
    assert (first.value, first.upper) == (again.value, again.upper)
    assert (first.value, first.upper) != (other.value, other.upper)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, math.nan])
def test_a_failure_probability_out_of_range_is_refused(
    probability: float, generator: torch.Generator
) -> None:
    with pytest.raises(InputError, match=r"failure_probability must be in \(0, 1\)"):
        lanczos_max_eigenvalue(
            torch.clone,
            3,
            max_steps=2,
            failure_probability=probability,
            generator=generator,
        )


def test_no_step_at_all_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="max_steps must be at least 1; got 0"):
        lanczos_max_eigenvalue(
            torch.clone, 3, max_steps=0, failure_probability=0.1, generator=generator
        )
