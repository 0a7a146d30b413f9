"""What the optimisers share: one step of Adam or of SGD, and copies of parameters.

The steps are those of torch, by its functional interface: one fused pass over all
parameters of a group where there is such a kernel.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from tacit.errors import InputError

Group = dict[str, Any]
_HAS_FUSED_STEPS = {"cpu", "cuda"}
# What torch's own optimisers use for lists of tensors.
_COPY = torch._foreach_copy_  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
_SUBTRACT = torch._foreach_sub_  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
_ADD = torch._foreach_add_  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
_INTERPOLATE = torch._foreach_lerp_  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def check_groups(optimiser: Optimizer) -> None:
    """Refuse settings that no step can be taken with, and choose the kernel.

    Raises
    ------
    InputError
        If a rate is negative or not finite, a decay rate or the momentum out of range,
        ``eps`` negative, or a parameter not real floating point.
    """
    for group in optimiser.param_groups:
        if not 0.0 <= group["lr"] < math.inf:
            raise InputError(f"lr must be finite and not negative; got {group['lr']}")
        betas = group.get("betas", (0.0, 0.0))
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise InputError(f"betas must be two numbers in [0, 1); got {betas}")
        if not 0.0 <= group.get("eps", 0.0) < math.inf:
            raise InputError(f"eps must be finite and not negative; got {group['eps']}")
        if not -1.0 < group.get("momentum", 0.0) < 1.0:
            raise InputError(
                f"momentum must be between -1 and 1; got {group['momentum']}"
            )
        for parameter in group["params"]:
            if not parameter.dtype.is_floating_point:
                raise InputError(
                    "parameters must be real floating point; got one of "
                    f"{parameter.dtype}"
                )
        # In the group: torch then loads step counters to where the kernel wants them.
        group["fused"] = all(
            parameter.device.type in _HAS_FUSED_STEPS and _is_dense(parameter)
            for parameter in group["params"]
        )


def _is_dense(parameter: Tensor) -> bool:
    """Whether state made like a parameter has its strides."""
    return torch.empty_like(parameter, device="meta").stride() == parameter.stride()


def with_gradient(group: Group) -> list[Tensor]:
    """Return the parameters of a group that have a gradient."""
    return [parameter for parameter in group["params"] if parameter.grad is not None]


def gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients, laid out in memory as their parameters are.

    torch's fused kernels on the CPU read by position in memory and do not compare
    strides: a transposed gradient would be added to the wrong numbers, and one that was
    expanded would be read beyond its end.

    Raises
    ------
    InputError
        If a gradient is sparse.
    """
    laid_out: list[Tensor] = []
    for parameter in parameters:
        gradient = cast("Tensor", parameter.grad)
        if gradient.layout != torch.strided:
            raise InputError(
                f"gradients must be dense; got one of layout {gradient.layout}; build "
                "the layer without sparse gradients"
            )
        if gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        laid_out.append(gradient)
    return laid_out


def adam_step(optimiser: Optimizer, group: Group) -> None:
    """Move the parameters of a group by Adam, and its moments in the state."""
    parameters = with_gradient(group)
    own = [cast("dict[str, Tensor]", optimiser.state[p]) for p in parameters]
    for parameter, state in zip(parameters, own, strict=True):
        if "step" not in state:
            place = parameter.device if group["fused"] else torch.device("cpu")
            state["step"] = torch.zeros((), dtype=torch.float32, device=place)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
    beta1, beta2 = group["betas"]
    adam(
        parameters,
        gradients(parameters),
        [state["exp_avg"] for state in own],
        [state["exp_avg_sq"] for state in own],
        [],
        [state["step"] for state in own],
        fused=group["fused"],
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=0.0,
        eps=group["eps"],
        maximize=group["maximize"],
    )


def sgd_step(optimiser: Optimizer, group: Group) -> None:
    """Move the parameters of a group by SGD, and its momentum in the state."""
    parameters = with_gradient(group)
    momentum = group["momentum"]
    buffers: list[Tensor | None] = [None] * len(parameters)
    if momentum:
        for index, parameter in enumerate(parameters):
            state = optimiser.state[parameter]
            # Zeros from the start: the fused kernel wants all buffers or none, and a
            # parameter may get its first gradient later than others.
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffers[index] = state["momentum_buffer"]
    sgd(
        parameters,
        gradients(parameters),
        buffers,
        fused=group["fused"],
        weight_decay=0.0,
        momentum=momentum,
        lr=group["lr"],
        dampening=0.0,
        nesterov=False,
        maximize=group["maximize"],
    )


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each source into its target."""
    if targets:
        _COPY(list(targets), list(sources))


def subtract_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Subtract each source from its target, in place."""
    if targets:
        _SUBTRACT(list(targets), list(sources))


def add_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Add each source to its target, in place."""
    if targets:
        _ADD(list(targets), list(sources))


def interpolate_all(
    targets: Sequence[Tensor], ends: Sequence[Tensor], weight: float
) -> None:
    """Replace each target t by t + weight (end - t)."""
    if targets:
        _INTERPOLATE(list(targets), list(ends), weight)


def evaluate(closure: Callable[[], float] | None) -> float | None:
    """Return what the closure returns, with gradients switched on."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
