import math

import pytest
import torch

from recovery_cases import dense_matrix, draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import adjoint_test
from tacit.recovery.maps.stored import Packing, StoredMap, gaussian_map

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def symmetric(generator: torch.Generator, *batch: int, size: int) -> torch.Tensor:
    square = draw(generator, *batch, size, size)
    return square + square.mT


@pytest.mark.parametrize("dtype", DTYPES)
def test_full_rows_are_matrices_row_by_row(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    kernels = draw(generator, 7, 3, 4, dtype=dtype)
    stored = StoredMap(matrix=kernels.flatten(1), shape=(3, 4))
    x = draw(generator, 2, 3, 4, dtype=dtype)
    expected = torch.einsum("ijk,bjk->bi", kernels, x)
    assert torch.allclose(stored.apply(x), expected, atol=1e-5)
    y = draw(generator, 2, 7, dtype=dtype)
    expected = torch.einsum("ijk,bi->bjk", kernels.conj(), y)
    assert torch.allclose(stored.adjoint_apply(y), expected, atol=1e-5)
    assert torch.equal(dense_matrix(stored), kernels.flatten(1))


def test_symmetric_rows_are_scaled_upper_triangles(generator: torch.Generator) -> None:
    kernels = symmetric(generator, 7, size=4)
    rows, columns = torch.triu_indices(4, 4)
    scale = torch.where(rows == columns, 1.0, math.sqrt(2.0))
    stored = StoredMap(
        matrix=kernels[:, rows, columns] * scale, shape=(4, 4), packing="symmetric"
    )
    x, y = draw(generator, 2, 4, 4), draw(generator, 2, 7)
    # An unsymmetric matrix is seen through its symmetric part.
    expected = torch.einsum("ijk,bjk->bi", kernels, x)
    assert torch.allclose(stored.apply(x), expected, atol=1e-13)
    expected = torch.einsum("ijk,bi->bjk", kernels, y)
    assert torch.allclose(stored.adjoint_apply(y), expected, atol=1e-13)


def test_packing_keeps_inner_products(generator: torch.Generator) -> None:
    stored = gaussian_map((5, 5), 3, generator=generator, is_symmetric=True)
    x, z = symmetric(generator, 2, size=5)
    inner = float((x * z).sum())
    assert float(stored.pack(x) @ stored.pack(z)) == pytest.approx(inner, rel=1e-13)
    assert torch.allclose(stored.unpack(stored.pack(x)), x, rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8, 9])
@pytest.mark.parametrize("num_measurements", [1, 3, 4, 70, 131])
def test_a_pass_is_two_dense_products(
    dtype: torch.dtype,
    batch: int,
    num_measurements: int,
    generator: torch.Generator,
) -> None:
    stored = gaussian_map((3, 5), num_measurements, generator=generator, dtype=dtype)
    vectors = draw(generator, batch, 15, dtype=dtype)
    offsets = draw(generator, batch, num_measurements, dtype=dtype)
    weights = torch.rand(num_measurements, generator=generator)
    weights = weights.to(stored.matrix.real.dtype)
    residuals = vectors @ stored.matrix.T - offsets
    gradients = (weights * residuals) @ stored.matrix.conj()
    atol = 1000.0 * torch.finfo(dtype).eps
    for got in (
        stored.fused_pass(vectors, offsets, weights),
        stored._fused_apart(vectors, offsets, weights),
    ):
        assert torch.allclose(got[0], residuals, rtol=0.0, atol=atol)
        assert torch.allclose(got[1], gradients, rtol=0.0, atol=atol)


