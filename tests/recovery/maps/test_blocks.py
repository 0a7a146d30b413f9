from typing import Any

import cvxpy as cp
import pytest
import torch

from recovery_cases import dense_matrix, draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.blocks import BlockDiagonalMap
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.convolution_grid import ConvolutionGrid
from tacit.recovery.maps.rank_one import rank_one_map
from tacit.recovery.maps.residual import line_terms, residual_and_products
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.subspaces.matrix import gaussian_subspace

COMPLEX = torch.complex128


def three(generator: torch.Generator) -> BlockDiagonalMap:
    return BlockDiagonalMap(
        maps=(
            gaussian_map((2, 3), 7, generator=generator, dtype=COMPLEX),
            rank_one_map((4, 1), 7, generator=generator, dtype=COMPLEX),
            gaussian_map((1, 2), 7, generator=generator, dtype=COMPLEX),
        )
    )


def demixing(generator: torch.Generator) -> BlockDiagonalMap:
    def part(rows: int, columns: int) -> ConvolutionMap:
        return ConvolutionMap(
            filters=(gaussian_subspace((8,), rows, generator=generator),),
            signal=gaussian_subspace((8,), columns, generator=generator),
        )

    return BlockDiagonalMap(maps=(part(2, 3), part(3, 2)))


def test_the_blocks_dense_matrices_stand_at_the_diagonal(
    generator: torch.Generator,
) -> None:
    linear_map = three(generator)
    assert linear_map.in_shape == (7, 6)
    expected = torch.zeros(7, 7, 6, dtype=COMPLEX)
    row = column = 0
    for part in linear_map.maps:
        height, width = part.in_shape
        block = dense_matrix(part).unflatten(-1, part.in_shape)
        expected[:, row : row + height, column : column + width] = block
        row, column = row + height, column + width
    assert torch.allclose(
        dense_matrix(linear_map), expected.flatten(1), rtol=0.0, atol=1e-14
    )


def test_nothing_off_the_diagonal_is_seen_or_made(generator: torch.Generator) -> None:
    linear_map = three(generator)
    inside = torch.block_diag(*[torch.ones(p.in_shape) for p in linear_map.maps])
    matrix = draw(generator, 2, 7, 6, dtype=COMPLEX)
    assert torch.equal(linear_map.apply(matrix), linear_map.apply(inside * matrix))
    back = linear_map.adjoint_apply(draw(generator, 2, 7, dtype=COMPLEX))
    assert float((back * (1.0 - inside)).abs().max()) == 0.0


def test_split_gives_the_factors_of_every_block(generator: torch.Generator) -> None:
    linear_map = three(generator)
    left = draw(generator, 2, 7, 3, dtype=COMPLEX)
    right = draw(generator, 2, 6, 3, dtype=COMPLEX)
    product = left @ right.mH
    pairs = linear_map.split(left, right)
    blocks = [one @ other.mH for one, other in pairs]
    assert torch.allclose(blocks[0], product[:, :2, :3])
    assert torch.allclose(blocks[1], product[:, 2:6, 3:4])
    assert torch.allclose(blocks[2], product[:, 6:, 4:])
    assert pairs[0][0].data_ptr() == left.data_ptr()


def test_the_sum_of_two_convolutions(generator: torch.Generator) -> None:
    linear_map = demixing(generator)
    left, right = draw(generator, 5, 1), draw(generator, 5, 1)
    expected = torch.zeros(8, dtype=torch.float64)
    for part, (h, x) in zip(
        linear_map.maps, linear_map.split(left, right), strict=True
    ):
        assert isinstance(part, ConvolutionMap)
        w, s = part.filters_of(h)[0][0], part.signal_of(x)[0]
        for shift in range(8):
            expected += w[shift] * s.roll(shift)
    got = linear_map.apply_factors(left, right)
    assert torch.allclose(got, expected, rtol=0.0, atol=1e-13)


def test_convolutions_transform_factors_once(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear_map = demixing(generator)
    count = 0
    transform = ConvolutionGrid.transform

    def counted(self: ConvolutionGrid, signals: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += signals.shape[:-1].numel()
        return transform(self, signals)

    monkeypatch.setattr(ConvolutionGrid, "transform", counted)
    left, right = draw(generator, 5, 2), draw(generator, 5, 2)
    weights = torch.ones(8, dtype=torch.float64)
    residual_and_products(linear_map, left, right, weights, weights)
    assert count == 2 * (2 * 2 + 1)
    count = 0
    line_terms(linear_map, left, right, left, right)
    assert count == 2 * 4 * 2


@pytest.mark.oracle
def test_the_least_nuclear_norm_is_block_diagonal(generator: torch.Generator) -> None:
    linear_map = demixing(generator)
    dense = dense_matrix(linear_map).numpy()
    truth = torch.block_diag(
        draw(generator, 2, 1) @ draw(generator, 1, 3),
        draw(generator, 3, 1) @ draw(generator, 1, 2),
    )
    measured = dense @ truth.flatten().numpy()
    whole = cp.Variable((5, 5))
    problem = cp.Problem(
        cp.Minimize(cp.normNuc(whole)), [dense @ cp.vec(whole, order="C") == measured]
    )
    problem.solve(solver=cp.CLARABEL)
    over_all: Any = problem.value
    one, two = cp.Variable((2, 3)), cp.Variable((3, 2))
    parts = [part.numpy() for part in map(dense_matrix, linear_map.maps)]
    seen = parts[0] @ cp.vec(one, order="C") + parts[1] @ cp.vec(two, order="C")
    problem = cp.Problem(
        cp.Minimize(cp.normNuc(one) + cp.normNuc(two)), [seen == measured]
    )
    problem.solve(solver=cp.CLARABEL)
    assert problem.value == pytest.approx(over_all, rel=1e-6)


def test_maps_that_cannot_be_added_are_refused(generator: torch.Generator) -> None:
    real = gaussian_map((2, 3), 7, generator=generator)
    with pytest.raises(InputError, match="maps is empty"):
        BlockDiagonalMap(maps=())
    with pytest.raises(ShapeError, match=r"as many measurements each.*\[7, 6\]"):
        BlockDiagonalMap(maps=(real, gaussian_map((2, 3), 6, generator=generator)))
    with pytest.raises(InputError, match="must share dtype and device"):
        BlockDiagonalMap(maps=(real, three(generator).maps[0]))
