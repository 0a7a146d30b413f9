"""What training from the command line chooses: features, and the shown score."""

from pathlib import Path

import pytest
from PIL import Image

from commands import call, strict_json

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of ten small pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for shade in range(10):
        picture = Image.new("RGB", (12, 10), (25 * shade, 100, 200))
        picture.save(folder / f"{shade}.png")
    return folder


def test_a_folder_of_pictures_is_resized(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pictures: Path
) -> None:
    target = tmp_path / "r.json"
    options = ("--image-size", "8", "--batch-size", "4", "--width", "1")
    more = ("--steps", "2", "--loss", "hinge", "--json", target)
    outcome = call(capsys, "gan", pictures, *options, *more)
    assert outcome.code == 0, outcome
    result = strict_json(target)
    assert result["data"]["shape"] == [3, 8, 8]
    assert result["data"]["train_samples"] + result["data"]["test_samples"] == 10
    # No features fit pictures of one's own unless they are named.
    assert result["features"] is None
    assert set(result["scores"]) == {
        *("sliced_wasserstein_train", "sliced_wasserstein_test", "variance_ratio"),
    }


def test_resized_digits_are_not_scored_by_the_digits_classifier(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    options = ("--image-size", "16", "--batch-size", "4", "--width", "1")
    more = ("--steps", "2", "--json", target)
    assert call(capsys, "gan", "digits", *options, *more).code == 0
    result = strict_json(target)
    assert result["data"]["shape"] == [1, 16, 16]
    assert result["features"] is None


def test_the_digest_of_data_and_features_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    options = ("--batch-size", "4", "--width", "1", "--steps", "2", "--json", target)
    assert call(capsys, "gan", "digits", *options).code == 0
    result = strict_json(target)
    assert len(result["data"]["digest"]) == 64
    assert len(result["features"]["digest"]) == 64
    assert result["device"] in ("cpu", "cuda")
