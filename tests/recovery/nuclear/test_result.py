"""What a result says of itself."""

import numpy as np
import torch

from nuclear_cases import small_program
from tacit.recovery.nuclear.minimise import minimise_nuclear_norm
from tacit.rng import make_generator


def test_matrix_rank_and_figure_belong_together() -> None:
    program = small_program("complex", "much noise", 3)
    result = minimise_nuclear_norm(
        program.problem, noise_bound=program.noise_bound, generator=make_generator(0)
    )
    matrix = result.matrix()
    assert torch.allclose(matrix, result.left @ result.right.mH)
    values = torch.linalg.svdvals(matrix)
    assert result.rank == int((values > 1e-9 * values[0]).sum())
    figure = result.plot()["convergence"]
    drawn = np.asarray(figure.axes[-1].lines[0].get_ydata())
    assert drawn.shape == (result.rank,)
    assert result.seconds > 0.0
    assert result.num_passes >= result.num_steps > 0
