"""The bridges to DeepInverse against the real package: `make interop`.

Not part of `make test`: DeepInverse needs torchvision, some gigabytes.
"""

from collections.abc import Callable
from typing import Any

import deepinv  # pyright: ignore[reportMissingImports]
import pytest
import torch

from recovery_cases import MAPS, dense_matrix, draw, some_entries
from tacit.errors import InputError
from tacit.recovery.bridges.deepinv import as_deepinv, from_deepinv
from tacit.recovery.bridges.functions import FunctionMap
from tacit.recovery.maps.linear_map import adjoint_test
from tacit.recovery.maps.stored import gaussian_map
from tacit.rng import make_generator

PHYSICS: Any = deepinv.physics
EVERY = pytest.mark.parametrize("name", MAPS)
SHAPE = (8, 8)


def _half(generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(SHAPE, generator=generator) < 0.5).float()


# Name to (builder, arguments of from_deepinv); all measure images of 8 x 8.
OPERATORS: dict[str, tuple[Callable[[torch.Generator], Any], dict[str, Any]]] = {
    "gaussian": (
        lambda g: PHYSICS.CompressedSensing(m=20, img_size=(1, *SHAPE), rng=g),
        {},
    ),
    "gaussian float64": (
        lambda g: PHYSICS.CompressedSensing(
            m=20, img_size=(1, *SHAPE), rng=g, dtype=torch.float64
        ),
        {"dtype": torch.float64},
    ),
    "gaussian complex": (
        lambda g: PHYSICS.CompressedSensing(
            m=20, img_size=(1, *SHAPE), rng=g, dtype=torch.cfloat
        ),
        {"dtype": torch.cfloat},
    ),
    "inpainting": (
        lambda g: PHYSICS.Inpainting(img_size=(1, *SHAPE), mask=_half(g)[None]),
        {},
    ),
    "blur": (
        lambda g: PHYSICS.Blur(
            filter=torch.rand(1, 1, 3, 3, generator=g), padding="valid"
        ),
        {},
    ),
    "downsampling": (
        lambda _: PHYSICS.Downsampling(
            img_size=(1, *SHAPE), filter="gaussian", factor=2
        ),
        {},
    ),
    "mri": (
        lambda g: PHYSICS.MRI(img_size=(2, *SHAPE), mask=_half(g)),
        {"image_shape": (2, *SHAPE)},
    ),
    "tomography": (
        lambda _: PHYSICS.Tomography(angles=6, img_width=SHAPE[0], normalize=True),
        {},
    ),
    "structured": (
        lambda g: PHYSICS.StructuredRandom(
            img_size=(1, *SHAPE), output_size=(1, 6, 6), rng=g
        ),
        {},
    ),
    "denoising": (lambda _: PHYSICS.Denoising(), {}),
}


def _bridged(name: str, generator: torch.Generator) -> tuple[Any, FunctionMap]:
    build, arguments = OPERATORS[name]
    physics = build(generator)
    channels = arguments.get("image_shape", (1, *SHAPE))[0]
    shape = (channels * SHAPE[0], SHAPE[1])
    return physics, from_deepinv(physics, shape, generator=generator, **arguments)


@pytest.mark.global_rng
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
@pytest.mark.parametrize("name", OPERATORS)
def test_deepinverse_physics_pass_the_adjoint_test(
    name: str, generator: torch.Generator
) -> None:
    physics, linear_map = _bridged(name, generator)
    spec = linear_map.spec
    matrix = draw(generator, 3, *linear_map.in_shape, dtype=spec.dtype)
    image = matrix.reshape(3, -1, *SHAPE)
    assert torch.equal(linear_map.apply(matrix), physics.A(image).flatten(1))


def test_inpainting_is_a_map_of_entries_with_zeros_between(
    generator: torch.Generator,
) -> None:
    entries = some_entries(generator, SHAPE, 30, torch.float32)
    mask = entries.adjoint_apply(torch.ones(30))
    physics = PHYSICS.Inpainting(img_size=(1, *SHAPE), mask=mask[None])
    linear_map = from_deepinv(physics, SHAPE, generator=generator)
    matrix = draw(generator, *SHAPE, dtype=torch.float32)
    measured = linear_map.apply(matrix)
    assert torch.equal(measured[mask.flatten() > 0.0], entries.apply(matrix))
    assert int((measured == 0.0).sum()) == 64 - 30


