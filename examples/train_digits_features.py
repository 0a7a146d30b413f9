"""Train the classifier whose features handwritten digits are scored on.

    python examples/train_digits_features.py [FILE]

writes its weights (by default digits_weights.npz in this folder) and prints their
SHA-256, which ``src/tacit/minimax/gan/features/digits.py`` names. The images are those
of ``sklearn.datasets.load_digits``, every fifth one kept for testing. Takes about ten
seconds on one core; the seed fixes the result up to rounding.
"""

import hashlib
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacit.io import write_arrays
from tacit.minimax.gan.data.dataset import every_nth
from tacit.minimax.gan.data.digits import PERIOD, digits_pixels
from tacit.minimax.gan.features.digits import WEIGHTS, digits_layers

NUM_STEPS = 1000
BATCH_SIZE = 64
DROPOUT = 0.3  # of the features
SEED = 0


def draw_weights(
    body: nn.Sequential, images: Tensor, generator: torch.Generator
) -> None:
    """Draw weights anew, with biases that centre what each layer makes of the images.

    Without centring nearly half of the ReLUs never open: pixels are not negative.
    """
    values = images
    for layer in body:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
            image = layer(values)
            layer.bias -= image.mean([0, *range(2, image.ndim)])
        values = layer(values)


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images moved by at most one pixel, all alike."""
    down, right = (int(v) for v in torch.randint(3, (2,), generator=generator))
    framed = functional.pad(images, (1, 1, 1, 1))
    return framed[:, :, down : down + 8, right : right + 8]


def train(
    body: nn.Sequential,
    head: nn.Sequential,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
) -> None:
    """Minimise cross entropy with AdamW on random batches."""
    weights = [*body.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, NUM_STEPS)
    for _ in range(NUM_STEPS):
        batch = torch.randint(len(images), (BATCH_SIZE,), generator=generator)
        features = body(shifted(images[batch], generator))
        is_kept = torch.rand(features.shape, generator=generator) >= DROPOUT
        scores = head(features * is_kept / (1.0 - DROPOUT))
        loss = functional.cross_entropy(scores, labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def scale_features(body: nn.Sequential, head: nn.Sequential, images: Tensor) -> None:
    """Give every feature variance 1; the classifier's answers stay the same."""
    deviations = body(images).std(0)
    body[-1].weight /= deviations[:, None]
    body[-1].bias /= deviations
    head[-1].weight *= deviations


def main() -> None:
    """Train, report the accuracy on unseen images, and save."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / WEIGHTS
    torch.set_num_threads(1)
    pixels, labels = digits_pixels()
    images = pixels.to(torch.float32) / 255.0
    seen, unseen = every_nth(len(images), PERIOD)
    generator = torch.Generator().manual_seed(SEED)
    body, head = digits_layers()
    with torch.no_grad():
        draw_weights(body, images[seen], generator)
        nn.init.kaiming_normal_(head[-1].weight, generator=generator)
        nn.init.zeros_(head[-1].bias)
    train(body, head, images[seen], labels[seen], generator)
    with torch.no_grad():
        scale_features(body, head, images[seen])
        is_right = head(body(images[unseen])).argmax(1) == labels[unseen]
    print(f"{float(is_right.float().mean()):.1%} of {len(unseen)} unseen images right")
    weights = {
        f"{name}.{key}": value.numpy()
        for name, part in (("body", body), ("head", head))
        for key, value in part.state_dict().items()
    }
    write_arrays(path, {"format": "tacit digits classifier", "version": 1}, weights)
    print(f"{path}: SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
