"""The leading spectrum of the back-projection, against dense decompositions."""

from dataclasses import dataclass
from typing import final

import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.errors import InputError, ShapeError
from tacit.recovery.back_projection import leading_eigenpairs, leading_triplets
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.linear_map import AbstractLinearMap, MapSpec
from tacit.recovery.maps.stored import StoredMap, gaussian_map

RTOL = 1e-6  # the default of both functions
EPS = torch.finfo(torch.float64).eps
DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@final
@dataclass(frozen=True, eq=False)
class Given(AbstractLinearMap):
    """A map whose back-projection of ``scales`` is a batch of scaled given matrices.

    One measurement; it counts its products, and refuses to form the matrix.
    """

    matrix: Tensor
    widths: list[int]

    @property
    def spec(self) -> MapSpec:
        rows, columns = self.matrix.shape
        return MapSpec(
            in_shape=(rows, columns),
            num_measurements=1,
            dtype=self.matrix.dtype,
            device=self.matrix.device,
        )

    def apply(self, matrix: Tensor) -> Tensor:
        raise NotImplementedError

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        raise NotImplementedError

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        raise NotImplementedError

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.widths.append(left.shape[-1])
        scale = measurements[..., None]
        return scale * (self.matrix @ right), scale.conj() * (self.matrix.mH @ left)


def draw(generator: torch.Generator, dtype: torch.dtype, *shape: int) -> Tensor:
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return torch.randn(*shape, generator=generator, dtype=wide).to(dtype)


def spiked(generator: torch.Generator, rows: int, columns: int, rank: int) -> Tensor:
    """Singular values 1, 1/2, .., 1/rank under which there is a flat bulk."""
    left = torch.linalg.qr(normal(generator, rows, rank))[0]
    right = torch.linalg.qr(normal(generator, columns, rank))[0]
    values = 1.0 / torch.arange(1, rank + 1, dtype=torch.float64)
    bulk = normal(generator, rows, columns) / (rows**0.5 + columns**0.5)
    return (left * values) @ right.mH + bulk * (0.25 / rank)


def assert_orthonormal(vectors: Tensor) -> None:
    size = vectors.shape[-1]
    gap = vectors.mH @ vectors - torch.eye(size, dtype=vectors.dtype)
    assert float(gap.abs().max()) <= 100 * torch.finfo(vectors.dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (5, 5)])
