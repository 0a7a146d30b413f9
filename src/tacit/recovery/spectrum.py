r"""Spectra of factored matrices, and the rank that a gap in them shows."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Singular values this much below the largest are not looked at for a gap.
_SMALLEST = 1e-4
_CLEAR_GAP = 5.0


def factor_spectrum(left: Tensor, right: Tensor) -> Tensor:
    """Return the singular values of ``left @ right^H``, largest first."""
    if left is right:
        return torch.linalg.svdvals(left).square()
    first = torch.linalg.qr(left).R
    second = torch.linalg.qr(right).R
    return torch.linalg.svdvals(first @ second.mH)


def truncate(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return balanced factors of the best approximation of a smaller rank."""
    return _balanced(left, right, lambda _: rank)


def without_vanished(left: Tensor, right: Tensor, rtol: float) -> tuple[Tensor, Tensor]:
    """Return balanced factors without singular values below a part of the largest.

    One column is left at least.
    """

    def rank_of(values: Tensor) -> int:
        return max(int((values > rtol * values[0]).sum()), 1)

    return _balanced(left, right, rank_of)


def _balanced(
    left: Tensor, right: Tensor, rank_of: Callable[[Tensor], int]
) -> tuple[Tensor, Tensor]:
    """Return balanced factors of the rank that the singular values call for."""
    if left is right:
        basis, root, _ = torch.linalg.svd(left, full_matrices=False)
        rank = rank_of(root.square())
        kept = basis[:, :rank] * root[:rank]
        return kept, kept
    first, second = torch.linalg.qr(left), torch.linalg.qr(right)
    u, values, vh = torch.linalg.svd(first.R @ second.R.mH, full_matrices=False)
    rank = rank_of(values)
    root = values[:rank].sqrt()
    return first.Q @ (u[:, :rank] * root), second.Q @ (vh[:rank].mH * root)


def gap_ratios(spectrum: Tensor) -> Tensor:
    """Return the ratio of each value to the next one, which is largest at a gap.

    Parameters
    ----------
    spectrum : Tensor, shape (k,)
        Real, largest first. Values at rounding level, or negative, count as equal.

    Returns
    -------
    Tensor, shape (k - 1,)
        In double precision, 1 or more; empty for a single value.
    """
    floor = torch.finfo(spectrum.dtype).eps * float(spectrum[0])
    values = spectrum.double().clamp(min=max(floor, torch.finfo(torch.float64).tiny))
    return values[:-1] / values[1:]


def read_rank(spectrum: Tensor) -> tuple[int, float]:
    """Return where a spectrum has its widest gap, and the ratio there.

    Parameters
    ----------
    spectrum : Tensor, shape (k,)
        Singular values, largest first.

    Returns
    -------
    rank : int
        The j with the largest ratio of value j to value j + 1, among values of at
        least 1e-4 times the largest. If that ratio is below 5, the smallest j with at
        least its square root: a rank too small is raised at less cost than one too
        large is lowered.
    gap : float
        The ratio at that j; infinite where the next value is zero, 1 for a single
        value.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.spectrum import read_rank
    >>> read_rank(torch.tensor([1.0, 0.5, 0.005, 0.004]))[0]
    2
    """
    ratios = gap_ratios(spectrum)
    if ratios.numel() == 0 or float(spectrum[0]) <= 0.0:
        return 1, 1.0
    ratios[spectrum[:-1] < _SMALLEST * spectrum[0]] = 0.0
    widest = float(ratios.max())
    if widest < _CLEAR_GAP:
        ratios = ratios[: int((ratios >= math.sqrt(widest)).nonzero()[0, 0]) + 1]
        return len(ratios), float(ratios[-1])
    rank = int(ratios.argmax()) + 1
    return rank, widest


def nuclear_norm_bound(left: Tensor, right: Tensor) -> float:
    """Return at least the nuclear norm of ``left @ right^H``, rounding included."""
    left_core, right_core = torch.linalg.qr(left).R, torch.linalg.qr(right).R
    norm = float(torch.linalg.svdvals(left_core @ right_core.mH).sum())
    # Cancellation between columns: errors scale with the factors, not their product.
    sizes = [float(torch.linalg.vector_norm(factor)) for factor in (left, right)]
    size = max(left.shape[0], right.shape[0])
    return norm + 8.0 * size * torch.finfo(torch.float64).eps * sizes[0] * sizes[1]
