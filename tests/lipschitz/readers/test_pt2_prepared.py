"""Prepared archives are refused, and nothing of them runs."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from archives import Entries, edit, entries_of, save_program, small_module, trap, write
from tacit.errors import InputError, TacitError, UnsupportedLayerError
from tacit.lipschitz.readers.aten_translate import from_graph
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


def ints(*numbers: int) -> list[dict[str, int]]:
    return [{"as_int": number} for number in numbers]


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
