"""Programs are read as data: prepared archives are refused and nothing of them runs."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from archives import Entries, edit, entries_of, save_program, small_module, trap, write
from tacit.errors import InputError, TacitError, UnsupportedLayerError
from tacit.lipschitz.aten_translate import from_graph
from tacit.lipschitz.from_torch import from_module
from tacit.lipschitz.network import run
from tacit.lipschitz.pt2_archive import read_pt2

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
        config["config"]["3.weight"]["tensor_meta"]["strides"] = ints(1, 2)

    path = write(edit(entries_of(honest), WEIGHTS, turn), tmp_path / "model.pt2")
    module = small_module()
    weight = module.get_parameter("3.weight")
    weight.data = weight.data.reshape(6, 2).T
    network = from_graph(read_pt2(path, max_bytes=LIMIT))
    assert network.digest == from_module(module, (1, 5)).digest


# Prepared archives


def test_a_pickle_in_the_example_inputs_is_not_loaded(
    honest: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    pickle.loads(trap(mark))  # noqa: S301 - shows that the trap works
    mark.rmdir()
    entries = entries_of(honest)
    assert "data/sample_inputs/model.pt" in entries
    entries["data/sample_inputs/model.pt"] = trap(mark)
    path = write(entries, tmp_path / "model.pt2")
    # Read all the same: example inputs are no part of the network.
    assert from_graph(read_pt2(path, max_bytes=LIMIT)).out_shape == (2,)
    assert not mark.exists()


def test_torchs_own_loader_would_run_it(honest: Path, tmp_path: Path) -> None:
    """Why torch.export.load is not used; if this fails, torch has become safer."""
    mark = tmp_path / "executed"
    buffer = io.BytesIO()
    torch.save((torch.zeros(1),), buffer)
    entries = entries_of(honest)
    entries["data/sample_inputs/model.pt"] = _repacked(buffer.getvalue(), trap(mark))
    path = write(entries, tmp_path / "model.pt2")
    with pytest.raises(Exception, match=r".*"):
        torch.export.load(path)
    assert mark.exists()
    mark.rmdir()
    from_graph(read_pt2(path, max_bytes=LIMIT))
    assert not mark.exists()


def _repacked(archive: bytes, content: bytes) -> bytes:
    """Return a torch.save archive whose pickle is replaced."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as old,
        zipfile.ZipFile(buffer, "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return buffer.getvalue()


def _pickled_weight(entries: Entries, mark: Path) -> Entries:
    def change(config: Any) -> None:
        config["config"]["0.weight"]["use_pickle"] = True

    return {**edit(entries, WEIGHTS, change), "data/weights/weight_0": trap(mark)}


def _custom_object(entries: Entries, mark: Path) -> Entries:
    def change(config: Any) -> None:
        config["config"]["thing"] = {"path_name": "custom_obj_0", "use_pickle": False}

    return {
        **edit(entries, CONSTANTS, change),
        "data/constants/custom_obj_0": trap(mark),
    }


def _escaping_path(entries: Entries, _: Path) -> Entries:
    def change(config: Any) -> None:
        config["config"]["0.weight"]["path_name"] = "../../models/model.json"

    return edit(entries, WEIGHTS, change)


def _legacy_weights(entries: Entries, mark: Path) -> Entries:
    kept = {name: content for name, content in entries.items() if name != WEIGHTS}
    return {**kept, "data/weights/model.pt": trap(mark)}


def _program_of_torch_2_7(_: Entries, mark: Path) -> Entries:
    pickles = ("state_dict", "constants", "example_inputs")
    return {
        "version": b"8.1",
        "serialized_exported_program.json": b"{}",
        **{f"serialized_{name}.pt": trap(mark) for name in pickles},
    }


def _torch_save(_: Entries, mark: Path) -> Entries:
    return {"data.pkl": trap(mark), "version": b"3"}


def _compiled(entries: Entries, _: Path) -> Entries:
    return {"archive_format": b"pt2", "data/aotinductor/model/a.so": b"\x7fELF"}


def _first_node(entries: Entries, change: Callable[[Any], None]) -> Entries:
    def change_first(program: Any) -> None:
        change(program["graph_module"]["graph"]["nodes"][0])

    return edit(entries, MODEL, change_first)


def _other_target(name: str) -> Callable[[Entries, Path], Entries]:
    def make(entries: Entries, _: Path) -> Entries:
        return _first_node(entries, lambda node: node.update(target=name))

    return make


def _size_expression(entries: Entries, mark: Path) -> Entries:
    """A size that sympy would evaluate as Python; here it is an open size."""
    text = f"__import__('os').mkdir({str(mark)!r})"

    def change(program: Any) -> None:
        values = program["graph_module"]["graph"]["tensor_values"]
        values["input"] = {"sizes": [{"as_int": 1}, {"as_int": 1}]}
        for value in values.values():
            value["sizes"] = [{"as_expr": {"expr_str": text, "hint": {"as_int": 5}}}]

    return edit(entries, MODEL, change)


def _json(name: str, content: bytes) -> Callable[[Entries, Path], Entries]:
    return lambda entries, _: {**entries, name: content}


def _without(name: str) -> Callable[[Entries, Path], Entries]:
    return lambda entries, _: {k: v for k, v in entries.items() if k != name}


def _weight_meta(**changes: Any) -> Callable[[Entries, Path], Entries]:
    def make(entries: Entries, _: Path) -> Entries:
        def change(config: Any) -> None:
            config["config"]["0.weight"]["tensor_meta"].update(changes)

        return edit(entries, WEIGHTS, change)

    return make


def _program(**changes: Any) -> Callable[[Entries, Path], Entries]:
    return lambda entries, _: edit(entries, MODEL, lambda p: p.update(changes))


def _signature(key: str, count: int) -> Callable[[Entries, Path], Entries]:
    def make(entries: Entries, _: Path) -> Entries:
        def change(program: Any) -> None:
            specs = program["graph_module"]["signature"][key]
            specs += [specs[-1]] * count

        return edit(entries, MODEL, change)

    return make


def _mutation(entries: Entries, _: Path) -> Entries:
    def change(program: Any) -> None:
        specs = program["graph_module"]["signature"]["output_specs"]
        specs[0] = {"buffer_mutation": {"arg": {"name": "x"}, "buffer_name": "x"}}

    return edit(entries, MODEL, change)


def _argument(kind: str, body: object) -> Callable[[Entries, Path], Entries]:
    def change(node: Any) -> None:
        node["inputs"][-1]["arg"] = {kind: body}

    return lambda entries, _: _first_node(entries, change)


def ints(*numbers: int) -> list[dict[str, int]]:
    return [{"as_int": number} for number in numbers]


HOSTILE: list[tuple[Callable[[Entries, Path], Entries], type[Exception], str]] = [
    (_pickled_weight, InputError, "stored as a pickled object"),
    (_custom_object, InputError, "custom object"),
    (_escaping_path, InputError, "pickled object"),
    (_legacy_weights, InputError, "damaged"),
    (_program_of_torch_2_7, InputError, "torch 2.7 or older"),
    (_torch_save, InputError, "saved by torch.save or TorchScript"),
    (_compiled, InputError, "compiled code"),
    (_other_target("os.system"), UnsupportedLayerError, r"operation os\.system"),
    (
        _other_target("torch.ops.aten.from_file.default"),
        UnsupportedLayerError,
        "from_file",
    ),
    (
        _other_target("torch.ops.aten.conv1d.__class__"),
        UnsupportedLayerError,
        "__class__",
    ),
    (_other_target("torch.load"), UnsupportedLayerError, "operation torch.load"),
    (_other_target("_operator.getitem"), TacitError, "overwrites|getitem"),
    (_size_expression, InputError, "leaves sizes|in_shape"),
    (_json(MODEL, b"{"), InputError, "damaged"),
    (_json(MODEL, b"[1]"), InputError, "expected an object, got list"),
    (_json(MODEL, b"[" * 100_000), InputError, "damaged|readable"),
    (_json("archive_format", b"pt3"), InputError, "does not call itself pt2"),
    (_json("byteorder", b"big"), InputError, "little-endian"),
    (_json("models/other.json", b"{}"), InputError, "holds 2 programs"),
    (_without(MODEL), InputError, "holds no exported program"),
    (_without("data/weights/weight_0"), InputError, "damaged"),
    (_without(WEIGHTS), InputError, "damaged"),
    (_program(schema_version={"major": 9, "minor": 1}), InputError, "schema version 9"),
    (_weight_meta(sizes=ints(2**40, 1, 3)), InputError, "claims shape"),
    (_weight_meta(sizes=ints(2, 1, -3)), InputError, "impossible sizes"),
    (
        _weight_meta(strides=ints(0, 0, 0), sizes=ints(2**20, 2**10, 9)),
        InputError,
        "claims",
    ),
    (_weight_meta(strides=ints(9, 9, 9)), InputError, "claims shape"),
    (_weight_meta(strides=ints(3, 3)), InputError, "impossible sizes"),
    (_weight_meta(storage_offset={"as_int": 2}), InputError, "claims shape"),
    (_weight_meta(storage_offset={"as_int": -2}), InputError, "impossible"),
    (
        _weight_meta(storage_offset={"as_int": 0.5}),
        InputError,
        "whole number, got float",
    ),
    (_weight_meta(dtype=77), InputError, "unknown number type"),
    (_weight_meta(dtype=9), InputError, "unknown number type"),
    (_weight_meta(layout=1), InputError, "unknown number type or layout"),
    (
        _weight_meta(dtype=6, sizes=ints(2, 1, 3)),
        InputError,
        "must be float32 or float64",
    ),
    (_weight_meta(sizes=ints(0, 1, 3)), TacitError, "entries"),
    (_signature("input_specs", 1), InputError, "takes 2 and gives 1"),
    (_signature("output_specs", 1), InputError, "takes 1 and gives 2"),
    (_mutation, InputError, "changes its own buffers"),
    (_argument("as_graph", {}), InputError, "arguments of kind as_graph"),
    (_argument("as_custom_obj", {}), InputError, "arguments of kind as_custom_obj"),
    (_argument("as_ints", ["a"]), TacitError, "must be a tensor; got list"),
    (_argument("as_tensor", {"name": "nothing"}), InputError, "before it is computed"),
    (
        _argument("as_sym_int", {"as_name": "nothing"}),
        InputError,
        "before it is computed",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), HOSTILE)
def test_prepared_archives_are_refused_and_run_nothing(
    change: Callable[[Entries, Path], Entries],
    error: type[Exception],
    message: str,
    honest: Path,
    tmp_path: Path,
) -> None:
    mark = tmp_path / "executed"
    path = write(change(entries_of(honest), mark), tmp_path / "model.pt2")
    with pytest.raises(error, match=message) as caught:
        from_graph(read_pt2(path, max_bytes=LIMIT))
    assert len(str(caught.value).splitlines()) == 1
    assert not mark.exists()


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