def test_small_triplets_are_those_of_the_formed_matrix(
    dtype: torch.dtype, shape: tuple[int, int], generator: torch.Generator
) -> None:
    linear_map = gaussian_map(shape, 30, generator=generator, dtype=dtype)
    measured = draw(generator, dtype, 2, 30)
    matrix = linear_map.adjoint_apply(measured)
    left, values, right = leading_triplets(linear_map, measured, 3, generator=generator)
    limit = 200 * torch.finfo(dtype).eps * float(values.max())
    torch.testing.assert_close(
        values, torch.linalg.svdvals(matrix)[..., :3], rtol=0, atol=limit
    )
    assert_orthonormal(left)
    assert_orthonormal(right)
    assert float((matrix @ right - left * values[..., None, :]).abs().max()) <= limit
    assert float((matrix.mH @ left - right * values[..., None, :]).abs().max()) <= limit


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_eigenpairs_are_those_of_the_hermitian_part(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    linear_map = gaussian_map((7, 7), 30, generator=generator, dtype=dtype)
    measured = draw(generator, dtype, 2, 30)
    matrix = linear_map.adjoint_apply(measured)
    hermitian = (matrix + matrix.mH) / 2
    values, vectors = leading_eigenpairs(linear_map, measured, 7, generator=generator)
    limit = 200 * torch.finfo(dtype).eps * float(values.abs().max())
    expected = torch.linalg.eigvalsh(hermitian).flip(-1)
    torch.testing.assert_close(values, expected, rtol=0, atol=limit)
    # All of them: their signs differ, so the order is the algebraic one.
    assert bool((values[..., 0] > 0).all())
    assert bool((values[..., -1] < 0).all())
    assert_orthonormal(vectors)
    error = hermitian @ vectors - vectors * values[..., None, :]
    assert float(error.abs().max()) <= limit


@pytest.mark.parametrize("rank", [1, 4])
def test_iterated_triplets_meet_the_stated_accuracy(
    rank: int, generator: torch.Generator
) -> None:
    matrix = spiked(generator, 560, 520, rank)
    linear_map = Given(matrix, [])
    one = torch.ones(1, dtype=torch.float64)
    left, values, right = leading_triplets(linear_map, one, rank, generator=generator)
    u, exact, vh = torch.linalg.svd(matrix, full_matrices=False)
    residual = torch.maximum(
        torch.linalg.vector_norm(matrix @ right - left * values, dim=0),
        torch.linalg.vector_norm(matrix.mH @ left - right * values, dim=0),
    )
    assert float(residual.max()) <= 1.01 * RTOL * float(values[0])
    # Values of the same number from below, with an error quadratic in the residual.
    slack = 1000 * EPS
    assert bool((values <= exact[:rank] + slack).all())
    gap = 0.5 / (rank + 1) ** 2
    assert bool((values >= exact[:rank] - RTOL**2 / gap - slack).all())
    # Vectors up to a sign, with an error linear in it.
    for found, true in ((left, u[:, :rank]), (right, vh[:rank].mH)):
        assert_orthonormal(found)
        cosines = (found.mH @ true).diagonal().abs()
        assert float((1 - cosines).max()) <= (4 * RTOL / gap) ** 2 + slack
    assert set(linear_map.widths) == {rank + 5}


def test_iterated_eigenpairs_are_the_algebraically_largest(
    generator: torch.Generator,
) -> None:
    matrix = spiked(generator, 540, 540, 3)
    # The negative eigenvalue is the largest in size and must not be taken.
    axis = torch.linalg.qr(normal(generator, 540, 1))[0]
    matrix = (
        matrix @ matrix.mH - 3.0 * axis @ axis.mH + normal(generator, 540, 540) / 1e3
    )
    hermitian = (matrix + matrix.mH) / 2
    one = torch.ones(1, dtype=torch.float64)
    values, vectors = leading_eigenpairs(Given(matrix, []), one, 2, generator=generator)
    exact = torch.linalg.eigvalsh(hermitian)
    assert float((values - exact.flip(0)[:2]).abs().max()) <= 1e-10
    residual = torch.linalg.vector_norm(hermitian @ vectors - vectors * values, dim=0)
    assert float(residual.max()) <= 1.01 * RTOL * float(exact.abs().max())
    assert_orthonormal(vectors)


def test_a_batch_is_iterated_at_once(generator: torch.Generator) -> None:
    matrix = spiked(generator, 530, 510, 2).to(torch.complex128)
    matrix = matrix + 1j * spiked(generator, 530, 510, 2) / 5
    scales = torch.tensor([[2.0], [-3.0j]], dtype=torch.complex128)
    left, values, right = leading_triplets(
        Given(matrix, []), scales, 2, generator=generator
    )
    exact = torch.linalg.svdvals(matrix)[:2]
    torch.testing.assert_close(
        values, torch.stack((2 * exact, 3 * exact)), rtol=1e-9, atol=0
    )
    product = scales[..., None] * (matrix @ right)
    torch.testing.assert_close(product, left * values[..., None, :], rtol=0, atol=1e-5)


def test_a_flat_spectrum_needs_restarts_and_gets_them(
    generator: torch.Generator,
) -> None:
    matrix = normal(generator, 600, 550) / 600**0.5
    linear_map = Given(matrix, [])
    one = torch.ones(1, dtype=torch.float64)
    left, values, right = leading_triplets(linear_map, one, 3, generator=generator)
    # The space holds ten blocks: more products than that mean that it was restarted.
    assert len(linear_map.widths) > 10
    exact = torch.linalg.svdvals(matrix)[:3]
    assert float((values - exact).abs().max()) <= RTOL * float(exact[0])
    assert_orthonormal(left)
    assert_orthonormal(right)


def test_the_accuracy_asked_for_decides_the_number_of_products(
    generator: torch.Generator,
) -> None:
    matrix = spiked(generator, 520, 530, 2)
    one = torch.ones(1, dtype=torch.float64)
    counts: list[int] = []
    for rtol in (1e-2, 1e-6, 1e-12):
        linear_map = Given(matrix, [])
        _, values, right = leading_triplets(
            linear_map, one, 2, generator=generator, rtol=rtol
        )
        left = matrix @ right / values
        error = torch.linalg.vector_norm(matrix.mH @ left - right * values, dim=0)
        assert float(error.max()) <= 2.0 * rtol * float(values[0])
        counts.append(len(linear_map.widths))
    assert counts[0] < counts[1] < counts[2]


def test_products_are_limited(generator: torch.Generator) -> None:
    # Far too many values far too close for what a hundred products resolve.
    matrix = torch.linspace(1.0, 0.999, 900, dtype=torch.float64).diag()
    linear_map = Given(matrix, [])
    one = torch.ones(1, dtype=torch.float64)
    _, found, _ = leading_triplets(linear_map, one, 1, generator=generator, rtol=1e-13)
    assert len(linear_map.widths) == 100
    assert 0.999 <= float(found[0]) <= 1.0 + 100 * EPS


@pytest.mark.parametrize("true_rank", [0, 1, 3])
def test_a_matrix_of_lower_rank_than_the_block_is_met_exactly(
    true_rank: int, generator: torch.Generator
) -> None:
    matrix = normal(generator, 510, true_rank) @ normal(generator, true_rank, 520)
    left, values, right = leading_triplets(
        Given(matrix, []), torch.ones(1, dtype=torch.float64), 3, generator=generator
    )
    exact = torch.linalg.svdvals(matrix)[:3]
    torch.testing.assert_close(values, exact, rtol=1e-12, atol=1e-10)
    assert_orthonormal(left)
    assert_orthonormal(right)


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_matrix_is_formed_where_that_costs_nothing(
    is_stored: bool, generator: torch.Generator
) -> None:
    """A stored map's, then iterated on; one of very few columns, then factored."""
    if is_stored:
        matrix = normal(generator, 3, 505 * 505)
        linear_map: AbstractLinearMap = StoredMap(matrix=matrix, shape=(505, 505))
        measured = normal(generator, 3)
    else:
        place = torch.arange(40_000)
        linear_map = EntriesMap(rows=place, columns=place % 20, shape=(40_000, 20))
        measured = normal(generator, 40_000)
    dense = linear_map.adjoint_apply(measured)
    _, values, _ = leading_triplets(linear_map, measured, 2, generator=generator)
    exact = torch.linalg.svdvals(dense)[:2]
    torch.testing.assert_close(values, exact, rtol=1e-6, atol=0)
    if is_stored:
        found, _ = leading_eigenpairs(linear_map, measured, 2, generator=generator)
        exact = torch.linalg.eigvalsh((dense + dense.mH) / 2).flip(0)[:2]
        torch.testing.assert_close(found, exact, rtol=1e-6, atol=0)


def test_entries_of_a_large_matrix_are_never_formed(
    generator: torch.Generator,
) -> None:
    """The matrix would take 20 GB."""
    size = 50_000
    place = torch.arange(size)
    linear_map = EntriesMap(rows=place, columns=place, shape=(size, size))
    measured = torch.full((size,), 0.5, dtype=torch.float64)
    measured[7], measured[12_345] = 3.0, -4.0
    left, values, right = leading_triplets(linear_map, measured, 2, generator=generator)
    torch.testing.assert_close(
        values, torch.tensor([4.0, 3.0], dtype=torch.float64), rtol=1e-10, atol=0
    )
    assert float(left[12_345, 0].abs()) == pytest.approx(1.0, abs=1e-6)
    assert float(left[12_345, 0] * right[12_345, 0]) == pytest.approx(-1.0, abs=1e-6)


def test_one_generator_gives_one_answer(generator: torch.Generator) -> None:
    matrix = spiked(generator, 520, 530, 2)
    one = torch.ones(1, dtype=torch.float64)
    state = generator.get_state()
    first = leading_triplets(Given(matrix, []), one, 2, generator=generator)
    generator.set_state(state)
    second = leading_triplets(Given(matrix, []), one, 2, generator=generator)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_wrong_sizes_are_refused(generator: torch.Generator) -> None:
    linear_map = gaussian_map((4, 6), 9, generator=generator)
    measured = normal(generator, 9)
    for rank in (0, 5):
        with pytest.raises(InputError, match=rf"num_columns\) = 4; got {rank}"):
            leading_triplets(linear_map, measured, rank, generator=generator)
    with pytest.raises(ShapeError, match=r"\.\.\., 9\).*got \(8,\)"):
        leading_triplets(linear_map, measured[:8], 1, generator=generator)
    with pytest.raises(InputError, match=r"torch\.float32"):
        leading_triplets(linear_map, measured.float(), 1, generator=generator)
    with pytest.raises(ShapeError, match=r"square.*\(4, 6\); use leading_triplets"):
        leading_eigenpairs(linear_map, measured, 1, generator=generator)
