import math

import pytest
import torch

from recovery_cases import dense_matrix, draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.rank_one import RankOneMap, rank_one_map
from tacit.recovery.maps.residual import line_terms, residual_and_products

COMPLEX = torch.complex128


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_a_measurement_is_a_sesquilinear_form(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    a, b = draw(generator, 3, 4, dtype=dtype), draw(generator, 3, 5, dtype=dtype)
    matrix = draw(generator, 4, 5, dtype=dtype)
    got = RankOneMap(left_vectors=a, right_vectors=b).apply(matrix)
    for i in range(3):
        expected = sum(
            complex(a[i, j]).conjugate() * complex(matrix[j, k]) * complex(b[i, k])
            for j in range(4)
            for k in range(5)
        )
        assert complex(got[i]) == pytest.approx(expected, rel=1e-12)


def test_phase_retrieval_sees_squared_moduli(generator: torch.Generator) -> None:
    vectors = draw(generator, 6, 3, dtype=COMPLEX)
    signal = draw(generator, 3, 1, dtype=COMPLEX)
    measured = RankOneMap(left_vectors=vectors).apply_factors(signal, signal)
    moduli = (vectors.conj() @ signal).abs().squeeze(-1) ** 2
    assert torch.allclose(measured.real, moduli, rtol=1e-13)
    assert float(measured.imag.abs().max()) <= 1e-15 * float(moduli.max())


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
@pytest.mark.parametrize("is_symmetric", [False, True])
def test_the_fused_pass_and_the_line_are_those_of_the_dense_map(
    generator: torch.Generator, dtype: torch.dtype, is_symmetric: bool
) -> None:
    linear_map = rank_one_map(
        (4, 4), 7, generator=generator, dtype=dtype, is_symmetric=is_symmetric
    )
    dense = dense_matrix(linear_map)
    left, right, d_left, d_right = draw(generator, 4, 2, 4, 3, dtype=dtype)
    y = draw(generator, 7, dtype=dtype)
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.5, 1.0, 0.0], dtype=torch.float64)

    def measured(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        return (one @ two.mH).flatten(-2) @ dense.T

    for one, two in ((left, right), (left, left)):
        residual = measured(one, two) - y
        gradient = ((weights * residual) @ dense.conj()).unflatten(-1, (4, 4))
        got = residual_and_products(linear_map, one, two, y, weights)
        assert torch.allclose(got[0], residual, atol=1e-13)
        assert torch.allclose(got[1], gradient @ two, atol=1e-12)
        assert torch.allclose(got[2], gradient.mH @ one, atol=1e-12)
    linear, quadratic = line_terms(linear_map, left, right, d_left, d_right)
    cross = measured(left, d_right) + measured(d_left, right)
    assert torch.allclose(linear, cross, atol=1e-12)
    assert torch.allclose(quadratic, measured(d_left, d_right), atol=1e-12)


def _mean_energy(linear_map: RankOneMap, matrix: torch.Tensor) -> tuple[float, float]:
    """Mean of ``m |y_i|^2`` and its standard error."""
    measured = linear_map.apply(matrix)
    energies = measured.abs().square() * linear_map.num_measurements
    return float(energies.mean()), float(energies.std()) / math.sqrt(len(energies))


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_independent_vectors_keep_the_norm_on_average(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    linear_map = rank_one_map((3, 4), 40_000, generator=generator, dtype=dtype)
    matrix = draw(generator, 3, 4, dtype=dtype)
    mean, error = _mean_energy(linear_map, matrix)
    assert abs(mean - float(matrix.abs().square().sum())) <= 5.0 * error
    law = linear_map.spec.isotropy
    assert law is not None
    assert law.second_moment == 1.0 / 40_000
    assert not law.is_gaussian


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_quadratic_measurements_see_the_trace_besides(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    linear_map = rank_one_map(
        (3, 3), 40_000, generator=generator, dtype=dtype, is_symmetric=True
    )
    assert linear_map.spec.isotropy is None
    matrix = draw(generator, 3, 3, dtype=dtype) + 3.0 * torch.eye(3, dtype=dtype)
    matrix = matrix if dtype.is_complex else matrix + matrix.mT
    mean, error = _mean_energy(linear_map, matrix)
    trace = float(matrix.diagonal().sum().abs() ** 2)
    norm = float(matrix.abs().square().sum())
    expected = norm + (trace if dtype.is_complex else trace / 2.0)
    assert abs(mean - expected) <= 5.0 * error
    assert abs(expected - norm) > 20.0 * error  # the trace is really told apart


def test_the_mean_of_adjoint_times_map_has_the_stated_trace_part() -> None:
    # Exactly: over all vectors of signs, E x_i x_j x_k x_l is Gaussian's unless all
    # four indices are one, which a matrix with zero diagonal does not touch.
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    linear_map = RankOneMap(left_vectors=signs * (2.0 * 8) ** -0.25)
    matrix = torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]], dtype=torch.float64)
    back = linear_map.adjoint_apply(linear_map.apply(matrix))
    assert torch.allclose(back, matrix, atol=1e-14)


def test_one_set_of_vectors_is_kept_once(generator: torch.Generator) -> None:
    linear_map = rank_one_map((3, 3), 5, generator=generator, is_symmetric=True)
    assert linear_map.right_vectors is None
    factor = draw(generator, 3, 2)
    one, two = linear_map.adjoint_times(draw(generator, 5), factor, factor)
    assert torch.equal(one, two)
    assert one.data_ptr() != two.data_ptr()


def test_the_draw_repeats_and_follows_dtype(generator: torch.Generator) -> None:
    state = generator.get_state()
    first = rank_one_map((3, 2), 4, generator=generator)
    generator.set_state(state)
    second = rank_one_map((3, 2), 4, generator=generator, dtype=torch.float32)
    assert second.left_vectors.dtype == torch.float32
    assert torch.equal(first.left_vectors.float(), second.left_vectors)


def test_vectors_that_do_not_fit_are_refused(generator: torch.Generator) -> None:
    a = draw(generator, 3, 4)
    with pytest.raises(ShapeError, match=r"one row for each measurement; got .*2, 5"):
        RankOneMap(left_vectors=a, right_vectors=draw(generator, 2, 5))
    with pytest.raises(ShapeError, match="one row for each measurement"):
        RankOneMap(left_vectors=a[0])
    with pytest.raises(InputError, match="share dtype and device"):
        RankOneMap(left_vectors=a, right_vectors=a.float())
    with pytest.raises(InputError, match="not finite"):
        RankOneMap(left_vectors=a, right_vectors=torch.full_like(a, math.inf))


def test_sizes_that_make_no_map_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(ShapeError, match=r"square matrices; got shape \(3, 4\)"):
        rank_one_map((3, 4), 5, generator=generator, is_symmetric=True)
    with pytest.raises(ShapeError, match="must be positive"):
        rank_one_map((3, 4), 0, generator=generator)
