"""The moving average: its formula, and the statistics it is used with."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from tacit.minimax.gan.averaging import MovingAverage, recompute_statistics

pytestmark = pytest.mark.global_rng  # modules draw their own weights


def network() -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Linear(3, 4)), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)
    )


def parameters(module: nn.Module) -> list[Tensor]:
    return [p.detach().double().clone() for p in module.parameters()]


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_it_is_the_average_of_the_formula(
    decay: float, generator: torch.Generator
) -> None:
    live = network()
    average = MovingAverage(live, decay)
    expected = parameters(live)
    for step in range(1, 40):
        with torch.no_grad():
            for p in live.parameters():
                p.add_(torch.randn(p.shape, generator=generator))
        average.update(step)
        beta = min(decay, (1 + step) / (10 + step))
        expected = [
            beta * e + (1 - beta) * p
            for e, p in zip(expected, parameters(live), strict=True)
        ]
    for found, e in zip(parameters(average.module), expected, strict=True):
        torch.testing.assert_close(found, e, rtol=1e-5, atol=1e-5)


def test_the_trained_generator_is_never_changed(generator: torch.Generator) -> None:
    live = network()
    before = copy.deepcopy(live.state_dict())
    average = MovingAverage(live, 0.9)
    average.update(1)
    average.finish([torch.randn(8, 3, generator=generator)])
    assert live.training
    assert all(torch.equal(v, before[k]) for k, v in live.state_dict().items())
    assert not any(p.requires_grad for p in average.module.parameters())
    assert all(p.requires_grad for p in live.parameters())


def test_statistics_are_those_of_the_latents(generator: torch.Generator) -> None:
    live = network()
    average = MovingAverage(live, 0.0)
    latents = [torch.randn(n, 3, generator=generator) for n in (8, 8, 5)]
    module = average.finish(latents)
    assert isinstance(module, nn.Sequential)
    first, norm = module[0], module[1]
    assert isinstance(norm, nn.BatchNorm1d)
    inside = [first(batch) for batch in latents]
    mean = torch.stack([x.mean(0) for x in inside]).mean(0)
    variance = torch.stack([x.var(0) for x in inside]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.momentum == 0.1
    assert not module.training
    assert not norm.training


def test_other_buffers_are_those_of_the_trained_generator(
    generator: torch.Generator,
) -> None:
    live = network()
    average = MovingAverage(live, 0.5)
    for _ in range(3):  # power iterations of the spectral norm
        live(torch.randn(4, 3, generator=generator))
    module = average.finish([torch.randn(4, 3, generator=generator)])
    own, theirs = dict(module.named_buffers()), dict(live.named_buffers())
    vectors = [name for name in own if name.endswith(("._u", "._v"))]
    assert vectors
    assert all(torch.equal(own[name], theirs[name]) for name in vectors)


def test_finishing_twice_changes_nothing(generator: torch.Generator) -> None:
    average = MovingAverage(network(), 0.5)
    latents = [torch.randn(4, 3, generator=generator)]
    first = copy.deepcopy(average.finish(latents).state_dict())
    second = average.finish(latents).state_dict()
    assert all(torch.equal(value, first[name]) for name, value in second.items())


def test_without_batch_normalisation_nothing_is_computed() -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    module = nn.Linear(2, 2)
    module.register_forward_hook(refuse)
    recompute_statistics(module, [torch.zeros(3, 2)])
