"""The fit of a cone against exact rationals, CVXPY and the law of random cones."""

import contextlib
import math
from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from cone_cases import CONES, ILL_POSED, exact_minimum, exact_value
from tacit.errors import InputError, ShapeError
from tacit.minimax import cone
from tacit.minimax.cone import fit_cone

DRAWS = 150


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", CONES)
def test_bound_never_exceeds_the_exact_minimum(
    name: str, generator: torch.Generator
) -> None:
    for _ in range(DRAWS):
        V, b = CONES[name](generator)
        fit = fit_cone(V, b)
        exact = exact_minimum(V, b)
        assert Fraction(fit.lower_bound) <= exact
        assert bool((fit.coefficients >= 0).all())
        reached = exact_value(V, b, fit.coefficients)
        assert reached >= exact
        # The stated value is that of the coefficients, up to rounding.
        half = Fraction(1, 2) * sum(Fraction(x) ** 2 for x in b.tolist())
        if name not in ILL_POSED:
            assert abs(Fraction(fit.value) - reached) <= half * Fraction(1e-13)


@pytest.mark.parametrize("name", sorted(CONES.keys() - ILL_POSED))
def test_fit_is_best_and_decided(name: str, generator: torch.Generator) -> None:
    num_decided = num_outside = 0
    for _ in range(DRAWS):
        V, b = CONES[name](generator)
        fit = fit_cone(V, b)
        half = Fraction(1, 2) * sum(Fraction(x) ** 2 for x in b.tolist())
        exact = exact_minimum(V, b)
        assert exact_value(V, b, fit.coefficients) - exact <= half * Fraction(1e-14)
        if exact > half * Fraction(1e-12):
            num_outside += 1
            num_decided += fit.is_decided
            assert not fit.is_member
            if fit.is_decided:
                assert Fraction(fit.lower_bound) >= exact * (1 - Fraction(1e-5))
        else:
            assert fit.is_member
    # Lines through the cone that are no pair of opposite columns stay undecided.
    assert num_decided >= num_outside * (0.9 if name in {"integers", "sparse"} else 1)


def test_law_of_random_cones(generator: torch.Generator) -> None:
    # P[b in V R^k_+] = P[Bin(k, 1/2) >= m] for Gaussian V and b (Wendel, 1962).
    m, draws = 10, 200
    for k in (12, 16, 20, 24, 30):
        law = sum(math.comb(k, j) for j in range(m, k + 1)) / 2**k
        V, b = normal(generator, draws, m, k), normal(generator, draws, m)
        fits = [fit_cone(x, y) for x, y in zip(V, b, strict=True)]
        found = sum(fit.is_member for fit in fits) / draws
        assert abs(found - law) <= 4 * math.sqrt(law * (1 - law) / draws) + 1e-12
        assert all(fit.is_decided for fit in fits)


@pytest.mark.parametrize(("m", "k"), [(8, 30), (30, 20), (40, 120)])
def test_agrees_with_cvxpy(m: int, k: int, generator: torch.Generator) -> None:
    V, b = normal(generator, m, k), normal(generator, m)
    V[:, : k // 2] = V[:, : k // 2].abs()
    h = cp.Variable(k, nonneg=True)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(V.numpy() @ h - b.numpy()) / 2))
    problem.solve(solver=cp.CLARABEL)
    fit = fit_cone(V, b)
    assert isinstance(problem.value, float)
    scale = float(b @ b)
    assert abs(problem.value - fit.value) <= 1e-7 * scale
    if not fit.is_member:
        assert fit.value - fit.lower_bound <= 1e-10 * scale


def test_sizes_of_a_wide_network(generator: torch.Generator) -> None:
    V, b = normal(generator, 100, 3000), normal(generator, 100)
    assert fit_cone(V, b).is_member
    outside = fit_cone(V.abs(), b)
    assert not outside.is_member
    assert outside.value - outside.lower_bound <= 1e-10 * outside.value
    low_rank = V[:, :9] @ normal(generator, 9, 3000)
    assert fit_cone(low_rank, b).lower_bound <= float(b @ b) / 2


