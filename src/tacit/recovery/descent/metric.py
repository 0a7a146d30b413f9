r"""Metrics on factors: what the gradient of one factor is divided by."""

from typing import Literal

import torch
from torch import Tensor

from tacit.errors import InputError

Metric = Literal["euclidean", "scaled", "damped", "loss_damped"]
_IS_DAMPED: dict[str, bool] = {
    "euclidean": False,
    "scaled": False,
    "damped": True,
    "loss_damped": True,
}


def require_metric(metric: str, damping: float) -> None:
    """Refuse an unknown metric, or a damping that it has no use for.

    Raises
    ------
    InputError
        Naming what is accepted.
    """
    if metric not in _IS_DAMPED:
        raise InputError(
            f"metric must be one of {', '.join(_IS_DAMPED)}; got {metric!r}"
        )
    is_valid = 0.0 < damping < float("inf") if _IS_DAMPED[metric] else damping == 0.0
    if not is_valid:
        rule = "a positive number" if _IS_DAMPED[metric] else "left at 0"
        raise InputError(
            f"damping must be {rule} with the metric {metric!r}; got {damping}"
        )


def current_damping(metric: Metric, damping: float, losses: Tensor) -> Tensor:
    r"""Return :math:`\delta` for every run, shape that of ``losses``.

    ``damping`` itself, or times the square root of the loss with ``"loss_damped"``; 0
    with ``"scaled"``.
    """
    if metric == "loss_damped":
        return damping * losses.sqrt()
    return torch.full_like(losses, damping)


def solve_gram(product: Tensor, factor: Tensor, damping: Tensor) -> Tensor:
    r"""Return :math:`P (F^H F + \delta I)^{-1}`.

    Parameters
    ----------
    product : Tensor, shape (..., size, k)
        P.
    factor : Tensor, shape (..., other_size, k)
        F.
    damping : Tensor, shape (...)
        :math:`\delta \ge 0`, real.

    Returns
    -------
    Tensor, shape (..., size, k)
        NaN in runs whose Gram matrix is not positive definite to working precision.

    Notes
    -----
    O((size + other_size) k^2 + k^3) by a Cholesky factorisation.
    """
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    gram = factor.mH @ factor + damping[..., None, None] * identity
    root, info = torch.linalg.cholesky_ex(gram)
    solved = torch.cholesky_solve(product.mH, root).mH
    return torch.where((info == 0)[..., None, None], solved, torch.nan)
