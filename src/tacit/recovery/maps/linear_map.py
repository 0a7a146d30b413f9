r"""The interface of every measurement map, and the test that a map obeys it."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError

# Two sides that must agree, and what their distance is compared with: by default, the
# size of both.
_Laws = dict[str, tuple[Tensor, Tensor, float | None]]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Isotropy:
    r"""How a random map's single measurements see a fixed matrix.

    .. math:: \mathbb{E} |\langle A_i, D \rangle|^2 = c\, \|D\|_F^2
              \quad \text{for every fixed } D

    Parameters
    ----------
    second_moment : float
        c, positive: 1/m for maps normalised by 1/sqrt(m), 1/(num_rows * num_columns)
        for entries drawn uniformly.
    is_gaussian : bool
        Whether every :math:`\langle A_i, D \rangle` is a centred Gaussian, so that
        sums of squares are chi-squared and intervals from them exact.
    """

    second_moment: float
    is_gaussian: bool


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class MapSpec:
    """What a map takes and gives.

    Parameters
    ----------
    in_shape : tuple of int
        ``(num_rows, num_columns)`` of the matrix.
    num_measurements : int
        Length of the measurement vector.
    dtype : torch.dtype
        Of matrix and measurements: float32, float64, complex64 or complex128.
    device : torch.device
        Where both live.
    isotropy : Isotropy or None
        Set where the map was drawn from such a law; None makes no claim.

    Raises
    ------
    ShapeError
        If a size is not positive.
    InputError
        If the dtype is not real or complex floating point.

    Examples
    --------
    >>> import tacit
    >>> gaussian = tacit.gaussian_map((4, 3), 20, generator=tacit.make_generator(0))
    >>> gaussian.spec.num_measurements, gaussian.spec.isotropy.second_moment
    (20, 0.05)
    """

    in_shape: tuple[int, int]
    num_measurements: int
    dtype: torch.dtype
    device: torch.device
    isotropy: Isotropy | None = None

    def __post_init__(self) -> None:
        if min(*self.in_shape, self.num_measurements) < 1:
            raise ShapeError(
                "a map takes matrices with at least one entry to at least one "
                f"measurement; got {self.in_shape} to {self.num_measurements}"
            )
        if not (self.dtype.is_floating_point or self.dtype.is_complex):
            raise InputError(
                f"a map's dtype must be real or complex floating point; got "
                f"{self.dtype}; convert the data first"
            )


class AbstractLinearMap(ABC):
    r"""A linear map from matrices to measurement vectors.

    Batch dimensions come first and are optional: a matrix is ``(..., num_rows,
    num_columns)``, a measurement vector ``(..., num_measurements)``. Inputs have the
    dtype and device of ``spec``. Outputs are new tensors.

    Adjointness is with respect to :math:`\langle u, v \rangle = \sum_i \bar u_i v_i`:
    :math:`\langle \mathcal{A}(X), y \rangle = \langle X, \mathcal{A}^*(y) \rangle`.
    Factors stand for :math:`X = L R^H` with L of shape ``(..., num_rows, k)`` and R of
    shape ``(..., num_columns, k)``.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> isinstance(tacit.fourier_map((4, 3), 9, generator=generator),
    ...     tacit.AbstractLinearMap)
    True
    """

    @property
    @abstractmethod
    def spec(self) -> MapSpec:
        """Shapes, dtype, device, and the law the map was drawn from."""

    @abstractmethod
    def apply(self, matrix: Tensor) -> Tensor:
        r"""Return :math:`\mathcal{A}(X)`, shape ``(..., num_measurements)``."""

    @abstractmethod
    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        r"""Return :math:`\mathcal{A}^*(y)`, shape ``(..., num_rows, num_columns)``."""

    @abstractmethod
    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        r"""Return :math:`\mathcal{A}(L R^H)`, shape ``(..., num_measurements)``.

        The matrix is not formed where the map's structure allows that.
        """

    @abstractmethod
    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\mathcal{A}^*(y) R` and :math:`\mathcal{A}^*(y)^H L`.

        These are the two halves of a gradient on factors, shapes ``(..., num_rows, k)``
        and ``(..., num_columns, k)``. The matrix is not formed where the map's
        structure allows that.
        """

    @property
    def in_shape(self) -> tuple[int, int]:
        """``(num_rows, num_columns)`` of the matrix."""
        return self.spec.in_shape

    @property
    def num_measurements(self) -> int:
        """Length of the measurement vector."""
        return self.spec.num_measurements


def apply_factors_densely(
    linear_map: AbstractLinearMap, left: Tensor, right: Tensor
) -> Tensor:
    """Form the matrix, then apply the map: for maps without a faster way."""
    return linear_map.apply(left @ right.mH)


