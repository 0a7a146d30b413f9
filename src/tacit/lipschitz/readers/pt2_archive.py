"""Read a ``.pt2`` archive of ``torch.export.save`` as plain data.

``torch.export.load`` is not used, because a prepared archive makes it run code: it
unpickles example inputs and some weights, evaluates size expressions as Python and
loads compiled libraries. Here the archive's JSON and raw weight bytes are read, and
whatever is pickled, compressed or unknown is refused or left unread.
"""

import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from tacit.errors import InputError, TacitError
from tacit.lipschitz.readers.aten_graph import (
    Argument,
    AtenGraph,
    AtenNode,
    Ref,
    with_changes,
)
from tacit.lipschitz.readers.aten_translate import KNOWN, refuse_unknown
from tacit.lipschitz.readers.from_torch import make_node, out_of_place

_ADVICE = (
    "export it again with torch.export.save(torch.export.export(model.eval(), "
    "(example,)), 'model.pt2')"
)
# Numbers of the schema (torch._export.serde.schema.ScalarType).
_DTYPES = {
    1: torch.uint8,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_STRIDED = 7
_SCHEMA_MAJOR = 8
MAX_JSON_BYTES = 2**28
"""Largest description of a graph that is read (256 MiB)."""

Json = Mapping[str, object]


def read_pt2(path: Path, *, max_bytes: int) -> AtenGraph:
    """Return the graph in an archive, having executed nothing of it.

    Parameters
    ----------
    path : Path
        The archive.
    max_bytes : int
        Most bytes that its entries may have together; the size of the file is another
        limit, since nothing in it may be compressed.

    Returns
    -------
    AtenGraph

    Raises
    ------
    InputError
        If it is no such archive, is damaged, too large, or holds pickled objects.
    """
    try:
        most = min(max_bytes, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            return _read(archive, most)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise InputError(
            f"{path} is not a readable .pt2 archive: {error}; {_ADVICE}"
        ) from None
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        if isinstance(error, TacitError):
            raise
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{path} is a damaged .pt2 archive ({type(error).__name__}: {reason}); "
            f"{_ADVICE}"
        ) from None


def _read(archive: zipfile.ZipFile, max_bytes: int) -> AtenGraph:
    root, names = _members(archive, max_bytes)
    if _bytes(archive, root, "archive_format") != b"pt2":
        raise InputError(f"the archive does not call itself pt2; {_ADVICE}")
    if "byteorder" in names and _bytes(archive, root, "byteorder") != b"little":
        raise InputError(f"the archive's weights are not little-endian; {_ADVICE}")
    models = [n for n in names if n.startswith("models/") and n.endswith(".json")]
    if len(models) != 1:
        raise InputError(f"the archive holds {len(models)} programs; save exactly one")
    name = models[0].removeprefix("models/").removesuffix(".json")
    program = _json(archive, root, models[0])
    version = _map(program["schema_version"])["major"]
    if version != _SCHEMA_MAJOR:
        raise InputError(
            f"the archive has schema version {version}, this reader knows "
            f"{_SCHEMA_MAJOR}; {_ADVICE} with torch 2.9 or later"
        )
    stored = _tensors(archive, root, f"data/weights/{name}_weights_config.json")
    stored |= _tensors(archive, root, f"data/constants/{name}_constants_config.json")
    return _graph(_map(program["graph_module"]), stored)


def _members(archive: zipfile.ZipFile, max_bytes: int) -> tuple[str, set[str]]:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if not names or len(set(names)) != len(names):
        raise InputError(f"the archive is empty or names an entry twice; {_ADVICE}")
    root = names[0].split("/", 1)[0] + "/"
    if any(not name.startswith(root) for name in names):
        root = ""
    inner = {name.removeprefix(root) for name in names}
    if "archive_format" not in inner or not any(n.startswith("models/") for n in inner):
        raise InputError(_other_archive(inner))
    if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
        raise InputError(
            "the archive holds compressed or encrypted entries, which "
            f"torch.export.save never writes; {_ADVICE}"
        )
    claimed = sum(entry.file_size for entry in entries)
    if claimed > max_bytes or any(e.file_size != e.compress_size for e in entries):
        raise InputError(
            f"the archive claims {claimed} bytes of content; at most {max_bytes} are "
            "accepted"
        )
    return root, inner


def _other_archive(names: set[str]) -> str:
    if "serialized_exported_program.json" in names:
        return (
            "the archive was saved by torch 2.7 or older with pickled weights; "
            f"{_ADVICE}"
        )
    if any(name.startswith("data/aotinductor/") for name in names):
        return (
            f"the archive holds compiled code (AOTInductor), not a program; {_ADVICE}"
        )
    if "data.pkl" in names:
        return (
            "the file was saved by torch.save or TorchScript, which hold pickled code "
            f"that is not run here; {_ADVICE}"
        )
    return f"the archive holds no exported program; {_ADVICE}"


def _bytes(archive: zipfile.ZipFile, root: str, name: str) -> bytes:
    return archive.read(root + name)


def _json(archive: zipfile.ZipFile, root: str, name: str) -> Json:
    size = archive.getinfo(root + name).file_size
    if size > MAX_JSON_BYTES:
        raise InputError(
            f"{name} has {size} bytes; at most {MAX_JSON_BYTES} are accepted"
        )
    return _map(json.loads(_bytes(archive, root, name)))


def _map(item: object) -> Json:
    if isinstance(item, dict):
        return cast("Json", item)
    raise TypeError(f"expected an object, got {type(item).__name__}")


def _list(item: object) -> Sequence[object]:
    if isinstance(item, list):
        return cast("Sequence[object]", item)
    raise TypeError(f"expected a list, got {type(item).__name__}")


def _int(item: object) -> int:
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    raise TypeError(f"expected a whole number, got {type(item).__name__}")


def _tensors(archive: zipfile.ZipFile, root: str, name: str) -> dict[str, Tensor]:
    folder = name.rsplit("/", 1)[0]
    config = _map(_json(archive, root, name)["config"])
    shared: dict[str, bytearray] = {}
    found: dict[str, Tensor] = {}
    for key, item in config.items():
        entry = _map(item)
        file = str(entry["path_name"])
        if entry.get("use_pickle") is not False or not re.fullmatch(r"\w+_\d+", file):
            raise InputError(
                f"{key} is stored as a pickled object, which is never loaded because "
                "it can run code; use plain dense tensors"
            )
        if file.startswith(("custom_obj", "opaque_obj")):
            raise InputError(f"{key} is a custom object; only plain tensors are read")
        if file not in shared:
            shared[file] = bytearray(_bytes(archive, root, f"{folder}/{file}"))
        found[key] = _strided(key, shared[file], _map(entry["tensor_meta"]))
    return found


def _strided(key: str, data: bytearray, meta: Json) -> Tensor:
    dtype = _DTYPES.get(_int(meta["dtype"]))
    if dtype is None or meta.get("layout") != _STRIDED:
        raise InputError(
            f"{key} has an unknown number type or layout; use dense float32"
        )
    sizes = [_int(_map(size)["as_int"]) for size in _list(meta["sizes"])]
    strides = [_int(_map(stride)["as_int"]) for stride in _list(meta["strides"])]
    offset = _int(_map(meta["storage_offset"])["as_int"])
    count = len(data) // dtype.itemsize
    if any(n < 0 for n in (*sizes, *strides, offset)) or len(sizes) != len(strides):
        raise InputError(f"{key} has impossible sizes {sizes} or strides {strides}")
    if math.prod(sizes) == 0:
        return torch.zeros(sizes, dtype=dtype)
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    # A stride of 0 repeats stored numbers; a few bytes must not become gigabytes.
    if last >= count or math.prod(sizes) > max(count, 1):
        raise InputError(
            f"{key} claims shape {tuple(sizes)}, but the archive holds {count} numbers "
            "for it"
        )
    flat = torch.frombuffer(data, dtype=dtype, count=count)
    return flat.as_strided(sizes, strides, offset).clone()


def _graph(module: Json, stored: Mapping[str, Tensor]) -> AtenGraph:
    graph, signature = _map(module["graph"]), _map(module["signature"])
    constants: dict[str, Tensor] = {}
    inputs: list[str | None] = []
    for spec in _list(signature["input_specs"]):
        ((kind, content),) = _map(spec).items()
        body = _map(content)
        key = {
            "parameter": "parameter_name",
            "buffer": "buffer_name",
            "tensor_constant": "tensor_constant_name",
        }.get(kind)
        if key is None:
            inputs.append(
                _tensor_name(body.get("arg")) if kind == "user_input" else None
            )
        else:
            constants[str(_map(body["arg"])["name"])] = stored[str(body[key])]
    outputs = [
        _tensor_name(_map(body).get("arg")) if kind == "user_output" else None
        for spec in _list(signature["output_specs"])
        for kind, body in _map(spec).items()
    ]
    if len(inputs) != 1 or len(outputs) != 1 or None in (inputs[0], outputs[0]):
        raise InputError(
            "a network must take one tensor and give one; the program takes "
            f"{len(inputs)} and gives {len(outputs)}, or changes its own buffers; wrap "
            "it, in eval mode"
        )
    input_name, output_name = str(inputs[0]), str(outputs[0])
    nodes = [_node(_map(node)) for node in _list(graph["nodes"])]
    sizes = _list(_map(_map(graph["tensor_values"])[input_name])["sizes"])
    refuse_unknown(nodes)
    return AtenGraph(
        nodes=with_changes(nodes, output_name),
        constants=constants,
        input_name=input_name,
        input_sizes=tuple(_size(_map(size)) for size in sizes),
        output_name=output_name,
    )


def _size(size: Json) -> int | None:
    return _int(size["as_int"]) if "as_int" in size else None


def _tensor_name(argument: object) -> str | None:
    found = _map(argument).get("as_tensor")
    return None if found is None else str(_map(found)["name"])


def _node(node: Json) -> AtenNode:
    target = str(node["target"])
    op = target.removeprefix("torch.ops.").replace("_operator.", "operator.")
    op, overwrites = out_of_place(op)
    given: dict[str, Argument] = {}
    for position, item in enumerate(_list(node["inputs"])):
        entry = _map(item)
        name = str(entry.get("name") or position)
        given[name] = _argument(_map(entry["arg"]))
    outputs = [
        name
        for output in _list(node["outputs"])
        for name in _output_names(_map(output))
    ]
    place = _place(_map(node.get("metadata") or {}), outputs)
    if op not in KNOWN:
        return AtenNode(op=op, arguments=given, outputs=tuple(outputs), place=place)
    return make_node(op, given, tuple(outputs), place, overwrites=overwrites)


def _output_names(output: Json) -> list[str]:
    ((kind, body),) = output.items()
    if kind == "as_tensors":
        return [str(_map(item)["name"]) for item in _list(body)]
    if kind == "as_tensor":
        return [str(_map(body)["name"])]
    if kind == "as_sym_int":
        return [str(_map(body)["as_name"])]
    return []


def _place(metadata: Json, outputs: Sequence[str]) -> str:
    own = outputs[0] if outputs else "?"
    stack = str(metadata.get("nn_module_stack") or "").split(";")[-1].split(",")
    if len(stack) != 3 or not stack[1]:
        return own
    return f"{stack[1]} ({stack[2].rsplit('.', 1)[-1]})"


def _argument(argument: Json) -> Argument:
    ((kind, body),) = argument.items()
    match kind:
        case "as_tensor":
            return Ref(str(_map(body)["name"]))
        case "as_tensors":
            return [Ref(str(_map(item)["name"])) for item in _list(body)]
        case "as_int" | "as_float" | "as_bool" | "as_string":
            return cast("Argument", body)
        case "as_ints" | "as_floats" | "as_bools":
            return cast("Argument", list(_list(body)))
        case "as_sym_int":
            return _sym_int(_map(body))
        case "as_sym_ints":
            return [_sym_int(_map(item)) for item in _list(body)]
        case "as_scalar_type":
            return _DTYPES.get(_int(body), "unknown")
        case "as_none" | "as_device" | "as_layout" | "as_memory_format":
            return None
        case _:
            raise InputError(f"arguments of kind {kind} are not read")


def _sym_int(item: Json) -> Argument:
    return _int(item["as_int"]) if "as_int" in item else Ref(str(item["as_name"]))
