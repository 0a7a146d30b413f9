import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from typing_extensions import override

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.scores.frechet import (
    extrapolated_frechet,
    frechet_distance,
    frechet_floor,
    frechet_from_statistics,
)
from tacit.minimax.gan.scores.statistics import (
    FeatureStatistics,
    feature_statistics,
    statistics_from_covariance,
)


class Flat(nn.Module):
    """Images as they are, as features."""

    num_features = 12

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).to(torch.float64)


def _samples(
    num: int, dimension: int, generator: torch.Generator, *, shift: float = 0.0
) -> Tensor:
    mixing = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    noise = torch.randn(num, dimension, generator=generator, dtype=torch.float64)
    return noise @ mixing / math.sqrt(dimension) + shift


def _by_square_root(x: Tensor, y: Tensor) -> float:
    """Return the distance by SciPy's square root of the product of covariances."""
    means = float((x.mean(0) - y.mean(0)).square().sum())
    s, t = torch.cov(x.T), torch.cov(y.T)
    root = torch.from_numpy(np.real(sqrtm((s @ t).numpy())))
    return means + float(torch.trace(s) + torch.trace(t) - 2.0 * torch.trace(root))


def _symmetric(x: Tensor, y: Tensor) -> float:
    """Return the distance by the roots of both covariances, d x d."""
    roots: list[Tensor] = []
    for samples in (x, y):
        values, vectors = torch.linalg.eigh(torch.cov(samples.T))
        roots.append(vectors * values.clamp(min=0.0).sqrt() @ vectors.T)
    both = float(torch.linalg.matrix_norm(roots[0] @ roots[1], "nuc"))
    traces = sum(float(torch.trace(torch.cov(samples.T))) for samples in (x, y))
    return float((x.mean(0) - y.mean(0)).square().sum()) + traces - 2.0 * both


def test_equals_the_matrix_square_root(generator: torch.Generator) -> None:
    x = _samples(60, 8, generator)
    y = _samples(45, 8, generator, shift=0.3)
    found = frechet_distance(x, y)
    assert found == pytest.approx(_by_square_root(x, y), rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize(
    ("num_x", "num_y"), [(9, 12), (9, 200), (200, 9), (2, 2), (40, 41)]
)
def test_few_samples_in_many_dimensions(
    num_x: int, num_y: int, generator: torch.Generator
) -> None:
    x = _samples(num_x, 40, generator)
    y = _samples(num_y, 40, generator, shift=0.1)
    # The oracle's roots are exact to 1e-8 only where covariances are singular.
    assert frechet_distance(x, y) == pytest.approx(_symmetric(x, y), rel=1e-6)


def test_one_sample_more_or_less_than_dimensions_changes_no_formula(
    generator: torch.Generator,
) -> None:
    x, y = _samples(21, 20, generator), _samples(30, 20, generator)
    padded = torch.cat([y, y.new_zeros(30, 12)], 1)
    many = torch.cat([x, x.new_zeros(21, 12)], 1)
    assert frechet_distance(many, padded) == pytest.approx(
        frechet_distance(x, y), rel=1e-12
    )


def test_equals_torchmetrics(generator: torch.Generator) -> None:
    shape = (80, 3, 2, 2)
    real = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    fake = torch.randint(200, (60, *shape[1:]), dtype=torch.uint8, generator=generator)
    metric = FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 2, 2))
    metric.set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    wanted = float(metric.compute())
    found = frechet_distance(real.flatten(1), fake.flatten(1))
    assert found == pytest.approx(wanted, rel=1e-8)


def test_commuting_covariances_have_a_closed_form(generator: torch.Generator) -> None:
    turn, _ = torch.linalg.qr(_samples(5, 5, generator))
    a, b = (torch.rand(5, generator=generator).double() for _ in range(2))
    mean = torch.arange(5).double()
    x = statistics_from_covariance(torch.zeros(5), turn * a @ turn.T, 100)
    y = statistics_from_covariance(mean, turn * b @ turn.T, 100)
    wanted = 30.0 + float((a.sqrt() - b.sqrt()).square().sum())
    assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-12)


def test_large_samples_come_near_the_distance_of_normal_distributions(
    generator: torch.Generator,
) -> None:
    x, y = (torch.randn(200_000, 2, generator=generator) for _ in range(2))
    # N(0, I) and N((1, 2), diag(4, 9)): 1 + 4 + (2 - 1)^2 + (3 - 1)^2.
    y = y * torch.tensor([2.0, 3.0]) + torch.tensor([1.0, 2.0])
    assert frechet_distance(x, y) == pytest.approx(10.0, abs=0.1)


def test_equal_samples_are_at_distance_zero(generator: torch.Generator) -> None:
    for num in (5, 50):
        x = _samples(num, 10, generator, shift=100.0)
        assert 0.0 <= frechet_distance(x, x) <= 1e-10
        assert 0.0 <= frechet_distance(x, x.flip(0)) <= 1e-10


