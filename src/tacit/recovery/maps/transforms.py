r"""What a map needs to see of two factors: their transforms.

Rank-one measurements see :math:`a_i^H L` and :math:`b_i^H R`, convolutions see Fourier
transforms; other maps the factors themselves. Transforms are linear in each factor, so
a method that moves along a line transforms the direction alone.
"""

from functools import reduce
from operator import add

import torch
from torch import Tensor

from tacit.recovery.maps.blocks import BlockDiagonalMap
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.rank_one import RankOneMap

Transforms = tuple[Tensor, ...]


def transformed(
    linear_map: AbstractLinearMap, left: Tensor, right: Tensor
) -> Transforms:
    """Return the transforms of two factors.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    left : Tensor, shape (..., num_rows, k)
    right : Tensor, shape (..., num_columns, k)

    Returns
    -------
    tuple of Tensor
        For maps without transforms of their own, the factors.
    """
    if isinstance(linear_map, (ConvolutionMap, RankOneMap)):
        return linear_map.transformed(left, right)
    if isinstance(linear_map, BlockDiagonalMap):
        pairs = zip(linear_map.maps, linear_map.split(left, right), strict=True)
        return tuple(t for part, pair in pairs for t in transformed(part, *pair))
    return left, right


def measured(
    linear_map: AbstractLinearMap, first: Transforms, second: Transforms
) -> Tensor:
    r"""Return :math:`\mathcal{A}(L_1 R_2^H)` for factors 1 and 2, transformed.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    first, second : tuple of Tensor
        What ``transformed`` returned.

    Returns
    -------
    Tensor, shape (..., num_measurements)
    """
    if isinstance(linear_map, (ConvolutionMap, RankOneMap)):
        return linear_map.measured(first, second)
    if isinstance(linear_map, BlockDiagonalMap):
        parts = zip(
            linear_map.maps,
            _by_part(linear_map, first),
            _by_part(linear_map, second),
            strict=True,
        )
        return reduce(add, [measured(*arguments) for arguments in parts])
    return linear_map.apply_factors(first[0], second[1])


def products(
    linear_map: AbstractLinearMap, measurements: Tensor, transforms: Transforms
) -> tuple[Tensor, Tensor]:
    r"""Return :math:`\mathcal{A}^*(y) R` and :math:`\mathcal{A}^*(y)^H L`.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    measurements : Tensor, shape (..., num_measurements)
        y.
    transforms : tuple of Tensor
        Of L and R.

    Returns
    -------
    left_product : Tensor, shape (..., num_rows, k)
    right_product : Tensor, shape (..., num_columns, k)
    """
    if isinstance(linear_map, (ConvolutionMap, RankOneMap)):
        return linear_map.products(measurements, transforms)
    if isinstance(linear_map, BlockDiagonalMap):
        parts = zip(linear_map.maps, _by_part(linear_map, transforms), strict=True)
        pairs = [products(part, measurements, own) for part, own in parts]
        left, right = zip(*pairs, strict=True)
        return torch.cat(left, dim=-2), torch.cat(right, dim=-2)
    return linear_map.adjoint_times(measurements, *transforms)


def moved(transforms: Transforms, step: float, direction: Transforms) -> Transforms:
    """Return the transforms of factors moved along a direction.

    Parameters
    ----------
    transforms, direction : tuple of Tensor
        Of the factors and of the direction.
    step : float
    """
    first = transforms[0] + step * direction[0]
    if transforms[0] is transforms[-1]:  # one factor twice stays one
        return first, first
    rest = zip(transforms[1:], direction[1:], strict=True)
    return first, *(t + step * d for t, d in rest)


def _by_part(linear_map: BlockDiagonalMap, transforms: Transforms) -> list[Transforms]:
    """Return the transforms that belong to every block."""
    found: list[Transforms] = []
    for part in linear_map.maps:
        count = _count(part)
        found.append(transforms[:count])
        transforms = transforms[count:]
    return found


def _count(linear_map: AbstractLinearMap) -> int:
    """Return how many transforms a map has."""
    if isinstance(linear_map, ConvolutionMap):
        return len(linear_map.filters) + 1
    if isinstance(linear_map, BlockDiagonalMap):
        return sum(map(_count, linear_map.maps))
    return 2
