import itertools

import numpy as np
import pytest
import scipy.fft
import torch

from recovery_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.convolution_grid import Boundary, ConvolutionGrid

LINEAR: tuple[Boundary, ...] = ("full", "valid", "same")


def grid_of(
    small: tuple[int, ...], large: tuple[int, ...], boundary: Boundary
) -> ConvolutionGrid:
    return ConvolutionGrid(
        filters=(small,), signal=large, boundary=boundary, is_complex=False
    )


@pytest.mark.parametrize("boundary", LINEAR)
def test_nothing_that_is_seen_wraps_around(
    boundary: Boundary, generator: torch.Generator
) -> None:
    # All small sizes, so every way in which a size can be too small would show.
    for k, n in itertools.product(range(1, 9), range(1, 9)):
        if boundary == "valid" and k > n:
            continue
        grid = grid_of((k,), (n,), boundary)
        w, s = draw(generator, k), draw(generator, n)
        got = grid.see([grid.transform(w) * grid.transform(s)])
        first = {"full": 0, "valid": k - 1, "same": (k - 1) // 2}[boundary]
        count = {"full": n + k - 1, "valid": n - k + 1, "same": n}[boundary]
        expected = np.convolve(w, s)[first : first + count]
        assert np.allclose(got.numpy(), expected, rtol=0.0, atol=1e-13)


def test_sizes_are_fast_and_no_larger_than_needed() -> None:
    assert grid_of((3,), (101,), "circular").transformed == (101,)
    assert grid_of((3,), (101,), "full").transformed == (108,)
    # What wraps around lies where a valid convolution does not look.
    assert grid_of((29,), (100,), "valid").transformed == (100,)
    assert grid_of((5,), (98,), "same").transformed == (100,)
    assert grid_of((5,), (3,), "same").transformed == (5,)
    sizes = grid_of((7, 3), (97, 31), "full").transformed
    assert sizes == (scipy.fft.next_fast_len(103, real=True), 36)


def test_the_window_of_every_channel() -> None:
    grid = ConvolutionGrid(
        filters=((3,), (6,)), signal=(10,), boundary="same", is_complex=True
    )
    assert grid.windows == ((slice(1, 11),), (slice(2, 12),))
    assert grid.out_grid == (10,)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("boundary", ["circular", "full", "valid", "same"])
def test_transforms_are_undone_and_what_was_placed_is_seen(
    boundary: Boundary, is_complex: bool, generator: torch.Generator
) -> None:
    grid = ConvolutionGrid(
        filters=((3, 2),) * 2, signal=(5, 4), boundary=boundary, is_complex=is_complex
    )
    dtype = torch.complex128 if is_complex else torch.float64
    s = draw(generator, 3, 5, 4, dtype=dtype)
    back = grid.invert(grid.transform(s), (5, 4))
    assert torch.allclose(back, s, rtol=0.0, atol=1e-14)
    size = 2 * grid.out_grid[0] * grid.out_grid[1]
    y = draw(generator, 3, size, dtype=dtype)
    assert torch.allclose(grid.see(grid.place(y)), y, rtol=0.0, atol=1e-14)


def test_grids_that_do_not_fit_are_refused() -> None:
    for boundary in ("circular", "valid"):
        with pytest.raises(ShapeError, match=f"no larger.*{boundary}.*5.*4"):
            grid_of((5,), (4,), boundary)
    with pytest.raises(ShapeError, match="as many dimensions"):
        grid_of((2, 2), (4,), "full")
    with pytest.raises(ShapeError, match="measurements of one shape"):
        ConvolutionGrid(
            filters=((2,), (3,)), signal=(4,), boundary="full", is_complex=False
        )
    with pytest.raises(ShapeError, match="filters is empty"):
        ConvolutionGrid(filters=(), signal=(4,), boundary="full", is_complex=False)
    with pytest.raises(InputError, match="boundary must be one of"):
        grid_of((2,), (4,), "reflect")  # pyright: ignore[reportArgumentType]
