r"""SciPy's and PyLops' linear operators as maps, and maps as SciPy's operators.

They act on vectors: vec(X) is the matrix row by row, as NumPy's ``X.ravel()``.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.bridges.functions import FunctionMap, checked
from tacit.recovery.maps.linear_map import AbstractLinearMap, MapSpec

Array = npt.NDArray[Any]

_DTYPES: dict[torch.dtype, type[np.generic]] = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.complex64: np.complex64,
    torch.complex128: np.complex128,
}
_METHODS = ("matmat", "rmatmat")


class VectorOperator(Protocol):
    """What SciPy's ``LinearOperator`` and PyLops' ``LinearOperator`` both have."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(num_measurements, num_rows * num_columns)``."""
        ...

    @property
    def dtype(self) -> Any:
        """NumPy's dtype of the entries, or None."""
        ...

    def matmat(self, X: Array, /) -> Array:
        """Return the operator applied to every column."""
        ...

    def rmatmat(self, X: Array, /) -> Array:
        """Return the adjoint applied to every column."""
        ...


def from_scipy(
    operator: VectorOperator,
    shape: tuple[int, int],
    *,
    dtype: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> FunctionMap:
    r"""Return a ``scipy.sparse.linalg.LinearOperator`` as a measurement map (CPU).

    The map's :math:`\mathcal{A}(X)` is ``operator.matvec(X.ravel())``, row by row.
    Matrices and sparse arrays become operators by ``aslinearoperator``.

    Parameters
    ----------
    operator : LinearOperator
        Or any object with ``shape``, ``dtype``, ``matmat`` and ``rmatmat`` like it.
    shape : tuple of int
        ``(num_rows, num_columns)``; their product is ``operator.shape[1]``.
    dtype : torch.dtype or None
        Of the map; by default the operator's, float64 for integers and where the
        operator does not say. A complex map of a real operator is possible.
    generator : torch.Generator or None
        If given, :func:`adjoint_test` must pass.

    Returns
    -------
    FunctionMap

    Raises
    ------
    ShapeError
        If the sizes disagree.
    InputError
        If a method is missing, the dtype is not one of float32, float64, complex64 and
        complex128, or the adjoint test fails.

    Examples
    --------
    >>> import numpy as np, tacit, torch
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> trace = aslinearoperator(np.eye(3).reshape(1, 9))
    >>> linear_map = tacit.from_scipy(trace, (3, 3), generator=tacit.make_generator(0))
    >>> linear_map.apply(torch.diag(torch.arange(3.0, dtype=torch.float64)))
    tensor([3.], dtype=torch.float64)
    """
    missing = [name for name in _METHODS if not callable(getattr(operator, name, None))]
    if missing:
        raise InputError(
            f"operator must have the methods {' and '.join(_METHODS)} of scipy's "
            f"LinearOperator; {type(operator).__name__} lacks {' and '.join(missing)}; "
            "pass matrices through scipy.sparse.linalg.aslinearoperator"
        )
    size = math.prod(shape)
    if len(operator.shape) != 2 or operator.shape[1] != size:
        raise ShapeError(
            f"operator must have {size} columns for matrices of shape {shape}; got "
            f"shape {tuple(operator.shape)}"
        )
    kind = _torch_dtype(operator) if dtype is None else dtype
    if kind not in _DTYPES:
        raise InputError(
            f"dtype must be one of {', '.join(map(str, _DTYPES))}; got {kind}"
        )

    def forward(matrices: Tensor) -> Tensor:
        return _as_tensor(operator.matmat(matrices.flatten(1).numpy().T))

    def adjoint(measurements: Tensor) -> Tensor:
        result = _as_tensor(operator.rmatmat(measurements.numpy().T))
        return result.unflatten(-1, shape)

    spec = MapSpec(
        in_shape=shape,
        num_measurements=int(operator.shape[0]),
        dtype=kind,
        device=torch.device("cpu"),
    )
    return checked(
        FunctionMap(forward=forward, adjoint=adjoint, declared_spec=spec), generator
    )


def _torch_dtype(operator: VectorOperator) -> torch.dtype:
    given = np.dtype(np.float64 if operator.dtype is None else operator.dtype)
    if given.kind in "iub":
        given = np.dtype(np.float64)
    for kind, ours in _DTYPES.items():
        if given == ours:
            return kind
    raise InputError(
        f"operator must have one of the dtypes {', '.join(map(str, _DTYPES))}; got "
        f"{given}; convert it, or pass dtype"
    )


def _as_tensor(columns: Array) -> Tensor:
    """Return columns as rows of a tensor of its own, whatever the strides were."""
    return torch.from_numpy(np.array(columns.T, order="C"))


def from_pylops(
    operator: VectorOperator,
    shape: tuple[int, int] | None = None,
    *,
    dtype: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> FunctionMap:
    r"""Return a PyLops operator as a measurement map (CPU).

    :math:`\mathcal{A}(X)` is ``operator.matvec(X.ravel())``; PyLops, too, orders arrays
    row by row. The other way is PyLops' own: ``pylops.LinearOperator(
    tacit.as_scipy(linear_map), dims=linear_map.in_shape)``.

    Parameters
    ----------
    operator : pylops.LinearOperator
        Complex-linear if the map is complex: what takes real parts is not linear then.
    shape : tuple of int or None
        ``(num_rows, num_columns)``; by default ``operator.dims``, if these are two.
        Other dims are unfolded, row by row, into the shape given.
    dtype, generator
        As for :func:`from_scipy`.

    Returns
    -------
    FunctionMap

    Raises
    ------
    ShapeError
        If no shape is given and ``dims`` are not two, or the sizes disagree.
    InputError
        As :func:`from_scipy`.

    Examples
    --------
    >>> import numpy as np, tacit
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> trace = aslinearoperator(np.eye(3).reshape(1, 9))  # or a PyLops operator
    >>> tacit.from_pylops(trace, (3, 3)).num_measurements
    1
    """
    if shape is None:
        dims: Sequence[int] = getattr(operator, "dims", ())
        if len(dims) != 2:
            raise ShapeError(
                f"operator's dims must be (num_rows, num_columns); got {tuple(dims)}; "
                "pass shape to say which matrix they stand for"
            )
        shape = (int(dims[0]), int(dims[1]))
    return from_scipy(operator, shape, dtype=dtype, generator=generator)


def as_scipy(linear_map: AbstractLinearMap) -> LinearOperator:
    r"""Return a map as a ``scipy.sparse.linalg.LinearOperator`` on vec(X).

    vec reads the matrix row by row, as NumPy's ``X.ravel()``. NumPy arrays go in and
    come out; a map on another device gets copies. A complex vector given to a real map
    is measured in its real and imaginary part.

    Parameters
    ----------
    linear_map : AbstractLinearMap
        float32, float64, complex64 or complex128.

    Returns
    -------
    LinearOperator
        Of shape ``(num_measurements, num_rows * num_columns)``, with adjoint; products
        with several vectors are one batch.

    Raises
    ------
    InputError
        If the map's dtype is another one.

    Examples
    --------
    >>> import numpy as np, tacit
    >>> from scipy.sparse.linalg import lsqr
    >>> gaussian = tacit.gaussian_map((3, 2), 9, generator=tacit.make_generator(0))
    >>> operator = tacit.as_scipy(gaussian)
    >>> solution = lsqr(operator, operator @ np.arange(6.0), atol=1e-12, btol=1e-12)[0]
    >>> bool(np.allclose(solution, np.arange(6.0)))
    True
    """
    spec = linear_map.spec
    if spec.dtype not in _DTYPES:
        raise InputError(
            f"a map's dtype must be one of {', '.join(map(str, _DTYPES))} for NumPy; "
            f"got {spec.dtype}; build the map in one of them"
        )

    forward = partial(_call_on_columns, linear_map, is_adjoint=False)
    adjoint = partial(_call_on_columns, linear_map, is_adjoint=True)
    make: Any = LinearOperator  # its __new__ takes functions, which no stub tells
    return make(
        (spec.num_measurements, math.prod(spec.in_shape)),
        matvec=forward,
        rmatvec=adjoint,
        matmat=forward,
        rmatmat=adjoint,
        dtype=np.dtype(_DTYPES[spec.dtype]),
    )


def _call_on_columns(
    linear_map: AbstractLinearMap, columns: Array, *, is_adjoint: bool
) -> Array:
    """Apply one direction of a map to a vector, or to every column of a matrix."""
    spec = linear_map.spec
    array = np.asarray(columns)
    if np.iscomplexobj(array) and not spec.dtype.is_complex:
        real, imaginary = (
            _call_on_columns(linear_map, part, is_adjoint=is_adjoint)
            for part in (np.real(array), np.imag(array))
        )
        return real + 1j * imaginary
    rows = np.array(array.T, dtype=_DTYPES[spec.dtype], order="C")
    given = torch.from_numpy(rows).to(spec.device)
    if is_adjoint:
        result = linear_map.adjoint_apply(given).flatten(-2)
    else:
        result = linear_map.apply(given.unflatten(-1, spec.in_shape))
    return result.detach().resolve_conj().cpu().numpy().T
