"""Singular values against a dense decomposition of autograd's Jacobian."""

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.dynamics import jacobian as jacobian_module
from tacit.minimax.dynamics import spectrum as spectrum_module
from tacit.minimax.dynamics.spectrum import (
    JacobianSpectrum,
    extreme_singular_values,
    jacobian_spectrum,
)
from tacit.minimax.matching import MatchingProblem
from tacit.minimax.mean_matching import (
    MeanMatchingGame,
    draw_start,
    member,
    random_game,
)


def linear(matrix: Tensor) -> MatchingProblem:
    return MatchingProblem(
        generator_function=lambda x: matrix @ x,
        min_shape=(matrix.shape[1],),
        target=matrix.new_zeros(matrix.shape[0]),
    )


def gaussian(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_game_against_the_full_jacobian(generator: torch.Generator) -> None:
    game = random_game(30, 6, 4, 9, batch=(3,), generator=generator)
    weights, _ = draw_start(game, generator=generator)
    found = jacobian_spectrum(game, weights)
    assert found.is_complete
    for index in range(3):
        own, start = member(game, index), weights[index]

        def output(flat: Tensor, own: MeanMatchingGame = own) -> Tensor:
            hidden = torch.relu(own.latents @ flat.reshape(30, 4).mT)
            return own.output_weights @ hidden.mean(0)

        dense = torch.autograd.functional.jacobian(output, start.reshape(-1))
        assert isinstance(dense, Tensor)
        wanted = torch.linalg.svdvals(dense)
        torch.testing.assert_close(found.singular_values[index], wanted)


def test_directions_that_no_parameter_reaches_count_as_zero(
    generator: torch.Generator,
) -> None:
    matrix = gaussian(generator, 5, 2)
    found = jacobian_spectrum(linear(matrix), torch.zeros(2).double())
    assert found.singular_values.shape == (5,)
    torch.testing.assert_close(found.singular_values[:2], torch.linalg.svdvals(matrix))
    assert found.singular_values[2:].abs().max() == 0.0
    assert found.condition_number == float("inf")


def test_float32_problems_are_decomposed_in_float64(generator: torch.Generator) -> None:
    matrix = gaussian(generator, 4, 6).float()
    found = jacobian_spectrum(linear(matrix), torch.zeros(6))
    assert found.singular_values.dtype == torch.float64
    wanted = torch.linalg.svdvals(matrix.double())
    torch.testing.assert_close(found.singular_values, wanted)


def test_matrix_free_routes_agree(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = gaussian(generator, 12, 40)
    wanted = torch.linalg.svdvals(matrix)
    monkeypatch.setattr(jacobian_module, "DENSE_ENTRIES", 10)
    by_gram = jacobian_spectrum(linear(matrix), torch.zeros(40).double())
    torch.testing.assert_close(by_gram.singular_values, wanted, rtol=1e-7, atol=0.0)
    monkeypatch.setattr(spectrum_module, "_DENSE_FEATURES", 5)
    with pytest.raises(InputError, match="generator=make_generator"):
        jacobian_spectrum(linear(matrix), torch.zeros(40).double())
    found = jacobian_spectrum(
        linear(matrix), torch.zeros(40).double(), generator=generator
    )
    assert not found.is_complete
    assert found.largest == pytest.approx(float(wanted[0]), rel=1e-9)
    assert found.smallest == pytest.approx(float(wanted[-1]), rel=1e-6)


def test_lanczos_encloses_the_spectrum(generator: torch.Generator) -> None:
    matrix = gaussian(generator, 60, 200)
    wanted = torch.linalg.svdvals(matrix)
    found = extreme_singular_values(
        linear(matrix), torch.zeros(200).double(), generator=generator, max_steps=20
    )
    assert found.lower is not None
    assert found.upper is not None
    # Twenty steps do not resolve the ends: the bounds have work to do.
    assert found.lower < float(wanted[-1]) < found.smallest
    assert found.largest < float(wanted[0]) < found.upper
    assert found.upper < 1.5 * float(wanted[0])
    assert found.failure_probability == 1e-6


def test_lanczos_takes_one_point(generator: torch.Generator) -> None:
    problem = linear(gaussian(generator, 4, 6))
    with pytest.raises(ShapeError, match="without batch dimensions"):
        extreme_singular_values(
            problem, torch.zeros(2, 6).double(), generator=generator
        )


def test_extremes_of_a_batch() -> None:
    values = torch.tensor([[4.0, 2.0], [3.0, 1.0]]).double()
    found = JacobianSpectrum(singular_values=values)
    assert (found.largest, found.smallest, found.condition_number) == (4.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (torch.zeros(0), ShapeError),
        (torch.tensor(1.0), ShapeError),
        (torch.tensor([1.0, -1.0]), InputError),
        (torch.tensor([float("nan")]), InputError),
        (torch.tensor([float("inf")]), InputError),
    ],
)
def test_what_is_no_spectrum_is_refused(values: Tensor, error: type[Exception]) -> None:
    with pytest.raises(error):
        JacobianSpectrum(singular_values=values)
