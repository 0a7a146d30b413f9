"""Where networks are trained."""

import torch

from tacit.errors import InputError


def choose_device(name: str) -> torch.device:
    """Return a device that can be used.

    Parameters
    ----------
    name : str
        ``"auto"``: a CUDA GPU if there is one, else the CPU.

    Raises
    ------
    InputError
        If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {name!r} cannot be used: {reason}; take 'cpu' or 'auto'"
        ) from None
    return device
