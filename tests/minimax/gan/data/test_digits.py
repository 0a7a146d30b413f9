"""The digits against scikit-learn's own values."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tacit.minimax.gan.data.digits import digits_pixels


@pytest.fixture(scope="module", name="values")
def fixture_values() -> np.ndarray:
    """Return what scikit-learn has, from 0 to 16."""
    values, _ = load_digits(return_X_y=True)
    return np.asarray(values).reshape(-1, 1, 8, 8)


def test_the_scale_is_the_one_that_is_documented(values: np.ndarray) -> None:
    pixels, _ = digits_pixels()
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (1797, 1, 8, 8))
    np.testing.assert_array_equal(pixels, np.floor(255.0 * values / 16.0 + 0.5))


def test_no_two_values_become_one_pixel(values: np.ndarray) -> None:
    pixels, _ = digits_pixels()
    np.testing.assert_array_equal(np.rint(pixels.numpy() * (16.0 / 255.0)), values)
    assert set(pixels.unique().tolist()) >= {0, 128, 255}


def test_labels_are_the_digits() -> None:
    _, labels = digits_pixels()
    _, expected = load_digits(return_X_y=True)
    assert labels.dtype == torch.int64
    np.testing.assert_array_equal(labels, np.asarray(expected))