@pytest.mark.parametrize("batch", [1, 2])
def test_threads_share_a_pass(
    batch: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = gaussian_map((3, 5), 43, generator=generator)
    vectors, offsets = draw(generator, batch, 15), draw(generator, batch, 43)
    weights = torch.rand(43, generator=generator).double()
    alone = stored.fused_pass(vectors, offsets, weights)

    def three(num_bytes: int) -> int:
        return 3

    monkeypatch.setattr("tacit.recovery.maps.stored.num_threads", three)
    together = stored.fused_pass(vectors, offsets, weights)
    assert torch.equal(together[0], alone[0])
    assert torch.allclose(together[1], alone[1], atol=1e-14)


@pytest.mark.parametrize("batch", [2, 8])
def test_views_are_read_as_what_they_show(
    batch: int, generator: torch.Generator
) -> None:
    stored = gaussian_map((3, 5), 9, generator=generator, dtype=torch.complex128)
    vectors = draw(generator, 15, batch, dtype=torch.complex128).mH
    offsets = draw(generator, 9, dtype=torch.complex128).expand(batch, -1)
    weights = torch.rand(2, 9, generator=generator).double().mT[:, 0]
    residuals = vectors @ stored.matrix.T - offsets
    got = stored.fused_pass(vectors, offsets, weights)
    assert torch.allclose(got[0], residuals)
    assert torch.allclose(got[1], (weights * residuals) @ stored.matrix.conj())


def test_a_conjugated_view_is_stored_as_what_it_shows(
    generator: torch.Generator,
) -> None:
    matrix = draw(generator, 12, 7, dtype=torch.complex128)
    stored = StoredMap(matrix=matrix.mH, shape=(3, 4))
    assert adjoint_test(stored, generator=generator) < 1e-13
    y, zeros = draw(generator, 1, 12, dtype=torch.complex128), torch.zeros(1, 7)
    ones = torch.ones(7, dtype=torch.float64)
    residual, _ = stored.fused_pass(y, zeros.to(torch.complex128), ones)
    assert torch.allclose(residual, y @ matrix.conj())


@pytest.mark.parametrize("wrong", ["vectors", "offsets", "weights"])
def test_a_pass_refuses_other_sizes(wrong: str, generator: torch.Generator) -> None:
    stored = gaussian_map((3, 5), 9, generator=generator)
    given = {"vectors": draw(generator, 2, 15), "offsets": draw(generator, 2, 9)}
    given["weights"] = draw(generator, 9)
    given[wrong] = given[wrong][..., 1:]
    with pytest.raises(ShapeError, match="must have shapes"):
        stored.fused_pass(**given)


@pytest.mark.parametrize(
    ("size", "shape", "packing", "message"),
    [
        (11, (3, 4), "full", r"\(num_measurements, 12\)"),
        (12, (3, 4), "symmetric", "square"),
        (9, (3, 3), "symmetric", r"\(num_measurements, 6\)"),
    ],
)
def test_other_sizes_are_refused(
    size: int, shape: tuple[int, int], packing: Packing, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        StoredMap(matrix=torch.zeros(2, size), shape=shape, packing=packing)
    with pytest.raises(ShapeError, match="must have shape"):
        StoredMap(matrix=torch.zeros(12), shape=(3, 4))
    with pytest.raises(ShapeError, match="at least one measurement"):
        StoredMap(matrix=torch.zeros(0, 12), shape=(3, 4))


def test_integers_are_refused() -> None:
    with pytest.raises(InputError, match="floating point"):
        StoredMap(matrix=torch.zeros(2, 12, dtype=torch.int64), shape=(3, 4))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_entries_that_are_not_finite_are_refused(
    bad: float, dtype: torch.dtype
) -> None:
    matrix = torch.zeros(2, 6, dtype=dtype)
    (matrix.imag if dtype.is_complex else matrix)[1, 4] = bad
    with pytest.raises(InputError, match="not finite"):
        StoredMap(matrix=matrix, shape=(2, 3))


def test_symmetric_packing_is_for_real_matrices() -> None:
    matrix = torch.zeros(2, 6, dtype=torch.complex64)
    with pytest.raises(InputError, match="real matrices"):
        StoredMap(matrix=matrix, shape=(3, 3), packing="symmetric")


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gaussian_maps_keep_norms_in_the_mean(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    stored = gaussian_map((5, 4), 4000, generator=generator, dtype=dtype)
    x = draw(generator, 5, 4, dtype=dtype)
    ratio = float(stored.apply(x).abs().square().sum() / x.abs().square().sum())
    # Chi-squared with 4000 degrees of freedom at least: deviation sqrt(2 / 4000).
    assert abs(ratio - 1.0) < 5.0 * math.sqrt(2.0 / 4000)
    assert stored.spec.isotropy is not None
    assert stored.spec.isotropy.second_moment == 1.0 / 4000
    assert stored.spec.isotropy.is_gaussian


def test_symmetric_gaussian_maps_have_the_stated_variances(
    generator: torch.Generator,
) -> None:
    size, count = 4, 5000
    stored = gaussian_map((size, size), count, generator=generator, is_symmetric=True)
    kernels = stored.unpack(stored.matrix)
    assert torch.equal(kernels, kernels.mT)
    variances = kernels.square().mean(0) * count
    expected = torch.full((size, size), 0.5).double().fill_diagonal_(1.0)
    # Each is a mean of 5000 squares, relative deviation sqrt(2 / 5000) = 0.02.
    assert float((variances / expected - 1.0).abs().max()) < 0.1
    x = symmetric(generator, size=size)
    ratio = float(stored.apply(x).square().sum() / x.square().sum())
    assert abs(ratio - 1.0) < 5.0 * math.sqrt(2.0 / count)


def test_precision_and_blocks_do_not_change_the_draw(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = generator.get_state()
    double = gaussian_map((3, 3), 4, generator=generator).matrix
    generator.set_state(state)
    single = gaussian_map((3, 3), 4, generator=generator, dtype=torch.float32).matrix
    assert torch.allclose(single, double.float(), rtol=1e-6)
    generator.set_state(state)
    plain = draw(generator, 4, 9) / 2.0
    assert torch.allclose(double, plain, rtol=1e-15)
