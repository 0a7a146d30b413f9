r"""The factor that a convolution cannot tell: (a h, x / a) explains as much."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError

Scale = Literal["unit", "sum", "balanced"]

# A sum this much below the sum of moduli is cancellation: dividing by it says nothing.
_SMALLEST_SUM = 1e-6


def scale_factor(
    filters: Sequence[Tensor], signal: Tensor, scale: Scale = "unit"
) -> complex:
    r"""Return the number a with which :math:`(a w, x / a)` obeys a convention.

    Parameters
    ----------
    filters : sequence of Tensor
        The filters w of all channels that share the signal, each on its grid (not as
        coefficients). They are scaled together: their ratios can be told.
    signal : Tensor
        x on its grid.
    scale : {"unit", "sum", "balanced"}
        ``unit``: all filters together have l2 norm one, and their entry of largest
        modulus (the first of several) is real and positive. ``sum``: the entries of all
        filters add up to the number of filters, so that one blurring kernel keeps the
        brightness of an image. ``balanced``: filters and signal have one l2 norm, and
        that entry is real and positive.

    Returns
    -------
    complex
        With imaginary part 0 for real tensors; 1 if the filters or the signal are zero.

    Raises
    ------
    InputError
        If the convention is not one of the three, or the filters' entries cancel so
        that no number makes them sum to that.
    ShapeError
        If there are no filters.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.scale import scale_factor
    >>> scale_factor([torch.tensor([-4.0, 3.0])], torch.tensor([1.0]))
    (-0.2+0j)
    """
    if scale not in get_args(Scale):
        raise InputError(
            f"scale must be one of {', '.join(get_args(Scale))}; got {scale!r}"
        )
    if not filters:
        raise ShapeError("filters is empty; give one for each channel")
    entries = torch.cat([kernel.flatten() for kernel in filters])
    norm = float(torch.linalg.vector_norm(entries))
    signal_norm = float(torch.linalg.vector_norm(signal))
    if norm == 0.0 or signal_norm == 0.0:
        return 1.0 + 0.0j
    if scale == "sum":
        total = complex(entries.sum().item())
        if abs(total) <= _SMALLEST_SUM * float(entries.abs().sum()):
            raise InputError(
                "scale 'sum' needs filters whose entries do not cancel; they sum to "
                f"{abs(total):.1e} with norm {norm:.1e}; take scale 'unit'"
            )
        return len(filters) / total
    peak = complex(entries[int(entries.abs().argmax())].item())
    size = 1.0 / norm if scale == "unit" else math.sqrt(signal_norm / norm)
    return size * peak.conjugate() / abs(peak)


def fix_scale(
    kernel: Tensor, signal: Tensor, scale: Scale = "unit"
) -> tuple[Tensor, Tensor]:
    r"""Return a filter and a signal with the same convolution, by a convention.

    Parameters
    ----------
    kernel : Tensor
        w on its grid.
    signal : Tensor
        x on its grid.
    scale : {"unit", "sum", "balanced"}
        See :func:`scale_factor`.

    Returns
    -------
    kernel, signal : Tensor
        :math:`a w` and :math:`x / a`; new tensors.

    Raises
    ------
    InputError
        See :func:`scale_factor`.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.scale import fix_scale
    >>> fix_scale(torch.tensor([1.0, 3.0]), torch.tensor([2.0]), "sum")
    (tensor([0.2500, 0.7500]), tensor([8.]))
    """
    factor = scale_factor([kernel], signal, scale)
    return multiplied(kernel, factor), multiplied(signal, 1.0 / factor)


def multiplied(tensor: Tensor, factor: complex) -> Tensor:
    """Return the tensor times a number, real if the tensor is."""
    return tensor * (factor if tensor.is_complex() else factor.real)


def error_up_to_scale(
    kernel: Tensor, signal: Tensor, true_kernel: Tensor, true_signal: Tensor
) -> float:
    r"""Return how far a filter and a signal are from the truth, whatever their scale.

    .. math:: \| w x^T - w_0 x_0^T \|_F \,/\, \| w_0 x_0^T \|_F,

    the same for all :math:`(a w, x / a)`; the outer products are not formed.

    Parameters
    ----------
    kernel, true_kernel : Tensor
        w and :math:`w_0`, of one shape; coefficients or on their grid.
    signal, true_signal : Tensor
        x and :math:`x_0`, of one shape.

    Returns
    -------
    float
        1 for a zero answer. Rounding at about the square root of the precision's eps
        is avoided by measuring the parts along the truth and across it.

    Raises
    ------
    ShapeError
        If shapes disagree.
    InputError
        If the truth is zero.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.scale import error_up_to_scale
    >>> kernel, signal = torch.tensor([1.0, 2.0]), torch.tensor([3.0])
    >>> error_up_to_scale(-2 * kernel, signal / -2, kernel, signal)
    0.0
    """
    for found, truth in ((kernel, true_kernel), (signal, true_signal)):
        if found.shape != truth.shape:
            raise ShapeError(
                "an answer and its truth must have one shape; got "
                f"{tuple(found.shape)} and {tuple(truth.shape)}"
            )
    along, across = _split(kernel, true_kernel)
    signal_along, signal_across = _split(signal, true_signal)
    # w = along w0 + across: the four parts of the difference are orthogonal.
    parts = (
        abs(along * signal_along - 1.0),
        abs(along) * signal_across,
        across * abs(signal_along),
        across * signal_across,
    )
    return math.hypot(*parts)


def _split(found: Tensor, truth: Tensor) -> tuple[complex, float]:
    """Return the coefficient along the truth, and the size across over the truth's."""
    found, truth = found.flatten(), truth.flatten()
    size = float(torch.linalg.vector_norm(truth))
    if size == 0.0:
        raise InputError("the truth is zero; no error relative to it exists")
    unit = truth / size
    along = torch.vdot(unit, found)
    across = torch.linalg.vector_norm(found - along * unit)
    return complex(along.item()) / size, float(across) / size
