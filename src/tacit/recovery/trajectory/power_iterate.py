r"""The power iterate that descent from a small start follows while it is small."""

import math
from typing import final

import torch
from torch import Tensor

from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.problem import RecoveryProblem

# Up to so many entries the back-projection is formed once.
_MAX_FORMED = 4_000_000
# Below this ratio of the r-th to the largest singular value rounding has eaten the
# r-th direction of the iterate.
_SMALLEST_RATIO = 1e-10


@final
class PowerIterate:
    r"""Follows :math:`Z_t = (I + \mu M)^t U_0`.

    M is the back-projection :math:`\mathcal{A}^*(w \circ y)`; symmetric: its Hermitian
    part; rectangular: :math:`[0, M; M^H, 0]`, acting on :math:`U_0 = [L; R]`.

    Parameters
    ----------
    problem : RecoveryProblem
    start : tuple of Tensor
        (left, right), the same tensor twice in a symmetric problem.
    step_size : float
        :math:`\mu`.

    Notes
    -----
    M is formed where it has at most four million entries or the map is stored (and each
    product would form it anew); else each step costs one adjoint. The iterate is
    rescaled as it grows.
    """

    def __init__(
        self,
        problem: RecoveryProblem,
        start: tuple[Tensor, Tensor],
        step_size: float,
    ) -> None:
        linear_map = problem.linear_map
        self._map = linear_map
        self._is_symmetric = problem.is_symmetric
        self._step_size = step_size
        self._measured = problem.weights * problem.measurements
        self._left, self._right = start
        self._is_lost = False
        self._matrix: Tensor | None = None
        if isinstance(linear_map, StoredMap) or (
            math.prod(linear_map.in_shape) <= _MAX_FORMED
        ):
            matrix = linear_map.adjoint_apply(self._measured)
            self._matrix = (matrix + matrix.mH) / 2.0 if self._is_symmetric else matrix

    def advance(self) -> None:
        """Take one step."""
        if self._is_lost:
            return
        if self._matrix is None:
            left, right = self._map.adjoint_times(
                self._measured, self._left, self._right
            )
        else:
            left = self._matrix @ self._right
            right = left if self._is_symmetric else self._matrix.mH @ self._left
        if self._is_symmetric:
            left = (left + right) / 2.0
        left = self._left + self._step_size * left
        right = left if self._is_symmetric else self._right + self._step_size * right
        scale = torch.maximum(
            left.abs().amax((-2, -1), keepdim=True),
            right.abs().amax((-2, -1), keepdim=True),
        )
        scale = scale.clamp(min=torch.finfo(scale.dtype).tiny)  # zero stays zero
        self._left = left / scale
        self._right = self._left if self._is_symmetric else right / scale

    def angle(self, left: Tensor, right: Tensor, rank: int) -> Tensor:
        """Return the sine of the largest angle to a point's leading column space.

        Parameters
        ----------
        left, right : Tensor, shape (..., num_rows, k) and (..., num_columns, k)
        rank : int
            Number of leading left singular vectors, on both sides.

        Returns
        -------
        Tensor, shape (...)
            Float64 on the CPU. NaN from where the iterate's largest direction has grown
            so far past the last one that float64 no longer holds that.
        """
        unknown = torch.full(left.shape[:-2], math.nan, dtype=torch.float64)
        if self._is_lost:
            return unknown
        own, ratio = self._leading(self._left, self._right, rank)
        is_held = (ratio >= _SMALLEST_RATIO).cpu()
        if not bool(is_held.any()):
            # It only gets worse: there is nothing more to follow.
            self._is_lost = True
            return unknown
        other, _ = self._leading(left, right, rank)
        outside = other - own @ (own.mH @ other)
        sine = torch.linalg.svdvals(outside)[..., 0].clamp(max=1.0)
        return torch.where(is_held, sine.to(dtype=torch.float64, device="cpu"), unknown)

    def _leading(self, left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        """Return leading left singular vectors and the last one's relative size."""
        stacked = left if self._is_symmetric else torch.cat((left, right), -2)
        triangle = torch.linalg.qr(stacked, mode="r")[1]
        _, values, rows = torch.linalg.svd(triangle, full_matrices=False)
        image = stacked @ rows[..., :rank, :].mH
        ratio = values[..., rank - 1] / values[..., 0]
        # The columns differ in size, which a QR decomposition does not mind.
        return torch.linalg.qr(image)[0], ratio
