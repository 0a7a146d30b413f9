"""How the house is built: classes, files, and who may know whom.

What ruff, pyright and import-linter can hold is in ``pyproject.toml``; the other rules
of the house are here, in ``test_conduct.py`` and in ``test_completeness.py``.
"""

import ast
import inspect
from enum import Enum
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from sources import (
    PYTHON_FILES,
    SOURCE,
    SOURCE_FILES,
    TESTS,
    classes,
    functions,
    imports_in,
    is_protocol,
    name_of,
    text,
    tree_of,
)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60  # without the docstring, which is asked to be thorough

# Source files without tests of their own name, and whose tests are theirs.
TESTED_WITH = {
    "__init__.py": "test_public_api.py",
    "*/__init__.py": "test_public_api.py",
    "lipschitz/gap_search.py": "lipschitz/test_lifted_bound.py",
    "lipschitz/reduced_form.py": "lipschitz/test_certify.py",
    "lipschitz/readers/place.py": "lipschitz/readers/test_from_onnx_refused.py",
    "prediction.py": "recovery/test_predict.py",
    "recovery/history_figure.py": "recovery/test_history.py",
}

# What a checker of bounds may stand on; everything else could be a search.
CHECKER_MAY_IMPORT = {
    "tacit.bracket",
    "tacit.errors",
    "tacit.io",
    "tacit.lipschitz.blocks",
    "tacit.lipschitz.certificate",
    "tacit.lipschitz.certify",
    "tacit.lipschitz.layers",
    "tacit.lipschitz.network",
    "tacit.lipschitz.compose",
    "tacit.lipschitz.pair",
    "tacit.lipschitz.problem",
    "tacit.lipschitz.reduced_form",
    "tacit.rng",
    "tacit.spectral",
}


# Classes


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__qualname__)
def test_a_class_is_abstract_exactly_if_its_name_says_so(cls: type[Any]) -> None:
    if not is_protocol(cls):
        assert inspect.isabstract(cls) == cls.__name__.startswith("Abstract")


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__qualname__)
def test_a_class_that_can_be_built_is_final(cls: type[Any]) -> None:
    is_base_of_errors = issubclass(cls, Exception) and cls.__subclasses__()
    if not (
        inspect.isabstract(cls)
        or is_protocol(cls)
        or issubclass(cls, Enum)
        or is_base_of_errors
    ):
        assert getattr(cls, "__final__", False), f"{cls.__name__} lacks @final"


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__qualname__)
def test_nothing_implemented_is_implemented_again(cls: type[Any]) -> None:
    bases = [base for base in cls.__mro__[1:] if base.__module__.startswith("tacit")]
    again = [
        f"{base.__name__}.{name}"
        for base in bases
        for name, item in vars(base).items()
        if not (name.startswith("__") and name.endswith("__"))
        and (callable(item) or isinstance(item, property | classmethod | staticmethod))
        and not getattr(item, "__isabstractmethod__", False)
        and name in vars(cls)
    ]
    assert not again


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__qualname__)
def test_an_interface_is_small(cls: type[Any]) -> None:
    assert len(getattr(cls, "__abstractmethods__", ())) <= 5


def _is_documented(cls: type[Any], name: str, item: object) -> bool:
    own = item.fget if isinstance(item, property) else getattr(item, "func", item)
    if getattr(own, "__doc__", None):
        return True
    return any(name in vars(base) for base in cls.__mro__[1:])


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__qualname__)
def test_a_public_method_is_documented_where_it_is_declared(cls: type[Any]) -> None:
    if cls.__name__.startswith("_"):
        return
    silent = [
        name
        for name, item in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isfunction(item) or isinstance(item, property))
        and not _is_documented(cls, name, item)
    ]
    assert not silent


# Files and functions


@pytest.mark.parametrize("path", PYTHON_FILES, ids=name_of)
def test_a_file_has_one_subject(path: Path) -> None:
    count = len(text(path).splitlines())
    assert count <= MAX_FILE_LINES, (
        f"{name_of(path)} has {count} lines: split by subject"
    )


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    end = function.end_lineno or function.lineno
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function) is not None:
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return end - function.lineno + 1 - docstring


@pytest.mark.parametrize("path", PYTHON_FILES, ids=name_of)
def test_a_function_fits_a_screen(path: Path) -> None:
    too_long = {
        function.name: _length(function)
        for function in functions(tree_of(path))
        if _length(function) > MAX_FUNCTION_LINES
    }
    assert not too_long


@pytest.mark.parametrize("path", PYTHON_FILES, ids=name_of)
def test_source_is_ascii(path: Path) -> None:
    lines = text(path).splitlines()
    assert [i for i, line in enumerate(lines, 1) if not line.isascii()] == []


@pytest.mark.parametrize("path", SOURCE_FILES, ids=name_of)
def test_a_source_file_has_tests(path: Path) -> None:
    inside = path.relative_to(SOURCE)
    mirror = TESTS / inside.parent / f"test_{inside.stem}.py"
    homes = [
        TESTS / home
        for pattern, home in TESTED_WITH.items()
        if fnmatch(inside.as_posix(), pattern)
    ]
    has_code = any(not isinstance(item, ast.Expr) for item in tree_of(path).body)
    if has_code and not mirror.is_file():
        assert homes, f"{name_of(path)} needs tests in {name_of(mirror)}"
        assert homes[0].is_file()


# Who knows whom


def _source_of(module: str) -> Path | None:
    base = SOURCE.parent / Path(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _everything_behind(path: Path) -> set[str]:
    """Return the modules of tacit that ``path`` imports, directly or not."""
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        for module in imports_in(tree_of(waiting.pop())):
            source = _source_of(module) if module.startswith("tacit.") else None
            if source is not None and module not in seen:
                seen.add(module)
                waiting.append(source)
    return seen


@pytest.mark.parametrize("room", ["certify", "pair"])
def test_a_checker_stands_on_definitions_alone(room: str) -> None:
    behind = _everything_behind(SOURCE / "lipschitz" / f"{room}.py")
    assert behind, "a checker imports at least the problem it checks"
    assert not behind - CHECKER_MAY_IMPORT


def test_the_walk_behind_a_module_would_find_a_search() -> None:
    behind = _everything_behind(SOURCE / "lipschitz" / "solve.py")
    assert {"tacit.errors", "tacit.lipschitz.certify", "tacit.lipschitz.lift"} <= behind
