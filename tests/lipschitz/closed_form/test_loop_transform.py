"""LipLT: closed forms, soundness, scale, and its place among the bounds."""

import math

import pytest
import torch

from cases import NETWORKS, RELU, normal, random_chain, sequence
from oracles import pattern_lipschitz
from tacit.lipschitz.closed_form import loop_transform, norms
from tacit.lipschitz.closed_form.loop_transform import lip_lt_bound
from tacit.lipschitz.closed_form.products import product_bound
from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, chain
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.rng import make_generator


def value_of(network: Network, norm: Norm = "l2") -> float:
    bound = lip_lt_bound(LipschitzProblem(network=network, norm=norm))
    assert bound is not None
    assert (bound.side, bound.method) == ("upper", "LipLT")
    return bound.value


def norm_of(matrix: torch.Tensor) -> float:
    return float(torch.linalg.svdvals(matrix)[0])


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.7, 1.0, 4.0])
def test_two_layers_have_a_closed_form(
    slope: float, generator: torch.Generator
) -> None:
    first, second = normal(generator, 6, 4), normal(generator, 3, 6)
    activation = Activation(kind="leaky_relu", parameter=slope)
    center, radius = (1.0 + slope) / 2.0, abs(1.0 - slope) / 2.0
    expected = abs(center) * norm_of(second @ first)
    expected += radius * norm_of(second) * norm_of(first)
    network = chain([(first, None, activation), (second, None, None)])
    assert value_of(network) == pytest.approx(expected, rel=1e-11)


def test_three_layers_have_a_closed_form(generator: torch.Generator) -> None:
    a, b, c = (normal(generator, 5, 5) for _ in range(3))
    network = chain([(a, None, RELU), (b, None, RELU), (c, None, None)])
    one = norm_of(a)
    two = norm_of(b @ a) / 2.0 + norm_of(b) * one / 2.0
    expected = norm_of(c @ b @ a) / 4.0 + norm_of(c @ b) * one / 4.0
    expected += norm_of(c) * two / 2.0
    assert value_of(network) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(25))
def test_the_bound_is_above_all_patterns_and_below_the_product(
    seed: int, norm: Norm
) -> None:
    generator = make_generator(seed, "liplt")
    kind = ("relu", "leaky_relu", "abs", "silu", "sigmoid")[seed % 5]
    activation = Activation(kind=kind, parameter=float(normal(generator, 1)))
    sizes = (1 + seed % 4, 2 + seed % 3, 3, 3, 1 + seed % 2)
    network = random_chain(generator, sizes, activation=activation)
    value = value_of(network, norm)
    product = product_bound(LipschitzProblem(network=network, norm=norm)).value
    assert value >= pattern_lipschitz(network, norm) * (1 - 1e-13)
    if norm != "linf":  # its norms are relaxed, each T by its own weights
        assert value <= product * (1 + 1e-3)


@pytest.mark.parametrize("batch", [1, 2])
def test_frobenius_norms_stand_in_for_the_tail_only(
    batch: int, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    network = random_chain(generator, (6,) * 9, bias_scale=0.0)
    monkeypatch.setattr(loop_transform, "_TAIL", 0.0)
    exact = value_of(network)
    monkeypatch.setattr(loop_transform, "_TAIL", 1e-4)
    monkeypatch.setattr(loop_transform, "_BATCH", batch)
    # At most 1e-4 is added at each of the 8 sites.
    assert exact * (1 - 1e-12) <= value_of(network) <= exact * 1.0001**8
    monkeypatch.setattr(loop_transform, "_TAIL", 0.5)
    assert value_of(network) > exact


@pytest.mark.parametrize("exponent", [-250, 250])
def test_scales_cancel(exponent: int, generator: torch.Generator) -> None:
    weights = [normal(generator, 3, 3) for _ in range(20)]
    plain = value_of(chain([(w, None, RELU) for w in weights]))
    scales = [10.0**exponent] * 10 + [10.0**-exponent] * 10
    scaled = chain([(w * s, None, RELU) for w, s in zip(weights, scales, strict=True)])
    assert value_of(scaled) == pytest.approx(plain, rel=1e-9)


def test_a_long_product_is_not_lost_in_rounding(generator: torch.Generator) -> None:
    # Nilpotent centers: the transfer over two layers is zero, its terms are not.
    up = torch.tensor([[0.0, 1e8], [0.0, 0.0]], dtype=torch.float64)
    turn, _ = torch.linalg.qr(normal(generator, 2, 2))
    network = chain([(turn @ up @ turn.T, None, Activation(kind="abs"))] * 3)
    assert value_of(network) >= pattern_lipschitz(network) * (1 - 1e-13)


def test_zero_is_zero() -> None:
    assert value_of(NETWORKS["zero"](make_generator(0, "zero"))) == 0.0


def test_large_blocks_and_large_sums_are_declined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = LipschitzProblem(network=NETWORKS["conv1d"](make_generator(0, "c")))
    assert lip_lt_bound(problem) is not None
    monkeypatch.setattr(loop_transform, "_TRANSFER_WORK", 10.0)
    assert lip_lt_bound(problem) is None
    monkeypatch.undo()
    monkeypatch.setattr(norms, "_DENSE_ENTRIES", 0)
    assert lip_lt_bound(problem) is None


def test_no_activation_leaves_the_norm_of_the_matrix(
    generator: torch.Generator,
) -> None:
    first, second = normal(generator, 4, 3), normal(generator, 2, 4)
    network = chain([(first, None, None), (second, None, None)])
    assert value_of(network) == pytest.approx(norm_of(second @ first), rel=1e-12)
    only = sequence((3,), RELU)
    assert value_of(only) == pytest.approx(1.0, rel=1e-12)
    assert value_of(only, "linf") == pytest.approx(math.sqrt(3.0), rel=1e-12)
