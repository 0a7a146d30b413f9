r"""What the arrays of an ``.npz`` file say of an observed convolution."""

import numpy as np
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.deconvolution.readers.arrays import Members, numbers, sizes, text
from tacit.recovery.deconvolution.readers.bases import FILTER_NAMES, SIGNAL_NAMES
from tacit.recovery.deconvolution.readers.observation import Observation
from tacit.recovery.maps.convolution_grid import Boundary
from tacit.recovery.problem import RecoveryProblem

BOUNDARIES: tuple[Boundary, ...] = ("circular", "full", "valid", "same")


def require_observed(members: Members) -> None:
    """Refuse arrays without an observation.

    Raises
    ------
    InputError
    """
    if "y" not in members:
        raise InputError(
            f"array 'y', what was observed, is missing among "
            f"{', '.join(sorted(members))[:200] or 'no arrays'}; beside it give one of "
            f"{', '.join(FILTER_NAMES)} and one of {', '.join(SIGNAL_NAMES)}"
        )


def observed_from(members: Members) -> Observation:
    """Return what was observed.

    Parameters
    ----------
    members : mapping of str to array
        ``y``: ``grid``, or ``(num_channels, *grid)`` with the array ``num_channels`` or
        a basis ``C`` that says how many dimensions the grid has.

    Returns
    -------
    Observation
        Complex if y, B or C are.

    Raises
    ------
    InputError
        If y is not numbers, not finite, or of another shape.
    """
    values = numbers(members, "y")
    if any(np.iscomplexobj(members[name]) for name in ("B", "C") if name in members):
        values = values.to(torch.complex128)
    if "num_channels" in members:
        (count,) = sizes(members, "num_channels", 1)
        dimensions = values.dim() if count == 1 else values.dim() - 1
    elif "C" in members:
        dimensions = members["C"].ndim - 1
    else:
        dimensions = min(values.dim(), 2)
    if dimensions not in (1, 2) or values.dim() - dimensions not in (0, 1):
        raise InputError(
            "y must have one or two dimensions, and one more in front if there are "
            f"channels; got shape {tuple(values.shape)}"
        )
    if values.dim() == dimensions:
        values = values[None]
    return Observation(values=values, kind="arrays")


def boundary_from(members: Members, wanted: Boundary | None) -> Boundary:
    """Return what was seen of the convolution; circular if nobody says it.

    Raises
    ------
    InputError
        If the file and the caller say different things, or nothing known.
    """
    if "boundary" not in members:
        return wanted or "circular"
    said = text(members, "boundary")
    if said not in BOUNDARIES:
        raise InputError(
            f"boundary must be one of {', '.join(BOUNDARIES)}; got {said!r}"
        )
    if wanted is not None and said != wanted:
        raise InputError(
            f"the file says boundary {said}, --boundary says {wanted}; leave one out"
        )
    return next(kind for kind in BOUNDARIES if kind == said)


def truth_from(
    members: Members, problem: RecoveryProblem
) -> tuple[Tensor, Tensor] | None:
    """Return the true coefficients h and x, if they are there.

    Raises
    ------
    InputError
        If they do not fit the problem.
    """
    if "h" not in members and "x" not in members:
        return None
    if "h" not in members or "x" not in members:
        raise InputError("the truth is h and x; give both, or none")
    dtype = problem.measurements.dtype
    found = [numbers(members, name).flatten() for name in ("h", "x")]
    if any(vector.is_complex() and not dtype.is_complex for vector in found):
        raise InputError("h and x of a real problem must be real")
    shape = tuple(vector.numel() for vector in found)
    if shape != problem.linear_map.in_shape:
        raise InputError(
            f"h and x must have {' and '.join(map(str, problem.linear_map.in_shape))} "
            f"coefficients; got {shape[0]} and {shape[1]}"
        )
    return found[0].to(dtype), found[1].to(dtype)
