"""Train three small classifiers of handwritten digits and save them for `tacit`.

    python examples/train_digits.py [FOLDER]

writes digits_dense.onnx, digits_conv.onnx, digits_residual.onnx and digits_dense.pt2
(default folder: ``models`` beside this file). The images are those of
``sklearn.datasets.load_digits``: 8 x 8 pixels, scaled to [0, 1]; every fifth one is
kept for testing. Takes a minute on one core; the seed fixes the result up to rounding.
"""

import sys
from pathlib import Path

import onnx
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

NUM_STEPS = 600
BATCH_SIZE = 128


class Residual(nn.Module):
    """x + W2 relu(W1 x + b1) + b2, twice, between two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 24)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24))
            for _ in range(2)
        )
        self.last = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return ten scores for each image, given as 64 pixels."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(functional.relu(x))


def models() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Return the untrained networks by name, with the shape of one input."""
    dense = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    conv = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 12, 3, stride=2, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 10),
    )
    return {
        "digits_dense": (dense, (64,)),
        "digits_conv": (conv, (1, 8, 8)),
        "digits_residual": (Residual(), (64,)),
    }


def draw_weights(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew: He initialisation, zero biases."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)


def train(
    model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator
) -> None:
    """Minimise cross entropy with AdamW on random batches."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    model.train()
    for _ in range(NUM_STEPS):
        batch = torch.randint(len(images), (BATCH_SIZE,), generator=generator)
        loss = functional.cross_entropy(model(images[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


def save_onnx(model: nn.Module, example: Tensor, path: Path) -> None:
    """Write one ONNX file without the notes on this machine that exporters leave."""
    program = torch.onnx.export(
        model, (example,), dynamo=True, dynamic_shapes=({0: "batch"},), verbose=False
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    proto = program.model_proto
    for item in (*proto.graph.node, *proto.graph.initializer, *proto.graph.value_info):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    onnx.save(proto, path, save_as_external_data=False)


def save_program(model: nn.Module, example: Tensor, path: Path) -> None:
    """Write one program of torch.export, again without notes on this machine."""
    program = torch.export.export(
        model, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)


def main() -> None:
    """Train, report the accuracy on unseen images, and save."""
    folder = Path(
        sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "models"
    )
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    labels = torch.tensor(digits.target, dtype=torch.int64)
    is_test = torch.arange(len(images)) % 5 == 0
    for seed, (name, (model, shape)) in enumerate(models().items()):
        generator = torch.Generator().manual_seed(seed)
        draw_weights(model, generator)
        inputs = images.reshape(-1, *shape)
        train(model, inputs[~is_test], labels[~is_test], generator)
        with torch.no_grad():
            correct = model(inputs[is_test]).argmax(1) == labels[is_test]
        print(f"{name}: {float(correct.float().mean()):.1%} of unseen images right")
        example = inputs[:2].clone()  # a view would save all images
        save_onnx(model, example, folder / f"{name}.onnx")
        if name == "digits_dense":
            save_program(model, example, folder / f"{name}.pt2")


if __name__ == "__main__":
    main()
