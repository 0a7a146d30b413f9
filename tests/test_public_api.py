"""The public names: listed once, documented, with an example that runs."""

import ast
import doctest
import importlib
import inspect
import io
import pkgutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import tacit

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "matplotlib",
    "numba",
    "numpy",
    "onnx",
    "onnxruntime",
    "pyarrow",
    "scipy",
    "torch",
)

MODULES = [
    "tacit",
    *(
        info.name
        for info in pkgutil.walk_packages(tacit.__path__, "tacit.")
        if not info.name.endswith("__main__")
    ),
]


def test_each_public_name_is_listed_once_and_sorted() -> None:
    assert tacit.__all__, "the package offers nothing"
    assert list(tacit.__all__) == sorted(set(tacit.__all__))


def test_the_package_shows_its_names_to_a_curious_person() -> None:
    assert set(tacit.__all__) <= set(dir(tacit))


def test_a_name_that_is_not_there_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(tacit, "no_such_name")  # noqa: B009 - as an attribute, pyright objects


@pytest.mark.parametrize("name", tacit.__all__)
def test_a_public_name_leads_to_its_definition(name: str) -> None:
    item = getattr(tacit, name)
    if inspect.isclass(item) or inspect.isfunction(item):
        assert item.__name__ == name
        assert getattr(importlib.import_module(item.__module__), name) is item


@pytest.mark.parametrize("name", tacit.__all__)
def test_a_public_name_is_documented_with_an_example(name: str) -> None:
    item = getattr(tacit, name)
    if not (inspect.isclass(item) or inspect.isfunction(item)):
        assert not callable(item)  # a constant, or a name for a type
        return
    text = inspect.getdoc(item) or ""
    assert text.strip(), f"{name} has no docstring"
    own = vars(item).get("__doc__") if inspect.isclass(item) else item.__doc__
    assert own, f"{name} has only its base class's docstring"
    if not (inspect.isclass(item) and issubclass(item, Exception)):
        assert doctest.DocTestParser().get_examples(text), f"{name} has no example"


def _raised(tree: ast.AST) -> set[str]:
    calls = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return {
        call.func.id
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }


@pytest.mark.parametrize("name", tacit.__all__)
def test_a_public_name_says_which_errors_it_raises(name: str) -> None:
    item = getattr(tacit, name)
    if inspect.isclass(item) or inspect.isfunction(item):
        # Methods with a docstring of their own speak for themselves there.
        raised = _raised(ast.parse(textwrap.dedent(inspect.getsource(item))))
        text = inspect.getsource(item)
        assert [error for error in sorted(raised) if text.count(error) < 2] == []


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    report = io.StringIO()
    for test in doctest.DocTestFinder().find(module, name):
        runner.run(test, out=report.write)
    assert runner.summarize(verbose=False).failed == 0, report.getvalue()


def _run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "src",
    )


NO_HEAVY_IMPORT = f"""
import sys
loaded = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit(f"loaded {{loaded}}" if loaded else 0)
"""


def test_importing_the_package_is_fast_because_torch_stays_out() -> None:
    done = _run_python("import tacit" + NO_HEAVY_IMPORT)
    assert done.returncode == 0, done.stderr


def test_the_help_text_comes_without_torch() -> None:
    done = _run_python(
        "import sys\n"
        "from tacit.cli.main import main\n"
        "sys.argv = ['tacit', '--help']\n"
        "try:\n"
        "    code = main()\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        "if code:\n"
        "    sys.exit(f'--help ended with {code}')\n" + NO_HEAVY_IMPORT
    )
    assert done.returncode == 0, done.stderr
    assert "lipschitz" in done.stdout
    assert "verify" in done.stdout


def test_the_installed_command_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, name = project["project"]["scripts"]["tacit"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_readers_of_types_see_the_same_names() -> None:
    """``__init__.pyi`` says for each name what ``__init__.py`` loads."""
    stub = ast.parse(Path(tacit.__file__).with_suffix(".pyi").read_text("utf-8"))
    seen = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }
    assert sorted(seen) == sorted(tacit.__all__)
    for name, module in seen.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(
            tacit, name
        )
