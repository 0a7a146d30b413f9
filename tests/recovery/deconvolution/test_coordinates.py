import pytest
import torch

from tacit.errors import InputError
from tacit.recovery.deconvolution.coordinates import in_orthonormal_coordinates
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.problem import convolution_problem, source_maps
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.subspaces.matrix import MatrixSubspace
from tacit.recovery.subspaces.support import SupportSubspace


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_coefficients_go_there_and_back(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    problem = planted_deconvolution(
        3, 4, 30, num_channels=2, num_sources=2, dtype=dtype, generator=generator
    )
    lifted = in_orthonormal_coordinates(problem)
    assert lifted.num_changed == 2  # both signals
    assert all(m.signal.spec.is_orthonormal for m in lifted.maps)
    given = source_maps(problem.linear_map)
    blocks = lifted.blocks(
        torch.randn(12, 1, generator=generator, dtype=dtype),
        torch.randn(8, 1, generator=generator, dtype=dtype),
    )
    total = torch.zeros_like(problem.measurements)
    for place, (left, right) in enumerate(blocks):
        source = lifted.source(place, left[:, 0], right[:, 0])
        total += lifted.maps[place].apply_factors(left, right)
        pairs = zip(
            given[place].filters,
            source.filter_coefficients,
            source.filters,
            strict=True,
        )
        assert all(torch.allclose(b.synthesise(h), w) for b, h, w in pairs)
        back = given[place].signal.synthesise(source.signal_coefficients)
        assert torch.allclose(back, source.signal)
    left = torch.cat([block[0] for block in blocks])
    right = torch.cat([block[1] for block in blocks])
    assert torch.allclose(lifted.problem.linear_map.apply_factors(left, right), total)


def test_orthonormal_problems_stay_as_they_are(generator: torch.Generator) -> None:
    problem = planted_deconvolution(
        3, 4, 30, signal_kind="scrambled", generator=generator
    )
    lifted = in_orthonormal_coordinates(problem)
    assert lifted.problem is problem
    assert lifted.num_changed == 0


def test_dependent_columns_and_other_maps_are_refused(
    generator: torch.Generator,
) -> None:
    kernel = SupportSubspace(indices=torch.arange(2), shape=(6,))
    twice = MatrixSubspace(matrix=torch.ones(6, 2, dtype=torch.float64))
    problem = convolution_problem(torch.ones(6, dtype=torch.float64), kernel, twice)
    with pytest.raises(InputError, match="linearly independent"):
        in_orthonormal_coordinates(problem)
    stored = gaussian_map((2, 2), 5, generator=generator)
    other = RecoveryProblem(
        linear_map=stored, measurements=torch.ones(5, dtype=torch.float64)
    )
    with pytest.raises(InputError, match="convolution_problem or demixing_problem"):
        in_orthonormal_coordinates(other)