def test_a_shift_adds_its_square(generator: torch.Generator) -> None:
    x = _samples(50, 10, generator)
    assert frechet_distance(x, x + 2.0) == pytest.approx(40.0, rel=1e-12)


def test_constant_samples_have_a_distance(generator: torch.Generator) -> None:
    x, black = _samples(50, 3, generator), torch.zeros(4, 3)
    wanted = float(x.mean(0).square().sum() + torch.trace(torch.cov(x.T)))
    assert frechet_distance(x, black) == pytest.approx(wanted, rel=1e-12)


def test_statistics_and_samples_give_the_same(generator: torch.Generator) -> None:
    x, y = _samples(50, 6, generator), _samples(30, 6, generator, shift=1.0)
    wanted = frechet_distance(x, y)
    assert frechet_distance(feature_statistics(x), y) == wanted
    batches = feature_statistics(iter(y.split(7)))
    assert frechet_distance(x, batches) == pytest.approx(wanted, rel=1e-12)


def test_what_cannot_be_compared_is_refused(generator: torch.Generator) -> None:
    x = _samples(5, 3, generator)
    with pytest.raises(ShapeError, match="of one dimension; got 3 and 2"):
        frechet_distance(x, x[:, :2])
    with pytest.raises(ShapeError, match="at least 2 samples; got 1"):
        frechet_distance(x[:1], x)
    with pytest.raises(InputError, match="digests are a and b"):
        frechet_distance(feature_statistics(x, digest="a"), _named(x, "b"))


def _named(x: Tensor, digest: str) -> FeatureStatistics:
    return feature_statistics(x, digest=digest)


@pytest.mark.parametrize(("num_x", "num_y"), [(400, 400), (300, 1000)])
def test_the_floor_is_the_mean_distance_of_normal_samples(
    num_x: int, num_y: int, generator: torch.Generator
) -> None:
    deviations = torch.tensor([3.0, 1.0, 0.5, 0.5]).double()
    known = statistics_from_covariance(
        torch.zeros(4), torch.diag(deviations.square()), 10**6
    )
    found = [
        frechet_distance(
            *(
                torch.randn(num, 4, generator=generator).double() * deviations
                for num in (num_x, num_y)
            )
        )
        for _ in range(400)
    ]
    values = torch.tensor(found)
    error = float(values.std()) / math.sqrt(len(values))
    floor = frechet_floor(known, num_x, num_y)
    assert abs(float(values.mean()) - floor) < 3.5 * error + 0.01 * floor


def test_the_floor_takes_two_samples(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="must be at least 2; got 9 and 1"):
        frechet_floor(feature_statistics(_samples(9, 2, generator)), 9, 1)


def test_extrapolation_takes_out_a_bias_of_one_over_n(
    generator: torch.Generator,
) -> None:
    found = [
        extrapolated_frechet(
            torch.randn(200, 5, generator=generator),
            torch.randn(200, 5, generator=generator) + 0.2,
            generator=generator,
        )
        for _ in range(60)
    ]
    plain = torch.tensor([item.of_all for item in found])
    values = torch.tensor([item.value for item in found])
    error = float(values.std()) / math.sqrt(len(found))
    # The true distance of the distributions is 5 * 0.04.
    assert abs(float(values.mean()) - 0.2) < 3.5 * error
    assert float(plain.mean()) - 0.2 > 0.08  # 2 (5 + 7.5 / 2) / 200 = 0.0875
    for item in found:
        assert item.value == 2.0 * item.of_all - item.of_halves
        assert item.spread > 0.0


