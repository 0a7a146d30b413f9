import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.func import vmap

from saddle_cases import draw
from tacit.minimax import mean_kernels
from tacit.minimax.mean_kernels import (
    mean_active_latents,
    plain_array,
    pull_back,
    push_forward,
)

# Odd and even, below, at and above one vector, one block, and four neurons.
SIZES = [
    (1, 1, 1, 1),
    (2, 1, 1, 3),
    (3, 5, 2, 16),
    (4, 3, 3, 17),
    (9, 4, 10, 50),
    (6, 7, 5, 512),
    (5, 9, 4, 513),
    (7, 2, 3, 1100),
]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@pytest.mark.parametrize(("width", "num_features", "dim", "num_latents"), SIZES)
@DTYPES
def test_kernels_are_dense_products(
    width: int,
    num_features: int,
    dim: int,
    num_latents: int,
    dtype: torch.dtype,
    generator: torch.Generator,
) -> None:
    weights, direction = draw(generator, 2, 3, 2, width, dim)
    latents = draw(generator, 2, num_latents, dim)
    output_weights = draw(generator, 2, num_features, width)
    scores = draw(generator, 3, 2, num_features)
    # In single precision the signs have to be found in the numbers that are given.
    weights, latents = weights.to(dtype).double(), latents.to(dtype).double()
    active = (weights @ latents.mT > 0).double()
    means = active @ latents / num_latents
    hidden = (means * direction).sum(-1, keepdim=True)
    pushed = (output_weights @ hidden).squeeze(-1)
    pulled = (output_weights.mT @ scores.unsqueeze(-1)) * means

    def given(tensor: torch.Tensor) -> mean_kernels.Array:
        return tensor.to(dtype).numpy()

    atol = 200 * torch.finfo(dtype).eps
    ours = mean_active_latents(given(weights), given(latents))
    assert np.allclose(ours, means.numpy(), rtol=0, atol=atol)
    ours = push_forward(given(means), given(direction), given(output_weights))
    assert np.allclose(ours, pushed.numpy(), rtol=0, atol=atol)
    ours = pull_back(given(means), given(scores), given(output_weights))
    assert np.allclose(ours, pulled.numpy(), rtol=0, atol=atol)
    assert ours.dtype == given(means).dtype


def test_parts_in_threads_change_nothing(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, latents = draw(generator, 2, 11, 5).numpy(), draw(generator, 9, 5).numpy()
    alone = mean_active_latents(weights, latents)
    monkeypatch.setattr(mean_kernels, "_PRODUCTS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert (mean_active_latents(weights, latents) == alone).all()


def test_a_weight_that_is_no_number_stays_in_its_row(
    generator: torch.Generator,
) -> None:
    weights, latents = draw(generator, 6, 3), draw(generator, 40, 3)
    weights[1, 2] = float("nan")
    means = mean_active_latents(weights.numpy(), latents.numpy())
    expected = (weights @ latents.mT > 0).double() @ latents / 40
    assert np.allclose(means, expected.numpy(), rtol=0, atol=1e-14)
    assert not means[1].any()


def test_numbers_are_seen_where_torch_only_holds_them() -> None:
    tensor = torch.ones(2, 3)
    array = plain_array(tensor)
    assert array is not None
    assert array.ctypes.data == tensor.data_ptr()
    strided = plain_array(tensor.mT)
    assert strided is not None
    assert strided.flags.c_contiguous
    leaf = torch.ones(2, requires_grad=True)
    assert plain_array(leaf) is None
    with torch.no_grad():
        assert plain_array(leaf * 2) is not None


def test_numbers_are_not_seen_where_torch_follows_them() -> None:
    tensor = torch.ones(2, 3)
    seen: list[bool] = []

    def look(part: torch.Tensor) -> torch.Tensor:
        seen.append(plain_array(part) is not None)
        return part

    vmap(look)(tensor)
    torch.func.jvp(look, (tensor,), (tensor,))
    torch.func.vjp(look, tensor)
    with forward_ad.dual_level():
        look(forward_ad.make_dual(tensor, tensor))
    look(tensor.to("meta"))
    look(tensor.bfloat16())
    assert seen == [False] * 6


def test_numbers_are_not_seen_while_torch_compiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert plain_array(torch.ones(2)) is None
