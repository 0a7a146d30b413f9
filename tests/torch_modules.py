"""Small torch modules with numbers of their own, for the tests of the readers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Function(nn.Module):
    """A module of one dense layer and a function of it and the input."""

    def __init__(self, function: Callable[[nn.Module, Tensor], object]) -> None:
        nn.Module.__init__(self)
        self.dense = nn.Linear(6, 6)
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(self.dense, x)


def drawn(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Fill weights and statistics with numbers of its own; variances stay positive."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            fresh = torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            tensor.data = fresh.abs() + 0.3 if "var" in name else 0.6 * fresh
    return module