@given(
    entries=st.lists(
        st.floats(
            allow_nan=False, allow_infinity=False, min_value=-1e100, max_value=1e100
        ),
        min_size=8,
        max_size=8,
    )
)
def test_soundness_on_adversarial_numbers(entries: list[float]) -> None:
    V = torch.tensor(entries[:6], dtype=torch.float64).reshape(2, 3)
    b = torch.tensor(entries[6:], dtype=torch.float64)
    bound = 0.0
    with contextlib.suppress(InputError):  # coefficients that overflow
        bound = fit_cone(V, b).lower_bound
    assert Fraction(bound) <= exact_minimum(V, b)


def test_scales_of_columns_and_target(generator: torch.Generator) -> None:
    V, b = normal(generator, 5, 6), normal(generator, 5)
    plain = fit_cone(V, b)
    scales = 2.0 ** torch.arange(-300, 300, 100).double()
    scaled = fit_cone(V * scales, b * 2.0**50)
    assert scaled.value == plain.value * 2.0**100
    assert scaled.lower_bound == pytest.approx(plain.lower_bound * 2.0**100, rel=1e-14)
    assert torch.equal(scaled.coefficients * scales, plain.coefficients * 2.0**50)


def test_single_precision_is_computed_in_double(generator: torch.Generator) -> None:
    V, b = normal(generator, 6, 8).float(), normal(generator, 6).float()
    single, double = fit_cone(V, b), fit_cone(V.double(), b.double())
    assert single.coefficients.dtype == torch.float64
    assert torch.equal(single.coefficients, double.coefficients)


def test_zero_target_and_zero_columns() -> None:
    nothing = fit_cone(torch.zeros(3, 2).double(), torch.ones(3).double())
    assert nothing.value == 1.5
    assert nothing.lower_bound == pytest.approx(1.5, rel=1e-14)
    fit = fit_cone(torch.eye(3).double(), torch.zeros(3).double())
    assert fit.is_member
    assert (fit.value, fit.lower_bound, fit.relative_residual) == (0.0, 0.0, 0.0)


def _refuses(columns: NDArray[np.float64], target: NDArray[np.float64]) -> None:
    raise RuntimeError


def _is_wrong(
    columns: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    return np.full(columns.shape[1], 0.1), 0.0


@pytest.mark.parametrize("broken", [_refuses, _is_wrong])
def test_a_broken_solver_is_noticed(
    broken: object, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [CONES[name](generator) for name in CONES if name not in ILL_POSED]
    cases += [(normal(generator, 12, 20), normal(generator, 12)) for _ in range(5)]
    expected = [fit_cone(V, b).value for V, b in cases]
    monkeypatch.setattr(cone, "nnls", broken)
    for (V, b), value in zip(cases, expected, strict=True):
        assert abs(fit_cone(V, b).value - value) <= 1e-12 * float(b @ b)


def test_active_set_survives_dependent_columns(generator: torch.Generator) -> None:
    two = normal(generator, 4, 2)
    V = torch.cat((two, two, two.sum(1, keepdim=True)), 1)
    b = V @ torch.ones(5).double()
    h = cone._active_set(V.numpy(), b.numpy())
    assert h.min() >= 0
    assert np.allclose(V.numpy() @ h, b.numpy(), atol=1e-12)


def test_a_column_that_does_not_help_leaves_again() -> None:
    h, passive = cone._enter(
        np.ones((1, 1)), -np.ones(1), np.zeros(1), np.zeros(1, dtype=bool), 0
    )
    assert (h[0], passive[0]) == (0.0, False)


def test_bad_input_is_refused() -> None:
    eye, one = torch.eye(2).double(), torch.ones(2).double()
    with pytest.raises(ShapeError, match="one member of a batch at a time"):
        fit_cone(eye.expand(3, 2, 2), one.expand(3, 2))
    with pytest.raises(ShapeError, match="each at least 1"):
        fit_cone(torch.zeros(2, 0).double(), one)
    with pytest.raises(ShapeError, match="target"):
        fit_cone(eye, torch.ones(3).double())
    with pytest.raises(InputError, match="columns must be finite"):
        fit_cone(eye * math.nan, one)
    with pytest.raises(InputError, match="target must be"):
        fit_cone(eye, one.float())
    with pytest.raises(InputError, match="rtol must be in"):
        fit_cone(eye, one, rtol=-1.0)
    with pytest.raises(InputError, match="1e\\+150"):
        fit_cone(eye, one * 1e151)
    with pytest.raises(InputError, match="overflow"):
        fit_cone(eye * 1e-200, one * 1e149)
