"""What features must be to be compared."""

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError


def checked_samples(samples: Tensor, name: str, *, at_least: int) -> Tensor:
    """Return samples in float64 on the CPU, if they can be scored.

    Parameters
    ----------
    samples : Tensor, shape (num_samples, dimension)
        Real numbers of any type.
    name : str
        Of the argument, for messages.
    at_least : int
        Fewest samples.

    Returns
    -------
    Tensor, shape (num_samples, dimension)
        May be the samples themselves; not to be written to.

    Raises
    ------
    ShapeError
        If they are no such matrix, or too few.
    InputError
        If they are complex, or not finite.
    """
    shape = tuple(samples.shape)
    if len(shape) != 2 or shape[1] == 0:
        raise ShapeError(
            f"{name} must have shape (num_samples, dimension); got {shape}; flatten "
            "every sample"
        )
    if shape[0] < at_least:
        raise ShapeError(
            f"{name} must hold at least {at_least} samples; got {shape[0]}; draw more"
        )
    if samples.dtype.is_complex:
        raise InputError(f"{name} must be real; got {samples.dtype}")
    found = samples.detach().to("cpu", torch.float64)
    if not bool(found.isfinite().all()):
        raise InputError(
            f"{name} must be finite; some of its values are NaN or infinite: training "
            "has diverged, or the samples need cleaning"
        )
    return found


def checked_pair(x: Tensor, y: Tensor, *, at_least: int) -> tuple[Tensor, Tensor]:
    """Return two sets of samples as :func:`checked_samples` does, of one dimension.

    Parameters
    ----------
    x, y : Tensor, shape (num_samples, dimension)
    at_least : int
        Fewest samples of each.

    Raises
    ------
    ShapeError
        If their dimensions differ, or as :func:`checked_samples`.
    InputError
        As :func:`checked_samples`.
    """
    x = checked_samples(x, "x", at_least=at_least)
    y = checked_samples(y, "y", at_least=at_least)
    check_dimensions(x.shape[1], y.shape[1])
    return x, y


def check_dimensions(x: int, y: int) -> None:
    """Refuse to compare vectors of different lengths.

    Raises
    ------
    ShapeError
        If they are.
    """
    if x != y:
        raise ShapeError(
            f"x and y must have vectors of one dimension; got {x} and {y}: they are "
            "not features of the same extractor"
        )
