"""The bridge with a stand-in; ``tests/interop`` has the tests with the real package."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recovery_cases import MAPS, dense_matrix, draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.bridges.deepinv import as_deepinv, from_deepinv
from tacit.recovery.maps.linear_map import adjoint_test
from tacit.rng import make_generator

EVERY = pytest.mark.parametrize("name", MAPS)


class _Physics:
    """Built and called as DeepInverse's ``LinearPhysics`` is."""

    def __init__(
        self,
        *,
        A: Callable[[Tensor], Tensor],
        A_adjoint: Callable[[Tensor], Tensor],
        img_size: tuple[int, ...] = (),
    ) -> None:
        self.A, self.A_adjoint, self.img_size = A, A_adjoint, img_size


def _crop(image: Tensor) -> Tensor:
    assert image.dim() == 4
    return image[..., 1:, :-1]


def _pad(cropped: Tensor) -> Tensor:
    return torch.nn.functional.pad(cropped, (0, 1, 1, 0))


CROP = _Physics(A=_crop, A_adjoint=_pad)


def test_the_matrix_is_an_image_of_one_channel(generator: torch.Generator) -> None:
    linear_map = from_deepinv(CROP, (3, 4), dtype=torch.float64, generator=generator)
    assert linear_map.num_measurements == 6
    matrix = draw(generator, 2, 3, 4)
    assert torch.equal(linear_map.apply(matrix), matrix[:, 1:, :-1].flatten(1))


def test_channels_can_be_rows(generator: torch.Generator) -> None:
    linear_map = from_deepinv(
        CROP, (5, 12), image_shape=(5, 3, 4), dtype=torch.float64, generator=generator
    )
    matrix = draw(generator, 5, 12)
    expected = matrix.unflatten(-1, (3, 4))[:, 1:, :-1].flatten()
    assert torch.equal(linear_map.apply(matrix), expected)


def test_a_wrong_adjoint_is_found_if_asked_for(generator: torch.Generator) -> None:
    def shifted(cropped: Tensor) -> Tensor:
        return torch.nn.functional.pad(cropped, (1, 0, 1, 0))

    physics = _Physics(A=_crop, A_adjoint=shifted)
    from_deepinv(physics, (3, 4))
    with pytest.raises(InputError, match="breaks the law of adjointness"):
        from_deepinv(physics, (3, 4), generator=generator)


def test_what_is_no_linear_physics_is_refused() -> None:
    nothing: Any = object()
    with pytest.raises(InputError, match="object lacks A and A_adjoint"):
        from_deepinv(nothing, (3, 4))
    with pytest.raises(ShapeError, match=r"must have 12 entries .* got \(2, 3, 4\)"):
        from_deepinv(CROP, (3, 4), image_shape=(2, 3, 4))

    def of_doubles(image: Tensor) -> Tensor:
        return image.flatten(1) @ torch.ones(12, 2, dtype=torch.float64)

    physics = _Physics(A=of_doubles, A_adjoint=of_doubles)
    with pytest.raises(InputError, match=r"\(1, 1, 3, 4\), torch.float32 .* raised"):
        from_deepinv(physics, (3, 4))

    def in_parts(image: Tensor) -> Any:
        return [image, image]

    physics = _Physics(A=in_parts, A_adjoint=_pad)
    with pytest.raises(InputError, match="one tensor; got list"):
        from_deepinv(physics, (3, 4))


@EVERY
def test_every_map_becomes_physics_and_comes_back(name: str) -> None:
    generator = make_generator(0, name)
    linear_map = MAPS[name](generator)
    physics = as_deepinv(linear_map, _Physics)
    assert physics.img_size == (1, *linear_map.in_shape)
    image = draw(generator, 3, 1, *linear_map.in_shape, dtype=linear_map.spec.dtype)
    assert torch.equal(physics.A(image), linear_map.apply(image[:, 0]))
    assert physics.A_adjoint(physics.A(image)).shape == image.shape
    back = from_deepinv(physics, linear_map.in_shape, dtype=linear_map.spec.dtype)
    adjoint_test(back, generator=generator)


@EVERY
def test_gradients_are_those_of_the_dense_map(name: str) -> None:
    generator = make_generator(0, name)
    linear_map = MAPS[name](generator)
    dtype = linear_map.spec.dtype
    dense = dense_matrix(linear_map)
    physics = as_deepinv(linear_map, _Physics)
    image = draw(generator, 2, 1, *linear_map.in_shape, dtype=dtype)
    image.requires_grad_(True)
    measured = physics.A(image)
    # Half the squared norm: its gradient is A^* A X, and that of the next, twice more.
    measured.abs().square().sum().mul(0.5).backward()
    vector = image.detach().flatten(1)
    normal = dense.mH @ dense
    limit = 1e3 * torch.finfo(dtype).eps * (1.0 + float(normal.abs().max())) ** 2
    assert image.grad is not None
    assert torch.allclose(image.grad.flatten(1), vector @ normal.mT, atol=limit)
    image = image.detach().requires_grad_(True)
    back = physics.A_adjoint(physics.A(image))
    back.abs().square().sum().mul(0.5).backward()
    assert image.grad is not None
    expected = vector @ (normal @ normal).mT
    assert torch.allclose(image.grad.flatten(1), expected, atol=limit * 10.0)
