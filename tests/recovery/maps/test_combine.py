import math

import pytest
import torch
from torch import Tensor

from recovery_cases import dense_matrix, draw, some_entries
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.combine import StackedMap, SumMap, TwoSidedMap
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.rank_one import RankOneMap, rank_one_map
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.maps.structured import fourier_map

COMPLEX = torch.complex128


def _two(
    generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> tuple[AbstractLinearMap, AbstractLinearMap]:
    return (
        gaussian_map((4, 3), 6, generator=generator, dtype=dtype),
        fourier_map((4, 3), 6, generator=generator, dtype=dtype),
    )


def _orthonormal(generator: torch.Generator, rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(draw(generator, rows, columns)).Q


def test_a_combination_adds_the_dense_matrices(generator: torch.Generator) -> None:
    maps = _two(generator, COMPLEX)
    dense = [dense_matrix(part) for part in maps]
    got = dense_matrix(SumMap(maps=maps, coefficients=(2.0, 1.0 - 3.0j)))
    assert torch.allclose(got, 2.0 * dense[0] + (1.0 - 3.0j) * dense[1], atol=1e-13)
    assert torch.allclose(dense_matrix(SumMap(maps=maps)), dense[0] + dense[1])


def test_stacking_puts_the_dense_matrices_below_each_other(
    generator: torch.Generator,
) -> None:
    maps = (*_two(generator), some_entries(generator, (4, 3), 5))
    got = dense_matrix(StackedMap(maps=maps))
    assert torch.equal(got, torch.cat([dense_matrix(part) for part in maps]))


def test_two_sides_are_a_kronecker_product(generator: torch.Generator) -> None:
    inner = gaussian_map((4, 3), 6, generator=generator, dtype=COMPLEX)
    b, c = draw(generator, 4, 2, dtype=COMPLEX), draw(generator, 3, 5, dtype=COMPLEX)
    got = dense_matrix(TwoSidedMap(inner=inner, left_matrix=b, right_matrix=c))
    # Row by row, vec(B X C^H) = (B kron conj(C)) vec(X).
    expected = dense_matrix(inner) @ torch.kron(b, c.conj())
    assert torch.allclose(got, expected, atol=1e-13)


def test_entries_in_other_bases_never_form_the_outer_matrix(
    generator: torch.Generator,
) -> None:
    # A matrix of 10^12 entries, seen at four places.
    places = torch.arange(4) * 200_000
    inner = RankOneMap(
        left_vectors=torch.eye(4, dtype=torch.float64),
        right_vectors=torch.eye(4, dtype=torch.float64),
    )
    size = 1_000_000
    tall = torch.zeros(4, size, dtype=torch.float64)
    tall[torch.arange(4), places] = 1.0
    linear_map = TwoSidedMap(inner=inner, left_matrix=tall, right_matrix=tall)
    assert linear_map.in_shape == (size, size)
    left, right = draw(generator, size, 2), draw(generator, size, 2)
    expected = (left[places] * right[places]).sum(-1)
    assert torch.allclose(linear_map.apply_factors(left, right), expected)
    measured = draw(generator, 4)
    got = linear_map.adjoint_times(measured, left, right)
    assert torch.allclose(got[0][places], measured[:, None] * right[places])
    assert torch.allclose(got[1][places], measured[:, None] * left[places])
    assert int((got[0] != 0.0).sum()) == 8


def test_a_multiple_scales_its_law(generator: torch.Generator) -> None:
    gaussian = gaussian_map((4, 3), 8, generator=generator)
    law = SumMap(maps=(gaussian,), coefficients=(-3.0,)).spec.isotropy
    assert law is not None
    assert law.second_moment == pytest.approx(9.0 / 8.0)
    assert law.is_gaussian
    assert SumMap(maps=(gaussian,), coefficients=(0.0,)).spec.isotropy is None
    assert SumMap(maps=_two(generator)).spec.isotropy is None
    quadratic = rank_one_map((3, 3), 4, generator=generator, is_symmetric=True)
    assert SumMap(maps=(quadratic,)).spec.isotropy is None


def test_stacking_keeps_a_law_that_all_parts_share(generator: torch.Generator) -> None:
    gaussian, fourier = _two(generator)
    law = StackedMap(maps=(gaussian, fourier)).spec.isotropy
    assert law is not None
    assert law.second_moment == 1.0 / 6.0
    assert not law.is_gaussian
    law = StackedMap(maps=(gaussian, gaussian)).spec.isotropy
    assert law is not None
    assert law.is_gaussian
    other = gaussian_map((4, 3), 7, generator=generator)
    assert StackedMap(maps=(gaussian, other)).spec.isotropy is None
    silent = rank_one_map((4, 4), 6, generator=generator, is_symmetric=True)
    square = gaussian_map((4, 4), 6, generator=generator)
    assert StackedMap(maps=(square, silent)).spec.isotropy is None


def test_subspaces_keep_a_law_if_their_bases_are_orthonormal(
    generator: torch.Generator,
) -> None:
    inner = gaussian_map((6, 5), 9, generator=generator)
    b, c = _orthonormal(generator, 6, 3), _orthonormal(generator, 5, 5)
    kept = TwoSidedMap(inner=inner, left_matrix=b, right_matrix=c)
    assert kept.spec.isotropy is inner.spec.isotropy
    stretched = TwoSidedMap(inner=inner, left_matrix=1.01 * b)
    assert stretched.spec.isotropy is None
    oblique = draw(generator, 5, 2)
    oblique = oblique / torch.linalg.vector_norm(oblique, dim=0)
    assert TwoSidedMap(inner=inner, right_matrix=oblique).spec.isotropy is None


def test_maps_that_cannot_be_combined_are_refused(generator: torch.Generator) -> None:
    gaussian, fourier = _two(generator)
    longer = gaussian_map((4, 3), 7, generator=generator)
    wider = gaussian_map((4, 4), 6, generator=generator)
    single = gaussian_map((4, 3), 6, generator=generator, dtype=torch.float32)
    with pytest.raises(ShapeError, match=r"as many measurements each; got \[6, 7\]"):
        SumMap(maps=(gaussian, longer))
    for combine in (SumMap, StackedMap):
        with pytest.raises(InputError, match="maps is empty"):
            combine(maps=())
        with pytest.raises(ShapeError, match="matrices of one shape"):
            combine(maps=(gaussian, wider))
        with pytest.raises(InputError, match="share dtype and device"):
            combine(maps=(gaussian, single))
    with pytest.raises(ShapeError, match="one for each of 2 maps; got 1"):
        SumMap(maps=(gaussian, fourier), coefficients=(1.0,))
    for wrong in (math.nan, complex(0.0, math.inf), 1.0j):
        with pytest.raises(InputError, match="coefficients must be finite, and real"):
            SumMap(maps=(gaussian,), coefficients=(wrong,))


def test_sides_that_do_not_fit_are_refused(generator: torch.Generator) -> None:
    inner = gaussian_map((4, 3), 6, generator=generator)
    with pytest.raises(ShapeError, match="left_matrix must have 4 rows"):
        TwoSidedMap(inner=inner, left_matrix=draw(generator, 3, 4))
    with pytest.raises(ShapeError, match="right_matrix must have 3 rows"):
        TwoSidedMap(inner=inner, right_matrix=draw(generator, 3))
    with pytest.raises(InputError, match=r"right_matrix must be torch\.float64"):
        TwoSidedMap(inner=inner, right_matrix=draw(generator, 3, 2).float())
    with pytest.raises(InputError, match="left_matrix has entries"):
        TwoSidedMap(inner=inner, left_matrix=torch.full((4, 2), math.nan).double())
