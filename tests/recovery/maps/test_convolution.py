import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
from torch import Tensor

from recovery_cases import dense_matrix, draw
from subspace_cases import SUBSPACES
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps import convolution as module
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.convolution_grid import Boundary
from tacit.recovery.maps.linear_map import Isotropy, adjoint_test
from tacit.recovery.maps.rank_one import RankOneMap
from tacit.recovery.maps.residual import line_terms, residual_and_products
from tacit.recovery.subspaces.matrix import gaussian_subspace
from tacit.recovery.subspaces.scrambled import scrambled_subspace
from tacit.recovery.subspaces.subspace import AbstractSubspace, basis_matrix
from tacit.recovery.subspaces.support import SupportSubspace
from tacit.rng import make_generator

COMPLEX = torch.complex128
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
LINEAR: list[tuple[tuple[int, ...], tuple[int, ...], Boundary]] = [
    ((9,), (4,), "full"),
    ((9,), (4,), "valid"),
    ((9,), (4,), "same"),
    ((9,), (5,), "same"),
    ((3,), (7,), "full"),
    ((3,), (7,), "same"),
    ((5,), (5,), "valid"),
    ((6,), (1,), "same"),
    ((13,), (13,), "full"),
    ((6, 5), (3, 2), "full"),
    ((6, 5), (3, 2), "valid"),
    ((6, 5), (4, 3), "same"),
    ((2, 5), (3, 3), "same"),
]


def everything(grid: tuple[int, ...], dtype: torch.dtype) -> AbstractSubspace:
    """Return all signals, with their points as coefficients."""
    return SupportSubspace(
        indices=torch.arange(math.prod(grid)), shape=grid, dtype=dtype
    )


def wrapped(w: np.ndarray, s: np.ndarray) -> Any:
    """Circular convolution by its definition, point by point."""
    result = np.zeros(s.shape, dtype=s.dtype)
    for place in np.ndindex(*s.shape):
        for shift in np.ndindex(*w.shape):
            source = tuple((np.array(place) - np.array(shift)) % np.array(s.shape))
            result[place] += w[shift] * s[source]
    return result


def near(got: Tensor, expected: Any, atol: float = 1e-12) -> bool:
    return np.allclose(got.numpy(), expected, rtol=0.0, atol=atol)


@DTYPES
@pytest.mark.parametrize(("grid", "small", "boundary"), LINEAR)
def test_linear_convolution_is_scipys(
    grid: tuple[int, ...],
    small: tuple[int, ...],
    boundary: Boundary,
    dtype: torch.dtype,
    generator: torch.Generator,
) -> None:
    linear_map = ConvolutionMap(
        filters=(everything(small, dtype),),
        signal=everything(grid, dtype),
        boundary=boundary,
    )
    w, s = draw(generator, *small, dtype=dtype), draw(generator, *grid, dtype=dtype)
    expected = scipy.signal.convolve(
        s.numpy(), w.numpy(), mode=boundary, method="direct"
    )
    if len(grid) == 2:
        again = scipy.signal.convolve2d(s.numpy(), w.numpy(), mode=boundary)
        assert np.allclose(again, expected, rtol=0.0, atol=1e-13)
    got = linear_map.apply_factors(w.reshape(-1, 1), s.conj().reshape(-1, 1))
    assert linear_map.out_grid == expected.shape
    assert near(got, expected.ravel())


@DTYPES
@pytest.mark.parametrize(
    ("grid", "small"),
    [((7,), (7,)), ((8,), (3,)), ((1,), (1,)), ((3, 4), (3, 4)), ((5, 2), (2, 1))],
)
def test_circular_convolution_wraps_around(
    grid: tuple[int, ...],
    small: tuple[int, ...],
    dtype: torch.dtype,
    generator: torch.Generator,
) -> None:
    linear_map = ConvolutionMap(
        filters=(everything(small, dtype),), signal=everything(grid, dtype)
    )
    w, s = draw(generator, *small, dtype=dtype), draw(generator, *grid, dtype=dtype)
    got = linear_map.apply_factors(w.reshape(-1, 1), s.conj().reshape(-1, 1))
    assert linear_map.out_grid == grid
    assert near(got, wrapped(w.numpy(), s.numpy()).ravel())


def test_circular_convolution_is_that_of_a_circulant_matrix(
    generator: torch.Generator,
) -> None:
    b = gaussian_subspace((11,), 4, generator=generator)
    c = gaussian_subspace((11,), 3, generator=generator)
    linear_map = ConvolutionMap(filters=(b,), signal=c)
    # Column (k, n) of the dense map is the convolution of two columns.
    expected = [
        scipy.linalg.circulant(column.numpy()) @ other.numpy()
        for column in basis_matrix(b).T
        for other in basis_matrix(c).T
    ]
    assert near(dense_matrix(linear_map), np.stack(expected, axis=1), 1e-14)


