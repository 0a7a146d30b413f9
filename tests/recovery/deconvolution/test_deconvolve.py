from typing import Any, Literal, cast

import cvxpy as cp
import numpy as np
import pytest
import scipy.signal
import torch

from tacit.errors import InputError, ShapeError, Status
from tacit.recovery.deconvolution.deconvolve import Method, deconvolve
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.problem import (
    convolution_problem,
    source_maps,
)
from tacit.recovery.deconvolution.result import DeconvolutionResult
from tacit.recovery.deconvolution.scale import error_up_to_scale
from tacit.recovery.nuclear.certify import certify_nuclear
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.subspaces.matrix import MatrixSubspace, gaussian_subspace
from tacit.recovery.subspaces.subspace import basis_matrix
from tacit.recovery.subspaces.support import SupportSubspace

F64, COMPLEX = torch.float64, torch.complex128


def errors(problem: RecoveryProblem, result: DeconvolutionResult) -> list[float]:
    """One error for every source, all channels of it together."""
    truth = problem.planted
    assert truth is not None
    found: list[float] = []
    row = column = place = 0
    for source, part in enumerate(source_maps(problem.linear_map)):
        rows, columns = part.in_shape
        channels = len(part.filters)
        found.append(
            error_up_to_scale(
                torch.cat(result.filter_coefficients[place : place + channels]),
                result.signal_coefficients[source],
                truth.left[row : row + rows, source],
                truth.right[column : column + columns, source].conj(),
            )
        )
        row, column, place = row + rows, column + columns, place + channels
    return found


def dense_columns(problem: RecoveryProblem) -> Any:
    """The map's matrix in orthonormal coordinates of a Gaussian signal, by NumPy."""
    (part,) = source_maps(problem.linear_map)
    kernels = np.fft.fft(basis_matrix(part.filters[0]).numpy(), axis=0)
    signals = np.fft.fft(np.linalg.qr(basis_matrix(part.signal).numpy())[0], axis=0)
    products = kernels[:, :, None] * signals[:, None, :]
    columns = np.fft.ifft(products, axis=0)
    columns = columns if problem.measurements.is_complex() else columns.real
    return columns.reshape(len(columns), -1)


