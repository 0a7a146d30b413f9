"""The repository as data, for the tests that hold its rules."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import tacit

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "tacit"
TESTS = ROOT / "tests"


@cache
def text(path: Path) -> str:
    """Return what the file says."""
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the parsed file."""
    return ast.parse(text(path), filename=str(path))


def name_of(path: Path) -> str:
    """Return the path as seen from the root, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def repository_files() -> list[Path]:
    """Return what git would hold: no hidden folders but ``.ci``, nothing built."""
    left_out = {"build", "dist", "htmlcov", "shared", "__pycache__"}
    found: list[Path] = []
    for path in ROOT.rglob("*"):
        folders = path.relative_to(ROOT).parts[:-1]
        hidden = any(part.startswith(".") and part != ".ci" for part in folders)
        if path.is_file() and not hidden and not left_out.intersection(folders):
            found.append(path)
    return sorted(path for path in found if not path.name.startswith(".coverage"))


SOURCE_FILES = sorted(SOURCE.rglob("*.py"))
BELOW_CLI = [path for path in SOURCE_FILES if (SOURCE / "cli") not in path.parents]
PYTHON_FILES = [path for path in repository_files() if path.suffix == ".py"]


def modules(package: ModuleType = tacit) -> Iterator[ModuleType]:
    """Import every module of the package."""
    yield package
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


@cache
def classes() -> list[type[Any]]:
    """Return the classes that the package itself defines, private ones too."""
    return [
        item
        for module in modules()
        for item in vars(module).values()
        if inspect.isclass(item) and item.__module__ == module.__name__
    ]


def is_protocol(cls: type[Any]) -> bool:
    """Return whether the class only describes what others have."""
    return bool(getattr(cls, "_is_protocol", False))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Walk all functions and methods, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of an attribute chain; what it starts from may be anything."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Walk all calls with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield _dotted(node.func), node


def imports_in(tree: ast.AST) -> set[str]:
    """Return every module named by an import, ``from a import b`` as a and a.b."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found
