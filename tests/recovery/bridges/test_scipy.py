from typing import Any

import numpy as np
import pylops
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator, lsmr, svds

from recovery_cases import MAPS, dense_matrix, draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.bridges.functions import FunctionMap
from tacit.recovery.bridges.scipy import as_scipy, from_pylops, from_scipy
from tacit.recovery.maps.linear_map import MapSpec, adjoint_test
from tacit.recovery.maps.rank_one import rank_one_map
from tacit.rng import make_generator

COMPLEX = torch.complex128
EVERY = pytest.mark.parametrize("name", MAPS)


def _as_any(item: Any) -> Any:
    """PyLops and SciPy are typed in part only."""
    return item


# From SciPy


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, COMPLEX])
def test_a_scipy_operator_acts_on_the_matrix_row_by_row(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    dense = draw(generator, 5, 6, dtype=dtype)
    linear_map = from_scipy(
        aslinearoperator(dense.numpy()), (2, 3), generator=generator
    )
    assert linear_map.spec.dtype == dtype
    assert torch.equal(dense_matrix(linear_map), dense)


def test_a_sparse_array_of_integers_becomes_a_real_map(
    generator: torch.Generator,
) -> None:
    array = scipy.sparse.csr_array(np.arange(8).reshape(2, 4))
    linear_map = from_scipy(aslinearoperator(array), (2, 2), generator=generator)
    assert linear_map.spec.dtype == torch.float64
    expected = torch.arange(8.0, dtype=torch.float64).reshape(2, 4)
    assert torch.equal(dense_matrix(linear_map), expected)


def test_a_real_operator_measures_complex_matrices(generator: torch.Generator) -> None:
    dense = draw(generator, 5, 6)
    operator = aslinearoperator(dense.numpy())
    linear_map = from_scipy(operator, (3, 2), dtype=COMPLEX, generator=generator)
    assert torch.allclose(dense_matrix(linear_map), dense.to(COMPLEX))


def test_what_the_operator_returns_is_not_shared() -> None:
    identity = aslinearoperator(scipy.sparse.eye_array(4))
    linear_map = from_scipy(identity, (2, 2))
    matrix = torch.ones(2, 2, dtype=torch.float64)
    linear_map.apply(matrix).zero_()
    assert bool((matrix == 1.0).all())


def test_an_operator_without_a_right_adjoint_is_found_out(
    generator: torch.Generator,
) -> None:
    make = _as_any(LinearOperator)
    wrong = make((4, 4), matvec=np.cumsum, rmatvec=np.negative, dtype=np.float64)
    from_scipy(wrong, (2, 2))
    with pytest.raises(InputError, match="breaks the law of adjointness"):
        from_scipy(wrong, (2, 2), generator=generator)


def test_what_is_no_operator_is_refused() -> None:
    with pytest.raises(InputError, match="ndarray lacks matmat and rmatmat"):
        from_scipy(_as_any(np.eye(4)), (2, 2))
    with pytest.raises(ShapeError, match="must have 6 columns"):
        from_scipy(aslinearoperator(np.eye(4)), (2, 3))
    with pytest.raises(InputError, match="got float16"):
        from_scipy(aslinearoperator(np.eye(4, dtype=np.float16)), (2, 2))
    with pytest.raises(InputError, match=r"got torch\.float16"):
        from_scipy(aslinearoperator(np.eye(4)), (2, 2), dtype=torch.float16)
    real = from_scipy(aslinearoperator(1.0j * np.eye(4)), (2, 2), dtype=torch.float64)
    with pytest.raises(InputError, match="make the map complex"):
        real.apply(torch.eye(2, dtype=torch.float64))


# To SciPy


@EVERY
def test_every_map_becomes_a_scipy_operator(name: str) -> None:
    generator = make_generator(0, name)
    linear_map = MAPS[name](generator)
    dense = dense_matrix(linear_map).numpy()
    operator = as_scipy(linear_map)
    assert operator.shape == dense.shape
    assert operator.dtype == dense.dtype
    dtype = linear_map.spec.dtype
    one = draw(generator, dense.shape[1], dtype=dtype).numpy()
    several = draw(generator, dense.shape[0], 3, dtype=dtype).numpy()
    limit = 1e3 * float(np.finfo(dense.dtype).eps) * (1.0 + np.linalg.norm(dense))
    for got, expected in (
        (operator @ one, dense @ one),
        (operator.matvec(one[:, None]), dense @ one[:, None]),
        (operator.rmatvec(several[:, 0]), dense.conj().T @ several[:, 0]),
        (operator.rmatmat(several), dense.conj().T @ several),
        (operator.H @ several, dense.conj().T @ several),
        ((operator.H @ operator) @ one, dense.conj().T @ (dense @ one)),
    ):
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= limit * (1.0 + np.linalg.norm(dense))


@EVERY
def test_there_and_back_is_the_same_map(name: str) -> None:
    linear_map = MAPS[name](make_generator(0, name))
    back = from_scipy(as_scipy(linear_map), linear_map.in_shape)
    assert back.spec.dtype == linear_map.spec.dtype
    eps = torch.finfo(linear_map.spec.dtype).eps
    assert torch.allclose(
        dense_matrix(back), dense_matrix(linear_map), rtol=1e2 * eps, atol=1e2 * eps
    )
    adjoint_test(back, generator=make_generator(1, name))


def test_a_complex_vector_is_measured_in_both_parts(generator: torch.Generator) -> None:
    linear_map = rank_one_map((3, 2), 4, generator=generator)
    vector = draw(generator, 6, 2, dtype=COMPLEX).numpy()
    expected = dense_matrix(linear_map).numpy() @ vector
    assert np.allclose(as_scipy(linear_map).matmat(vector), expected, atol=1e-13)


def test_scipys_solvers_take_the_operator(generator: torch.Generator) -> None:
    linear_map = rank_one_map((4, 3), 30, generator=generator)
    operator = as_scipy(linear_map)
    matrix = draw(generator, 4, 3)
    measured = linear_map.apply(matrix).numpy()
    solution = lsmr(operator, measured, atol=1e-14, btol=1e-14)[0]
    assert np.allclose(solution.reshape(4, 3), matrix.numpy(), atol=1e-10)
    values = svds(operator, k=2, rng=np.random.default_rng(0))[1]
    expected = torch.linalg.svdvals(dense_matrix(linear_map))[:2]
    assert np.allclose(np.sort(values)[::-1], expected.numpy(), rtol=1e-10)


def test_a_map_that_numpy_has_no_dtype_for_is_refused() -> None:
    spec = MapSpec(
        in_shape=(2, 2),
        num_measurements=2,
        dtype=torch.bfloat16,
        device=torch.device("cpu"),
    )
    linear_map = FunctionMap(
        forward=torch.Tensor.contiguous,
        adjoint=torch.Tensor.contiguous,
        declared_spec=spec,
    )
    with pytest.raises(InputError, match=r"got torch\.bfloat16"):
        as_scipy(linear_map)


# PyLops, the real package


def test_a_pylops_matrix_acts_row_by_row(generator: torch.Generator) -> None:
    dense = draw(generator, 5, 6, dtype=COMPLEX)
    operator = _as_any(pylops.MatrixMult(dense.numpy(), dtype="complex128"))
    linear_map = from_pylops(operator, (2, 3), generator=generator)
    assert torch.allclose(dense_matrix(linear_map), dense, atol=1e-14)


@pytest.mark.parametrize(
    "operator",
    [
        pylops.FirstDerivative((4, 5), axis=1),
        pylops.Laplacian((4, 5), axes=(0, 1)),
        pylops.Restriction((4, 5), [0, 3], axis=0),
        pylops.VStack([pylops.Identity(20), 2.0 * pylops.FirstDerivative(20)]),
        pylops.signalprocessing.FFT2D((4, 5), dtype=np.complex128),
        pylops.Kronecker(
            pylops.MatrixMult(np.arange(8.0).reshape(2, 4)), pylops.Identity(5)
        ),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_pylops_operators_pass_the_adjoint_test(
    operator: Any, generator: torch.Generator
) -> None:
    dtype = COMPLEX if np.dtype(operator.dtype).kind == "c" else torch.float64
    linear_map = from_pylops(operator, (4, 5), dtype=dtype, generator=generator)
    matrix = draw(generator, 4, 5, dtype=dtype)
    expected = operator.matvec(matrix.numpy().ravel())
    assert np.allclose(linear_map.apply(matrix).numpy(), expected, atol=1e-13)


def test_two_dims_say_the_shape(generator: torch.Generator) -> None:
    operator = _as_any(pylops.FirstDerivative((4, 5), axis=0))
    assert from_pylops(operator, generator=generator).in_shape == (4, 5)
    with pytest.raises(ShapeError, match=r"dims must be .* got \(20,\); pass shape"):
        from_pylops(_as_any(pylops.Identity(20)))
    with pytest.raises(ShapeError, match="must have 21 columns"):
        from_pylops(_as_any(pylops.Identity(20)), (3, 7))


@EVERY
def test_pylops_takes_every_map_from_scipy(name: str) -> None:
    linear_map = MAPS[name](make_generator(0, name))
    operator = _as_any(pylops).LinearOperator(
        as_scipy(linear_map), dims=linear_map.in_shape
    )
    dense = dense_matrix(linear_map).numpy()
    assert operator.dtype == dense.dtype
    units = np.eye(dense.shape[1], dtype=dense.dtype)
    limit = 1e2 * float(np.finfo(dense.dtype).eps) * (1.0 + np.linalg.norm(dense))
    assert np.abs(operator.matmat(units) - dense).max() <= limit
    # PyLops applies operators to arrays of the model's dims.
    image = units[0].reshape(linear_map.in_shape)
    assert np.abs(operator @ image - dense[:, 0]).max() <= limit
    back = from_pylops(operator)
    assert back.in_shape == linear_map.in_shape
    adjoint_test(back, generator=make_generator(1, name))


def test_pylops_own_dot_test_is_passed() -> None:
    linear_map = rank_one_map((4, 3), 7, generator=make_generator(0), dtype=COMPLEX)
    operator = _as_any(pylops).LinearOperator(as_scipy(linear_map))
    # Its vectors come from NumPy's global state, which the test must leave alone.
    state = np.random.get_state()  # noqa: NPY002
    try:
        assert _as_any(pylops).utils.dottest(operator, 7, 12, complexflag=3)
    finally:
        np.random.set_state(state)  # noqa: NPY002
