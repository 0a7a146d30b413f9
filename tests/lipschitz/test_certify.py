"""The checker against the quadratic form written out as one dense matrix.

The matrix (``forms.py``) is decided by a Schur complement, by a semidefinite programme
or in rational arithmetic.
"""

import math

import cvxpy as cp
import numpy as np
import pytest
import torch

from cases import NETWORKS, RELU, normal, random_chain
from forms import proving_multipliers, quadratic_form, reduced
from oracles import Array, certificate_holds_exactly, form_of
from tacit.errors import CertificateError, ShapeError
from tacit.lipschitz import certify as certify_module
from tacit.lipschitz.blocks import dense_blocks
from tacit.lipschitz.certify import Multipliers, certify, is_eliminable, scaled_norm
from tacit.lipschitz.compose import append
from tacit.lipschitz.layers import Activation, Dense, Scale
from tacit.lipschitz.network import chain
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.rng import make_generator

CASES = {name: build(make_generator(0, name)) for name, build in NETWORKS.items()}


def expected(rest: Array, norm: Norm, weights: Array) -> float:
    """The smallest bound that multiples of the input weights prove for R."""
    if norm == "l1":
        return math.sqrt(max(rest.diagonal().max(), 0.0))
    weights = weights if norm == "linf" else np.ones_like(weights)
    scaled = rest / np.sqrt(np.outer(weights, weights))
    factor = weights.sum() if norm == "linf" else 1.0
    return math.sqrt(max(np.linalg.eigvalsh(scaled)[-1], 0.0) * factor)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", CASES)
def test_elimination_equals_the_dense_schur_complement(
    name: str, norm: Norm, generator: torch.Generator
) -> None:
    network = CASES[name]
    large = proving_multipliers(network)
    wobble = [torch.exp(normal(generator, *m.shape) / 4.0) for m in large.neurons]
    part = Multipliers(
        neurons=tuple(m * w for m, w in zip(large.neurons, wobble, strict=True)),
        inputs=torch.exp(normal(generator, *network.in_shape)),
    )
    bound = certify(LipschitzProblem(network=network, norm=norm), (part,))
    truth = expected(reduced(network, part), norm, part.inputs.reshape(-1).numpy())
    # A bound of zero is raised by the allowance for underflow.
    assert bound.value == pytest.approx(truth, rel=1e-9, abs=1e-140)
    assert bound.value >= truth * (1.0 - 1e-12)
    assert (bound.side, bound.arithmetic) == ("upper", "float")
    assert (bound.failure_probability, bound.witness) == (0.0, (part,))


SMALL = ["relu-3-5-4-2", "gelu-2-4-3-1", "leaky-negative", "residual", "concat"]


@pytest.mark.oracle
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", SMALL)
def test_value_is_the_smallest_that_a_semidefinite_solver_finds(
    name: str, norm: Norm
) -> None:
    network = CASES[name]
    part = proving_multipliers(network, strength=2.0)
    # In these units all entries are of order one.
    root = np.concatenate([m.reshape(-1).numpy() ** -0.5 for m in part.neurons])
    d = network.num_inputs
    scale = np.concatenate([np.ones(d), root])
    matrix = scale[:, None] * quadratic_form(network, part) * scale
    weights = np.linspace(1.0, 2.0, d)

    def least(keep: list[int], direction: Array) -> float:
        """The least t with t diag(direction) on the inputs kept covering the rest."""
        t = cp.Variable()
        rest = matrix[np.ix_(keep, keep)]
        inputs = np.zeros(len(keep))
        inputs[: len(direction)] = direction
        problem = cp.Problem(cp.Minimize(t), [rest + t * np.diag(inputs) >> 0])
        problem.solve(solver="CLARABEL")
        assert t.value is not None
        return float(t.value)

    everything = list(range(len(matrix)))
    if norm == "l1":
        columns = [[j, *everything[d:]] for j in range(d)]
        squared = max(least(keep, np.ones(1)) for keep in columns)
    elif norm == "linf":
        squared = weights.sum() * least(everything, weights)
    else:
        squared = least(everything, np.ones(d))
    part = Multipliers(neurons=part.neurons, inputs=torch.from_numpy(weights))
    bound = certify(LipschitzProblem(network=network, norm=norm), (part,))
    assert bound.value == pytest.approx(math.sqrt(squared), rel=1e-6)


