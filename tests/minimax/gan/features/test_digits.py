from importlib.resources import files
from pathlib import Path

import pytest
import torch

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.data.dataset import every_nth
from tacit.minimax.gan.data.digits import PERIOD, digits_pixels
from tacit.minimax.gan.features.digits import (
    WEIGHTS,
    WEIGHTS_DIGEST,
    digits_features,
    read_digits_layers,
)
from tacit.minimax.gan.features.interface import extract_features
from tacit.minimax.gan.scores.frechet import frechet_distance

_SHIPPED = Path(str(files("tacit.minimax.gan.features") / WEIGHTS))


def test_the_classifier_knows_digits_it_has_not_seen() -> None:
    pixels, labels = digits_pixels()
    _, unseen = every_nth(len(pixels), PERIOD)
    body, head = read_digits_layers(_SHIPPED, WEIGHTS_DIGEST)
    with torch.no_grad():
        found = head(body(pixels[unseen].float() / 255.0)).argmax(1)
    assert float((found == labels[unseen]).float().mean()) > 0.975


def test_features_are_the_hidden_values() -> None:
    pixels, _ = digits_pixels()
    body, _ = read_digits_layers(_SHIPPED, WEIGHTS_DIGEST)
    features = digits_features()
    with torch.no_grad():
        wanted = body(pixels[:20].float() / 255.0)
    torch.testing.assert_close(features.extract(pixels[:20]), wanted)
    assert features.digest == WEIGHTS_DIGEST
    assert digits_features() is features


def test_every_feature_has_variance_one_over_the_training_data() -> None:
    pixels, _ = digits_pixels()
    seen, _ = every_nth(len(pixels), PERIOD)
    found = extract_features(digits_features(), pixels[seen])
    torch.testing.assert_close(found.var(0), torch.ones(64), atol=1e-4, rtol=0)


def test_real_images_score_well_and_noise_does_not(generator: torch.Generator) -> None:
    pixels, _ = digits_pixels()
    features = extract_features(digits_features(), pixels)
    order = torch.randperm(len(pixels), generator=generator)
    halves = [features[part] for part in order.tensor_split(2)]
    noise = torch.randint(256, pixels.shape, dtype=torch.uint8, generator=generator)
    of_noise = extract_features(digits_features(), noise)
    black = extract_features(digits_features(), torch.zeros_like(pixels))
    between_halves = frechet_distance(halves[0], halves[1])
    assert between_halves < 2.0
    assert 30.0 * between_halves < frechet_distance(features, of_noise)
    assert frechet_distance(features, of_noise) < frechet_distance(features, black)


def test_other_images_are_refused() -> None:
    with pytest.raises(ShapeError, match="must be grey"):
        digits_features().extract(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match="cannot take images of shape"):
        digits_features().extract(torch.zeros(1, 1, 16, 16, dtype=torch.uint8))


def test_another_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(_SHIPPED.read_bytes())
    path = tmp_path / WEIGHTS
    with pytest.raises(InputError, match="there is no such file"):
        read_digits_layers(path, WEIGHTS_DIGEST)
    path.write_bytes(content)
    read_digits_layers(path, WEIGHTS_DIGEST)
    with pytest.raises(InputError, match="must have SHA-256 0000"):
        read_digits_layers(path, "0" * 64)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=WEIGHTS):
        read_digits_layers(path, WEIGHTS_DIGEST)


def test_the_file_is_small() -> None:
    assert _SHIPPED.stat().st_size < 300_000
