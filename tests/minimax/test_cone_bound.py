"""A dual vector proves what it proves, exactly, and nothing else is accepted."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cone_cases import CONES, exact_dot, exact_minimum
from tacit.minimax import cone_bound
from tacit.minimax.cone import fit_cone
from tacit.minimax.cone_bound import (
    feasible_dual,
    margins,
    normalised,
    normalised_columns,
    proved_bound,
)

Array = NDArray[np.float64]


def rational(vector: Array) -> list[Fraction]:
    return [Fraction(float(x)) for x in vector]


@pytest.mark.parametrize("name", CONES)
def test_random_and_perturbed_duals_prove_nothing_false(
    name: str, generator: torch.Generator
) -> None:
    for _ in range(40):
        V, b = CONES[name](generator)
        exact = exact_minimum(V, b)
        fit = fit_cone(V, b)
        noise = torch.randn(b.shape, generator=generator, dtype=torch.float64)
        tried = [noise, fit.residual]
        if fit.dual is not None:
            assert proved_bound(V.numpy(), b.numpy(), fit.dual.numpy()) > 0.0
            tried += [fit.dual * (1 + 10.0**-p * noise) for p in (1, 6, 12, 16)]
        for dual in tried:
            bound = proved_bound(V.numpy(), b.numpy(), dual.numpy())
            assert Fraction(bound) <= exact


def test_dual_satisfies_its_inequalities_exactly(generator: torch.Generator) -> None:
    num_proved = 0
    for _ in range(60):
        V, b = CONES["gaussian"](generator)
        dual = fit_cone(V, b).dual
        if dual is None:
            continue
        num_proved += 1
        q = rational(dual.numpy())
        products = [exact_dot(rational(v), q) for v in V.T.numpy()]
        assert min(products) >= 0
        descent = -exact_dot(q, rational(b.numpy()))
        assert descent > 0
        bound = proved_bound(V.numpy(), b.numpy(), dual.numpy())
        assert Fraction(bound) <= descent * descent / (2 * exact_dot(q, q))
    assert num_proved > 20


def test_slightly_infeasible_dual_is_refused() -> None:
    V, b = np.eye(2), np.array([3.0, -1.0])
    assert proved_bound(V, b, np.array([1e-9, 1.0])) > 0.49
    assert proved_bound(V, b, np.array([-1e-15, 1.0])) == 0.0
    assert proved_bound(V, b, np.array([np.nan, 1.0])) == 0.0
    assert proved_bound(V, b, np.array([1.0, 1.0])) == 0.0  # <q, b> > 0
    assert proved_bound(V, b, np.zeros(2)) == 0.0


def test_lines_are_projected_out(generator: torch.Generator) -> None:
    # The cone {B g} of all g is a subspace: the distance is that of least squares.
    B = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    b = torch.randn(9, generator=generator, dtype=torch.float64)
    rest = torch.linalg.lstsq(B, b.unsqueeze(1)).solution.squeeze(1)
    truth = float((B @ rest - b).square().sum()) / 2
    fit = fit_cone(torch.cat((B, -0.5 * B), 1), b)
    assert fit.lower_bound == pytest.approx(truth, rel=1e-10)
    # With pointed columns besides, at sharp and at wide angles.
    more = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    both = torch.cat((B, -B, more), 1)
    mixed = fit_cone(both, b)
    assert 0.0 < mixed.lower_bound <= mixed.value
    assert mixed.lower_bound == pytest.approx(mixed.value, rel=1e-8)
    assert mixed.dual is not None
    assert proved_bound(both.numpy(), b.numpy(), mixed.dual.numpy()) > 0.0


def test_dependent_lines_prove_nothing() -> None:
    # Lines along (1, 1), (1, 2) and (1, 3) fill the plane: no dual vector exists.
    lines = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
    V = np.concatenate((lines, -lines), 1)
    for dual in (np.array([1.0, -1.0]), np.array([0.0, 1.0])):
        assert proved_bound(V, np.array([-1.0, 1.0]), dual) == 0.0
    twice = np.array([[1.0, 3.0], [1.0, 3.0 + 1e-15]])
    again = np.concatenate((twice, -twice), 1)
    assert proved_bound(again, np.array([-1.0, 1.0]), np.array([1.0, -1.0])) == 0.0


def test_no_dual_for_a_member(generator: torch.Generator) -> None:
    V = torch.randn(3, 5, generator=generator, dtype=torch.float64).numpy()
    b, _ = normalised(V @ np.ones(5))
    scaled, _ = normalised_columns(V)
    assert feasible_dual(scaled, b, np.arange(3)) is None


def test_dependent_support() -> None:
    V, b = np.array([[0.5, 0.5], [0.0, 0.0]]), np.array([0.5, -0.5])
    dual = feasible_dual(V, b, np.arange(2))
    assert dual is not None
    assert proved_bound(V, b, dual) == pytest.approx(0.125, rel=1e-12)


def test_a_third_column_in_the_plane_of_the_support(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A vector with equal products with the first two has none with the third.
    V = np.array([[0.5, 0.0, 0.5], [0.0, 0.5, -0.5], [0.0, 0.0, 0.0]])
    b = np.array([0.5, 0.5, -0.5])
    dual = feasible_dual(V, b, np.arange(2))
    assert dual is not None
    assert proved_bound(V, b, dual) == pytest.approx(0.125, rel=1e-12)

    def refuse(columns: Array, target: Array) -> None:
        raise RuntimeError

    monkeypatch.setattr(cone_bound, "nnls", refuse)
    assert feasible_dual(V, b, np.arange(2)) is None


def test_entries_too_far_apart_prove_nothing() -> None:
    V = np.array([[1e308], [1e-20]])
    b = np.array([0.0, -1.0])
    assert proved_bound(V, b, np.array([1e-3, 1.0])) == 0.0


def test_normalised_is_exact() -> None:
    vector = np.array([3.0, -1e-3, 0.0])
    scaled, power = normalised(vector)
    assert np.array_equal(np.ldexp(scaled, power), vector)
    assert 0.5 <= np.abs(scaled).max() < 1.0
    columns, powers = normalised_columns(np.array([[1e200, 0.0], [1e190, 0.0]]))
    assert np.array_equal(np.ldexp(columns, powers), [[1e200, 0.0], [1e190, 0.0]])
    assert np.array_equal(margins(columns, np.zeros(2)) == np.inf, [False, True])


def test_extreme_sizes_are_rounded_down() -> None:
    V = np.array([[1.0]])
    tiny = proved_bound(V, np.array([-1e-162]), np.array([1.0]))
    assert Fraction(tiny) <= Fraction(1e-162) ** 2 / 2
    huge = proved_bound(V, np.array([-1e200]), np.array([1.0]))
    assert huge == np.finfo(np.float64).max
