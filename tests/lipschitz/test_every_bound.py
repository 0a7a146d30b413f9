"""Whatever in the package returns a bound is on its side of the exact constant.

The functions are found by what they return, so a new method is under test as soon as it
is written (CONTRIBUTING.md, "add an upper bound"); ``test_soundness.py`` then runs the
known ones on many more networks.
"""

import inspect
import tomllib
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from fnmatch import fnmatch
from functools import cache
from typing import Any

import pytest
import torch

import tacit.lipschitz
from cases import NETWORKS
from regions import exact_lipschitz
from sources import ROOT, modules
from tacit.bracket import Bound, Bracket
from tacit.errors import InputError
from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, chain
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm
from tacit.rng import make_generator

# Modules whose functions are no methods: checkers, which take a witness, and the
# function that runs all the methods.
NO_METHODS = {
    "tacit.lipschitz.certificate",
    "tacit.lipschitz.certify",
    "tacit.lipschitz.pair",
    "tacit.lipschitz.solve",
}
# Piecewise linear and small, so that the exact constant is known.
CASES = ("relu-3-5-4-2", "abs-2-4-3-1", "relu-2-4-4-4-1-unbiased")


def _holds_bound(kind: object) -> bool:
    """Return whether a type is a bound, a bracket, or a record or union with one."""
    if kind is Bound or kind is Bracket:
        return True
    if inspect.isclass(kind) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return any(_holds_bound(hints[field.name]) for field in fields(kind))
    return any(_holds_bound(part) for part in typing.get_args(kind))


def _returning_bounds() -> Iterator[Callable[..., Any]]:
    for module in modules(tacit.lipschitz):
        for name, item in vars(module).items():
            is_own = getattr(item, "__module__", "") == module.__name__
            if not inspect.isfunction(item) or not is_own or name.startswith("_"):
                continue
            if _holds_bound(typing.get_type_hints(item).get("return")):
                yield item


FUNCTIONS = {f"{item.__module__}.{item.__name__}": item for item in _returning_bounds()}
METHODS = [name for name in FUNCTIONS if name.rpartition(".")[0] not in NO_METHODS]


def _bounds_in(result: object) -> list[Bound]:
    if isinstance(result, Bound):
        return [result]
    if is_dataclass(result):
        values = (getattr(result, field.name) for field in fields(result))
        return [bound for value in values for bound in _bounds_in(value)]
    if isinstance(result, tuple | list):
        return [bound for value in result for bound in _bounds_in(value)]
    return []


def _run(name: str, problem: LipschitzProblem) -> list[Bound]:
    """Return what the method finds; nothing if it says that it is not for this one."""
    function = FUNCTIONS[name]
    given: dict[str, object] = {}
    if "generator" in inspect.signature(function).parameters:
        given["generator"] = make_generator(0, name)
    try:
        return _bounds_in(function(problem, **given))
    except InputError:
        return []


@cache
def _case(name: str) -> Network:
    return NETWORKS[name](make_generator(0, name))


@cache
def _truth(name: str, norm: Norm) -> float:
    return exact_lipschitz(_case(name), norm)


@cache
def _found(name: str, case: str, norm: Norm = "l2") -> list[Bound]:
    return _run(name, LipschitzProblem(network=_case(case), norm=norm))


def test_the_known_methods_are_found() -> None:
    found = {name.rpartition(".")[2] for name in METHODS}
    assert {"lifted_bound", "product_bound", "search_lower"} <= found


@pytest.mark.parametrize("name", METHODS)
def test_a_method_needs_nothing_but_the_problem(name: str) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    required = [
        p.name for p in parameters.values() if p.default is inspect.Parameter.empty
    ]
    assert required[:1] == ["problem"]
    assert set(required[1:]) <= {"generator"}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", METHODS)
def test_a_bound_is_on_its_side_of_the_truth(name: str, case: str, norm: Norm) -> None:
    truth = _truth(case, norm)
    for bound in _found(name, case, norm):
        # The oracle's own rounding: a few products of small matrices.
        slack = 1e-12 * truth
        if bound.side == "upper":
            assert bound.value >= truth - slack, bound.method
        else:
            assert 0.0 <= bound.value <= truth + slack, bound.method


@pytest.mark.parametrize("name", METHODS)
def test_a_method_answers_some_problem(name: str) -> None:
    assert any(_found(name, case) for case in CASES)


def _single_path() -> Network:
    """f(x) = -3 relu(2 relu(x / 2 + 1)): the product of slopes, 3, is reached."""
    relu = Activation(kind="relu")
    one = [torch.tensor([[w]], dtype=torch.float64) for w in (0.5, 2.0, -3.0)]
    bias = torch.ones(1, dtype=torch.float64)
    return chain([(one[0], bias, relu), (one[1], None, relu), (one[2], None, None)])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", METHODS)
def test_a_bound_says_something_where_the_answer_is_easy(name: str, norm: Norm) -> None:
    for bound in _run(name, LipschitzProblem(network=_single_path(), norm=norm)):
        assert bound.value == pytest.approx(3.0, rel=0.1), bound.method


@pytest.mark.parametrize("name", METHODS)
def test_a_bound_does_not_depend_on_who_asks(name: str) -> None:
    case = "abs-2-4-3-1"
    with torch.no_grad():
        again = _run(name, LipschitzProblem(network=_case(case)))
    expected = [bound.value for bound in _found(name, case)]
    assert [bound.value for bound in again] == expected


@pytest.mark.parametrize("name", METHODS)
def test_no_checker_may_lean_on_a_method(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if c["id"] == "checkers"]
    module = name.rpartition(".")[0]
    listed = [p for p in contract["forbidden_modules"] if fnmatch(module, p)]
    assert listed, f"add {module} to forbidden_modules of the contract 'checkers'"
