import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import pytest
import torch
from torch import Tensor

from recovery_cases import MAPS, draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import (
    AbstractLinearMap,
    MapSpec,
    adjoint_test,
    adjoint_times_densely,
    apply_factors_densely,
    require_spec,
)

COMPLEX = torch.complex128
# Takes what a method was given and what it would return, and returns something else.
Patch = Callable[[Tensor, Any], Any]


def unchanged(_: Tensor, value: Any) -> Any:
    return value


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Patched(AbstractLinearMap):
    """A dense map (M times the flattened matrix) of which methods can be replaced."""

    matrix: Tensor
    shape: tuple[int, int]
    patches: dict[str, Patch]

    @property
    def spec(self) -> MapSpec:
        return MapSpec(
            in_shape=self.shape,
            num_measurements=self.matrix.shape[0],
            dtype=self.matrix.dtype,
            device=self.matrix.device,
        )

    def apply(self, matrix: Tensor) -> Tensor:
        value = matrix.flatten(-2) @ self.matrix.T
        return self.patches.get("apply", unchanged)(matrix, value)

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        value = (measurements @ self.matrix.conj()).unflatten(-1, self.shape)
        return self.patches.get("adjoint", unchanged)(measurements, value)

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        value = apply_factors_densely(self, left, right)
        return self.patches.get("factors", unchanged)(left, value)

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        value = adjoint_times_densely(self, measurements, left, right)
        return self.patches.get("times", unchanged)(measurements, value)


def patched(
    generator: torch.Generator,
    dtype: torch.dtype,
    patches: dict[str, Patch] | None = None,
) -> Patched:
    matrix = draw(generator, 6, 12, dtype=dtype)
    return Patched(matrix=matrix, shape=(4, 3), patches=patches or {})


@pytest.mark.parametrize("name", MAPS)
def test_every_map_of_the_library_passes(name: str, generator: torch.Generator) -> None:
    linear_map = MAPS[name](generator)
    worst = adjoint_test(linear_map, generator=generator)
    assert 0.0 <= worst <= 1000.0 * torch.finfo(linear_map.spec.dtype).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, COMPLEX])
def test_a_dense_map_passes(dtype: torch.dtype, generator: torch.Generator) -> None:
    assert adjoint_test(patched(generator, dtype), generator=generator) < 1e-5


def only_batches(change: Callable[[Tensor], Tensor]) -> Patch:
    """Change what a call on a batch returns, and leave single inputs alone."""

    def patch(given: Tensor, value: Any) -> Any:
        return change(value) if given.dim() == 3 else value

    return patch


