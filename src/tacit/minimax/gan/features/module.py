"""Features of any PyTorch module."""

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from tacit.errors import InputError
from tacit.minimax.gan.device import choose_device
from tacit.minimax.gan.features.interface import AbstractFeatures, checked_features
from tacit.minimax.gan.features.preparation import Preparation


@final
class ModuleFeatures(AbstractFeatures):
    """Features computed by a module of one's own.

    Parameters
    ----------
    module : nn.Module
        Images (batch_size, channels, height, width) to features (batch_size, dimension)
        or (batch_size, dimension, 1, 1). A copy in evaluation mode is kept, so what
        becomes of the module itself later does not matter.
    name : str
        For people, as in "FD[name]".
    dimension : int
        Of the features.
    preparation : Preparation
        What is done to pixels; by default they become values 0..1.
    digest : str or None
        SHA-256 of the weights' file; by default :func:`digest_of_weights`.
    device : str
        Where features are computed: ``"cpu"``, ``"cuda"``, or ``"auto"``, a GPU if
        there is one.

    Raises
    ------
    InputError
        If the name is empty, the dimension not positive, or there is no such device.

    Examples
    --------
    >>> import tacit, torch
    >>> pooled = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten())
    >>> features = tacit.ModuleFeatures(pooled, name="means of 4 x 4", dimension=4)
    >>> features.extract(torch.full((2, 1, 8, 8), 255, dtype=torch.uint8))
    tensor([[1., 1., 1., 1.],
            [1., 1., 1., 1.]])
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str,
        dimension: int,
        preparation: Preparation | None = None,
        digest: str | None = None,
        device: str = "cpu",
    ) -> None:
        if not name:
            raise InputError("name must not be empty: it says what scores are made of")
        if dimension < 1:
            raise InputError(f"dimension must be at least 1; got {dimension}")
        self.preparation = Preparation() if preparation is None else preparation
        self.device = choose_device(device)
        self.name = name
        self.dimension = dimension
        self.digest = digest_of_weights(module.state_dict())
        if digest is not None:
            self.digest = digest
        self.preprocess = str(self.preparation)
        copied = deepcopy(module).eval().requires_grad_(requires_grad=False)
        self._module = copied.to(self.device)

    @override
    def extract(self, images: Tensor) -> Tensor:
        prepared = self.preparation.apply(images.to(self.device))
        try:
            with torch.no_grad():
                values = self._module(prepared)
        except RuntimeError as error:  # of torch: shapes that do not fit, no memory
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{self.name} cannot take images of shape {tuple(images.shape[1:])}, "
                f"prepared to {tuple(prepared.shape[1:])}: {reason}"
            ) from None
        if not isinstance(values, Tensor) or values.is_complex():
            kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise InputError(
                f"{self.name} must return one tensor of real numbers; got {kind}; wrap "
                "it in a module that does"
            )
        return checked_features(values, len(images), self.dimension)


def digest_of_weights(weights: Mapping[str, Tensor]) -> str | None:
    """Return the SHA-256 of named weights; None if there are none.

    Of names, types, shapes and bytes, in the order of names.

    Parameters
    ----------
    weights : mapping of str to Tensor
        As in a module's state dictionary.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.gan.features.module import digest_of_weights
    >>> one, other = {"a": torch.zeros(2)}, {"a": torch.zeros(2, 1)}
    >>> digest_of_weights(one) == digest_of_weights(other)
    False
    """
    if not weights:
        return None
    found = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