@pytest.mark.parametrize("filter_name", ["support", "wavelet", "scrambled, even size"])
@pytest.mark.parametrize("boundary", ["circular", "full"])
def test_every_kind_of_subspace_may_be_convolved(
    filter_name: str, boundary: Boundary, generator: torch.Generator
) -> None:
    b = SUBSPACES[filter_name](generator)
    c = scrambled_subspace(b.grid, 4, generator=generator)
    linear_map = ConvolutionMap(filters=(b,), signal=c, boundary=boundary)
    assert adjoint_test(linear_map, generator=generator) < 1e-13
    left, right = draw(generator, b.dimension, 2), draw(generator, 4, 2)
    expected = sum(
        wrapped((basis_matrix(b) @ h).numpy(), (basis_matrix(c) @ x).numpy())
        if boundary == "circular"
        else np.convolve(basis_matrix(b) @ h, basis_matrix(c) @ x)
        for h, x in zip(left.T, right.T, strict=True)
    )
    assert near(linear_map.apply_factors(left, right), expected)


@DTYPES
def test_channels_share_the_signal_and_stand_one_after_the_other(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    filters = tuple(
        gaussian_subspace((4,), k, generator=generator, dtype=dtype) for k in (2, 3, 1)
    )
    signal = gaussian_subspace((9,), 5, generator=generator, dtype=dtype)
    linear_map = ConvolutionMap(filters=filters, signal=signal, boundary="valid")
    assert linear_map.in_shape == (6, 5)
    left = draw(generator, 6, 2, dtype=dtype)
    right = draw(generator, 5, 2, dtype=dtype)
    got = linear_map.apply_factors(left, right).reshape(3, 6)
    signals = linear_map.signal_of(right)
    expected_signals = (basis_matrix(signal) @ right.conj()).T
    assert near(signals, expected_signals, 1e-14)
    for b, w, rows, seen in zip(
        filters, linear_map.filters_of(left), left.split([2, 3, 1]), got, strict=True
    ):
        assert near(w, (basis_matrix(b) @ rows).T, 1e-14)
        pairs = zip(signals, w, strict=True)
        total = sum(np.convolve(s, kernel, mode="valid") for s, kernel in pairs)
        assert near(seen, total)


def test_filters_on_different_grids_may_share_a_circle(
    generator: torch.Generator,
) -> None:
    filters = (everything((3,), torch.float64), everything((5,), torch.float64))
    linear_map = ConvolutionMap(filters=filters, signal=everything((5,), torch.float64))
    h, s = draw(generator, 8), draw(generator, 5)
    got = linear_map.apply_factors(h[:, None], s[:, None])
    assert near(got[:5], wrapped(h[:3].numpy(), s.numpy()))
    assert near(got[5:], wrapped(h[3:].numpy(), s.numpy()))
    assert adjoint_test(linear_map, generator=generator) < 1e-13


@DTYPES
@pytest.mark.parametrize("grid", [(9,), (3, 4)])
def test_fourier_rows_make_rank_one_measurements(
    grid: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator
) -> None:
    filters = tuple(
        gaussian_subspace(grid, k, generator=generator, dtype=dtype) for k in (2, 3)
    )
    signal = gaussian_subspace(grid, 4, generator=generator, dtype=dtype)
    linear_map = ConvolutionMap(filters=filters, signal=signal)
    matrix = draw(generator, 5, 4, dtype=dtype)
    measured = linear_map.apply(matrix).reshape(2, *grid)
    axes = tuple(range(1, 1 + len(grid)))
    spectra = torch.fft.fftn(measured, dim=axes, norm="ortho").flatten(1)
    rows, columns = linear_map.fourier_rows()
    # The rows are those of the transform's matrix, from SciPy.
    whole = np.ones((1, 1))
    for size in grid:
        whole = np.kron(whole, scipy.linalg.dft(size, scale="sqrtn"))
    expected = math.sqrt(math.prod(grid)) * whole @ basis_matrix(signal).numpy()
    assert near(columns, expected)
    for b, block, spectrum in zip(rows, matrix.split([2, 3]), spectra, strict=True):
        rank_one = RankOneMap(left_vectors=b, right_vectors=columns)
        assert torch.allclose(
            rank_one.apply(block.to(COMPLEX)), spectrum, rtol=0.0, atol=1e-12
        )


def test_fourier_rows_of_linear_convolution_are_those_of_the_padded_circle(
    generator: torch.Generator,
) -> None:
    b, c = (gaussian_subspace((n,), 2, generator=generator) for n in (4, 7))
    linear_map = ConvolutionMap(filters=(b,), signal=c, boundary="full")
    (rows,), columns = linear_map.fourier_rows()
    matrix = draw(generator, 2, 2)
    spectrum = RankOneMap(left_vectors=rows, right_vectors=columns).apply(
        matrix.to(COMPLEX)
    )
    whole = torch.fft.ifft(spectrum, norm="ortho")
    assert near(whole.real[:10], linear_map.apply(matrix).numpy())


@DTYPES
def test_the_law_of_random_signals_holds_in_the_mean(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    size, draws = 4, 1000
    b = SUBSPACES["matrix orthonormal"](generator) if dtype.is_complex else None
    b = b or SupportSubspace(indices=torch.arange(4), shape=(6,))
    matrix = draw(generator, 4, size, dtype=dtype)
    total = torch.zeros(6, dtype=torch.float64)
    for _ in range(draws):
        c = gaussian_subspace((6,), size, generator=generator, dtype=dtype)
        total += ConvolutionMap(filters=(b,), signal=c).apply(matrix).abs() ** 2
    expected = float(torch.linalg.vector_norm(matrix)) ** 2 / 6.0
    # Squares of normal numbers have relative deviation at most sqrt 2.
    deviation = (total / draws / expected - 1.0).abs().max()
    assert float(deviation) < 5.0 * math.sqrt(2.0 / draws)


def test_a_law_is_handed_on() -> None:
    whole = everything((3,), torch.float64)
    law = Isotropy(second_moment=1.0 / 3.0, is_gaussian=False)
    linear_map = ConvolutionMap(filters=(whole,), signal=whole, isotropy=law)
    assert linear_map.spec.isotropy is law
    assert ConvolutionMap(filters=(whole,), signal=whole).spec.isotropy is None


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_a_matrix_is_passed_in_blocks(
    shape: tuple[int, int],
    num_channels: int,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, columns = shape
    filters = tuple(
        gaussian_subspace((6,), rows, generator=generator) for _ in range(num_channels)
    )
    linear_map = ConvolutionMap(
        filters=filters, signal=gaussian_subspace((6,), columns, generator=generator)
    )
    matrix = draw(generator, 2, *linear_map.in_shape)
    measured = draw(generator, 2, linear_map.num_measurements)
    whole = linear_map.apply(matrix), linear_map.adjoint_apply(measured)
    widths: list[int] = []
    transform = module.ConvolutionGrid.transform

    def counted(self: module.ConvolutionGrid, signals: Tensor) -> Tensor:
        widths.append(signals[..., 0].numel())
        return transform(self, signals)

    monkeypatch.setattr(module.ConvolutionGrid, "transform", counted)
    monkeypatch.setattr(module, "_BLOCK", 6 * 2 * 2)
    blocks = linear_map.apply(matrix), linear_map.adjoint_apply(measured)
    for one, two in zip(whole, blocks, strict=True):
        assert torch.allclose(one, two, rtol=0.0, atol=1e-14)
    # At most two columns of each of two matrices at once.
    assert max(widths) == 4


def test_factors_are_transformed_once(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, c = (gaussian_subspace((8,), 3, generator=generator) for _ in range(2))
    linear_map = ConvolutionMap(filters=(b,), signal=c)
    left, right, d_left, d_right = (draw(generator, 3, 2) for _ in range(4))
    count = 0
    transform = module.ConvolutionGrid.transform

    def counted(self: module.ConvolutionGrid, signals: Tensor) -> Tensor:
        nonlocal count
        count += signals.shape[:-1].numel()
        return transform(self, signals)

    monkeypatch.setattr(module.ConvolutionGrid, "transform", counted)
    weights = torch.ones(8, dtype=torch.float64)
    residual_and_products(linear_map, left, right, weights, weights)
    assert count == 2 * 2 + 1
    count = 0
    line_terms(linear_map, left, right, d_left, d_right)
    assert count == 4 * 2


def test_derivatives_pass_through(generator: torch.Generator) -> None:
    b, c = (gaussian_subspace((5,), 2, generator=generator) for _ in range(2))
    linear_map = ConvolutionMap(filters=(b,), signal=c, boundary="full")
    left = draw(generator, 2, 2).requires_grad_()
    right, measured = draw(generator, 2, 2), draw(generator, 9)
    (linear_map.apply_factors(left, right) * measured).sum().backward()
    expected = linear_map.adjoint_times(measured, left.detach(), right)[0]
    assert left.grad is not None
    assert torch.allclose(left.grad, expected, rtol=0.0, atol=1e-13)


def test_parts_that_do_not_fit_are_refused() -> None:
    signal = everything((4,), torch.float64)
    complex_signal = everything((4,), COMPLEX)
    generator = make_generator(0)
    with pytest.raises(ShapeError, match="filters is empty"):
        ConvolutionMap(filters=(), signal=signal)
    with pytest.raises(InputError, match="must share dtype and device"):
        ConvolutionMap(filters=(complex_signal,), signal=signal)
    with pytest.raises(InputError, match="circular, full, valid, same; got 'wrap'"):
        ConvolutionMap(filters=(signal,), signal=signal, boundary="wrap")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match="grids of as many dimensions"):
        ConvolutionMap(
            filters=(gaussian_subspace((2, 2), 1, generator=generator),), signal=signal
        )
