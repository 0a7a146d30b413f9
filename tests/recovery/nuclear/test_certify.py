"""What a certificate says, against closed forms, exact rationals and other routes."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from nuclear_cases import FORMS, KINDS, factors_of, small_program, solved
from tacit.errors import InputError, ShapeError
from tacit.recovery import projection_bound
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.nuclear.certify import NuclearCertificate, certify_nuclear
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.planted import planted_problem
from tacit.recovery.problem import RecoveryProblem
from tacit.rng import make_generator

DOUBLE = torch.float64


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def judged(
    program: NuclearProgram, left: Tensor, right: Tensor, dual: Tensor
) -> NuclearCertificate:
    return certify_nuclear(program, left, right, dual, generator=make_generator(1))


def diagonal_program(
    *values: float, noise_bound: float | None = None, penalty: float | None = None
) -> NuclearProgram:
    """The diagonal of a matrix measured: by pinching the optimum is diagonal."""
    places = torch.arange(len(values))
    size = len(values)
    entries = EntriesMap(rows=places, columns=places, shape=(size, size))
    return NuclearProgram(
        problem=RecoveryProblem(linear_map=entries, measurements=vector(*values)),
        noise_bound=noise_bound,
        penalty=penalty,
    )


def test_a_diagonal_is_shrunk_as_the_closed_form_says() -> None:
    """Soft thresholding: 3 and 4 lose 1/sqrt(2) each within distance 1."""
    program = diagonal_program(3.0, 4.0, noise_bound=1.0)
    loss = 1.0 / math.sqrt(2.0)
    left = torch.diag(vector(3.0 - loss, 4.0 - loss))
    report = judged(program, left, torch.eye(2, dtype=DOUBLE), vector(1.0, 1.0))
    assert report.value.lower.value == pytest.approx(7.0 - math.sqrt(2.0), rel=1e-14)
    assert report.value.upper.value == pytest.approx(7.0 - math.sqrt(2.0), rel=1e-13)
    assert report.rank == 2
    assert report.train_error == pytest.approx(0.2, rel=1e-12)
    assert report.infeasibility <= 1e-15
    assert report.dual_norm.value == pytest.approx(1.0, rel=1e-14)


def test_a_penalised_diagonal_is_shrunk_as_the_closed_form_says() -> None:
    program = diagonal_program(3.0, 0.5, -4.0, penalty=1.0)
    left = torch.diag(vector(2.0, 0.0, -3.0))
    report = judged(program, left, torch.eye(3, dtype=DOUBLE), vector(1.0, 0.5, -1.0))
    value = 0.5 * (1.0 + 0.25 + 1.0) + 5.0
    assert report.value.lower.value == pytest.approx(value, rel=1e-14)
    assert report.value.upper.value == pytest.approx(value, rel=1e-13)
    assert report.infeasibility == 0.0
    assert report.rank == 2


def test_the_better_multiple_is_taken() -> None:
    """Twice the best point and half the best dual vector prove as much."""
    program = diagonal_program(3.0, 4.0, noise_bound=1.0)
    loss = 1.0 / math.sqrt(2.0)
    left = 2.0 * torch.diag(vector(3.0 - loss, 4.0 - loss))
    report = judged(program, left, torch.eye(2, dtype=DOUBLE), vector(0.5, 0.5))
    assert report.relative_gap <= 1e-13
    assert report.dual_norm.value == pytest.approx(0.5, rel=1e-14)
    missed = math.hypot(3.0 - 2.0 * loss, 4.0 - 2.0 * loss)
    assert report.infeasibility == pytest.approx((missed - 1.0) / 5.0, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_lower_side_is_the_dual_value_of_its_witness(kind: str, form: str) -> None:
    """Computed again from the programme's definition, held-out data changed."""
    program = small_program(kind, form, 3, part_held_out=0.25)
    problem = program.problem
    generator = make_generator(3, kind)
    rows, columns = problem.linear_map.in_shape
    dtype = problem.measurements.dtype
    left = torch.randn(rows, 1, generator=generator, dtype=dtype)
    right = torch.randn(columns, 1, generator=generator, dtype=dtype)
    right = left if problem.is_symmetric else right
    dual = problem.measurements + 0.1 * torch.randn(
        len(problem.measurements), generator=generator, dtype=dtype
    )
    report = judged(program, left, right, dual)
    witness = report.value.lower.witness
    assert isinstance(witness, Tensor)
    assert float((witness.abs() * (1 - problem.weights)).sum()) == 0.0
    matrix = problem.linear_map.adjoint_apply(witness)
    if problem.is_symmetric:
        slope = float(torch.linalg.eigvalsh((matrix + matrix.mH) / 2)[-1])
    else:
        slope = float(torch.linalg.matrix_norm(matrix, 2))
    inner = float((witness.conj() * problem.measurements).sum().real)
    length = float(torch.linalg.vector_norm(witness))
    if program.penalty is None:
        assert slope <= 1.0 + 1e-14
        value = max(0.0, inner - (program.noise_bound or 0.0) * length)
    else:
        assert slope <= program.penalty * (1 + 1e-14)
        value = inner - length**2 / 2.0
    unit = length * float(torch.linalg.vector_norm(problem.measurements))
    assert value - 1e-13 * unit <= report.value.lower.value <= value
    kept = problem.weights * dual
    given = float(torch.linalg.matrix_norm(problem.linear_map.adjoint_apply(kept), 2))
    if not problem.is_symmetric:
        assert given <= report.dual_norm.upper <= given * (1 + 1e-12)
    other = replace(
        problem, measurements=torch.where(problem.weights > 0, problem.measurements, 9)
    )
    again = judged(replace(program, problem=other), left, right, dual)
    assert again.value.lower.value == report.value.lower.value
    assert again.value.upper.value == report.value.upper.value
    assert again.train_error == report.train_error


