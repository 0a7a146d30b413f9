"""Named arrays of a file, checked: numbers, places, sizes, names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.readers.archive import Member

Members = Mapping[str, Member]


def only_one(members: Members, names: tuple[str, ...], what: str) -> str:
    """Return which of the arrays is there.

    Raises
    ------
    InputError
        If there are none or several.
    """
    found = [name for name in names if name in members]
    if len(found) != 1:
        raise InputError(
            f"{what} must be given by one of {', '.join(names)}; got "
            f"{' and '.join(found) or 'none of them'} among "
            f"{', '.join(sorted(members))[:200] or 'no arrays'}"
        )
    return found[0]


def numbers(members: Members, name: str) -> Tensor:
    """Return an array of finite numbers in double precision, real or complex.

    Raises
    ------
    InputError
        If it holds anything else, or is empty.
    """
    array = members[name]
    if array.dtype.kind not in "iufcb":
        raise InputError(f"{name} must be numbers; got {array.dtype}")
    if not array.size:
        raise InputError(f"{name} is empty; got shape {array.shape}")
    kind = np.complex128 if array.dtype.kind == "c" else np.float64
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=kind))
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(
            f"{name} has numbers that are not finite; cut them out or fill them in"
        )
    return tensor


def integers(members: Members, name: str) -> Tensor:
    """Return an array of integers of at least 0, int64.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    array = members[name]
    fits = array.dtype.kind in "iu" and (
        not array.size or (array.min() >= 0 and array.max() < 2**62)
    )
    if not fits:
        raise InputError(
            f"{name} must be integers of at least 0; got {array.dtype}"
            + (
                f" from {array.min()}"
                if array.size and array.dtype.kind in "iu"
                else ""
            )
        )
    return torch.from_numpy(array.astype(np.int64))


def sizes(members: Members, name: str, dimensions: int) -> tuple[int, ...]:
    """Return one positive size, or one for each dimension.

    Raises
    ------
    InputError
        If there are others.
    """
    found = tuple(integers(members, name).flatten().tolist())
    if len(found) == 1:
        found *= dimensions
    if len(found) != dimensions or min(found) < 1:
        raise InputError(
            f"{name} must be 1 or {dimensions} positive sizes; got {list(found)[:9]}"
        )
    return found


def text(members: Members, name: str) -> str:
    """Return one name.

    Raises
    ------
    InputError
        If it is no text.
    """
    array = members[name]
    if array.dtype.kind not in "US" or array.size != 1:
        raise InputError(f"{name} must be one text; got {array.dtype} of {array.size}")
    found: Any = array.reshape(-1)[0]
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)


def number(members: Members, name: str) -> float | None:
    """Return one real number, or None if it is not there.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if name not in members:
        return None
    found = numbers(members, name)
    if found.numel() != 1 or found.is_complex():
        raise InputError(f"{name} must be one number; got shape {tuple(found.shape)}")
    return float(found)