@pytest.mark.parametrize("method", [None, "convex", "descent"])
@pytest.mark.parametrize("dtype", [F64, COMPLEX])
def test_exact_data_give_the_truth_and_a_closed_bracket(
    method: Method | None, dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(8, 7, 80, dtype=dtype, generator=generator)
    result = deconvolve(problem, method=method, generator=generator)
    assert errors(problem, result)[0] < 1e-6
    assert result.certificate.relative_gap < 1e-6
    assert result.certificate.infeasibility < 1e-6
    assert result.rank == 1
    assert result.energy == pytest.approx(1.0)
    assert result.warnings == ()
    assert result.noise_bound == 0.0


@pytest.mark.parametrize("dtype", [F64, COMPLEX])
def test_the_bracket_holds_the_optimum_of_cvxpy(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        5, 4, 40, noise=0.1, dtype=dtype, generator=generator
    )
    bound = 0.1 * float(problem.measurements.norm())
    result = deconvolve(problem, noise_bound=bound, generator=generator)
    matrix = cp.Variable((5, 4), complex=dtype.is_complex)
    image = dense_columns(problem) @ cp.vec(matrix, order="C")
    program = cp.Problem(
        cp.Minimize(cp.normNuc(matrix)),
        [cp.norm(image - problem.measurements.numpy()) <= bound],
    )
    program.solve(cp.CLARABEL)
    bracket = result.bracket
    assert bracket.lower.value == pytest.approx(program.value, rel=1e-5)
    assert bracket.upper.value == pytest.approx(program.value, rel=1e-5)


@pytest.mark.parametrize("method", [None, "descent"])
def test_noise_costs_no_more_than_it_must(
    method: Method | None, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(8, 7, 160, noise=0.1, generator=generator)
    result = deconvolve(problem, method=method, generator=generator)
    # Least squares with 14 unknowns: 0.1 sqrt(14 / 160) = 0.03, and chance.
    assert errors(problem, result)[0] < 0.06
    assert result.misfit < 0.1 * float(problem.measurements.norm())
    assert result.warnings == ()


def test_the_fit_is_a_critical_point_of_least_squares(
    generator: torch.Generator,
) -> None:
    problem = planted_deconvolution(8, 7, 100, noise=0.3, generator=generator)
    result = deconvolve(problem, generator=generator)
    h = result.filter_coefficients[0].clone().requires_grad_()
    x = result.signal_coefficients[0].clone().requires_grad_()
    image = problem.linear_map.apply_factors(h[:, None], x[:, None])
    loss = (image - problem.measurements).square().sum()
    assert float(loss.detach()) == pytest.approx(result.misfit**2)
    loss.backward()
    assert h.grad is not None
    assert float(h.grad.norm()) < 1e-4 * float(problem.measurements.norm())


@pytest.mark.parametrize("dtype", [F64, COMPLEX])
def test_channels_help_one_another(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        6, 12, 40, num_channels=3, dtype=dtype, generator=generator
    )
    result = deconvolve(problem, generator=generator)
    assert errors(problem, result)[0] < 1e-6
    assert len(result.filters) == len(result.coherence) == 3
    assert len(result.signals) == len(result.spectra) == 1
    together = torch.cat([kernel.flatten() for kernel in result.filters])
    assert float(together.norm()) == pytest.approx(1.0)


@pytest.mark.parametrize("method", [None, "convex"])
def test_two_sources_are_told_apart(
    method: Method | None, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        6, 5, 90, num_sources=2, filter_kind="random", generator=generator
    )
    result = deconvolve(problem, method=method, generator=generator)
    assert max(errors(problem, result)) < 1e-6
    assert result.rank == 2
    assert result.certificate.relative_gap < 1e-6
    assert len(result.filters) == len(result.signals) == len(result.spectra) == 2


def test_the_answer_does_not_depend_on_the_basis(generator: torch.Generator) -> None:
    problem = planted_deconvolution(6, 5, 60, noise=0.05, generator=generator)
    (part,) = source_maps(problem.linear_map)
    mixing = torch.randn(5, 5, generator=generator, dtype=F64)
    skewed = MatrixSubspace(matrix=basis_matrix(part.signal) @ mixing)
    other = convolution_problem(
        problem.measurements, part.filters, skewed, noise_level=problem.noise_level
    )
    first, second = (deconvolve(p, generator=generator) for p in (problem, other))
    assert torch.allclose(first.filters[0], second.filters[0], atol=1e-5)
    assert torch.allclose(first.signals[0], second.signals[0], atol=1e-5)
    ends = [result.bracket.upper.value for result in (first, second)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-5)
    back = mixing @ second.signal_coefficients[0]
    assert torch.allclose(back, first.signal_coefficients[0], atol=1e-5)


@pytest.mark.parametrize("boundary", ["full", "valid", "same"])
def test_linear_convolutions(
    boundary: Literal["full", "valid", "same"], generator: torch.Generator
) -> None:
    kernel = SupportSubspace(indices=torch.arange(4), shape=(4,))
    signal = gaussian_subspace((60,), 6, generator=generator)
    h, x = (torch.randn(n, generator=generator, dtype=F64) for n in (4, 6))
    w, c = kernel.synthesise(h), signal.synthesise(x)
    observed = torch.from_numpy(scipy.signal.convolve(c.numpy(), w.numpy(), boundary))
    problem = convolution_problem(observed, kernel, signal, boundary=boundary)
    result = deconvolve(problem, generator=generator)
    assert error_up_to_scale(result.filters[0], result.signals[0], w, c) < 1e-6
    assert result.certificate.relative_gap < 1e-6


def test_wrong_subspaces_are_said_to_be_wrong(generator: torch.Generator) -> None:
    problem = planted_deconvolution(6, 5, 60, generator=generator)
    wrong = gaussian_subspace((60,), 5, generator=generator)
    (part,) = source_maps(problem.linear_map)
    other = convolution_problem(problem.measurements, part.filters, wrong)
    bound = 0.5 * float(problem.measurements.norm())
    result = deconvolve(other, noise_bound=bound, method="descent", generator=generator)
    assert any("unexplained" in text for text in result.warnings)


def test_phases_and_steps_are_announced_and_ctrl_c_is_obeyed(
    generator: torch.Generator,
) -> None:
    problem = planted_deconvolution(6, 5, 60, noise=0.05, generator=generator)
    phases: list[str] = []
    steps: list[int] = []

    def watch(step: int, _state: object) -> None:
        steps.append(step)

    result = deconvolve(
        problem, observers=(watch,), on_phase=phases.append, generator=generator
    )
    assert phases[0] == "regularised descent"
    assert len(phases) >= 3
    assert result.num_steps == len(steps)

    def interrupt(_step: int, _state: object) -> None:
        raise KeyboardInterrupt

    cut = deconvolve(problem, observers=(interrupt,), generator=generator)
    assert cut.status is Status.INTERRUPTED
    assert torch.isfinite(cut.filters[0]).all()


def test_wrong_arguments_are_refused(generator: torch.Generator) -> None:
    problem = planted_deconvolution(3, 3, 30, generator=generator)
    size = float(problem.measurements.norm())
    with pytest.raises(InputError, match="method must be one of convex, descent"):
        deconvolve(problem, method=cast(Any, "magic"), generator=generator)
    with pytest.raises(InputError, match="noise_bound must be below the size"):
        deconvolve(problem, noise_bound=size, generator=generator)
    with pytest.raises(InputError, match="noise_bound must be a number"):
        deconvolve(problem, noise_bound=-1.0, generator=generator)
    with pytest.raises(InputError, match="scale must be one of"):
        deconvolve(problem, scale=cast(Any, "max"), generator=generator)
    zero = RecoveryProblem(
        linear_map=problem.linear_map, measurements=0.0 * problem.measurements
    )
    with pytest.raises(InputError, match="observation is zero"):
        deconvolve(zero, generator=generator)
    batch = RecoveryProblem(
        linear_map=problem.linear_map, measurements=problem.measurements.expand(2, -1)
    )
    with pytest.raises(ShapeError, match="one problem"):
        deconvolve(batch, generator=generator)


def test_without_refinement_it_is_the_leading_singular_pair(
    generator: torch.Generator,
) -> None:
    problem = planted_deconvolution(6, 8, 80, noise=0.1, generator=generator)
    size = 0.1 * float(torch.linalg.vector_norm(problem.measurements))
    options: dict[str, Any] = {"noise_bound": size, "generator": generator}
    fit = deconvolve(problem, method="convex", **options)
    own = deconvolve(problem, refine=False, **options)
    u, s, v = np.linalg.svd((own.left @ own.right.mH).numpy(), full_matrices=False)
    # In orthonormal coordinates h x^T has the singular value |B h| |C x|.
    lifted_size = float(own.filters[0].norm() * own.signals[0].norm())
    np.testing.assert_allclose(lifted_size, s[0], rtol=1e-9)
    seen = own.program.problem.linear_map.apply_factors(
        torch.from_numpy(s[0] * u[:, :1]), torch.from_numpy(v[:1].conj().T.copy())
    )
    np.testing.assert_allclose(own.observation, seen, atol=1e-9)
    assert own.misfit > fit.misfit
    assert "least squares" in fit.method
    assert "least squares" not in own.method
    with pytest.raises(InputError, match="refine must be true"):
        deconvolve(problem, method="descent", refine=False, **options)


def test_zero_factors_of_a_convolution_have_a_certificate(
    generator: torch.Generator,
) -> None:
    problem = planted_deconvolution(6, 8, 80, generator=generator)
    left, right = torch.zeros(6, 1, dtype=F64), torch.zeros(8, 1, dtype=F64)
    found = certify_nuclear(
        NuclearProgram(problem=problem, noise_bound=0.0),
        left,
        right,
        torch.zeros_like(problem.measurements),
        generator=generator,
    )
    assert found.value.lower.value == 0.0 < found.value.upper.value
