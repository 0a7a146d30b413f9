"""Modules that are refused, each in one sentence that says what and where."""

import pytest
import torch
from torch import Tensor, nn

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.from_torch import from_exported_program, from_module
from torch_modules import Function, drawn

pytestmark = pytest.mark.global_rng


class Loop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if float(x.sum()) > 0.0 else x


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


REFUSED: list[tuple[nn.Module, tuple[int, ...], type[Exception], str]] = [
    (
        nn.Sequential(nn.Linear(6, 6), nn.Softmax(-1)),
        (6,),
        UnsupportedLayerError,
        r"1 \(Softmax",
    ),
    (nn.MaxPool2d(2), (1, 4, 4), UnsupportedLayerError, "aten.max_pool2d.default"),
    (nn.LayerNorm(6), (6,), UnsupportedLayerError, "aten.layer_norm.default"),
    (nn.GroupNorm(1, 6), (6, 2), UnsupportedLayerError, "aten.group_norm"),
    (nn.Mish(), (6,), UnsupportedLayerError, "accepted are Linear"),
    (nn.Softplus(threshold=2), (6,), UnsupportedLayerError, "jumps"),
    (nn.CELU(2.0), (6,), UnsupportedLayerError, "aten.celu"),
    (nn.PReLU(6), (6,), UnsupportedLayerError, "one slope"),
    (
        nn.BatchNorm1d(6, track_running_stats=False),
        (6, 2),
        UnsupportedLayerError,
        "batch",
    ),
    (nn.AdaptiveAvgPool1d(4), (1, 6), UnsupportedLayerError, "divides"),
    (
        nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"),
        (1, 6),
        UnsupportedLayerError,
        "circular",
    ),
    (
        Function(lambda f, x: f(x) * x),
        (6,),
        UnsupportedLayerError,
        "product of two values",
    ),
    (
        Function(lambda f, x: x @ f(x).t()),
        (6,),
        UnsupportedLayerError,
        "constant matrix",
    ),
    (
        Function(lambda f, x: torch.sort(f(x))[0]),
        (6,),
        UnsupportedLayerError,
        "aten.sort",
    ),
    (nn.Identity(), (6,), InputError, "is empty"),
    (nn.Flatten(), (6,), InputError, "is empty"),
    (Function(lambda f, x: torch.ones(1, 3)), (6,), InputError, "does not depend"),
    (Function(lambda f, x: (f(x), x)), (6,), InputError, "gives 2 outputs"),
    (
        Function(lambda f, x: f(x).tolist()),
        (6,),
        InputError,
        "cannot be traced|one tensor",
    ),
    (Function(lambda f, x: x.relu_() + 1.0), (6,), InputError, "overwrites|changes"),
    (
        Function(lambda f, x: _half_overwritten(f(x))),
        (6,),
        InputError,
        "overwrites memory",
    ),
    (Function(lambda f, x: f(x) - f(x).mean(0)), (6,), InputError, "mixes the samples"),
    (
        Function(lambda f, x: f(x).flatten().cumsum(0)),
        (6,),
        UnsupportedLayerError,
        "cumsum",
    ),
    (Loop(), (6,), InputError, "cannot be traced"),
    (TwoInputs(), (6,), InputError, "cannot be traced"),
    (nn.Linear(4, 2), (6,), InputError, "cannot be traced"),
    (
        nn.Linear(6, 2).half(),
        (6,),
        InputError,
        "must be float32 or float64; got torch.float16",
    ),
    (nn.Linear(6, 2), (0,), InputError, "positive sizes"),
]


def _half_overwritten(y: Tensor) -> Tensor:
    part = y[:, :3]
    y.relu_()
    return part + y[:, 3:]


@pytest.mark.parametrize(("module", "shape", "error", "message"), REFUSED)
def test_what_cannot_be_read_is_refused(
    module: nn.Module, shape: tuple[int, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        from_module(module, shape)
    assert len(str(caught.value).splitlines()) == 1


def test_weights_that_are_not_finite_are_refused(generator: torch.Generator) -> None:
    module = drawn(nn.Linear(6, 2), generator)
    module.get_parameter("weight").data[0, 0] = float("nan")
    with pytest.raises(InputError, match="weights must be finite"):
        from_module(module, (6,))


def test_the_message_names_the_layer_inside_the_module() -> None:
    inner = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1))
    module = nn.ModuleDict({"head": inner})
    wrapped = nn.Sequential(nn.Linear(4, 4), module["head"])
    with pytest.raises(UnsupportedLayerError, match=r"layer 1\.1 \(Softmax\)"):
        from_module(wrapped, (4,))


# Programs


class Switched(nn.Module):
    """Switches gradients off by itself, which torch keeps as a graph in a graph."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = x.tanh()
        return y * 2.0


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    count: Tensor

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1.0
        return x.tanh()


class Scaled(nn.Module):
    """Takes a number besides its input."""

    def forward(self, x: Tensor, factor: float) -> Tensor:
        return factor * x.tanh()


PROGRAMS: list[tuple[nn.Module, tuple[object, ...], type[Exception], str]] = [
    (TwoInputs(), (torch.ones(1, 4), torch.ones(1, 4)), InputError, "takes 2 inputs"),
    (Scaled(), (torch.ones(1, 4), 2.0), InputError, "takes 2 inputs"),
    (Counting(), (torch.ones(1, 4),), UnsupportedLayerError, "aten.copy"),
    (Switched(), (torch.ones(1, 4),), InputError, "gradient switches"),
    (Function(lambda f, x: (x, x)), (torch.ones(1, 6),), InputError, "gives 2 outputs"),
]


@pytest.mark.parametrize(("module", "example", "error", "message"), PROGRAMS)
def test_programs_of_another_kind_are_refused(
    module: nn.Module,
    example: tuple[object, ...],
    error: type[Exception],
    message: str,
) -> None:
    program = torch.export.export(module.eval(), example)
    with pytest.raises(error, match=message):
        from_exported_program(program)
