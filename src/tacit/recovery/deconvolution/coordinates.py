r"""The same problem in orthonormal coordinates of its subspaces, and the way back."""

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.recovery.deconvolution.problem import source_maps
from tacit.recovery.maps.blocks import BlockDiagonalMap
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.subspaces.matrix import orthonormalised


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    r"""One source's filters and signal, on their grids and as coefficients.

    Parameters
    ----------
    filters, filter_coefficients : tuple of Tensor
        One for each channel.
    signal, signal_coefficients : Tensor
    """

    filters: tuple[Tensor, ...]
    filter_coefficients: tuple[Tensor, ...]
    signal: Tensor
    signal_coefficients: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class OrthonormalProblem:
    r"""A deconvolution whose subspaces all have orthonormal columns.

    The nuclear norm of :math:`h x^T` is :math:`\|h\| \|x\|`: with columns that are not
    orthonormal it would depend on which basis of the subspace was chosen. With
    orthonormal ones it is :math:`\|B h\| \|C x\|` for every basis.

    Parameters
    ----------
    problem : RecoveryProblem
        In those coordinates.
    maps : tuple of ConvolutionMap
        One for each source, in those coordinates.
    triangles : tuple of tuple of Tensor
        For every source, R of every filter's subspace and of the signal's (last):
        coefficients c there are :math:`R^{-1} c` in the given basis.
    num_changed : int
        Number of subspaces that were not orthonormal.
    """

    problem: RecoveryProblem
    maps: tuple[ConvolutionMap, ...]
    triangles: tuple[tuple[Tensor, ...], ...]
    num_changed: int

    def blocks(self, left: Tensor, right: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the rows of the factors that belong to every source."""
        shapes = [part.in_shape for part in self.maps]
        lefts = left.split([shape[0] for shape in shapes])
        rights = right.split([shape[1] for shape in shapes])
        return list(zip(lefts, rights, strict=True))

    def source(self, place: int, left: Tensor, right: Tensor) -> Source:
        r"""Return what a pair of vectors stands for: h and the conjugate of x.

        Parameters
        ----------
        place : int
            Which source.
        left : Tensor, shape (sum of K,)
        right : Tensor, shape (N,)
        """
        part = self.maps[place]
        *filter_triangles, signal_triangle = self.triangles[place]
        sizes = [subspace.dimension for subspace in part.filters]
        x = right.conj().resolve_conj()
        return Source(
            filters=tuple(kernels[0] for kernels in part.filters_of(left[:, None])),
            filter_coefficients=tuple(
                _divided(triangle, own)
                for triangle, own in zip(
                    filter_triangles, left.split(sizes), strict=True
                )
            ),
            signal=part.signal.synthesise(x),
            signal_coefficients=_divided(signal_triangle, x),
        )


def in_orthonormal_coordinates(problem: RecoveryProblem) -> OrthonormalProblem:
    """Return the problem with orthonormal bases of the same subspaces.

    Parameters
    ----------
    problem : RecoveryProblem
        Of convolutions.

    Returns
    -------
    OrthonormalProblem
        Without ``planted`` where a basis was changed.

    Raises
    ------
    InputError
        If the map is not that of a deconvolution, or a subspace's columns are linearly
        dependent.
    """
    given = source_maps(problem.linear_map)
    found = [
        [orthonormalised(space) for space in (*m.filters, m.signal)] for m in given
    ]
    triangles = tuple(tuple(triangle for _, triangle in part) for part in found)
    num_changed = sum(
        space is not old
        for part, m in zip(found, given, strict=True)
        for (space, _), old in zip(part, (*m.filters, m.signal), strict=True)
    )
    if num_changed == 0:
        return OrthonormalProblem(
            problem=problem, maps=given, triangles=triangles, num_changed=0
        )
    maps = tuple(
        ConvolutionMap(
            filters=tuple(space for space, _ in part[:-1]),
            signal=part[-1][0],
            boundary=m.boundary,
        )
        for part, m in zip(found, given, strict=True)
    )
    linear_map = maps[0] if len(maps) == 1 else BlockDiagonalMap(maps=maps)
    return OrthonormalProblem(
        problem=replace(problem, linear_map=linear_map, planted=None),
        maps=maps,
        triangles=triangles,
        num_changed=num_changed,
    )


def _divided(triangle: Tensor, coefficients: Tensor) -> Tensor:
    r"""Return :math:`R^{-1} c`."""
    column = coefficients[:, None]
    return torch.linalg.solve_triangular(triangle, column, upper=True)[:, 0]
