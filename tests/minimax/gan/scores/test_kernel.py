import math
from fractions import Fraction
from itertools import combinations, permutations, product

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance
from typing_extensions import override

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.scores import kernel as module
from tacit.minimax.gan.scores.kernel import kernel_distance, subset_kernel_distance


class Flat(nn.Module):
    """Images as they are, as features."""

    num_features = 12

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).to(torch.float64) / 255.0


def _exact(x: list[list[int]], y: list[list[int]]) -> Fraction:
    """Return the definition, in rational numbers."""

    def k(u: list[int], v: list[int]) -> Fraction:
        return (
            Fraction(sum(a * b for a, b in zip(u, v, strict=True)), len(u)) + 1
        ) ** 3

    n, m = len(x), len(y)
    within_x = sum(k(u, v) for u, v in permutations(x, 2))
    within_y = sum(k(u, v) for u, v in permutations(y, 2))
    between = sum(k(u, v) for u in x for v in y)
    return (
        Fraction(within_x, n * (n - 1))
        + Fraction(within_y, m * (m - 1))
        - Fraction(2 * between, n * m)
    )


def _whole(num: int, generator: torch.Generator) -> Tensor:
    return torch.randint(-4, 5, (num, 3), generator=generator)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 9), (8, 4)])
def test_equals_its_definition(n: int, m: int, generator: torch.Generator) -> None:
    x, y = _whole(n, generator), _whole(m, generator)
    found = kernel_distance(x.float(), y.float())
    wanted = float(_exact(x.tolist(), y.tolist()))
    assert found.value == pytest.approx(wanted, rel=1e-12)
    assert (found.num_real, found.num_fake) == (n, m)


@pytest.mark.parametrize("block", [1, 4, 7, 1024])
def test_blocks_change_nothing(
    block: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = _whole(11, generator).float(), _whole(8, generator).float()
    monkeypatch.setattr(module, "_BLOCK", 1024)
    whole = kernel_distance(x, y)
    monkeypatch.setattr(module, "_BLOCK", block)
    found = kernel_distance(x, y)
    assert found.value == pytest.approx(whole.value, rel=1e-12)
    assert found.standard_error == pytest.approx(whole.standard_error, rel=1e-12)


def test_the_standard_error_is_that_of_leaving_out_each_sample(
    generator: torch.Generator,
) -> None:
    x, y = _whole(7, generator).double(), _whole(5, generator).double()

    def without(samples: Tensor, index: int) -> Tensor:
        return samples[torch.arange(len(samples)) != index]

    no_x = [kernel_distance(without(x, i), y).value for i in range(7)]
    no_y = [kernel_distance(x, without(y, i)).value for i in range(5)]
    variance = 0.0
    for values in (no_x, no_y):
        n, mean = len(values), math.fsum(values) / len(values)
        variance += (n - 1) / n * math.fsum((v - mean) ** 2 for v in values)
    found = kernel_distance(x, y).standard_error
    assert found == pytest.approx(math.sqrt(variance), rel=1e-10)


def _value_of_normals(mean: Tensor) -> float:
    r"""Return the kernel distance of N(0, I) and N(mean, I), from their moments.

    As (t + 1)^3 = 1 + 3 t + 3 t^2 + t^3 with t = <u, v> / d, it is 3 / d, 3 / d^2 and
    1 / d^3 times the squared differences of first, second and third moments.
    """
    d = len(mean)
    eye = torch.eye(d, dtype=mean.dtype)
    second = torch.outer(mean, mean)
    third = torch.einsum("i,j,k->ijk", mean, mean, mean)
    for pattern in ("i,jk->ijk", "j,ik->ijk", "k,ij->ijk"):
        third = third + torch.einsum(pattern, mean, eye)
    squares = [float(m.square().sum()) for m in (mean, second, third)]
    return 3 * squares[0] / d + 3 * squares[1] / d**2 + squares[2] / d**3


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_is_unbiased_and_its_error_is_not_understated(
    shift: float, generator: torch.Generator
) -> None:
    mean = torch.full((8,), shift, dtype=torch.float64)
    wanted = _value_of_normals(mean)
    values: list[float] = []
    errors: list[float] = []
    covered = 0
    for _ in range(200):
        x = torch.randn(80, 8, generator=generator)
        y = torch.randn(60, 8, generator=generator) + mean
        found = kernel_distance(x, y)
        values.append(found.value)
        errors.append(found.standard_error)
        low, high = found.interval
        assert low < found.value < high
        covered += low <= wanted <= high
    spread = float(torch.tensor(values).std())
    average = math.fsum(values) / len(values)
    assert abs(average - wanted) < 3.5 * spread / math.sqrt(len(values))
    stated = math.sqrt(math.fsum(error**2 for error in errors) / len(errors))
    assert 0.9 * spread < stated < 1.7 * spread
    assert covered > 0.9 * len(values)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all")
def test_equals_torchmetrics(generator: torch.Generator) -> None:
    shape = (30, 3, 2, 2)
    real = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    fake = torch.randint(180, shape, dtype=torch.uint8, generator=generator)
    metric = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=30)
    with torch.random.fork_rng(devices=[]):
        metric.update(real, real=True)
        metric.update(fake, real=False)
        wanted = float(metric.compute()[0])
    x, y = (images.flatten(1).double() / 255.0 for images in (real, fake))
    assert kernel_distance(x, y).value == pytest.approx(wanted, rel=1e-6)
    found = subset_kernel_distance(
        x, y, num_subsets=2, subset_size=30, generator=generator
    )
    assert found.mean == pytest.approx(wanted, rel=1e-6)


