import pytest
import torch

from saddle_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.minimax.quadratic import (
    QuadraticGame,
    bilinear_game,
    random_quadratic_game,
    saddle_point,
)


def _game(generator: torch.Generator, *batch: int) -> QuadraticGame:
    return random_quadratic_game(
        4,
        3,
        curvature=(1.0, 7.0),
        coupling=(0.5, 3.0),
        concavity=(2.0, 6.0),
        batch=batch,
        generator=generator,
    )


def test_the_value_is_the_formula(generator: torch.Generator) -> None:
    game = _game(generator)
    x, y = draw(generator, 4), draw(generator, 3)
    expected = 0.0
    for i in range(4):
        expected += float(game.min_slope[i] * x[i])
        expected += sum(float(game.curvature[i, j] * x[i] * x[j]) / 2 for j in range(4))
        expected += sum(float(game.coupling[i, j] * x[i] * y[j]) for j in range(3))
    for i in range(3):
        expected += float(game.max_slope[i] * y[i])
        expected -= sum(float(game.concavity[i, j] * y[i] * y[j]) / 2 for j in range(3))
    assert abs(float(game.value(x, y)) - expected) < 1e-12


@pytest.mark.parametrize("batch", [(), (5,), (2, 2)])
@pytest.mark.parametrize("sizes", [(4, 3), (2, 6), (1, 1)])
def test_constants_are_those_prescribed(
    batch: tuple[int, ...], sizes: tuple[int, int], generator: torch.Generator
) -> None:
    game = random_quadratic_game(
        *sizes,
        curvature=(1.0, 7.0),
        coupling=(0.5, 3.0),
        concavity=(2.0, 6.0),
        batch=batch,
        generator=generator,
    )
    found = (
        torch.linalg.eigvalsh(game.curvature),
        torch.linalg.svdvals(game.coupling),
        torch.linalg.eigvalsh(game.concavity),
    )
    for values, (low, high) in zip(
        found, ((1.0, 7.0), (0.5, 3.0), (2.0, 6.0)), strict=True
    ):
        assert torch.allclose(values.amax(-1), torch.tensor(high).double(), atol=1e-12)
        smallest = torch.tensor(low if values.shape[-1] > 1 else high).double()
        assert torch.allclose(values.amin(-1), smallest, atol=1e-12)
    assert torch.equal(game.curvature, game.curvature.mT)
    assert game.min_slope.shape == (*batch, sizes[0])


def test_games_of_a_batch_are_drawn_independently(generator: torch.Generator) -> None:
    game = _game(generator, 2)
    assert not torch.allclose(game.curvature[0], game.curvature[1])
    assert not torch.allclose(game.coupling[0], game.coupling[1])


def test_eigenvectors_prefer_no_direction(generator: torch.Generator) -> None:
    game = random_quadratic_game(
        2,
        1,
        curvature=(0.0, 1.0),
        coupling=(0.0, 1.0),
        concavity=(1.0, 1.0),
        batch=(4000,),
        generator=generator,
    )
    # Uniform unit vectors v: E v v^T = I / 2, and the single entry is +1 or -1.
    assert torch.allclose(
        game.curvature.mean(0), torch.eye(2).double() / 2, atol=5 * 0.36 / 4000**0.5
    )
    assert float(game.coupling.mean(0).abs().max()) < 5 * 0.71 / 4000**0.5


@pytest.mark.parametrize("batch", [(), (4,)])
def test_both_gradients_vanish_at_the_saddle_point(
    batch: tuple[int, ...], generator: torch.Generator
) -> None:
    game = _game(generator, *batch)
    x, y = saddle_point(game)
    for slope in game.gradients(x, y):
        assert float(slope.abs().max()) < 1e-12
    value = game.value(x, y)
    u, v = draw(generator, *batch, 4), draw(generator, *batch, 3)
    assert bool((game.value(x + u, y) > value).all())
    assert bool((game.value(x, y + v) < value).all())


def test_a_game_without_exactly_one_stationary_point_is_refused() -> None:
    with pytest.raises(InputError, match="exactly one stationary point"):
        saddle_point(bilinear_game(torch.zeros(1, 1)))
    with pytest.raises(InputError, match="exactly one stationary point"):
        saddle_point(bilinear_game(torch.ones(2, 1)))


