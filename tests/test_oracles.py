"""The oracles themselves, against closed forms and against each other."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from cases import NETWORKS, RELU, normal, random_chain
from oracles import (
    Array,
    certificate_holds_exactly,
    chain_form,
    derivative,
    form_of,
    gradients,
    is_psd_exact,
    lipsdp_form,
    lipsdp_value,
    lipsdp_value_graph,
    operator_norms,
    pattern_lipschitz,
    pieces_of,
    slopes_of,
)
from regions import (
    arrangement_slopes,
    exact_lipschitz,
    line_lipschitz,
    region_jacobians,
    sampled_lipschitz,
    slopes_at,
)
from tacit.lipschitz.layers import (
    ACTIVATION_KINDS,
    PIECEWISE_LINEAR_KINDS,
    AbstractLinear,
    Activation,
    Shift,
)
from tacit.lipschitz.network import chain, run
from tacit.rng import make_generator

# Interior-point solvers stop at about 1e-8 in the square of a value of order one.
SOLVER_RTOL = 2e-6
NORMS = ("l2", "linf", "l1")


def tensor(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def array(*rows: list[float]) -> Array:
    return np.array(rows, dtype=np.float64)


BUILT = {name: build(make_generator(0, name)) for name, build in NETWORKS.items()}
SMALL = [name for name, network in BUILT.items() if network.num_neurons <= 16]
ENUMERABLE = [
    name
    for name in SMALL
    if BUILT[name].num_inputs <= 4
    and all(a.kind in PIECEWISE_LINEAR_KINDS for a in BUILT[name].activations)
]


def test_every_layer_and_activation_occurs_in_a_case() -> None:
    layers = [node.layer for network in BUILT.values() for node in network.nodes]
    own = [
        cls
        for cls in AbstractLinear.__subclasses__()
        if cls.__module__.startswith("tacit.")  # tests define layers of their own
    ]
    assert not {*own, Shift} - {type(layer) for layer in layers}
    kinds = {layer.kind for layer in layers if isinstance(layer, Activation)}
    assert kinds == set(ACTIVATION_KINDS)


@pytest.mark.parametrize("name", NETWORKS)
def test_form_reproduces_the_network(name: str, generator: torch.Generator) -> None:
    network = BUILT[name]
    form = form_of(network)
    x = normal(generator, 6, *network.in_shape)
    flat = x.reshape(6, -1).numpy()
    values = np.zeros((6, form.output.shape[1]))
    values[:, : form.num_inputs] = flat
    for begin, row, shift, act in zip(
        form.starts, form.rows, form.shifts, form.activations, strict=False
    ):
        y = values[:, :begin] @ row[:, :begin].T + shift
        values[:, begin : begin + len(row)] = act.apply(torch.from_numpy(y)).numpy()
    expected = (run(network, x) - run(network, x[:1])).reshape(6, -1).numpy()
    found = (values - values[:1]) @ form.output.T
    scale = np.abs(form.output).max() * np.abs(values).max()
    assert np.abs(found - expected).max() <= 1e-13 * scale * values.shape[1]


@pytest.mark.parametrize("kind", sorted(PIECEWISE_LINEAR_KINDS))
def test_pieces_are_the_activation(kind: str) -> None:
    activation = Activation(kind=kind, parameter=0.3)
    x = np.linspace(-8.0, 8.0, 321)
    found = np.full_like(x, np.nan)
    for low, high, slope, value in pieces_of(activation):
        inside = (x >= low) & (x <= high)
        found[inside] = slope * x[inside] + value
    expected = activation.apply(torch.from_numpy(x)).numpy()
    assert np.abs(found - expected).max() <= 1e-14


@pytest.mark.parametrize("kind", sorted(set(ACTIVATION_KINDS) - PIECEWISE_LINEAR_KINDS))
def test_derivative_is_that_of_the_activation(kind: str) -> None:
    activation = Activation(kind=kind, parameter=1.5)
    x = np.linspace(-6.0, 6.0, 201)[::2] + 0.013  # off the kink of elu
    step = 1e-5
    low, high = (
        activation.apply(torch.from_numpy(x + s)).numpy() for s in (-step, step)
    )
    assert np.abs((high - low) / (2.0 * step) - derivative(activation, x)).max() <= 1e-9


def test_slopes_of_the_textbook_activations() -> None:
    expected = {"relu": (0.0, 1.0), "abs": (-1.0, 1.0), "tanh": (0.0, 1.0)}
    expected |= {"sigmoid": (0.0, 0.25), "relu6": (0.0, 1.0), "hardtanh": (0.0, 1.0)}
    for kind, slopes in expected.items():
        assert slopes_of(Activation(kind=kind)) == pytest.approx(slopes, abs=1e-15)


@pytest.mark.parametrize(
    ("norm", "expected"), [("l2", 5.0), ("linf", 7.0), ("l1", 4.0)]
)
def test_single_neuron(norm: str, expected: float) -> None:
    weights = [array([3.0, -4.0]), array([-2.0])]
    network = chain([(tensor([3.0, -4.0]), None, RELU), (tensor([-2.0]), None, None)])
    for value in (exact_lipschitz(network, norm), pattern_lipschitz(network, norm)):
        assert value == pytest.approx(2.0 * expected, rel=1e-14)
    found, _, status = lipsdp_value(weights, norm=norm)
    assert status == "optimal"
    assert found == pytest.approx(2.0 * expected, rel=SOLVER_RTOL)
    assert line_lipschitz(network, norm) == pytest.approx(2.0 * expected, rel=1e-14)


@pytest.mark.parametrize("norm", NORMS)
def test_linear_network(norm: str, generator: torch.Generator) -> None:
    weight = normal(generator, 3, 4)
    network = chain([(weight, None, None)])
    w = weight.numpy()
    signs = [np.linalg.norm(w @ s) for s in itertools.product((-1.0, 1.0), repeat=4)]
    expected = {
        "l2": np.linalg.svd(w)[1][0],
        "linf": max(signs),
        "l1": np.linalg.norm(w, axis=0).max(),
    }[norm]
    assert exact_lipschitz(network, norm) == pytest.approx(expected, rel=1e-13)
    assert pattern_lipschitz(network, norm) == pytest.approx(expected, rel=1e-13)
    found, _, _ = lipsdp_value([w], norm=norm)
    if norm == "linf":  # the relaxation of a sign problem: up to sqrt(pi / 2) above
        assert expected * (1.0 - SOLVER_RTOL) <= found <= expected * 1.2533142
    else:
        assert found == pytest.approx(expected, rel=SOLVER_RTOL)


def test_two_neurons_with_known_answers() -> None:
    opposite = tensor([1.0], [-1.0])
    identity = chain([(opposite, None, RELU), (tensor([1.0, -1.0]), None, None)])
    # relu(x) - relu(-x) = x, but independent switches allow the slope 2.
    assert exact_lipschitz(identity) == 1.0
    assert line_lipschitz(identity) == 1.0
    assert pattern_lipschitz(identity) == 2.0
    assert lipsdp_value_graph(identity)[0] == pytest.approx(2.0, rel=SOLVER_RTOL)
    # relu(x) + relu(-x) = |x|: the two relaxed vectors add up to at most |x|.
    absolute = chain([(opposite, None, RELU), (tensor([1.0, 1.0]), None, None)])
    assert exact_lipschitz(absolute) == 1.0
    assert lipsdp_value_graph(absolute)[0] == pytest.approx(1.0, rel=SOLVER_RTOL)
    # relu(x_1) + ... + relu(x_n): the gradient (1, ..., 1) is reached.
    separate = [np.eye(5), np.ones((1, 5))]
    assert lipsdp_value(separate)[0] == pytest.approx(math.sqrt(5.0), rel=SOLVER_RTOL)
    assert lipsdp_value(separate, norm="linf")[0] == pytest.approx(5.0, rel=SOLVER_RTOL)


def test_general_slopes_of_one_neuron() -> None:
    weights = [array([1.0]), array([1.0])]
    for slopes, expected in {
        (-2.0, 1.0): 2.0,
        (0.5, 0.75): 0.75,
        (-0.1, 1.1): 1.1,
    }.items():
        found, _, _ = lipsdp_value(weights, slopes=slopes)
        assert found == pytest.approx(expected, rel=SOLVER_RTOL)


def _lifted_ascent(weights: list[Array], rank: int, num_steps: int) -> float:
    """Ascent on the factored primal of one hidden layer: never above the optimum."""
    w, c = weights
    draw = np.random.default_rng(5)
    x, u = (
        draw.standard_normal((w.shape[1], rank)),
        draw.standard_normal((w.shape[0], rank)),
    )
    value = 0.0
    for _ in range(num_steps):
        x = x / np.linalg.norm(x)
        u = u / np.linalg.norm(u, axis=1, keepdims=True)
        y = w @ x
        size = np.linalg.norm(y, axis=1, keepdims=True)
        out = c @ (y + size * u) / 2.0
        value = float(np.linalg.norm(out))
        g = c.T @ out
        along = np.sum(g * u, axis=1, keepdims=True) / size
        x, u = w.T @ (g + along * y), g
    return value


def test_solvers_agree_with_each_other_and_with_the_primal() -> None:
    draw = np.random.default_rng(1)
    weights = [draw.standard_normal((50, 10)) / 5.0, draw.standard_normal((1, 50))]
    clarabel, _, status = lipsdp_value(weights)
    assert status == "optimal"
    cvxopt, _, _ = lipsdp_value(weights, solver="CVXOPT")
    assert cvxopt == pytest.approx(clarabel, rel=1e-5)
    primal = _lifted_ascent(weights, 12, 2000)
    assert primal <= clarabel * (1.0 + SOLVER_RTOL)
    assert primal == pytest.approx(clarabel, rel=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_lipsdp_is_above_every_pattern(name: str) -> None:
    relaxed, _, status = lipsdp_value_graph(BUILT[name])
    assert status == "optimal"
    # Near zero the solver is accurate to the root of its absolute tolerance.
    assert pattern_lipschitz(BUILT[name]) <= relaxed * (1.0 + SOLVER_RTOL)


@pytest.mark.parametrize("name", ENUMERABLE)
def test_exact_is_between_samples_and_patterns(
    name: str, generator: torch.Generator
) -> None:
    network = BUILT[name]
    exact = exact_lipschitz(network)
    points = 3.0 * normal(generator, 300, network.num_inputs).numpy()
    assert sampled_lipschitz(network, points) <= exact * (1.0 + 1e-12)
    assert exact <= pattern_lipschitz(network) * (1.0 + 1e-12)


def _num_cells(hyperplanes: int, dimension: int) -> int:
    return sum(math.comb(hyperplanes, i) for i in range(dimension + 1))


@pytest.mark.parametrize(("d", "n"), [(1, 4), (2, 2), (2, 5), (3, 4), (3, 6)])
@pytest.mark.parametrize("bias_scale", [1.0, 0.0])
def test_one_layer_has_the_known_number_of_regions(
    d: int, n: int, bias_scale: float, generator: torch.Generator
) -> None:
    network = random_chain(generator, (d, n, n), bias_scale=bias_scale)
    form = form_of(network)
    weight, bias = form.rows[0][None, :, :d], form.shifts[0][None]
    cells = np.unique(arrangement_slopes(weight, bias, 0.0, 1.0)[0], axis=0)
    # n planes through a point cut space like n - 1 cut each of two opposite planes.
    expected = _num_cells(n, d) if bias_scale else 2 * _num_cells(n - 1, d - 1)
    assert len(cells) == expected
    jacobians = region_jacobians(form, np.random.default_rng(0))
    assert len(jacobians) == expected
    found = form.output @ gradients(form, cells)
    for norm in NORMS:
        assert operator_norms(found, norm).max() == pytest.approx(
            operator_norms(jacobians, norm).max(), rel=1e-12
        )


@pytest.mark.parametrize("kind", sorted(PIECEWISE_LINEAR_KINDS))
def test_sweep_of_a_line_finds_every_region(
    kind: str, generator: torch.Generator
) -> None:
    activation = Activation(kind=kind, parameter=-0.4)
    for _ in range(4):
        network = random_chain(generator, (1, 3, 3, 2), activation=activation)
        assert line_lipschitz(network) == pytest.approx(
            exact_lipschitz(network), rel=1e-12
        )


@pytest.mark.parametrize("norm", NORMS)
def test_sweep_of_the_plane_finds_every_cone(
    norm: str, generator: torch.Generator
) -> None:
    for _ in range(4):
        network = random_chain(generator, (2, 4, 3, 2), bias_scale=0.0)
        expected = exact_lipschitz(network, norm)
        assert line_lipschitz(network, norm) == pytest.approx(expected, rel=1e-12)


def test_slopes_at_points_give_finite_differences(generator: torch.Generator) -> None:
    for name in ENUMERABLE:
        network, form = BUILT[name], form_of(BUILT[name])
        x = normal(generator, 5, network.num_inputs)
        step = 1e-9 * normal(generator, 5, network.num_inputs)
        slopes, _ = slopes_at(form, x.numpy())
        ends = [
            run(network, (x + s).reshape(5, *network.in_shape)) for s in (step, -step)
        ]
        moved = (ends[0] - ends[1]).reshape(5, -1).numpy()
        jacobians = form.output @ gradients(form, slopes)
        expected = (jacobians @ (2.0 * step.numpy())[:, :, None])[..., 0]
        scale = np.abs(form.output @ gradients(form, np.abs(slopes))).max() + 1.0
        size = float(run(network, x.reshape(5, *network.in_shape)).abs().max())
        # The difference loses the digits by which the values exceed it.
        assert np.abs(moved - expected).max() <= 1e-13 * (scale + size) * 100.0, name


def _fractions(matrix: Array) -> list[list[Fraction]]:
    return [[Fraction(float(x)) for x in row] for row in matrix]


def test_exact_semidefiniteness() -> None:
    one, tiny = Fraction(1), Fraction(1, 10**40)
    assert is_psd_exact([[one, one], [one, one]])
    assert not is_psd_exact([[one, one], [one, one - tiny]])
    assert is_psd_exact([[Fraction(0), Fraction(0)], [Fraction(0), one]])
    assert not is_psd_exact([[Fraction(0), tiny], [tiny, one]])
    assert not is_psd_exact([[-tiny]])
    draw = np.random.default_rng(2)
    for shift in (-0.1, 0.1):
        for _ in range(10):
            a = draw.standard_normal((5, 5))
            a = a + a.T
            a -= (np.linalg.eigvalsh(a)[0] - shift) * np.eye(5)
            a = (a + a.T) / 2.0
            assert is_psd_exact(_fractions(a)) == (shift > 0.0)
    # A rational Gram matrix of rank one is semidefinite without any slack.
    v = [Fraction(float(x)) for x in draw.standard_normal(6)]
    assert is_psd_exact([[x * y for x in v] for y in v])


def test_certificate_of_one_neuron_holds_with_no_slack() -> None:
    # rho x^2 - z^2 - lambda z (x - z) = (x - z)^2 for rho = 1 and lambda = 2.
    weights = [array([1.0]), array([1.0])]
    assert certificate_holds_exactly(weights, [[2.0]], [1.0])
    assert not certificate_holds_exactly(weights, [[2.0]], [math.nextafter(1.0, 0.0)])
    assert not certificate_holds_exactly(weights, [[1.5]], [1.0])
    assert certificate_holds_exactly(weights, [[1.5]], [1.125])
    assert not certificate_holds_exactly(weights, [[-2.0]], [100.0])
    assert not certificate_holds_exactly(weights, [[2.0], [2.0]], [1.0])
    # Slopes in [-1, 1]: rho x^2 - z^2 - lambda (z + x)(x - z) = 0 for rho = lambda = 1.
    assert certificate_holds_exactly(weights, [[1.0]], [1.0], slopes=(-1.0, 1.0))
    assert not certificate_holds_exactly(weights, [[1.0]], [0.99], slopes=(-1.0, 1.0))


def test_certificate_agrees_with_the_form_in_floating_point() -> None:
    draw = np.random.default_rng(3)
    sizes = (2, 4, 3, 2)
    weights = [draw.standard_normal((n, m)) / 2.0 for m, n in itertools.pairwise(sizes)]
    form = chain_form(weights, RELU)
    multipliers = [
        draw.uniform(6.0, 9.0, 4).tolist(),
        draw.uniform(3.0, 5.0, 3).tolist(),
    ]
    low, high = 0.0, 1e6
    for _ in range(60):
        rho = (low + high) / 2.0
        if certificate_holds_exactly(weights, multipliers, [rho, rho]):
            high = rho
        else:
            low = rho
    matrix = -form.output.T @ form.output
    flat = [m for layer in multipliers for m in layer]
    for k, (m, row) in enumerate(zip(flat, np.concatenate(form.rows), strict=True)):
        matrix[2 + k, 2 + k] += m
        matrix[2 + k] -= m * row / 2.0
        matrix[:, 2 + k] -= m * row / 2.0
    inner = np.linalg.solve(matrix[2:, 2:], matrix[2:, :2])
    expected = np.linalg.eigvalsh(matrix[:2, 2:] @ inner - matrix[:2, :2])[-1]
    assert np.linalg.eigvalsh(matrix[2:, 2:])[0] > 0.0
    assert high == pytest.approx(expected, rel=1e-10)
    # What these multipliers prove is above what the best ones prove.
    assert lipsdp_form(form)[0] <= math.sqrt(high) * (1.0 + SOLVER_RTOL)
