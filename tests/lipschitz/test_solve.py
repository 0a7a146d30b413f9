"""The whole answer: which methods run, what they are given, and what comes back."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import cast

import pytest
import torch
from torch import Tensor

from cases import NETWORKS, random_chain
from regions import exact_lipschitz
from tacit.bracket import Bound, Bracket
from tacit.errors import InputError, Status
from tacit.lipschitz.certificate import verify
from tacit.lipschitz.certify import certify
from tacit.lipschitz.layers import Dense
from tacit.lipschitz.lift import LiftedState
from tacit.lipschitz.network import Network, chain
from tacit.lipschitz.pair import evaluate_pair
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm, margin
from tacit.lipschitz.solve import METHODS, LipschitzResult, Method, lipschitz_bracket
from tacit.lipschitz.solve import _best as best_of
from tacit.rng import make_generator

CASES = {name: build(make_generator(0, name)) for name, build in NETWORKS.items()}
BIASED = CASES["relu-3-5-4-2"]
PLANE = CASES["trained-deep"]  # two inputs, no biases
TWO_OUTPUTS = random_chain(make_generator(0), (2, 6, 2), bias_scale=0.0)
# The search for a lower bound takes most of the time; a sweep of PLANE is quick.
QUICK: tuple[Method, ...] = ("sweep", "product", "lifted")


@cache
def answer(name: str, norm: Norm) -> LipschitzResult:
    return lipschitz_bracket(CASES[name], norm=norm)


def weights_of(network: Network) -> list[Tensor]:
    return [n.layer.weight for n in network.nodes if isinstance(n.layer, Dense)]


def names_of(result: LipschitzResult) -> list[str]:
    return [bound.method for bound in result.bounds]


# Truth


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("relu-3-5-4-2", "l2"),
        ("relu-3-5-4-2", "linf"),
        ("relu-3-5-4-2", "l1"),
        ("residual", "linf"),
        ("abs-2-4-3-1", "l1"),
        ("trained-deep", "l2"),
        ("width-one", "l2"),
    ],
)
def test_the_exact_constant_lies_in_the_bracket(name: str, norm: Norm) -> None:
    truth = exact_lipschitz(CASES[name], norm)
    result = answer(name, norm)
    slack = 1e-11 * truth
    for bound in result.bounds:
        if bound.side == "lower":
            assert bound.value <= truth + slack, bound.method
        else:
            assert bound.value >= truth - slack, bound.method
    assert result.bracket.lower.value >= 0.9 * truth
    if name != "width-one":  # constant, but no bound sees that
        assert result.bracket.upper.value <= 2.5 * truth


@pytest.mark.parametrize("name", ["zero", "linear", "only-activation", "gelu-2-4-3-1"])
def test_every_kind_of_network_gets_an_answer(name: str) -> None:
    result = lipschitz_bracket(CASES[name])
    assert 0.0 <= result.bracket.lower.value <= result.bracket.upper.value * (1 + 1e-9)
    if name == "zero":
        assert (result.bracket.lower.value, result.bracket.upper.value) == (0.0, 0.0)
    if name == "linear":
        (weight,) = weights_of(CASES[name])
        truth = float(torch.linalg.matrix_norm(weight, 2))
        assert result.bracket.lower.value == pytest.approx(truth, rel=1e-9)
        assert result.bracket.upper.value == pytest.approx(truth, rel=1e-9)


# The result


@pytest.mark.parametrize("norm", NORMS)
def test_the_sides_are_the_best_of_all_and_carry_their_witnesses(norm: Norm) -> None:
    result = answer("relu-3-5-4-2", norm)
    lowers = [bound for bound in result.bounds if bound.side == "lower"]
    uppers = [bound for bound in result.bounds if bound.side == "upper"]
    assert result.bracket.lower.value == max(bound.value for bound in lowers)
    assert result.bracket.upper.value == min(bound.value for bound in uppers)
    problem = LipschitzProblem(network=BIASED, norm=norm)
    pair = result.pair
    assert evaluate_pair(problem, pair.x, pair.x_prime) == result.bracket.lower.value
    assert result.lifted is not None
    assert result.lifted.bound is not None
    found = certify(problem, result.lifted.witness)
    assert found.value == result.lifted.bound.value
    assert (result.problem.network, result.problem.norm) == (BIASED, norm)
    assert (result.digest, result.outputs) == (BIASED.digest, None)
    times = [bound.seconds for bound in result.bounds]
    assert all(t is not None and 0.0 <= t <= result.seconds for t in times)


def test_the_best_of_each_side_is_chosen() -> None:
    lowers = [Bound(value=v, side="lower", method=str(v)) for v in (1.0, 3.0, 2.0)]
    uppers = [Bound(value=v, side="upper", method=str(v)) for v in (5.0, 4.0, 6.0)]
    bracket = best_of([*uppers, *lowers])
    assert (bracket.lower, bracket.upper) == (lowers[1], uppers[1])


def test_the_norm_is_l2_and_the_seed_0_unless_told_otherwise() -> None:
    plain = lipschitz_bracket(PLANE, methods=QUICK)
    told = lipschitz_bracket(PLANE, methods=QUICK, norm="l2", seed=0)
    assert [b.value for b in plain.bounds] == [b.value for b in told.bounds]


@pytest.mark.parametrize("norm", NORMS)
def test_a_run_is_reproducible_and_seeds_matter(norm: Norm) -> None:
    first, again, other = (
        lipschitz_bracket(PLANE, norm=norm, methods=QUICK, seed=seed, max_steps=30)
        for seed in (3, 3, 4)
    )
    values = [[bound.value for bound in r.bounds] for r in (first, again, other)]
    assert values[0] == values[1]
    # The last one comes from the lifted network, which may start anywhere.
    assert values[0][-1] != values[2][-1]
    assert torch.equal(first.pair.x, again.pair.x)


def test_a_method_left_out_changes_no_other() -> None:
    everything = answer("trained-deep", "l2")
    few = lipschitz_bracket(PLANE, methods=("lifted", "ascent"))
    values = {bound.method: bound.value for bound in everything.bounds}
    assert len(few.bounds) == 2
    for bound in few.bounds:
        assert bound.value == values[bound.method]


# Methods


def test_methods_run_in_their_order_and_are_announced() -> None:
    announced: list[Method] = []
    lipschitz_bracket(
        PLANE, methods=("lifted", "sweep", "product"), on_method=announced.append
    )
    assert announced == ["sweep", "product", "lifted"]
    announced.clear()
    lipschitz_bracket(PLANE, max_steps=20, on_method=announced.append)
    assert tuple(announced) == METHODS


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("product", {"product of layer norms"}),
        ("lifted", {"lifted network, elimination"}),
    ],
)
def test_a_subset_of_methods_gives_their_bounds_alone(
    method: Method, names: set[str]
) -> None:
    result = lipschitz_bracket(PLANE, methods=("sweep", method))
    assert set(names_of(result)) == {"angular sweep", *names}
    assert (result.lifted is not None) == (method == "lifted")


@pytest.mark.parametrize("methods", [("product", "magic"), ("SWEEP",), ("magic", "x")])
def test_an_unknown_method_is_refused(methods: Sequence[str]) -> None:
    with pytest.raises(InputError, match=r"among ascent, sweep, .*; got (?!product)"):
        lipschitz_bracket(BIASED, methods=cast(Sequence[Method], methods))


@pytest.mark.parametrize(
    ("methods", "missing"),
    [
        (("ascent",), "upper"),
        (("product", "lifted"), "lower"),
        ((), "lower"),
        (("sweep",), "lower"),  # passed over for three inputs
    ],
)
def test_both_sides_are_needed(methods: Sequence[Method], missing: str) -> None:
    with pytest.raises(InputError, match=f"gave no {missing} bound; add one"):
        lipschitz_bracket(BIASED, methods=methods)


@pytest.mark.parametrize("norm", NORMS)
def test_two_inputs_without_biases_are_swept(norm: Norm) -> None:
    result = lipschitz_bracket(PLANE, norm=norm, methods=("sweep",))
    truth = exact_lipschitz(PLANE, norm)
    assert names_of(result) == ["angular sweep", "angular sweep"]
    assert result.bracket.lower.value == pytest.approx(truth, rel=1e-12)
    assert result.bracket.upper.value == pytest.approx(truth, rel=1e-12)
    assert (result.lifted, result.certificate()) == (None, None)


@pytest.mark.parametrize("name", ["relu-2-4-3-1", "tanh-2-4-3-1", "one-input"])
def test_biases_and_smooth_activations_are_not_swept(name: str) -> None:
    result = lipschitz_bracket(CASES[name], max_steps=20)
    assert "angular sweep" not in names_of(result)
    assert len(result.bounds) >= 4


def test_rescaled_neurons_help_the_cheap_bounds() -> None:
    """Neurons in uneven units cost the product of norms all it says, if left alone."""
    units = torch.tensor([1e3, 1.0, 1e-3, 1.0], dtype=torch.float64)
    plain = random_chain(make_generator(0), (2, 4, 2), bias_scale=0.0)
    first, second = weights_of(plain)
    relu = plain.activations[0]
    uneven = chain([(first * units[:, None], None, relu), (second / units, None, None)])
    product = {
        b.method: b.value
        for b in lipschitz_bracket(uneven, methods=("sweep", "product")).bounds
    }["product of layer norms"]
    norms = [torch.linalg.matrix_norm(w, 2) for w in (first * units[:, None],)]
    norms.append(torch.linalg.matrix_norm(second / units, 2))
    assert product < 1e-3 * float(norms[0] * norms[1])
    assert product >= exact_lipschitz(uneven) * (1.0 - 1e-11)


# Settings of the lifted network


def test_settings_reach_the_lifted_network() -> None:
    seen: list[tuple[int, LiftedState]] = []
    result = lipschitz_bracket(
        PLANE,
        methods=QUICK,
        rtol=1e-9,
        max_steps=11,
        search_rank=5,
        observers=[lambda step, state: seen.append((step, state))],
    )
    assert result.lifted is not None
    assert result.lifted.status is Status.MAX_STEPS
    assert [step for step, _ in seen] == list(range(1, 12))
    assert {state.point.inputs.shape[0] for _, state in seen} == {5}
    # The first look at the gap comes after 20 steps.
    for rtol, is_enough in ((0.1, True), (1e-12, False)):
        lifted = lipschitz_bracket(PLANE, methods=QUICK, rtol=rtol).lifted
        assert lifted is not None
        assert (lifted.num_steps == 20) is is_enough


def test_an_interrupted_search_still_gives_a_bracket() -> None:
    def stop(step: int, _: LiftedState) -> None:
        if step == 5:
            raise KeyboardInterrupt

    result = lipschitz_bracket(PLANE, methods=QUICK, rtol=1e-9, observers=[stop])
    assert result.lifted is not None
    assert result.lifted.status is Status.INTERRUPTED
    truth = exact_lipschitz(PLANE)
    assert result.bracket.lower.value <= truth * (1.0 + 1e-11)
    assert truth <= result.bracket.upper.value * (1.0 + 1e-11)


# Two outputs


@pytest.mark.parametrize("norm", NORMS)
def test_two_outputs_are_the_margin_network(norm: Norm) -> None:
    network = TWO_OUTPUTS
    methods: Sequence[Method] = METHODS if norm == "l2" else QUICK
    result = lipschitz_bracket(network, norm=norm, outputs=(1, 0), methods=methods)
    direct = lipschitz_bracket(margin(network, 1, 0), norm=norm, methods=methods)
    assert [b.value for b in result.bounds] == [b.value for b in direct.bounds]
    # The digest is that of what was given, so that a file can be checked against it.
    assert result.digest == network.digest != direct.digest
    assert (result.outputs, direct.outputs) == ((1, 0), None)
    assert result.problem.network.out_shape == (1,)
    truth = exact_lipschitz(margin(network, 0, 1), norm)
    assert result.bracket.lower.value <= truth * (1.0 + 1e-11)
    assert truth <= result.bracket.upper.value * (1.0 + 1e-11)


def test_outputs_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="two different outputs in 0"):
        lipschitz_bracket(BIASED, outputs=(0, 2))
    with pytest.raises(InputError, match="norm must be one of"):
        lipschitz_bracket(BIASED, norm=cast(Norm, "l7"))


# Certificates


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("outputs", [None, (1, 0)])
def test_a_certificate_holds_what_was_found_and_verifies(
    norm: Norm, outputs: tuple[int, int] | None, generator: torch.Generator
) -> None:
    network = TWO_OUTPUTS
    methods: Sequence[Method] = METHODS if outputs and norm == "linf" else QUICK
    result = lipschitz_bracket(network, norm=norm, outputs=outputs, methods=methods)
    certificate = result.certificate()
    assert certificate is not None
    assert result.lifted is not None
    assert result.lifted.bound is not None
    assert (certificate.digest, certificate.norm) == (network.digest, norm)
    assert certificate.outputs == outputs
    assert certificate.lower == result.bracket.lower.value
    assert certificate.upper == result.lifted.bound.value
    assert certificate.arithmetic == "float"
    assert certificate.failure_probability == 0.0
    assert certificate.witness == result.lifted.witness
    assert certificate.pair == (result.pair.x, result.pair.x_prime)
    bracket = verify(certificate, network, generator=generator)
    assert bracket.lower.value == certificate.lower
    assert bracket.upper.value == certificate.upper


def test_a_certificate_is_that_of_the_lifted_network_even_if_a_sweep_is_better() -> (
    None
):
    result = lipschitz_bracket(PLANE, methods=QUICK)
    assert result.bracket.upper.method == "angular sweep"
    certificate = result.certificate()
    assert certificate is not None
    assert result.lifted is not None
    assert certificate.upper > result.bracket.upper.value
    verify(certificate, PLANE, generator=make_generator(1))


def test_without_multipliers_there_is_no_certificate() -> None:
    result = lipschitz_bracket(PLANE, methods=("sweep", "product"))
    assert result.certificate() is None
    full = lipschitz_bracket(PLANE, methods=QUICK, max_steps=30)
    assert full.lifted is not None
    none = replace(full, lifted=replace(full.lifted, bound=None, witness=()))
    assert none.certificate() is None
    without_pair = Bound(value=0.0, side="lower", method="trivial")
    bare = replace(full, bracket=Bracket(lower=without_pair, upper=full.bracket.upper))
    with pytest.raises(InputError, match="carries no pair of inputs"):
        _ = bare.pair