def test_extrapolation_repeats_and_refuses(generator: torch.Generator) -> None:
    x = _samples(8, 2, generator)
    first, second = (
        extrapolated_frechet(x, x + 1.0, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert first.value == second.value
    with pytest.raises(InputError, match="num_splits must be at least 2; got 1"):
        extrapolated_frechet(x, x, num_splits=1, generator=generator)
    with pytest.raises(ShapeError, match="at least 4 samples; got 3"):
        extrapolated_frechet(x[:3], x, generator=generator)


def _by_leading_eigenvalues(x: Tensor, y: Tensor) -> float:
    """Return the distance by d x d matrices, rounding beyond the ranks left out."""
    s, t = torch.cov(x.T), torch.cov(y.T)
    of_x, of_y = (min(len(samples) - 1, samples.shape[1]) for samples in (x, y))
    values, vectors = torch.linalg.eigh(s)
    values, vectors = values[-of_x:].sqrt(), vectors[:, -of_x:]
    root = vectors * values @ vectors.T
    both = torch.linalg.eigvalsh(root @ t @ root)[-min(of_x, of_y) :].sqrt().sum()
    shift = (x.mean(0) - y.mean(0)).square().sum()
    return float(shift + torch.trace(s) + torch.trace(t) - 2.0 * both)


@pytest.mark.parametrize(
    ("num_x", "num_y"), [(12, 9), (12, 60), (60, 12), (30, 31), (200, 300)]
)
def test_gram_form_is_the_symmetric_form(
    num_x: int, num_y: int, generator: torch.Generator
) -> None:
    x = _samples(num_x, 30, generator)
    y = _samples(num_y, 30, generator, shift=0.2).exp()
    found = frechet_distance(x, y)
    assert found == pytest.approx(_by_leading_eigenvalues(x, y), rel=1e-9)


@pytest.mark.parametrize("num", [6, 50])
def test_known_statistics_serve_for_both_sides(
    num: int, generator: torch.Generator
) -> None:
    x, y = _samples(num, 10, generator), _samples(num + 3, 10, generator, shift=1.0)
    real, fake = feature_statistics(x), feature_statistics(y)
    wanted = frechet_distance(x, y)
    assert frechet_from_statistics(real, fake) == wanted
    with pytest.raises(InputError, match="digests are a and b"):
        frechet_from_statistics(_named(x, "a"), _named(y, "b"))
    with pytest.raises(ShapeError, match="of one dimension; got 10 and 9"):
        frechet_from_statistics(real, feature_statistics(y[:, 1:]))


def test_one_and_many_dimensions_by_hand(generator: torch.Generator) -> None:
    # Means 1 and 1, variances 2 and 3.
    x, y = torch.tensor([[0], [2]]), torch.tensor([[0], [0], [3]])
    assert frechet_distance(x, y) == pytest.approx(5.0 - 2.0 * math.sqrt(6.0))
    # Of two samples each: covariances v v^T / 2 and w w^T / 2.
    x, y = _samples(2, 100, generator), _samples(2, 100, generator)
    v, w = x[0] - x[1], y[0] - y[1]
    shift = (x.mean(0) - y.mean(0)).square().sum()
    wanted = float(shift + (v @ v + w @ w) / 2.0 - (v @ w).abs())
    assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-13)


def test_a_far_mean_loses_nothing_of_the_variance(generator: torch.Generator) -> None:
    # Sums of squares less squared means would lose all of it: eps * 1e16 > 1.
    x, y = _samples(40, 3, generator), 2.0 * _samples(30, 3, generator)
    found = frechet_distance(x + 1e8, y + 1e8)
    assert found == pytest.approx(frechet_distance(x, y), rel=1e-6)


def test_what_is_not_finite_is_refused() -> None:
    x = torch.ones(3, 1, dtype=torch.float64)
    for bad in (math.nan, math.inf):
        with pytest.raises(InputError, match="must be finite"):
            frechet_distance(x, torch.full((3, 1), bad))
    with pytest.raises(InputError, match="overflows"):
        frechet_distance(x, torch.tensor([[0.0], [1e200]], dtype=torch.float64))
    with pytest.raises(InputError, match="overflows"):
        frechet_distance(x, 1e200 * x)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_the_floor_of_equal_variances_by_hand(dimension: int) -> None:
    # With all eigenvalues v the double sum is v (d^2 + d) / 2.
    known = statistics_from_covariance(
        torch.zeros(dimension), 9.0 * torch.eye(dimension), 100
    )
    pairs = 9.0 * dimension * (dimension + 1) / 2.0
    wanted = 9.0 * dimension * (1 / 40 + 1 / 70) + 0.5 * pairs * (1 / 39 + 1 / 69)
    assert frechet_floor(known, 40, 70) == pytest.approx(wanted, rel=1e-12)


def test_extrapolation_splits_both_sides(generator: torch.Generator) -> None:
    same, other = torch.ones(8, 1), torch.arange(8.0)[:, None] ** 2
    for x, y in ((same, other), (other, same)):
        found = extrapolated_frechet(x, y, num_splits=8, generator=generator)
        assert found.spread > 0.1


def test_extrapolation_is_one_of_all_ways_to_split() -> None:
    y = [0.0, 1.0, 3.0, 7.0]
    ways: list[float] = []
    for partner in (1, 2, 3):
        first = [y[0], y[partner]]
        last = [v for v in y[1:] if v != y[partner]]
        # From the constant 1: (mean - 1)^2 plus the variance (a - b)^2 / 2.
        parts = [(sum(v) / 2 - 1) ** 2 + (v[0] - v[1]) ** 2 / 2 for v in (first, last)]
        ways.append(sum(parts) / 2)
    for seed in range(5):
        found = extrapolated_frechet(
            torch.ones(4, 1),
            torch.tensor(y)[:, None],
            num_splits=2,
            generator=torch.Generator().manual_seed(seed),
        )
        assert any(
            found.of_halves == pytest.approx((a + b) / 2)
            and found.spread == pytest.approx(abs(a - b) / math.sqrt(2), abs=1e-12)
            for a in ways
            for b in ways
        )
