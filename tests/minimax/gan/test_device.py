"""A device that can be used, or a clear sentence."""

import pytest
import torch

from tacit.errors import InputError
from tacit.minimax.gan.device import choose_device


@pytest.mark.parametrize("name", ["warp", "cuda:99", "meta drive"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"device '{name}' cannot be used"):
        choose_device(name)


def test_auto_is_a_device_that_is_there() -> None:
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == kind
    assert choose_device("cpu") == torch.device("cpu")
