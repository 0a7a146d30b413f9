"""Slow independent answers about Lipschitz constants.

Nothing here uses the package except to read a network: its layers are probed with unit
vectors by :func:`tacit.lipschitz.network.run`. Everything else (kinks and slopes of the
activations, the semidefinite program, the regions, the exact arithmetic) is restated.

With v = (x, z_1, ..., z_L) stacked, pre-activations are ``y_t = rows[t] v + shift_t``.
"""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cvxpy as cp
import numpy as np
import scipy.special
import torch
from numpy.typing import NDArray

from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, run

Array = NDArray[np.float64]
# One linear piece of an activation: lower end, upper end, slope, value at 0 extended.
Piece = tuple[float, float, float, float]
Slopes = tuple[float, float]


def pieces_of(activation: Activation) -> list[Piece]:
    """Linear pieces of a piecewise-linear activation, from left to right."""
    inf, a = math.inf, activation.parameter
    table: dict[str, list[Piece]] = {
        "relu": [(-inf, 0.0, 0.0, 0.0), (0.0, inf, 1.0, 0.0)],
        "leaky_relu": [(-inf, 0.0, a, 0.0), (0.0, inf, 1.0, 0.0)],
        "abs": [(-inf, 0.0, -1.0, 0.0), (0.0, inf, 1.0, 0.0)],
        "relu6": [(-inf, 0.0, 0.0, 0.0), (0.0, 6.0, 1.0, 0.0), (6.0, inf, 0.0, 6.0)],
        "hardtanh": [
            (-inf, -1.0, 0.0, -1.0),
            (-1.0, 1.0, 1.0, 0.0),
            (1.0, inf, 0.0, 1.0),
        ],
    }
    return table[activation.kind]


def derivative(activation: Activation, x: Array) -> Array:
    """Derivative of a smooth activation, from its textbook formula."""
    a = activation.parameter
    logistic = 1.0 / (1.0 + np.exp(-x))
    if activation.kind == "tanh":
        return 1.0 / np.cosh(x) ** 2
    if activation.kind == "sigmoid":
        return logistic * (1.0 - logistic)
    if activation.kind == "softplus":
        return 1.0 / (1.0 + np.exp(-a * x))
    if activation.kind == "elu":
        return np.where(x > 0.0, 1.0, a * np.exp(np.minimum(x, 0.0)))
    if activation.kind == "silu":
        return logistic * (1.0 + x * (1.0 - logistic))
    if activation.kind == "gelu":
        density = np.exp(-(x**2) / 2.0) / math.sqrt(2.0 * math.pi)
        return scipy.special.ndtr(x) + x * density
    if activation.kind == "gelu_tanh":
        c = math.sqrt(2.0 / math.pi)
        inner = np.tanh(c * (x + 0.044715 * x**3))
        speed = c * (1.0 + 0.134145 * x**2)
        return (1.0 + inner) / 2.0 + x / 2.0 * (1.0 - inner**2) * speed
    raise KeyError(activation.kind)


def slopes_of(activation: Activation) -> Slopes:
    """Extreme slopes: of the pieces, or of the derivative on a fine grid."""
    if activation.is_piecewise_linear:
        slopes = [slope for _, _, slope, _ in pieces_of(activation)]
    else:
        # Odd number of points, so that 0 is among them; +-40 stand for the limits.
        grid = np.concatenate([[-40.0], np.linspace(-8.0, 8.0, 160_001), [40.0]])
        values = derivative(activation, grid)
        slopes = [float(values.min()), float(values.max())]
    return min(slopes), max(slopes)


@dataclass(frozen=True)
class Form:
    """A network as matrices on the stacked vector v = (x, z_1, ..., z_L)."""

    num_inputs: int
    rows: list[Array]
    shifts: list[Array]
    output: Array
    activations: list[Activation]

    @property
    def starts(self) -> list[int]:
        """First index in v of site 1, ..., L, and the length of v."""
        sizes = [row.shape[0] for row in self.rows]
        return [self.num_inputs, *(self.num_inputs + np.cumsum(sizes)).tolist()]

    @property
    def neuron_slopes(self) -> list[Slopes]:
        """Extreme slopes of every neuron."""
        pairs = zip(self.activations, self.rows, strict=True)
        return [pair for act, row in pairs for pair in [slopes_of(act)] * len(row)]


