import cvxpy as cp
import pytest
import torch
from scipy.linalg import dft
from torch import Tensor

from tacit.recovery.deconvolution.incoherence import (
    IncoherencePenalty,
    adjoint_transform,
    nearest_incoherent,
    transform,
)
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.problem import source_maps
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.subspaces.matrix import gaussian_subspace, orthonormalised
from tacit.recovery.subspaces.subspace import basis_matrix


def draw(*shape: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("grid", [(8,), (11,)])
def test_the_transform_and_its_adjoint(
    dtype: torch.dtype, grid: tuple[int, ...], generator: torch.Generator
) -> None:
    subspace = gaussian_subspace((8,), 3, generator=generator, dtype=dtype)
    h = draw(3, generator=generator, dtype=dtype)
    matrix = torch.from_numpy(dft(grid[0])[:, :8]) @ basis_matrix(subspace).to(
        torch.complex128
    )
    assert torch.allclose(transform(subspace, h, grid), matrix @ h.to(torch.complex128))
    q = draw(*grid, generator=generator, dtype=torch.complex128)
    expected = matrix.mH @ q
    expected = expected if dtype.is_complex else expected.real
    assert torch.allclose(adjoint_transform(subspace, q, h), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_nearest_flat_filter_is_that_of_cvxpy(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    drawn = gaussian_subspace((16,), 5, generator=generator, dtype=dtype)
    subspace, _ = orthonormalised(drawn)
    h = draw(5, generator=generator, dtype=dtype)
    peak = float(transform(subspace, h, (16,)).abs().max())
    bound = 0.6 * peak
    found = nearest_incoherent(subspace, h, bound, (16,))
    matrix = dft(16) @ basis_matrix(subspace).numpy()
    z = cp.Variable(5, complex=dtype.is_complex)
    problem = cp.Problem(
        cp.Minimize(cp.sum_squares(z - h.numpy())),
        [cp.max(cp.abs(matrix @ z)) <= bound],
    )
    problem.solve(cp.CLARABEL)
    distance = float(torch.linalg.vector_norm(found - h)) ** 2
    assert distance == pytest.approx(problem.value, rel=1e-6)
    assert float(transform(subspace, found, (16,)).abs().max()) <= bound * (1 + 1e-14)


def test_a_flat_filter_stays(generator: torch.Generator) -> None:
    subspace = gaussian_subspace((16,), 5, generator=generator)
    h = draw(5, generator=generator, dtype=torch.float64)
    peak = float(transform(subspace, h, (16,)).abs().max())
    assert nearest_incoherent(subspace, h, peak, (16,)) is h


def penalty_by_definition(
    problem: RecoveryProblem,
    left: Tensor,
    right: Tensor,
    *,
    rho: float,
    d: tuple[float, ...],
    mu: float,
) -> Tensor:
    """G of the paper, from dense matrices."""
    value = torch.zeros((), dtype=torch.float64)
    row = column = 0
    for place, part in enumerate(source_maps(problem.linear_map)):
        rows, columns = part.in_shape
        h, x = left[row : row + rows, 0], right[column : column + columns, 0]
        row, column = row + rows, column + columns
        terms = [h.abs().square().sum() / (2 * d[place])]
        terms.append(x.abs().square().sum() / (2 * d[place]))
        start = 0
        for subspace in part.filters:
            size = subspace.grid[0]
            unitary = torch.from_numpy(dft(size, scale="sqrtn"))
            rows_b = unitary @ basis_matrix(subspace).to(torch.complex128)
            own = h[start : start + subspace.dimension].to(torch.complex128)
            start += subspace.dimension
            terms.append(size * (rows_b @ own).abs().square() / (8 * d[place] * mu**2))
        for term in terms:
            value = value + (term - 1.0).clamp_min(0.0).square().sum()
    return rho * value


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_penalty_is_the_papers_and_its_gradient_autograds(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        4, 3, 20, num_channels=2, num_sources=2, dtype=dtype, generator=generator
    )
    rows, columns = problem.linear_map.in_shape
    left = draw(rows, 1, generator=generator, dtype=dtype).requires_grad_()
    right = draw(columns, 1, generator=generator, dtype=dtype).requires_grad_()
    penalty = IncoherencePenalty(
        maps=source_maps(problem.linear_map),
        strength=1.7,
        scales=(0.8, 0.5),
        flatness_bounds=(0.6, 0.6),
    )
    expected = penalty_by_definition(
        problem, left, right, rho=1.7, d=(0.8, 0.5), mu=0.6
    )
    expected.backward()
    value, *gradients = penalty.value_and_gradient(left.detach(), right.detach())
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    assert value > 0.0
    assert left.grad is not None
    assert right.grad is not None
    # Autograd gives twice the Wirtinger derivative.
    assert torch.allclose(2.0 * gradients[0], left.grad)
    assert torch.allclose(2.0 * gradients[1], right.grad)
