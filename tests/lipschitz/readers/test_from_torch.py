"""Modules of every accepted layer, traced and compared with torch in float64."""

import copy
from collections.abc import Callable
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from cases import normal
from tacit.errors import (
    ImportMismatchError,
    InputError,
    ShapeError,
)
from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, run
from tacit.lipschitz.readers import aten_ops, aten_translate
from tacit.lipschitz.readers.aten_arguments import Arguments, Handler
from tacit.lipschitz.readers.build import Builder, Value
from tacit.lipschitz.readers.from_torch import from_exported_program, from_module
from tacit.rng import make_generator
from torch_modules import Function, drawn

pytestmark = pytest.mark.global_rng


def compare(
    module: nn.Module, shape: tuple[int, ...], generator: torch.Generator
) -> Network:
    """Import and compare with the module in float64, batch of one or of three."""
    network = from_module(module, shape)
    exact = copy.deepcopy(module).double().eval()
    for scale in (0.1, 1.0, 8.0):
        x = scale * normal(generator, 3, *shape)
        wanted = torch.cat([exact(x[i : i + 1]).flatten() for i in range(3)])
        torch.testing.assert_close(
            run(network, x).flatten(), wanted.detach(), rtol=1e-10, atol=1e-10
        )
    return network


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(4, 3), (4,)),
    "Linear on rows": (lambda: nn.Linear(4, 3, bias=False), (2, 4)),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, 2, padding=2, dilation=2, groups=2), (2, 9)),
    "Conv2d": (lambda: nn.Conv2d(1, 3, (3, 2), stride=(2, 1), padding=1), (1, 6, 5)),
    "Conv2d same": (lambda: nn.Conv2d(2, 3, 4, padding="same", dilation=2), (2, 7, 6)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2, padding=1), (1, 3, 4, 2)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 3, 3, 2, 1, 1), (2, 4)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 2, 3, groups=2), (2, 3, 4)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(1, 2, 2, 2), (1, 2, 3, 2)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), (4,)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2, affine=False), (2, 3, 3)),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(2, eps=0.1), (2, 2, 3, 2)),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1), (2, 8)),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1, True, False), (1, 6, 6)),
    "AvgPool3d": (lambda: nn.AvgPool3d(2), (1, 4, 4, 2)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((3, 1)), (2, 6, 4)),
    "ZeroPad2d": (lambda: nn.ZeroPad2d((1, 2, 0, -1)), (1, 4, 4)),
    "Flatten": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (2, 3, 2)),
    "Unflatten": (
        lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 2, 2)),
        (6,),
    ),
    "Dropout": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout()),
        (3,),
    ),
    "Identity": (lambda: nn.Sequential(nn.Identity(), nn.Linear(3, 3)), (3,)),
    "ReLU": (nn.ReLU, (5,)),
    "ReLU inplace": (
        lambda: nn.Sequential(nn.Linear(5, 5), nn.ReLU(inplace=True)),
        (5,),
    ),
    "ReLU6": (nn.ReLU6, (5,)),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.3), (5,)),
    "PReLU": (nn.PReLU, (5,)),
    "Hardtanh": (nn.Hardtanh, (5,)),
    "Tanh": (nn.Tanh, (5,)),
    "Sigmoid": (nn.Sigmoid, (5,)),
    "ELU": (lambda: nn.ELU(0.7), (5,)),
    "SELU": (nn.SELU, (5,)),
    "SiLU": (nn.SiLU, (5,)),
    "GELU": (nn.GELU, (5,)),
    "GELU tanh": (lambda: nn.GELU(approximate="tanh"), (5,)),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)).double(),
        (4,),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_read_as_torch_runs_it(
    name: str, generator: torch.Generator
) -> None:
    make, shape = MODULES[name]
    compare(drawn(make(), generator), shape, generator)


