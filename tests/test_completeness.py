"""Nothing is forgotten when something is added; CONTRIBUTING.md has the recipes."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from sources import SOURCE, TESTS, classes, tree_of
from tacit.lipschitz.layers import ACTIVATION_KINDS, AbstractLinear

LINEAR_LAYERS = [
    cls
    for cls in classes()
    if issubclass(cls, AbstractLinear) and not inspect.isabstract(cls)
]
# The readers, and the files they share, by the first word of their names.
READERS = [
    path
    for path in sorted((SOURCE / "lipschitz").rglob("*.py"))
    if path.stem.partition("_")[0] in {"aten", "build", "from", "onnx", "read"}
]


def _names_used(path: Path) -> set[str]:
    return {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}


def _strings_used(path: Path) -> set[str]:
    return {
        node.value
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("cls", LINEAR_LAYERS, ids=lambda cls: cls.__name__)
def test_a_layer_has_a_test_a_reader_and_a_norm(cls: type[Any]) -> None:
    assert cls.__name__ in _names_used(TESTS / "lipschitz" / "test_layers.py")
    made = {name for path in READERS for name in _names_used(path)}
    assert cls.__name__ in made, f"no reader ever makes a {cls.__name__}"
    norms = SOURCE / "lipschitz" / "closed_form" / "layer_norms.py"
    assert cls.__name__ in _names_used(norms), f"no norm bound for {cls.__name__}"


@pytest.mark.parametrize("kind", ACTIVATION_KINDS)
def test_an_activation_can_be_read_from_a_file(kind: str) -> None:
    made = {text for path in READERS for text in _strings_used(path)}
    assert kind in made, f"no reader ever makes the activation {kind!r}"
