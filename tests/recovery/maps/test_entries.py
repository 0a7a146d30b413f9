from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recovery_cases import dense_matrix, draw, some_entries
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.entries import EntriesMap, sampled_entries, sparse_times
from tacit.recovery.maps.linear_map import adjoint_test
from tacit.rng import make_generator

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@pytest.mark.parametrize("dtype", DTYPES)
def test_measurements_are_entries(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    entries = some_entries(generator, (4, 6), 9, dtype)
    matrix = draw(generator, 2, 4, 6, dtype=dtype)
    measured = entries.apply(matrix)
    for number, (i, j) in enumerate(
        zip(entries.rows.tolist(), entries.columns.tolist(), strict=True)
    ):
        assert torch.equal(measured[:, number], matrix[:, i, j])
    spread = entries.adjoint_apply(measured)
    assert int((spread != 0.0).sum()) == 2 * 9
    assert torch.equal(entries.apply(spread), measured)


@given(data=st.data())
def test_every_set_of_entries_obeys_the_laws(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    size = shape[0] * shape[1]
    places = torch.tensor(
        sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    )
    dtype = data.draw(st.sampled_from(DTYPES))
    entries = EntriesMap(
        rows=places // shape[1], columns=places % shape[1], shape=shape, dtype=dtype
    )
    assert adjoint_test(entries, generator=make_generator(0)) <= 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batches", [((), ()), ((3,), ()), ((), (3,)), ((2, 1), (3,))])
def test_the_path_of_other_devices_agrees(
    dtype: torch.dtype,
    batches: tuple[tuple[int, ...], tuple[int, ...]],
    generator: torch.Generator,
) -> None:
    entries = some_entries(generator, (7, 5), 16, dtype)
    rows, columns = entries.rows, entries.columns
    left = draw(generator, *batches[0], 7, 3, dtype=dtype)
    right = draw(generator, *batches[1], 5, 3, dtype=dtype)
    y = draw(generator, *batches[1], 16, dtype=dtype)
    expected = (left @ right.mH)[..., rows, columns]
    matrix = torch.zeros(*batches[1], 7, 5, dtype=dtype)
    matrix[..., rows, columns] = y
    products = matrix @ right, matrix.mH @ left
    atol = 100.0 * torch.finfo(dtype).eps
    for got, want in (
        (sampled_entries(rows, columns, left, right), expected),
        (entries.apply_factors(left, right), expected),
        (sparse_times(rows, columns, y, right, 7), products[0]),
        (sparse_times(columns, rows, y.conj(), left, 5), products[1]),
        *zip(entries.adjoint_times(y, left, right), products, strict=True),
    ):
        assert got.shape == want.shape
        assert torch.allclose(got, want, rtol=0.0, atol=atol)


def test_the_path_of_other_devices_works_in_blocks(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tacit.recovery.maps.entries._BLOCK", 8)
    entries = some_entries(generator, (7, 5), 16)
    left, right = draw(generator, 7, 3), draw(generator, 2, 5, 3)
    y = draw(generator, 16)
    got = sampled_entries(entries.rows, entries.columns, left, right)
    assert torch.allclose(got, entries.apply(left @ right.mH))
    product = sparse_times(entries.rows, entries.columns, y, right, 7)
    assert torch.allclose(product, entries.adjoint_apply(y) @ right)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_derivatives_can_be_recorded(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    entries = some_entries(generator, (4, 5), 9, dtype)
    left = draw(generator, 4, 2, dtype=dtype).requires_grad_()
    right = draw(generator, 5, 2, dtype=dtype).requires_grad_()
    y = draw(generator, 9, dtype=dtype)
    residual = entries.apply_factors(left, right) - y
    (residual.abs().square().sum() / 2.0).backward()
    expected = entries.adjoint_times(residual.detach(), left.detach(), right.detach())
    assert left.grad is not None
    assert right.grad is not None
    assert torch.allclose(left.grad, expected[0], atol=1e-13)
    assert torch.allclose(right.grad, expected[1], atol=1e-13)
    assert torch.autograd.gradcheck(entries.apply_factors, (left, right))
    y.requires_grad_()
    assert torch.autograd.gradcheck(entries.adjoint_times, (y, left, right))


def test_factors_of_different_widths(generator: torch.Generator) -> None:
    entries = some_entries(generator, (6, 4), 10)
    y, left, nothing = draw(generator, 10), draw(generator, 6, 3), torch.zeros(4, 0)
    first, second = entries.adjoint_times(y, left, nothing.double())
    assert first.shape == (6, 0)
    assert torch.allclose(second, entries.adjoint_apply(y).mT @ left)
    empty = entries.apply_factors(torch.zeros(6, 0).double(), nothing.double())
    assert torch.equal(empty, torch.zeros(10, dtype=torch.float64))


def test_views_are_read_as_what_they_show(generator: torch.Generator) -> None:
    entries = some_entries(generator, (6, 4), 10, torch.complex128)
    left = draw(generator, 3, 6, dtype=torch.complex128).mH
    right = draw(generator, 4, 6, dtype=torch.complex128)[:, ::2]
    y = draw(generator, 20, dtype=torch.complex128)[::2].conj()
    matrix = entries.adjoint_apply(y)
    products = entries.adjoint_times(y, left, right)
    expected = entries.apply(left @ right.mH)
    assert torch.allclose(entries.apply_factors(left, right), expected)
    assert torch.allclose(products[0], matrix @ right)
    assert torch.allclose(products[1], matrix.mH @ left)


def test_an_empty_batch_stays_empty(generator: torch.Generator) -> None:
    entries = some_entries(generator, (6, 4), 10)
    left, right = draw(generator, 0, 6, 2), draw(generator, 4, 2)
    assert entries.apply_factors(left, right).shape == (0, 10)
    products = entries.adjoint_times(draw(generator, 0, 10), left, right)
    assert [product.shape for product in products] == [(0, 6, 2), (0, 4, 2)]


def test_no_matrix_is_formed() -> None:
    # Its rows x columns would not fit into any memory.
    size = 10**6
    corners = EntriesMap(
        rows=torch.tensor([0, 0, size - 1]),
        columns=torch.tensor([0, size - 1, 5]),
        shape=(size, size),
    )
    factor = torch.arange(size, dtype=torch.float64).unsqueeze(1)
    values = corners.apply_factors(factor, factor + 1.0)
    assert values.tolist() == [0.0, 0.0, (size - 1.0) * 6.0]
    product, adjoint_product = corners.adjoint_times(
        torch.tensor([1.0, 2.0, 3.0]).double(), factor, factor
    )
    assert product.nonzero()[:, 0].tolist() == [0, size - 1]
    assert float(product[0]) == 2.0 * (size - 1)
    assert adjoint_product.nonzero()[:, 0].tolist() == [5]
    assert float(adjoint_product[5]) == 3.0 * (size - 1)


def test_uniform_entries_are_isotropic(generator: torch.Generator) -> None:
    entries = some_entries(generator, (3, 4), 12)
    matrix = draw(generator, 3, 4)
    # The mean over all entries is the expectation over one drawn uniformly.
    mean = float(entries.apply(matrix).square().mean())
    isotropy = entries.spec.isotropy
    assert isotropy is not None
    assert mean == pytest.approx(isotropy.second_moment * float(matrix.square().sum()))
    assert not isotropy.is_gaussian


def test_all_entries_are_the_identity(generator: torch.Generator) -> None:
    entries = some_entries(generator, (3, 4), 12)
    assert torch.equal(dense_matrix(entries), torch.eye(12, dtype=torch.float64))


@pytest.mark.parametrize(
    ("rows", "columns", "error", "message"),
    [
        ([0, 1], [0], ShapeError, "one length"),
        ([[0, 1]], [[0, 1]], ShapeError, "vectors"),
        ([0, 3], [0, 1], InputError, r"rows must be in 0\.\.2 .* got 0\.\.3"),
        ([0, 1], [-1, 1], InputError, r"columns must be in 0\.\.3 .* got -1\.\.1"),
        ([1, 0], [0, 0], InputError, "sorted by row"),
        ([0, 0], [2, 1], InputError, "sorted by row"),
        ([0, 0], [2, 2], InputError, "each once"),
    ],
)
def test_impossible_entries_are_refused(
    rows: list[int], columns: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        EntriesMap(rows=torch.tensor(rows), columns=torch.tensor(columns), shape=(3, 4))


def test_other_index_types_are_refused() -> None:
    zero = torch.tensor([0])
    with pytest.raises(InputError, match=r"columns must be int64; got torch\.int32"):
        EntriesMap(rows=zero, columns=zero.int(), shape=(3, 4))
    with pytest.raises(InputError, match="rows is empty"):
        EntriesMap(rows=zero[:0], columns=zero[:0], shape=(3, 4))
    with pytest.raises(InputError, match="floating point"):
        EntriesMap(rows=zero, columns=zero, shape=(3, 4), dtype=torch.int64)


def test_other_sizes_are_refused(generator: torch.Generator) -> None:
    entries = some_entries(generator, (6, 4), 10)
    left, right = draw(generator, 6, 2), draw(generator, 4, 2)
    y = draw(generator, 10)
    with pytest.raises(ShapeError, match="6 and 4 rows"):
        entries.apply_factors(right, left)
    with pytest.raises(ShapeError, match="one number of columns"):
        entries.apply_factors(left, right[:, :1])
    with pytest.raises(ShapeError, match="6 and 4 rows"):
        entries.adjoint_times(y, left, right.T)
    with pytest.raises(ShapeError, match=r"\(\.\.\., 10\); got \(9,\)"):
        entries.adjoint_times(y[1:], left, right)


def test_another_dtype_keeps_the_entries(generator: torch.Generator) -> None:
    entries = replace(some_entries(generator, (6, 4), 10), dtype=torch.complex64)
    assert entries.spec.dtype == torch.complex64
    assert adjoint_test(entries, generator=generator) < 1e-4
