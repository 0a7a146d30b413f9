import numpy as np
import pytest
import scipy.linalg
import torch

from recovery_cases import draw
from tacit.recovery.hartley import hartley, hartley_at

SIZES = [1, 2, 3, 4, 7, 12]


def transform(size: int) -> np.ndarray:
    """Return the matrix of cosines plus sines, from SciPy."""
    dft = scipy.linalg.dft(size, scale="sqrtn")
    return dft.real - dft.imag


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_matrix_of_cosines_plus_sines(
    size: int, dtype: torch.dtype, generator: torch.Generator
) -> None:
    vectors = draw(generator, 2, 3, size, dtype=dtype)
    got = hartley(vectors)
    assert got.dtype == dtype
    expected = vectors.numpy() @ transform(size)
    atol = 500.0 * torch.finfo(dtype).eps
    assert np.allclose(got.numpy(), expected, rtol=0.0, atol=atol)


@pytest.mark.parametrize("size", SIZES)
def test_some_coefficients_are_picked_in_any_order(
    size: int, generator: torch.Generator
) -> None:
    vectors = draw(generator, 2, size)
    places = torch.randperm(size, generator=generator)[: (size + 1) // 2]
    expected = (vectors.numpy() @ transform(size))[:, places.numpy()]
    got = hartley_at(vectors, places).numpy()
    assert np.allclose(got, expected, rtol=0.0, atol=1e-13)
