import numpy as np
import pytest
import scipy.ndimage
import torch

from recovery_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.subspaces.subspace import basis_matrix
from tacit.recovery.subspaces.support import SupportSubspace, centred_support


def test_the_basis_is_columns_of_the_identity() -> None:
    places = torch.tensor([5, 0, 3])
    got = basis_matrix(SupportSubspace(indices=places, shape=(2, 3)))
    assert torch.equal(got, torch.eye(6, dtype=torch.float64)[:, places])


@pytest.mark.parametrize(
    ("grid", "shape", "expected"),
    [
        ((8,), (3,), [7, 0, 1]),
        ((8,), (4,), [6, 7, 0, 1]),
        ((4,), (4,), [2, 3, 0, 1]),
        ((5,), (1,), [0]),
        ((3, 4), (3, 1), [8, 0, 4]),
        ((3, 4), (1, 3), [3, 0, 1]),
    ],
)
def test_a_centred_kernel_has_its_middle_at_the_origin(
    grid: tuple[int, ...], shape: tuple[int, ...], expected: list[int]
) -> None:
    assert centred_support(grid, shape).tolist() == expected


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (1, 5), (6, 5)])
def test_a_centred_kernel_blurs_as_scipy_does(
    shape: tuple[int, int], generator: torch.Generator
) -> None:
    grid = (6, 7)
    kernel, image = draw(generator, *shape), draw(generator, *grid)
    blur = ConvolutionMap(
        filters=(SupportSubspace(indices=centred_support(grid, shape), shape=grid),),
        signal=SupportSubspace(indices=torch.arange(42), shape=grid),
    )
    got = blur.apply_factors(kernel.reshape(-1, 1), image.reshape(-1, 1))
    expected = scipy.ndimage.convolve(image.numpy(), kernel.numpy(), mode="wrap")
    assert np.allclose(got.reshape(grid).numpy(), expected, rtol=0.0, atol=1e-13)


def test_what_is_no_support_is_refused() -> None:
    with pytest.raises(ShapeError, match="indices must be a vector"):
        SupportSubspace(indices=torch.zeros(1, 1, dtype=torch.int64), shape=(3,))
    with pytest.raises(InputError, match="indices must be int64; got"):
        SupportSubspace(indices=torch.zeros(1), shape=(3,))
    with pytest.raises(InputError, match="indices is empty"):
        SupportSubspace(indices=torch.arange(0), shape=(3,))
    for wrong in ([0, 6], [-1, 0], [2, 2]):
        with pytest.raises(InputError, match=r"different numbers in 0\.\.5"):
            SupportSubspace(indices=torch.tensor(wrong), shape=(2, 3))
    with pytest.raises(ShapeError, match="one or two positive sizes"):
        SupportSubspace(indices=torch.arange(2), shape=(2, 2, 2))
    with pytest.raises(InputError, match="real or complex floating point"):
        SupportSubspace(indices=torch.arange(2), shape=(2,), dtype=torch.int64)
    for shape in ((4,), (0,), (1, 1)):
        with pytest.raises(ShapeError, match=r"1\.\.size of the grid"):
            centred_support((3,), shape)
