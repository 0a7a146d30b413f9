r"""Anderson's extrapolation of a fixed-point iteration, guarded."""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

_DEPTH = 8
_DAMPING = 1e-10
_GROWTH = 2.0


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    r"""The last steps of a fixed-point iteration :math:`x \mapsto x + f(x)`.

    Parameters
    ----------
    targets, residuals : Tensor, shape (depth, size)
        Differences of :math:`x + f(x)` and of f between steps, as real numbers.
    last_target, last_residual : Tensor or None, shape (size,)
        Those of the last step; None before the first.
    best : float
        The least norm of f so far.
    fallback : Tensor or None, shape (size,)
        :math:`x + f(x)` where that was.
    """

    targets: Tensor
    residuals: Tensor
    last_target: Tensor | None
    last_residual: Tensor | None
    best: float
    fallback: Tensor | None

    @staticmethod
    def empty(like: Tensor) -> "Memory":
        """Return a memory of nothing for points of this kind."""
        none = _real(like).new_zeros(0, _real(like).shape[0])
        return Memory(
            targets=none,
            residuals=none,
            last_target=None,
            last_residual=None,
            best=math.inf,
            fallback=None,
        )


def extrapolate(
    memory: Memory, point: Tensor, residual: Tensor
) -> tuple[Tensor, Memory]:
    r"""Return the next point and what is remembered then.

    With differences :math:`\Delta f`, :math:`\Delta g` of f and of :math:`g = x + f(x)`
    over the last eight steps, the next point is :math:`g - \theta^T \Delta g` with real
    weights :math:`\theta` that minimise :math:`\|f - \theta^T \Delta f\|^2`, damped by
    1e-10 of the trace of its matrix. Where f is more than twice as long as ever before,
    it is the g of the shortest f so far, and all is forgotten: without extrapolation,
    averaged maps never lengthen f.

    Parameters
    ----------
    memory : Memory
    point, residual : Tensor, shape (size,)
        x and f(x); real or complex.

    Returns
    -------
    point : Tensor, shape (size,)
    memory : Memory

    References
    ----------
    Walker and Ni, "Anderson acceleration for fixed-point iterations", SIAM Journal on
    Numerical Analysis 49 (2011); recalled. The guard is ours.
    """
    target, f = _real(point + residual), _real(residual)
    size = float(torch.linalg.vector_norm(f))
    targets, residuals = memory.targets, memory.residuals
    if memory.fallback is not None and not size <= _GROWTH * memory.best:
        forgotten = replace(Memory.empty(point), best=memory.best)
        return _like(point, memory.fallback), forgotten
    if memory.last_target is not None and memory.last_residual is not None:
        keep = slice(1 if targets.shape[0] == _DEPTH else 0, None)
        new = (target - memory.last_target)[None]
        targets = torch.cat((targets[keep], new))
        new = (f - memory.last_residual)[None]
        residuals = torch.cat((residuals[keep], new))
    following = target
    if targets.shape[0] > 0:
        gram = residuals @ residuals.T
        gram.diagonal().add_(_DAMPING * float(gram.diagonal().sum()) + 1e-300)
        weights, failure = torch.linalg.solve_ex(gram, residuals @ f)
        if int(failure) == 0:
            following = target - weights @ targets
    is_best = size <= memory.best
    return _like(point, following), Memory(
        targets=targets,
        residuals=residuals,
        last_target=target,
        last_residual=f,
        best=size if is_best else memory.best,
        fallback=target if is_best else memory.fallback,
    )


def _like(point: Tensor, vector: Tensor) -> Tensor:
    """Return the vector of real numbers as one of the point's dtype."""
    if point.is_complex():
        return torch.view_as_complex(vector.reshape(-1, 2))
    return vector


def _real(vector: Tensor) -> Tensor:
    if vector.is_complex():
        return torch.view_as_real(vector.resolve_conj()).reshape(-1)
    return vector
