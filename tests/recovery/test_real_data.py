"""Photographs and digits with holes, against soft-impute at its best penalty."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage import data
from sklearn.datasets import load_digits

from tacit.recovery.completion.problem import completion_problem
from tacit.recovery.problem import hold_out
from tacit.recovery.recover import recover

Array = npt.NDArray[np.float64]


def _camera() -> Array:
    """A photograph: means of blocks of 4 x 4 pixels."""
    image = np.asarray(data.camera(), dtype=np.float64)
    return image.reshape(128, 4, 128, 4).mean(axis=(1, 3))


def _digits() -> Array:
    return np.asarray(load_digits(return_X_y=True)[0][:300], dtype=np.float64)


def _best_soft_impute(
    matrix: Array, known: npt.NDArray[np.bool_], unknown: npt.NDArray[np.bool_]
) -> float:
    """Return the least error on unknown entries over penalties: an oracle.

    The iteration of Mazumder, Hastie and Tibshirani (2010), dense, from the largest
    penalty down with warm starts.
    """
    centre = matrix[known].mean()
    given = np.where(known, matrix - centre, 0.0)
    filled = np.zeros_like(matrix)
    largest = float(np.linalg.norm(given, 2))
    errors: list[float] = []
    for penalty in largest * np.geomspace(0.5, 0.003, 14):
        for _ in range(40):
            u, s, vh = np.linalg.svd(
                np.where(known, given, filled), full_matrices=False
            )
            filled = (u * np.maximum(s - penalty, 0.0)) @ vh
        difference = (filled + centre - matrix)[unknown]
        errors.append(float(np.linalg.norm(difference)))
    return min(errors) / float(np.linalg.norm(matrix[unknown]))


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["camera", "digits"])
def test_unseen_entries_are_predicted_as_well_as_by_the_best_soft_impute(
    name: str, generator: torch.Generator
) -> None:
    matrix = _camera() if name == "camera" else _digits()
    known = (torch.rand(matrix.shape, generator=generator) < 0.5).numpy()
    rows, columns = np.nonzero(known)
    problem = completion_problem(rows, columns, matrix[known], matrix.shape)
    problem = hold_out(problem, 0.05, generator=generator)
    fitted = np.zeros_like(known)
    fitted[known] = problem.weights.numpy() > 0.0
    result = recover(problem, generator=generator)
    difference = (result.matrix().numpy() - matrix)[~known]
    error = float(np.linalg.norm(difference) / np.linalg.norm(matrix[~known]))
    # Both fit the same entries. The oracle's penalty is the best one by the unknown
    # entries themselves; ours chooses by some of those it fits, within the uncertainty
    # that they leave.
    assert error <= 1.06 * _best_soft_impute(matrix, fitted, ~known)
    assert result.held_out is not None
    low, high = result.held_out.interval
    assert 0.9 * low <= error <= 1.1 * high