def test_physics_in_parts_and_wrong_images_are_refused() -> None:
    parts = PHYSICS.Denoising().stack(PHYSICS.Denoising())
    with pytest.raises(InputError, match="one tensor; got TensorList"):
        from_deepinv(parts, SHAPE)
    single = PHYSICS.CompressedSensing(
        m=5, img_size=(1, *SHAPE), rng=torch.Generator().manual_seed(0)
    )
    with pytest.raises(InputError, match="change image_shape, dtype or device"):
        from_deepinv(single, (9, 9))
    with pytest.raises(InputError, match="int lacks A and A_adjoint"):
        from_deepinv(3, SHAPE)  # pyright: ignore[reportArgumentType]


@EVERY
@pytest.mark.global_rng
def test_every_map_becomes_linear_physics(name: str) -> None:
    generator = make_generator(0, name)
    linear_map = MAPS[name](generator)
    dtype = linear_map.spec.dtype
    physics: Any = as_deepinv(linear_map, PHYSICS.LinearPhysics)
    assert isinstance(physics, PHYSICS.LinearPhysics)
    image = draw(generator, 3, 1, *linear_map.in_shape, dtype=dtype)
    measured = linear_map.apply(image[:, 0])
    assert torch.equal(physics.A(image), measured)
    assert torch.equal(physics(image), measured)  # no noise
    adjoint = physics.A_adjoint(measured)
    assert torch.equal(adjoint[:, 0], linear_map.adjoint_apply(measured))
    mismatch = physics.adjointness_test(u=image, num_samples=3)
    assert float(mismatch) <= 1e4 * torch.finfo(dtype).eps
    back = from_deepinv(physics, linear_map.in_shape, dtype=dtype)
    adjoint_test(back, generator=generator)


@pytest.mark.global_rng
def test_deepinverse_inverts_a_map_and_scales_it(generator: torch.Generator) -> None:
    linear_map = gaussian_map((4, 3), 40, generator=generator)
    physics: Any = as_deepinv(linear_map, PHYSICS.LinearPhysics)
    image = draw(generator, 2, 1, 4, 3)
    # DeepInverse stops at a relative residual of 1e-4 by itself.
    assert torch.allclose(physics.A_dagger(physics.A(image)), image, atol=1e-3)
    norm = physics.compute_sqnorm(image, tol=1e-10, max_iter=2000, verbose=False)
    expected = torch.linalg.matrix_norm(dense_matrix(linear_map), ord=2) ** 2
    assert float(norm) == pytest.approx(float(expected), rel=1e-5)


@EVERY
def test_training_through_a_map_has_the_right_gradient(name: str) -> None:
    generator = make_generator(0, name)
    linear_map = MAPS[name](generator)
    dtype = linear_map.spec.dtype
    physics: Any = as_deepinv(linear_map, PHYSICS.LinearPhysics)
    image = draw(generator, 2, 1, *linear_map.in_shape, dtype=dtype)
    image.requires_grad_(True)
    (0.5 * physics.A(image).abs().square().sum()).backward()
    normal = linear_map.adjoint_apply(linear_map.apply(image.detach()[:, 0]))
    assert image.grad is not None
    eps = 1e3 * torch.finfo(dtype).eps
    assert torch.allclose(image.grad[:, 0], normal, rtol=eps, atol=eps)


def test_a_step_of_deepinverse_lowers_the_misfit(generator: torch.Generator) -> None:
    linear_map = gaussian_map((4, 3), 40, generator=generator)
    physics: Any = as_deepinv(linear_map, PHYSICS.LinearPhysics)
    fidelity: Any = deepinv.optim.data_fidelity.L2()
    image, guess = draw(generator, 2, 1, 1, 4, 3)
    measured = physics.A(image)
    moved = guess - 0.3 * fidelity.grad(guess, measured, physics)
    before = float(fidelity(guess, measured, physics))
    assert float(fidelity(moved, measured, physics)) < before
    expected = linear_map.apply(guess[:, 0]) - measured
    assert before == pytest.approx(0.5 * float(expected.square().sum()), rel=1e-12)