FUNCTIONS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "residual": lambda f, x: f(x).relu() + x,
    "in-place residual": lambda f, x: f(x).relu_().add_(x),
    "used after it is overwritten": lambda f, x: _overwritten(f(x)),
    "constants": lambda f, x: 2.0 * f(x) / 3.0 - 1.0 + (0.5 - x),
    "constant tensor": lambda f, x: f(x) * torch.arange(6.0),
    "concatenation": lambda f, x: torch.cat([f(x), x.abs()], dim=1),
    "stack and mean": lambda f, x: torch.stack([f(x), x], dim=1).mean(1),
    "chunks": lambda f, x: f(x).chunk(2, dim=1)[0] - x.chunk(2, dim=1)[1],
    "split": lambda f, x: f(x).split([2, 4], dim=1)[1].tanh(),
    "slices": lambda f, x: f(x)[:, 1::2] + x[:, :3],
    "select": lambda f, x: f(x)[:, 2].tanh(),
    "matmul": lambda f, x: f(x) @ torch.ones(6, 2, dtype=x.dtype),
    "columns": lambda f, x: _columns(f(x)),
    "batch kept by hand": lambda f, x: f(x.view(x.shape[0], -1).reshape(-1, 6)),
    "batch of one by hand": lambda f, x: f(x.view(1, 6)),
    "no batch axis": lambda f, x: f(x.flatten(0)).relu(),
    "batch axis moved": lambda f, x: f(x.t().contiguous().t()).t().relu().t(),
    "squeezed": lambda f, x: f(x.unsqueeze(1)).squeeze(1).relu(),
    "clamped": lambda f, x: f(x).clamp(min=0.0) - x.clamp(-1.0, 1.0),
    "gate": lambda f, x: (lambda y: y * torch.sigmoid(y))(f(x)),
    "centred": lambda f, x: x.abs() - f(x).mean(dim=1, keepdim=True),
    "sum": lambda f, x: f(x).sum(dim=1),
    "a tuple of one": lambda f, x: (f(x).relu(),),
    "a dictionary of one": lambda f, x: {"scores": f(x).relu()},
}


def _columns(y: Tensor) -> Tensor:
    return (torch.eye(6, dtype=y.dtype)[:4] @ y.unsqueeze(-1)).squeeze(-1)


def _overwritten(y: Tensor) -> Tensor:
    z = y.relu_()
    y.mul_(2.0)
    return z + y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_read_as_torch_runs_it(
    name: str, generator: torch.Generator
) -> None:
    def tensor(f: nn.Module, x: Tensor) -> object:
        output = FUNCTIONS[name](f, x)
        return next(iter(output.values())) if isinstance(output, dict) else output

    module = drawn(Function(FUNCTIONS[name]), generator)
    network = from_module(module, (6,))
    exact = copy.deepcopy(module.get_submodule("dense")).double()
    x = normal(generator, 3, 6)
    for i in range(3):
        wanted = tensor(exact, x[i : i + 1].clone())
        wanted = wanted[0] if isinstance(wanted, tuple) else wanted
        got = run(network, x[i : i + 1]).flatten()
        torch.testing.assert_close(
            got, cast("Tensor", wanted).detach().double().flatten()
        )


# Random graphs


ACTIVATIONS = (functional.relu, torch.tanh, functional.silu, functional.gelu, torch.abs)


class Random(nn.Module):
    """A graph of dense layers, activations, sums, slices and joins, drawn by number."""

    def __init__(self, steps: list[tuple[int, int, int]], seed: int) -> None:
        nn.Module.__init__(self)
        self.steps = steps
        self.dense = nn.ModuleList(nn.Linear(4, 4) for _ in steps)
        drawn(self, make_generator(seed, "random graphs"))

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for (kind, one, two), layer in zip(self.steps, self.dense, strict=True):
            a, b = values[one % len(values)], values[two % len(values)]
            match kind:
                case 0:
                    values.append(layer(a))
                case 1:
                    values.append(ACTIVATIONS[two % len(ACTIVATIONS)](a))
                case 2:
                    values.append(a - 0.5 * b)
                case 3:
                    values.append(torch.cat([a[:, 2:], b[:, :2]], dim=1))
                case 4:
                    values.append(a.reshape(-1, 2, 2).transpose(1, 2).flatten(1))
                case _:
                    values.append(b * 0.7 + a.mean(1, keepdim=True))
        return torch.cat(values, dim=1)


@settings(max_examples=20)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=7,
    ),
    seed=st.integers(0, 1000),
)
def test_random_graphs_are_read_as_torch_runs_them(
    steps: list[tuple[int, int, int]], seed: int
) -> None:
    compare(Random(steps, seed), (4,), make_generator(seed, "inputs"))


# What the reader leaves alone


def test_the_module_is_left_as_it_was(generator: torch.Generator) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout())
    drawn(module, generator)
    module.train()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    network = from_module(module, (3,))
    assert module.training
    assert all(part.training for part in module)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    module[0].get_parameter("weight").data.zero_()
    x = torch.ones(1, 3, dtype=torch.float64)
    assert float(run(network, x).std()) > 0.0


def test_float32_weights_are_converted_exactly(generator: torch.Generator) -> None:
    module = drawn(nn.Linear(3, 2), generator)
    node = from_module(module, (3,)).nodes[0]
    weight = node.layer.__dict__["weight"]
    assert weight.dtype == torch.float64
    assert torch.equal(weight, module.get_parameter("weight").double())


def test_softplus_is_read_without_torchs_jump(generator: torch.Generator) -> None:
    module = drawn(
        nn.Sequential(nn.Linear(2, 2), nn.Softplus(), nn.Linear(2, 1)), generator
    )
    network = from_module(module.double(), (2,))
    x = 30.0 * normal(generator, 50, 2)
    exact = module.double()(x).detach()
    torch.testing.assert_close(run(network, x), exact, rtol=1e-8, atol=1e-8)


