"""Blind deconvolution as a semidefinite programme, for solvers called through CVXPY.

Three formulations, all with a real matrix variable ``W`` or multiplier of size n = K+N
(real data) or 2 (K+N) (complex data, ``[[Re, -Im], [Im, Re]]``):

* ``normnuc``: ``cvxpy.normNuc`` of a complex variable, as CVXPY compiles it;
* ``primal``: half the trace of W >= 0, whose off-diagonal block is X. W needs no
  constraints for its complex structure: averaging over the four blocks costs nothing;
* ``dual``: the largest Re<q, y> - tau ||q|| with ``[[I, A^*(q)], [., I]] >= 0``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import cvxpy as cp
import numpy as np
import scs
from deconvolution_data import Array, Instance, to_fourier
from scipy import sparse


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """A matrix, dual vectors (Fourier domain), and what the method cost and said."""

    matrix: Array
    duals: list[Array]
    seconds: float
    compile_seconds: float
    notes: str = ""


def real_measurements(instance: Instance) -> tuple[Array, Array]:
    """Return M and y, real: M takes the entries of X, row by row.

    Complex data: real parts before imaginary parts, of X and of y (Fourier domain).
    """
    rows, columns = instance.shape
    if instance.is_real:
        shifted = [np.roll(instance.signals, place, 0) for place in instance.places]
        return np.stack(shifted, 1).reshape(-1, rows * columns), instance.measured
    both = instance.filter_rows[:, :, None] * instance.signal_rows[:, None, :]
    flat = both.reshape(-1, rows * columns)
    matrix = np.block([[flat.real, -flat.imag], [flat.imag, flat.real]])
    observed = instance.observed
    return matrix, np.concatenate([observed.real, observed.imag])


def dual_vector(instance: Instance, vector: Array) -> Array:
    """Return a vector of the real form in the Fourier domain."""
    if instance.is_real:
        return to_fourier(vector)
    size = instance.length
    return vector[:size] + 1j * vector[size:]


def _unstack(instance: Instance, vector: Array) -> Array:
    if instance.is_real:
        return vector.reshape(instance.shape)
    half = vector.size // 2
    return (vector[:half] + 1j * vector[half:]).reshape(instance.shape)


def _corner(instance: Instance, whole: Any) -> Any:
    """Return the entries of X in W (array or expression), as the real form has them."""
    rows, columns = instance.shape
    if instance.is_real:
        return _flat(whole[:rows, rows:])
    top, low = slice(0, rows), slice(rows, 2 * rows)
    left = slice(2 * rows, 2 * rows + columns)
    right = slice(2 * rows + columns, 2 * (rows + columns))
    real = (whole[top, left] + whole[low, right]) / 2.0
    imaginary = (whole[low, left] - whole[top, right]) / 2.0
    parts = [_flat(real), _flat(imaginary)]
    return np.concatenate(parts) if isinstance(whole, np.ndarray) else cp.hstack(parts)


def _flat(block: Any) -> Any:
    if isinstance(block, np.ndarray):
        return block.reshape(-1)
    return cp.reshape(block, (block.size,), order="C")


def _fits(instance: Instance, image: Any, observed: Array) -> cp.Constraint:
    if instance.bound == 0.0:
        return image == observed
    return cp.SOC(cp.Constant(instance.bound), image - observed)


def _multiplier(constraint: Any) -> Array:
    value = constraint.dual_value
    value = value[1] if isinstance(value, list) else value
    return np.asarray(value).reshape(-1)


def _primal(instance: Instance) -> tuple[cp.Problem, Callable[[], tuple[Array, Array]]]:
    matrix, observed = real_measurements(instance)
    size = sum(instance.shape) * (1 if instance.is_real else 2)
    whole = cp.Variable((size, size), PSD=True)
    corner = _corner(instance, whole)
    fits = _fits(instance, matrix @ corner, observed)
    scale = 2.0 if instance.is_real else 4.0
    problem = cp.Problem(cp.Minimize(cp.trace(whole) / scale), [fits])

    def read() -> tuple[Array, Array]:
        return _corner(instance, np.asarray(whole.value)), _multiplier(fits)

    return problem, read


def _normnuc(
    instance: Instance,
) -> tuple[cp.Problem, Callable[[], tuple[Array, Array]]]:
    matrix, observed = real_measurements(instance)
    unknown = cp.Variable(instance.shape, complex=not instance.is_real)
    entries = _flat(unknown)
    if not instance.is_real:
        entries = cp.hstack([cp.real(entries), cp.imag(entries)])
    fits = _fits(instance, matrix @ entries, observed)
    problem = cp.Problem(cp.Minimize(cp.normNuc(unknown)), [fits])

    def read() -> tuple[Array, Array]:
        found = np.asarray(unknown.value).reshape(-1)
        if not instance.is_real:
            found = np.concatenate([found.real, found.imag])
        return found, _multiplier(fits)

    return problem, read


def _dual(instance: Instance) -> tuple[cp.Problem, Callable[[], tuple[Array, Array]]]:
    matrix, observed = real_measurements(instance)
    rows, columns = instance.shape
    vector = cp.Variable(len(observed))
    entries = matrix.T @ vector
    count = rows * columns
    block = cp.reshape(entries[:count], (rows, columns), order="C")
    size = sum(instance.shape)
    if not instance.is_real:
        imaginary = cp.reshape(entries[count:], (rows, columns), order="C")
        block = cp.bmat([[block, -imaginary], [imaginary, block]])
        rows, columns, size = 2 * rows, 2 * columns, 2 * size
    whole = cp.bmat([[np.eye(rows), block], [block.T, np.eye(columns)]])
    is_contraction = whole >> 0
    gain = observed @ vector
    if instance.bound > 0.0:
        gain = gain - instance.bound * cp.norm(vector, 2)
    problem = cp.Problem(cp.Maximize(gain), [is_contraction])

    def read() -> tuple[Array, Array]:
        multiplier = np.asarray(is_contraction.dual_value)
        scale = -2.0 if instance.is_real else -4.0
        return scale * _corner(instance, multiplier), np.asarray(vector.value)

    return problem, read


FORMULATIONS = {"normnuc": _normnuc, "primal": _primal, "dual": _dual}


def solve_cvxpy(
    instance: Instance, formulation: str, solver: str, settings: dict[str, Any]
) -> Answer:
    """Solve one formulation; compilation is timed on its own."""
    began = time.process_time()
    problem, read = FORMULATIONS[formulation](instance)
    data, chain, inverse = problem.get_problem_data(solver, solver_opts=settings)
    compiled = time.process_time()
    solution = chain.solve_via_data(
        problem, data, solver_opts=settings, warm_start=False, verbose=False
    )
    seconds = time.process_time() - compiled
    problem.unpack_results(solution, chain, inverse)
    matrix, vector = read()
    dual = dual_vector(instance, vector)
    return Answer(
        matrix=_unstack(instance, matrix),
        duals=[dual, -dual],
        seconds=seconds,
        compile_seconds=compiled - began,
        notes=str(problem.status),
    )


def solve_scs_complex(
    instance: Instance, formulation: str, settings: dict[str, Any]
) -> Answer:
    """Call SCS itself, whose cone of Hermitian matrices CVXPY does not know.

    The semidefinite matrix then has size K + N instead of 2 (K + N).
    """
    began = time.process_time()
    build = {"primal": _hermitian_primal, "dual": _hermitian_dual}[formulation]
    data, cone, read = build(instance)
    compiled = time.process_time()
    found = scs.SCS(data, cone, verbose=False, **settings).solve()
    seconds = time.process_time() - compiled
    matrix, vector = read(found)
    dual = dual_vector(instance, vector)
    return Answer(
        matrix=matrix,
        duals=[dual, -dual],
        seconds=seconds,
        compile_seconds=compiled - began,
        notes=str(found["info"]["status"]),
    )


_Direct = tuple[dict[str, Any], dict[str, Any], Callable[[Any], tuple[Array, Array]]]


def _places(instance: Instance) -> tuple[Array, Array, int]:
    """Where the cone holds the diagonal of W and the real parts of X, and its size.

    It lists the lower triangle by columns, off the diagonal as real and imaginary part
    times sqrt(2). The lower left block is X^H: conjugates of the entries of X.
    """
    rows, columns = instance.shape
    size = rows + columns
    low_columns, low_rows = np.triu_indices(size)
    widths = np.where(low_rows == low_columns, 1, 2)
    starts = np.concatenate([[0], np.cumsum(widths)])
    place = np.full((size, size), -1)
    place[low_rows, low_columns] = starts[:-1]
    return np.diagonal(place), place[rows:, :rows].T.reshape(-1), int(starts[-1])


def _hermitian_primal(instance: Instance) -> _Direct:
    matrix, observed = real_measurements(instance)
    diagonal, real, count = _places(instance)
    half = real.size
    fit = np.zeros((len(observed), count))
    fit[:, real] = matrix[:, :half] / np.sqrt(2.0)
    fit[:, real + 1] = -matrix[:, half:] / np.sqrt(2.0)
    objective = np.zeros(count)
    objective[diagonal] = 0.5
    cone: dict[str, Any] = {"cs": [sum(instance.shape)]}
    blocks, right = [sparse.csc_matrix(fit)], [observed]
    if instance.bound == 0.0:
        cone["z"] = len(observed)
    else:
        cone["q"] = [len(observed) + 1]
        blocks = [sparse.csc_matrix((1, count)), *blocks]
        right = [np.array([instance.bound]), observed]
    data = {
        "A": sparse.vstack([*blocks, -sparse.eye(count)], format="csc"),
        "b": np.concatenate([*right, np.zeros(count)]),
        "c": objective,
    }
    first = 0 if instance.bound == 0.0 else 1

    def read(found: Any) -> tuple[Array, Array]:
        entries = found["x"]
        unknown = (entries[real] - 1j * entries[real + 1]) / np.sqrt(2.0)
        vector = found["y"][first : first + len(observed)]
        return unknown.reshape(instance.shape), vector

    return data, cone, read


def _hermitian_dual(instance: Instance) -> _Direct:
    matrix, observed = real_measurements(instance)
    diagonal, real, count = _places(instance)
    half, size = real.size, len(observed)
    block = np.zeros((count, size))
    block[real] = -np.sqrt(2.0) * matrix[:, :half].T
    block[real + 1] = np.sqrt(2.0) * matrix[:, half:].T
    identity = np.zeros(count)
    identity[diagonal] = 1.0
    cone: dict[str, Any] = {"cs": [sum(instance.shape)]}
    whole, right, objective = sparse.csc_matrix(block), identity, -observed
    if instance.bound > 0.0:  # one more variable, at least the norm of the others
        cone["q"] = [size + 1]
        whole = sparse.block_array(
            [[-sparse.eye(size), None], [None, [[-1.0]]], [whole, None]]
        )
        whole = sparse.csc_matrix(whole)
        order = np.concatenate([[size], np.arange(size), size + 1 + np.arange(count)])
        whole = whole[order]
        right = np.concatenate([np.zeros(size + 1), identity])
        objective = np.concatenate([objective, [instance.bound]])
    data = {"A": whole, "b": right, "c": objective}

    def read(found: Any) -> tuple[Array, Array]:
        multiplier = found["y"][-count:]
        unknown = multiplier[real] - 1j * multiplier[real + 1]
        unknown = -np.sqrt(2.0) * unknown
        return unknown.reshape(instance.shape), found["x"][:size]

    return data, cone, read
