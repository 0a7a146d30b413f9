"""Scores: of what, against what, and always in the same way."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from typing_extensions import override

from gan_runs import IMAGES, SMALL, Pixels, images, vectors
from tacit.errors import InputError
from tacit.minimax.gan.averaging import MovingAverage
from tacit.minimax.gan.data.dataset import AbstractDataset, GanData
from tacit.minimax.gan.data.gaussians import ring_mixture
from tacit.minimax.gan.data.read import gaussian_data
from tacit.minimax.gan.evaluate import evaluate, evaluation_latents, make_evaluator
from tacit.minimax.gan.players import make_players
from tacit.rng import make_generator

CPU = torch.device("cpu")


class Constant(nn.Module):
    """A generator of one sample."""

    def __init__(self, value: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.value = nn.Parameter(value)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(latents), *self.value.shape)


class Linear(nn.Module):
    """A generator of Gaussian points."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return latents[:, :2] * self.scale


@pytest.mark.parametrize("num", [2, 4, 5, 6, 10, 11, 23])
def test_latents_come_in_batches_of_at_least_two(num: int) -> None:
    parts = evaluation_latents(SMALL, num, CPU)
    assert [len(p) for p in parts[:-1]] == [5] * (len(parts) - 1)
    assert 2 <= len(parts[-1]) <= 6
    stream = make_generator(SMALL.seed, "evaluation")
    assert torch.equal(torch.cat(parts), torch.randn(num, 3, generator=stream))


def test_scores_are_repeated_bit_by_bit_and_change_nothing() -> None:
    players = make_players(IMAGES, images().train, CPU)
    evaluator = make_evaluator(images(), IMAGES, None, CPU)
    before = {k: v.clone() for k, v in players.gan.generator.state_dict().items()}
    one, first = evaluate(evaluator, players.average)
    two, second = evaluate(evaluator, players.average)
    assert one == two
    assert torch.equal(first, second)
    after = players.gan.generator.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert players.gan.generator.training


def test_images_without_features_are_scored_on_pixels_alone() -> None:
    players = make_players(IMAGES, images().train, CPU)
    evaluator = make_evaluator(images(), IMAGES, None, CPU)
    scores, samples = evaluate(evaluator, players.average)
    assert set(scores) == {"sliced_wasserstein_train", "variance_ratio"}
    assert evaluator.score_name == "sliced_wasserstein_train"
    assert samples.shape == (16, 1, 8, 8)


def test_images_are_scored_on_the_features_of_their_pixels() -> None:
    players = make_players(IMAGES, images().train, CPU)
    evaluator = make_evaluator(images(), IMAGES, Pixels(), CPU)
    assert evaluator.score_name == "frechet_train"
    scores, samples = evaluate(evaluator, players.average)
    made = (127.5 * (samples.double().flatten(1) + 1.0)).round()
    (reference,) = evaluator.references
    real = (127.5 * (reference.flat.double() + 1.0)).round()
    assert reference.features is not None
    assert torch.equal(reference.features.double(), real)
    # From covariances, by the eigenvalues of their product.
    products = torch.linalg.eigvals(made.T.cov() @ real.T.cov()).real.clamp(min=0.0)
    expected = (
        (made.mean(0) - real.mean(0)).square().sum()
        + made.T.cov().trace()
        + real.T.cov().trace()
        - 2.0 * products.sqrt().sum()
    )
    assert scores["frechet_train"] == pytest.approx(float(expected), rel=1e-4)


def test_features_of_vectors_are_refused() -> None:
    with pytest.raises(InputError, match="features are for images"):
        make_evaluator(vectors(), SMALL, Pixels(), CPU)


def test_vectors_are_their_own_features() -> None:
    config = replace(SMALL, num_score_samples=4000, batch_size=50)
    average = MovingAverage(Linear(), 0.0)
    wide = vectors(6000)
    scores, _ = evaluate(make_evaluator(wide, config, None, CPU), average)
    # Both are standard normal: distances vanish as sampling errors do.
    assert 0.0 <= scores["frechet_train"] < 0.02
    assert scores["sliced_wasserstein_train"] < 0.1
    assert scores["variance_ratio"] == pytest.approx(1.0, abs=0.1)
    assert {"frechet_test", "kernel_test", "sliced_wasserstein_test"} <= set(scores)


def test_one_sample_again_and_again_has_no_variance() -> None:
    average = MovingAverage(Constant(torch.tensor([3.0, 4.0])), 0.0)
    evaluator = make_evaluator(vectors(), SMALL, None, CPU)
    scores, _ = evaluate(evaluator, average)
    assert scores["variance_ratio"] == 0.0
    # The Frechet distance to a point: distance of means, and the whole variance.
    (train, _) = evaluator.references
    real = train.flat.double()
    expected = (real.mean(0) - torch.tensor([3.0, 4.0])).square().sum()
    expected += real.var(0).sum()
    assert scores["frechet_train"] == pytest.approx(float(expected), rel=1e-4)


def test_modes_of_a_known_mixture_are_counted(generator: torch.Generator) -> None:
    mixture = ring_mixture()
    data = gaussian_data(mixture, generator=generator)
    average = MovingAverage(Constant(mixture.means[3].float()), 0.0)
    scores, _ = evaluate(make_evaluator(data, SMALL, None, CPU), average)
    assert scores["modes_found"] == 1.0
    assert scores["high_quality"] == 1.0


class Broken(AbstractDataset):
    """Samples of which some are not finite."""

    name = "broken"

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    @override
    def num_samples(self) -> int:
        return 20

    @override
    def batch(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.full((len(indices), 2), torch.nan)


def test_samples_that_are_not_finite_are_refused() -> None:
    data = GanData(name="broken", train=Broken(), test=None, digest="")
    with pytest.raises(InputError, match="samples of broken must be finite"):
        make_evaluator(data, SMALL, None, CPU)