# Exported programs


def exported(
    module: nn.Module, *sizes: int, is_open: bool
) -> torch.export.ExportedProgram:
    shapes = ({0: torch.export.Dim.DYNAMIC},) if is_open else None
    with torch.no_grad():
        return torch.export.export(
            module.eval(), (torch.zeros(sizes),), dynamic_shapes=shapes
        )


@pytest.mark.parametrize("is_open", [False, True])
def test_a_program_is_read_like_its_module(
    is_open: bool, generator: torch.Generator
) -> None:
    module = drawn(
        nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 2)
        ),
        generator,
    )
    program = exported(module, 2 if is_open else 1, 1, 4, 4, is_open=is_open)
    network = from_exported_program(program)
    assert network.digest == from_module(module, (1, 4, 4)).digest


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own
def test_a_program_of_core_operations_is_read(generator: torch.Generator) -> None:
    module = drawn(
        nn.Sequential(
            nn.Conv1d(1, 3, 2),
            nn.BatchNorm1d(3),
            nn.Hardtanh(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.SELU(),
            nn.Linear(3, 2),
        ),
        generator,
    )
    program = exported(module, 1, 1, 5, is_open=False).run_decompositions()
    x = normal(generator, 2, 1, 5)
    torch.testing.assert_close(
        run(from_exported_program(program), x), module.double()(x).detach()
    )


def test_a_program_without_batch_axis_is_one_sample(generator: torch.Generator) -> None:
    module = drawn(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), generator)
    network = from_exported_program(exported(module, 4, is_open=False))
    assert network.in_shape == (4,)
    assert network.out_shape == (3,)


def test_a_fixed_batch_is_refused_unless_it_is_the_sample(
    generator: torch.Generator,
) -> None:
    module = drawn(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), generator)
    program = exported(module, 5, 4, is_open=False)
    with pytest.raises(InputError, match="has 5 as its batch size"):
        from_exported_program(program)
    whole = from_exported_program(program, in_shape=(5, 4))
    assert whole.in_shape == (5, 4)
    assert whole.out_shape == (5, 3)
    with pytest.raises(InputError, match="does not fit"):
        from_exported_program(program, in_shape=(4,))


# A wrong reader is found out


def test_a_transposed_weight_is_found_out(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    right = aten_ops.OPERATIONS["aten.linear.default"]

    def transposed(b: Builder, a: Arguments) -> object:
        return right(b, Arguments({**a.items, "weight": a.constant("weight").T}))

    _plant(monkeypatch, "aten.linear.default", cast("Handler", transposed))
    with pytest.raises(
        ImportMismatchError, match="differs from the program in float64 by"
    ):
        from_module(drawn(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), generator), (4,))


def _plant(monkeypatch: pytest.MonkeyPatch, op: str, handler: Handler) -> None:
    monkeypatch.setitem(aten_translate.TABLE, op, handler)


def _skipped(_: Builder, a: Arguments) -> Value:
    return a.first


def _slightly_leaky(b: Builder, a: Arguments) -> Value:
    layer = Activation(kind="leaky_relu", parameter=1e-6)
    b.layers.append((layer, (a.first.index,)))
    b.shapes.append(b.shapes[a.first.index])
    return Value(index=len(b.layers), shape=a.first.shape)


FAULTS: dict[str, tuple[str, Handler]] = {
    "a skipped activation": ("aten.relu.default", _skipped),
    "a skipped batch norm": ("aten.batch_norm.default", _skipped),
    "a relu that leaks a millionth": ("aten.relu.default", _slightly_leaky),
    "a default forgotten": (
        "aten.batch_norm.default",
        lambda b, a: aten_ops.OPERATIONS["aten.batch_norm.default"](
            b, Arguments({**a.items, "eps": 0.99e-5})
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_reader_is_found_out(
    fault: str, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    _plant(monkeypatch, *FAULTS[fault])
    module = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)
    )
    with pytest.raises(ImportMismatchError):
        from_module(drawn(module, generator), (4,))


def test_a_wrong_trace_is_found_out(generator: torch.Generator) -> None:
    class Counting(nn.Module):
        """Computes something else after it was traced."""

        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.calls += 1
            return x.tanh() if Counting.calls < 2 else x.relu()

    with pytest.raises(ImportMismatchError, match="differs from the module by"):
        from_module(Counting(), (4,))


def test_shapes_that_do_not_fit_name_the_place() -> None:
    program = exported(nn.Linear(4, 3), 2, 4, is_open=True)
    with pytest.raises((InputError, ShapeError), match="does not fit"):
        from_exported_program(program, in_shape=(5,))
