"""The soundness campaign: no upper bound below, no lower bound above, what is true."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from campaign import (
    FAMILIES,
    RTOL,
    SCALE,
    Instance,
    assert_above,
    campaign,
    pick,
    pick_sizes,
    upper_bounds,
)
from cases import NETWORKS, RELU, normal
from oracles import (
    certificate_holds_exactly,
    form_of,
    gradients,
    lipsdp_value_graph,
    operator_norms,
)
from tacit.bracket import Bound
from tacit.errors import CertificateError
from tacit.lipschitz import certify as certify_module
from tacit.lipschitz.certify import Multipliers, certify
from tacit.lipschitz.lifted_bound import lifted_bound
from tacit.lipschitz.network import Network, chain
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.lipschitz.reached.lower import search_lower
from tacit.lipschitz.solve import lipschitz_bracket
from tacit.rng import make_generator


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_no_upper_bound_is_below_the_truth(family: str) -> None:
    count = SCALE * FAMILIES[family][1]
    # Five methods, of which few networks lack one.
    assert campaign(family, count) >= 4.9 * count


@pytest.mark.parametrize("family", FAMILIES)
def test_no_lower_bound_is_above_the_truth(family: str) -> None:
    generator = make_generator(0, f"lower {family}")
    build, _ = FAMILIES[family]
    shares: list[float] = []
    for instance in build(generator, 15 * SCALE):
        problem = LipschitzProblem(network=instance.network, norm=instance.norm)
        lower = search_lower(
            problem, generator=generator, num_starts=8, num_steps=20, num_rounds=1
        )
        assert lower.side == "lower"
        assert lower.value <= instance.exact * (1.0 + RTOL)
        shares.append(lower.value / instance.exact if instance.exact else 1.0)
    # A search that finds nothing would pass the above.
    assert sorted(shares)[len(shares) // 2] >= 0.75


CASES = {name: build(make_generator(0, name)) for name, build in NETWORKS.items()}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", CASES)
def test_every_case_has_upper_bounds_above_its_patterns(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    network = CASES[name]
    form = form_of(network)
    draw = np.random.default_rng(0)
    # All patterns of the small ones, some of the others; for linf some sign vectors.
    if network.num_neurons <= 12:
        slopes = np.array(list(itertools.product(*form.neuron_slopes)))
    else:
        slopes = np.stack([draw.choice(s, 500) for s in form.neuron_slopes], axis=1)
    jacobians = form.output @ gradients(form, slopes)
    if norm == "linf" and network.num_inputs > 12:
        signs = draw.choice([-1.0, 1.0], (network.num_inputs, 64))
        patterns = float(np.linalg.norm(jacobians @ signs, axis=1).max())
    else:
        patterns = float(operator_norms(jacobians, norm).max())
    instance = Instance(network=network, norm=norm, exact=0.0, patterns=patterns)
    bounds = upper_bounds(instance, generator)
    # Neither a zero network nor multipliers 32 orders of magnitude apart are searched.
    has_lifted = any("lifted" in bound.method for bound in bounds)
    assert has_lifted or name in {"zero", "unequal-units"}
    assert_above(instance, bounds)


SMALL = [name for name, network in CASES.items() if network.num_neurons <= 16]


@pytest.mark.oracle
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", SMALL)
def test_certified_bound_meets_the_semidefinite_optimum(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    problem = LipschitzProblem(network=CASES[name], norm=norm)
    result = lifted_bound(problem, generator=generator, rtol=1e-5)
    optimum, _, _ = lipsdp_value_graph(CASES[name], norm)
    if result.lifted_value == 0.0:  # the solver's answer is the root of its tolerance
        assert result.bound is not None
        assert result.bound.value < 1e-100
        assert optimum < 1e-3
        return
    assert result.lifted_value <= optimum * (1.0 + 2e-6)
    if result.bound is not None:
        assert optimum * (1.0 - 2e-6) <= result.bound.value <= optimum * (1.0 + 1e-4)


def _random_multipliers(network: Network, generator: torch.Generator) -> Multipliers:
    """Positive numbers over several orders of magnitude, rarely good ones."""
    spread = float(torch.rand(1, generator=generator)) * 2.0
    shapes = network.site_shapes[:-1]
    parts = [torch.exp(spread * normal(generator, *shape)) for shape in shapes]
    # Earlier sites need larger multipliers in most networks.
    growth = [4.0**depth for depth in network.depths[:-1]]
    scaled = [part * factor for part, factor in zip(parts, growth, strict=True)]
    return Multipliers(neurons=tuple(scaled[1:]), inputs=scaled[0])


@pytest.mark.parametrize("family", ["one-layer", "cones", "graphs"])
def test_arbitrary_multipliers_prove_no_false_bound(family: str) -> None:
    generator = make_generator(0, f"multipliers {family}")
    build, _ = FAMILIES[family]
    num_proved = 0
    for instance in build(generator, 25 * SCALE):
        problem = LipschitzProblem(network=instance.network, norm=instance.norm)
        for _ in range(8):
            part = _random_multipliers(instance.network, generator)
            try:
                bound = certify(problem, (part,))
            except CertificateError:
                continue
            num_proved += 1
            assert_above(instance, [bound])
    assert num_proved >= 20 * SCALE


def relu_chains(generator: torch.Generator, count: int) -> Iterator[list[Tensor]]:
    for _ in range(count):
        sizes = (pick(generator, 1, 3), *pick_sizes(generator, 1)[1:])
        yield [
            normal(generator, rows, cols) / math.sqrt(cols)
            for cols, rows in itertools.pairwise(sizes)
        ]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_certificates_hold_in_exact_arithmetic(norm: Norm) -> None:
    """No rounding error hides in the bound: it is proved again in rationals."""
    generator = make_generator(0, f"rationals {norm}")
    for weights in relu_chains(generator, 30 * SCALE):
        last = len(weights) - 1
        network = chain(
            [(w, None, RELU if i < last else None) for i, w in enumerate(weights)]
        )
        problem = LipschitzProblem(network=network, norm=norm)
        bound = lifted_bound(problem, generator=generator, max_steps=300).bound
        assert bound is not None
        rational = [weight.numpy() for weight in weights]
        multipliers, inputs = proof_of(bound, norm)
        assert certificate_holds_exactly(rational, multipliers, inputs)
        # The same proof with one multiplier shrunk, or of a smaller bound, is none.
        weaker = [list(layer) for layer in multipliers]
        largest = max(range(len(weaker[-1])), key=lambda i: weaker[-1][i])
        weaker[-1][largest] *= 0.9
        smaller = [p * (1.0 - 1e-3) for p in inputs]
        if bound.value > 1e-6:
            assert not certificate_holds_exactly(rational, weaker, inputs)
            assert not certificate_holds_exactly(rational, multipliers, smaller)


def proof_of(bound: Bound, norm: Norm) -> tuple[list[list[float]], list[float]]:
    """The witness as numbers, its input weights scaled to the value claimed."""
    assert isinstance(bound.witness, tuple)
    (part,) = bound.witness
    assert isinstance(part, Multipliers)
    weights = part.inputs.reshape(-1)
    if norm == "l2":
        inputs = torch.full_like(weights, bound.value**2)
    else:
        inputs = weights * (bound.value**2 / weights.sum())
    return [m.reshape(-1).tolist() for m in part.neurons], inputs.tolist()


def test_lanczos_proves_no_false_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix-free checker, forced upon networks that elimination would fit."""
    monkeypatch.setattr(certify_module, "MAX_BLOCK_ENTRIES", 0)
    generator = make_generator(0, "lanczos")
    for family in ("one-layer", "cones", "graphs"):
        build, _ = FAMILIES[family]
        for instance in build(generator, 20 * SCALE):
            problem = LipschitzProblem(network=instance.network, norm=instance.norm)
            bound = lifted_bound(problem, generator=generator, max_steps=200).bound
            assert bound is not None
            assert bound.arithmetic == "probabilistic"
            assert_above(instance, [bound])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bracket_holds_the_truth(family: str) -> None:
    generator = make_generator(0, f"bracket {family}")
    build, _ = FAMILIES[family]
    for instance in build(generator, 3 * SCALE):
        result = lipschitz_bracket(instance.network, norm=instance.norm)
        for bound in result.bounds:
            if bound.side == "lower":
                assert bound.value <= instance.exact * (1.0 + RTOL), bound.method
            else:
                assert instance.exact <= bound.value * (1.0 + RTOL), bound.method
        lowers = [b.value for b in result.bounds if b.side == "lower"]
        uppers = [b.value for b in result.bounds if b.side == "upper"]
        assert result.bracket.lower.value == max(lowers)
        assert result.bracket.upper.value == min(uppers)
