"""Archives of ``torch.export.save``, honest ones and prepared ones, for the tests."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tacit.rng import make_generator

Entries = dict[str, bytes]


def small_module() -> nn.Module:
    """Return a convolution and a dense layer with numbers of its own."""
    module = nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6, 2)
    ).eval()
    generator = make_generator(0, "archives")
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return module


def save_program(
    module: nn.Module, sizes: tuple[int, ...], path: Path, *, is_open: bool = False
) -> Path:
    """Write the program of a module, its batch axis open or not."""
    shapes = ({0: torch.export.Dim.DYNAMIC},) if is_open else None
    with torch.no_grad():
        program = torch.export.export(
            module, (torch.zeros(sizes),), dynamic_shapes=shapes
        )
    torch.export.save(program, path)
    return path


def entries_of(path: Path) -> Entries:
    """Return the content of an archive without the name of its root folder."""
    with zipfile.ZipFile(path) as archive:
        return {
            name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()
        }


def write(entries: Mapping[str, bytes], path: Path, *, deflate: bool = False) -> Path:
    """Write an archive of these entries."""
    kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in entries.items():
            archive.writestr(f"model/{name}", content)
    return path


def edit(entries: Entries, name: str, change: Callable[[Any], None]) -> Entries:
    """Return the entries with one JSON file changed."""
    content = json.loads(entries[name])
    change(content)
    return {**entries, name: json.dumps(content).encode()}


class Trap:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def trap(folder: Path) -> bytes:
    """Return a pickle that makes ``folder`` when it is loaded."""
    return pickle.dumps(Trap(folder))