LANCZOS = [name for name in CASES if name not in {"zero", "only-shift", "cancelling"}]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", LANCZOS)
def test_lanczos_and_elimination_agree(
    name: str, norm: Norm, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = CASES[name]
    problem = LipschitzProblem(network=network, norm=norm)
    part = proving_multipliers(network)
    value = certify(problem, (part,)).value
    monkeypatch.setattr(certify_module, "MAX_SITE_SIZE", 0)
    assert not is_eliminable(network)
    # The squared scaled norm is 1 where the input weights sum up to the squared value.
    exact = value**2 / (network.num_inputs if norm == "linf" else 1)

    def proved(share: float) -> float:
        inputs = share * exact * torch.ones(network.in_shape, dtype=torch.float64)
        scaled = Multipliers(neurons=part.neurons, inputs=inputs)
        bound = certify(
            problem, (scaled,), generator=generator, failure_probability=1e-6
        )
        assert bound.arithmetic == "probabilistic"
        assert bound.failure_probability == 1e-6
        return bound.value

    assert proved(1.0 + 1e-6) == pytest.approx(value * (1.0 + 5e-7), rel=1e-9, abs=0.0)
    with pytest.raises(CertificateError, match="prove no bound: the squared scaled"):
        proved(1.0 - 1e-6)


def test_lanczos_bounds_l1_by_l2(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = CASES["residual"]
    part = proving_multipliers(network)
    value = certify(LipschitzProblem(network=network), (part,)).value
    inputs = torch.full(network.in_shape, value**2 * 1.001, dtype=torch.float64)
    monkeypatch.setattr(certify_module, "MAX_BLOCK_ENTRIES", 0)
    problem = LipschitzProblem(network=network, norm="l1")
    witness = (Multipliers(neurons=part.neurons, inputs=inputs),)
    bound = certify(problem, witness, generator=generator)
    assert bound.value == pytest.approx(value * math.sqrt(1.001))


def test_scaled_norm_is_the_norm_of_the_dense_matrix(
    generator: torch.Generator,
) -> None:
    """M at once: largest eigenvalue of what Q - p - mu leaves, scaled by both."""
    for name in SMALL:
        network = CASES[name]
        part = proving_multipliers(network, strength=1e-3)  # so that the norm exceeds 1
        form = form_of(network)
        # v = (x, z) as a map of (x, w): z = c y + r w, site after site.
        mapped = np.eye(len(form.output.T))
        mu: list[Array] = []
        images: list[Array] = []
        for row, start, act, m in zip(
            form.rows, form.starts[:-1], form.activations, part.neurons, strict=True
        ):
            end = start + row.shape[0]
            y = row @ mapped
            own = np.eye(mapped.shape[1])[start:end]
            mapped[start:end] = act.center * y + act.radius * own
            mu.append(act.radius**2 * m.reshape(-1).numpy())
            images.append(np.sqrt(mu[-1])[:, None] * y)
        images.append(form.output @ mapped)
        weights = np.concatenate([part.inputs.numpy(), *mu])
        dense = np.concatenate(images) / np.sqrt(weights)
        norm = float(np.linalg.norm(dense, 2)) ** 2
        assert norm > 1.0
        found = scaled_norm(
            network,
            part,
            generator=generator,
            max_steps=100,
            failure_probability=1e-9,
        )
        assert 1.0 < found <= norm * (1.0 + 1e-9)
        inputs = part.inputs * 2.0 * norm
        large = Multipliers(
            neurons=tuple(2.0 * norm * m for m in part.neurons), inputs=inputs
        )
        # Both sides of M grew: only the output became small.
        assert scaled_norm(
            network,
            large,
            generator=generator,
            max_steps=100,
            failure_probability=1e-9,
        ) <= norm * (1.0 + 1e-6)


# Rational arithmetic

SLOPES = [("relu", 0.0), ("leaky_relu", 0.25), ("leaky_relu", -0.5), ("abs", 0.0)]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(("kind", "parameter"), SLOPES)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 3, 1), (2, 2, 2, 2)])
def test_what_is_certified_holds_in_rational_arithmetic(
    sizes: tuple[int, ...],
    kind: str,
    parameter: float,
    norm: Norm,
    generator: torch.Generator,
) -> None:
    activation = Activation(kind=kind, parameter=parameter)
    for _ in range(3):
        network = random_chain(generator, sizes, activation=activation, bias_scale=0.0)
        part = proving_multipliers(network, strength=1.5)
        bound = certify(LipschitzProblem(network=network, norm=norm), (part,))
        weights = [
            node.layer.weight.numpy()
            for node in network.nodes
            if isinstance(node.layer, Dense)
        ]
        neurons = [m.tolist() for m in part.neurons]
        share = bound.value**2 / (sizes[0] if norm == "linf" else 1)
        slopes = activation.slopes
        for factor, holds in ((1.0 + 1e-9, True), (1.0 - 1e-6, False), (0.5, False)):
            inputs = [factor * share] * sizes[0]
            found = certificate_holds_exactly(weights, neurons, inputs, slopes)
            assert found is holds


