import math
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.scale import (
    Scale,
    error_up_to_scale,
    fix_scale,
    multiplied,
    scale_factor,
)

KERNEL = torch.tensor([1.0 + 1.0j, -2.0j, 0.5], dtype=torch.complex128)
SIGNAL = torch.tensor([3.0, 1.0j], dtype=torch.complex128)


@pytest.mark.parametrize("scale", ["unit", "sum", "balanced"])
def test_the_outer_product_stays(scale: Scale) -> None:
    kernel, signal = fix_scale(KERNEL, SIGNAL, scale)
    assert torch.allclose(torch.outer(kernel, signal), torch.outer(KERNEL, SIGNAL))


@pytest.mark.parametrize("scale", ["unit", "sum", "balanced"])
@pytest.mark.parametrize("factor", [2.0, -0.25, 3.0j, 1.0 - 1.0j])
def test_every_pair_with_one_product_gets_the_same_answer(
    scale: Scale, factor: complex
) -> None:
    expected = fix_scale(KERNEL, SIGNAL, scale)
    found = fix_scale(factor * KERNEL, SIGNAL / factor, scale)
    assert torch.allclose(found[0], expected[0])
    assert torch.allclose(found[1], expected[1])


def test_unit_means_norm_one_and_a_positive_peak() -> None:
    kernel, _ = fix_scale(KERNEL, SIGNAL, "unit")
    assert float(torch.linalg.vector_norm(kernel)) == pytest.approx(1.0)
    assert complex(kernel[1]) == pytest.approx(2.0 / 2.5)  # 2 / sqrt(2 + 4 + 1/4)


def test_sum_keeps_the_brightness_of_an_image(generator: torch.Generator) -> None:
    image = torch.rand(6, 6, generator=generator, dtype=torch.float64)
    kernel = torch.rand(3, 3, generator=generator, dtype=torch.float64) - 2.0
    found, scaled = fix_scale(kernel, image, "sum")
    assert float(found.sum()) == pytest.approx(1.0)
    assert float(scaled.sum()) == pytest.approx(float(kernel.sum() * image.sum()))


def test_sum_of_several_channels_is_their_number() -> None:
    kernels = [torch.tensor([1.0, 2.0]), torch.tensor([4.0, -1.0])]
    factor = scale_factor(kernels, torch.ones(2), "sum")
    assert factor == pytest.approx(2.0 / 6.0)


def test_balanced_means_equal_norms() -> None:
    kernel, signal = fix_scale(KERNEL, SIGNAL, "balanced")
    norms = [float(torch.linalg.vector_norm(part)) for part in (kernel, signal)]
    assert norms[0] == pytest.approx(norms[1])
    assert abs(complex(kernel[1]).imag) < 1e-15 < complex(kernel[1]).real


def test_real_tensors_stay_real() -> None:
    kernel = torch.tensor([-1.0, 0.5])
    assert multiplied(kernel, -2.0 + 0.0j).tolist() == [2.0, -1.0]


def test_zero_signals_are_left_alone() -> None:
    assert scale_factor([torch.zeros(3)], torch.ones(2)) == 1.0
    assert scale_factor([torch.ones(3)], torch.zeros(2), "balanced") == 1.0


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="one of unit, sum, balanced; got 'max'"):
        scale_factor([KERNEL], SIGNAL, cast(Any, "max"))
    with pytest.raises(InputError, match="do not cancel"):
        scale_factor([torch.tensor([1.0, -1.0])], torch.ones(1), "sum")
    with pytest.raises(ShapeError, match="empty"):
        scale_factor([], SIGNAL)


@given(st.floats(1e-12, 1.0), st.floats(0.0, 6.0))
def test_error_is_that_of_the_outer_products(size: float, angle: float) -> None:
    turned = KERNEL + size * torch.tensor([angle, 1.0j, -1.0])
    moved = SIGNAL + size * torch.tensor([1.0, angle])
    outer, truth = torch.outer(turned, moved), torch.outer(KERNEL, SIGNAL)
    expected = torch.linalg.norm(outer - truth) / torch.linalg.norm(truth)
    found = error_up_to_scale(
        turned * (2.0 - 1.0j), moved / (2.0 - 1.0j), KERNEL, SIGNAL
    )
    assert found == pytest.approx(float(expected), rel=1e-3, abs=1e-15)


def test_error_of_nothing_is_one_and_of_the_truth_zero() -> None:
    zero = torch.zeros_like(KERNEL)
    assert error_up_to_scale(zero, SIGNAL, KERNEL, SIGNAL) == 1.0
    assert error_up_to_scale(KERNEL, SIGNAL, KERNEL, SIGNAL) < 1e-15
    half = error_up_to_scale(KERNEL / 2.0, SIGNAL, KERNEL, SIGNAL)
    assert math.isclose(half, 0.5, rel_tol=1e-12)


def test_error_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(ShapeError, match="one shape"):
        error_up_to_scale(KERNEL, SIGNAL, SIGNAL, SIGNAL)
    with pytest.raises(InputError, match="truth is zero"):
        error_up_to_scale(KERNEL, SIGNAL, 0.0 * KERNEL, SIGNAL)