def adjoint_times_densely(
    linear_map: AbstractLinearMap, measurements: Tensor, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    """Form the adjoint's matrix, then multiply: for maps without a faster way."""
    matrix = linear_map.adjoint_apply(measurements)
    return matrix @ right, matrix.mH @ left


def require_spec(linear_map: AbstractLinearMap, name: str, tensor: Tensor) -> None:
    """Refuse a tensor whose dtype or device is not the map's.

    Raises
    ------
    InputError
        Naming what was received and what the map takes.
    """
    spec = linear_map.spec
    if tensor.dtype != spec.dtype or tensor.device.type != spec.device.type:
        raise InputError(
            f"{name} must be {spec.dtype} on {spec.device} as the map is; got "
            f"{tensor.dtype} on {tensor.device}; convert it with .to()"
        )


def adjoint_test(
    linear_map: AbstractLinearMap,
    *,
    generator: torch.Generator,
    rtol: float | None = None,
) -> float:
    r"""Check that a map is linear, and that its adjoint and fast paths agree with it.

    On random Gaussian matrices, factors and measurements, every law below is compared
    relative to the size of its terms: linearity (over the complex numbers, if the map
    is complex), :math:`\langle \mathcal{A}(X), y \rangle = \langle X, \mathcal{A}^*(y)
    \rangle`, ``apply_factors`` and ``adjoint_times`` against the formed matrix, and
    batches against single inputs.

    Parameters
    ----------
    linear_map : AbstractLinearMap
        Of a size at which one matrix fits into memory.
    generator : torch.Generator
        Draws the test data (on the CPU).
    rtol : float or None
        Largest mismatch accepted; by default ``1000 * eps`` of the map's dtype.

    Returns
    -------
    float
        The worst relative mismatch.

    Raises
    ------
    InputError
        If a law fails, naming the law and the mismatch; or if an output has another
        shape or dtype than it must have.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> gaussian = tacit.gaussian_map((4, 3), 20, generator=generator)
    >>> tacit.adjoint_test(gaussian, generator=generator) < 1e-13
    True
    """
    spec = linear_map.spec
    limit = 1000.0 * torch.finfo(spec.dtype).eps if rtol is None else rtol
    rows, columns = spec.in_shape
    width = min(rows, columns, 3)

    def draw(*shape: int) -> Tensor:
        double = torch.complex128 if spec.dtype.is_complex else torch.float64
        drawn = torch.randn(*shape, generator=generator, dtype=double)
        return drawn.to(dtype=spec.dtype, device=spec.device)

    x, y = draw(2, rows, columns), draw(2, spec.num_measurements)
    left, right = draw(2, rows, width), draw(2, columns, width)
    worst = 0.0
    laws = _matrix_laws(linear_map, x, y) | _factor_laws(linear_map, y, left, right)
    for law, (got, expected, scale) in laws.items():
        mismatch = _mismatch(got, expected, scale)
        if not mismatch <= limit:
            raise InputError(
                f"the map breaks the law of {law}: relative mismatch {mismatch:.1e}, "
                f"at most {limit:.1e} is accepted; see AbstractLinearMap for the law"
            )
        worst = max(worst, mismatch)
    return worst


def _matrix_laws(linear_map: AbstractLinearMap, x: Tensor, y: Tensor) -> _Laws:
    """Laws of ``apply`` and ``adjoint_apply``, on a batch of two."""
    spec = linear_map.spec
    size, shape = spec.num_measurements, spec.in_shape
    forward, adjoint = linear_map.apply(x), linear_map.adjoint_apply(y)
    one, one_adjoint = linear_map.apply(x[0]), linear_map.adjoint_apply(y[0])
    outputs = {
        "apply": (forward, (2, size)),
        "apply of one matrix": (one, (size,)),
        "adjoint_apply": (adjoint, (2, *shape)),
        "adjoint_apply of one vector": (one_adjoint, shape),
    }
    _require_outputs(spec, outputs)
    # A conjugation is linear over the real numbers only.
    factor = 2.0j if spec.dtype.is_complex else -2.0
    combined = linear_map.apply(x[0] + factor * x[1])
    inner = (forward.conj() * y).sum(-1)
    adjoint_inner = (x.conj() * adjoint).sum((-2, -1))
    return {
        "batches of matrices": (forward[0], one, None),
        "linearity": (combined, one + factor * forward[1], None),
        "batches of measurements": (adjoint[0], one_adjoint, None),
        "adjointness": (inner, adjoint_inner, float(_norm(forward) * _norm(y))),
    }


def _factor_laws(
    linear_map: AbstractLinearMap, y: Tensor, left: Tensor, right: Tensor
) -> _Laws:
    """Laws of ``apply_factors`` and ``adjoint_times``, on a batch of two."""
    factored = linear_map.apply_factors(left, right)
    products = linear_map.adjoint_times(y, left, right)
    outputs = {
        "apply_factors": (factored, (2, y.shape[-1])),
        "adjoint_times, left": (products[0], tuple(left.shape)),
        "adjoint_times, right": (products[1], tuple(right.shape)),
    }
    _require_outputs(linear_map.spec, outputs)
    one = linear_map.apply_factors(left[0], right[0])
    one_product = linear_map.adjoint_times(y[0], left[0], right[0])
    adjoint = linear_map.adjoint_apply(y)
    return {
        "batches of factors": (factored[0], one, None),
        "batches of products, left": (products[0][0], one_product[0], None),
        "batches of products, right": (products[1][0], one_product[1], None),
        "apply_factors": (factored, linear_map.apply(left @ right.mH), None),
        "adjoint_times, left": (products[0], adjoint @ right, None),
        "adjoint_times, right": (products[1], adjoint.mH @ left, None),
    }


def _require_outputs(
    spec: MapSpec, outputs: dict[str, tuple[Tensor, tuple[int, ...]]]
) -> None:
    for name, (output, shape) in outputs.items():
        if output.shape != shape or output.dtype != spec.dtype:
            raise InputError(
                f"{name} must return {spec.dtype} of shape {shape}; got {output.dtype} "
                f"of shape {tuple(output.shape)}; see AbstractLinearMap"
            )


def _mismatch(got: Tensor, expected: Tensor, scale: float | None) -> float:
    if got.shape != expected.shape:
        return math.inf
    scale = float(_norm(got) + _norm(expected)) if scale is None else scale
    return float(_norm(got - expected)) / (scale or 1.0)


def _norm(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor)