BROKEN: dict[str, tuple[str, torch.dtype, dict[str, Patch]]] = {
    "affine": ("linearity", torch.float64, {"apply": lambda _, v: v + 1.0}),
    "absolute values": ("linearity", torch.float64, {"apply": lambda _, v: v.abs()}),
    "conjugated": ("linearity", COMPLEX, {"apply": lambda _, v: v.conj()}),
    "batch reversed": (
        "batches of matrices",
        torch.float64,
        {"apply": only_batches(lambda v: v.flip(0))},
    ),
    "batch of vectors reversed": (
        "batches of measurements",
        torch.float64,
        {"adjoint": lambda y, v: v.flip(0) if y.dim() == 2 else v},
    ),
    "batch of factors reversed": (
        "batches of factors",
        torch.float64,
        {"factors": only_batches(lambda v: v.flip(0))},
    ),
    "batch of left products reversed": (
        "batches of products, left",
        torch.float64,
        {"times": lambda y, v: (v[0].flip(0) if y.dim() == 2 else v[0], v[1])},
    ),
    "batch of right products reversed": (
        "batches of products, right",
        torch.float64,
        {"times": lambda y, v: (v[0], v[1].flip(0) if y.dim() == 2 else v[1])},
    ),
    "adjoint too long": ("adjointness", torch.float64, {"adjoint": lambda _, v: 2 * v}),
    "adjoint of the conjugate": (
        "adjointness",
        COMPLEX,
        {"adjoint": lambda _, v: v.conj()},
    ),
    "one product keeps a batch": (
        "batches of products, left",
        torch.float64,
        {"times": lambda y, v: v if y.dim() == 2 else (v[0][None], v[1])},
    ),
    "factors halved": ("apply_factors", torch.float64, {"factors": lambda _, v: v / 2}),
    "factors conjugated": (
        "apply_factors",
        COMPLEX,
        {"factors": lambda _, v: v.conj()},
    ),
    "left product negated": (
        "adjoint_times, left",
        torch.float64,
        {"times": lambda _, v: (-v[0], v[1])},
    ),
    "right product conjugated": (
        "adjoint_times, right",
        COMPLEX,
        {"times": lambda _, v: (v[0], v[1].conj())},
    ),
    "not a number": (
        "batches of matrices",
        torch.float64,
        {"apply": lambda _, v: v * math.nan},
    ),
    "rounded to single": (
        "linearity",
        torch.float64,
        {"apply": lambda _, v: v.float().double()},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_map_is_refused_and_its_law_named(
    name: str, generator: torch.Generator
) -> None:
    law, dtype, patches = BROKEN[name]
    linear_map = patched(generator, dtype, patches)
    with pytest.raises(InputError, match=f"the law of {law}: relative mismatch"):
        adjoint_test(linear_map, generator=generator)


def test_rtol_decides_what_is_accepted(generator: torch.Generator) -> None:
    linear_map = patched(
        generator, torch.float64, {"apply": lambda _, v: v.float().double()}
    )
    assert 1e-9 < adjoint_test(linear_map, generator=generator, rtol=1e-6) < 1e-6
    with pytest.raises(InputError, match=r"at most 1\.0e-10"):
        adjoint_test(linear_map, generator=generator, rtol=1e-10)


MISSHAPEN: dict[str, tuple[str, dict[str, Patch]]] = {
    "one measurement short": (
        r"apply must return .* \(2, 6\); got .* \(2, 5\)",
        {"apply": lambda _, v: v[..., 1:]},
    ),
    "one matrix keeps a batch": (
        r"apply of one matrix must .* \(6,\); got .* \(1, 6\)",
        {"apply": lambda x, v: v if x.dim() == 3 else v[None]},
    ),
    "adjoint transposed": (
        r"adjoint_apply must .* \(2, 4, 3\); got .* \(2, 3, 4\)",
        {"adjoint": lambda _, v: v.mT},
    ),
    "one adjoint flattened": (
        r"adjoint_apply of one vector must .* \(4, 3\); got .* \(12,\)",
        {"adjoint": lambda y, v: v if y.dim() == 2 else v.flatten()},
    ),
    "single precision": (
        "apply must return torch.float64 .*; got torch.float32",
        {"apply": lambda _, v: v.float()},
    ),
    "factors summed over the batch": (
        r"apply_factors must .* \(2, 6\); got .* \(6,\)",
        {"factors": lambda _, v: v.sum(0) if v.dim() == 2 else v},
    ),
}


@pytest.mark.parametrize("name", MISSHAPEN)
def test_wrong_shapes_and_dtypes_are_refused(
    name: str, generator: torch.Generator
) -> None:
    message, patches = MISSHAPEN[name]
    linear_map = patched(generator, torch.float64, patches)
    with pytest.raises(InputError, match=message):
        adjoint_test(linear_map, generator=generator)


@pytest.mark.parametrize("side", ["left", "right"])
def test_products_of_a_wrong_shape_are_refused(
    side: str, generator: torch.Generator
) -> None:
    def times(_: Tensor, value: Any) -> Any:
        first, second = value
        return (first.mT, second) if side == "left" else (first, second.mT)

    linear_map = Patched(
        matrix=draw(generator, 6, 20), shape=(4, 5), patches={"times": times}
    )
    with pytest.raises(InputError, match=f"adjoint_times, {side} must return"):
        adjoint_test(linear_map, generator=generator)


def test_the_map_of_nothing_is_linear(generator: torch.Generator) -> None:
    nothing = Patched(matrix=torch.zeros(3, 4), shape=(2, 2), patches={})
    assert adjoint_test(nothing, generator=generator) == 0.0


def test_the_interface_gives_sizes(generator: torch.Generator) -> None:
    linear_map = patched(generator, torch.float64)
    assert linear_map.in_shape == (4, 3)
    assert linear_map.num_measurements == 6


@pytest.mark.parametrize(
    ("shape", "size", "dtype", "error"),
    [
        ((0, 3), 2, torch.float64, ShapeError),
        ((3, 3), 0, torch.float64, ShapeError),
        ((3, 3), 2, torch.int64, InputError),
        ((3, 3), 2, torch.bool, InputError),
    ],
)
def test_an_impossible_spec_is_refused(
    shape: tuple[int, int], size: int, dtype: torch.dtype, error: type[Exception]
) -> None:
    with pytest.raises(error, match="got"):
        MapSpec(
            in_shape=shape,
            num_measurements=size,
            dtype=dtype,
            device=torch.device("cpu"),
        )


def test_a_tensor_of_another_dtype_or_device_is_refused(
    generator: torch.Generator,
) -> None:
    linear_map = patched(generator, torch.float64)
    require_spec(linear_map, "measurements", torch.zeros(6, dtype=torch.float64))
    with pytest.raises(InputError, match=r"measurements must be torch\.float64 on cpu"):
        require_spec(linear_map, "measurements", torch.zeros(6))
    elsewhere = torch.zeros(6, dtype=torch.float64, device="meta")
    with pytest.raises(InputError, match="on meta"):
        require_spec(linear_map, "measurements", elsewhere)
