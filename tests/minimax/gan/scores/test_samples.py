import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.scores.samples import checked_pair, checked_samples


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.uint8])
def test_samples_become_float64(dtype: torch.dtype) -> None:
    found = checked_samples(torch.ones(3, 2, dtype=dtype), "x", at_least=3)
    assert found.dtype == torch.float64
    assert torch.equal(found, torch.ones(3, 2, dtype=torch.float64))


def test_gradients_are_left_behind() -> None:
    x = torch.ones(3, 2, requires_grad=True)
    assert not checked_samples(x, "x", at_least=1).requires_grad


@pytest.mark.parametrize("shape", [(3,), (3, 2, 1), (3, 0), ()])
def test_refuses_what_is_no_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"y must have shape \(num_samples, dim"):
        checked_samples(torch.zeros(shape), "y", at_least=0)


def test_refuses_too_few() -> None:
    with pytest.raises(ShapeError, match="x must hold at least 3 samples; got 2"):
        checked_samples(torch.zeros(2, 4), "x", at_least=3)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_refuses_what_is_not_finite(value: float) -> None:
    x = torch.zeros(3, 2)
    x[2, 0] = value
    with pytest.raises(InputError, match="x must be finite"):
        checked_pair(x, torch.zeros(3, 2), at_least=1)
    with pytest.raises(InputError, match="y must be finite"):
        checked_pair(torch.zeros(3, 2), x, at_least=1)


def test_refuses_complex_numbers() -> None:
    with pytest.raises(InputError, match=r"x must be real; got torch\.complex64"):
        checked_samples(torch.zeros(2, 2, dtype=torch.complex64), "x", at_least=1)


def test_refuses_different_dimensions() -> None:
    with pytest.raises(ShapeError, match="of one dimension; got 2 and 3"):
        checked_pair(torch.zeros(2, 2), torch.zeros(2, 3), at_least=1)