def form_of(network: Network) -> Form:
    """Read the matrices off one run on all unit vectors of v at once."""
    sizes = [math.prod(shape) for shape in network.site_shapes[:-1]]
    starts = np.cumsum([0, *sizes]).tolist()
    count = starts[-1]
    unit = torch.eye(count, dtype=torch.float64)
    found: list[Array] = []

    def replace(site: int, y: torch.Tensor) -> torch.Tensor:
        found.append(y.detach().reshape(y.shape[0], -1).numpy().T.copy())
        z = unit[: y.shape[0], starts[site] : starts[site + 1]]
        return z.reshape(y.shape)

    inputs = unit[:, : sizes[0]].reshape(count, *network.in_shape)
    output = run(network, inputs, replace, shift=False).reshape(count, -1).numpy().T
    rows, found = found, []
    # Row 0 of the unit matrix meets the input alone: z stays 0 and only shifts remain.
    run(network, torch.zeros(1, *network.in_shape, dtype=torch.float64), replace)
    return Form(
        num_inputs=sizes[0],
        rows=rows,
        shifts=[shift[:, 0] for shift in found],
        output=output.copy(),
        activations=list(network.activations),
    )


def chain_form(weights: Sequence[Array], activation: Activation) -> Form:
    """The form of a fully connected chain without biases, straight from its weights."""
    starts = np.cumsum([0, *(weight.shape[1] for weight in weights)])
    rows: list[Array] = []
    for weight, start in zip(weights, starts[:-1], strict=True):
        row = np.zeros((weight.shape[0], starts[-1]))
        row[:, start : start + weight.shape[1]] = weight
        rows.append(row)
    return Form(
        num_inputs=weights[0].shape[1],
        rows=rows[:-1],
        shifts=[np.zeros(row.shape[0]) for row in rows[:-1]],
        output=rows[-1],
        activations=[activation] * (len(weights) - 1),
    )


def _balanced(form: Form) -> tuple[list[Array], Array, float]:
    """Rows and output in units in which neurons and output are of order one."""
    scale = np.ones(form.output.shape[1])
    rows: list[Array] = []
    for row, start in zip(form.rows, form.starts[:-1], strict=True):
        sizes = np.linalg.norm(row * scale, axis=1)
        sizes[sizes == 0.0] = 1.0
        rows.append(row * scale / sizes[:, None])
        scale[start : start + row.shape[0]] = sizes
    size = float(np.linalg.norm(form.output * scale, 2)) or 1.0
    return rows, form.output * scale / size, size


def _lipsdp(
    form: Form, norm: str, solver: str, slopes: list[Slopes]
) -> tuple[float, str]:
    rows, output, size = _balanced(form)
    d, count = form.num_inputs, output.shape[1]
    stacked = np.concatenate([np.zeros((0, count)), *rows])
    columns: list[Array] = []
    for i, (low, high) in enumerate(slopes):
        own = np.zeros(count)
        own[d + i] = 1.0
        half = np.outer(own - low * stacked[i], high * stacked[i] - own)
        columns.append(-(half + half.T).ravel() / 2.0)
    # One rho for all inputs, or one per input; z has none.
    place = np.eye(count)[:, :d] if norm == "linf" else np.eye(count)[:, :d].sum(1)
    rho = cp.Variable(d if norm == "linf" else 1, nonneg=True)
    matrix = cp.diag(place.reshape(count, -1) @ rho) - output.T @ output
    if columns:
        multipliers = cp.Variable(len(slopes), nonneg=True)
        basis = np.stack(columns, axis=1)
        matrix += cp.reshape(basis @ multipliers, (count, count), order="F")
    problem = cp.Problem(cp.Minimize(cp.sum(rho)), [matrix >> 0])
    problem.solve(solver=solver)
    value = math.nan if rho.value is None else float(np.sum(rho.value))
    return size * math.sqrt(max(value, 0.0)), str(problem.status)


def lipsdp_form(
    form: Form, norm: str = "l2", solver: str = "CLARABEL", slopes: Slopes | None = None
) -> tuple[float, float, str]:
    """LipSDP-Neuron as one dense matrix inequality: value, seconds, status.

    Minimise the sum of rho_j subject to ``sum_j rho_j x_j^2 - |output v|^2 >=
    sum_i lambda_i (z_i - a_i y_i)(b_i y_i - z_i)`` for all v; one rho for l2, one per
    input for linf, and for l1 one programme per input, alone.
    """
    begin = time.perf_counter()
    own = form.neuron_slopes if slopes is None else [slopes] * len(form.neuron_slopes)
    if norm != "l1":
        value, status = _lipsdp(form, norm, solver, own)
        return value, time.perf_counter() - begin, status
    best, states = 0.0, set[str]()
    for j in range(form.num_inputs):
        keep = [j, *range(form.num_inputs, form.output.shape[1])]
        single = Form(
            num_inputs=1,
            rows=[row[:, keep] for row in form.rows],
            shifts=form.shifts,
            output=form.output[:, keep],
            activations=form.activations,
        )
        value, status = _lipsdp(single, "l2", solver, own)
        best, states = max(best, value), states | {status}
    return best, time.perf_counter() - begin, " ".join(sorted(states))


