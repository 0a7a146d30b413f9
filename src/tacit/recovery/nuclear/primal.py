r"""Upper sides of the optimal value: what multiples of a point prove, or repairs."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound
from tacit.errors import InputError
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.repair import length, repaired, smallest_multiple
from tacit.recovery.problem import inner
from tacit.recovery.spectrum import nuclear_norm_bound
from tacit.spectral import EPS

_ENOUGH = 1e-6  # relative gap at which no better upper side is looked for
_ROUNDING = 64.0 * EPS
# Relative to the measurements: so much is no misfit, and its effect is added.
_NO_MISFIT = 1e-13


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    r"""X-hat as a multiple of a matrix of moderate size, and what that measures.

    Parameters
    ----------
    left, right : Tensor, shapes (num_rows, k) and (num_columns, k)
        Factors with entries of at most 1.
    scale : float
        X-hat is this times their product; may be infinite.
    nuclear_norm : float
        At least that of the product, without the scale.
    image : Tensor, shape (num_measurements,)
        :math:`w \circ \mathcal{A}` of the product.
    measurements : Tensor, shape (num_measurements,)
        :math:`w \circ y`.
    """

    left: Tensor
    right: Tensor
    scale: float
    nuclear_norm: float
    image: Tensor
    measurements: Tensor

    def misfit(self, multiple: float) -> float:
        """Return the length of the residual of a multiple; infinite beyond float64."""
        if math.isinf(multiple):
            return math.inf
        return length(multiple * self.image - self.measurements)


def normalised(tensor: Tensor) -> tuple[Tensor, float]:
    """Return a tensor divided by its largest real or imaginary part, and that part.

    At any scale: the parts are divided one by one, since a complex division overflows
    where its result does not. Zero stays zero.
    """
    parts = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    largest = float(parts.abs().max()) if parts.numel() else 0.0
    if largest == 0.0:
        return tensor, 0.0
    parts = parts / largest
    return torch.view_as_complex(parts) if tensor.is_complex() else parts, largest


def point_at(program: NuclearProgram, left: Tensor, right: Tensor) -> Point:
    """Return a pair of factors as a point, at any scale.

    Raises
    ------
    InputError
        If the squares of what is measured are outside float64.
    """
    problem = program.problem
    first, left_scale = normalised(left)
    second, right_scale = normalised(right)
    second = first if problem.is_symmetric else second
    image = problem.weights * problem.linear_map.apply_factors(first, second)
    measurements = problem.weights * problem.measurements
    if not math.isfinite(length(image) ** 2 + length(measurements) ** 2):
        raise InputError(
            "measurements and what the map makes of matrices of size one must have "
            "squares within float64; rescale the problem"
        )
    return Point(
        left=first,
        right=second,
        scale=left_scale * right_scale,
        nuclear_norm=nuclear_norm_bound(first, second),
        image=image,
        measurements=measurements,
    )


def upper_penalised(point: Point, penalty: float) -> Bound:
    """Return the objective of the best multiple of the point, or of the point."""
    energy = float(inner(point.image, point.image))
    along = float(inner(point.image, point.measurements))
    along -= penalty * point.nuclear_norm
    best = max(0.0, along / energy) if energy > 0.0 else 0.0
    rounding = _ROUNDING * length(point.measurements)
    values = [
        (
            (point.misfit(multiple) + rounding) ** 2 / 2.0
            + penalty * multiple * point.nuclear_norm,
            multiple,
        )
        for multiple in (point.scale, best)
        if math.isfinite(multiple)
    ]
    value, multiple = min(values)
    return Bound(
        value=value,
        side="upper",
        method="objective of the point times a number",
        witness=multiple,
    )


def upper_fitting(program: NuclearProgram, point: Point, lower: Bound) -> Bound:
    """Return the nuclear norm of the best matrix at hand within the noise bound."""
    noise_bound = program.noise_bound or 0.0
    size = length(point.measurements)
    margin = _ROUNDING * (size + noise_bound)
    inside = max(0.0, noise_bound - margin)
    multiples = (
        point.scale,
        smallest_multiple(point.image, point.measurements, inside),
    )
    witness = lower.witness
    dual_length = length(witness) if isinstance(witness, Tensor) else 0.0
    allowed = _NO_MISFIT * (size + noise_bound)
    fitting: list[tuple[float, float]] = []
    for multiple in multiples:
        excess = math.inf if multiple is None else point.misfit(multiple) - noise_bound
        if multiple is not None and excess <= allowed:
            extra = dual_length * allowed if excess > 0.0 else 0.0
            fitting.append((multiple * point.nuclear_norm + extra, multiple))
    value, multiple = min(fitting, default=(math.inf, 0.0))
    own = point.scale * point.nuclear_norm
    is_enough = value - lower.value <= _ENOUGH * value
    is_near = abs(value - own) <= 0.1 * (value - lower.value)
    if fitting and (is_enough or is_near):
        return _upper(value, "nuclear norm of the point times a number", multiple)
    start = _start(point)
    repair = repaired(
        program, start * point.left, point.right, start * point.nuclear_norm
    )
    if repair.matrix is None and not fitting:
        return _upper(math.inf, f"none: {repair.reason}", None)
    if repair.nuclear_norm < value:
        value = repair.nuclear_norm + dual_length * margin
        return _upper(value, "nuclear norm of the point, corrected", repair.matrix)
    return _upper(value, "nuclear norm of the point times a number", multiple)


def _upper(value: float, method: str, witness: object) -> Bound:
    return Bound(value=value, side="upper", method=method, witness=witness)


def _start(point: Point) -> float:
    """Return the multiple of the point to correct: itself, unless it is far off."""
    if point.misfit(point.scale) <= length(point.measurements):
        return point.scale
    energy = float(inner(point.image, point.image))
    along = float(inner(point.image, point.measurements))
    return max(0.0, along / energy) if energy > 0.0 else 0.0