def test_a_bilinear_game_is_a_product(generator: torch.Generator) -> None:
    coupling, p, q = draw(generator, 3, 2), draw(generator, 3), draw(generator, 2)
    x, y = draw(generator, 3), draw(generator, 2)
    game = bilinear_game(coupling, min_slope=p, max_slope=q)
    expected = x @ coupling @ y + p @ x + q @ y
    assert torch.allclose(game.value(x, y), expected, atol=1e-13)
    plain = bilinear_game(coupling)
    assert torch.allclose(plain.value(x, y), x @ coupling @ y, atol=1e-13)


DATA = {
    "curvature": (2, 3, 3),
    "coupling": (2, 3, 4),
    "concavity": (2, 4, 4),
    "min_slope": (2, 3),
    "max_slope": (2, 4),
}


@pytest.mark.parametrize("name", sorted(DATA.keys() - {"coupling"}))
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    data = {key: torch.zeros(shape) for key, shape in DATA.items()}
    QuadraticGame(**data)
    data[name] = data[name][0]
    with pytest.raises(ShapeError, match=f"{name} must have shape"):
        QuadraticGame(**data)


@pytest.mark.parametrize("name", DATA)
def test_entries_that_are_not_finite_are_refused(name: str) -> None:
    data = {key: torch.zeros(shape) for key, shape in DATA.items()}
    data[name][0, 0] = float("inf")
    with pytest.raises(InputError, match=f"{name} must be finite"):
        QuadraticGame(**data)


def test_a_coupling_that_is_no_matrix_is_refused() -> None:
    with pytest.raises(ShapeError, match="coupling must have shape"):
        bilinear_game(torch.zeros(3))
    data = {key: torch.zeros(shape) for key, shape in DATA.items()}
    with pytest.raises(ShapeError, match="coupling must have shape"):
        QuadraticGame(**(data | {"coupling": torch.zeros(3)}))
    with pytest.raises(ShapeError, match="at least one number"):
        bilinear_game(torch.zeros(0, 3))


@pytest.mark.parametrize("name", ["curvature", "concavity"])
def test_a_matrix_that_is_not_symmetric_is_refused(name: str) -> None:
    data = {key: torch.zeros(shape) for key, shape in DATA.items()}
    data[name] = data[name].clone()
    data[name][0, 0, 1] = 1e-3
    with pytest.raises(InputError, match=f"{name} must be symmetric"):
        QuadraticGame(**data)


@pytest.mark.parametrize("name", ["curvature", "coupling", "concavity"])
@pytest.mark.parametrize("bad", [(2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_constants_that_do_not_ascend_are_refused(
    name: str, bad: tuple[float, float], generator: torch.Generator
) -> None:
    names: tuple[str, ...] = ("curvature", "coupling", "concavity")
    pairs = {key: bad if key == name else (1.0, 2.0) for key in names}
    with pytest.raises(InputError, match=f"{name} must be a finite smallest"):
        random_quadratic_game(
            2,
            2,
            curvature=pairs["curvature"],
            coupling=pairs["coupling"],
            concavity=pairs["concavity"],
            generator=generator,
        )


def test_sizes_and_singular_values_out_of_range_are_refused(
    generator: torch.Generator,
) -> None:
    pair = (1.0, 2.0)
    with pytest.raises(InputError, match="cannot be negative"):
        random_quadratic_game(
            2,
            2,
            curvature=pair,
            coupling=(-1.0, 1.0),
            concavity=pair,
            generator=generator,
        )
    with pytest.raises(ShapeError, match="must be at least 1"):
        random_quadratic_game(
            0, 2, curvature=pair, coupling=pair, concavity=pair, generator=generator
        )


def test_players_of_another_batch_are_refused(generator: torch.Generator) -> None:
    game = _game(generator, 2)
    with pytest.raises(ShapeError, match="batch of data"):
        game.value(draw(generator, 4), draw(generator, 3))
    with pytest.raises(ShapeError, match="batch of data"):
        game.gradients(draw(generator, 3, 4), draw(generator, 3, 3))
