import numpy as np
import numpy.typing as npt
import pytest
import torch

from recovery_cases import draw
from tacit.compiled import run_in_threads
from tacit.recovery.maps.entry_kernels import (
    EntryOrder,
    adjoint_times_factor,
    balanced_bounds,
    index_dtype,
    order_entries,
    sample_product,
    times_factor,
)

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]
SHAPE = (13, 9)
# How full the matrix is; with the sparsest, rows and columns are empty.
FULLNESS = [0.05, 0.5, 1.0]


def mask_of(generator: torch.Generator, fullness: float) -> torch.Tensor:
    mask = torch.rand(SHAPE, generator=generator) < fullness
    mask[4, 3] = True
    return mask


def order_of(mask: torch.Tensor, block: int = 20) -> EntryOrder:
    rows, columns = mask.nonzero().T.numpy()
    return order_entries(rows, columns, (mask.shape[0], mask.shape[1]), block)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fullness", FULLNESS)
@pytest.mark.parametrize("width", [1, 5, 10])
@pytest.mark.parametrize("num_parts", [1, 3])
def test_kernels_are_dense_products(
    dtype: torch.dtype,
    fullness: float,
    width: int,
    num_parts: int,
    generator: torch.Generator,
) -> None:
    mask = mask_of(generator, fullness)
    order = order_of(mask)
    left = draw(generator, SHAPE[0], width, dtype=dtype)
    right = draw(generator, SHAPE[1], width, dtype=dtype)
    sparse = torch.where(mask, draw(generator, *SHAPE, dtype=dtype), 0.0)
    values = sparse[mask].numpy()
    sampled = torch.empty(values.shape[0], dtype=dtype)
    # What was there before must not come through.
    product = torch.full(left.shape, torch.nan, dtype=dtype)
    adjoint_product = torch.full(right.shape, torch.nan, dtype=dtype)
    head = order.starts, order.columns
    swapped = order.column_starts, order.rows, order.places
    bounds = balanced_bounds(order.starts, num_parts)

    run_in_threads(
        lambda _, start, stop: sample_product(
            *head, left.numpy(), right.numpy(), sampled.numpy(), start, stop
        ),
        bounds,
    )
    run_in_threads(
        lambda _, start, stop: times_factor(
            *head, values, right.numpy(), product.numpy(), start, stop
        ),
        bounds,
    )
    run_in_threads(
        lambda _, start, stop: adjoint_times_factor(
            *swapped, values, left.numpy(), adjoint_product.numpy(), start, stop
        ),
        balanced_bounds(order.column_totals, num_parts),
    )
    atol = 100.0 * torch.finfo(dtype).eps
    assert torch.allclose(sampled, (left @ right.mH)[mask], rtol=0.0, atol=atol)
    assert torch.allclose(product, sparse @ right, rtol=0.0, atol=atol)
    assert torch.allclose(adjoint_product, sparse.mH @ left, rtol=0.0, atol=atol)


@pytest.mark.parametrize("fullness", FULLNESS)
@pytest.mark.parametrize("block", [1, 20, 10**6])
def test_the_transposed_order_is_sorted_within_blocks(
    fullness: float, block: int, generator: torch.Generator
) -> None:
    mask = mask_of(generator, fullness)
    rows, columns = mask.nonzero().T.numpy()
    order = order_entries(rows, columns, SHAPE, block)
    assert (np.diff(order.starts) == mask.sum(1).numpy()).all()
    assert (np.diff(order.column_totals) == mask.sum(0).numpy()).all()
    assert sorted(order.places.tolist()) == list(range(rows.shape[0]))
    assert (order.rows == rows[order.places]).all()
    ends = [0]
    for starts in order.column_starts:
        # Blocks follow each other, and each holds whole rows sorted by column, row.
        assert starts[0] == ends[-1]
        assert (np.diff(starts) >= 0).all()
        ends.append(int(starts[-1]))
        held = order.places[starts[0] : starts[-1]]
        assert sorted(held) == list(range(starts[0], starts[-1]))
        keys = columns[held] * SHAPE[0] + rows[held]
        assert (np.diff(keys) > 0).all()
        for j in range(SHAPE[1]):
            places = order.places[starts[j] : starts[j + 1]]
            assert (columns[places] == j).all()
    assert ends[-1] == rows.shape[0]


def test_blocks_are_not_mostly_empty_columns() -> None:
    rows = np.arange(1000)
    narrow = order_entries(rows, rows % 5, (1000, 5), block=10)
    wide = order_entries(rows, rows, (1000, 1000), block=10)
    assert narrow.column_starts.shape == (50, 6)
    assert wide.column_starts.shape == (1, 1001)


@pytest.mark.parametrize(
    ("counts", "num_parts", "expected"),
    [
        ([1, 1, 1, 1], 2, [0, 2, 4]),
        ([10, 1, 1], 2, [0, 1, 3]),
        ([0, 0, 6, 6], 2, [0, 3, 4]),
        ([5], 3, [0, 1, 1, 1]),
        ([3, 3], 1, [0, 2]),
    ],
)
def test_parts_have_about_the_same_number_of_entries(
    counts: list[int], num_parts: int, expected: list[int]
) -> None:
    starts = np.concatenate([[0], np.cumsum(counts)])
    assert balanced_bounds(starts, num_parts) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(10, np.int32), (2**31 - 1, np.int32), (2**31, np.int64)],
)
def test_indices_are_short_where_they_fit(size: int, expected: npt.DTypeLike) -> None:
    assert index_dtype(size) == expected
