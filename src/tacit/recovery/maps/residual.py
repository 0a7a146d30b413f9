r"""Residual and gradient products of a factored matrix, in one pass if possible."""

from torch import Tensor

from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.maps.transforms import (
    Transforms,
    measured,
    products,
    transformed,
)


def residual_and_products(
    linear_map: AbstractLinearMap,
    left: Tensor,
    right: Tensor,
    measurements: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return :math:`r = \mathcal{A}(L R^H) - y`, :math:`G R` and :math:`G^H L`.

    :math:`G = \mathcal{A}^*(w \circ r)` is the gradient of :math:`\frac12 \sum_i w_i
    |r_i|^2` with respect to :math:`L R^H`. A stored measurement matrix is read once;
    convolutions transform the factors once.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    left : Tensor, shape (..., num_rows, k)
    right : Tensor, shape (..., num_columns, k)
    measurements : Tensor, shape (..., num_measurements)
        y; broadcast against the factors' batch.
    weights : Tensor, shape (num_measurements,)
        w, real: 0 for measurements held out, else 1.

    Returns
    -------
    residual : Tensor, shape (..., num_measurements)
        Not weighted.
    left_product : Tensor, shape (..., num_rows, k)
    right_product : Tensor, shape (..., num_columns, k)
    """
    if isinstance(linear_map, StoredMap):
        return linear_map.residual_and_products(left, right, measurements, weights)
    transforms = transformed(linear_map, left, right)
    residual = measured(linear_map, transforms, transforms)
    if residual.shape[:-1] == measurements.shape[:-1]:
        residual -= measurements
    else:
        residual = residual - measurements
    return residual, *products(linear_map, weights * residual, transforms)


def line_terms(
    linear_map: AbstractLinearMap,
    left: Tensor,
    right: Tensor,
    d_left: Tensor,
    d_right: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Return how measurements change along a line of factors.

    The terms are :math:`a = \mathcal{A}(L D_R^H + D_L R^H)` and
    :math:`b = \mathcal{A}(D_L D_R^H)`. With them

    .. math:: \mathcal{A}((L + s D_L) (R + s D_R)^H) = \mathcal{A}(L R^H) + s a + s^2 b.

    A stored measurement matrix is read once.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    left, d_left : Tensor, shape (..., num_rows, k)
    right, d_right : Tensor, shape (..., num_columns, k)

    Returns
    -------
    linear, quadratic : Tensor, shape (..., num_measurements)
    """
    if isinstance(linear_map, StoredMap):
        return linear_map.line_terms(left, right, d_left, d_right)
    here = transformed(linear_map, left, right)
    there = transformed(linear_map, d_left, d_right)
    return transformed_line_terms(linear_map, here, there)


def transformed_line_terms(
    linear_map: AbstractLinearMap, here: Transforms, there: Transforms
) -> tuple[Tensor, Tensor]:
    """Return what ``line_terms`` returns, from transforms of factors and direction."""
    linear = measured(linear_map, here, there) + measured(linear_map, there, here)
    return linear, measured(linear_map, there, there)
