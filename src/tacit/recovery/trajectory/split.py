r"""Where a factor lies: angles between subspaces, signal part and noise part."""

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError


def principal_angles(first: Tensor, second: Tensor) -> Tensor:
    r"""Return the principal angles between two column spaces.

    With orthonormal bases P and Q of them, Q the one of fewer columns, the cosines are
    the singular values of :math:`P^H Q` and the sines those of :math:`Q - P P^H Q`.
    Each angle is taken from whichever of the two is the smaller, so small angles are as
    accurate as large ones.

    Parameters
    ----------
    first : Tensor, shape (..., size, p)
    second : Tensor, shape (..., size, q)
        Matrices of full column rank.

    Returns
    -------
    Tensor, shape (..., min(p, q))
        In radians, 0 to pi/2, smallest first.

    Raises
    ------
    ShapeError
        If the numbers of rows differ, or there are more columns than rows.

    References
    ----------
    Bjoerck and Golub (1973), Numerical methods for computing angles between linear
    subspaces.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.trajectory.split import principal_angles
    >>> axes = torch.eye(3, dtype=torch.float64)
    >>> principal_angles(axes[:, :2], axes[:, 1:]).cos().round(decimals=12).tolist()
    [1.0, 0.0]
    """
    rows, widths = first.shape[-2], (first.shape[-1], second.shape[-1])
    if second.shape[-2] != rows or max(widths) > rows:
        raise ShapeError(
            "two subspaces need bases with as many rows and no more columns than rows; "
            f"got shapes {tuple(first.shape)} and {tuple(second.shape)}"
        )
    wide, narrow = (first, second) if widths[0] >= widths[1] else (second, first)
    p = torch.linalg.qr(wide)[0]
    q = torch.linalg.qr(narrow)[0]
    inner = p.mH @ q
    cosines = torch.linalg.svdvals(inner).clamp(max=1.0)
    sines = torch.linalg.svdvals(q - p @ inner).flip(-1).clamp(max=1.0)
    return torch.where(sines < cosines, sines.asin(), cosines.acos())


def split_factor(factor: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    r"""Split :math:`U` into the part that carries the signal and the rest.

    .. math:: U = U W W^H + U W_\perp W_\perp^H

    W spans the row space of :math:`V_X^H U`, so the second part, the noise, is
    orthogonal to the signal: :math:`V_X^H U W_\perp = 0`.

    Parameters
    ----------
    factor : Tensor, shape (..., size, k)
        U.
    basis : Tensor, shape (size, r)
        :math:`V_X`, orthonormal columns that span the signal's column space.

    Returns
    -------
    signal : Tensor, shape (..., size, k)
        Of rank min(r, k) at most.
    noise : Tensor, shape (..., size, k)

    Raises
    ------
    InputError
        If the basis is not orthonormal.

    References
    ----------
    Stoeger and Soltanolkotabi (2021), arXiv:2106.15013, section on the proof's
    decomposition.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.trajectory.split import split_factor
    >>> factor = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> signal, noise = split_factor(factor, factor[:, :1] / 2.0)
    >>> signal.tolist(), noise.tolist()
    ([[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]])
    """
    gram = basis.mH @ basis
    excess = float(
        (gram - torch.eye(basis.shape[-1], dtype=gram.dtype, device=gram.device))
        .abs()
        .max()
    )
    if not excess <= 1e3 * torch.finfo(basis.dtype).eps:
        raise InputError(
            "basis must have orthonormal columns; its Gram matrix is off by "
            f"{excess:.1e}; take torch.linalg.qr(basis)[0]"
        )
    rows = torch.linalg.svd(basis.mH @ factor, full_matrices=False)[2]
    signal = (factor @ rows.mH) @ rows
    return signal, factor - signal


def relative_error(
    left: Tensor, right: Tensor, true_left: Tensor, true_right: Tensor
) -> Tensor:
    r"""Return :math:`\|L R^H - X\|_F / \|X\|_F` for X in factors.

    The matrices are not formed: with :math:`[L, L_X] = Q_1 S` and :math:`[R, R_X] = Q_2
    T` the norm is that of a matrix with as many rows as columns of S and T. Unlike the
    expansion in inner products this does not lose half of the digits.

    Parameters
    ----------
    left : Tensor, shape (..., num_rows, k)
    right : Tensor, shape (..., num_columns, k)
    true_left : Tensor, shape (num_rows, r)
    true_right : Tensor, shape (num_columns, r)
        X; not zero.

    Returns
    -------
    Tensor, shape (...)

    Raises
    ------
    ShapeError
        If shapes disagree.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.trajectory.split import relative_error
    >>> ones = torch.ones(4, 1, dtype=torch.float64)
    >>> round(float(relative_error(1.1 * ones, ones, ones, ones)), 12)
    0.1
    """
    left_shapes = left.shape[-2:], true_left.shape
    right_shapes = right.shape[-2:], true_right.shape
    if (
        left_shapes[0][0] != left_shapes[1][0]
        or right_shapes[0][0] != right_shapes[1][0]
        or left.shape[-1] != right.shape[-1]
        or true_left.shape[-1] != true_right.shape[-1]
    ):
        raise ShapeError(
            "factors and truth must agree in rows, and left and right in columns; got "
            f"{tuple(left.shape)}, {tuple(right.shape)} and {tuple(true_left.shape)}, "
            f"{tuple(true_right.shape)}"
        )
    batch, width = left.shape[:-2], left.shape[-1]
    first = torch.cat((left, true_left.expand(*batch, -1, -1)), -1)
    second = torch.cat((right, true_right.expand(*batch, -1, -1)), -1)
    s = torch.linalg.qr(first, mode="r")[1]
    t = torch.linalg.qr(second, mode="r")[1]
    truth = s[..., width:] @ t[..., width:].mH
    found = s[..., :width] @ t[..., :width].mH
    norm = torch.linalg.matrix_norm
    return norm(found - truth) / norm(truth)
