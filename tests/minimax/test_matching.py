import pytest
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from saddle_cases import SADDLES, SaddleBuilder, draw
from tacit.errors import InputError, ShapeError
from tacit.minimax.matching import (
    AbstractMatchingProblem,
    MatchingProblem,
    ReachableCone,
)
from tacit.rng import make_generator

MATCHING: dict[str, SaddleBuilder] = {
    name: build
    for name, build in SADDLES.items()
    if isinstance(build(make_generator(0, name))[0], AbstractMatchingProblem)
}
BUILDERS = pytest.mark.parametrize("build", MATCHING.values(), ids=MATCHING)


def _case(
    build: SaddleBuilder, generator: torch.Generator
) -> tuple[AbstractMatchingProblem, Tensor, Tensor]:
    problem, theta, scores = build(generator)
    assert isinstance(problem, AbstractMatchingProblem)
    return problem, theta, scores


def _cubes(theta: Tensor) -> Tensor:
    return torch.stack((theta[0] ** 3, theta[0] * theta[1] ** 2, theta.sum()))


def _cubic_problem() -> MatchingProblem:
    target = torch.tensor([1.0, 2.0, 3.0]).double()
    return MatchingProblem(generator_function=_cubes, min_shape=(2,), target=target)


@BUILDERS
def test_pushing_and_pulling_are_adjoint(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, theta, scores = _case(build, generator)
    direction = draw(generator, *theta.shape).to(theta)
    pushed = problem.push_forward(theta, direction)
    pulled = problem.linearise(theta).pull_back(scores)
    eps = torch.finfo(theta.dtype).eps
    left, right = (pushed * scores).sum(), (pulled * direction).sum()
    assert torch.allclose(left, right, rtol=1e3 * eps, atol=1e3 * eps)


@BUILDERS
def test_a_push_is_a_difference_of_residuals(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, theta, _ = _case(build, generator)
    direction = draw(generator, *theta.shape).to(theta)
    step = torch.finfo(theta.dtype).eps ** (1 / 3)
    ahead = problem.linearise(theta + step * direction).residual
    behind = problem.linearise(theta - step * direction).residual
    pushed = problem.push_forward(theta, direction)
    bound = 50 * step
    assert torch.allclose((ahead - behind) / (2 * step), pushed, atol=bound, rtol=bound)


@BUILDERS
def test_the_best_discriminator_is_the_residual(
    build: SaddleBuilder, generator: torch.Generator
) -> None:
    problem, theta, scores = _case(build, generator)
    residual = problem.linearise(theta).residual
    best = problem.value(theta, residual)
    eps = torch.finfo(theta.dtype).eps
    assert torch.allclose(best, residual.square().sum(-1) / 2, rtol=100 * eps)
    assert bool((problem.value(theta, scores) <= best * (1 + 100 * eps)).all())


def test_the_jacobian_is_the_one_on_paper() -> None:
    problem = _cubic_problem()
    theta = torch.tensor([2.0, 3.0]).double()
    residual, pull_back = problem.linearise(theta)
    jacobian = torch.tensor([[12.0, 0.0], [9.0, 12.0], [1.0, 1.0]]).double()
    assert residual.tolist() == [7.0, 16.0, 2.0]
    assert torch.equal(vmap(pull_back)(torch.eye(3).double()), jacobian)
    pushed = [problem.push_forward(theta, unit) for unit in torch.eye(2).double()]
    assert torch.equal(torch.stack(pushed, 1), jacobian)
    assert problem.spec.min_shape == (2,)
    assert problem.reachable_cone is None


def test_a_pull_back_can_be_used_again(generator: torch.Generator) -> None:
    pull_back = _cubic_problem().linearise(draw(generator, 2)).pull_back
    scores = draw(generator, 3)
    assert torch.equal(pull_back(scores), pull_back(scores))


def test_a_problem_works_under_transformations(generator: torch.Generator) -> None:
    problem, thetas = _cubic_problem(), draw(generator, 5, 2)
    batched = problem.linearise(thetas).residual

    def residual(theta: Tensor) -> Tensor:
        return problem.linearise(theta).residual

    mapped = vmap(residual)(thetas)
    assert torch.equal(batched, mapped)
    jacobian = jacrev(residual)(thetas[0])
    assert torch.allclose(jacobian, jacrev(_cubes)(thetas[0]))


def test_a_target_that_is_no_vector_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"target must have shape \(num_features,\)"):
        MatchingProblem(
            generator_function=torch.sin, min_shape=(2,), target=torch.zeros(2, 2)
        )


def test_a_target_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="target must be finite"):
        MatchingProblem(
            generator_function=torch.sin,
            min_shape=(2,),
            target=torch.tensor([1.0, float("nan")]),
        )


def test_outputs_of_another_shape_or_dtype_are_refused() -> None:
    target = torch.zeros(3)
    with pytest.raises(ShapeError, match=r"must return shape \(3,\)"):
        MatchingProblem(generator_function=torch.sin, min_shape=(2,), target=target)
    with pytest.raises(InputError, match=r"must return torch\.float32"):
        MatchingProblem(
            generator_function=lambda theta: theta.double(),
            min_shape=(3,),
            target=target,
        )


def test_a_cone_of_another_dimension_is_refused() -> None:
    cone = ReachableCone(columns=torch.eye(2), is_exact=True)
    with pytest.raises(ShapeError, match="columns of the cone must have length 3"):
        MatchingProblem(
            generator_function=torch.sin,
            min_shape=(3,),
            target=torch.zeros(3),
            cone=cone,
        )


def test_a_discriminator_of_another_shape_is_refused() -> None:
    pull_back = _cubic_problem().linearise(torch.zeros(2).double()).pull_back
    with pytest.raises(ShapeError, match=r"max_player must have shape \(3,\)"):
        pull_back(torch.zeros(2).double())


def test_a_direction_of_another_shape_is_refused() -> None:
    theta = torch.zeros(2).double()
    with pytest.raises(ShapeError, match=r"direction must have shape \(2,\)"):
        _cubic_problem().push_forward(theta, torch.zeros(5, 2).double())


@pytest.mark.parametrize("shape", [(3,), (0, 2), (2, 0)])
def test_a_cone_without_columns_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="columns must have shape"):
        ReachableCone(columns=torch.zeros(shape), is_exact=True)


def test_a_cone_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="columns must be finite"):
        ReachableCone(columns=torch.full((2, 2), float("inf")), is_exact=False)
