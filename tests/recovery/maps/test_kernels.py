import numpy as np
import pytest
import torch

from recovery_cases import draw
from tacit.compiled import even_bounds, run_in_threads
from tacit.recovery.maps.kernels import (
    as_array,
    fused_pass,
    fused_pass_pair,
    new_tensor,
    num_threads,
)

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 64, 131])
@pytest.mark.parametrize("num_parts", [1, 3])
def test_a_pass_is_two_dense_products(
    dtype: torch.dtype, size: int, num_parts: int, generator: torch.Generator
) -> None:
    num_rows = 20
    matrix = draw(generator, num_rows, size, dtype=dtype)
    vectors = draw(generator, 2, size, dtype=dtype)
    offsets = draw(generator, 2, num_rows, dtype=dtype)
    weights = torch.rand(num_rows, generator=generator).to(matrix.real.dtype)
    residuals = vectors @ matrix.T - offsets
    gradients = (weights * residuals) @ matrix.conj()
    bounds = even_bounds(num_rows, num_parts, 4)
    atol = 50.0 * size**0.5 * num_rows * torch.finfo(dtype).eps

    single = torch.zeros(num_rows, dtype=dtype), torch.zeros(3, size, dtype=dtype)
    pair = torch.zeros(2, num_rows, dtype=dtype), torch.zeros(3, 2, size, dtype=dtype)

    def run_single(part: int, start: int, stop: int) -> None:
        inputs = (vectors[0].numpy(), offsets[0].numpy(), weights.numpy())
        outputs = single[0].numpy(), single[1][part].numpy()
        fused_pass(matrix.numpy(), *inputs, *outputs, start, stop)

    def run_pair(part: int, start: int, stop: int) -> None:
        inputs = (vectors.numpy(), offsets.numpy(), weights.numpy())
        outputs = pair[0].numpy(), pair[1][part].numpy()
        fused_pass_pair(matrix.numpy(), *inputs, *outputs, start, stop)

    run_in_threads(run_single, bounds)
    run_in_threads(run_pair, bounds)
    assert torch.allclose(single[0], residuals[0], rtol=0.0, atol=atol)
    assert torch.allclose(single[1].sum(0), gradients[0], rtol=0.0, atol=atol)
    assert torch.allclose(pair[0], residuals, rtol=0.0, atol=atol)
    assert torch.allclose(pair[1].sum(0), gradients, rtol=0.0, atol=atol)


def test_a_pass_leaves_other_rows_alone(generator: torch.Generator) -> None:
    matrix = draw(generator, 12, 5)
    residual, gradient = torch.full((12,), 7.0).double(), torch.zeros(5).double()
    vector, zeros, ones = draw(generator, 5), np.zeros(12), np.ones(12)
    outputs = residual.numpy(), gradient.numpy()
    fused_pass(matrix.numpy(), vector.numpy(), zeros, ones, *outputs, 4, 8)
    expected = matrix[4:8] @ vector
    assert torch.allclose(residual[4:8], expected, atol=1e-14)
    assert bool((residual[:4] == 7.0).all() and (residual[8:] == 7.0).all())
    assert torch.allclose(gradient, expected @ matrix[4:8], atol=1e-13)


def test_numbers_that_are_not_finite_stay_so() -> None:
    matrix = np.ones((4, 3))
    matrix[1, 1] = np.inf
    matrix[2, 0] = np.nan
    residual, gradient = np.zeros(4), np.zeros(3)
    fused_pass(matrix, np.ones(3), np.zeros(4), np.ones(4), residual, gradient, 0, 4)
    assert residual[0] == residual[3] == 3.0
    assert np.isinf(residual[1])
    assert np.isnan(residual[2])


def test_small_passes_get_one_thread() -> None:
    assert num_threads(0) == 1
    assert num_threads(2**40) == torch.get_num_threads()


@pytest.mark.parametrize("dtype", DTYPES)
def test_new_tensors_take_the_dtype(dtype: torch.dtype) -> None:
    fresh = new_tensor(torch.zeros(1, dtype=dtype).conj(), 3, 2)
    assert (fresh.dtype, fresh.shape) == (dtype, (3, 2))
    assert fresh.is_contiguous()


def test_arrays_are_views_where_they_can_be(generator: torch.Generator) -> None:
    tensor = draw(generator, 3, 2, dtype=torch.complex128)
    assert as_array(tensor).ctypes.data == tensor.data_ptr()
    assert (as_array(tensor.mH) == tensor.numpy().conj().T).all()
    assert (as_array(tensor.mH.imag) == -as_array(tensor.imag).T).all()
    assert as_array(tensor.mT).flags.c_contiguous