def test_subsets_scatter_around_the_value_of_all(generator: torch.Generator) -> None:
    x = torch.randn(80, 4, generator=generator)
    y = torch.randn(70, 4, generator=generator) + 0.5
    whole = kernel_distance(x, y)
    found = subset_kernel_distance(
        x, y, num_subsets=300, subset_size=20, generator=generator
    )
    assert abs(found.mean - whole.value) < 3.5 * found.standard_error
    assert found.standard_error == pytest.approx(
        found.standard_deviation / math.sqrt(299), rel=1e-12
    )
    assert (found.num_subsets, found.subset_size) == (300, 20)


def test_what_cannot_be_scored_is_refused(generator: torch.Generator) -> None:
    x = torch.zeros(5, 2)
    with pytest.raises(ShapeError, match="x must hold at least 3 samples; got 2"):
        kernel_distance(x[:2], x)
    with pytest.raises(ShapeError, match="of one dimension; got 2 and 1"):
        kernel_distance(x, x[:, :1])
    with pytest.raises(InputError, match=r"subset_size must be in 3\.\.4.*; got 5"):
        subset_kernel_distance(x, x[:4], subset_size=5, generator=generator)
    with pytest.raises(InputError, match="num_subsets must be at least 2; got 1"):
        subset_kernel_distance(x, x, num_subsets=1, subset_size=3, generator=generator)


def test_mean_over_all_samples_is_the_true_value() -> None:
    """Every way to draw three, with putting back, from two values a side."""
    found = [
        kernel_distance(torch.tensor(x)[:, None], torch.tensor(y)[:, None]).value
        for x in product((0, 1), repeat=3)
        for y in product((0, 2), repeat=3)
    ]
    # E k(x, x') + E k(y, y') - 2 E k(x, y) with k(u, v) = (u v + 1)^3
    wanted = (3 * 1 + 8) / 4 + (3 * 1 + 125) / 4 - 2 * (3 * 1 + 27) / 4
    assert math.fsum(found) / len(found) == pytest.approx(wanted, rel=1e-12)


def test_no_block_is_larger_than_said(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    plain = module._kernel

    def watched(x: Tensor, y: Tensor) -> Tensor:
        values = plain(x, y)
        sizes.extend(values.shape)
        return values

    monkeypatch.setattr(module, "_kernel", watched)
    x = torch.randn(1030, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(2050, 3, generator=generator, dtype=torch.float64)
    found = kernel_distance(x, y).value
    of_x, of_y = (((z @ z.T / 3 + 1) ** 3).fill_diagonal_(0).sum() for z in (x, y))
    between = float(((x @ y.T / 3 + 1) ** 3).mean())
    wanted = float(of_x / (1030 * 1029) + of_y / (2050 * 2049)) - 2.0 * between
    assert found == pytest.approx(wanted, abs=1e-11 * between)
    assert max(sizes) == 1024


def test_two_subsets_are_mean_plus_and_minus_deviation(
    generator: torch.Generator,
) -> None:
    x, y = _whole(5, generator), _whole(6, generator)
    found = subset_kernel_distance(
        x, y, num_subsets=2, subset_size=3, generator=generator
    )
    every = [
        float(_exact(list(a), list(b)))
        for a in combinations(x.tolist(), 3)
        for b in combinations(y.tolist(), 3)
    ]
    assert found.standard_deviation > 0.0
    for sign in (-1.0, 1.0):
        value = found.mean + sign * found.standard_deviation
        assert min(abs(value - one) for one in every) < 1e-9 * max(map(abs, every))
    assert found.standard_error == pytest.approx(found.standard_deviation)


def test_what_is_not_finite_is_refused() -> None:
    x = torch.ones(3, 1, dtype=torch.float64)
    for bad in (math.nan, math.inf):
        with pytest.raises(InputError, match="y must be finite"):
            kernel_distance(x, torch.full((3, 1), bad))
    with pytest.raises(InputError, match="overflows"):
        kernel_distance(x, 1e60 * x)


def test_the_interval_is_that_of_a_normal_distribution(
    generator: torch.Generator,
) -> None:
    found = kernel_distance(_whole(7, generator), _whole(5, generator))
    ends = stats.norm.interval(0.95, found.value, found.standard_error)
    assert found.interval == pytest.approx(tuple(map(float, ends)), rel=1e-10)
