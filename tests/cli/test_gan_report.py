"""A trained GAN in words and as JSON."""

from dataclasses import replace

import pytest

from gan_runs import SMALL, Pixels, images, vectors
from tacit.cli.gan_report import (
    INCEPTION_DIGEST,
    advice,
    describe,
    finite,
    score_title,
    table_rows,
    to_json,
)
from tacit.errors import Status
from tacit.minimax.gan.plateau import Plateau
from tacit.minimax.gan.result import GanResult
from tacit.minimax.gan.train import train_gan

AT_REST = Plateau(
    num_points=8, level=2.0, change=0.01, standard_error=0.002, is_reached=True
)


@pytest.fixture(scope="module")
def trained() -> GanResult:
    """Return a GAN trained on vectors for a few steps."""
    return train_gan(vectors(), replace(SMALL, generator_width=6), device="cpu")


def test_the_line_says_what_was_trained_on_what(trained: GanResult) -> None:
    line = describe(vectors(), trained)
    assert line.startswith("points: 23 samples of 2 (")
    assert line.endswith("mlp, non-saturating loss, adam")


def test_rows_have_every_score_once(trained: GanResult) -> None:
    rows = dict(table_rows(trained, None))
    assert rows["width"] == "generator 6, discriminator 4"
    assert "(training data), " in rows["Frechet distance"]
    assert rows["Frechet distance"].endswith("(held-out data)")
    assert rows["scored on"] == "16 samples, the samples themselves"
    assert rows["converged"].startswith("not known: too few scores")
    assert rows["steps"].startswith("12 (")


def test_a_score_at_rest_is_said_to_have_converged(trained: GanResult) -> None:
    result = replace(trained, plateau=AT_REST, status=Status.CONVERGED)
    rows = dict(table_rows(result, None))
    assert rows["converged"].startswith("yes: frechet test changed by 0.01 +- 0.002")
    assert to_json(vectors(), result, None, device="cpu")["outcome"] == "score at rest"
    moving = replace(AT_REST, is_reached=False)
    rows = dict(table_rows(replace(trained, plateau=moving), None))
    assert rows["converged"].startswith("no: ")


def test_json_has_the_promised_keys(trained: GanResult) -> None:
    content = to_json(vectors(), trained, None, device="cpu")
    assert content["width"] is None
    assert content["generator_width"] == 6
    assert content["predicted_rate"] is None
    assert content["features"] is None
    assert content["parameters"] == trained.gan.num_parameters
    plateau = content["plateau"]
    assert isinstance(plateau, dict)
    assert plateau["standard_error"] is None  # infinite: too few scores


def test_images_are_scored_on_named_features() -> None:
    config = replace(SMALL, num_steps=2, spectral_norm=True)
    features = Pixels()
    result = train_gan(images(), config, features=features, device="cpu")
    rows = dict(table_rows(result, features))
    assert rows["scored on"] == "16 samples, features of pixels"
    content = to_json(images(), result, features, device="cpu")
    described = content["features"]
    assert isinstance(described, dict)
    assert described["name"] == "pixels"
    assert score_title("frechet", features) == "Frechet distance"


def test_only_inception_features_give_an_fid() -> None:
    features = Pixels()
    features.digest = INCEPTION_DIGEST
    assert score_title("frechet", features) == "FID"
    assert score_title("kernel", features) == "KID"
    assert score_title("sliced_wasserstein", features) == "sliced Wasserstein"
    features.digest = INCEPTION_DIGEST[::-1]
    assert score_title("frechet", features) == "Frechet distance"


def test_titles_without_a_name_of_their_own() -> None:
    assert score_title("sliced_wasserstein", None) == "sliced Wasserstein"
    assert score_title("new_score", None) == "new score"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status.MAX_STEPS, "--resume with more --steps"),
        (Status.INTERRUPTED, "--resume goes on"),
        (Status.NON_FINITE, "broke down"),
        (Status.CONVERGED, "come to rest"),
    ],
)
def test_advice_names_the_options(
    trained: GanResult, status: Status, words: str
) -> None:
    assert words in advice(replace(trained, status=status))


def test_json_has_no_infinity() -> None:
    assert finite(float("inf")) is None
    assert finite(float("nan")) is None
    assert finite(None) is None
    assert finite(2.5) == 2.5
