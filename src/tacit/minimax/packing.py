"""Named tensors as one flat vector, which is what a player chooses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import ShapeError


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Packing:
    """Named tensors as one flat vector, one after the other.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Shape of each tensor, in the order in which they are packed.

    Examples
    --------
    >>> import tacit, torch
    >>> packing = tacit.Packing(shapes={"weight": (2, 3), "bias": (2,)})
    >>> packing.size
    8
    >>> packing.unpack(torch.arange(8.0))["bias"]
    tensor([6., 7.])
    """

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """Number of entries of the flat vector."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def pack(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return all tensors, batch dimensions first, as one of shape (*batch, size).

        Raises
        ------
        ShapeError
            If the names or the last dimensions are not those of ``shapes``.
        """
        if set(tensors) != set(self.shapes):
            raise ShapeError(
                f"tensors must be named {sorted(self.shapes)}; got {sorted(tensors)}"
            )
        parts: list[Tensor] = []
        for name, shape in self.shapes.items():
            tensor = tensors[name]
            split = tensor.ndim - len(shape)
            if split < 0 or tuple(tensor.shape[split:]) != shape:
                raise ShapeError(
                    f"{name} must have shape {('...', *shape)}; got "
                    f"{tuple(tensor.shape)}"
                )
            parts.append(tensor.reshape((*tensor.shape[:split], math.prod(shape))))
        return torch.cat(parts, -1)

    def unpack(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views of a vector of shape (*batch, size) by their names.

        Raises
        ------
        ShapeError
            If the last dimension is not ``size``.
        """
        if flat.ndim < 1 or flat.shape[-1] != self.size:
            raise ShapeError(
                f"a flat vector must have shape ('...', {self.size}); got "
                f"{tuple(flat.shape)}"
            )
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()], -1)
        return {
            name: part.reshape((*flat.shape[:-1], *shape))
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }
