import math

import pytest
import torch

from saddle_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.minimax.random_features import (
    FeatureKind,
    RandomFeatures,
    random_features,
)

KINDS = pytest.mark.parametrize("kind", ["relu", "fourier"])


def test_features_are_the_formula(generator: torch.Generator) -> None:
    weights, phases = draw(generator, 5, 3), draw(generator, 5)
    samples = draw(generator, 4, 3)
    for kind in ("relu", "fourier"):
        features = RandomFeatures(kind=kind, weights=weights, phases=phases)
        ours = features.apply(samples)
        for i in range(4):
            for j in range(5):
                argument = float(weights[j] @ samples[i] + phases[j])
                shaped = max(argument, 0) if kind == "relu" else math.cos(argument)
                assert abs(float(ours[i, j]) - math.sqrt(2 / 5) * shaped) < 1e-14


@pytest.mark.parametrize("bandwidth", [0.5, 2.0])
def test_inner_products_are_the_kernel_on_average(
    bandwidth: float, generator: torch.Generator
) -> None:
    count = 200_000
    x, y = draw(generator, 2, 3)
    for kind in ("relu", "fourier"):
        features = random_features(
            kind, count, 3, bandwidth=bandwidth, generator=generator
        )
        products = features.apply(x) * features.apply(y) * count
        if kind == "fourier":
            expected = math.exp(-float((x - y).square().sum()) / (2 * bandwidth**2))
        else:
            lengths = float(x.norm() * y.norm())
            angle = math.acos(float(x @ y) / lengths)
            expected = lengths * (math.sin(angle) + (math.pi - angle) * math.cos(angle))
            expected /= math.pi * bandwidth**2
        error = 5 * float(products.std()) / math.sqrt(count)
        assert abs(float(products.mean()) - expected) < error


@KINDS
def test_dtypes_and_draws_are_those_asked_for(kind: FeatureKind) -> None:
    def build(dtype: torch.dtype) -> RandomFeatures:
        stream = torch.Generator().manual_seed(3)
        return random_features(kind, 6, 2, dtype=dtype, generator=stream)

    double, single = build(torch.float64), build(torch.float32)
    assert torch.equal(double.weights.float(), single.weights)
    assert torch.equal(double.phases.float(), single.phases)
    assert bool((double.phases == 0).all()) == (kind == "relu")


@pytest.mark.parametrize("sizes", [(0, 2), (2, 0)])
@KINDS
def test_sizes_below_one_are_refused(
    kind: FeatureKind, sizes: tuple[int, int], generator: torch.Generator
) -> None:
    with pytest.raises(ShapeError, match="must be at least 1"):
        random_features(kind, *sizes, generator=generator)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan"), float("inf")])
def test_bandwidths_that_are_not_positive_are_refused(
    bandwidth: float, generator: torch.Generator
) -> None:
    with pytest.raises(InputError, match="bandwidth must be positive"):
        random_features("relu", 2, 2, bandwidth=bandwidth, generator=generator)


def test_features_that_do_not_fit_are_refused() -> None:
    weights, phases = torch.zeros(3, 2), torch.zeros(3)
    with pytest.raises(ShapeError, match=r"phases must have shape \(3,\)"):
        RandomFeatures(kind="relu", weights=weights, phases=torch.zeros(2))
    with pytest.raises(ShapeError, match="weights must have shape"):
        RandomFeatures(kind="relu", weights=phases, phases=phases)
    with pytest.raises(InputError, match="kind must be 'relu' or 'fourier'"):
        RandomFeatures(kind="cosine", weights=weights, phases=phases)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="weights must be finite"):
        RandomFeatures(kind="relu", weights=weights / 0, phases=phases)