def lipsdp_value(
    weights: Sequence[Array],
    slopes: Slopes = (0.0, 1.0),
    norm: str = "l2",
    solver: str = "CLARABEL",
) -> tuple[float, float, str]:
    """:func:`lipsdp_form` of a fully connected chain."""
    return lipsdp_form(
        chain_form(weights, Activation(kind="relu")), norm, solver, slopes
    )


def lipsdp_value_graph(
    network: Network, norm: str = "l2", solver: str = "CLARABEL"
) -> tuple[float, float, str]:
    """:func:`lipsdp_form` of any network."""
    return lipsdp_form(form_of(network), norm, solver)


def operator_norms(jacobians: Array, norm: str) -> Array:
    """``||J||`` from ``norm`` to l2 of every matrix of a batch (batch, out, in)."""
    if norm == "l1":
        return np.linalg.norm(jacobians, axis=1).max(axis=1)
    if norm == "linf":
        signs = np.array(
            list(itertools.product((-1.0, 1.0), repeat=jacobians.shape[2]))
        )
        half = signs[: max(1, len(signs) // 2)]  # s and -s give the same value
        return np.linalg.norm(jacobians @ half.T, axis=1).max(axis=1)
    if jacobians.shape[1] == 1:
        return np.linalg.norm(jacobians[:, 0], axis=1)
    return np.linalg.norm(jacobians, 2, axis=(1, 2))


def gradients(form: Form, slopes: Array) -> Array:
    """Derivatives of v by x, (batch, len(v), in), for given slopes (batch, neurons)."""
    d, starts = form.num_inputs, form.starts
    stack = np.zeros((slopes.shape[0], form.output.shape[1], d))
    stack[:, :d] = np.eye(d)
    for row, begin in zip(form.rows, starts[:-1], strict=True):
        end = begin + row.shape[0]
        own = slopes[:, begin - d : end - d, None]
        stack[:, begin:end] = own * (row[:, :begin] @ stack[:, :begin])
    return stack


def pattern_lipschitz(network: Network, norm: str = "l2") -> float:
    """The largest ``||J||`` over all slope patterns in {low, high}^neurons."""
    form = form_of(network)
    patterns = np.array(list(itertools.product(*form.neuron_slopes)))
    return float(operator_norms(form.output @ gradients(form, patterns), norm).max())


def is_psd_exact(matrix: Sequence[Sequence[Fraction]]) -> bool:
    """Whether a symmetric rational matrix is positive semidefinite, exactly."""
    rest = [list(row) for row in matrix]
    count = len(rest)
    for k in range(count):
        pivot = rest[k][k]
        if pivot < 0 or (pivot == 0 and any(rest[k][k:])):
            return False
        for i in range(k + 1, count):
            if pivot and rest[i][k]:
                factor = rest[i][k] / pivot
                for j in range(k + 1, count):
                    rest[i][j] -= factor * rest[k][j]
    return True


def _rational(row: Array) -> list[Fraction]:
    return [Fraction(float(entry)) for entry in row]


def certificate_holds_exactly(
    weights: Sequence[Array],
    multipliers: Sequence[Sequence[float]],
    input_weights: Sequence[float],
    slopes: Slopes = (0.0, 1.0),
) -> bool:
    """Whether the multipliers prove ``|f(x)|^2 <= sum_j input_weights_j x_j^2``.

    For a chain without biases, every float read as the rational number it is: all
    multipliers are >= 0 and ``diag(input_weights) - C^T C - sum_i lambda_i (z_i - a
    y_i)(b y_i - z_i)`` is positive semidefinite. One bound for differences follows from
    slope-restricted activations; for l2 all input weights equal rho, for linf their sum
    is the squared bound.
    """
    form = chain_form(weights, Activation(kind="relu"))
    d, count = form.num_inputs, form.output.shape[1]
    stacked = [_rational(row) for block in form.rows for row in block]
    output = [_rational(row) for row in form.output]
    values = [Fraction(float(m)) for layer in multipliers for m in layer]
    if len(values) != count - d or len(input_weights) != d or min([*values, 0]) < 0:
        return False
    low, high = Fraction(slopes[0]), Fraction(slopes[1])
    exact = [
        [-sum((row[i] * row[j] for row in output), Fraction(0)) for j in range(count)]
        for i in range(count)
    ]
    for j, weight in enumerate(input_weights):
        exact[j][j] += Fraction(float(weight))
    for k, (value, row) in enumerate(zip(values, stacked, strict=True)):
        first = [-low * w for w in row]
        second = [high * w for w in row]
        first[d + k] += 1
        second[d + k] -= 1
        for i, j in itertools.product(range(count), repeat=2):
            exact[i][j] -= value * (first[i] * second[j] + first[j] * second[i]) / 2
    return is_psd_exact(exact)
