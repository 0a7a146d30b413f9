"""The convex programme's own answer is its leading singular pair."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deconvolution_answers import Answered, planted_answer
from tacit.cli.deconvolve_convex import convex_answer


@pytest.fixture
def planted(tmp_path: Path, generator: torch.Generator) -> Answered:
    """Return an instance with its truth."""
    return planted_answer(tmp_path, generator)


def test_the_convex_answer_is_the_leading_singular_pair(planted: Answered) -> None:
    observed, result = planted
    own = convex_answer(observed.problem, result)
    lifted = (result.left @ result.right.mH).numpy()
    u, s, v = np.linalg.svd(lifted, full_matrices=False)
    assert own.certificate is result.certificate
    # In orthonormal coordinates h x^T has the singular value |B h| |C x|.
    size = float(own.filters[0].norm() * own.signals[0].norm())
    np.testing.assert_allclose(size, s[0], rtol=1e-9)
    seen = result.program.problem.linear_map.apply_factors(
        torch.from_numpy(s[0] * u[:, :1]), torch.from_numpy(v[:1].conj().T.copy())
    )
    np.testing.assert_allclose(own.observation, seen, atol=1e-9)
    wanted = float((seen - observed.problem.measurements).norm())
    np.testing.assert_allclose(own.misfit, wanted, rtol=1e-9)
    assert own.misfit > result.misfit
