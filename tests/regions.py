"""Exact Lipschitz constants of small piecewise-linear networks, region by region.

Three enumerations that share no code: regions depth first with linear programmes, kinks
along a line, and the cells of a hyperplane arrangement from its vertices.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from oracles import Array, Form, Piece, form_of, gradients, operator_norms, pieces_of
from tacit.lipschitz.network import Network


def slopes_at(form: Form, points: Array) -> tuple[Array, Array]:
    """Slopes of all neurons, and v, at points (batch, in)."""
    d, starts = form.num_inputs, form.starts
    values = np.zeros((points.shape[0], form.output.shape[1]))
    values[:, :d] = points
    slopes = np.zeros((points.shape[0], starts[-1] - d))
    for t, activation in enumerate(form.activations):
        begin, end = starts[t], starts[t + 1]
        y = values[:, :begin] @ form.rows[t][:, :begin].T + form.shifts[t]
        for low, high, slope, value in pieces_of(activation):
            inside = (y >= low) & (y < high)
            slopes[:, begin - d : end - d][inside] = slope
            values[:, begin:end][inside] = slope * y[inside] + value
    return slopes, values


def sampled_lipschitz(network: Network, points: Array, norm: str = "l2") -> float:
    """The largest ``||J||`` at given points: never more than the constant."""
    form = form_of(network)
    slopes, _ = slopes_at(form, points)
    jacobians = form.output @ gradients(form, np.unique(slopes, axis=0))
    return float(operator_norms(jacobians, norm).max())


def line_jacobians(form: Form, point: Array, direction: Array) -> Array:
    """Jacobians (pieces, out, in) of the regions on ``point + t direction``."""
    ends = np.zeros(0)
    for site, row in enumerate(form.rows):
        middles = _middles(ends)
        slopes, values = slopes_at(form, point + middles[:, None] * direction)
        begin = form.starts[site]
        y = values[:, :begin] @ row[:, :begin].T + form.shifts[site]
        speed = gradients(form, slopes)[:, :begin] @ direction @ row[:, :begin].T
        low, high = np.append(-np.inf, ends)[:, None], np.append(ends, np.inf)[:, None]
        kinks = {p[0] for p in pieces_of(form.activations[site]) if math.isfinite(p[0])}
        for kink in kinks:
            with np.errstate(divide="ignore", invalid="ignore"):
                t = middles[:, None] + (kink - y) / speed
            ends = np.concatenate([ends, t[(t > low) & (t < high)]])
        ends = np.sort(ends)
        # Two neurons with one kink: rounding must not invent a piece between them.
        ends = ends[np.diff(ends, prepend=-np.inf) > 1e-12 * (1.0 + np.abs(ends))]
    slopes, _ = slopes_at(form, point + _middles(ends)[:, None] * direction)
    return form.output @ gradients(form, slopes)


def _middles(ends: Array) -> Array:
    """A point inside every interval that the sorted ends cut the line into."""
    if ends.size == 0:
        return np.zeros(1)
    reach = 1.0 + float(ends[-1] - ends[0])
    return np.concatenate(
        [[ends[0] - reach], (ends[1:] + ends[:-1]) / 2.0, [ends[-1] + reach]]
    )


def line_lipschitz(network: Network, norm: str = "l2") -> float:
    """The exact constant for one input, or for two inputs and no biases.

    Without biases (and kinks at 0 alone) every region of the plane is a cone, so it
    meets one of the lines (1, t) and (-1, t).
    """
    form = form_of(network)
    if form.num_inputs == 1:
        lines = [(np.zeros(1), np.ones(1))]
    else:
        lines = [(np.array([s, 0.0]), np.array([0.0, 1.0])) for s in (1.0, -1.0)]
    jacobians = [line_jacobians(form, point, direction) for point, direction in lines]
    return float(operator_norms(np.concatenate(jacobians), norm).max())


def arrangement_slopes(weight: Array, bias: Array, low: float, high: float) -> Array:
    """All realised slopes (cells, neurons) of one layer with a kink at 0, any batch.

    The cells of hyperplanes ``weight x + bias = 0`` in general position (n > d of
    them) all have a vertex, where d of them meet; around it these d take all signs
    and the others keep theirs. For n <= d independent ones all 2^n signs occur. With
    zero biases the cells are cones: cut them at x_1 = 1 and x_1 = -1.

    Parameters
    ----------
    weight, bias : shapes (batch, n, d), (batch, n)

    Returns
    -------
    Array, shape (batch, cells with repetitions, n)
    """
    batch, n, d = weight.shape
    if n <= d:
        signs = np.array(list(itertools.product((low, high), repeat=n)))
        return np.broadcast_to(signs, (batch, *signs.shape))
    if not bias.any():
        sides = [
            arrangement_slopes(weight[:, :, 1:], s * weight[:, :, 0], low, high)
            if d > 1
            else np.where(s * weight[:, None, :, 0] > 0.0, high, low)
            for s in (1.0, -1.0)
        ]
        return np.concatenate(sides, axis=1)
    subsets = np.array(list(itertools.combinations(range(n), d)))
    vertices = np.linalg.solve(weight[:, subsets], -bias[:, subsets, None])[..., 0]
    values = vertices @ weight.transpose(0, 2, 1) + bias[:, None]
    base = np.where(values > 0.0, high, low)
    cells: list[Array] = []
    for signs in itertools.product((low, high), repeat=d):
        cell = base.copy()
        cell[:, np.arange(len(subsets))[:, None], subsets] = signs
        cells.append(cell)
    return np.concatenate(cells, axis=1)


@dataclass
class _Region:
    """Points where the neurons decided so far keep their pieces: ``a x <= b``."""

    a: Array
    b: Array
    samples: Array

    def cut(self, normal: Array, offset: float) -> "_Region | None":
        """Keep ``normal x <= offset``; None if no interior is left."""
        length = float(np.linalg.norm(normal))
        inside = self.samples[self.samples @ normal < offset]
        cut = _Region(
            a=np.vstack([self.a, normal / length]),
            b=np.append(self.b, offset / length),
            samples=inside,
        )
        return cut if len(inside) or _has_interior(cut.a, cut.b) else None


def _has_interior(a: Array, b: Array) -> bool:
    """Whether ``a x <= b`` (unit rows) holds a ball, in units of the largest offset."""
    unit = float(np.abs(b).max()) or 1.0
    count, d = a.shape
    result = scipy.optimize.linprog(
        np.append(np.zeros(d), -1.0),
        A_ub=np.column_stack([a, np.ones(count)]),
        b_ub=b / unit,
        bounds=[(None, None)] * d + [(0.0, 1.0)],
        method="highs",
        options={
            "primal_feasibility_tolerance": 1e-10,
            "dual_feasibility_tolerance": 1e-10,
        },
    )
    return result.status == 0 and -float(result.fun) > 1e-8


def _split(
    region: _Region, pieces: list[Piece], normal: Array, offset: float, size: float
) -> list[tuple[_Region, Piece]]:
    """Subregions with the piece a neuron ``y = normal x + offset`` is on there."""
    if float(np.abs(normal).max()) <= 1e-12 * size:
        # Constant on the region; at a kink either piece will do, since y does not move.
        return [(region, next(p for p in pieces if p[0] <= offset <= p[1]))]
    found: list[tuple[_Region, Piece]] = []
    for piece in pieces:
        low, high = piece[:2]
        part: _Region | None = region
        if math.isfinite(low):
            part = part.cut(-normal, offset - low)
        if part is not None and math.isfinite(high):
            part = part.cut(normal, high - offset)
        if part is not None:
            found.append((part, piece))
    return found


def region_jacobians(form: Form, generator: np.random.Generator) -> Array:
    """Jacobians (regions, out, in) of all linear regions with interior.

    Depth first over the neurons. A piece is kept if a random sample lies in it or,
    where none does, if the largest ball inside (by a linear programme) has a radius
    above 1e-8 in units of the largest offset.
    """
    d, starts = form.num_inputs, form.starts
    count = form.output.shape[1]
    found: list[Array] = []

    def descend(site: int, neuron: int, region: _Region, stack: Array) -> None:
        # stack[k] = (gradient, constant) of entry k of v, an affine function of x.
        if site == len(form.rows):
            found.append(form.output @ stack[:, :d])
            return
        if neuron == form.rows[site].shape[0]:
            descend(site + 1, 0, region, stack)
            return
        row, activation = form.rows[site][neuron], form.activations[site]
        y = row @ stack
        y[d] += form.shifts[site][neuron]
        size = float(np.abs(row) @ np.linalg.norm(stack[:, :d], axis=1))
        pieces = pieces_of(activation)
        for part, (_, _, slope, value) in _split(
            region, pieces, y[:d], float(y[d]), size
        ):
            inner = stack.copy()
            inner[starts[site] + neuron] = slope * y
            inner[starts[site] + neuron, d] += value
            descend(site, neuron + 1, part, inner)

    samples = generator.standard_normal((800, d))
    samples[:400] *= 3.0
    start = np.zeros((count, d + 1))
    start[:d, :d] = np.eye(d)
    whole = _Region(a=np.zeros((0, d)), b=np.zeros(0), samples=samples)
    descend(0, 0, whole, start)
    return np.array(found)


def exact_lipschitz(network: Network, norm: str = "l2", seed: int = 0) -> float:
    """The exact constant of a small piecewise-linear network, by all its regions.

    The seed draws the samples that spare linear programmes; it does not change the
    answer unless a region is thinner than 1e-8.
    """
    jacobians = region_jacobians(form_of(network), np.random.default_rng(seed))
    return float(operator_norms(jacobians, norm).max())
