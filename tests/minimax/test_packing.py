import pytest
import torch

from saddle_cases import draw
from tacit.errors import ShapeError
from tacit.minimax.packing import Packing

PACKING = Packing(shapes={"weight": (2, 3), "bias": (2,), "scale": ()})


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_what_is_packed_comes_out_again(
    batch: tuple[int, ...], generator: torch.Generator
) -> None:
    tensors = {
        name: draw(generator, *batch, *shape) for name, shape in PACKING.shapes.items()
    }
    flat = PACKING.pack(tensors)
    assert flat.shape == (*batch, 9)
    unpacked = PACKING.unpack(flat)
    assert list(unpacked) == list(PACKING.shapes)
    assert all(torch.equal(unpacked[name], tensors[name]) for name in tensors)


def test_the_order_is_that_of_the_shapes() -> None:
    tensors = {"scale": torch.tensor(8.0), "bias": torch.tensor([6.0, 7.0])}
    tensors["weight"] = torch.arange(6.0).reshape(2, 3)
    assert PACKING.pack(tensors).tolist() == list(range(9))


def test_other_names_and_shapes_are_refused() -> None:
    good = {name: torch.zeros(shape) for name, shape in PACKING.shapes.items()}
    with pytest.raises(ShapeError, match="tensors must be named"):
        PACKING.pack({"weight": good["weight"]})
    with pytest.raises(ShapeError, match="bias must have shape"):
        PACKING.pack(good | {"bias": torch.zeros(3)})
    with pytest.raises(ShapeError, match="weight must have shape"):
        PACKING.pack(good | {"weight": torch.zeros(3)})


@pytest.mark.parametrize("shape", [(), (8,), (9, 1)])
def test_a_vector_of_another_length_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="a flat vector must have shape"):
        PACKING.unpack(torch.zeros(shape))