# Scale


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-60, 1e-12, 1e12, 1e60])
@pytest.mark.parametrize("name", ["relu-3-5-4-2", "residual", "gelu-2-4-3-1"])
def test_the_unit_of_the_output_does_not_matter(
    name: str, scale: float, norm: Norm
) -> None:
    network = CASES[name]
    part = proving_multipliers(network)
    value = certify(LipschitzProblem(network=network, norm=norm), (part,)).value
    layer = Scale(factor=torch.tensor(scale, dtype=torch.float64))
    scaled = append(network, layer)
    larger = Multipliers(
        neurons=tuple(scale**2 * m for m in part.neurons), inputs=part.inputs
    )
    found = certify(LipschitzProblem(network=scaled, norm=norm), (larger,)).value
    assert found == pytest.approx(scale * value, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e12, 1e300])
def test_only_the_ratios_of_input_weights_count_in_linf(unit: float) -> None:
    network = chain([(1e-13 * torch.ones(1, 2, dtype=torch.float64), None, None)])
    problem = LipschitzProblem(network=network, norm="linf")
    part = Multipliers(neurons=(), inputs=unit * torch.tensor([1.0, 1.0]).double())
    found = certify(problem, (part,)).value
    assert found == pytest.approx(2e-13, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("norm", NORMS)
def test_no_bound_is_lost_to_underflow(norm: Norm) -> None:
    weight = torch.full((1, 2), 1e-170, dtype=torch.float64)
    problem = LipschitzProblem(network=chain([(weight, None, None)]), norm=norm)
    inputs = torch.ones(2, dtype=torch.float64)
    bound = certify(problem, (Multipliers(neurons=(), inputs=inputs),))
    assert 2e-170 <= bound.value <= 1e-140


@pytest.mark.parametrize("norm", NORMS)
def test_a_number_that_overflows_proves_nothing(norm: Norm) -> None:
    weight = torch.full((3, 2), 1e170, dtype=torch.float64)
    problem = LipschitzProblem(network=chain([(weight, None, None)]), norm=norm)
    inputs = torch.ones(2, dtype=torch.float64)
    with pytest.raises(CertificateError, match="overflowed; rescale the network"):
        certify(problem, (Multipliers(neurons=(), inputs=inputs),))
    network = chain([(weight, None, RELU), (weight.T, None, None)])
    ones = Multipliers(neurons=(torch.ones(3).double(),), inputs=inputs)
    with pytest.raises(CertificateError, match="prove no bound"):
        certify(LipschitzProblem(network=network, norm=norm), (ones,))


# Several witnesses


def test_l1_takes_the_best_of_several_for_every_input(
    generator: torch.Generator,
) -> None:
    network = CASES["relu-3-5-4-2"]
    problem = LipschitzProblem(network=network, norm="l1")
    large = proving_multipliers(network)
    parts = tuple(
        Multipliers(
            neurons=tuple(
                m * torch.exp(normal(generator, *m.shape)) for m in large.neurons
            ),
            inputs=large.inputs,
        )
        for _ in range(4)
    )
    diagonals = [reduced(network, part).diagonal() for part in parts]
    best = math.sqrt(np.min(diagonals, axis=0).max())
    assert best < min(math.sqrt(diagonal.max()) for diagonal in diagonals)
    assert certify(problem, parts).value == pytest.approx(best, rel=1e-9)
    useless = Multipliers(
        neurons=tuple(1e-9 * m for m in large.neurons), inputs=large.inputs
    )
    assert certify(problem, (useless, *parts)).value == pytest.approx(best, rel=1e-9)
    with pytest.raises(CertificateError, match="no form is positive definite"):
        certify(problem, (useless,))


def test_l2_takes_the_best_of_several() -> None:
    network = CASES["concat"]
    problem = LipschitzProblem(network=network)
    parts = [proving_multipliers(network, strength=s) for s in (2.0, 50.0)]
    values = [certify(problem, (part,)).value for part in parts]
    assert values[0] != values[1]
    assert certify(problem, tuple(parts)).value == min(values)


def test_blocks_at_hand_change_nothing() -> None:
    network = CASES["residual"]
    problem = LipschitzProblem(network=network)
    witness = (proving_multipliers(network),)
    blocks = dense_blocks(network)
    with_blocks = certify(problem, witness, blocks=blocks).value
    assert with_blocks == certify(problem, witness).value


# What is refused

NETWORK = CASES["relu-3-5-4-2"]
GOOD = proving_multipliers(NETWORK)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("site", [0, 1])
def test_multipliers_that_are_too_small_prove_nothing(norm: Norm, site: int) -> None:
    neurons = list(GOOD.neurons)
    neurons[site] = 1e-6 * neurons[site]
    part = Multipliers(neurons=tuple(neurons), inputs=GOOD.inputs)
    with pytest.raises(CertificateError, match="the multipliers prove no bound"):
        certify(LipschitzProblem(network=NETWORK, norm=norm), (part,))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("site", [0, 1, 2])
def test_multipliers_must_be_positive_numbers(site: int, value: float) -> None:
    tensors = [GOOD.inputs.clone(), *(m.clone() for m in GOOD.neurons)]
    tensors[site][1] = value
    part = Multipliers(neurons=tuple(tensors[1:]), inputs=tensors[0])
    for witness in ((part,), (GOOD, part)):
        with pytest.raises(CertificateError, match="must be finite and positive"):
            certify(LipschitzProblem(network=NETWORK), witness)


def test_multipliers_of_another_network_are_refused() -> None:
    x, (first, second) = GOOD.inputs, GOOD.neurons
    for part in (
        Multipliers(neurons=(first,), inputs=x),
        Multipliers(neurons=(second, first), inputs=x),
        Multipliers(neurons=(first, second, second), inputs=x),
        Multipliers(neurons=(first, second), inputs=x[:2]),
        Multipliers(neurons=(first[:, None], second), inputs=x),
    ):
        with pytest.raises(ShapeError, match=r"must have the shapes \(\(3,\), \(5,\)"):
            certify(LipschitzProblem(network=NETWORK), (part,))


def test_an_empty_witness_is_refused() -> None:
    with pytest.raises(CertificateError, match="at least one set of multipliers"):
        certify(LipschitzProblem(network=NETWORK), ())


def test_lanczos_asks_for_what_it_needs(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certify_module, "MAX_BLOCK_ENTRIES", 0)
    problem = LipschitzProblem(network=NETWORK)
    with pytest.raises(CertificateError, match="too large for elimination: pass a gen"):
        certify(problem, (GOOD,))
    with pytest.raises(CertificateError, match="one set of multipliers; got 2"):
        certify(problem, (GOOD, GOOD), generator=generator)


@pytest.mark.parametrize("limit", ["MAX_BLOCK_ENTRIES", "MAX_SITE_SIZE"])
def test_either_size_may_be_too_much_for_elimination(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks of 15, 20 and 8 entries, five neurons at most.
    sizes = {"MAX_BLOCK_ENTRIES": 43, "MAX_SITE_SIZE": 5}
    monkeypatch.setattr(certify_module, limit, sizes[limit])
    assert is_eliminable(NETWORK)
    monkeypatch.setattr(certify_module, limit, sizes[limit] - 1)
    assert not is_eliminable(NETWORK)
