"""Programs are read as data, and damaged ones are refused."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from archives import edit, entries_of, save_program, small_module, write
from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.network import run
from tacit.lipschitz.readers.aten_translate import from_graph
from tacit.lipschitz.readers.from_torch import from_module
from tacit.lipschitz.readers.pt2_archive import read_pt2

pytestmark = pytest.mark.global_rng

LIMIT = 2**20
MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    with torch.random.fork_rng(devices=[]):
        return save_program(small_module(), (1, 1, 5), folder / "model.pt2")


@pytest.mark.parametrize("is_open", [False, True])
def test_a_program_is_read_like_its_module(is_open: bool, tmp_path: Path) -> None:
    module = small_module()
    sizes = (2 if is_open else 1, 1, 5)
    path = save_program(module, sizes, tmp_path / "model.pt2", is_open=is_open)
    graph = read_pt2(path, max_bytes=LIMIT)
    assert graph.input_sizes == (None if is_open else 1, 1, 5)
    assert from_graph(graph).digest == from_module(module, (1, 5)).digest


def test_a_shared_weight_is_read_under_both_names(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).eval()
    module[2].weight = module[0].weight
    path = save_program(module, (1, 4), tmp_path / "model.pt2")
    network = from_graph(read_pt2(path, max_bytes=LIMIT))
    assert network.digest == from_module(module, (4,)).digest


class ByHand(nn.Module):
    """Keeps the batch size by hand and changes number types on the way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.view(x.shape[0], x.shape[1] * x.shape[2]).to(torch.float64)
        one, two = half.chunk(2, dim=1)
        return torch.cat([one - 2.0 * two, two.tanh()], dim=1).reshape(-1, 2, 3)


def test_sizes_types_and_lists_are_read(tmp_path: Path) -> None:
    path = save_program(ByHand(), (2, 3, 2), tmp_path / "model.pt2", is_open=True)
    network = from_graph(read_pt2(path, max_bytes=LIMIT))
    assert network.out_shape == (2, 3)
    x = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(2, 3, 2)
    torch.testing.assert_close(run(network, x), ByHand()(x))


def test_strided_weights_are_read(honest: Path, tmp_path: Path) -> None:
    def turn(config: Any) -> None:
        config["config"]["3.weight"]["tensor_meta"]["strides"] = [
            {"as_int": 1},
            {"as_int": 2},
        ]

    path = write(edit(entries_of(honest), WEIGHTS, turn), tmp_path / "model.pt2")
    module = small_module()
    weight = module.get_parameter("3.weight")
    weight.data = weight.data.reshape(6, 2).T
    network = from_graph(read_pt2(path, max_bytes=LIMIT))
    assert network.digest == from_module(module, (1, 5)).digest


def test_compressed_archives_are_refused(honest: Path, tmp_path: Path) -> None:
    path = write(entries_of(honest), tmp_path / "model.pt2", deflate=True)
    with pytest.raises(InputError, match="compressed or encrypted"):
        read_pt2(path, max_bytes=LIMIT)


def test_an_archive_that_claims_more_than_it_holds_is_refused_unread(
    honest: Path, tmp_path: Path
) -> None:
    """One entry's size in the central directory is raised to 10 GB."""
    path = tmp_path / "model.pt2"
    path.write_bytes(honest.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.getinfo("model/data/weights/weight_0").file_size = 10 * 2**30
        archive.writestr("model/extra/note", b"")  # rewrites the directory
    with pytest.raises(InputError, match=r"claims 107\d* bytes"):
        read_pt2(path, max_bytes=2**40)


def test_entries_are_counted_against_the_limit(honest: Path) -> None:
    with pytest.raises(InputError, match="at most 1000 are accepted"):
        read_pt2(honest, max_bytes=1000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_must_not_come_twice(honest: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(honest.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"model/{MODEL}", b"{}")
    with pytest.raises(InputError, match="names an entry twice"):
        read_pt2(path, max_bytes=LIMIT)


def test_truncated_archives_are_refused(honest: Path, tmp_path: Path) -> None:
    whole = honest.read_bytes()
    path = tmp_path / "model.pt2"
    for share in (0.01, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="export it again"):
            read_pt2(path, max_bytes=LIMIT)


def test_a_flipped_byte_is_noticed(honest: Path, tmp_path: Path) -> None:
    whole = bytearray(honest.read_bytes())
    with zipfile.ZipFile(honest) as archive:
        place = archive.getinfo("model/data/weights/weight_0").header_offset
    content = entries_of(honest)["data/weights/weight_0"]
    start = whole.index(content, place)
    whole[start + 3] ^= 0x40
    path = tmp_path / "model.pt2"
    path.write_bytes(whole)
    with pytest.raises(InputError, match="CRC"):
        read_pt2(path, max_bytes=LIMIT)


def test_the_place_of_a_layer_is_named(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1)).eval()
    path = save_program(module, (1, 4), tmp_path / "model.pt2")
    with pytest.raises(UnsupportedLayerError, match=r"layer 1 \(Softmax\)"):
        from_graph(read_pt2(path, max_bytes=LIMIT))


def test_the_schema_is_the_one_that_is_known(honest: Path) -> None:
    """If torch moves on, this says so before a user does."""
    program = json.loads(entries_of(honest)[MODEL])
    assert program["schema_version"]["major"] == 8