@pytest.mark.parametrize("kind", ["rectangular", "complex", "symmetric", "hermitian"])
@pytest.mark.parametrize("form", ["much noise", "penalty"])
def test_large_matrices_are_scaled_by_the_upper_bound(
    kind: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After few Lanczos steps the bound is far above the value, and only it is safe."""
    monkeypatch.setattr(projection_bound, "_DENSE_SIZE", 0)
    monkeypatch.setattr(projection_bound, "_MAX_STEPS", 6)
    program, found = solved(kind, form, 1, 0.25)
    problem = program.problem
    left, right = factors_of(found.matrix, is_symmetric=problem.is_symmetric)
    wrong = torch.ones_like(left[:, :1])
    report = certify_nuclear(
        program,
        wrong,
        wrong if problem.is_symmetric else torch.ones_like(right[:, :1]),
        found.dual,
        generator=make_generator(1),
        failure_probability=1e-6,
        with_uniqueness=False,
    )
    lower = report.value.lower
    assert lower.arithmetic == "probabilistic"
    assert lower.failure_probability == pytest.approx(1e-6)
    assert lower.value <= found.value * (1 + 1e-6)
    assert isinstance(lower.witness, Tensor)
    matrix = problem.linear_map.adjoint_apply(lower.witness)
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    if not problem.is_symmetric:
        ratio = report.dual_norm.upper / report.dual_norm.value
        assert norm <= (program.penalty or 1.0) * (1 + 1e-12)
        assert norm >= (program.penalty or 1.0) / ratio * (1 - 1e-12)


def rational(tensor: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in tensor.flatten().tolist()]


def test_both_sides_hold_in_exact_arithmetic(generator: torch.Generator) -> None:
    """Matrices of two by two: norms are roots of rational polynomials."""
    for _ in range(20):
        matrix = torch.randn(3, 4, generator=generator, dtype=DOUBLE)
        measurements = torch.randn(3, generator=generator, dtype=DOUBLE)
        problem = RecoveryProblem(
            linear_map=StoredMap(matrix=matrix, shape=(2, 2)), measurements=measurements
        )
        noise_bound = 0.3
        program = NuclearProgram(problem=problem, noise_bound=noise_bound)
        left = torch.randn(2, 2, generator=generator, dtype=DOUBLE)
        eye = torch.eye(2, dtype=DOUBLE)
        report = judged(program, left, eye, measurements)
        lower, upper = report.value.lower, report.value.upper
        assert isinstance(lower.witness, Tensor)
        q, y, rows = rational(lower.witness), rational(measurements), rational(matrix)
        a, b, c, d = (
            sum((q[i] * rows[4 * i + j] for i in range(3)), Fraction(0))
            for j in range(4)
        )
        # I - M^T M is positive semidefinite: trace and determinant are not negative.
        squares, determinant = a * a + b * b + c * c + d * d, a * d - b * c
        assert squares <= 2
        assert 1 - squares + determinant * determinant >= 0
        value = Fraction(lower.value)
        along = sum((p * r for p, r in zip(q, y, strict=True)), Fraction(0)) - value
        tau = Fraction(noise_bound)
        assert value == 0 or along >= 0
        assert value == 0 or along**2 >= tau**2 * sum(p * p for p in q)
        factor = upper.witness
        found = factor * left if isinstance(factor, float) else factor
        assert isinstance(found, Tensor)
        x = rational(found)
        residual = [
            sum((rows[4 * i + j] * x[j] for j in range(4)), -y[i]) for i in range(3)
        ]
        assert sum(r * r for r in residual) <= tau**2
        # (s1 + s2)^2 = |X|_F^2 + 2 |det X|
        size = sum(e * e for e in x) + 2 * abs(x[0] * x[3] - x[1] * x[2])
        assert Fraction(upper.value) ** 2 >= size


def test_a_programme_without_a_solution_is_seen() -> None:
    """The first entry measured twice, as 1 and as 2."""
    twice = torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0]], dtype=DOUBLE)
    problem = RecoveryProblem(
        linear_map=StoredMap(matrix=twice, shape=(2, 2)), measurements=vector(1.0, 2.0)
    )
    left, right = torch.ones(2, 1, dtype=DOUBLE), torch.ones(2, 1, dtype=DOUBLE)
    report = judged(
        NuclearProgram(problem=problem, noise_bound=0.1), left, right, vector(1.0, 2.0)
    )
    assert report.value.upper.value == math.inf
    assert report.value.upper.method.startswith("none: no matrix was found that fits")
    assert math.isfinite(report.value.lower.value)
    assert report.gap == report.relative_gap == math.inf
    assert report.uniqueness is not None
    assert report.uniqueness.is_unique is None
    ray = judged(
        NuclearProgram(problem=problem, noise_bound=0.1), left, right, vector(-1.0, 1.0)
    )
    assert ray.value.lower.value > 1e12
    # Within 1/sqrt(2) something fits, and the bracket is finite again.
    wide = judged(
        NuclearProgram(problem=problem, noise_bound=0.8), left, right, vector(0.5, 0.5)
    )
    best = 1.5 - math.sqrt(0.8**2 - 0.5) / math.sqrt(2.0)
    assert wide.value.lower.value <= best <= wide.value.upper.value


def test_a_cone_that_nothing_of_fits_is_seen() -> None:
    """A negative diagonal entry: the dual vector alone proves it."""
    program = replace(
        diagonal_program(-1.0, 1.0, noise_bound=0.5),
        problem=replace(
            diagonal_program(-1.0, 1.0, noise_bound=0.5).problem, is_symmetric=True
        ),
    )
    left = torch.eye(2, dtype=DOUBLE)
    report = judged(program, left, left, vector(-1.0, -0.1))
    assert report.value.lower.value == math.inf
    assert report.value.upper.value == math.inf
    assert "no positive semidefinite matrix" in report.value.upper.method
    assert report.dual_norm.value == pytest.approx(-0.1)
    assert report.gap == math.inf
    assert report.uniqueness is not None
    assert report.uniqueness.is_unique is None


@pytest.mark.parametrize("form", ["exact", "much noise", "penalty"])
def test_measurements_of_zero_have_the_value_zero(form: str) -> None:
    program = small_program("rectangular", form, 0)
    problem = replace(
        program.problem, measurements=torch.zeros_like(program.problem.measurements)
    )
    program = replace(program, problem=problem)
    ones = torch.ones(12, dtype=DOUBLE)
    left, right = torch.ones(5, 1, dtype=DOUBLE), torch.ones(4, 1, dtype=DOUBLE)
    report = judged(program, left, right, ones)
    assert report.value.lower.value == report.value.upper.value == 0.0
    assert report.gap == report.relative_gap == 0.0
    residual = program.residual(left, right)
    assert report.train_error == pytest.approx(
        float(torch.linalg.vector_norm(residual))
    )


def test_factors_without_a_column_are_zero() -> None:
    program = diagonal_program(3.0, 4.0, noise_bound=1.0)
    empty = torch.zeros(2, 0, dtype=DOUBLE)
    report = judged(program, empty, empty, vector(1.0, 1.0))
    assert report.rank == 0
    assert report.train_error == 1.0
    assert report.value.lower.value <= 7.0 - math.sqrt(2.0) <= report.value.upper.value


@pytest.mark.parametrize("scale", [1e60, 1e200, 1e300])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["rectangular", "hermitian", "entries"])
def test_factors_beyond_float64_prove_no_less(
    kind: str, form: str, scale: float
) -> None:
    program, found = solved(kind, form, 1, 0.25)
    left, right = factors_of(found.matrix, is_symmetric=program.problem.is_symmetric)
    report = judged(program, scale * left, scale * right, found.dual)
    assert report.value.lower.value <= found.value + 1e-6
    assert found.value - 1e-6 <= report.value.upper.value < 1.1 * found.value + 1e-6
    if program.penalty is None:
        assert report.infeasibility > 1e50
    assert report.train_error > 1e50
    assert report.uniqueness is not None
    if form != "all noise":
        assert report.uniqueness.is_unique is None
        assert report.uniqueness.minimiser_distance == math.inf


def test_uniqueness_is_judged_on_request() -> None:
    program = diagonal_program(3.0, 4.0, noise_bound=1.0)
    eye = torch.eye(2, dtype=DOUBLE)
    report = certify_nuclear(
        program,
        eye,
        eye,
        vector(1, 1),
        generator=make_generator(0),
        with_uniqueness=False,
    )
    assert report.uniqueness is None
    assert judged(program, eye, eye, vector(1, 1)).uniqueness is not None


def test_what_cannot_be_certified_is_refused(generator: torch.Generator) -> None:
    program = small_program("rectangular", "much noise", 0)
    left, right = torch.ones(5, 1, dtype=DOUBLE), torch.ones(4, 1, dtype=DOUBLE)
    dual = program.problem.measurements
    with pytest.raises(ShapeError, match=r"left must have shape \(5, k\)"):
        judged(program, left[:4], right, dual)
    with pytest.raises(ShapeError, match=r"dual must have shape \(12,\)"):
        judged(program, left, right, dual[:5])
    with pytest.raises(InputError, match=r"dual must be torch\.float64"):
        judged(program, left, right, dual.float())
    with pytest.raises(InputError, match="dual has entries that are not finite"):
        judged(program, left, right, dual * math.nan)
    with pytest.raises(InputError, match="left has entries that are not finite"):
        judged(program, left * math.inf, right, dual)
    huge = replace(program.problem, measurements=1e200 * dual)
    with pytest.raises(InputError, match="squares within float64; rescale"):
        judged(replace(program, problem=huge), left, right, dual)
    single = planted_problem(
        (5, 4), 1, num_measurements=9, dtype=torch.float32, generator=generator
    )
    with pytest.raises(InputError, match="double precision"):
        judged(
            NuclearProgram(problem=single, noise_bound=0.1),
            left.float(),
            right.float(),
            single.measurements,
        )
