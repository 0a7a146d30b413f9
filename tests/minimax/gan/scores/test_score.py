import pytest
import torch
from torch import nn

from tacit.errors import InputError
from tacit.minimax.gan.features.inception import INCEPTION_DIGEST
from tacit.minimax.gan.features.module import ModuleFeatures
from tacit.minimax.gan.scores.frechet import frechet_distance, frechet_floor
from tacit.minimax.gan.scores.kernel import kernel_distance
from tacit.minimax.gan.scores.score import is_inception, score_features, score_name
from tacit.minimax.gan.scores.statistics import feature_statistics


def _features(digest: str | None) -> ModuleFeatures:
    return ModuleFeatures(nn.Flatten(), name="pixels", dimension=4, digest=digest)


def test_only_the_known_weights_give_an_fid(generator: torch.Generator) -> None:
    x = torch.randn(9, 4, generator=generator)
    scores = score_features(x, x + 1.0, features=_features(INCEPTION_DIGEST))
    assert (scores.frechet_name, scores.kernel_name) == ("FID", "KID")
    for digest in (None, INCEPTION_DIGEST[::-1], INCEPTION_DIGEST[:8]):
        scores = score_features(x, x + 1.0, features=_features(digest))
        assert scores.frechet_name == "FD[pixels]"
        assert scores.kernel_name == "KD[pixels]"
        assert not is_inception(digest)
    with pytest.raises(
        InputError, match="kind must be 'frechet' or 'kernel'; got 'is'"
    ):
        score_name("is", "pixels", None)


def test_the_numbers_are_those_of_each_distance(generator: torch.Generator) -> None:
    x, y = (torch.randn(n, 4, generator=generator) for n in (20, 30))
    features = _features("abc")
    scores = score_features(x, y, features=features)
    assert scores.frechet == frechet_distance(x, y)
    assert scores.frechet_floor == frechet_floor(feature_statistics(x), 20, 30)
    wanted = kernel_distance(x, y)
    assert scores.kernel.value == wanted.value
    assert scores.kernel.standard_error == wanted.standard_error
    assert (scores.num_real, scores.num_fake) == (20, 30)
    assert (scores.features, scores.digest) == ("pixels", "abc")
    assert scores.preprocess == features.preprocess == "values 0..1"


def test_statistics_of_the_real_side_may_be_known(generator: torch.Generator) -> None:
    x, y = (torch.randn(n, 4, generator=generator) for n in (20, 30))
    known = feature_statistics(x, digest="abc")
    found = score_features(x, y, features=_features("abc"), statistics=known)
    assert found.frechet == frechet_distance(x, y)
    with pytest.raises(InputError, match="digests are abc and def"):
        score_features(x, y, features=_features("def"), statistics=known)
    with pytest.raises(
        InputError, match="those of the 19 real samples; they are of 20"
    ):
        score_features(x[1:], y, statistics=known)


def test_says_its_names_numbers_and_counts() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0]])
    text = str(score_features(x, x + 2.0))
    assert text.startswith("FD[samples] 4 (floor about ")
    assert text.endswith("of 3 real and 3 generated samples")
    assert "KD[samples] " in text
