import inspect

import pytest
import torch
from torch import Tensor

from saddle_cases import SADDLES, SaddleBuilder, draw
from sources import classes
from tacit.errors import InputError, ShapeError
from tacit.minimax.matching import MatchingProblem
from tacit.minimax.problem import (
    AbstractSaddleProblem,
    FunctionProblem,
    SaddleSpec,
    check_data,
    check_players,
)

BUILDERS = pytest.mark.parametrize("build", SADDLES.values(), ids=SADDLES)
# Where a batch of players is a batch of problems that share their data.
SHARED = (FunctionProblem, MatchingProblem)


def _tolerance(problem: AbstractSaddleProblem) -> float:
    return 1e4 * torch.finfo(problem.spec.dtype).eps


def test_every_final_problem_has_a_case(generator: torch.Generator) -> None:
    wanted = {
        cls
        for cls in classes()
        if issubclass(cls, AbstractSaddleProblem) and not inspect.isabstract(cls)
    }
    assert {type(build(generator)[0]) for build in SADDLES.values()} == wanted


@BUILDERS
def test_gradients_are_those_of_the_value(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, x, y = build(generator)
    leaves = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = problem.value(*leaves)
    expected = torch.autograd.grad(value.sum(), leaves)
    for ours, by_autograd in zip(problem.gradients(x, y), expected, strict=True):
        assert ours.shape == by_autograd.shape
        assert torch.allclose(ours, by_autograd, atol=_tolerance(problem), rtol=1e-4)


@BUILDERS
def test_gradients_are_differences_of_the_value(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, x, y = build(generator)
    step = torch.finfo(problem.spec.dtype).eps ** (1 / 3)
    batch = x.ndim - len(problem.spec.min_shape)
    slopes = problem.gradients(x, y)
    u, v = draw(generator, *x.shape).to(x), draw(generator, *y.shape).to(y)
    moved = problem.value(x + step * u, y) - problem.value(x - step * u, y)
    along = (slopes[0] * u).flatten(batch).sum(-1) if u.ndim > batch else slopes[0] * u
    assert torch.allclose(moved / (2 * step), along, atol=50 * step, rtol=50 * step)
    moved = problem.value(x, y + step * v) - problem.value(x, y - step * v)
    along = (slopes[1] * v).flatten(batch).sum(-1) if v.ndim > batch else slopes[1] * v
    assert torch.allclose(moved / (2 * step), along, atol=50 * step, rtol=50 * step)


@BUILDERS
def test_a_fixed_minimising_player_gives_the_same_gradients(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, x, y = build(generator)
    fixed = problem.fix_min_player(x)
    for scores in (y, -2.0 * y):
        for_min, for_max = problem.gradients(x, scores)
        atol = _tolerance(problem)
        assert torch.allclose(fixed.min_gradient(scores), for_min, atol=atol)
        assert torch.allclose(fixed.max_gradient(scores), for_max, atol=atol)


@BUILDERS
def test_players_keep_their_numbers(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, x, y = build(generator)
    before = x.clone(), y.clone()
    for result in (*problem.gradients(x, y), problem.value(x, y)):
        result.zero_()
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@BUILDERS
def test_problems_of_a_batch_do_not_know_each_other(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, x, y = build(generator)
    split = x.ndim - len(problem.spec.min_shape)
    if split == 0 or not isinstance(problem, SHARED):
        # Then a change of one game's player leaves the others' gradients alone.
        others = x.reshape(-1, *problem.spec.min_shape).clone()
        others[0] += 1.0
        other = others.reshape(x.shape)
        changed = problem.gradients(other, y)[1] - problem.gradients(x, y)[1]
        rows = changed.reshape(-1, *problem.spec.max_shape)
        assert bool((rows[0] != 0).any())
        assert not bool((rows[1:] != 0).any())
        return
    for place in torch.cartesian_prod(*map(torch.arange, (*x.shape[:split], 1))):
        index = tuple(int(i) for i in place[:-1])
        one = problem.gradients(x[index], y[index])
        for ours, alone in zip(problem.gradients(x, y), one, strict=True):
            assert torch.allclose(ours[index], alone, atol=1e-12)
        value = problem.value(x, y)[index]
        assert torch.allclose(value, problem.value(x[index], y[index]), atol=1e-12)


@BUILDERS
def test_players_of_other_shapes_are_refused(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, x, y = build(generator)
    if problem.spec.min_shape:
        with pytest.raises(ShapeError, match="min_player must have shape"):
            problem.gradients(x[..., :-1], y)
    with pytest.raises(InputError, match=r"min_player must be torch\.float"):
        problem.gradients(x.half(), y)


@pytest.mark.parametrize(
    ("x", "y", "error", "match"),
    [
        ((3,), (4,), ShapeError, "min_player must have shape"),
        ((3, 2), (), ShapeError, "max_player must have shape"),
        ((5, 3, 2), (4, 4), ShapeError, "same batch dimensions"),
        ((5, 3, 2), (5, 4), ShapeError, "as the problem has a batch"),
    ],
)
def test_players_that_do_not_fit_are_refused(
    x: tuple[int, ...], y: tuple[int, ...], error: type[Exception], match: str
) -> None:
    spec = SaddleSpec(min_shape=(3, 2), max_shape=(4,))
    batch = (6,) if "problem has" in match else ()
    with pytest.raises(error, match=match):
        check_players(
            spec, torch.zeros(x).double(), torch.zeros(y).double(), batch=batch
        )


def test_players_of_another_dtype_or_device_are_refused() -> None:
    spec = SaddleSpec(min_shape=(1,), max_shape=(1,))
    one = torch.zeros(1).double()
    with pytest.raises(InputError, match=r"max_player must be torch\.float64"):
        check_players(spec, one, one.float())
    with pytest.raises(InputError, match="on meta"):
        check_players(spec, one.to("meta"), one)


def test_players_may_have_more_batch_dimensions_than_the_data() -> None:
    spec = SaddleSpec(min_shape=(1,), max_shape=(1,))
    player = torch.zeros(3, 2, 1).double()
    check_players(spec, player, player, batch=(2,))
    with pytest.raises(ShapeError, match="batch of data"):
        check_players(spec, player, player, batch=(3,))


@pytest.mark.parametrize("shapes", [((0,), (1,)), ((1,), (2, 0))])
def test_a_player_without_a_choice_is_refused(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    with pytest.raises(ShapeError, match="at least one number"):
        SaddleSpec(min_shape=shapes[0], max_shape=shapes[1])


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex128])
def test_numbers_that_are_not_real_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match="real floating point"):
        SaddleSpec(min_shape=(1,), max_shape=(1,), dtype=dtype)
    with pytest.raises(InputError, match="real floating point"):
        check_data({"target": torch.zeros(2, dtype=dtype)})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_data_that_are_not_finite_are_refused(bad: float) -> None:
    good = torch.zeros(3)
    with pytest.raises(InputError, match="latents must be finite; got 1 entry"):
        check_data({"target": good, "latents": torch.tensor([0.0, bad])})
    with pytest.raises(InputError, match="2 entries that are not"):
        check_data({"latents": torch.tensor([bad, bad, 0.0])})


def test_data_of_two_dtypes_or_devices_are_refused() -> None:
    good = torch.zeros(3)
    with pytest.raises(InputError, match=r"latents must be torch\.float32 on"):
        check_data({"target": good, "latents": good.double()})
    with pytest.raises(InputError, match="on meta; convert"):
        check_data({"target": good, "latents": good.to("meta")})


def test_a_function_that_returns_no_number_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"a tensor of shape \(\)"):
        FunctionProblem(function=lambda x, y: x * y, min_shape=(2,), max_shape=(2,))


def test_a_fixed_player_refuses_another_batch() -> None:
    def product(x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    problem = FunctionProblem(function=product, min_shape=(2,), max_shape=(2,))
    fixed = problem.fix_min_player(torch.zeros(3, 2).double())
    for gradient in (fixed.min_gradient, fixed.max_gradient):
        with pytest.raises(ShapeError, match="same batch"):
            gradient(torch.zeros(4, 2).double())


def test_closed_forms_take_the_place_of_differentiation(
    generator: torch.Generator,
) -> None:
    def value(x: Tensor, y: Tensor) -> Tensor:
        return (x.sin() * y).sum() - (y**2).sum()

    plain = FunctionProblem(function=value, min_shape=(3,), max_shape=(3,))
    calls: list[int] = []

    def slopes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(1)
        return x.cos() * y, x.sin() - 2 * y

    closed = FunctionProblem(
        function=value, min_shape=(3,), max_shape=(3,), gradient_function=slopes
    )
    x, y = draw(generator, 5, 3), draw(generator, 5, 3)
    calls.clear()
    for mine, theirs in zip(
        (*closed.gradients(x, y), *(f(y) for f in closed.fix_min_player(x))),
        (*plain.gradients(x, y), *(f(y) for f in plain.fix_min_player(x))),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, atol=1e-14)
    assert len(calls) == 3


def test_a_closed_form_of_other_shapes_is_refused() -> None:
    with pytest.raises(ShapeError, match="gradient_function must return gradients"):
        FunctionProblem(
            function=lambda x, y: (x * y).sum(),
            min_shape=(3,),
            max_shape=(3,),
            gradient_function=lambda x, y: (y.sum(), x),
        )
