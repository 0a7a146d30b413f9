import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recovery_cases import draw
from sources import classes
from subspace_cases import SUBSPACES
from tacit.errors import InputError, ShapeError
from tacit.recovery.subspaces.subspace import (
    AbstractSubspace,
    SubspaceSpec,
    basis_matrix,
)
from tacit.rng import make_generator

FINAL_SUBSPACES = [
    cls
    for cls in classes()
    if issubclass(cls, AbstractSubspace) and not inspect.isabstract(cls)
]
EVERY = pytest.mark.parametrize("name", SUBSPACES)


def _assert_near(got: Tensor, expected: Tensor, scale: float) -> None:
    """Agree up to 100 roundings of numbers of the size ``scale``."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    limit = 100.0 * torch.finfo(got.dtype).eps * scale
    assert float((got - expected).abs().max()) <= limit


@pytest.mark.parametrize("cls", FINAL_SUBSPACES, ids=lambda cls: cls.__name__)
def test_every_subspace_is_among_the_cases(cls: type[Any]) -> None:
    built = {type(build(make_generator(0))) for build in SUBSPACES.values()}
    assert cls in built, f"add a {cls.__name__} to subspace_cases.SUBSPACES"


@EVERY
def test_both_directions_are_one_matrix(name: str, generator: torch.Generator) -> None:
    subspace = SUBSPACES[name](generator)
    spec = subspace.spec
    basis = basis_matrix(subspace)
    assert basis.shape == (math.prod(subspace.grid), subspace.dimension)
    for batch in ((), (1,), (2, 3)):
        h = draw(generator, *batch, spec.dimension, dtype=spec.dtype)
        w = draw(generator, *batch, *spec.grid, dtype=spec.dtype)
        size = 1.0 + float(torch.linalg.vector_norm(basis))
        scale = size * (1.0 + float(h.abs().max()) + float(w.abs().max()))
        flat = w.flatten(-len(spec.grid))
        signals = (h @ basis.mT).unflatten(-1, spec.grid)
        _assert_near(subspace.synthesise(h), signals, scale)
        _assert_near(subspace.analyse(w), flat @ basis.conj(), scale)
        # Adjointness itself, as inner products say it.
        one = (subspace.synthesise(h).conj() * w).sum()
        two = (h.conj() * subspace.analyse(w)).sum()
        _assert_near(one, two, scale * (1.0 + float(torch.linalg.vector_norm(w))) ** 2)


@EVERY
def test_what_is_called_orthonormal_is(name: str, generator: torch.Generator) -> None:
    subspace = SUBSPACES[name](generator)
    basis = basis_matrix(subspace)
    unit = torch.eye(subspace.dimension, dtype=basis.dtype)
    distance = float((basis.mH @ basis - unit).abs().max())
    is_near = distance <= 100.0 * torch.finfo(basis.dtype).eps
    assert is_near == subspace.spec.is_orthonormal


@EVERY
def test_results_are_new_tensors(name: str, generator: torch.Generator) -> None:
    subspace = SUBSPACES[name](generator)
    spec = subspace.spec
    h = draw(generator, 2, spec.dimension, dtype=spec.dtype)
    w = draw(generator, 2, *spec.grid, dtype=spec.dtype)
    basis = basis_matrix(subspace)
    before = h.clone(), w.clone()
    for result in (subspace.synthesise(h), subspace.analyse(w)):
        assert (result.dtype, result.device) == (spec.dtype, spec.device)
        assert not result.is_conj()
        result.zero_()  # an alias would write into what was given
    assert torch.equal(h, before[0])
    assert torch.equal(w, before[1])
    assert torch.equal(basis_matrix(subspace), basis)


@EVERY
def test_inputs_may_lie_in_memory_in_any_order(
    name: str, generator: torch.Generator
) -> None:
    subspace = SUBSPACES[name](generator)
    spec = subspace.spec
    h = draw(generator, spec.dimension, 3, dtype=spec.dtype).mH
    axes = tuple(reversed(range(len(spec.grid) + 1)))
    w = draw(generator, *reversed(spec.grid), 3, dtype=spec.dtype).permute(axes).conj()
    plain = [tensor.resolve_conj().contiguous() for tensor in (h, w)]
    scale = (1.0 + float(torch.linalg.vector_norm(basis_matrix(subspace)))) * (
        1.0 + float(torch.linalg.vector_norm(h)) + float(torch.linalg.vector_norm(w))
    )
    _assert_near(subspace.synthesise(h), subspace.synthesise(plain[0]), scale)
    _assert_near(subspace.analyse(w), subspace.analyse(plain[1]), scale)


@pytest.mark.parametrize(
    ("grid", "dimension", "message"),
    [
        ((), 1, "one or two positive sizes"),
        ((2, 2, 2), 1, "one or two positive sizes"),
        ((4, 0), 1, "one or two positive sizes"),
        ((4,), 0, "at least one coefficient"),
        ((2, 3), 7, "at most 6 dimensions; got 7"),
    ],
)
def test_sizes_that_make_no_subspace_are_refused(
    grid: tuple[int, ...], dimension: int, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        SubspaceSpec(
            grid=grid,
            dimension=dimension,
            dtype=torch.float64,
            device=torch.device("cpu"),
            is_orthonormal=False,
        )


def test_integers_are_refused() -> None:
    with pytest.raises(InputError, match="real or complex floating point"):
        SubspaceSpec(
            grid=(4,),
            dimension=2,
            dtype=torch.int64,
            device=torch.device("cpu"),
            is_orthonormal=False,
        )
