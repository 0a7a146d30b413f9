"""The named arguments of an operation, taken out with their types checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.build import Builder, Operand, Value, constant

# What an operation gives: a value or constant, several, a size, or nothing.
Result = Operand | list[Operand] | int | None


@final
@dataclass(frozen=True)
class Arguments:
    """The named arguments of one operation, each taken out with its type checked."""

    items: Mapping[str, object]

    def _wrong(self, name: str, want: str) -> InputError:
        got = self.items.get(name)
        return InputError(f"argument {name!r} must be {want}; got {type(got).__name__}")

    def operand(self, name: str) -> Operand:
        """Return a value or a constant; a number becomes a constant."""
        item = self.items.get(name)
        if isinstance(item, Value | Tensor):
            return item
        if isinstance(item, int | float):
            return torch.tensor(float(item), dtype=torch.float64)
        raise self._wrong(name, "a tensor")

    def value(self, name: str) -> Value:
        """Return a tensor that depends on the input."""
        item = self.operand(name)
        if isinstance(item, Value):
            return item
        raise UnsupportedLayerError(f"argument {name!r} must depend on the input here")

    def operands(self, name: str) -> list[Operand]:
        """Return a list of tensors."""
        item = self.items.get(name)
        if not isinstance(item, list | tuple):
            raise self._wrong(name, "a list of tensors")
        found: list[Operand] = []
        for part in cast("Sequence[object]", item):
            if not isinstance(part, Value | Tensor):
                raise self._wrong(name, "a list of tensors")
            found.append(part)
        return found

    def constant(self, name: str) -> Tensor:
        """Return a constant tensor."""
        return constant(self.operand(name), f"argument {name!r}")

    def optional(self, name: str) -> Tensor | None:
        """Return a constant tensor or None."""
        return None if self.items.get(name) is None else self.constant(name)

    def integer(self, name: str) -> int:
        """Return a whole number."""
        item = self.items.get(name)
        if isinstance(item, int) and not isinstance(item, bool):
            return item
        raise self._wrong(name, "a whole number")

    def integers(self, name: str) -> list[int]:
        """Return a list of whole numbers."""
        item = self.items.get(name)
        if isinstance(item, int):
            return [item]
        if isinstance(item, list | tuple):
            parts = cast("Sequence[object]", item)
            found = [part for part in parts if isinstance(part, int)]
            if len(found) == len(parts):
                return found
        raise self._wrong(name, "a list of whole numbers")

    def number(self, name: str) -> float:
        """Return a number."""
        item = self.items.get(name)
        if isinstance(item, int | float):
            return float(item)
        if isinstance(item, Tensor) and item.numel() == 1:
            return float(item)
        raise self._wrong(name, "a number")

    def optional_number(self, name: str) -> float | None:
        """Return a number or None."""
        return None if self.items.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """Return whether a flag is set."""
        return self.items.get(name) is True

    def text(self, name: str) -> str:
        """Return a string."""
        item = self.items.get(name)
        if isinstance(item, str):
            return item
        raise self._wrong(name, "a word")

    @property
    def first(self) -> Value:
        """Return the first tensor of most operations, which depends on the input."""
        return self.value("self" if "self" in self.items else "input")


Handler = Callable[[Builder, Arguments], Result]
