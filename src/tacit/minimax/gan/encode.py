"""Modules, optimisers and random streams as named arrays, and back, bit by bit."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tacit.errors import InputError
from tacit.minimax.gan.checkpoint import Arrays

_Array = npt.NDArray[np.generic]


def encode_tensor(tensor: Tensor) -> _Array:
    """Return a copy of a tensor's numbers.

    Parameters
    ----------
    tensor : Tensor
        On any device.
    """
    return tensor.detach().cpu().contiguous().clone().numpy()


def decode_tensor(arrays: Arrays, name: str) -> Tensor:
    """Return a named array as a tensor of its own on the CPU.

    Parameters
    ----------
    arrays : mapping of str to array
    name : str

    Raises
    ------
    InputError
        If there is no such array.
    """
    if name not in arrays:
        raise InputError(f"the checkpoint lacks {name!r}; it belongs to another run")
    return torch.from_numpy(arrays[name].copy())


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers of a module, by name.

    Parameters
    ----------
    module : Module
    """
    return dict(module.state_dict())


def encode_tensors(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, _Array]:
    """Return named tensors as arrays.

    Parameters
    ----------
    prefix : str
        Goes before every name.
    tensors : mapping of str to Tensor
    """
    return {f"{prefix}/{name}": encode_tensor(t) for name, t in tensors.items()}


def restore_tensors(prefix: str, tensors: Mapping[str, Tensor], arrays: Arrays) -> None:
    """Set named tensors in place.

    Parameters
    ----------
    prefix : str
    tensors : mapping of str to Tensor
        Of a network built as the one that was encoded.
    arrays : mapping of str to array

    Raises
    ------
    InputError
        If a name, shape or type differs.
    """
    _check_names(prefix, {f"{prefix}/{name}" for name in tensors}, arrays)
    with torch.no_grad():
        for name, tensor in tensors.items():
            value = decode_tensor(arrays, f"{prefix}/{name}")
            if value.shape != tensor.shape or value.dtype != tensor.dtype:
                raise InputError(
                    f"the checkpoint's {prefix}/{name} is {tuple(value.shape)} "
                    f"{value.dtype}; this network's {tuple(tensor.shape)} "
                    f"{tensor.dtype}; build the network that was trained"
                )
            tensor.copy_(value)


def encode_optimiser(prefix: str, optimiser: Optimizer) -> dict[str, _Array]:
    """Return the state of an optimiser whose settings are known.

    Parameters
    ----------
    prefix : str
    optimiser : Optimizer
        Its state may hold tensors and numbers.
    """
    arrays: dict[str, _Array] = {}
    for index, entries in optimiser.state_dict()["state"].items():
        for key, value in entries.items():
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
            kind = "tensor" if isinstance(value, Tensor) else "number"
            arrays[f"{prefix}/{index}/{kind}/{key}"] = encode_tensor(tensor)
    return arrays


def restore_optimiser(prefix: str, optimiser: Optimizer, arrays: Arrays) -> None:
    """Set the state of an optimiser.

    Parameters
    ----------
    prefix : str
    optimiser : Optimizer
        Fresh, with the settings and parameters of the one that was encoded.
    arrays : mapping of str to array

    Raises
    ------
    InputError
        If the state does not fit the parameters.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, object]] = {}
    for name in arrays:
        if not name.startswith(f"{prefix}/"):
            continue
        index, kind, key = name.removeprefix(f"{prefix}/").split("/", 2)
        value = decode_tensor(arrays, name)
        place = int(index) if index.isdecimal() else len(parameters)
        if place >= len(parameters) or not _fits(value, parameters[place]):
            raise InputError(
                f"the checkpoint's {name} fits no parameter of this network; build "
                "the network that was trained"
            )
        state.setdefault(place, {})[key] = value if kind == "tensor" else value.item()
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def restore_generator(name: str, generator: torch.Generator, arrays: Arrays) -> None:
    """Put a random stream where it stood.

    Parameters
    ----------
    name : str
        Of the array that holds the state.
    generator : torch.Generator
        On the CPU.
    arrays : mapping of str to array

    Raises
    ------
    InputError
        If the array is no state of such a stream.
    """
    try:
        generator.set_state(decode_tensor(arrays, name))
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"the checkpoint's {name} is no state of a random stream: {error}"
        ) from None


def _fits(value: Tensor, parameter: Tensor) -> bool:
    return value.numel() == 1 or value.shape == parameter.shape


def _check_names(prefix: str, wanted: set[str], names: Iterable[str]) -> None:
    found = {name for name in names if name.startswith(f"{prefix}/")}
    if odd := sorted(found ^ wanted):
        shown = ", ".join(odd[:3]) + (", ..." if len(odd) > 3 else "")
        raise InputError(
            f"the checkpoint's {prefix} is of another network: {shown} in one of them "
            "only; build the network that was trained"
        )
