import pytest
import torch
from torch import Tensor

from recovery_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.bridges.functions import FunctionMap, checked
from tacit.recovery.maps.linear_map import MapSpec

SPEC = MapSpec(
    in_shape=(3, 2),
    num_measurements=2,
    dtype=torch.float64,
    device=torch.device("cpu"),
)


def _column_sums(matrix: Tensor) -> Tensor:
    return matrix.sum(-2)


def _spread(measurements: Tensor) -> Tensor:
    return measurements.unsqueeze(-2).expand(-1, 3, 2)


def _identity(matrix: Tensor) -> Tensor:
    return matrix


def test_the_functions_see_one_batch_dimension(generator: torch.Generator) -> None:
    seen: list[tuple[int, ...]] = []

    def forward(matrix: Tensor) -> Tensor:
        seen.append(tuple(matrix.shape))
        assert matrix.is_contiguous()
        return _column_sums(matrix)

    linear_map = FunctionMap(forward=forward, adjoint=_spread, declared_spec=SPEC)
    for batch in ((), (4,), (2, 3)):
        matrix = draw(generator, *batch, 3, 2)
        assert torch.equal(linear_map.apply(matrix), matrix.sum(-2))
    assert seen == [(1, 3, 2), (4, 3, 2), (6, 3, 2)]


def test_results_are_copied_and_carry_no_gradients(generator: torch.Generator) -> None:
    spec = MapSpec(
        in_shape=(1, 2),
        num_measurements=2,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    gain = torch.ones(1, dtype=torch.float64, requires_grad=True)

    def first_row(matrix: Tensor) -> Tensor:
        return matrix[:, 0, :]

    def weighted(measurements: Tensor) -> Tensor:
        return gain * measurements.unsqueeze(-2)

    linear_map = FunctionMap(forward=first_row, adjoint=weighted, declared_spec=spec)
    matrix = draw(generator, 1, 2)
    linear_map.apply(matrix).zero_()
    assert bool((matrix != 0.0).all())
    assert not linear_map.adjoint_apply(matrix[0]).requires_grad


def test_a_wrong_shape_or_field_is_refused(generator: torch.Generator) -> None:
    matrix = draw(generator, 3, 2)
    wrong = FunctionMap(forward=_identity, adjoint=_identity, declared_spec=SPEC)
    with pytest.raises(ShapeError, match=r"forward must return shape \(1, 2\)"):
        wrong.apply(matrix)
    with pytest.raises(ShapeError, match=r"adjoint must return shape \(1, 3, 2\)"):
        wrong.adjoint_apply(draw(generator, 2))

    def turned(matrix: Tensor) -> Tensor:
        return 1.0j * matrix.sum(-2)

    complex_map = FunctionMap(forward=turned, adjoint=_spread, declared_spec=SPEC)
    with pytest.raises(InputError, match=r"return torch\.float64 .*complex128"):
        complex_map.apply(matrix)


def test_a_wrong_adjoint_is_found_if_asked_for(generator: torch.Generator) -> None:
    right = FunctionMap(forward=_column_sums, adjoint=_spread, declared_spec=SPEC)
    assert checked(right, generator) is right

    def doubled(measurements: Tensor) -> Tensor:
        return 2.0 * _spread(measurements)

    wrong = FunctionMap(forward=_column_sums, adjoint=doubled, declared_spec=SPEC)
    assert checked(wrong, None) is wrong
    with pytest.raises(InputError, match="breaks the law of adjointness"):
        checked(wrong, generator)
