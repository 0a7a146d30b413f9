import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import wasserstein_distance
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.scores import sliced_wasserstein as module
from tacit.minimax.gan.scores.sliced_wasserstein import sliced_wasserstein
from tacit.rng import make_generator

_steps = module._common_steps


def _on_a_line(x: list[float], y: list[float]) -> float:
    """Return the squared distance along the only direction there is."""
    a, b = (torch.tensor(v).double()[:, None] for v in (x, y))
    found = sliced_wasserstein(a, b, num_projections=3, generator=make_generator(0))
    return found**2


def _by_program(x: list[float], y: list[float]) -> float:
    """Return the optimal transport cost of squared distances, as a linear programme."""
    n, m = len(x), len(y)
    cost = np.square(np.subtract.outer(x, y)).ravel()
    rows = np.kron(np.eye(n), np.ones((1, m)))
    columns = np.kron(np.ones((1, n)), np.eye(m))
    masses = np.r_[np.full(n, 1 / n), np.full(m, 1 / m)]
    solved = linprog(cost, A_eq=np.vstack([rows, columns]), b_eq=masses)
    return float(solved.fun)


numbers = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=7)


@given(numbers, numbers)
def test_along_a_line_it_is_optimal_transport(x: list[float], y: list[float]) -> None:
    assert _on_a_line(x, y) == pytest.approx(_by_program(x, y), rel=1e-7, abs=1e-7)


@given(numbers, numbers)
def test_steps_give_the_first_distance_too(x: list[float], y: list[float]) -> None:
    of_x, of_y, weights = _steps(len(x), len(y))
    a, b = (torch.tensor(sorted(v)).double() for v in (x, y))
    found = float((a[of_x] - b[of_y]).abs() @ weights)
    assert found == pytest.approx(wasserstein_distance(x, y), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (4, 4), (2, 6), (3, 5), (7, 1)])
def test_steps_are_exact(n: int, m: int) -> None:
    of_x, of_y, weights = _steps(n, m)
    ends = sorted(
        {Fraction(i, n) for i in range(1, n + 1)}.union(
            Fraction(j, m) for j in range(1, m + 1)
        )
    )
    assert len(weights) == len(ends)
    starts = [Fraction(0), *ends[:-1]]
    for step, (start, end) in enumerate(zip(starts, ends, strict=True)):
        assert float(weights[step]) == pytest.approx(float(end - start), rel=1e-15)
        assert int(of_x[step]) == math.floor(start * n)
        assert int(of_y[step]) == math.floor(start * m)


def _cloud(num: int, dimension: int, generator: torch.Generator) -> Tensor:
    return torch.randn(num, dimension, generator=generator, dtype=torch.float64)


def test_every_direction_is_an_assignment(generator: torch.Generator) -> None:
    x, y = _cloud(12, 3, generator), 2.0 * _cloud(12, 3, generator)
    found = sliced_wasserstein(x, y, num_projections=1, generator=make_generator(5))
    direction = torch.randn(1, 3, generator=make_generator(5), dtype=torch.float64)
    direction /= direction.square().sum().sqrt()
    a, b = (x @ direction[0]).numpy(), (y @ direction[0]).numpy()
    cost = np.square(np.subtract.outer(a, b))
    rows, columns = linear_sum_assignment(cost)
    wanted = math.sqrt(cost[rows, columns].mean())
    assert found == pytest.approx(wanted, rel=1e-12)


def test_a_shift_counts_by_its_mean_square_along_directions(
    generator: torch.Generator,
) -> None:
    x = _cloud(20, 3, generator)
    shift = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64)
    found = sliced_wasserstein(
        x, x + shift, num_projections=20_000, generator=generator
    )
    # The mean of <u, s>^2 over the sphere is |s|^2 / dimension.
    assert found == pytest.approx(math.sqrt(9.0 / 3.0), rel=0.02)


def test_repeated_samples_change_nothing(generator: torch.Generator) -> None:
    x, y = _cloud(6, 2, generator), _cloud(9, 2, generator)
    wanted = sliced_wasserstein(x, y, generator=make_generator(1))
    found = sliced_wasserstein(x.repeat(3, 1), y, generator=make_generator(1))
    assert found == pytest.approx(wanted, rel=1e-12)
    assert sliced_wasserstein(x, x.repeat(2, 1), generator=generator) < 1e-15
    assert sliced_wasserstein(x, x.flip(0), generator=generator) < 1e-15


def test_chunks_bound_memory(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 64)
    x = _cloud(20, 2, generator)
    found = sliced_wasserstein(x, x + 1.0, num_projections=5000, generator=generator)
    assert found == pytest.approx(1.0, rel=0.03)


def test_the_generator_decides(generator: torch.Generator) -> None:
    x, y = _cloud(20, 4, generator), _cloud(15, 4, generator)
    one, same, other = (
        sliced_wasserstein(x, y, num_projections=4, generator=make_generator(seed))
        for seed in (0, 0, 1)
    )
    assert one == same != other


def test_bad_requests_are_refused(generator: torch.Generator) -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(InputError, match="num_projections must be at least 1; got 0"):
        sliced_wasserstein(x, x, num_projections=0, generator=generator)
    with pytest.raises(ShapeError, match="of one dimension; got 2 and 1"):
        sliced_wasserstein(x, x[:, :1], generator=generator)
    with pytest.raises(ShapeError, match="y must hold at least 1 samples; got 0"):
        sliced_wasserstein(x, x[:0], generator=generator)
    with pytest.raises(InputError, match="x must be finite"):
        sliced_wasserstein(x + math.nan, x, generator=generator)


@pytest.mark.parametrize(("n", "m"), [(6, 6), (6, 4), (7, 5)])
def test_points_on_a_ray_scale_by_the_distance_on_it(
    n: int, m: int, generator: torch.Generator
) -> None:
    ray, t, s = (_cloud(k, d, generator) for k, d in ((1, 5), (n, 1), (m, 1)))

    def sliced(x: Tensor, y: Tensor) -> float:
        return sliced_wasserstein(x, y, num_projections=9, generator=make_generator(1))

    copies = math.lcm(n, m)
    a, b = (v.repeat(copies // len(v), 1).flatten().numpy() for v in (t, s))
    cost = np.square(np.subtract.outer(a, b))
    rows, columns = linear_sum_assignment(cost)
    # <u, t ray> = t <u, ray>: each direction sees W_2(t, s) times what it sees of ray.
    wanted = math.sqrt(cost[rows, columns].mean()) * sliced(ray, torch.zeros(1, 5))
    assert sliced(t * ray, s * ray) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 14, 50])
def test_each_projection_counts_once(
    chunk: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    x = _cloud(4, 1, generator)
    found = sliced_wasserstein(x, x + 3.0, num_projections=7, generator=generator)
    assert found == pytest.approx(3.0, rel=1e-12)


def test_what_overflows_is_refused(generator: torch.Generator) -> None:
    x = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(InputError, match="overflows"):
        sliced_wasserstein(x, 1e200 * x, generator=generator)
