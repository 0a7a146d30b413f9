"""Steps that are torch's own, and settings that are refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.optimisers.extra import ExtraAdam
from tacit.minimax.optimisers.optimistic import OptimisticSGD
from tacit.minimax.optimisers.rules import (
    adam_step,
    add_all,
    check_groups,
    copy_all,
    gradients,
    interpolate_all,
    sgd_step,
    subtract_all,
    with_gradient,
)


def _pair(generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
    first = [
        torch.randn(shape, generator=generator, dtype=torch.float64).float()
        for shape in ((3, 4), (5,))
    ]
    return (
        [tensor.clone().requires_grad_() for tensor in first],
        [tensor.clone().requires_grad_() for tensor in first],
    )


@pytest.mark.parametrize("maximize", [False, True])
def test_adam_is_torchs_fused_one_bit_by_bit(
    maximize: bool, generator: torch.Generator
) -> None:
    own, others = _pair(generator)
    optimiser = ExtraAdam(own, lr=0.01, betas=(0.5, 0.99), maximize=maximize)
    assert optimiser.param_groups[0]["fused"]
    torchs = torch.optim.Adam(
        others, lr=0.01, betas=(0.5, 0.99), maximize=maximize, fused=True
    )
    for _ in range(3):
        for mine, other in zip(own, others, strict=True):
            mine.grad, other.grad = mine.detach().sin(), other.detach().sin()
        with torch.no_grad():
            adam_step(optimiser, optimiser.param_groups[0])
        torchs.step()
    assert all(torch.equal(a, b) for a, b in zip(own, others, strict=True))


def test_a_group_added_later_takes_the_same_steps(generator: torch.Generator) -> None:
    """By the kernel that works everywhere."""
    own, others = _pair(generator)
    optimiser = ExtraAdam(own[:1], lr=0.01)
    optimiser.add_param_group({"params": own[1:], "lr": 0.02})
    torchs = torch.optim.Adam(others[:1], lr=0.01)
    torchs.add_param_group({"params": others[1:], "lr": 0.02})
    for mine, other in zip(own, others, strict=True):
        mine.grad, other.grad = mine.detach().sin(), other.detach().sin()
    with torch.no_grad():
        for group in optimiser.param_groups:
            adam_step(optimiser, group)
    torchs.step()
    assert all(torch.allclose(a, b) for a, b in zip(own, others, strict=True))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_torchs(momentum: float, generator: torch.Generator) -> None:
    own, others = _pair(generator)
    optimiser = OptimisticSGD(own, lr=0.01, momentum=momentum)
    torchs = torch.optim.SGD(others, lr=0.01, momentum=momentum, fused=True)
    for _ in range(3):
        for mine, other in zip(own, others, strict=True):
            mine.grad, other.grad = mine.detach().sin(), other.detach().sin()
        with torch.no_grad():
            sgd_step(optimiser, optimiser.param_groups[0])
        torchs.step()
    assert all(torch.equal(a, b) for a, b in zip(own, others, strict=True))


@pytest.mark.parametrize("maximize", [False, True])
def test_a_first_gradient_may_come_late(
    maximize: bool, generator: torch.Generator
) -> None:
    own, others = _pair(generator)
    optimiser = OptimisticSGD(own, lr=0.01, momentum=0.9, maximize=maximize)
    torchs = torch.optim.SGD(
        others, lr=0.01, momentum=0.9, maximize=maximize, foreach=False
    )
    for count in (1, 2, 2):
        for mine, other in zip(own[:count], others[:count], strict=True):
            mine.grad, other.grad = mine.detach().sin(), other.detach().sin()
        with torch.no_grad():
            sgd_step(optimiser, optimiser.param_groups[0])
        torchs.step()
    assert all(torch.allclose(a, b) for a, b in zip(own, others, strict=True))


def _slope(layout: str) -> Tensor:
    """A gradient of shape (4, 3) whose numbers lie otherwise than in rows."""
    if layout == "transposed":
        return torch.arange(12.0).reshape(3, 4).mT
    if layout == "expanded":
        return torch.tensor([[1.0], [-2.0], [3.0], [4.0]]).expand(4, 3)
    return torch.arange(24.0).reshape(4, 6)[:, ::2]


@pytest.mark.parametrize("layout", ["transposed", "expanded", "strided"])
@pytest.mark.parametrize("step", [adam_step, sgd_step])
def test_a_gradient_may_lie_otherwise_in_memory(step: Any, layout: str) -> None:
    slope = _slope(layout)
    assert not slope.is_contiguous()
    found: list[Tensor] = []
    for gradient in (slope, slope.contiguous()):
        x = torch.ones(4, 3, requires_grad=True)
        optimiser: Any = (
            ExtraAdam([x], lr=0.1)
            if step is adam_step
            else OptimisticSGD([x], lr=0.1, momentum=0.5)
        )
        x.grad = gradient
        with torch.no_grad():
            step(optimiser, optimiser.param_groups[0])
            x.grad = gradient * (1 - gradient)
            step(optimiser, optimiser.param_groups[0])
        found.append(x.detach())
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("step", [adam_step, sgd_step])
def test_a_parameter_may_be_part_of_a_larger_tensor(step: Any) -> None:
    """Its neighbours in memory stay as they are."""
    whole = torch.zeros(4, 6)
    part = whole[:, ::2].requires_grad_()
    alone = torch.zeros(4, 3, requires_grad=True)
    slope = _slope("strided")
    for x in (part, alone):
        optimiser: Any = (
            ExtraAdam([x], lr=0.1)
            if step is adam_step
            else OptimisticSGD([x], lr=0.1, momentum=0.5)
        )
        for factor in (1.0, -0.25):
            x.grad = factor * slope
            with torch.no_grad():
                step(optimiser, optimiser.param_groups[0])
    assert torch.allclose(part, alone)
    assert not whole.detach()[:, 1::2].any()


def test_sparse_gradients_are_refused() -> None:
    x = torch.ones(3, requires_grad=True)
    x.grad = torch.tensor([0.0, 1.0, 0.0]).to_sparse()
    with pytest.raises(InputError, match="gradients must be dense"):
        gradients([x])


def test_lists_of_tensors_are_worked_on_in_place() -> None:
    targets, sources = [torch.ones(2), torch.zeros(1)], [torch.full((2,), 3.0)] * 1
    sources.append(torch.full((1,), 4.0))
    add_all(targets, sources)
    assert [t.tolist() for t in targets] == [[4.0, 4.0], [4.0]]
    subtract_all(targets, sources)
    assert [t.tolist() for t in targets] == [[1.0, 1.0], [0.0]]
    interpolate_all(targets, sources, 2.0)
    assert [t.tolist() for t in targets] == [[5.0, 5.0], [8.0]]
    copy_all(targets, sources)
    assert [t.tolist() for t in targets] == [[3.0, 3.0], [4.0]]
    for function in (add_all, subtract_all, copy_all):
        function([], [])
    interpolate_all([], [], 0.5)


def test_only_parameters_with_a_gradient_move() -> None:
    x, y = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    x.grad = torch.zeros(1)
    assert with_gradient({"params": [x, y]}) == [x]
    optimiser = ExtraAdam([y])
    adam_step(optimiser, optimiser.param_groups[0])  # nothing to do
    assert float(y.detach()) == 1.0


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"lr": -1.0}, "lr must be finite and not negative; got -1"),
        ({"lr": float("nan")}, "lr must be finite and not negative; got nan"),
        ({"betas": (-0.1, 0.9)}, r"betas must be two numbers in \[0, 1\)"),
        ({"betas": (0.9,)}, r"betas must be two numbers in \[0, 1\)"),
        ({"eps": -1e-8}, "eps must be finite and not negative"),
        ({"momentum": -1.0}, "momentum must be between -1 and 1"),
        (
            {"params": [torch.ones(1, dtype=torch.complex64)]},
            "parameters must be real floating point; got one of torch.complex64",
        ),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], rule: str) -> None:
    optimiser = ExtraAdam([torch.ones(1, requires_grad=True)])
    optimiser.param_groups[0].update(setting)
    with pytest.raises(InputError, match=rule):
        check_groups(optimiser)
